"""Distributions of one number: quantile functions and levels."""

import numpy as np
import pytest
from scipy.stats import norm

from gudlearn.model.conditional import ConditionalLevels, ConditionalQuantiles

NODES = np.linspace(-3.6, 3.6, 33)


class Scaled:
    """A column that is 3 z + 1."""

    def forward(self, y):
        return (np.asarray(y) - 1) / 3, np.full(np.shape(y), -np.log(3))

    def inverse(self, z):
        return 3 * np.asarray(z) + 1


class Exponential:
    """A column that is exp(z)."""

    def forward(self, y):
        return np.log(y), -np.log(y)

    def inverse(self, z):
        return np.exp(z)


def gaussians(column_map=None, whole=False):
    """Distributions of z: two normals."""
    means, stds = np.array([0.2, -1.0]), np.array([0.5, 1.5])
    values = means[:, None] + stds[:, None] * NODES
    return ConditionalQuantiles(NODES, values, column_map or Scaled(), whole), means, stds


def irregular(rng, n=20):
    """Any increasing quantile functions, some with steps."""
    rises = 0.2 + rng.exponential(size=(n, len(NODES))) ** 2
    return ConditionalQuantiles(NODES, np.cumsum(rises, 1) / 5 - 3, Scaled())


def test_a_straight_quantile_function_is_a_normal_distribution():
    found, means, stds = gaussians()
    normal = norm(3 * means + 1, 3 * stds)
    for y in (np.array([-20.0, 1.0]), np.array([1.0, 30.0]), np.array([2.5, -2.0])):
        np.testing.assert_allclose(found.log_prob(y), normal.logpdf(y), rtol=1e-9)
        np.testing.assert_allclose(found.cdf(y), normal.cdf(y), rtol=1e-8)
    q = np.array([1e-9, 0.05, 0.5, 0.99])
    expected = norm(*(p[:, None] for p in (3 * means + 1, 3 * stds))).ppf(q)
    np.testing.assert_allclose(found.quantile(q), expected, rtol=1e-8)
    np.testing.assert_allclose(found.mean(), 3 * means + 1, atol=1e-8)
    np.testing.assert_allclose(found.median(), 3 * means + 1, atol=1e-8)
    np.testing.assert_allclose(found.mode(), 3 * means + 1, atol=1e-8)


def test_a_map_of_the_column_enters_density_mean_and_mode():
    found, means, stds = gaussians(Exponential())
    y = np.array([1.7, 0.2])
    np.testing.assert_allclose(
        found.log_prob(y), norm.logpdf(np.log(y), means, stds) - np.log(y), rtol=1e-9
    )
    # The grid of means ends at 4.5 standard deviations, where a log-normal still has mass.
    np.testing.assert_allclose(found.mean(), np.exp(means + stds**2 / 2), rtol=2e-3)
    # The shortest interval that holds a tenth, from a finer grid.
    p = np.linspace(0.0005, 0.8995, 1800)[:, None]
    start = np.diff(np.exp(norm(means, stds).ppf([p, p + 0.1])), axis=0)[0].argmin(0)
    expected = norm(means, stds).ppf(p[start, 0] + 0.05)
    np.testing.assert_allclose(np.log(found.mode()), expected, atol=0.05)
    # It is close to the mode where the density is not far from symmetric there.
    np.testing.assert_allclose(np.log(found.mode())[0], (means - stds**2)[0], atol=0.05)


def test_a_narrow_peak_with_little_probability_is_no_mode():
    values = NODES.copy()[None]
    # Two quantiles beyond two standard deviations lie next to each other.
    k = int(np.searchsorted(NODES, 2.0))
    values[0, k + 1] = values[0, k] + 1e-6
    found = ConditionalQuantiles(NODES, values, Scaled())
    at = found.quantile(np.array([0.5]))[:, 0]
    assert found.log_prob(3 * values[:, k] + 1 + 1e-6) > found.log_prob(at) + 2
    np.testing.assert_allclose(found.mode(), 1.0, atol=0.1)


