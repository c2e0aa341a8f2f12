"""Maps to normal columns: exact, smooth, robust, and only where the data are not Gaussian."""

import pickle

import numpy as np
import pytest
from scipy import stats

from gudlearn.encoding.warp import MarginalWarp

# A distribution, and what a fit to 4,000 values may lose to it, in nats. Five standard errors of
# the mean over 20,000 test values and the loss of a spline with 30 pieces, 30 / (2 * 4000), are
# below .03; densities without bound cost more.
DISTRIBUTIONS = {
    "lognormal": (stats.lognorm(1), 0.05),
    "wide lognormal": (stats.lognorm(3), 0.05),
    "Cauchy": (stats.cauchy(), 0.05),
    "Student": (stats.t(3), 0.05),
    "uniform": (stats.uniform(), 0.03),
    "beta, mass at both ends": (stats.beta(0.3, 0.3), 0.1),
    "exponential": (stats.expon(), 0.03),
    "gamma": (stats.gamma(2), 0.03),
}
each = pytest.mark.parametrize("name", DISTRIBUTIONS)


def draw(name, n, seed=0):
    return DISTRIBUTIONS[name][0].rvs((n, 1), random_state=np.random.default_rng(seed))


def bimodal(n, seed=0):
    rng = np.random.default_rng(seed)
    return np.where(rng.random((n, 1)) < 0.3, rng.normal(-5, 0.3, (n, 1)), rng.normal(3, 1, (n, 1)))


def fit(X, observed=None):
    return MarginalWarp.fit(X, observed, np.ones(X.shape[1], dtype=bool))


def log_density(warp, X):
    Z, log_slope = warp.forward(X)
    return log_slope - 0.5 * (Z**2 + np.log(2 * np.pi))


@each
def test_density_of_new_values_is_near_the_true_one(name):
    distribution, most = DISTRIBUTIONS[name]
    warp, new = fit(draw(name, 4000)), draw(name, 20_000, seed=1)
    lost = distribution.logpdf(new) - log_density(warp, new)
    assert lost.mean() < most
    # No density is better than the true one but by luck: e^-lost has mean 1.
    assert lost.mean() > -5 * lost.std() / len(lost) ** 0.5


@each
@pytest.mark.parametrize("n", [1000, 50_000])
def test_inverse_is_exact_in_and_out_of_the_seen_range(name, n):
    warp = fit(draw(name, n))
    z = np.linspace(-9, 9, 2001)[:, None]
    X = warp.inverse(z)
    assert np.isfinite(X).all()
    # Spacings of floats near the bounds limit z there: not so x.
    again = warp.inverse(warp.forward(X)[0])
    spread = np.subtract(*np.quantile(draw(name, n), [0.75, 0.25]))
    np.testing.assert_allclose(again, X, rtol=1e-9, atol=1e-9 * spread)


def test_map_increases_strictly_and_integrates_to_one():
    for X in (draw("lognormal", 1000), draw("Cauchy", 1000), bimodal(1000), draw("uniform", 1000)):
        warp = fit(X)
        x = warp.inverse(np.linspace(-8, 8, 40_001)[:, None])
        z, log_slope = warp.forward(x)
        assert (np.diff(x[:, 0]) > 0).all() and (np.diff(z[:, 0]) > 0).all()
        density = np.exp(log_slope - 0.5 * z**2) / np.sqrt(2 * np.pi)
        # The trapezoidal rule is wrong by the square of the step.
        assert np.trapezoid(density[:, 0], x[:, 0]) == pytest.approx(1, abs=1e-4)


def test_slope_is_the_derivative():
    for X in (draw("exponential", 1000), draw("Student", 1000), bimodal(1000)):
        warp = fit(X)
        x = warp.inverse(np.random.default_rng(0).uniform(-7, 7, (500, 1)))
        step = 1e-6 * np.exp(-warp.forward(x)[1])
        slope = (warp.forward(x + step)[0] - warp.forward(x - step)[0]) / (2 * step)
        # Rounding of z over the step, 1e-9, and knots of the spline inside the step.
        close = np.isclose(np.log(slope), warp.forward(x)[1], atol=1e-4)
        assert close.mean() > 0.99


