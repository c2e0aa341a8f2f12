"""What conditioning refuses, and what it warns about."""

import copy

import numpy as np
import pytest

from gudlearn import BlockBasis, IdentityBasis, PCABasis, Schema
from small import continuous, small, whole, with_missing

RATE = {"conditional_rate": 0.5}


def test_bases_that_mix_columns_refuse_missing_values():
    X = with_missing(continuous())
    block = BlockBasis([("p", PCABasis(), [0, 1]), ("i", IdentityBasis(), [2])])
    for basis, name in (
        ("pca", "PCA"), (block, "PCA"), ("fourier", "Fourier"), ("wavelet", "Wavelet"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=f"contains NaN, but {name}Basis mixes.*IdentityBas"):
            small(basis=basis).fit(X)
    gen = small(basis="pca", max_iter=0).fit(continuous())
    with pytest.raises(ValueError, match="NaN in X parts columns that basis=PCABasis"):
        gen.score_samples(X)
    with pytest.raises(ValueError, match="given_columns parts columns"):
        gen.score_samples(continuous(), given_columns=[0])
    with pytest.raises(ValueError, match="conditioning='exact' needs observed columns"):
        gen.set_params(conditioning="exact").sample(given=X)


def test_a_column_without_values_is_refused():
    X = continuous()
    X[:, 1] = np.nan
    with pytest.raises(ValueError, match=r"Columns \['x1'\] of X hold nothing but NaN"):
        small().fit(X)
    with pytest.raises(ValueError, match="Column 1 of X holds nothing but NaN"):
        IdentityBasis().fit(X)


def test_the_flow_scores_whole_rows_only():
    gen = small(max_iter=0, likelihood="flow", **RATE).fit(continuous())
    with pytest.raises(ValueError, match="scores whole rows only, but there is given_columns"):
        gen.score_samples(continuous(), given_columns=[0])


def test_a_model_of_whole_rows_warns_about_parts():
    gen = small(max_iter=1).fit(continuous())
    with pytest.warns(UserWarning, match="conditional_rate=0"):
        gen.score_samples(continuous(), given_columns=[0])
    assert gen.conditioning_method([0]) == "posterior"
    partial = with_missing(continuous())
    with pytest.warns(UserWarning, match="conditional_rate=0.*observed values guide it"):
        gen.sample(given=partial)
    exact = clone_with(gen, conditioning="exact")
    with pytest.warns(UserWarning, match="conditional_rate=0.*may lead it astray"):
        exact.sample(given=partial)
    for warned in (
        lambda: gen.score(partial), lambda: gen.score_columns(continuous()),
        lambda: exact.conditional_mean(partial), lambda: gen.extend(continuous(), 1),
    ):  # fmt: skip
        with pytest.warns(UserWarning, match="conditional_rate=0") as record:
            warned()
        # The warning points to the user's line.
        assert [warning.filename for warning in record] == [__file__]
    # There is no warning where nothing is observed,
    gen.sample(given=np.full((2, 3), np.nan))
    # nor where the user chose the method, or the basis leaves no other.
    clone_with(gen, conditioning="posterior").sample(given=partial)
    small(basis="pca", max_iter=0).fit(continuous()).sample(given=partial)


def clone_with(gen, **parameters):
    """A copy of a fitted estimator with other parameters."""
    return copy.deepcopy(gen).set_params(**parameters)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (["z"], ValueError, "given_columns names column 'z'.*'x0', 'x1'"),
        ([3], ValueError, "given_columns holds the index 3.*columns 0 to 2"),
        ([-4], ValueError, "index -4"),
        ([True, False], ValueError, r"mask of shape \(2,\).*shape \(3,\)"),
        ([0.5], TypeError, "names of columns, their indices"),
        ([[0, 1]], TypeError, "names of columns, their indices"),
    ],
)
def test_given_columns_that_are_refused(given, error, message):
    gen = small(max_iter=0, **RATE).fit(continuous())
    with pytest.raises(error, match=message):
        gen.score_samples(continuous(), given_columns=given)


