"""The loop: it learns, keeps the best weights, stops when asked, and explains its errors."""

import itertools
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from gudlearn.training.loop import Budget, Hooks, learning_rate_factor, run_epochs
from gudlearn.training.options import n_epochs
from small import continuous, small
from toy import Source, toy_rows, toy_trainer, toy_validation


class Scores:
    """A validation whose scores are known, and which costs a number of evaluations.

    A score is a number, of the one held-out row, or those of several rows.
    """

    def __init__(self, scores, n_evaluations=0):
        self._scores, self.n_evaluations = iter(scores), n_evaluations

    def scores(self, trainer):
        return torch.atleast_1d(torch.tensor(next(self._scores), dtype=torch.float64))


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize("loss", ["likelihood", "uniform"])
def test_validation_approaches_the_information_in_the_correlation(loss, optimizer):
    trainer = toy_trainer(loss, optimizer)
    budget = Budget(25, None)
    log = run_epochs(trainer, Source(toy_rows(1024)), budget, validation=toy_validation())
    # The untrained network is the product of the marginals: it adds nothing.
    assert log.validation_scores[0] == 0
    # -1/2 log(1 - 0.95^2) = 1.16 nats, over two dimensions, of which the noise of exp(-6) leaves
    # 0.57; nine tenths are learned. The 256 rows have a standard error of 0.03.
    assert 0.25 < log.best_score < 0.75
    assert np.mean(log.losses[-5:]) < np.mean(log.losses[:2])


def test_the_best_weights_are_kept():
    trainer, held_out = toy_trainer(), toy_validation()
    log = run_epochs(trainer, Source(toy_rows()), Budget(30, None), validation=held_out)
    assert log.best_score == max(log.validation_scores) > log.validation_scores[0]
    trainer.averaged.network.load_state_dict(log.best_state)
    assert float(held_out.scores(trainer).mean()) == log.best_score


@pytest.mark.parametrize(
    "n_evaluations, patience, expected",
    [
        (1500, None, [0, 20]),
        (1500, 99, list(range(21))),
        (400, None, list(range(21))),
    ],
)
def test_costly_validations_are_few_unless_patience_counts_them(
    monkeypatch, n_evaluations, patience, expected
):
    # Four steps of 64 rows an epoch, each of 600 evaluations more: 5 % of 20 epochs are 2656.
    monkeypatch.setattr("gudlearn.training.loop._CHEAP", 400)
    scores = Scores(itertools.count(), n_evaluations)
    budget = Budget(20, None)
    log = run_epochs(
        toy_trainer(), Source(toy_rows(256)), budget, validation=scores, patience=patience
    )
    assert log.validation_epochs == expected


def test_costly_validations_are_spread_over_the_budget(monkeypatch):
    monkeypatch.setattr("gudlearn.training.loop._CHEAP", 0)
    scores = Scores(itertools.count(), 650)
    log = run_epochs(toy_trainer(), Source(toy_rows(256)), Budget(25, None), validation=scores)
    # 650 (k + 1) <= 0.05 * 4 * (64 + 600) epochs.
    assert log.validation_epochs == [0, 10, 15, 20, 25]


def test_weights_that_grow_worse_are_not_kept():
    trainer, states = toy_trainer(), []

    def note(n_epochs, state, log):
        states.append(state())

    log = run_epochs(
        trainer, Source(toy_rows()), Budget(6, None), hooks=Hooks(after_epoch=note),
        validation=Scores([0.0, 1.0, 0.5, 0.2, 0.1, 0.0, -1.0, -2.0]),
    )  # fmt: skip
    assert log.best_score == 1.0
    for name, value in log.best_state.items():
        assert torch.equal(value, states[0][name])
    assert any(not torch.equal(states[-1][k], v) for k, v in log.best_state.items())


