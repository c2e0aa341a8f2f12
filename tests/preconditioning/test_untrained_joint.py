"""The untrained model of Gaussian rows and images: their Gaussian."""

import copy
import pickle
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from gaussian import fields, gaussian_rows, user_moments
from gudlearn import DPMSolver, SequentialSchedule, UNet
from gudlearn.model.state import TimeWeights
from small import small

SEQUENTIAL = SequentialSchedule(window=1, order=[0, 1, 2, 3])
never_partial = pytest.mark.filterwarnings("ignore:This model was fitted with conditional_rate=0")


def untrained_on(X, preconditioning="joint", **parameters):
    settings = {"sampler": DPMSolver(steps=12), "preconditioning": preconditioning}
    return small(max_iter=0, **settings, **parameters).fit(X)


@pytest.fixture(scope="module")
def gaussian():
    return untrained_on(gaussian_rows(4000))


def conditional(generator, rows):
    """Mean and standard deviation of columns 2 and 3 given columns 0 and 1."""
    mean, covariance = user_moments(generator)
    gain = covariance[2:, :2] @ np.linalg.inv(covariance[:2, :2])
    rest = covariance[2:, 2:] - gain @ covariance[:2, 2:]
    return mean[2:] + (rows[:, :2] - mean[:2]) @ gain.T, np.sqrt(np.diag(rest))


def partial_rows(n):
    """Gaussian rows, and the same rows without columns 2 and 3."""
    rows = gaussian_rows(n, seed=1)
    partial = rows.copy()
    partial[:, 2:] = np.nan
    return rows, partial


def test_density_is_the_gaussian_one(gaussian):
    rows = gaussian_rows(400, seed=1)
    exact = stats.multivariate_normal(*user_moments(gaussian)).logpdf(rows)
    # The noise inside scores leaves a standard error of 0.01. Marginals have a further, wide
    # component, and are not quite Gaussian.
    assert gaussian.score(rows) == pytest.approx(exact.mean(), abs=0.08)
    marginal = untrained_on(gaussian_rows(4000), "marginal")
    assert gaussian.score(rows) > marginal.score(rows) + 0.5


@never_partial
def test_conditional_density_is_that_of_the_gaussian(gaussian):
    rows = gaussian_rows(400, seed=1)
    mean, covariance = user_moments(gaussian)
    whole = stats.multivariate_normal(mean, covariance)
    part = stats.multivariate_normal(mean[:2], covariance[:2, :2])
    exact = whole.logpdf(rows) - part.logpdf(rows[:, :2])
    found = gaussian.score(rows, given_columns=[0, 1])
    assert found == pytest.approx(exact.mean(), abs=0.08)


@never_partial
def test_guided_draws_have_the_conditional_mean_of_the_gaussian(gaussian):
    rows, partial = partial_rows(40)
    assert gaussian.conditioning_method([0, 1]) == "posterior"
    found = gaussian.conditional_mean(partial, n_samples=32)
    expected, std = conditional(gaussian, rows)
    # In standard errors, the mean square is about 1; over 40 rows and two columns it has a standard
    # error of 0.2. Draws that ignore what is observed would have a mean square of 8.
    error = 32**0.5 * (found[:, 2:] - expected) / std
    assert np.square(error).mean() < 2.6


def test_conditional_means_need_few_draws():
    generator = untrained_on(gaussian_rows(4000), conditional_rate=0.5)
    rows, partial = partial_rows(200)
    assert generator.conditioning_method([0, 1]) == "exact"
    found = generator.conditional_mean(partial, n_samples=8)
    expected, std = conditional(generator, rows)
    # Means of eight draws would be off by 0.35 conditional standard deviations.
    assert (np.sqrt(np.square(found[:, 2:] - expected).mean(0)) < 0.05 * std).all()
    np.testing.assert_array_equal(found[:, :2], rows[:, :2])


@pytest.mark.parametrize("schedule", ["linear", "sequential"])
def test_conditional_means_of_two_clusters_are_between_them(schedule):
    rng = np.random.default_rng(0)
    cluster = rng.random(4000) < 0.3
    X = rng.normal(size=(4000, 2))
    X[:, 1] = np.where(cluster, 2.5, -2.5) + 0.5 * X[:, 1]
    generator = untrained_on(X, "mixture", schedule=schedule, conditional_rate=0.5)
    found = generator.conditional_mean(np.tile([[0.0, np.nan]], (20, 1)), n_samples=200)[:, 1]
    # As the distribution is not normal, the mean of 4000 draws has a standard error of 0.04.
    assert found.mean() == pytest.approx(X[:, 1].mean(), abs=0.25)