def test_densities_are_normalised_and_agree_with_the_distribution_function():
    found = irregular(np.random.default_rng(0))
    ends = found.quantile(np.array([1e-8, 1 - 1e-8]))
    t = np.linspace(0, 1, 40_001)
    y = ends[:, :1] + (ends[:, 1:] - ends[:, :1]) * t
    parts = [np.exp(found.log_prob(part)) for part in np.split(y[:, :-1], 40, axis=1)]
    total = np.concatenate(parts, 1).mean(1) * (ends[:, 1] - ends[:, 0])
    np.testing.assert_allclose(total, 1, atol=1e-4)


def test_quantiles_and_the_distribution_function_are_inverse():
    rng = np.random.default_rng(1)
    found = irregular(rng)
    q = rng.uniform(0.001, 0.999, size=len(found))
    y = found.quantile(q[:, None])[:, 0]
    np.testing.assert_allclose(found.cdf(y), q, atol=1e-9)


def test_equal_quantiles_keep_a_finite_density():
    found = ConditionalQuantiles(NODES, np.zeros((1, len(NODES))), Scaled())
    assert np.isfinite(found.log_prob(np.array([1.0])))
    np.testing.assert_allclose(found.mean(), 1.0, atol=1e-9)


def test_quantiles_out_of_order_are_put_in_order():
    values = 0.5 * NODES[None] + 0.0
    values[0, [16, 17]] = values[0, [17, 16]]
    found = ConditionalQuantiles(NODES, values, Scaled())
    assert (np.diff(found.quantile(np.linspace(0.01, 0.99, 99))) > 0).all()


def test_whole_numbers_have_the_probability_of_their_interval():
    found, means, stds = gaussians(whole=True)
    normal = norm(3 * means + 1, 3 * stds)
    for k in (-8.0, 0.0, 2.0, 25.0):
        y = np.full(2, k)
        expected = normal.cdf(y + 0.5) - normal.cdf(y - 0.5)
        right = normal.sf(y - 0.5) - normal.sf(y + 0.5)
        expected = np.log(np.maximum(expected, right))
        np.testing.assert_allclose(found.log_prob(y), expected, rtol=1e-6)
    assert np.isneginf(found.log_prob(np.full(2, 0.5))).all()
    grid = np.arange(-60.0, 60.0)
    total = np.exp(found.log_prob(np.tile(grid, (2, 1)))).sum(1)
    np.testing.assert_allclose(total, 1, rtol=1e-9)
    np.testing.assert_array_equal(found.quantile(np.array([0.3])) % 1, 0)
    np.testing.assert_array_equal(found.mode(), [2, -2])
    np.testing.assert_allclose(found.cdf(np.array([1.0, 1.7])), normal.cdf([1.5, 1.5]))


def test_levels_are_a_probability_mass_function():
    p = np.array([[0.1, 0.6, 0.3], [0.5, 0.0, 0.5]])
    found = ConditionalLevels([1, 2, 5], p)
    np.testing.assert_allclose(found.mean(), [2.8, 3.0])
    np.testing.assert_array_equal(found.mode(), [2, 1])
    np.testing.assert_array_equal(found.median(), [2, 1])
    np.testing.assert_array_equal(found.quantile(np.array([0.05, 0.71])), [[1, 5], [1, 5]])
    np.testing.assert_allclose(found.cdf(np.array([1.5, 4.0])), [0.1, 0.5])
    np.testing.assert_allclose(np.exp(found.log_prob(np.array([2.0, 2.0]))), [0.6, 0.0])
    assert np.isneginf(found.log_prob(np.array([3.0, 9.0]))).all()


@pytest.mark.parametrize("whole", [False, True])
def test_samples_of_uniforms_have_the_distribution(whole):
    found, means, stds = gaussians(whole=whole)
    u = np.random.default_rng(2).uniform(size=(2, 4000))
    y = found.quantile(u)
    # Five standard errors of a mean, and of a standard deviation.
    error = 3 * stds / np.sqrt(4000)
    assert (np.abs(y.mean(1) - 3 * means - 1) < 5 * error).all()
    variance = 9 * stds**2 + whole / 12
    assert (np.abs(y.std(1) - np.sqrt(variance)) < 5 * error / np.sqrt(2)).all()
