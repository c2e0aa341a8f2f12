"""Global utility, the errors of scores, and the distances of a report: closed forms and limits."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import energy_distance as energy_of_scipy
from scipy.stats import wasserstein_distance

from gudlearn.metrics import global_utility, train_on_synthetic
from gudlearn.metrics.mixed import read_tables
from gudlearn.metrics.reporting.coverage import Coverage, wasserstein
from gudlearn.metrics.reporting.errors import bootstrap_error, parts_error, share_error
from gudlearn.metrics.reporting.vectors import Vectors, energy_distance
from gudlearn.metrics.utility import jackknife


def dependent(n, seed):
    """A number, one that is nearly its copy, a category that is its sign, and noise."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    return pd.DataFrame(
        {
            "x": x,
            "y": x + 0.1 * rng.normal(size=n),
            "sign": np.where(x > 0, "plus", "minus"),
            "noise": rng.normal(size=n),
        }
    )


def shuffled(frame, seed=9):
    rng = np.random.default_rng(seed)
    return pd.DataFrame({name: rng.permutation(column) for name, column in frame.items()})


def test_utility_is_one_for_fresh_rows_and_falls_with_the_dependences():
    train, test, fresh = (dependent(600, seed) for seed in range(3))
    found, lost = (global_utility(train, test, fake) for fake in (fresh, shuffled(fresh)))
    assert abs(found.mean - 1) < 0.05
    # A coin guesses half of the signs; noise cannot be predicted by anyone.
    assert lost.columns["sign"] == pytest.approx(0.5, abs=0.15)
    assert lost.columns["x"] < 0.4 and lost.columns["y"] < 0.4
    assert lost.columns["noise"] == pytest.approx(found.columns["noise"], abs=0.2)
    assert 0 < found.standard_error < 0.05
    assert "lowest: " in repr(lost) and "600 real_train rows" in repr(lost)
    assert global_utility(train, test, train).mean == 1.0


def test_utility_of_columns_that_are_constant_or_missing():
    train, test, fake = (dependent(100, seed).assign(c=1.0, z=np.nan) for seed in range(3))
    found = global_utility(train, test, fake.assign(x=np.nan))
    assert found.columns[["c", "z"]].isna().all()
    assert found.columns["x"] == 0.0
    constant = train[["c"]].assign(d="a")
    with pytest.raises(ValueError, match="No column varies in the real rows"):
        global_utility(constant, constant, constant)
    with pytest.raises(ValueError, match="one column, which nothing predicts"):
        global_utility(train[["x"]], test[["x"]], fake[["x"]])


def test_few_columns_of_many_are_predicted():
    frames = [dependent(60, seed) for seed in range(3)]
    found = global_utility(*frames, max_columns=2)
    assert found.columns.notna().sum() == 2
    every = global_utility(*frames)
    known = found.columns.dropna()
    pd.testing.assert_series_equal(known, every.columns[known.index])
    with pytest.raises(ValueError, match="max_columns=0 must be a whole number of at least 1"):
        global_utility(*frames, max_columns=0)


def test_the_jackknife_of_a_mean_is_its_standard_error():
    x = np.random.default_rng(0).normal(size=4000)
    value, error = jackknife(lambda rows: x[rows].mean(), len(x), n_groups=200)
    assert value == pytest.approx(x.mean())
    # Of 200 groups the error has a relative error of 1 / 20.
    assert error == pytest.approx(1 / np.sqrt(4000), rel=5 / 20)


def test_bootstrap_and_parts_know_the_error_of_a_difference_of_means():
    x, y = np.random.default_rng(0).normal(size=(2, 6000))

    def difference(a, b):
        return x[a].mean() - y[b].mean()

    error = bootstrap_error(difference, 6000, 6000, np.random.default_rng(1), n_draws=200)
    assert error == pytest.approx(np.sqrt(2 / 6000), rel=5 / 20)
    # Of 8 parts the relative error is 1 / sqrt(14).
    assert parts_error(difference, 6000, 6000, 10) == pytest.approx(np.sqrt(2 / 6000), rel=0.9)
    assert np.isnan(parts_error(difference, 15, 15, 10))
    assert share_error(0.5, 100) == 0.05 and 0 < share_error(0.0, 100) < 0.01 + 1e-9


