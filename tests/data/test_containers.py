"""Containers, columns and dtypes come back, and bins are found and obeyed."""

import time

import numpy as np
import pandas as pd
import polars as pl
import pytest

from gudlearn import GenerativePipeline, GUDOutlierDetector
from gudlearn.data.bins import Bins, make_bins
from gudlearn.data.containers import clip_to
from gudlearn.data.restoring import cast
from small import continuous, small, whole


def bins_of(X, bin_width="auto", bin_range=None):
    X = np.asarray(X)
    names = [f"x{j}" for j in range(X.shape[1])]
    return make_bins(bin_width, bin_range, [X.dtype] * len(names), X.astype(float), names)


def mixed_frame():
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "half": rng.normal(size=40).astype(np.float32),
            "count": rng.integers(0, 5, size=40).astype(np.int16),
            "flag": rng.random(40) < 0.3,
            "real": rng.normal(size=40),
            "fixed": np.full(40, 7),
        }
    )


# Containers


@pytest.mark.parametrize(
    "dtype", [np.float64, np.float32, np.float16, np.int64, np.int8, np.uint8, bool]
)
def test_an_array_comes_back_in_its_dtype(dtype):
    X = (whole() > 2 if dtype is bool else whole()).astype(dtype)
    rows = small(max_iter=0).fit(X).sample(5)
    assert isinstance(rows, np.ndarray)
    assert rows.dtype == dtype
    assert rows.shape == (5, 3)


def test_lists_come_back_as_arrays():
    rows = small(max_iter=0).fit(continuous().tolist()).sample(2)
    assert rows.dtype == np.float64
    assert small(max_iter=0).fit(whole().astype(int).tolist()).sample(2).dtype.kind == "i"


def test_a_frame_comes_back_with_its_names_order_and_dtypes():
    X = mixed_frame()
    rows = small(max_iter=1).fit(X).sample(30)
    assert isinstance(rows, pd.DataFrame)
    assert list(rows.columns) == list(X.columns)
    assert rows.dtypes.equals(X.dtypes)
    assert set(rows["count"]) <= set(X["count"])
    assert (rows["fixed"] == 7).all()


def test_nullable_columns_come_back_as_integers_floats_and_booleans():
    X = pd.DataFrame(
        {
            "count": pd.array([1, 2, 3, 4] * 5, dtype="Int64"),
            "real": pd.array([0.5, 1.5, 2.25, 3.0] * 5, dtype="Float64"),
            "flag": pd.array([True, False] * 10, dtype="boolean"),
        }
    )
    rows = small(max_iter=0).fit(X).sample(3)
    assert [t.kind for t in rows.dtypes] == ["i", "f", "b"]


def test_sparse_columns_of_pandas_are_columns():
    X = pd.DataFrame({"a": pd.arrays.SparseArray([0, 0, 1]), "b": [0.5, 1.0, 2.0]})
    rows = small(max_iter=0).fit(X).sample(5)
    assert rows.dtypes.tolist() == X.dtypes.tolist()
    assert rows["a"].isin([0, 1]).all()


def test_a_polars_frame_comes_back():
    X = pl.from_pandas(mixed_frame())
    gen = small(max_iter=0).fit(X)
    rows = gen.sample(4)
    assert isinstance(rows, pl.DataFrame)
    assert rows.schema == X.schema
    assert np.isfinite(gen.score(X))


COLUMNS = [
    pd.Index(list("abc"), name="variable"),
    pd.Index(list("abc"), dtype="string"),
    pd.MultiIndex.from_tuples([("size", "w"), ("size", "h"), ("mass", "kg")], names=["of", None]),
    pd.CategoricalIndex(list("pqr"), categories=list("rqp"), ordered=True, name="kind"),
    pd.RangeIndex(3),
    pd.RangeIndex(2, 8, 2, name="even"),
    pd.Index([3, 1, 2]),
    pd.Index([0.5, 1.5, 2.5]),
    pd.date_range("2020-01-31", periods=3, freq="ME", tz="UTC"),
    pd.to_timedelta([1, 2, 4], unit="D"),
    pd.period_range("2020", periods=3, freq="Y"),
    pd.interval_range(0, 3),
]
every_index = pytest.mark.parametrize(
    "columns", COLUMNS, ids=[f"{type(c).__name__}-{k}" for k, c in enumerate(COLUMNS)]
)


