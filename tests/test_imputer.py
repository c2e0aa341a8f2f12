"""Imputation: the container, the strategies, and what scikit-learn expects of an imputer."""

import numpy as np
import pandas as pd
import pytest
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, SimpleImputer
from sklearn.linear_model import LinearRegression
from sklearn.mixture import GaussianMixture
from sklearn.pipeline import make_pipeline

from gudlearn import BlockBasis, GUDImputer, IdentityBasis
from small import continuous, dependent, small, whole


def with_missing(X, fraction=0.2, seed=0):
    X = X.astype(float)
    X[np.random.default_rng(seed).random(X.shape) < fraction] = np.nan
    return X


def imputer(**parameters):
    settings = {"generator": small(max_iter=1), "n_samples": 4, "random_state": 0}
    return GUDImputer(**{**settings, **parameters})


@pytest.mark.parametrize("strategy", ["mean", "median", "sample"])
def test_observed_values_stay_and_missing_ones_are_imputed(strategy):
    X = with_missing(continuous())
    # A seventh of the sum of seven equal numbers is not always that number. An answer to a mean
    # stands for two draws.
    found = imputer(strategy=strategy, n_samples=14).fit_transform(X)
    observed = ~np.isnan(X)
    np.testing.assert_array_equal(found[observed], X[observed])
    assert np.isfinite(found).all()


@pytest.mark.parametrize("strategy", ["mean", "median"])
def test_a_row_is_imputed_independently_of_the_others(strategy):
    X = with_missing(continuous())
    fitted = imputer(strategy=strategy).fit(X)
    found = fitted.transform(X)
    np.testing.assert_array_equal(fitted.transform(X[::-1])[::-1], found)
    np.testing.assert_array_equal(fitted.transform(X[5:9]), found[5:9])


@pytest.mark.parametrize(("conditioning", "same"), [("posterior", True), ("auto", False)])
def test_means_are_those_of_samples_only_where_these_are_guided(conditioning, same):
    X = with_missing(continuous())
    # Where samples are exact, means are those of the denoiser's answers.
    generator = small(max_iter=1, conditional_rate=0.3, conditioning=conditioning)
    fitted = imputer(generator=generator, n_samples=1).fit(X)
    mean = fitted.transform(X)
    median = fitted.set_params(strategy="median").transform(X)
    assert (median == mean).all() == same


def test_the_first_of_several_imputations_is_that_of_transform():
    X = with_missing(continuous())
    sample = imputer(strategy="sample").fit(X)
    draws = sample.sample_imputations(X, 3)
    assert draws.shape == (3, *X.shape)
    np.testing.assert_array_equal(draws[0], sample.transform(X))
    assert (draws[0] != draws[1])[np.isnan(X)].all()
    equal = np.repeat(X[[np.isnan(X).any(1).argmax()]], 5, axis=0)
    assert len(np.unique(sample.transform(equal), axis=0)) == 5


@pytest.mark.parametrize("strategy", ["mean", "median", "sample"])
def test_dependent_columns_are_imputed_by_each_other(strategy):
    X = dependent(200)
    partial = X.copy()
    partial[::4, 1] = np.nan
    found = imputer(strategy=strategy, n_samples=10).fit_transform(partial)
    # The standard deviation given the first column is 0.1, alone it is 1.
    error = np.sqrt(np.mean((found - X)[::4, 1] ** 2))
    assert error < 0.3


def test_integers_are_imputed_by_integers():
    X = with_missing(whole(100))
    fitted = imputer(strategy="sample").fit(X)
    found = fitted.transform(X)
    assert (found == np.rint(found)).all()
    assert found.min() >= 0 and found.max() <= 4
    # An observed value need not lie on the grid.
    X[0, 0] = 0.5
    assert fitted.transform(X)[0, 0] == 0.5


def test_a_constant_column_is_imputed_by_its_value():
    X = with_missing(continuous())
    X[:, 1] = np.where(np.isnan(X[:, 1]), np.nan, 0.3)
    fitted = imputer(n_samples=14).fit(X)
    for strategy in ("mean", "median", "sample"):
        assert (fitted.set_params(strategy=strategy).transform(X)[:, 1] == 0.3).all()


def test_missing_values_may_be_a_number():
    X = whole()
    X[3, 1] = -1
    found = imputer(missing_values=-1).fit_transform(X)
    assert found[3, 1] != -1
    assert (np.delete(found, 3, 0) == np.delete(X, 3, 0)).all()


