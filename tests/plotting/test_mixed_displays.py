"""Displays of mixed tables: bars of levels, spikes at point masses, times, pairs, panels."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy.stats.contingency import association

from gudlearn import ConditionalDisplay, MarginalsDisplay, PairDependenceDisplay, Schema
from gudlearn.metrics import trend_error
from gudlearn.metrics.association import associations, cramers_v
from gudlearn.plotting.columns import drawn_columns, format_value
from small import small

WORDS = ["a", "a", "b", "a", "c", "b", "a", "a"]


def mixed(n=80, seed=0):
    rng = np.random.default_rng(seed)
    size = np.where(rng.random(n) < 0.5, 0.0, rng.normal(5.0, 1.0, n))
    return pd.DataFrame(
        {
            "word": rng.choice(["red", "green", "blue"], n, p=[0.6, 0.3, 0.1]),
            "size": size,
            "day": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 90, n), unit="D"),
            "wait": pd.to_timedelta(rng.integers(1, 9, n), unit="h"),
            "score": pd.Series(rng.integers(0, 5, n)).astype("Int64").mask(rng.random(n) < 0.25),
        }
    )


CONTAINERS = {
    "pandas": lambda frame: frame,
    "polars": lambda frame: pl.DataFrame(frame.to_dict("list")),
}


@pytest.fixture(scope="module")
def fitted():
    return small(max_iter=0, conditional_rate=0.3, schema=Schema(missing="model")).fit(mixed())


# MarginalsDisplay


def test_bars_of_a_category_are_fractions_of_the_rows_frequent_levels_first():
    real = pd.DataFrame({"word": WORDS})
    fake = pd.DataFrame({"word": ["c", "c", "d", None]})
    display = MarginalsDisplay.from_samples(real, fake)
    bars = [patch.get_data().values[::2] for patch in (display.real_[0], display.fake_[0])]
    texts = [label.get_text() for label in display.axes_[0].get_yticklabels()]
    # Ranked by the sum of both frequencies: a 5/8, c 1/8 + 1/2, b and d 1/4; first come, first.
    assert texts == ["a", "c", "b", "d", "missing"]
    np.testing.assert_allclose(bars[0], [5 / 8, 1 / 8, 2 / 8, 0, 0])
    np.testing.assert_allclose(bars[1], [0, 1 / 2, 0, 1 / 4, 1 / 4])


def test_ordered_levels_keep_their_order_and_rare_levels_share_a_bar():
    dtype = pd.CategoricalDtype(["low", "middle", "high"], ordered=True)
    real = pd.DataFrame({"grade": pd.Series(["high", "high", "low", "middle"], dtype=dtype)})
    (column,) = drawn_columns(real)
    assert column.levels == ["low", "middle", "high"]
    np.testing.assert_array_equal(column.values[0], [2, 2, 0, 1])
    many = pd.DataFrame({"word": [f"w{k}" for k in range(20) for _ in range(20 - k)]})
    (column,) = drawn_columns(many)
    assert column.levels == [f"w{k}" for k in range(11)] + ["9 others"]
    assert (column.values[0] == 11).sum() == sum(range(1, 10))


def test_point_masses_are_spikes_beside_the_density_of_the_rest():
    real, fake = mixed(400), mixed(300, seed=1)
    display = MarginalsDisplay.from_samples(real, fake, columns=["size"])
    for patch, spikes, rows in zip(
        (display.real_[0], display.fake_[0]), display.spikes_[0], (real, fake), strict=True
    ):
        values, edges, _ = patch.get_data()
        mass = (rows["size"] == 0).mean()
        np.testing.assert_array_equal(spikes[0].get_xydata(), [[0, 0], [0, mass]])
        rest = rows["size"][rows["size"] != 0]
        inside = rest.between(edges[0], edges[-1]).sum() / len(rows)
        np.testing.assert_allclose((values * np.diff(edges)).sum(), inside)
        assert edges[0] > 0


def test_fractions_of_missing_values_are_told():
    real, fake = mixed(80), mixed(40, seed=1)
    display = MarginalsDisplay.from_samples(real, fake, columns=["score", "size"])
    fractions = [rows["score"].isna().mean() for rows in (real, fake)]
    expected = "score\n" + ", ".join(f"{100 * f:.3g} %" for f in fractions) + " missing"
    assert [cell.get_title() for cell in display.axes_] == [expected, "size"]


@pytest.mark.parametrize("name", CONTAINERS)
def test_every_container_is_drawn_and_columns_are_matched_by_name(name):
    real = mixed()
    fake = CONTAINERS[name](mixed(60, seed=1)[["day", "word", "wait", "score", "size"]])
    display = MarginalsDisplay.from_samples(real, fake)
    titles = [cell.get_title().split("\n")[0] for cell in display.axes_]
    assert titles == ["word", "size", "day", "wait (hours)", "score"]
    display.figure_.canvas.draw()
    same = MarginalsDisplay.from_samples(real, mixed(60, seed=1))
    for found, expected in zip(display.fake_, same.fake_, strict=True):
        np.testing.assert_allclose(found.get_data().values, expected.get_data().values)


def test_a_mixed_generator_is_drawn_beside_its_data(fitted):
    display = MarginalsDisplay.from_estimator(fitted, mixed(), random_state=0)
    assert len(display.fake) == 80
    assert list(display.fake.columns) == list(mixed().columns)


def test_times_have_readable_values():
    day, wait = drawn_columns(mixed()[["day", "wait"]].iloc[:3])
    assert format_value(day, day.values[0][0]) == str(mixed()["day"][0].date())
    assert (wait.unit, format_value(wait, 1.5)) == ("hours", "1:30:00")


def test_tables_that_cannot_be_compared_are_refused():
    real = pd.DataFrame({"a": [1.0, 2.0], "b": ["x", "y"]})
    with pytest.raises(ValueError, match="fake lacks the columns"):
        MarginalsDisplay.from_samples(real, real.rename(columns={"a": "z"}))
    with pytest.raises(ValueError, match="holds datetime and float"):
        drawn_columns(real[["a"]], pd.DataFrame({"a": pd.to_datetime(["2024-01-01"])}))
    with pytest.raises(ValueError, match="'a' contains infinity"):
        drawn_columns(pd.DataFrame({"a": [1.0, np.inf]}))
    with pytest.raises(ValueError, match="different columns"):
        drawn_columns(real, real[["a"]])


# PairDependenceDisplay


def test_cramers_v_is_that_of_scipy():
    rng = np.random.default_rng(0)
    first = rng.integers(0, 4, 300)
    second = np.where(rng.random(300) < 0.5, first, rng.integers(0, 3, 300))
    counts = np.zeros((4, 4))
    np.add.at(counts, (first, second), 1)
    assert cramers_v(first, second) == pytest.approx(association(counts.astype(int), "cramer"))
    assert cramers_v(first * 7, first) == pytest.approx(1.0)
    assert np.isnan(cramers_v(first, np.zeros(300, int)))


def test_pairs_hold_correlations_cramers_v_and_the_errors_of_trend_error():
    real, fake = mixed(300), mixed(200, seed=1)
    display = PairDependenceDisplay.from_samples(real, fake, name="copy")
    expected = real[["size", "score"]].astype(float).corr().iloc[0, 1]
    assert display.real[1, 4] == pytest.approx(expected)
    found, _ = associations(real, fake)
    np.testing.assert_array_equal(display.real, found)
    np.testing.assert_array_equal(display.error, trend_error(real, fake).pairs)
    for image, matrix in zip(
        display.images_, (display.real, display.fake, display.error), strict=True
    ):
        np.testing.assert_array_equal(image.get_array().filled(np.nan), matrix)
    mean = trend_error(real, fake).mean
    assert [c.get_title() for c in display.axes_] == ["real", "copy", f"error (mean {mean:.3f})"]
    assert [t.get_text() for t in display.axes_[0].get_xticklabels()] == list(real.columns)


def test_a_lost_dependence_is_seen():
    rng = np.random.default_rng(0)
    word = rng.choice(["a", "b"], 500)
    real = pd.DataFrame({"word": word, "copy": word, "x": np.where(word == "a", 0.0, 9.0)})
    fake = real.assign(copy=rng.permutation(word))
    display = PairDependenceDisplay.from_samples(real, fake)
    assert display.real[0, 1] == display.real[0, 2] == pytest.approx(1.0)
    # V of independent columns of 500 rows has a root mean square of 1/sqrt(500) = 0.045.
    assert display.fake[0, 1] < 5 * 0.045
    assert display.error[0, 1] > 0.3 and display.error[0, 2] == 0


def test_pairs_of_a_generator_and_of_arrays_are_drawn(fitted):
    display = PairDependenceDisplay.from_estimator(fitted, mixed(), n_samples=50, random_state=0)
    assert display.real.shape == (5, 5)
    assert display.axes_[1].get_title() == "GUDGenerator"
    figure, ax = plt.subplots()
    rows = np.random.default_rng(0).normal(size=(30, 3))
    display = PairDependenceDisplay.from_samples(rows, rows, ax=ax)
    assert display.ax_ is ax and display.figure_ is figure
    assert [t.get_text() for t in display.axes_[0].get_xticklabels()] == ["x0", "x1", "x2"]
    figure.canvas.draw()


def test_a_constant_column_has_no_dependence():
    real = pd.DataFrame({"x": [1.0, 2.0, 3.0], "one": [5.0, 5.0, 5.0]})
    display = PairDependenceDisplay.from_samples(real, real)
    assert np.isnan(display.real).all() and np.isnan(display.error).all()
    assert display.axes_[2].get_title() == "error"


# ConditionalDisplay


def test_columns_that_are_not_observed_have_panels(fitted):
    truth = {"word": "red", "size": 5.0, "day": pd.Timestamp("2024-02-01"),
             "wait": pd.Timedelta("3h"), "score": 2}  # fmt: skip
    display = ConditionalDisplay.from_estimator(
        fitted, {"size": 5.0, "wait": pd.Timedelta("3h")}, truth=truth, n_samples=40, random_state=0
    )
    expected = fitted.sample(40, given={"size": 5.0, "wait": pd.Timedelta("3h")}, random_state=0)
    pd.testing.assert_frame_equal(display.draws, expected)
    titles = [cell.get_title().split("\n")[0] for cell in display.axes_]
    assert titles == ["word", "day", "score"]
    bars = display.axes_[0].patches[0].get_data().values[::2]
    counts = expected["word"].value_counts(normalize=True)
    texts = [label.get_text() for label in display.axes_[0].get_yticklabels()]
    np.testing.assert_allclose(bars, [counts.get(text, 0.0) for text in texts])
    assert display.band_[0] is None
    low, high = expected["score"].astype(float).quantile([0.05, 0.95])
    assert display.band_[2].get_x() == pytest.approx(low)
    assert display.band_[2].get_width() == pytest.approx(high - low)
    assert display.lines_[2].get_xdata()[0] == 2
    heading = display.figure_.get_suptitle()
    assert heading == "GUDGenerator\ngiven size = 5, wait = 3:00:00"
    display.figure_.canvas.draw()


def test_a_row_is_a_series_a_frame_or_has_nothing_observed(fitted):
    frame = mixed().iloc[[4]]
    partial = frame.assign(word=None, score=pd.NA)
    display = ConditionalDisplay.from_estimator(fitted, partial, truth=frame, n_samples=5)
    assert [c.get_title().split("\n")[0] for c in display.axes_] == ["word", "score"]
    same = ConditionalDisplay.from_estimator(fitted, partial.iloc[0], truth=frame, n_samples=5)
    pd.testing.assert_frame_equal(
        same.draws.reset_index(drop=True), display.draws.reset_index(drop=True)
    )
    display = ConditionalDisplay.from_estimator(fitted, partial[["word"]], n_samples=5)
    assert len(display.axes_) == 5 and display.row is None
    figure, ax = plt.subplots()
    assert display.plot(ax=ax).figure_ is figure
    figure.canvas.draw()


def test_panels_are_drawn_of_numbers_on_request():
    rows = np.random.default_rng(0).normal(size=(40, 3)) * [1, 100, 1e4]
    gen = small(max_iter=0, conditional_rate=0.5).fit(rows)
    row = np.array([0.5, np.nan, np.nan])
    display = ConditionalDisplay.from_estimator(gen, row, panels=True, n_samples=30, random_state=3)
    expected = gen.sample(30, given=row[None], random_state=3)[:, 0]
    np.testing.assert_array_equal(display.draws, expected)
    assert [cell.get_title() for cell in display.axes_] == ["x1", "x2"]
    assert display.lines_ == []


def test_a_row_of_numbers_is_a_dict_of_the_observed_columns():
    X = pd.DataFrame(np.random.default_rng(0).normal(size=(40, 3)), columns=["a", "b", "c"])
    gen = small(max_iter=0, conditional_rate=0.5).fit(X)
    display = ConditionalDisplay.from_estimator(gen, {"b": 0.5}, truth=X.iloc[0], n_samples=5)
    np.testing.assert_array_equal(display.row, [np.nan, 0.5, np.nan])
    np.testing.assert_array_equal(display.truth, X.iloc[0])
    np.testing.assert_array_equal(display.draws[:, 1], 0.5)


@pytest.mark.parametrize(
    ("row", "arguments", "message"),
    [
        ({"colour": "red"}, {}, "row names column 'colour'"),
        (mixed().iloc[:2], {}, "row has 2 rows. Pass one"),
        (mixed().dropna().iloc[[0]], {}, "no missing value to draw"),
        ([1.0, np.nan], {}, r"row must be one row of shape \(5,\)"),
        ({"word": "red"}, {"truth": {"word": "red"}}, "truth lacks the columns"),
        ({"word": "red"}, {"coverage": 0.0}, "coverage=0.0"),
    ],
)
def test_invalid_rows_are_refused(fitted, row, arguments, message):
    with pytest.raises(ValueError, match=message):
        ConditionalDisplay.from_estimator(fitted, row, n_samples=3, **arguments)
