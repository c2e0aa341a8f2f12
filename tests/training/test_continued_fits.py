"""Fits that go on from earlier ones: what they keep, take up and refuse."""

import pickle
from functools import partial

import numpy as np
import pandas as pd
import pytest
from torch import nn

from gudlearn import CosineSchedule
from gudlearn.generator import _TRAINERS
from small import continuous, dependent, small, whole


def one_hole():
    X = continuous()
    X[0, 1] = np.nan
    return X


@pytest.mark.parametrize("make", [list, np.array, pd.Series])
def test_bins_that_some_columns_have_are_the_same_at_every_fit(make):
    X = whole()
    gen = small(bin_width=make([1.0, np.nan, 1.0])).partial_fit(X)
    pickle.loads(pickle.dumps(gen)).partial_fit(X)
    assert gen.partial_fit(X).n_iter_ == 2
    for other in ([1.0, np.nan, np.nan], np.float64(1.0)):
        with pytest.raises(ValueError, match=r"^bin_width=.* was "):
            gen.set_params(bin_width=other).partial_fit(X)


class Wide(nn.Module):
    """Someone's network, which needs one number more than it is called with."""

    def __init__(self, n_components, n_channels, width):
        super().__init__()
        first = nn.Linear(n_components * n_channels, width)
        self.layers = nn.Sequential(nn.Flatten(), first, nn.Linear(width, n_components))

    def forward(self, inputs, gamma):
        return self.layers(inputs)


def test_a_network_that_a_callable_builds_is_the_same_at_every_fit():
    X = continuous()
    gen = small(network=partial(Wide, width=3)).partial_fit(X)
    pickle.loads(pickle.dumps(gen)).partial_fit(X)
    assert gen.partial_fit(X).n_iter_ == 2
    gen.set_params(network=partial(Wide, width=3))
    with pytest.raises(ValueError, match=r"^network=.* was another object of that kind"):
        gen.partial_fit(X)


def test_a_pass_needs_no_rows_to_judge_by():
    gen = small(early_stopping=True).partial_fit(continuous(8))
    assert gen.partial_fit(continuous(8)).n_iter_ == 2
    with pytest.raises(ValueError, match="of 8 rows holds none out"):
        gen.fit(continuous(8))


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_holes_are_refused_later_too_where_the_basis_mixes_columns(method):
    X = continuous()
    gen = small(basis="pca", warm_start=True).fit(X)
    before = gen.score_samples(X)
    with pytest.raises(ValueError, match="contains NaN, but PCABasis mixes columns"):
        getattr(gen, method)(one_hole())
    np.testing.assert_array_equal(gen.score_samples(X), before)


def test_a_network_that_saw_parts_of_rows_goes_on_seeing_them():
    X = continuous()
    gen = small().partial_fit(one_hole()).partial_fit(X)
    assert gen.conditional_rate_ == 0.3
    assert gen.conditioning_method([0]) == "exact"
    gen.set_params(conditional_rate=0.0).partial_fit(X)
    assert gen.conditional_rate_ == _TRAINERS[gen].masks.rate == 0


def test_a_network_begins_to_see_parts_of_rows_with_the_first_hole():
    gen = small().partial_fit(continuous())
    assert gen.conditional_rate_ == _TRAINERS[gen].masks.rate == 0
    gen.partial_fit(one_hole())
    assert gen.conditional_rate_ == _TRAINERS[gen].masks.rate == 0.3


def test_later_rows_may_lack_a_column():
    X = whole()
    gen = small(bin_width=1.0).partial_fit(X)
    X[:, 1] = np.nan
    assert np.isfinite(gen.partial_fit(X).score_samples(whole())).all()


def test_labels_are_wanted_at_every_pass():
    X, y = continuous(), np.arange(40) % 2
    gen = small(class_conditional=True).partial_fit(X, y)
    assert gen.partial_fit(X, y).n_iter_ == 2
    with pytest.raises(ValueError, match="requires y"):
        gen.partial_fit(X)
    assert gen.n_iter_ == 2