def assert_same_columns(frame, columns):
    assert isinstance(frame, pd.DataFrame)
    pd.testing.assert_index_equal(frame.columns, columns, exact=True)
    assert getattr(frame.columns, "freq", None) == getattr(columns, "freq", None)


@every_index
@pytest.mark.parametrize("shape", [None, (1, 3)], ids=["table", "images"])
def test_the_columns_of_a_frame_come_back(columns, shape):
    X = pd.DataFrame(continuous(), columns=columns)
    gen = small(max_iter=0, conditional_rate=0.3, shape=shape).fit(X)
    assert_same_columns(gen.sample(2), columns)
    partial = X[5:7].mask(X[5:7] > 0)
    rows = gen.sample(given=partial)
    assert_same_columns(rows, columns)
    pd.testing.assert_frame_equal(rows.where(partial.notna()), partial)
    assert np.isfinite(gen.score(X[:5]))


@pytest.mark.parametrize("columns", COLUMNS[2:9:3], ids=lambda columns: type(columns).__name__)
def test_estimators_around_a_generator_take_any_columns(columns):
    X = pd.DataFrame(np.c_[continuous()[:, :2], whole()[:, 0]], columns=columns)
    pipeline = GenerativePipeline([("last", small(max_iter=0))]).fit(X)
    assert_same_columns(pipeline.sample(2), columns)
    # Ties of the third column are spread in a frame of these columns.
    detector = GUDOutlierDetector(small(max_iter=0)).fit(X)
    assert np.isfinite(detector.score_samples(X[:5])).all()


def seconds_of(n_columns):
    """Processor time of a fit to a frame of constant columns, and of scores given all but one."""
    names = [f"g{j}" for j in range(n_columns)]
    X = pd.DataFrame(np.zeros((3, n_columns)), columns=names)
    start = time.process_time()
    gen = small(max_iter=0, conditional_rate=0.3).fit(X)
    gen.score_samples(X, given_columns=names[1:])
    return time.process_time() - start


def test_the_time_for_names_grows_linearly_with_their_number():
    few = min(seconds_of(2000) for _ in range(3))
    # Twenty times the columns; where each is searched for among all it is four hundred times.
    assert seconds_of(40_000) < 40 * few + 0.2


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("shape", [(2,), (2, 2)], ids=["table", "images"])
def test_samples_stay_in_the_range_of_their_dtype(dtype, shape):
    u = np.random.default_rng(0).random((60, *shape))
    # The model has a density beyond the end of the dtype, where some of the samples fall.
    X = (u * float(np.finfo(dtype).max)).astype(dtype)
    gen = small(max_iter=0, conditional_rate=0.3).fit(X)
    partial = X.copy()
    partial[:, 0] = np.nan
    for rows in (gen.sample(200), gen.sample(given=partial)):
        assert rows.dtype == dtype
        assert np.isfinite(rows).all()
    assert np.isfinite(gen.score_samples(X)).all()


def test_the_container_does_not_change_the_model():
    X = whole()
    frame = pd.DataFrame(X, columns=list("abc"))
    from_array, from_frame = small(bin_width=1.0).fit(X), small(bin_width=1.0).fit(frame)
    # Frames come in another memory order: sums may differ in the last bit.
    np.testing.assert_allclose(
        from_array.score_samples(X), from_frame.score_samples(frame), rtol=1e-12
    )
    np.testing.assert_array_equal(from_array.sample(5), from_frame.sample(5).to_numpy())


def test_integers_without_bins_come_back_as_floats():
    rows = small(max_iter=0, bin_width=None).fit(whole().astype(int)).sample(5)
    assert rows.dtype == np.float64
    assert (rows % 1 != 0).any()


def test_values_beyond_the_dtype_are_clipped_to_it():
    values = cast(np.array([-1.0, 300.0, 2.6, 254.4]), np.dtype(np.uint8))
    np.testing.assert_array_equal(values, np.array([0, 255, 3, 254], dtype=np.uint8), strict=True)


# Bins


def test_auto_gives_integer_columns_width_one():
    gen = small(max_iter=0).fit(mixed_frame())
    np.testing.assert_array_equal(gen.bin_width_, [np.nan, 1, 1, np.nan, 1])
    assert small(max_iter=0).fit(continuous()).bin_width_ is None


def test_auto_on_integers_is_width_one_on_floats():
    X = whole()
    auto = small().fit(X.astype(int))
    explicit = small(bin_width=1.0).fit(X)
    np.testing.assert_array_equal(auto.score_samples(X.astype(int)), explicit.score_samples(X))
    np.testing.assert_array_equal(auto.sample(9), explicit.sample(9))


