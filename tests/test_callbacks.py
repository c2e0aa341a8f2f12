"""scikit-learn's callbacks, and ours."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.callback import ProgressBar, ScoringMonitor
from sklearn.model_selection import GridSearchCV

from gudlearn import LikelihoodMonitor
from gudlearn.training.validation import Validation
from small import continuous, few_draws, small


@pytest.fixture(autouse=True)
def few_draws_of_noise(monkeypatch):
    few_draws(monkeypatch)


class Recorder:
    """Keeps the fitted estimator of each epoch, and asks to stop after some epochs."""

    def __init__(self, stop_after=None):
        self.stop_after = stop_after
        self.epochs = []

    def setup(self, estimator, context):
        pass

    def teardown(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context, *, X=None):
        pass

    def on_fit_task_end(self, estimator, context, *, X=None, fitted_estimator=None):
        if context.task_name != "epoch":
            return None
        self.epochs.append(fitted_estimator)
        return len(self.epochs) == self.stop_after


class Everywhere(Recorder):
    """Counts epochs in every estimator below the one it is set on."""

    max_propagation_depth = None


def test_an_interrupted_fit_keeps_the_epochs_that_it_has_made():
    class Interrupts(Recorder):
        def on_fit_task_end(self, estimator, context, *, X=None, fitted_estimator=None):
            if super().on_fit_task_end(estimator, context, fitted_estimator=fitted_estimator):
                raise KeyboardInterrupt

    X = continuous()
    gen = small(max_iter=20, warm_start=True).set_callbacks(Interrupts(stop_after=3))
    with pytest.raises(KeyboardInterrupt):
        gen.fit(X)
    assert gen.n_iter_ == len(gen.loss_curve_) == 3
    gen.set_callbacks().fit(X)
    assert gen.n_iter_ == len(gen.loss_curve_) == 23
    assert gen.validation_iters_ == sorted(gen.validation_iters_)


def test_a_callback_is_called_after_each_epoch_with_a_fitted_estimator():
    X = continuous()
    recorder = Recorder()
    gen = small(max_iter=3).set_callbacks(recorder).fit(X)
    assert [g.n_iter_ for g in recorder.epochs] == [1, 2, 3]
    assert all(np.isfinite(g.score(X[:5])) for g in recorder.epochs)
    assert [len(g.loss_curve_) for g in recorder.epochs] == [1, 2, 3]
    assert gen.loss_curve_ == recorder.epochs[-1].loss_curve_


@pytest.mark.parametrize("best", [0, 1, 3, 4])
def test_the_weights_of_the_best_evaluation_are_kept(best, monkeypatch):
    scores = np.array([0.0, 0.2, 0.1, 0.3, 0.25])
    scores[best] = 1.0
    remaining = iter(scores)
    monkeypatch.setattr(Validation, "scores", lambda self, trainer: torch.tensor([next(remaining)]))
    recorder = Recorder()
    gen = small(max_iter=4).set_callbacks(recorder).fit(continuous())
    assert gen.validation_iters_ == [0, 1, 2, 3, 4]
    np.testing.assert_array_equal(gen.validation_scores_, scores)
    assert gen.best_validation_score_ == 1.0
    kept = recorder.epochs[best - 1] if best else small(max_iter=0).fit(continuous())
    for name, weight in gen.weights_.items():
        np.testing.assert_array_equal(weight, kept.weights_[name])


def test_a_callback_that_returns_true_stops_training():
    gen = small(max_iter=9).set_callbacks(Recorder(stop_after=2)).fit(continuous())
    assert gen.n_iter_ == 2
    assert len(gen.loss_curve_) == 2


def test_callbacks_do_not_change_the_fit():
    X = continuous()
    plain = small().fit(X)
    watched = small().set_callbacks(Recorder(), LikelihoodMonitor(every=1)).fit(X)
    np.testing.assert_array_equal(plain.score_samples(X), watched.score_samples(X))


def test_the_progress_bar_runs(capsys):
    small().set_callbacks(ProgressBar()).fit(continuous())
    assert "GUDGenerator - fit" in capsys.readouterr().out


def test_the_progress_bar_runs_without_a_number_of_epochs(capsys):
    gen = small(max_iter="auto", max_time=2.0).set_callbacks(ProgressBar()).fit(continuous())
    assert gen.n_iter_ == len(gen.loss_curve_)
    assert "GUDGenerator - fit" in capsys.readouterr().out


def test_the_monitor_logs_the_score_of_every_second_epoch():
    X, held_out = continuous(), continuous(seed=1)
    monitor, recorder = LikelihoodMonitor(held_out, every=2), Recorder()
    small(max_iter=5).set_callbacks(monitor, recorder).fit(X)
    log = monitor.get_logs().data
    assert [entry["task_id"] for entry in log] == [1, 3]
    expected = [recorder.epochs[i].score(held_out) for i in (1, 3)]
    np.testing.assert_allclose([entry["log_likelihood"] for entry in log], expected)


def test_the_monitor_scores_at_most_some_rows_at_equal_intervals():
    X = continuous(100)
    monitor, recorder = LikelihoodMonitor(every=1, max_rows=5), Recorder()
    small(max_iter=1).set_callbacks(monitor, recorder).fit(X)
    some = X[np.linspace(0, 99, 5).astype(int)]
    (entry,) = monitor.get_logs().data
    assert entry["log_likelihood"] == pytest.approx(recorder.epochs[0].score(some))


@pytest.mark.parametrize("own_rows", [True, False])
def test_the_monitor_takes_frames(own_rows):
    X = pd.DataFrame(continuous(), columns=list("abc"))
    monitor = LikelihoodMonitor(X if own_rows else None, every=1, max_rows=9)
    small(max_iter=1).set_callbacks(monitor).fit(X)
    assert len(monitor.get_logs().data) == 1


def test_the_monitor_of_scikit_learn_changes_nothing():
    gen = small().set_callbacks(ScoringMonitor(scoring="r2")).fit(continuous())
    assert gen.loss_curve_ == small().fit(continuous()).loss_curve_


def test_a_grid_search_passes_callbacks_on(capsys):
    search = GridSearchCV(small(), {"schedule__softness": [0.5, np.inf]}, cv=2)
    callback = Everywhere()
    search.set_callbacks(callback, ProgressBar()).fit(continuous())
    # Two candidates on two splits and the refit, of two epochs each.
    assert len(callback.epochs) == (2 * 2 + 1) * 2
    assert "GridSearchCV" in capsys.readouterr().out


def test_a_monitor_inside_a_grid_search_logs_every_fit():
    monitor = LikelihoodMonitor(every=2, max_rows=2)
    gen = small().set_callbacks(monitor)
    GridSearchCV(gen, {"max_iter": [2, 4]}, cv=2, refit=False).fit(continuous())
    assert len(monitor.get_logs().data) == 2 * (1 + 2)


def test_a_clone_keeps_callbacks():
    monitor = LikelihoodMonitor(every=1)
    clone(small(max_iter=1).set_callbacks(monitor)).fit(continuous())
    assert len(monitor.get_logs().data) == 1


@pytest.mark.parametrize("name", ["every", "max_rows"])
@pytest.mark.parametrize("value", [0, -1, 2.5, True, "1"])
def test_bad_parameters_of_the_monitor_are_refused(name, value):
    with pytest.raises(ValueError, match=f"{name}=.* must be a whole number of at least 1"):
        LikelihoodMonitor(**{name: value})
