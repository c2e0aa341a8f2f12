"""The statistics of PIT values, beside cases in closed form."""

import numpy as np
import pytest
from scipy import stats

from gudlearn.diagnosis.uniformity import Calibration, compare_levels, pit_of_levels


def calibration(u, n_effective=None, **parts):
    n_effective = len(u) if n_effective is None else n_effective
    return Calibration(np.asarray(u), np.arange(len(u)), n_effective, **parts)


def normal_pit(n=400, mean=0.0, std=1.0):
    """PIT under a standard normal of evenly spaced quantiles of another normal."""
    return stats.norm.cdf(mean + std * stats.norm.ppf((np.arange(n) + 0.5) / n))


def test_evenly_spaced_values_are_uniform():
    found = calibration(normal_pit()).statistics()
    assert found["ks"] == pytest.approx(0.5 / 400) and found["p_value"] == pytest.approx(1)
    assert found["coverage_50"] == 0.5 and found["coverage_90"] == 0.9
    assert found["mean_pit"] == pytest.approx(0.5) and found["nats_lost"] == 0
    assert found["z"] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(("mean", "std"), [(0.0, 2.0), (0.0, 0.4), (0.7, 1.0)])
def test_statistics_are_those_of_a_wrong_normal(mean, std):
    found = calibration(normal_pit(4000, mean, std)).statistics()
    # The probability of a predicted interval, under the true distribution.
    for name, z in (("coverage_50", stats.norm.ppf(0.75)), ("coverage_90", stats.norm.ppf(0.95))):
        inside = stats.norm.cdf((z - mean) / std) - stats.norm.cdf((-z - mean) / std)
        assert found[name] == pytest.approx(inside, abs=1e-3)
    assert found["mean_pit"] == pytest.approx(stats.norm.cdf(mean / np.hypot(1, std)), abs=1e-3)
    # What recalibration gains is the divergence of the two normals.
    divergence = (std**2 + mean**2 - 1) / 2 - np.log(std)
    assert found["nats_lost"] == pytest.approx(divergence, rel=0.02)
    x = np.linspace(-9, 9, 20_001)
    distance = np.abs(stats.norm.cdf(x, mean, std) - stats.norm.cdf(x)).max()
    assert found["ks"] == pytest.approx(distance, abs=1e-3) and found["z"] > 20


def test_the_p_value_is_that_of_kolmogorov_and_smirnov():
    u = normal_pit(100, 0.25)
    found = calibration(u).statistics()
    assert found["p_value"] == pytest.approx(stats.kstest(u, "uniform").pvalue, rel=0.1)
    fewer = calibration(u, 40).statistics()
    assert fewer["p_value"] == pytest.approx(stats.kstwo.sf(found["ks"], 40), rel=0.1)
    assert stats.norm.sf(found["z"]) * 2 == pytest.approx(found["p_value"])


def test_without_values_nothing_is_said():
    found = calibration([]).statistics()
    assert found["n"] == 0 and np.isnan(found["p_value"]) and np.isnan(found["nats_lost"])


def test_pit_of_levels_begins_with_the_most_probable_and_is_uniform():
    p = np.array([[0.2, 0.5, 0.3]]).repeat(4, 0)
    pit = pit_of_levels(p, np.array([1, 2, 0, 3]), np.full(4, 0.5))
    np.testing.assert_allclose(pit, [0.25, 0.65, 0.9, 1.0])
    equal = pit_of_levels(np.full((2, 2), 0.5), np.array([0, 1]), np.zeros(2))
    np.testing.assert_allclose(equal, [0, 0.5])
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(5), 3000)
    codes = (p.cumsum(1) < rng.random((3000, 1))).sum(1)
    u = pit_of_levels(p, codes, rng.random(3000))
    assert stats.kstest(u, "uniform").pvalue > 1e-6
    # One that is too sure of itself is not.
    sharp = p**3 / (p**3).sum(1, keepdims=True)
    found = calibration(pit_of_levels(sharp, codes, rng.random(3000)), levels={"a": (0, 0, 0.0)})
    assert found.statistics()["z"] > 5 and found.statistics()["coverage_50"] < 0.45


def test_a_level_that_is_too_frequent_is_found():
    p, codes = np.full((100, 2), 0.5), np.repeat([0, 1], [80, 20])
    levels = compare_levels(p, codes, ["a", "b"])
    assert levels["a"][:2] == (0.8, 0.5) and levels["a"][2] == pytest.approx(6)
    assert levels["b"][2] == pytest.approx(-6)
    # With probabilities that are themselves uncertain, half of the variance is theirs.
    assert compare_levels(p, codes, "ab", 0.0025)["a"][2] == pytest.approx(6 / 2**0.5)
    # The PIT is uniform; the frequency is not.
    found = calibration(normal_pit(100), levels=levels).statistics()
    assert found["p_value"] == pytest.approx(2 * 2 * 2 * stats.norm.sf(6))
