"""Imputation: the container, the strategies, and what scikit-learn expects of an imputer."""

import numpy as np
import pandas as pd
import pytest
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, SimpleImputer
from sklearn.linear_model import LinearRegression
from sklearn.mixture import GaussianMixture
from sklearn.pipeline import make_pipeline

from gudlearn import MLP, BlockBasis, DPMSolver, GUDGenerator, GUDImputer, IdentityBasis
from gudlearn.imputer import _whole_columns
from small import continuous, small, whole


def holes(X, share=0.2, seed=0):
    X = X.astype(float)
    X[np.random.default_rng(seed).random(X.shape) < share] = np.nan
    return X


def imputer(**parameters):
    settings = {"generator": small(max_iter=1), "n_samples": 4, "random_state": 0}
    return GUDImputer(**{**settings, **parameters})


@pytest.mark.parametrize("strategy", ["mean", "median", "sample"])
def test_what_is_known_stays_and_the_rest_is_filled(strategy):
    X = holes(continuous())
    # Sevenths of a sum of seven equal numbers are not always that number.
    found = imputer(strategy=strategy, n_samples=7).fit_transform(X)
    known = ~np.isnan(X)
    np.testing.assert_array_equal(found[known], X[known])
    assert np.isfinite(found).all()


def test_strategies_are_summaries_of_draws_of_a_row():
    X = holes(continuous())
    mean = imputer(strategy="mean").fit(X)
    # A row is filled in the same way wherever it stands.
    np.testing.assert_array_equal(mean.transform(X[::-1])[::-1], mean.transform(X))
    np.testing.assert_array_equal(mean.transform(X[5:9]), mean.transform(X)[5:9])
    # Guided, means are those of draws; else of the denoiser's answers.
    guided = small(max_iter=1, conditional_rate=0.3, conditioning="posterior")
    for generator, same in ((guided, True), (small(max_iter=1), False)):
        one = imputer(generator=generator, n_samples=1).fit(X).transform(X)
        median = imputer(generator=generator, strategy="median", n_samples=1).fit(X).transform(X)
        assert (median == one).all() == same


def test_draws_differ_and_begin_with_the_one_of_transform():
    X = holes(continuous())
    sample = imputer(strategy="sample").fit(X)
    draws = sample.sample_imputations(X, 3)
    assert draws.shape == (3, *X.shape)
    np.testing.assert_array_equal(draws[0], sample.transform(X))
    assert (draws[0] != draws[1])[np.isnan(X)].all()
    equal = np.repeat(X[[np.isnan(X).any(1).argmax()]], 5, axis=0)
    assert len(np.unique(sample.transform(equal), axis=0)) == 5


def test_dependent_columns_are_filled_better_than_by_their_mean():
    X = continuous(600)
    X[:, 1] = X[:, 0] + 0.1 * X[:, 1]
    partial = X[:, :2].copy()
    partial[::4, 1] = np.nan
    model = GUDGenerator(
        network=MLP(width=32, n_blocks=1, dropout=0.0), max_iter=100, sampler=DPMSolver(steps=10)
    )
    found = imputer(generator=model, n_samples=20).fit_transform(partial)
    error = np.abs(found - X[:, :2])[::4, 1].mean()
    assert error < 0.3 * np.abs(X[::4, 1] - X[:, 1].mean()).mean()


def test_whole_numbers_stay_whole():
    X = holes(whole(100))
    default = GUDImputer(strategy="sample", random_state=0)
    default._new_generator = lambda: small(max_iter=1, conditional_rate=0.5)
    found = default.fit(X).transform(X)
    assert (found == np.rint(found)).all()
    assert found.max() <= 4
    # What is known need not lie on the grid.
    X[0, 0] = 0.5
    assert default.transform(X)[0, 0] == 0.5


def test_constant_columns_are_filled_with_their_value():
    X = holes(continuous())
    X[:, 1] = np.where(np.isnan(X[:, 1]), np.nan, 0.3)
    generator = small(max_iter=1, conditional_rate=0.5)
    for strategy in ("mean", "median", "sample"):
        found = GUDImputer(generator, strategy=strategy, random_state=0).fit_transform(X)
        assert (found[:, 1] == 0.3).all()


def test_a_missing_value_of_another_name():
    X = whole()
    X[3, 1] = -1
    found = imputer(missing_values=-1).fit_transform(X)
    assert found[3, 1] != -1
    assert (np.delete(found, 3, 0) == np.delete(X, 3, 0)).all()