@pytest.mark.filterwarnings("ignore:Skipping features without any observed values")
@pytest.mark.parametrize("keep", [False, True])
def test_empty_columns_are_dropped_or_kept(keep):
    X = np.column_stack([with_missing(continuous()), np.full(40, np.nan)])
    fitted = imputer(keep_empty_features=keep).fit(X)
    expected = IterativeImputer(keep_empty_features=keep, max_iter=1, tol=1e9).fit(X)
    found = fitted.transform(X)
    assert found.shape == expected.transform(X).shape
    assert fitted.get_feature_names_out().tolist() == expected.get_feature_names_out().tolist()
    if keep:
        assert (found[:, 3] == 0).all()


def test_a_table_of_empty_columns():
    X = np.full((4, 2), np.nan)
    assert imputer().fit_transform(X).shape == (4, 0)
    assert (imputer(keep_empty_features=True).fit_transform(X) == 0).all()


def test_indicators_follow_the_columns():
    X = pd.DataFrame(with_missing(continuous()), columns=["a", "b", "c"])
    X["c"] = continuous()[:, 2]
    fitted = imputer(add_indicator=True).fit(X)
    simple = SimpleImputer(add_indicator=True).fit(X)
    names = fitted.get_feature_names_out()
    assert names.tolist() == simple.get_feature_names_out().tolist()
    np.testing.assert_array_equal(fitted.transform(X)[:, 3:], simple.transform(X)[:, 3:])
    frame = fitted.set_output(transform="pandas").transform(X)
    assert frame.columns.tolist() == names.tolist()


def test_an_imputer_is_a_step_of_a_pipeline():
    X = with_missing(continuous())
    y = continuous()[:, 0]
    model = make_pipeline(imputer(), LinearRegression()).fit(X, y)
    assert np.isfinite(model.predict(X)).all()


def test_the_default_conditional_rate_is_one_half():
    X = continuous()
    assert imputer().fit(X).generator_.conditional_rate_ == 0.5
    given = small(max_iter=1, conditional_rate=0.2)
    assert imputer(generator=given).fit(X).generator_.conditional_rate_ == 0.2
    assert given.conditional_rate == 0.2


def test_a_network_that_saw_no_partial_rows_is_warned_of():
    X = continuous()
    given = small(max_iter=1, conditional_rate=0)
    model = imputer(generator=given).fit(X)
    X[0, 0] = np.nan
    with pytest.warns(UserWarning, match="observed values guide it"):
        model.transform(X)
    # Where nothing is observed nothing guides.
    assert np.isfinite(model.transform(np.full((2, 3), np.nan))).all()


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"strategy": "mode"}, ValueError, "strategy"),
        ({"n_samples": 0}, ValueError, "n_samples"),
        ({"generator": LinearRegression()}, ValueError, "generator"),
        ({"generator": GaussianMixture()}, TypeError, "cannot complete rows"),
        ({"missing_values": "?"}, ValueError, "missing_values"),
    ],
    ids=repr,
)
def test_bad_parameters_are_refused(parameters, error, message):
    with pytest.raises(error, match=message):
        imputer(**parameters).fit(continuous())


def test_a_bad_number_of_imputations_is_refused():
    with pytest.raises(ValueError, match="^m=0 must be"):
        imputer().fit(continuous()).sample_imputations(continuous(), 0)


def test_medians_of_integers_are_integers_and_means_are_not():
    X = with_missing(whole())
    X[:, 2] += 0.5
    fitted, missing = imputer(n_samples=3).fit(X), np.isnan(X[:, :2])
    mean = fitted.transform(X)[:, :2]
    median = fitted.set_params(strategy="median").transform(X)[:, :2]
    assert (median % 1 == 0).all()
    assert (mean[missing] % 1 != 0).any()


def test_columns_of_few_whole_numbers_are_discrete():
    k = np.arange(65.0)
    X = np.c_[k, k % 64, 0 * k, k / 2]
    found = imputer(generator=small(max_iter=0)).fit(X).generator_.bin_width_
    np.testing.assert_array_equal(found, [np.nan, 1.0, np.nan, np.nan])
    kept = imputer(generator=small(max_iter=0, bin_width=None)).fit(X)
    assert kept.generator_.bin_width_ is None


def test_a_bad_bin_width_is_refused():
    with pytest.raises(ValueError, match="bin_width"):
        imputer(generator=small(bin_width="foo")).fit(with_missing(whole()))


def test_the_generator_is_given_the_names_of_columns():
    X = pd.DataFrame(with_missing(continuous()), columns=["a", "b", "c"]).assign(empty=np.nan)
    basis = BlockBasis([("rest", IdentityBasis(), ["c", "b"]), ("first", IdentityBasis(), ["a"])])
    generator = small(max_iter=1, basis=basis)
    found = imputer(generator=generator).fit(X)
    assert found.generator_.feature_names_in_.tolist() == ["a", "b", "c"]
    assert np.isfinite(found.transform(X)).all()
