"""Fits that go on from earlier ones: what they keep, take up and refuse."""

import pickle
from functools import partial

import numpy as np
import pandas as pd
import pytest
from torch import nn

from gudlearn.generator import _TRAINERS
from small import continuous, small, whole


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
    assert gen.conditional_rate_ == _TRAINERS[gen].states.rate == 0


def test_a_network_begins_to_see_parts_of_rows_with_the_first_hole():
    gen = small().partial_fit(continuous())
    assert gen.conditional_rate_ == _TRAINERS[gen].states.rate == 0
    gen.partial_fit(one_hole())
    assert gen.conditional_rate_ == _TRAINERS[gen].states.rate == 0.3


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