@pytest.mark.parametrize("n", [20, 50, 500, 5000])
def test_gaussian_columns_are_left_alone(n):
    X = np.random.default_rng(n).normal(3, 0.1, size=(n, 20))
    assert fit(X) is None


def test_only_candidates_that_gain_are_warped():
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.normal(size=500), rng.lognormal(size=500), rng.lognormal(size=500)])
    warp = MarginalWarp.fit(X, None, np.array([True, True, False]))
    np.testing.assert_array_equal(warp.columns, [False, True, False])
    np.testing.assert_array_equal(warp.low, [-np.inf, X[:, 1].min(), -np.inf])
    np.testing.assert_array_equal(warp.high, [np.inf, X[:, 1].max(), np.inf])
    Z, log_slope = warp.forward(X)
    np.testing.assert_array_equal(Z[:, [0, 2]], X[:, [0, 2]])
    assert not log_slope[:, [0, 2]].any() and log_slope[:, 1].all()
    np.testing.assert_array_equal(warp.inverse(Z)[:, [0, 2]], X[:, [0, 2]])


@pytest.mark.parametrize("n", [400, 200_000])
def test_a_sentinel_changes_nothing_for_the_others(n):
    X = np.random.default_rng(0).normal(size=(n, 1))
    X[0] = 1e6
    warp, new = fit(X), np.random.default_rng(1).normal(size=(20_000, 1))
    lost = stats.norm.logpdf(new) - log_density(warp, new)
    assert 0 <= lost.mean() + 5 * lost.std() / len(new) ** 0.5 and lost.mean() < 0.02
    assert 3 < warp.forward(X[:1])[0][0, 0] < 12
    Z = warp.forward(X)[0]
    assert Z.std() == pytest.approx(1, abs=5 / (2 * n) ** 0.5 + 0.05)
    quartiles = warp.inverse(stats.norm.ppf([[0.25], [0.75]]))
    # Five standard errors of a quartile.
    error = 5 * 1.36 / n**0.5
    np.testing.assert_allclose(quartiles, stats.norm.ppf([[0.25], [0.75]]), atol=error + 0.02)


@pytest.mark.parametrize(("shift", "factor"), [(1.7e9, 0.25), (0.0, 1e-12), (-3e5, 1e5)])
def test_units_do_not_matter(shift, factor):
    x = np.round(draw("gamma", 2000), 3)
    warp, other = fit(x), fit(shift + factor * x)
    Z, log_slope = warp.forward(x)
    moved, moved_slope = other.forward(shift + factor * x)
    # Values of 1.7e9 have a spacing of 2.4e-7, a millionth of the quartiles' distance.
    np.testing.assert_allclose(moved, Z, atol=1e-4 if shift > 1e9 else 1e-7)
    np.testing.assert_allclose(moved_slope + np.log(factor), log_slope, atol=1e-3)


def test_missing_values_pass_and_do_not_count():
    X = draw("lognormal", 1000)
    holed = np.concatenate([X, np.full((200, 1), np.nan)])
    filled = np.nan_to_num(holed, nan=1e9)
    observed = ~np.isnan(holed)
    expected = fit(X).forward(X)[0]
    for warp in (fit(holed), fit(filled, observed)):
        Z, log_slope = warp.forward(holed)
        np.testing.assert_array_equal(Z[:1000], expected)
        assert np.isnan(Z[1000:]).all() and np.isnan(log_slope[1000:]).all()
        assert np.isnan(warp.inverse(Z)[1000:]).all()


