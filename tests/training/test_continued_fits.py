"""Fits that continue earlier ones: what they keep, what they change, and what they refuse."""

import pickle
from functools import partial

import numpy as np
import pandas as pd
import pytest
from torch import nn

from gudlearn import CosineSchedule
from gudlearn.model.device import to_arrays
from gudlearn.training.trainer import Trainer
from gudlearn.training.validation import Validation
from small import continuous, dependent, small, whole


def with_one_missing_value():
    X = continuous()
    X[0, 1] = np.nan
    return X


def weights_differ(before, after):
    return any(not np.array_equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("make", [list, np.array, pd.Series])
def test_bins_of_some_columns_are_the_same_at_every_fit(make):
    X = whole()
    gen = small(bin_width=make([1.0, np.nan, 1.0])).partial_fit(X)
    pickle.loads(pickle.dumps(gen)).partial_fit(X)
    assert gen.partial_fit(X).n_iter_ == 2
    for other in ([1.0, np.nan, np.nan], np.float64(1.0)):
        with pytest.raises(ValueError, match=r"^bin_width=.* was "):
            gen.set_params(bin_width=other).partial_fit(X)


class UserNetwork(nn.Module):
    """A user's network, which needs one number more than it is called with."""

    def __init__(self, n_components, n_channels, width):
        super().__init__()
        first = nn.Linear(n_components * n_channels, width)
        self.layers = nn.Sequential(nn.Flatten(), first, nn.Linear(width, n_components))

    def forward(self, inputs, gamma):
        return self.layers(inputs)


def test_a_network_built_by_a_callable_is_the_same_at_every_fit():
    X = continuous()
    gen = small(network=partial(UserNetwork, width=3)).partial_fit(X)
    pickle.loads(pickle.dumps(gen)).partial_fit(X)
    assert gen.partial_fit(X).n_iter_ == 2
    gen.set_params(network=partial(UserNetwork, width=3))
    with pytest.raises(ValueError, match=r"^network=.* was another object of that kind"):
        gen.partial_fit(X)


def test_partial_fit_needs_no_rows_to_judge_by():
    gen = small(early_stopping=True).partial_fit(continuous(8))
    assert gen.partial_fit(continuous(8)).n_iter_ == 2
    with pytest.raises(ValueError, match="of 8 rows holds none out"):
        gen.fit(continuous(8))


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_missing_values_are_refused_later_too_where_the_basis_mixes_columns(method):
    X = continuous()
    gen = small(basis="pca", warm_start=True).fit(X)
    before = gen.score_samples(X)
    with pytest.raises(ValueError, match="contains NaN, but PCABasis mixes columns"):
        getattr(gen, method)(with_one_missing_value())
    np.testing.assert_array_equal(gen.score_samples(X), before)


@pytest.fixture
def training_rates(monkeypatch):
    """Fractions of partially observed rows at the optimiser's steps, in a list that grows."""
    rates, step = [], Trainer.step

    def spy(self, *args):
        rates.append(self.masks.rate)
        return step(self, *args)

    monkeypatch.setattr(Trainer, "step", spy)
    return rates


def test_a_network_that_saw_partial_rows_goes_on_seeing_them(training_rates):
    X = continuous()
    gen = small().partial_fit(with_one_missing_value()).partial_fit(X)
    assert gen.conditional_rate_ == training_rates[-1] == 0.3
    assert gen.conditioning_method([0]) == "exact"
    gen.set_params(conditional_rate=0.0).partial_fit(X)
    assert gen.conditional_rate_ == training_rates[-1] == 0


def test_a_network_begins_to_see_partial_rows_with_the_first_missing_value(training_rates):
    gen = small().partial_fit(continuous())
    assert gen.conditional_rate_ == training_rates[-1] == 0
    gen.partial_fit(with_one_missing_value())
    assert gen.conditional_rate_ == training_rates[-1] == 0.3


def test_a_column_may_be_missing_in_later_rows():
    X = whole()
    gen = small(bin_width=1.0).partial_fit(X)
    X[:, 1] = np.nan
    assert np.isfinite(gen.partial_fit(X).score_samples(whole())).all()


def test_labels_are_required_at_every_partial_fit():
    X, y = continuous(), np.arange(40) % 2
    gen = small(class_conditional=True).partial_fit(X, y)
    assert gen.partial_fit(X, y).n_iter_ == 2
    with pytest.raises(ValueError, match="requires y"):
        gen.partial_fit(X)
    assert gen.n_iter_ == 2


def test_constant_rows_count_epochs():
    gen = small().partial_fit(np.ones((5, 2)))
    assert gen.partial_fit(np.ones((5, 2))).n_iter_ == 2


def test_a_warm_start_continues_from_the_weights(monkeypatch):
    X = dependent()
    settings = {"max_iter": 20, "learning_rate_init": 1e-2, "preconditioning": "marginal"}
    gen = small(warm_start=True, **settings).fit(X)
    basis, weights = gen.basis_, gen.weights_
    evaluated, scores = [], Validation.scores

    def spy(self, trainer):
        evaluated.append(to_arrays(trainer.averaged_state()))
        return scores(self, trainer)

    monkeypatch.setattr(Validation, "scores", spy)
    n_before = len(gen.validation_scores_)
    gen.fit(X)
    assert gen.basis_ is basis
    assert not weights_differ(weights, evaluated[0])
    assert weights_differ(weights, gen.weights_)
    assert gen.n_iter_ == len(gen.loss_curve_) == 40
    assert gen.validation_iters_ == sorted(gen.validation_iters_)
    # The weights of the first run are candidates of the second.
    assert gen.best_validation_score_ == max(gen.validation_scores_[n_before:])


@pytest.mark.parametrize(
    "change",
    [{"basis": "pca"}, {"network__width": 8}, {"bin_width": 1.0}, {"preconditioning": "gaussian"}],
    ids=repr,
)
def test_a_warm_start_refuses_changes_that_the_weights_rest_on(change):
    X = whole()
    gen = small(warm_start=True, bin_width=None).fit(X)
    before = gen.score_samples(X)
    (name,) = {key.partition("__")[0] for key in change}
    with pytest.raises(ValueError, match=f"^{name}=.* was .* fit with warm_start=False"):
        gen.set_params(**change).fit(X)
    np.testing.assert_array_equal(gen.score_samples(X), before)


def test_a_warm_start_accepts_a_new_schedule_and_equal_parameters():
    X = whole()
    gen = small(warm_start=True, bin_width=1).fit(X)
    gen.set_params(schedule="cosine", bin_width=1.0).fit(X)
    assert isinstance(gen.schedule_, CosineSchedule)
    assert gen.n_iter_ == 4


def test_partial_fit_recovers_after_a_failure():
    X = continuous()
    gen = small().fit(X)
    gen.set_params(learning_rate_init=1e30, optimizer="adamw")
    with pytest.raises(FloatingPointError):
        for _ in range(20):
            gen.partial_fit(X)
    assert all(np.isfinite(w).all() for w in gen.weights_.values())
    # The optimiser that spoilt its weights is gone; a new one starts from the last good weights.
    before = gen.n_iter_
    gen.set_params(learning_rate_init=1e-3).partial_fit(X)
    assert gen.n_iter_ == before + 1
    assert all(np.isfinite(w).all() for w in gen.weights_.values())


def test_warm_starts_lower_the_loss():
    X = dependent(400)
    settings = {"validation_fraction": 0, "preconditioning": "marginal"}
    gen = small(max_iter=20, warm_start=True, learning_rate_init=1e-2, **settings).fit(X)
    for _ in range(2):
        gen.fit(X)
    assert np.mean(gen.loss_curve_[-20:]) < np.mean(gen.loss_curve_[:20]) - 0.15


def test_without_warm_start_a_fit_ignores_the_last_one():
    X = continuous()
    gen = small().fit(3 * X + 1)
    np.testing.assert_array_equal(gen.fit(X).score_samples(X), small().fit(X).score_samples(X))


@pytest.mark.parametrize("stored", [False, True])
def test_partial_fits_make_one_epoch_each(stored):
    X = continuous()
    gen = small(learning_rate_init=1e-2)
    for n_epochs in range(1, 4):
        gen.partial_fit(X[:20] if n_epochs % 2 else X[20:])
        assert gen.n_iter_ == len(gen.loss_curve_) == n_epochs
        before = gen.weights_
        if stored:
            gen = pickle.loads(pickle.dumps(gen))
    basis = gen.basis_
    gen.partial_fit(X)
    assert gen.basis_ is basis
    assert weights_differ(before, gen.weights_)
    assert np.isfinite(gen.score(X))


def test_partial_fit_continues_from_fit():
    X = continuous()
    gen = small().fit(X)
    weights = gen.weights_
    gen.partial_fit(X)
    assert gen.n_iter_ == 3
    assert weights_differ(weights, gen.weights_)