@pytest.mark.parametrize("sizes", [(50, 50), (50, 31)])
def test_wasserstein_is_that_of_scipy(sizes):
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=sizes[0]), 1 + 2 * rng.normal(size=sizes[1])
    assert wasserstein(first, second) == pytest.approx(wasserstein_distance(first, second))


def test_energy_is_that_of_scipy_and_sees_dependence():
    x, y = np.random.default_rng(0).normal(size=(2, 400))
    y = y + 1
    found = energy_distance(x[:, None], y[:, None])
    between = 2 * np.abs(x[:, None] - y).mean()
    # SciPy's means contain the pairs of a row with itself, which adds (E|X-X'| + E|Y-Y'|) / n.
    bias = sum(np.abs(z[:, None] - z).sum() / (400 * 399) for z in (x, y)) / 400
    expected = (energy_of_scipy(x, y) ** 2 - bias) / between
    assert found.value == pytest.approx(expected, abs=1e-9)
    X = x[:, None] + 0.1 * np.random.default_rng(1).normal(size=(400, 2))
    lost = np.column_stack([X[:, 0], np.random.default_rng(2).permutation(X[:, 1])])
    fresh = energy_distance(X[:200], X[200:])
    assert energy_distance(X[:200], lost[200:]).value > 0.02
    assert abs(fresh.value) < 5 * fresh.standard_error + 0.01


def table_of(frame):
    return read_tables(None, np.random.default_rng(0), frame=frame)[0]


def test_tails_and_rare_levels_are_counted():
    x = np.arange(1000.0)
    levels = np.array(["a"] * 980 + ["b"] * 15 + ["c"] * 5)
    zero = np.where(x < 900, 0.0, x)  # a point mass is no tail
    train = table_of(pd.DataFrame({"x": x, "level": levels, "zero": zero}))
    coverage = Coverage(train)
    assert [(j, sign) for j, sign, *_ in coverage.tails] == [(0, -1), (0, 1), (2, 1)]
    assert coverage.tail_coverage(train) == 1.0
    assert coverage.rare_levels(train) == 1.0 and coverage.rare_mass(train) == 1.0
    # Without the 5 rows of c, and with half of the upper tail.
    assert coverage.rare_levels(train, np.arange(995)) == 0.5
    assert coverage.rare_mass(train, np.arange(995)) == pytest.approx(0.75, abs=0.01)
    assert coverage.tail_ratios(train, np.arange(995)) == pytest.approx([1, 0.5, 0.5], abs=0.02)
    assert coverage.distances(train, train)[[0, 2]].tolist() == [0.0, 0.0]
    with pytest.raises(ValueError, match="No category has a level of less than 2%"):
        Coverage(table_of(pd.DataFrame({"x": x}))).rare_levels(train)
    with pytest.raises(ValueError, match="No column of numbers has tails"):
        Coverage(table_of(pd.DataFrame({"level": levels}))).tail_coverage(train)


def test_vectors_hold_different_levels_one_width_apart():
    frame = pd.DataFrame({"x": np.arange(101.0), "level": ["a", "b"] * 50 + [None]})
    table = table_of(frame)
    V = Vectors(table)(table)
    # The range between the 5 and 95 % quantiles is 90.
    assert np.linalg.norm(V[0] - V[2]) == pytest.approx(2 / 90)
    assert np.linalg.norm(V[0] - V[1]) == pytest.approx(np.hypot(1, 1 / 90))
    missing = table_of(pd.DataFrame({"x": [np.nan, 50.0], "level": ["a", "a"]}))
    V = Vectors(missing)(missing)
    assert np.linalg.norm(V[0] - V[1]) == pytest.approx(1)


def test_the_error_of_training_on_synthetic_is_that_of_an_auc():
    train, test, fake = (dependent(800, seed)[["y", "noise", "sign"]] for seed in range(3))
    found = train_on_synthetic(train, test, fake, "sign")
    # Hanley and McNeil's bound: sqrt(A (1 - A) / min(n+, n-)).
    n = test["sign"].value_counts().min()
    bound = np.sqrt(found.synthetic * (1 - found.synthetic) / n)
    assert 0 < found.standard_error < 2 * bound
    assert f"± {found.standard_error:.4f}" in repr(found)