@pytest.mark.filterwarnings("ignore:Skipping features without any observed values")
@pytest.mark.parametrize("keep", [False, True])
def test_empty_columns_are_dropped_or_kept(keep):
    X = np.column_stack([holes(continuous()), np.full(40, np.nan)])
    fitted = imputer(keep_empty_features=keep).fit(X)
    expected = IterativeImputer(keep_empty_features=keep, max_iter=1, tol=1e9).fit(X)
    found = fitted.transform(X)
    assert found.shape == expected.transform(X).shape
    assert fitted.get_feature_names_out().tolist() == expected.get_feature_names_out().tolist()
    if keep:
        assert (found[:, 3] == 0).all()


def test_nothing_but_empty_columns():
    X = np.full((4, 2), np.nan)
    assert imputer().fit_transform(X).shape == (4, 0)
    assert (imputer(keep_empty_features=True).fit_transform(X) == 0).all()


def test_the_indicator_follows():
    X = pd.DataFrame(holes(continuous()), columns=["a", "b", "c"])
    X["c"] = continuous()[:, 2]
    fitted = imputer(add_indicator=True).fit(X)
    simple = SimpleImputer(add_indicator=True).fit(X)
    names = fitted.get_feature_names_out()
    assert names.tolist() == simple.get_feature_names_out().tolist()
    np.testing.assert_array_equal(fitted.transform(X)[:, 3:], simple.transform(X)[:, 3:])
    frame = fitted.set_output(transform="pandas").transform(X)
    assert frame.columns.tolist() == names.tolist()


def test_it_stands_in_a_pipeline():
    X = holes(continuous())
    y = continuous()[:, 0]
    model = make_pipeline(imputer(), LinearRegression()).fit(X, y)
    assert np.isfinite(model.predict(X)).all()


def test_the_share_of_mixed_rows_is_its_own():
    X = continuous()
    assert imputer().fit(X).generator_.conditional_rate_ == 0.5
    given = small(max_iter=1, conditional_rate=0.2)
    assert imputer(generator=given).fit(X).generator_.conditional_rate_ == 0.2
    assert given.conditional_rate == 0.2


def test_a_network_that_saw_no_parts_is_warned_of():
    X = continuous()
    given = small(max_iter=1, conditional_rate=0)
    model = imputer(generator=given).fit(X)
    X[0, 0] = np.nan
    with pytest.warns(UserWarning, match="what is known guides it"):
        model.transform(X)
    # Where nothing is known nothing guides.
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
def test_parameters_that_are_refused(parameters, error, message):
    with pytest.raises(error, match=message):
        imputer(**parameters).fit(continuous())


def test_numbers_of_imputations_that_are_refused():
    with pytest.raises(ValueError, match="^m=0 must be"):
        imputer().fit(continuous()).sample_imputations(continuous(), 0)


def test_medians_are_no_means():
    X = holes(whole(100))
    X[:, 2] += 0.5
    found = {s: imputer(strategy=s, n_samples=3).fit_transform(X) for s in ("median", "mean")}
    hidden = np.isnan(X[:, :2])
    # Of three whole numbers; and the mean of three is not always whole.
    assert (found["median"][:, :2] % 1 == 0).all()
    assert (found["mean"][:, :2][hidden] % 1 != 0).any()


def test_columns_of_few_whole_numbers_are_discrete():
    k = np.arange(65.0)
    assert _whole_columns(np.c_[k, k % 64, 0 * k, k / 2]).tolist() == [False, True, False, False]
    found = imputer().fit(np.c_[k, k % 64]).generator_.bin_width_
    np.testing.assert_array_equal(found, [np.nan, 1.0])
    kept = imputer(generator=small(max_iter=1, bin_width=None)).fit(np.c_[k, k % 64])
    assert kept.generator_.bin_width_ is None


def test_bins_with_a_wrong_name_are_refused():
    with pytest.raises(ValueError, match="bin_width"):
        imputer(generator=small(bin_width="foo")).fit(holes(whole()))


def test_the_generator_knows_the_names_of_columns():
    X = pd.DataFrame(holes(continuous()), columns=["a", "b", "c"]).assign(empty=np.nan)
    basis = BlockBasis([("rest", IdentityBasis(), ["c", "b"]), ("first", IdentityBasis(), ["a"])])
    generator = small(max_iter=1, basis=basis)
    found = imputer(generator=generator).fit(X)
    assert found.generator_.feature_names_in_.tolist() == ["a", "b", "c"]
    assert np.isfinite(found.transform(X)).all()