def test_clipped_samples_lie_inside_the_seen_range():
    X = draw("Cauchy", 500)
    warp, z = fit(X), np.random.default_rng(0).normal(size=(100_000, 1))
    inside = warp.inverse(z, clip=True)
    assert inside.min() >= X.min() and inside.max() <= X.max()
    beyond = warp.inverse(z)
    # A tail beyond n values has a probability of about 1/n.
    assert 0 < np.mean(beyond > X.max()) < 20 / 500


def test_tails_are_finite_far_away():
    for name in ("uniform", "lognormal", "Cauchy"):
        warp = fit(draw(name, 300))
        x = np.array([-1e12, -1e6, -1e3, 1e3, 1e6, 1e12])[:, None]
        Z, log_slope = warp.forward(x)
        assert np.isfinite(Z).all() and np.isfinite(log_slope).all()
        assert (np.diff(Z[:, 0]) > 0).all()
        np.testing.assert_allclose(warp.inverse(Z), x, rtol=1e-6)


@pytest.mark.parametrize("n", [1, 2, 5, 19])
def test_few_values_are_left_alone(n):
    assert fit(draw("lognormal", n)) is None


def test_constant_and_empty_columns_are_left_alone():
    X = np.column_stack([np.full(50, 2.0), np.full(50, np.nan)])
    assert fit(X) is None


def test_repeated_values_keep_a_bounded_density():
    rng = np.random.default_rng(0)
    x = np.where(rng.random(2000) < 0.3, 0.0, np.round(rng.lognormal(size=2000), 1))
    warp = fit(x[:, None])
    Z, log_slope = warp.forward(x[:, None])
    assert np.isfinite(Z).all() and np.isfinite(log_slope).all()
    np.testing.assert_allclose(warp.inverse(Z), x[:, None], atol=1e-9)
    counts = rng.poisson(2.0, 3000) + rng.random(3000) - 0.5
    found = log_density(fit(counts[:, None]), counts[:, None])[:, 0]
    lost = stats.poisson(2.0).logpmf(np.rint(counts)) - found
    # The Gaussian loses .1 nats.
    assert lost.mean() < 0.06


def test_a_mostly_repeated_value_is_refused_or_finite():
    x = np.zeros((500, 1))
    x[:3, 0] = [1.0, 2.0, 5.0]
    warp = fit(x)
    if warp is not None:
        Z, log_slope = warp.forward(x)
        assert np.isfinite(Z).all() and np.isfinite(log_slope).all()


def test_fit_and_map_survive_pickling():
    X = draw("exponential", 300)
    warp = fit(X)
    again = pickle.loads(pickle.dumps(warp))
    for a, b in zip(warp.forward(X), again.forward(X), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_straight_relation_to_another_column_is_not_bent():
    rng = np.random.default_rng(0)
    x = rng.uniform(size=1000)
    X = np.column_stack([x, x + 1e-3 * rng.normal(size=1000), rng.exponential(size=1000)])
    # Alone each of the two is far from Gaussian; together one of them says all of the other.
    assert fit(X[:, :1]) is not None
    other = fit(X[:, [0, 2]]).columns
    np.testing.assert_array_equal(other, [True, True])
    # The third column gains, and says nothing about the two.
    assert fit(X).columns[2]
    slopes = fit(np.column_stack([x, x**2 + 1e-3 * rng.normal(size=1000)]))
    assert slopes is not None
    crossed = np.column_stack([x, rng.uniform(size=1000)])
    total = crossed.sum(1) + 1e-3 * rng.normal(size=1000)
    assert fit(np.column_stack([crossed, total])) is None


def test_restriction_leaves_the_other_columns():
    X = np.random.default_rng(0).lognormal(size=(500, 2))
    warp = fit(X)
    one = warp.restricted(np.array([False, True]))
    np.testing.assert_array_equal(one.columns, [False, True])
    np.testing.assert_array_equal(one.forward(X)[0], np.c_[X[:, 0], warp.forward(X)[0][:, 1]])
