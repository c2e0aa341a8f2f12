"""Imputation: the container, the strategies, and what scikit-learn expects of an imputer."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, SimpleImputer
from sklearn.linear_model import LinearRegression
from sklearn.mixture import GaussianMixture
from sklearn.pipeline import make_pipeline

from gudlearn import BlockBasis, GUDImputer, IdentityBasis, Schema
from gudlearn.data.completing import central_columns, expected_columns
from gudlearn.encoding.categories import Categories
from gudlearn.model.sampling import Expectation
from small import TINY, continuous, dependent, small, whole


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
    # Up to rounding: products of matrices of other sizes may be summed in another order.
    np.testing.assert_allclose(fitted.transform(X[::-1])[::-1], found, rtol=1e-9)
    np.testing.assert_allclose(fitted.transform(X[5:9]), found[5:9], rtol=1e-9)


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


def test_the_generator_is_trained_for_whatever_may_be_missing():
    X = continuous()
    fitted = imputer().fit(X).generator_
    assert fitted.targets == "all" and fitted.conditional_rate_ == 0.8
    given = small(max_iter=1, conditional_rate=0.2)
    fitted = imputer(generator=given).fit(X).generator_
    assert fitted.conditional_rate_ == 0.2 and fitted.targets is None
    assert given.conditional_rate == 0.2
    mixing = imputer(generator=small(max_iter=1, basis="pca")).fit(X).generator_
    assert mixing.targets is None and mixing.conditional_rate_ == 0.5
    images = imputer(generator=small(max_iter=1, network=TINY, shape=(2, 2))).fit(continuous(40, 4))
    assert images.generator_.targets is None and images.generator_.conditional_rate_ == 0.5


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


def test_columns_are_discrete_where_the_generator_finds_a_grid():
    k = np.arange(65.0)
    X = np.c_[k, k % 64, 0 * k, k / 2, np.exp(k / 9)]
    found = imputer(generator=small(max_iter=0)).fit(X).generator_.bin_width_
    np.testing.assert_array_equal(found, [1.0, 1.0, np.nan, 0.5, np.nan])
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


# Mixed tables


def mixed(n=120):
    """A frame of every type whose columns go together; one is whole."""
    rng = np.random.default_rng(0)
    u = rng.normal(size=n)
    return pd.DataFrame(
        {
            "real": u + 0.1 * rng.normal(size=n),
            "kind": pd.Categorical(np.where(u > 0, "high", "low"), ["low", "high", "never"]),
            "text": np.where(u > 0, "yes", "no").astype(object),
            "flag": pd.array(u > 0, dtype="boolean"),
            "count": pd.array(rng.integers(0, 5, n), dtype="Int64"),
            "plain": rng.integers(0, 5, n),
            "when": pd.Timestamp("2024-01-01") + pd.to_timedelta(np.rint(30 * u), unit="D"),
            "rate": np.where(rng.random(n) < 0.5, 0.0, np.round(np.exp(u), 2)),
        },
        index=range(7, 7 + n),
    )


def with_gaps(X, fraction=0.2):
    rng = np.random.default_rng(1)
    out = X.copy()
    for name in X.columns.drop("plain"):
        out.loc[rng.random(len(X)) < fraction, name] = None if name == "text" else pd.NA
    return out


@pytest.fixture(scope="module")
def filled():
    """A frame with gaps, and what fills them by each strategy."""
    X = with_gaps(mixed())
    fitted = imputer(generator=small(max_iter=20), n_samples=6).fit(X)
    strategies = ("mean", "median", "sample")
    return X, {s: fitted.set_params(strategy=s).transform(X) for s in strategies}, fitted


@pytest.mark.parametrize("strategy", ["mean", "median", "sample"])
def test_a_mixed_frame_comes_back_complete_in_its_dtypes(strategy, filled):
    X, found = filled[0], filled[1][strategy]
    assert found.dtypes.tolist() == X.dtypes.tolist()
    pd.testing.assert_index_equal(found.index, X.index)
    assert list(found.columns) == list(X.columns)
    assert found.notna().all(axis=None)
    pd.testing.assert_frame_equal(found.where(X.notna()), X.where(X.notna()))
    assert set(found["kind"]) <= {"low", "high"}
    assert found["when"].between(X["when"].min(), X["when"].max()).all()


def test_categories_are_imputed_by_the_most_probable_level():
    X = mixed(300)
    hidden = X.copy()
    hidden.loc[X.index[::3], ["kind"]] = np.nan
    hidden.loc[X.index[1::3], ["text"]] = None
    found = imputer(generator=small(max_iter=100)).fit_transform(hidden)
    for name, rows in {"kind": slice(0, None, 3), "text": slice(1, None, 3)}.items():
        # The others say which it is; its frequency alone is right half of the time.
        assert (found[name] == X[name]).iloc[rows].mean() > 0.9


def test_means_of_numbers_with_point_masses_weigh_both_parts():
    rng = np.random.default_rng(0)
    X = pd.DataFrame(
        {
            "rate": np.where(rng.random(400) < 0.5, 0.0, 1 + rng.exponential(size=400)),
            "step": rng.choice([0.5, 1.0, 4.0], 400),
        }
    )
    schema = Schema().build(X, list(X))
    assert schema.columns[0].atoms.tolist() == [0.0] and schema.columns[1].is_category
    probabilities = np.array([[0.25, 0.75, 0.5, 0.3, 0.2], [1.0, 0.0, 0.0, 0.0, 1.0]])
    categories = Categories(np.array([0, 2]), np.array([2, 3]), np.zeros(5), np.zeros(2))
    means = np.array([[0.0, 3.0, 0.0], [0.0, 9.0, 0.0]])
    rate, step = expected_columns(schema, Expectation(means, probabilities, categories))
    np.testing.assert_allclose(rate.values, [0.75 * 3.0, 0.0])
    np.testing.assert_allclose(step.values, [0.25 + 0.3 + 0.8, 4.0])
    # From draws: the mean of what they show.
    draws = np.array([[[0.0, 7.0, 2.0]], [[1.0, 5.0, 2.0]], [[1.0, 3.0, 1.0]]])
    rate, step = central_columns(schema, draws, mean=True)
    np.testing.assert_allclose([rate.values[0], step.values[0]], [8 / 3, 3.0])
    rate, step = central_columns(schema, draws, mean=False)
    np.testing.assert_allclose([rate.values[0], step.values[0]], [3.0, 4.0])


def test_frames_without_missing_values_pass_unchanged(filled):
    X = mixed()
    for strategy in filled[1]:
        found = filled[2].set_params(strategy=strategy).transform(X)
        pd.testing.assert_frame_equal(found, X)
    pd.testing.assert_frame_equal(imputer(generator=small(max_iter=0)).fit_transform(X), X)


def test_several_imputations_of_a_frame_are_a_list_of_frames(filled):
    X, found, fitted = filled
    draws = fitted.sample_imputations(X, 3)
    assert len(draws) == 3
    pd.testing.assert_frame_equal(draws[0], found["sample"])
    missing = X["real"].isna()
    assert (draws[0]["real"] != draws[1]["real"])[missing].all()
    assert all(draw.dtypes.tolist() == X.dtypes.tolist() for draw in draws)


def polars_frame(X):
    columns = {
        name: [None if pd.isna(v) else v for v in X[name]] for name in X.columns.drop("when")
    }
    return pl.DataFrame(columns)


def test_nulls_of_polars_are_imputed():
    X = polars_frame(with_gaps(mixed()))
    fitted = imputer(generator=small(max_iter=2), strategy="sample").fit(X)
    found = fitted.transform(X)
    assert isinstance(found, pl.DataFrame) and found.schema == X.schema
    assert sum(found.null_count().row(0)) == 0
    assert fitted.transform(X.select(X.columns[::-1])).equals(found)
    gaps = X.select(pl.all().is_null())
    for name in X.columns:
        keep = ~gaps[name]
        assert found[name].filter(keep).equals(X[name].filter(keep))


def test_columns_are_taken_by_name(filled):
    X, _, fitted = filled
    expected = fitted.transform(X)
    pd.testing.assert_frame_equal(fitted.transform(X[X.columns[::-1]]), expected)
    with pytest.raises(ValueError, match="feature names should match"):
        fitted.transform(X.rename(columns={"real": "other"}))


def test_arrays_of_objects_come_back_as_arrays():
    X = np.array([[0.5, "a"], [1.5, "b"], [np.nan, "a"], [2.5, None]] * 10, dtype=object)
    found = imputer(strategy="sample").fit_transform(X)
    assert isinstance(found, np.ndarray) and found.dtype == object
    assert set(found[:, 1]) == {"a", "b"} and pd.notna(found).all()
    assert imputer().fit(X).sample_imputations(X, 2).shape == (2, 40, 2)


def test_a_level_that_was_not_seen_stays(filled):
    X, _, fitted = filled
    new = X[:4].copy()
    new["text"] = ["other"] * 4
    new["real"] = np.nan
    found = fitted.transform(new)
    assert (found["text"] == "other").all() and found.notna().all(axis=None)
    # It is no reason for another answer than a missing one.
    new["text"] = None
    np.testing.assert_array_equal(fitted.transform(new)["real"], found["real"])


def test_indicators_follow_the_columns_of_a_frame():
    X = with_gaps(mixed())[["real", "kind", "plain"]]
    fitted = imputer(add_indicator=True).fit(X)
    found = fitted.transform(X)
    names = ["missingindicator_real", "missingindicator_kind"]
    assert found.columns.tolist() == fitted.get_feature_names_out().tolist()
    assert found.columns.tolist() == [*X.columns, *names]
    np.testing.assert_array_equal(found[names], X[["real", "kind"]].isna())
    as_polars = polars_frame(X.assign(when=0))
    found = imputer(add_indicator=True).fit_transform(as_polars)
    assert found.columns == [*X.columns, *names] and found[names[1]].dtype == pl.Boolean


@pytest.mark.parametrize("keep", [False, True])
def test_empty_columns_of_a_frame(keep):
    X = with_gaps(mixed())[["real", "kind"]].assign(none=np.nan, gone=pd.Series(dtype="string"))
    fitted = imputer(keep_empty_features=keep).fit(X)
    found = fitted.transform(X)
    assert found.columns.tolist() == fitted.get_feature_names_out().tolist()
    assert found.columns.tolist() == ["real", "kind", *(["none", "gone"] if keep else [])]
    if keep:
        assert (found["none"] == 0).all() and found["gone"].isna().all()


def test_a_number_may_mark_missing_values_of_a_frame():
    X = mixed()[["real", "text", "plain"]]
    X.loc[X.index[:5], "plain"] = -1
    found = imputer(missing_values=-1, strategy="sample").fit_transform(X)
    assert found["plain"].min() >= 0
    pd.testing.assert_frame_equal(found[5:], X[5:], check_dtype=False)


@pytest.mark.parametrize("output", ["default", "pandas", "polars"])
def test_output_of_frames_follows_set_output(output):
    X = pd.DataFrame(with_missing(continuous()), columns=["a", "b", "c"], index=range(5, 45))
    fitted = imputer().fit(X).set_output(transform=output)
    expected = {"default": np.ndarray, "pandas": pd.DataFrame, "polars": pl.DataFrame}[output]
    assert isinstance(fitted.transform(X), expected)
    if output != "polars":
        Y = with_gaps(mixed())[["real", "text"]]
        found = imputer().fit(Y).set_output(transform=output).transform(Y)
        assert isinstance(found, pd.DataFrame) and list(found.columns) == ["real", "text"]


def test_missing_values_cannot_be_modelled_and_imputed():
    generator = small(schema=Schema(missing="model"))
    with pytest.raises(ValueError, match="missing='model'.* Pass missing='ignore'"):
        imputer(generator=generator).fit(with_gaps(mixed()))


def test_times_are_imputed_in_the_unit_of_the_frame(filled):
    X, found, fitted = filled
    fine = X.astype({"when": "datetime64[ms]"})
    again = fitted.set_params(strategy="mean").transform(fine)
    assert again["when"].dtype == "datetime64[ms]"
    assert (again["when"] == found["mean"]["when"]).all()


def test_a_frame_of_categories_alone_is_imputed():
    X = with_gaps(mixed())[["kind", "text"]]
    # Reference sets are of numbers: there is none.
    found = imputer(generator=small(max_iter=1, retrieval="auto")).fit_transform(X)
    assert found.notna().all(axis=None) and found.dtypes.tolist() == X.dtypes.tolist()