A = np.ones((2, 3))


@pytest.mark.parametrize(
    ("observation", "error", "message"),
    [
        (A, TypeError, "tuple"),
        ((A[:, :2], [0.0, 0.0], 0.1), ValueError, r"A of shape \(2, 2\).*\(m, 3\)"),
        ((A, [0.0], 0.1), ValueError, r"y of shape \(1,\), but A has 2 rows"),
        ((A, [0.0, 0.0], -1.0), ValueError, "noise_std=-1.0"),
        ((A, [0.0, 0.0], [0.1, 0.1, 0.1]), ValueError, "noise_std"),
        ((A, [0.0, np.nan], 0.1), ValueError, "finite"),
        ((A, np.empty((0, 2)), 0.1), ValueError, r"y of shape \(0, 2\)"),
        ((A[:0], [], 0.1), ValueError, "A has 0 rows"),
    ],
)
def test_observations_that_are_refused(observation, error, message):
    gen = small(max_iter=0).fit(continuous())
    with pytest.raises(error, match=message):
        gen.sample(observation=observation)


def test_observed_values_that_are_refused():
    X = whole()
    gen = small(max_iter=0, bin_width=1.0, **RATE).fit(X)
    with pytest.raises(ValueError, match="given= or observation="):
        gen.sample(given=X, observation=(A, [0.0, 0.0], 0.1))
    with pytest.raises(ValueError, match="multiple of bin_width"):
        gen.sample(given=X + 0.5)
    with pytest.raises(ValueError, match="conditioning='exact' takes whole observed comp"):
        gen.set_params(conditioning="exact").sample(observation=(A, [0.0, 0.0], 0.1))


def test_parameters_set_after_fit_are_checked_before_use():
    gen = small(max_iter=0, **RATE).fit(continuous())
    gen.conditioning = "Posterior"
    for call in (
        lambda: gen.sample(given=with_missing(continuous())),
        lambda: gen.sample(observation=([[1.0, 0.0, 0.0]], [0.0], 0.0)),
        lambda: gen.conditioning_method([0]),
    ):
        with pytest.raises(ValueError, match="'conditioning'.*must be a str among"):
            call()
    gen.likelihood = "Flow"
    for call in (gen.score_samples, gen.score_components):
        with pytest.raises(ValueError, match="'likelihood'.*must be a str among"):
            call(continuous())


@pytest.mark.parametrize("q", [1.5, [-0.1], [[0.5]], []])
def test_quantiles_that_are_refused(q):
    gen = small(max_iter=0, **RATE).fit(continuous())
    with pytest.raises(ValueError, match="must be a number in"):
        gen.conditional_quantile(with_missing(continuous()), q)


def test_observations_of_columns_that_are_mapped_are_refused():
    X = continuous(400)
    X[:, 1] = np.exp(X[:, 1])
    gen = small(max_iter=0).fit(X)
    message = "linear function of numbers, but column 'x1' is mapped.*gaussianize=False"
    with pytest.raises(ValueError, match=message):
        gen.sample(observation=([[1.0, -2.0, 0.0]], [0.0], 0.1))
    # A function of the other columns is linear.
    drawn = gen.sample(4, observation=([[1.0, 0.0, 1.0]], [2.0], 0.0))
    # Samples have the noise of gamma(0) of two columns; the largest standard deviation is 1.5.
    floor = 5 * 3 * np.exp(0.5 * gen.state_.encoding.ends.gamma_0.max())
    np.testing.assert_allclose(drawn[:, 0] + drawn[:, 2], 2, atol=floor)
    linear = small(max_iter=0, schema=Schema(gaussianize=False, clip=False)).fit(X)
    drawn = linear.sample(4, observation=([[1.0, -2.0, 0.0]], [0.0], 0.0))
    np.testing.assert_allclose(drawn[:, 0], 2 * drawn[:, 1], atol=0.1)