@pytest.mark.parametrize("missing", [None, np.nan])
def test_a_width_per_column_leaves_columns_without_one_continuous(missing):
    X = np.column_stack([whole()[:, 0], continuous()[:, 0], 0.25 * whole()[:, 1]])
    gen = small(bin_width=[1.0, missing, 0.25]).fit(X)
    np.testing.assert_array_equal(gen.bin_width_, [1.0, np.nan, 0.25])
    rows = gen.sample(50)
    assert set(rows[:, 0]) <= set(X[:, 0])
    assert set(rows[:, 2]) <= set(X[:, 2])
    assert len(set(rows[:, 1])) == 50


def test_decimal_grids_come_back_as_the_floats_a_user_wrote():
    X = np.round(np.random.default_rng(0).uniform(0, 3, size=(50, 1)), 1)
    rows = small(max_iter=0, bin_width=0.1).fit(X).sample(200)
    assert set(rows[:, 0]) <= {round(0.1 * k, 1) for k in range(31)}


def test_a_grid_need_not_hold_zero():
    X = whole() + 0.5
    # Untrained, and without correlations: scores without noise.
    parameters = {"max_iter": 0, "bin_width": 1.0, "preconditioning": "marginal"}
    gen = small(**parameters).fit(X)
    assert set((gen.sample(50) % 1).ravel()) == {0.5}
    np.testing.assert_allclose(
        gen.score_samples(X), small(**parameters).fit(whole()).score_samples(whole())
    )


def test_bin_indices_are_the_distance_from_the_origin_in_bins():
    X = np.array([[0.5, 7.0], [2.5, 9.3]])
    bins = bins_of(X, [1.0, np.nan])
    assert isinstance(bins, Bins)
    np.testing.assert_array_equal(bins.discrete, [True, False])
    indices = bins.indices(X)
    np.testing.assert_array_equal(indices, [[0, 0], [2, 0]])
    np.testing.assert_array_equal(bins.values(indices, X), X)


def test_a_range_of_all_columns_and_one_per_column_agree():
    X = whole()
    one = small(max_iter=0, bin_width=1.0, bin_range=(0, 6)).fit(X)
    each = small(max_iter=0, bin_width=1.0, bin_range=[(0, 6)] * 3).fit(X)
    np.testing.assert_array_equal(one.score_samples(X), each.score_samples(X))


def test_a_range_gives_unseen_values_inside_it_a_probability():
    X = whole()[:, :1]
    gen = small(max_iter=0, bin_width=1.0, bin_range=(0, 7)).fit(X)
    every = np.arange(8.0)[:, None]
    log_p = gen.score_samples(every)
    assert np.isfinite(log_p).all()
    # A bound of a distribution over these eight values: it cannot sum to more than one.
    assert 0.99 < np.exp(log_p).sum() <= 1 + 1e-9


def test_a_range_off_the_grid_counts_the_values_inside():
    bins = bins_of(whole(), 1.0, (-0.5, 4.5))
    np.testing.assert_array_equal(bins.low, 0)
    np.testing.assert_array_equal(bins.high, 4)


def test_without_a_range_unseen_values_have_a_small_finite_probability():
    X = whole()
    # Scores without noise.
    gen = small(max_iter=0, bin_width=1.0, preconditioning="marginal").fit(X)
    far = X.copy()
    far[:, 0] += 1000
    assert np.isfinite(gen.score_samples(far)).all()
    assert (gen.score_samples(far) < gen.score_samples(X) - 3).all()


def test_the_largest_integers_do_not_wrap():
    top = np.iinfo(np.int64).max
    values = clip_to(np.dtype(np.int64), np.array([2.0**70, -(2.0**70), 5.0])).astype(np.int64)
    assert values[0] > top - 2000 and values[1] == np.iinfo(np.int64).min and values[2] == 5


def test_nullable_dtypes_come_back():
    X = pd.DataFrame(
        {
            "a": pd.array([1, 2, 3, 2], dtype="Int64"),
            "b": pd.array([0.5, 1.5, 2.5, 0.1], dtype="Float64"),
            "c": pd.array([True, False, True, True], dtype="boolean"),
            "d": np.array([1.0, 2.0, 3.0, 4.0]),
        }
    )
    assert small(max_iter=0).fit(X).sample(3).dtypes.tolist() == X.dtypes.tolist()