def test_rows_in_which_nothing_varies_count_passes():
    gen = small().partial_fit(np.ones((5, 2)))
    assert gen.partial_fit(np.ones((5, 2))).n_iter_ == 2


def test_a_warm_start_goes_on_from_the_weights():
    X = dependent()
    gen = small(
        max_iter=20, warm_start=True, learning_rate_init=1e-2, preconditioning="marginal"
    ).fit(X)
    basis, weights, first = gen.basis_, gen.weights_, gen.best_validation_score_
    gen.fit(X)
    assert gen.basis_ is basis
    assert any(not np.array_equal(weights[k], gen.weights_[k]) for k in weights)
    assert gen.n_iter_ == len(gen.loss_curve_) == 40
    assert gen.validation_iters_ == sorted(gen.validation_iters_)
    assert gen.best_validation_score_ >= first - 0.02
    # The second run begins where the first ended, not at the untrained model.
    second = gen.validation_scores_[gen.validation_iters_.index(20) + 1]
    assert abs(second - first) < 0.5 * (first - gen.validation_scores_[0])


@pytest.mark.parametrize(
    "change",
    [{"basis": "pca"}, {"network__width": 8}, {"bin_width": 1.0}, {"preconditioning": "gaussian"}],
    ids=repr,
)
def test_a_warm_start_refuses_what_its_weights_do_not_fit(change):
    X = whole()
    gen = small(warm_start=True, bin_width=None).fit(X)
    before = gen.score_samples(X)
    (name,) = {key.partition("__")[0] for key in change}
    with pytest.raises(ValueError, match=f"^{name}=.* was .* fit anew with warm_start=False"):
        gen.set_params(**change).fit(X)
    np.testing.assert_array_equal(gen.score_samples(X), before)


def test_a_warm_start_takes_a_new_schedule_and_equal_parameters():
    X = whole()
    gen = small(warm_start=True, bin_width=1).fit(X)
    gen.set_params(schedule="cosine", bin_width=1.0).fit(X)
    assert isinstance(gen.schedule_, CosineSchedule)
    assert gen.n_iter_ == 4


def test_a_failed_partial_fit_is_forgotten():
    X = continuous()
    gen = small().fit(X)
    gen.set_params(learning_rate_init=1e30, optimizer="adamw")
    with pytest.raises(FloatingPointError):
        for _ in range(20):
            gen.partial_fit(X)
    # The optimiser that spoilt the weights is gone; the weights are those of the last good pass.
    assert all(np.isfinite(w).all() for w in gen.weights_.values())
    assert gen not in _TRAINERS


def test_warm_starts_lower_the_loss():
    X = dependent(200)
    gen = small(
        max_iter=15, warm_start=True, validation_fraction=0, preconditioning="marginal"
    ).fit(X)
    for _ in range(2):
        gen.fit(X)
    assert np.mean(gen.loss_curve_[-10:]) < np.mean(gen.loss_curve_[:10]) - 0.05


def test_without_a_warm_start_fit_begins_anew():
    X = continuous()
    gen = small().fit(3 * X + 1)
    np.testing.assert_array_equal(gen.fit(X).score_samples(X), small().fit(X).score_samples(X))


@pytest.mark.parametrize("stored", [False, True])
def test_partial_fits_make_one_pass_each(stored):
    X = continuous()
    gen = small(learning_rate_init=1e-2)
    for n_passes in range(1, 4):
        gen.partial_fit(X[:20] if n_passes % 2 else X[20:])
        assert gen.n_iter_ == len(gen.loss_curve_) == n_passes
        before = gen.weights_
        if stored:
            gen = pickle.loads(pickle.dumps(gen))
    basis = gen.basis_
    gen.partial_fit(X)
    assert gen.basis_ is basis
    assert any(not np.array_equal(before[k], gen.weights_[k]) for k in before)
    assert np.isfinite(gen.score(X))


def test_partial_fit_goes_on_from_fit():
    X = continuous()
    gen = small().fit(X)
    weights = gen.weights_
    gen.partial_fit(X)
    assert gen.n_iter_ == 3
    assert any(not np.array_equal(weights[k], gen.weights_[k]) for k in weights)