# The standard error of the mean of two rows is half of their difference.
@pytest.mark.parametrize(
    "continued, scores, expected",
    [
        # The mean falls by .1 with an error of .3.
        (False, [[0.0, 0.0], [-0.4, 0.2]], 1),
        # By .4 with the same error, and by .1 with an error of .07.
        (False, [[0.0, 0.0], [-0.7, -0.1]], 0),
        (False, [[0.0, 0.0], [-0.17, -0.03]], 0),
        # Trained weights are replaced by better ones alone, be it those of an earlier fit ...
        (True, [[0.0, 0.0], [-0.4, 0.2]], 0),
        # ... or of this one. The best of those is no longer compared with the untrained ones.
        (False, [[0.0, 0.0], [-0.4, 0.2], [-0.6, 0.3]], 1),
        (False, [[0.0, 0.0], [-0.4, 0.2], [-0.5, 0.4]], 2),
    ],
)
def test_untrained_weights_are_kept_only_if_all_others_are_clearly_worse(
    continued, scores, expected
):
    trainer, states = toy_trainer(), []
    states.append(trainer.averaged_state())
    log = run_epochs(
        trainer, Source(toy_rows()), Budget(len(scores) - 1, None),
        hooks=Hooks(after_epoch=lambda n, state, log: states.append(state())),
        validation=Scores(scores), continued=continued,
    )  # fmt: skip
    assert log.best_score == pytest.approx(np.mean(scores[expected]))
    for name, value in log.best_state.items():
        assert torch.equal(value, states[expected][name])


def test_patience_ends_the_run():
    log = run_epochs(
        toy_trainer(), Source(toy_rows()), Budget(100, None),
        validation=Scores(itertools.repeat(0.0)), patience=3, tol=1e-4,
    )  # fmt: skip
    # The first score is progress; a hundred epochs have 30 evaluations, one every four epochs.
    assert log.stale == 3 and len(log.losses) < 20


def test_progress_below_tol_does_not_count():
    scores = [1e-5 * k for k in range(1, 100)]
    log = run_epochs(
        toy_trainer(), Source(toy_rows()), Budget(60, None), validation=Scores(scores),
        patience=2, tol=1e-2,
    )  # fmt: skip
    assert log.stale == 2
    # The last weights are the best all the same.
    assert log.best_score == scores[2]


def test_a_callback_can_stop_the_run():
    hooks = Hooks(after_epoch=lambda n, *_: n == 3)
    log = run_epochs(toy_trainer(), Source(toy_rows()), Budget(50, None), hooks=hooks)
    assert len(log.losses) == 3


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_non_finite_loss_names_the_column_and_keeps_good_weights(bad):
    good = toy_rows()
    spoilt, kept = good.clone(), []
    spoilt[:, 1] = bad

    def extreme_column(rows):
        return ["tall", "wide"][int(rows.isfinite().all(0)[1])]

    with pytest.raises(FloatingPointError, match="'tall' are the most extreme"):
        run_epochs(
            toy_trainer(), Source(lambda k: spoilt if k == 4 else good), Budget(10, None),
            validation=toy_validation(),
            hooks=Hooks(extreme_column=extreme_column, keep=kept.append),
        )  # fmt: skip
    (log,) = kept
    assert all(torch.isfinite(v).all() for v in log.best_state.values())
    assert len(log.losses) == 4
    assert log.best_score == max(log.validation_scores)


# Budgets


def test_seconds_bind_where_they_end_first(monkeypatch):
    begin, ticks = time.monotonic(), itertools.count()
    clock = SimpleNamespace(monotonic=lambda: begin + next(ticks) / 10)
    monkeypatch.setattr("gudlearn.training.loop.time", clock)
    # An epoch is one step here, and looks at the clock twice.
    gen = small(max_iter=10**6, max_time=3.0).fit(continuous(100))
    assert 10 <= gen.n_iter_ <= 16
    assert n_epochs("auto", 3.0, 100) is None


def test_epochs_bind_where_they_end_first():
    assert small(max_iter=3, max_time=600).fit(continuous(100)).n_iter_ == 3


def test_spent_is_the_larger_fraction_of_the_budget(monkeypatch):
    monkeypatch.setattr("gudlearn.training.loop.time", SimpleNamespace(monotonic=lambda: 105.0))
    assert Budget(10, None).spent(5) == 0.5
    assert Budget(0, None).spent(0) == 1
    assert Budget(None, None).spent(1000) == 0
    assert Budget(None, 10.0, 100.0).spent(0) == 0.5
    assert Budget(100, 10.0, 100.0).spent(1) == 0.5
    assert Budget(100, 10.0, 100.0).spent(90) == 0.9


def test_learning_rate_rises_and_falls_to_zero():
    factors = [learning_rate_factor(k, k / 1000) for k in range(1001)]
    peak = int(np.argmax(factors))
    assert 50 < peak < 150 and factors[500] == pytest.approx(0.5)
    assert (np.diff(factors[:peak]) > 0).all() and (np.diff(factors[peak:]) <= 0).all()
    assert factors[-1] == pytest.approx(0, abs=1e-12) and factors[0] == pytest.approx(0.01)