def noise_of_scores(generator, X, n_draws=6):
    """Mean standard deviation of the scores of rows over random states, and their mean."""
    scores = [generator.set_params(random_state=k).score_samples(X) for k in range(n_draws)]
    return np.std(scores, axis=0, ddof=1).mean(), np.mean(scores)


def test_importance_sampling_reduces_the_noise_of_scores(gaussian):
    weighted, uniform = copy.copy(gaussian), copy.copy(gaussian)
    uniform.state_ = replace(gaussian.state_, time_weights=TimeWeights(np.ones(32)))
    X = gaussian_rows(120)
    # The ratio is 0.79, with a standard error of 0.03.
    assert noise_of_scores(weighted, X)[0] < 0.95 * noise_of_scores(uniform, X)[0]


def test_sequential_scores_have_little_more_noise(gaussian):
    sequential, X = copy.copy(gaussian), gaussian_rows(60)
    sequential.schedule_ = SEQUENTIAL
    (noise, mean), (noise_at_once, mean_at_once) = (
        noise_of_scores(generator, X) for generator in (sequential, copy.copy(gaussian))
    )
    # The Gaussian is known: both are some thousandths of a nat.
    assert noise < 0.03 and noise_at_once < 0.03
    # For a Gaussian the order does not matter. The standard error is 0.02.
    assert mean == pytest.approx(mean_at_once, abs=0.15)


def test_scores_do_not_remember_another_schedule(gaussian):
    generator, rows = copy.copy(gaussian), gaussian_rows(20)
    before, fitted = generator.score_samples(rows), generator.schedule_
    generator.schedule_ = SEQUENTIAL
    assert (generator.score_samples(rows) != before).all()
    generator.schedule_ = fitted
    np.testing.assert_array_equal(generator.score_samples(rows), before)


def test_sequential_components_follow_the_chain_rule(gaussian):
    generator, rows = copy.copy(gaussian), gaussian_rows(200, seed=1)
    generator.schedule_ = SEQUENTIAL
    split = generator.score_components(rows).mean(0)
    mean, covariance = user_moments(gaussian)
    log_p = [0.0] + [
        stats.multivariate_normal(mean[:k], covariance[:k, :k]).logpdf(rows[:, :k]).mean()
        for k in range(1, 5)
    ]
    # The noise inside scores leaves standard errors of 0.02.
    np.testing.assert_allclose(split, np.diff(log_p), atol=0.12)


def test_a_pickled_model_has_the_same_scores(gaussian):
    again, X = pickle.loads(pickle.dumps(gaussian)), gaussian_rows(5)
    np.testing.assert_array_equal(again.score_samples(X), gaussian.score_samples(X))


# Images


@pytest.fixture(scope="module")
def gaussian_fields():
    return untrained_on(fields(4000, 6)[0], network=UNet(width=8))


def agrees(found, expected):
    """Whether the mean of differences by row is zero within five standard errors."""
    difference = found - expected
    return abs(difference.mean()) < 5 * difference.std() / len(difference) ** 0.5


@never_partial
def test_images_have_the_gaussian_density_and_its_conditionals(gaussian_fields):
    X, covariance = fields(400, 6, seed=1)
    rows = X.reshape(400, -1)
    exact = stats.multivariate_normal(np.zeros(24), covariance)
    found = gaussian_fields.score_samples(X)
    # The standard error of the mean difference is 0.1 nats.
    assert agrees(found, exact.logpdf(rows)) and np.std(found - exact.logpdf(rows)) < 4
    left = np.arange(24) % 6 < 3
    part = stats.multivariate_normal(np.zeros(12), covariance[np.ix_(left, left)])
    expected = exact.logpdf(rows) - part.logpdf(rows[:, left])
    assert agrees(gaussian_fields.score_samples(X, given_columns=left.reshape(4, 6)), expected)


@never_partial
def test_images_are_extended_with_their_own_covariance(gaussian_fields):
    start = fields(200, 6, seed=1)[0]
    longer = gaussian_fields.extend(start, 12, context=3, active=3, steps_per_column=6)
    late = longer[:, :, -8:]
    # A row that gets far out is left to its marginals and may run away.
    power = np.square(late).mean((1, 2))
    assert agrees(power, 1.1)
    for lag in (1, 2, 4):
        product = (late[..., :-lag] * late[..., lag:]).mean((1, 2))
        # A ratio of means: its deviation by row, in units of the mean power.
        assert agrees((product - 0.8**lag * power) / power.mean(), 0.0)
