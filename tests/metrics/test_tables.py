"""Metrics of mixed tables: closed forms, SDMetrics' own numbers, and what may not change them."""

from itertools import combinations

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy.stats import norm

from gudlearn.metrics import (
    closest_record,
    shape_error,
    train_on_synthetic,
    trend_error,
    two_sample_auc,
)


def mixed(n, seed=0):
    """Dependent columns of every kind, with missing values in each."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    frame = pd.DataFrame(
        {
            "x": x,
            "count": rng.poisson(np.exp(x / 2)).astype(float),
            "word": np.where(x + rng.normal(size=n) > 0, "high", "low"),
            "size": pd.Categorical(rng.choice(list("SML"), n), ["S", "M", "L"], ordered=True),
            "flag": pd.Series(rng.random(n) < 0.3, dtype="boolean"),
            "day": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 99, n), unit="D"),
        }
    )
    return frame.mask(rng.random(frame.shape) < 0.1)


PAIRS = {
    "two_sample_auc": lambda real, fake, **kw: two_sample_auc(real, fake, **kw).auc,
    "shape_error": lambda real, fake, **kw: shape_error(real, fake, **kw).mean,
    "trend_error": lambda real, fake, **kw: trend_error(real, fake, **kw).mean,
    "closest_record": lambda real, fake, **kw: (
        closest_record(real.iloc[::2], real.iloc[1::2], fake, **kw).fake_median
    ),
    "train_on_synthetic": lambda real, fake, **kw: (
        train_on_synthetic(real, real, fake, "word", **kw).synthetic
    ),
}
METRICS = {
    **PAIRS,
    "closest_record": lambda real, fake, **kw: closest_record(real, real, fake, **kw).fake_median,
}
every_metric = pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)


# The two-sample test


@pytest.mark.parametrize("n", [150, 1500])
def test_equal_distributions_cannot_be_told_apart(n):
    found = two_sample_auc(mixed(n, 0), mixed(n, 1))
    assert 0 < found.standard_error < 0.8 / np.sqrt(n)
    assert abs(found.auc - 0.5) < 5 * found.standard_error


@pytest.mark.parametrize(
    "fake", [np.arange(200.0) + 1000, np.full(200, np.nan)], ids=["numbers", "missing"]
)
def test_disjoint_samples_are_always_told_apart(fake):
    real = np.random.default_rng(0).normal(size=200)
    # Bins of the trees may hold the largest real value with the smallest fake ones.
    assert two_sample_auc(real[:, None], fake[:, None]).auc > 0.98


def test_words_of_one_sample_only_are_told_apart():
    real, fake = pd.DataFrame({"a": ["u", "v"] * 100}), pd.DataFrame({"a": ["w", "z"] * 100})
    assert two_sample_auc(real, fake).auc == 1.0


@pytest.mark.parametrize("shift", [0.5, 1.0, 2.0])
def test_the_auc_of_shifted_normals_approaches_that_of_the_likelihood_ratio(shift):
    real, fake = np.random.default_rng(0).normal(size=(2, 2000, 1))
    found = two_sample_auc(real, fake + shift)
    best = norm.cdf(shift / np.sqrt(2))
    assert best - 0.05 < found.auc < best + 5 * found.standard_error


def test_the_auc_and_its_error_of_one_coin_by_hand():
    n, p, q = 1000, 0.3, 0.6
    real, fake = (pd.DataFrame({"coin": np.arange(n) < share * n}) for share in (p, q))
    found = two_sample_auc(real, fake)
    # A fake row is placed right of 1 - p/2 of the real rows or of (1 - p)/2 of them, 1/2 less.
    assert found.auc == pytest.approx(0.5 + (q - p) / 2, abs=1e-9)
    variance = 0.25 * (p * (1 - p) + q * (1 - q)) / n
    assert found.standard_error == pytest.approx(np.sqrt(2 * variance), rel=0.01)


def test_a_dependence_alone_is_found_and_its_columns_are_named():
    rng = np.random.default_rng(0)
    real = pd.DataFrame({"a": rng.normal(size=800), "noise": rng.normal(size=800)})
    real["b"] = real["a"] + 0.3 * rng.normal(size=800)
    fake = real.assign(a=rng.permutation(real["a"]))
    found = two_sample_auc(real, fake, importance=True)
    assert found.auc > 0.7
    assert set(found.importance.index[:2]) == {"a", "b"}
    assert abs(found.importance["noise"]) < 5 * found.standard_error
    assert two_sample_auc(real, fake).importance is None


def test_rare_levels_of_a_long_category_count_as_one():
    rng = np.random.default_rng(0)
    real, fake = (pd.DataFrame({"key": rng.integers(0, 2000, 3000).astype(str)}) for _ in "ab")
    found = two_sample_auc(real, fake)
    assert abs(found.auc - 0.5) < 5 * found.standard_error
    # Half of the fake rows have one level: 1/2 + 1/2 * 1/2 for the best classifier.
    fake.loc[::2, "key"] = "same"
    assert two_sample_auc(real, fake).auc > 0.7


def test_few_known_values_of_a_column_are_enough():
    # Trees refuse a column that is all missing in the folds they are trained on.
    real, fake = mixed(100, 0), mixed(100, 1)
    for column, value in {"x": np.nan, "word": None, "size": None}.items():
        real[column], fake[column] = pd.Series([value] * 100), pd.Series([value] * 100)
    real.loc[3, "x"] = 1.0
    found = two_sample_auc(real, fake)
    assert abs(found.auc - 0.5) < 5 * found.standard_error
    assert train_on_synthetic(mixed(300), mixed(300, 1), fake, "flag").real > 0


def test_few_rows_are_told_apart():
    # Leaves of twenty rows could not be split.
    samples = (pd.DataFrame({"x": np.arange(12.0) + shift}) for shift in (0, 100, 200))
    real, other, fake = samples
    assert two_sample_auc(real, fake).auc == 1.0
    for frame in (real, other):
        frame["y"] = np.where(frame["x"] % 2 > 0, "u", "v")
        frame["x"] = frame["x"] % 2
    assert train_on_synthetic(real, other, real, "y").synthetic == 1.0


def test_constant_samples_have_an_auc_of_one_half():
    found = two_sample_auc(np.ones((9, 2)), np.ones((9, 2)), importance=True)
    assert (found.auc, found.standard_error) == (0.5, 0.0)
    assert (found.importance == 0).all()


def test_fewer_rows_than_folds_are_refused():
    with pytest.raises(ValueError, match="fake has 3 rows, fewer than n_folds=5. Pass more"):
        two_sample_auc(mixed(10), mixed(3))
    assert 0 <= two_sample_auc(mixed(10), mixed(3), n_folds=3).auc <= 1


@pytest.mark.parametrize("n_folds", [1, 2.5, True])
def test_the_number_of_folds_is_a_count(n_folds):
    with pytest.raises(ValueError, match="n_folds=.* must be a whole number of at least 2"):
        two_sample_auc(mixed(10), mixed(10), n_folds=n_folds)


# Margins and pairs


def small_frames():
    """Two deterministic frames with ties and missing values."""
    i, k = np.arange(40), np.arange(30)
    start = pd.Timestamp("2024-01-01")
    real = {
        "x": (i * 7) % 40 / 4.0,
        "y": (i * 7) % 40 + (i * i) % 11,
        "word": np.array(list("abcd"))[(i * i) % 4 + (i % 3 == 0)],
        "flag": i % 3 == 0,
        "day": start + pd.to_timedelta((i * 11) % 37, unit="D"),
    }
    fake = {
        "x": (k * 13) % 30 / 2.5 - 1.0,
        "y": 40 - (k * 13) % 30 + (k * k) % 7,
        "word": np.array(list("abce"))[(k * k + k) % 4],
        "flag": k % 4 == 0,
        "day": start + pd.to_timedelta((k * 7) % 29 + 4, unit="D"),
    }
    frames = []
    for columns, step in ((real, 9), (fake, 7)):
        frame = pd.DataFrame(columns)
        frame["x"] = frame["x"].where(frame.index % step != 2)
        frame["word"] = frame["word"].where(frame.index % step != 4)
        frames.append(frame)
    return frames


# One minus what the metrics of sdmetrics 0.32.0 return for these frames.
SDMETRICS_SHAPES = {
    "x": 0.12637362637362637, "y": 0.25, "word": 0.5, "flag": 0.08333333333333326, "day": 0.125,
}  # fmt: skip
SDMETRICS_TRENDS = {
    ("x", "y"): 0.9769193620762243, ("x", "word"): 0.725, ("x", "flag"): 0.3416666666666667,
    ("x", "day"): 0.06550754755789723, ("y", "word"): 0.65, ("y", "flag"): 0.375,
    ("y", "day"): 0.008578319062728323, ("word", "flag"): 0.7, ("word", "day"): 0.7666666666666668,
    ("flag", "day"): 0.475,
}  # fmt: skip


def test_errors_are_those_of_sdmetrics():
    shapes, trends = shape_error(*small_frames()), trend_error(*small_frames())
    # It correlates nanoseconds, as integers, and centres them in float64.
    close = {"rel": 1e-9, "abs": 1e-12}
    assert shapes.columns.to_dict() == pytest.approx(SDMETRICS_SHAPES, **close)
    assert shapes.mean == pytest.approx(0.21694139194139192, **close)
    for pair, error in SDMETRICS_TRENDS.items():
        assert trends.pairs.loc[pair] == trends.pairs.loc[pair[::-1]]
        assert trends.pairs.loc[pair] == pytest.approx(error, **close), pair
    assert trends.mean == pytest.approx(0.5084338562030183, **close)


def test_shape_errors_by_hand():
    real = pd.DataFrame({"word": ["a"] * 5 + ["b"] * 3 + ["c"] * 2, "x": np.arange(10.0)})
    fake = pd.DataFrame({"word": ["a"] * 2 + ["b"] * 2 + ["d"], "x": [0.0, 1, 2, 3, 9]})
    # |.5 - .4| + |.3 - .4| + |.2 - 0| + |0 - .2|, halved; at x = 3: 4/5 - 4/10.
    found = shape_error(real, fake)
    assert found.columns.to_dict() == pytest.approx({"word": 0.3, "x": 0.4})


def test_the_trend_of_a_shuffled_normal_is_half_of_its_correlation():
    rng, n = np.random.default_rng(0), 20_000
    x, noise = rng.normal(size=(2, n))
    real = np.column_stack([x, 0.6 * x + 0.8 * noise])
    fake = np.column_stack([x, rng.permutation(real[:, 1])])
    # Correlations of n rows have standard errors of at most 1/sqrt(n).
    assert trend_error(real, fake).mean == pytest.approx(0.3, abs=5 * np.sqrt(2 / n) / 2)


def test_pairs_of_long_categories_are_counted_by_what_occurs():
    n = 3000
    real = pd.DataFrame({"a": np.arange(n).astype(str), "b": np.arange(n).astype(str)})
    fake = real.copy()
    fake.loc[: n // 2 - 1, "b"] = fake["b"].to_numpy()[: n // 2][::-1]
    assert trend_error(real, fake).mean == pytest.approx(0.5)
    assert shape_error(real, fake).mean == 0.0


def test_a_column_without_values_in_one_sample_is_as_wrong_as_can_be():
    real = pd.DataFrame({"a": [1.0, 2, 3, 4], "b": [1.0, 2, 3, 5], "word": list("uuvv")})
    fake = real.assign(a=np.nan, word=None)
    shapes, trends = shape_error(real, fake), trend_error(real, fake)
    assert shapes.columns.to_dict() == {"a": 1.0, "b": 0.0, "word": 1.0}
    assert trends.pairs.loc["a", "b"] == pytest.approx(real["a"].corr(real["b"]) / 2)
    assert trends.pairs.loc["a", "word"] == trends.pairs.loc["b", "word"] == 1.0


def test_what_is_undefined_in_the_real_rows_is_left_out():
    real = pd.DataFrame({"a": [1.0] * 4, "b": [1.0, 2, 3, 5], "c": [np.nan] * 4, "d": [4, 3, 2, 2]})
    found = trend_error(real, real)
    assert found.mean == 0.0
    assert found.pairs["a"].isna().all() and found.pairs["c"].isna().all()
    assert shape_error(real, real).columns.isna().to_dict() == {
        "a": False, "b": False, "c": True, "d": False
    }  # fmt: skip
    assert np.isnan(trend_error(real[["a", "c"]], real[["a", "c"]]).mean)


def test_one_column_has_a_shape_and_no_trend():
    one = mixed(20)[["word"]]
    assert shape_error(one, one).mean == 0.0
    with pytest.raises(ValueError, match="one column, but trend_error compares pairs"):
        trend_error(one, one)


# Train on synthetic, test on real


def labelled(n, seed, n_classes=2):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    classes = np.searchsorted(norm.ppf(np.arange(1, n_classes) / n_classes), x)
    letters = np.array(list("abc"))[classes]
    return pd.DataFrame({"x": x + 0.5 * rng.normal(size=n), "class": letters})


@pytest.mark.parametrize("n_classes", [2, 3])
def test_fresh_rows_train_as_well_as_real_ones(n_classes):
    train, test, fake = (labelled(1500, seed, n_classes) for seed in range(3))
    found = train_on_synthetic(train, test, fake, "class")
    assert found.scoring == "AUC" and found.real > 0.8
    # The standard error of an AUC of n rows is below 1/(2 sqrt(n / 2)) for either model.
    assert abs(found.loss) < 5 * np.sqrt(2) / (2 * np.sqrt(750))
    shuffled = fake.assign(**{"class": np.random.default_rng(3).permutation(fake["class"])})
    useless = train_on_synthetic(train, test, shuffled, "class")
    assert useless.real == found.real
    assert abs(useless.synthetic - 0.5) < 0.1


def test_classes_that_fake_rows_lack_are_not_found():
    train, test = labelled(600, 0, 3), labelled(600, 1, 3)
    found = train_on_synthetic(train, test, train[train["class"] != "c"], "class")
    assert found.synthetic < found.real
    constant = train_on_synthetic(train, test, train[train["class"] == "c"], "class")
    assert constant.synthetic == 0.5


def test_regression_is_scored_by_r2():
    rng = np.random.default_rng(0)
    frames = []
    for _ in range(3):
        x = rng.normal(size=1000)
        frames.append(pd.DataFrame({"x": x, "y": x + 0.5 * rng.normal(size=1000)}))
    train, test, fake = frames
    found = train_on_synthetic(train, test, fake, "y")
    # R2 is 1/1.25 at best; trees and 1,000 rows cost some of it.
    assert found.scoring == "R2" and 0.65 < found.synthetic < 0.85 and 0.65 < found.real < 0.85
    worse = train_on_synthetic(train, test, fake.assign(y=rng.permutation(fake["y"])), "y")
    assert worse.synthetic < 0.1 and worse.real == found.real


def test_the_task_follows_from_the_target_or_is_given():
    frames = [mixed(200, seed) for seed in range(3)]
    assert train_on_synthetic(*frames, "flag").scoring == "AUC"
    assert train_on_synthetic(*frames, "count").scoring == "R2"
    assert train_on_synthetic(*frames, "count", task="classification").scoring == "AUC"
    zero_one = [frame.assign(flag=frame["flag"].astype(float)) for frame in frames]
    assert train_on_synthetic(*zero_one, "flag").scoring == "AUC"
    known = {name: int(f["flag"].notna().sum()) for name, f in zip("abc", frames, strict=True)}
    assert list(train_on_synthetic(*frames, "flag").n_used.values()) == list(known.values())


def test_targets_that_cannot_be_predicted_are_refused():
    frames = [mixed(50, seed) for seed in range(3)]
    with pytest.raises(ValueError, match="target='colour' must be one of several columns.*'x'"):
        train_on_synthetic(*frames, "colour")
    with pytest.raises(ValueError, match="target='x' must be one of several columns"):
        train_on_synthetic(*(frame[["x"]] for frame in frames), "x")
    with pytest.raises(ValueError, match="task='ranking' must be"):
        train_on_synthetic(*frames, "x", task="ranking")
    with pytest.raises(ValueError, match="'word' is missing in all rows of fake"):
        train_on_synthetic(*frames[:2], frames[2].assign(word=None), "word")
    with pytest.raises(ValueError, match="'word' has one value in real_test"):
        train_on_synthetic(frames[0], frames[1].assign(word="low"), frames[2], "word")


# Closest records


def test_distances_are_means_over_columns():
    # The 5 and 95 % quantiles of 0, ..., 100 are 5 and 95.
    x = np.arange(101.0)
    train = pd.DataFrame({"x": x, "word": ["a"] * 101, "z": np.where(x > 50, np.nan, 0.0)})
    fake = pd.DataFrame({"x": [100.0, 118.0, 100.0], "word": ["a", "b", None], "z": [np.nan] * 3})
    found = closest_record(train, train, fake)
    # Column z is constant where it is known, and missing in the closest rows.
    expected = {0.0, (18 / 90 + 1) / 3, 1 / 3}
    assert sorted(found.distances) == pytest.approx(sorted(expected))
    assert found.fake_copies == pytest.approx(1 / 3) and found.held_out_copies == 1.0
    assert found.share == 0.5 and found.held_out_median == 0.0
    known = closest_record(train, train, fake.assign(z=3.0))
    assert min(known.distances) == pytest.approx((0 + 0 + 1) / 3)


@pytest.mark.parametrize("entries", [2**22, 500])
def test_distances_do_not_depend_on_the_size_of_blocks(entries, monkeypatch):
    parts = [mixed(n, seed) for seed, n in enumerate((80, 50, 60))]
    expected = closest_record(*parts)
    monkeypatch.setattr("gudlearn.metrics.closest.MAX_ENTRIES", entries)
    np.testing.assert_array_equal(closest_record(*parts).distances, expected.distances)


def test_copies_are_seen_and_fresh_rows_are_not_taken_for_them():
    train, held_out, fresh = (mixed(1000, seed) for seed in range(3))
    found = closest_record(train, held_out, fresh)
    # Rows with little but missing values occur twice.
    assert found.fake_copies < 0.01 and found.held_out_copies < 0.01
    # The choice of training and held-out rows is shared by all fake rows: twice the binomial error.
    assert abs(found.share - 0.5) < 5 * 2 * np.sqrt(0.25 / 1000)
    copied = pd.concat([train.iloc[:500], fresh.iloc[500:]])
    found = closest_record(train, held_out, copied)
    assert 0.5 <= found.fake_copies < 0.51 and found.share > 0.7
    assert found.fake_median < found.held_out_median
    # Copies are searched for among all rows, distances are not.
    few = closest_record(train, held_out, copied, max_rows=50)
    assert few.fake_copies == found.fake_copies
    assert few.n_used == {"train": 50, "held_out": 50, "fake": 50}


def test_an_outlier_of_a_column_does_not_hide_its_distances():
    rng = np.random.default_rng(0)
    train, held_out, fake = (rng.normal(size=(300, 2)) for _ in range(3))
    plain = closest_record(train, held_out, fake).fake_median
    train[0, 0] = 1e9
    assert closest_record(train, held_out, fake).fake_median == pytest.approx(plain, rel=0.1)


# What may not change a result


@pytest.mark.parametrize("metric", PAIRS.values(), ids=PAIRS)
def test_the_order_of_rows_changes_nothing(metric):
    real, fake = mixed(200), mixed(150, 1)
    expected = metric(real, fake)
    shuffled = fake.sample(frac=1, random_state=0)
    # Sums of other order are rounded otherwise.
    assert metric(real, shuffled) == pytest.approx(expected, abs=1e-9)


@every_metric
def test_columns_are_matched_by_name(metric):
    real, fake = mixed(150), mixed(150, 1)
    assert metric(real, fake[fake.columns[::-1]]) == metric(real, fake)


@every_metric
def test_categories_may_be_renamed_in_order(metric):
    def renamed(frame):
        sizes = frame["size"].astype(object).map({"L": "1", "M": "2", "S": "3"})
        flags = frame["flag"].astype(object).map({False: "no", True: "yes"})
        words = frame["word"].map({"high": 0, "low": 1}).astype("category")
        return frame.assign(size=sizes, flag=flags, word=words)

    real, fake = mixed(150), mixed(150, 1)
    assert metric(renamed(real), renamed(fake)) == pytest.approx(metric(real, fake), abs=1e-12)


@every_metric
def test_units_of_numbers_and_dates_change_nothing(metric):
    def shifted(frame):
        days = frame["day"] + pd.Timedelta("1000D")
        return frame.assign(x=4 * frame["x"] - 8, count=frame["count"] * 2 + 1, day=days)

    real, fake = mixed(150), mixed(150, 1)
    # Powers of two: nothing is rounded, so that trees split alike.
    assert metric(shifted(real), shifted(fake)) == pytest.approx(metric(real, fake), abs=1e-9)


@every_metric
def test_the_type_of_the_container_changes_nothing(metric):
    real, fake = mixed(150), mixed(150, 1)
    polars = [pl.DataFrame(_plain(frame)) for frame in (real, fake)]
    assert polars[0]["day"].dtype == pl.Datetime and polars[0]["flag"].dtype == pl.Boolean
    assert metric(*polars) == metric(real, fake)
    assert metric(real, polars[1]) == metric(real, fake)


def _plain(frame):
    """Columns as lists of Python values, None where missing."""
    return {
        name: [None if pd.isna(value) else value for value in column.astype(object)]
        for name, column in frame.items()
    }


def test_tables_of_pyarrow_are_read():
    pa = pytest.importorskip("pyarrow")
    real, fake = mixed(150), mixed(150, 1)
    tables = [pa.table(_plain(frame)) for frame in (real, fake)]
    assert trend_error(*tables).mean == trend_error(real, fake).mean


def test_polars_types_are_those_of_pandas():
    day = pd.Timestamp("2024-03-01")
    real = pl.DataFrame(
        {
            "date": [day.date(), None, day.date()],
            "zoned": pl.Series([day, day, None]).dt.replace_time_zone("Europe/Berlin"),
            "lasting": [pd.Timedelta("1h").to_pytimedelta(), None, None],
            "kind": pl.Series(["a", None, "b"], dtype=pl.Categorical),
            "price": pl.Series([1.5, None, 2.5]).cast(pl.Decimal(10, 2)),
            "n": pl.Series([1, None, 3], dtype=pl.Int64),
        }
    )
    pandas = pd.DataFrame(
        {
            "date": [day, None, day],
            "zoned": pd.Series([day, day, None]).dt.tz_localize("Europe/Berlin"),
            "lasting": pd.Series([pd.Timedelta("1h"), None, None]),
            "kind": pd.Categorical(["a", None, "b"]),
            "price": [1.5, None, 2.5],
            "n": pd.Series([1, None, 3], dtype="Int64"),
        }
    )
    assert (shape_error(real, pandas).columns == 0).all()
    assert closest_record(pandas, pandas, real).fake_copies == 1.0


def test_objects_are_what_they_hold():
    day = pd.Timestamp("2024-03-01", tz="UTC")
    plain = pd.DataFrame({"n": [1, 2, 3.5], "flag": [True, False, True], "t": [day] * 3})
    objects = plain.astype(object)
    assert (shape_error(plain, objects).columns == 0).all()
    array = plain[["n", "flag"]].to_numpy()
    assert array.dtype == object
    assert (shape_error(array, plain[["n", "flag"]]).columns == 0).all()


@every_metric
def test_the_data_passed_are_not_changed(metric):
    real, fake = mixed(60), mixed(60, 1)
    before = real.copy(), fake.copy()
    metric(real, fake, max_rows=50)
    pd.testing.assert_frame_equal(real, before[0])
    pd.testing.assert_frame_equal(fake, before[1])


@every_metric
def test_draws_of_rows_are_seeded(metric):
    real, fake = mixed(300), mixed(300, 1)
    first = metric(real, fake, max_rows=60, random_state=0)
    assert metric(real, fake, max_rows=60, random_state=0) == first
    others = [metric(real, fake, max_rows=60, random_state=seed) for seed in (1, 2, 3)]
    assert set(others) != {first}


def test_the_rows_that_were_used_are_told():
    real, fake = mixed(80), mixed(40, 1)
    found = shape_error(real, fake, max_rows=50)
    assert found.n_used == {"real": 50, "fake": 40} and found.n_rows == {"real": 80, "fake": 40}
    assert "(50 of 80 real rows, 40 fake rows)" in repr(found)
    with pytest.raises(ValueError, match="max_rows=0 must be a whole number of at least 2"):
        shape_error(real, fake, max_rows=0)


def test_results_can_be_read():
    real, fake = mixed(60), mixed(60, 1)
    found = two_sample_auc(real, fake, importance=True)
    assert repr(found).startswith(f"TwoSampleAUC: {found.auc:.4f} ± {found.standard_error:.4f} (60")
    assert f"{found.importance.index[0]}: {found.importance.iloc[0]:.4f}" in repr(found)
    shapes, trends = shape_error(real, fake), trend_error(real, fake)
    worst = shapes.columns.idxmax()
    assert f"largest: {worst}: {shapes.columns[worst]:.4f}" in repr(shapes)
    pairs = {f"{a} x {b}": trends.pairs.loc[a, b] for a, b in combinations(trends.pairs, 2)}
    worst = max(pairs, key=pairs.get)
    assert f"largest: {worst}: {pairs[worst]:.4f}" in repr(trends)
    assert "closer to training rows" in repr(closest_record(real, real, fake))
    assert "AUC of word" in repr(train_on_synthetic(real, real, fake, "word"))


# Input that cannot be compared


@every_metric
def test_different_columns_are_named(metric):
    real, fake = mixed(30), mixed(30).rename(columns={"x": "z"})
    with pytest.raises(ValueError, match=r"fake lacks the columns \['x'\] .* \['z'\] that"):
        metric(real, fake)


@every_metric
def test_infinite_numbers_are_refused(metric):
    fake = mixed(30)
    fake.loc[2, "x"] = np.inf
    with pytest.raises(ValueError, match="Column 'x' of fake contains infinity"):
        metric(mixed(30), fake)


@pytest.mark.parametrize(
    "column, fake",
    [
        ("x", ["one"] * 30),
        ("day", np.arange(30.0)),
        ("day", pd.date_range("2024-01-01", periods=30, tz="UTC")),
        ("x", np.arange(30) * 1j),
    ],
)
def test_different_kinds_of_one_column_are_refused(column, fake):
    with pytest.raises(ValueError, match=f"Column '{column}' has values of different or unknown"):
        shape_error(mixed(30), mixed(30).assign(**{column: fake}))


def test_other_input_that_cannot_be_read_is_refused():
    frame = mixed(30)
    with pytest.raises(ValueError, match=r"fake has columns of the same name: \['x'\]"):
        shape_error(frame, frame.rename(columns={"count": "x"}))
    with pytest.raises(ValueError, match=r"fake has shape \(0, 6\). Pass at least one row"):
        shape_error(frame, frame.iloc[:0])
    with pytest.raises(ValueError, match=r"fake has shape \(5,\), not \(n, F\)"):
        shape_error(frame, np.ones(5))
    with pytest.raises(ValueError, match="differ in their number of columns: .*'fake': 3"):
        shape_error(frame, np.ones((5, 3)))
    with pytest.raises(ValueError, match="differ in their number of columns: .*'fake': 3"):
        shape_error(np.ones((5, 2)), np.ones((5, 3)))
    lists = frame.assign(word=[[1]] * 30)
    with pytest.raises(TypeError, match="Column 'word' has values that cannot be compared"):
        shape_error(lists, lists)
    zones = [pd.Timestamp("2024-01-01", tz="UTC"), pd.Timestamp("2024-01-01")] * 15
    mixed_zones = frame.assign(day=pd.Series(zones, dtype=object))
    with pytest.raises(ValueError, match="Column 'day' has values of different or unknown kinds"):
        shape_error(mixed_zones, mixed_zones)
