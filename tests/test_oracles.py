"""The estimator against distributions that are known in closed form."""

import numpy as np
import pytest
import torch
from scipy import stats

from gudlearn import (
    DPMSolver,
    FourierBasis,
    IdentityBasis,
    PCABasis,
    Schema,
    SequentialSchedule,
    SoftConditioningSchedule,
    WaveletBasis,
)
from gudlearn.data.rows import Rows
from gudlearn.training.validation import make_validation
from small import small

SCHEDULES = [
    "linear",
    "cosine",
    "vp",
    SoftConditioningSchedule(softness=0.7),
    SequentialSchedule(window=2),
]
N_COLUMNS = 4
MEAN = np.array([1.0, -20.0, 3.0, 0.0])


def diagonal():
    return np.diag([1e-4, 1.0, 30.0, 4.0])


def full():
    A = np.random.default_rng(5).normal(size=(N_COLUMNS, N_COLUMNS))
    return A @ A.T + 0.1 * np.eye(N_COLUMNS)


def circulant():
    row = np.array([2.0, 0.9, 0.3, 0.9])
    return np.stack([np.roll(row, k) for k in range(N_COLUMNS)])


COVARIANCES = [(IdentityBasis(), diagonal), (PCABasis(), full), (FourierBasis(), circulant)]
# Every schedule with columns as components; rotated components with few.
CASES = [(*COVARIANCES[0], schedule) for schedule in SCHEDULES] + [
    (*case, schedule) for case in COVARIANCES[1:] for schedule in (SCHEDULES[0], *SCHEDULES[3:])
]
every_case = pytest.mark.parametrize(
    ("basis", "make_covariance", "schedule"),
    CASES,
    ids=[f"{basis!r}-{schedule!r}" for basis, _, schedule in CASES],
)


def exact_rows(covariance, n=400, seed=0):
    """Gaussian rows whose mean and covariance are the given ones exactly."""
    X = np.random.default_rng(seed).normal(size=(n, N_COLUMNS))
    X -= X.mean(0)
    X = X @ np.linalg.inv(np.linalg.cholesky(X.T @ X / n)).T
    return X @ np.linalg.cholesky(covariance).T + MEAN


def gaussian_model(basis, schedule, covariance, **parameters):
    return small(
        basis=basis, schedule=schedule, max_iter=0, preconditioning="gaussian", **parameters
    ).fit(exact_rows(covariance))


def noisy_distribution(gen, covariance):
    """N(mean, V (1 + 1/SNR(0))) in the user's units: SNR(0) is the same for all components."""
    snr = np.exp(gen.log_snr([0.0])[0])
    np.testing.assert_allclose(snr, snr[0])
    return stats.multivariate_normal(MEAN, covariance * (1 + 1 / snr[0]))


@every_case
def test_bound_and_flow_are_the_gaussian_density(basis, make_covariance, schedule):
    covariance = make_covariance()
    gen = gaussian_model(basis, schedule, covariance)
    rows = np.random.default_rng(1).multivariate_normal(MEAN, covariance, size=6)
    expected = noisy_distribution(gen, covariance).logpdf(rows) / N_COLUMNS
    # The bound lies lower by 1/2 log(1 + exp(-11)) for the reconstruction of x_0, and the fitted
    # covariance differs from the true one by little.
    bound = gen.score_samples(rows) / N_COLUMNS
    np.testing.assert_allclose(bound, expected, rtol=0, atol=0.01)
    assert abs((bound - expected).mean()) < 2e-3
    flow = gen.set_params(likelihood="flow").score_samples(rows) / N_COLUMNS
    np.testing.assert_allclose(flow, expected, rtol=0, atol=0.01)


def test_flow_is_as_accurate_for_many_sequential_components():
    # Each of six components is active for a sixth of the time.
    X = np.random.default_rng(0).normal(size=(500, 6)) * np.sqrt(np.linspace(0.5, 3, 6))
    gen = small(schedule="sequential", max_iter=0, preconditioning="gaussian").fit(X)
    bound = gen.score_samples(X[:2])
    flow = gen.set_params(likelihood="flow").score_samples(X[:2])
    np.testing.assert_allclose(flow / 6, bound / 6, rtol=0, atol=2e-3)


@every_case
def test_samples_have_the_covariance(basis, make_covariance, schedule):
    covariance = make_covariance()
    # So many steps that the solver's error is below the standard errors of 3000 rows.
    together = isinstance(schedule, str)
    steps = 40 if together else 120
    gen = gaussian_model(basis, schedule, covariance, sampler=DPMSolver(steps=steps))
    n = 3000
    samples = gen.sample(n)
    root = np.linalg.cholesky(covariance)
    relative = np.linalg.solve(root, (samples - MEAN).T)
    # For white rows the standard error of a variance is sqrt(2/n), that of a covariance sqrt(1/n).
    error = np.where(np.eye(N_COLUMNS), np.sqrt(2 / n), np.sqrt(1 / n))
    assert (np.abs(relative @ relative.T / n - np.eye(N_COLUMNS)) < 5 * error).all()
    assert np.abs(relative.mean(1)).max() < 5 / np.sqrt(n)


@pytest.mark.parametrize("whiten", [False, 0.5])
def test_scores_do_not_depend_on_whitening(whiten):
    X = exact_rows(full())
    score = small(basis=PCABasis(whiten=whiten), max_iter=0).fit(X).score_samples(X[:20])
    reference = small(basis=PCABasis(), max_iter=0).fit(X).score_samples(X[:20])
    np.testing.assert_allclose(score, reference, rtol=0, atol=1e-6)


def test_scores_do_not_depend_on_units_that_are_not_whitened():
    X = exact_rows(full()) * 10.0 ** np.linspace(-7, 7, N_COLUMNS)
    score = small(basis=IdentityBasis(whiten=False), max_iter=0).fit(X).score_samples(X[:20])
    reference = small(max_iter=0).fit(X).score_samples(X[:20])
    # Measured in float32, the importance-sampling density differs by 4e-5, and with it the noise.
    np.testing.assert_allclose(score, reference, rtol=0, atol=1e-4)


def marginal_model(**parameters):
    """An untrained model that is the product of the marginals."""
    return small(max_iter=0, preconditioning="marginal", **parameters)


def test_density_changes_by_the_determinant_of_a_change_of_units():
    X = exact_rows(full())
    factor = np.array([1e3, 1e-2, 1.0, 7.0])
    score = marginal_model().fit(X).score_samples(X[:20])
    scaled = marginal_model().fit(X * factor).score_samples(X[:20] * factor)
    np.testing.assert_allclose(scaled, score - np.log(factor).sum(), rtol=0, atol=1e-6)


# Densities that integrate to one


def humps(n, seed=0):
    rng = np.random.default_rng(seed)
    return np.where(rng.random(n) < 0.4, rng.normal(-3, 0.5, n), rng.normal(2, 1.0, n))[:, None]


@pytest.mark.parametrize("likelihood", ["bound", "flow"])
def test_an_untrained_density_of_one_column_integrates_to_one(likelihood):
    gen = small(max_iter=0, likelihood=likelihood).fit(humps(400))
    # Wider than the wide component of the mixture, which has a weight of 1/402.
    grid = np.linspace(-40, 40, 201 if likelihood == "flow" else 801)[:, None]
    density = np.exp(gen.score_samples(grid))
    total = np.trapezoid(density, grid[:, 0])
    # The bound lies below by its looseness, which is of the order of exp(-11).
    np.testing.assert_allclose(total, 1, atol=2e-3)


def test_an_untrained_density_of_two_columns_integrates_to_one():
    X = np.hstack([humps(400), 10 * humps(400, seed=1) + 5])
    # Smooth, so that a sum over a grid is exact: fitted maps have kinks.
    gen = marginal_model(schema=Schema(gaussianize=False)).fit(X)
    x, y = np.linspace(-12, 12, 50), np.linspace(-110, 120, 50)
    grid = np.stack(np.meshgrid(x, y, indexing="ij"), -1).reshape(-1, 2)
    total = np.exp(gen.score_samples(grid)).sum() * (x[1] - x[0]) * (y[1] - y[0])
    # Most of the mass of the wide components lies outside, 1/402 for each column at most.
    assert 0.993 < total < 1.001


def test_a_trained_flow_density_of_one_column_integrates_to_one():
    gen = small(
        max_iter=200, preconditioning="gaussian", likelihood="flow", validation_fraction=0.0
    ).fit(humps(400))
    grid = np.linspace(-14, 14, 128)[:, None]
    density = np.exp(gen.score_samples(grid))
    # A change of variables whatever the network: exact up to steps and tails.
    np.testing.assert_allclose(np.trapezoid(density, grid[:, 0]), 1, atol=0.01)
    # A single Gaussian has its peak between the humps; a trained network has less than a tenth
    # of their density there.
    at = {x: density[np.abs(grid[:, 0] - x).argmin()] for x in (-3, -0.5, 2)}
    assert at[-0.5] < 0.5 * at[2] and at[-0.5] < 0.5 * at[-3]


# Discrete data


def counts(n=300, seed=0):
    """Dependent counts: the second column is the first, or one more."""
    rng = np.random.default_rng(seed)
    a = rng.choice(5, size=n, p=[0.1, 0.4, 0.2, 0.05, 0.25])
    return np.column_stack([a, a + (rng.random(n) < 0.3)]).astype(float)


def smoothed(column, index):
    """Fitted log-probability of bin indices of one column, by the estimator's own table."""
    from gudlearn.encoding.bin_tables import fit_bin_table

    table = fit_bin_table(column)
    clipped, beyond = table.clip(index)
    return table.log_pmf[(clipped - table.first).astype(int)] + beyond


@pytest.mark.parametrize("likelihood", ["bound", "flow"])
def test_scores_of_independent_columns_are_their_log_frequencies(likelihood):
    X = counts()
    gen = marginal_model(bin_width=1.0, likelihood=likelihood).fit(X)
    rows = np.array([[0.0, 0.0], [3.0, 5.0], [1.0, 2.0], [4.0, 0.0], [-3.0, 9.0]])
    expected = smoothed(X[:, 0], rows[:, 0]) + smoothed(X[:, 1], rows[:, 1])
    if likelihood == "bound":
        # Noise of 0.12 bins: neighbouring bins overlap by exp(-1/(8 0.12^2)) = 2e-4.
        np.testing.assert_allclose(gen.score_samples(rows), expected, rtol=0, atol=2e-3)
    else:
        # The noise cancels draw by draw, up to the error of 40 Runge-Kutta steps: 0.004 as a rule,
        # and up to 0.4 in the rare draw near the stiff boundary between two point masses.
        scores = [gen.set_params(random_state=k).score_samples(rows) for k in range(5)]
        np.testing.assert_allclose(np.median(scores, axis=0), expected, rtol=0, atol=0.01)


@pytest.mark.parametrize("n_columns", [1, 2])
def test_probabilities_of_all_bins_sum_to_one(n_columns):
    X = counts()[:, :n_columns]
    gen = marginal_model(bin_width=1.0).fit(X)
    axis = np.arange(-14.0, 20.0)
    grid = np.stack(np.meshgrid(*[axis] * n_columns, indexing="ij"), -1).reshape(-1, n_columns)
    p = np.exp(gen.score_samples(grid))
    # The tails halve with every bin: 2^-14 of their mass is left out. The overlap of neighbouring
    # bins costs 2e-3 for each column.
    np.testing.assert_allclose(p.sum(), 1, atol=2e-3 * n_columns)
    seen = ((grid >= X.min(0)) & (grid <= X.max(0))).all(1)
    # 1/(n + 2) outside the seen range, per column.
    np.testing.assert_allclose(p[~seen].sum(), n_columns / (len(X) + 2), rtol=0.05)


def test_no_probability_lies_outside_bin_range():
    X = counts()[:, :1]
    gen = small(bin_width=1.0, bin_range=(0, 7), max_iter=0).fit(X)
    p = np.exp(gen.score_samples(np.arange(8.0)[:, None]))
    np.testing.assert_allclose(p.sum(), 1, atol=2e-3)
    assert (p > 0).all()


@pytest.mark.parametrize("width, origin", [(1 / 16, 0.0), (0.25, 100.0), (3.0, 1.0)])
def test_probabilities_do_not_depend_on_origin_and_width_of_bins(width, origin):
    X = counts()
    plain = marginal_model(bin_width=1.0).fit(X).score_samples(X[:20])
    grid = X * width + origin
    score = marginal_model(bin_width=width).fit(grid).score_samples(grid[:20])
    np.testing.assert_allclose(score, plain, rtol=0, atol=1e-8)


@pytest.mark.parametrize(
    "parameters", [{"preconditioning": "marginal"}, {}, {"max_iter": 3}], ids=repr
)
def test_values_far_outside_have_finite_falling_scores(parameters):
    gen = small(**{"max_iter": 0, "bin_width": 1.0, **parameters}).fit(counts())
    exact = "preconditioning" in parameters
    # The network sees the end of the table in all of these rows, and the tail falls by log 2 with
    # every bin. Scores of a network differ by noise, too, each by 1.2 nats: the fall of 4.9 nats or
    # more is seven standard errors of a difference of means of 12.
    distance = np.array([1.0, 2.0 if exact else 8.0, 20.0, 1e3, 1e6])
    for sign, end in ((1, 4.0), (-1, 0.0)):
        rows = np.column_stack([end + sign * distance, np.full(5, 2.0)])
        scores = [
            gen.set_params(random_state=k).score_samples(rows) for k in range(1 if exact else 12)
        ]
        assert np.isfinite(scores).all()
        assert (np.diff(np.mean(scores, 0)) < 0).all()


def test_continuous_values_far_outside_have_finite_falling_scores():
    gen = small(max_iter=0).fit(humps(200))
    for sign in (1, -1):
        score = gen.score_samples(sign * np.array([[10.0], [30.0], [1e3], [1e6], [1e9]]))
        assert np.isfinite(score).all() and (np.diff(score) < 0).all()


def test_columns_of_thousands_of_bins():
    rng = np.random.default_rng(0)
    X = np.rint(np.column_stack([rng.normal(0, 900, 800), rng.gamma(2.0, 400, 800)]))
    gen = marginal_model(bin_width=1.0, sampler=DPMSolver(steps=30)).fit(X)
    expected = smoothed(X[:, 0], X[:30, 0]) + smoothed(X[:, 1], X[:30, 1])
    # The table joins bins into groups, and neighbouring bins overlap.
    np.testing.assert_allclose(gen.score_samples(X[:30]), expected, rtol=0, atol=0.02)
    n = 1000
    samples = gen.sample(n)
    assert (samples == np.rint(samples)).all()
    for j in range(2):
        assert X[:, j].min() <= samples[:, j].min() and samples[:, j].max() <= X[:, j].max()
        # The samples' distribution is nearly that of the rows. By chance the largest difference of
        # the two exceeds 2.7/sqrt(n) as rarely as a normal number exceeds five (Kolmogorov).
        distance = stats.ks_2samp(samples[:, j], X[:, j]).statistic
        assert distance < 2.7 / np.sqrt(n) + 0.01


def test_a_trained_discrete_model_has_learned_and_stays_below_one():
    X = counts(300)
    # The preconditioner knows nothing of dependence: what is learned is the network's.
    gen = small(
        bin_width=1.0, max_iter=100, preconditioning="marginal", sampler=DPMSolver(steps=20)
    ).fit(X)
    grid = np.stack(np.meshgrid(np.arange(-1.0, 6), np.arange(-1.0, 7), indexing="ij"), -1)
    grid = grid.reshape(-1, 2)
    # The noise in a single score is 0.5 nats in rows as short as these.
    scores = [gen.set_params(random_state=k).score_samples(grid) for k in range(12)]
    p = np.exp(np.mean(scores, 0))
    error = np.linalg.norm(p * np.std(scores, 0, ddof=1)) / np.sqrt(len(scores))
    # A bound: probabilities sum to at most one, but for the noise of their estimates. Over seeds
    # the sum is 0.90 with a standard deviation of 0.02.
    assert 0.8 < p.sum() < 1 + 5 * error
    # Independent columns score -2.8 nats a row here, the true distribution about -2.0. The gain is
    # 0.92 with a standard deviation of 0.06.
    assert gen.score(X) > marginal_model(bin_width=1.0).fit(X).score(X) + 0.5
    samples = gen.sample(2000)
    frequency = np.array([(samples == row).all(1).mean() for row in grid])
    data = np.array([(X == row).all(1).mean() for row in grid])
    # Total variation, which is 0.5 for independent columns: 0.14 with a standard deviation of 0.02.
    assert np.abs(frequency - data).sum() / 2 < 0.25
    # The bound lies below the log-probability of samples: 0.08 with a standard deviation of 0.02.
    assert np.abs(frequency - p / p.sum()).sum() / 2 < 0.18


# Bases whose components are not columns


@pytest.mark.parametrize("basis", [PCABasis(), FourierBasis(), WaveletBasis()], ids=repr)
def test_discrete_data_in_a_rotated_basis_have_bins_apart_in_scores(basis):
    X = np.hstack([counts(400), counts(400, seed=1)])
    gen = small(basis=basis, bin_width=1.0, max_iter=0).fit(X)
    split = gen.score_components(X[:10])
    assert split.shape == (10, 8)
    np.testing.assert_allclose(split.sum(1), gen.score_samples(X[:10]), rtol=0, atol=1e-9)
    # Through noise of 0.35 bins a bin is confused with its neighbours only.
    assert (split[:, 4:] <= 0).all() and -0.6 < split[:, 4:].mean() < -0.01
    samples = gen.sample(50)
    assert (samples == np.rint(samples)).all()


# Bins of different widths are not white noise in a rotated basis: their values are dequantised.
WIDTHS = np.array([1.0, 10.0])


def binomial_rows():
    rng = np.random.default_rng(0)
    return np.column_stack([rng.binomial(12, 0.4, 400), rng.binomial(12, 0.5, 400)]) * WIDTHS


def test_dequantised_scores_of_a_gaussian_are_its_mean_log_density_inside_bins():
    gen = small(basis=PCABasis(), bin_width=WIDTHS, max_iter=0, preconditioning="gaussian")
    gen.fit(binomial_rows())
    basis, rows = gen.basis_, np.unique(binomial_rows(), axis=0)
    axes = basis.inverse_transform(np.diag(1 / basis.scale_)) - basis.mean_
    covariance = axes.T @ np.diag(basis.component_variances_) @ axes
    # Uniform noise of variance width^2/12 raises the mean of the quadratic form.
    noise = np.trace(np.linalg.inv(covariance) @ np.diag(WIDTHS**2 / 12))
    log_density = stats.multivariate_normal(basis.mean_, covariance).logpdf(rows)
    off = gen.score_samples(rows) - (log_density - 0.5 * noise + np.log(WIDTHS).sum())
    assert abs(off.mean()) < 5 * off.std(ddof=1) / np.sqrt(len(rows))
    # Eight draws inside each bin.
    assert off.std() < 0.2


def test_dequantised_scores_are_log_probabilities(monkeypatch):
    monkeypatch.setattr("gudlearn.model.fitted._DEQUANTISATION_DRAWS", 32)
    gen = marginal_model(basis=PCABasis(), bin_width=WIDTHS).fit(binomial_rows())
    grid = np.stack(np.meshgrid(np.arange(-1.0, 13), np.arange(-1.0, 13), indexing="ij"), -1)
    total = np.exp(gen.score_samples(grid.reshape(-1, 2) * WIDTHS)).sum()
    # Means of log-densities inside the bins: below the log-probability by Jensen's inequality, by
    # as much as the fitted mixtures vary inside a bin. Over draws of the dequantisation the sum is
    # 0.67 with a standard deviation of 0.07.
    assert 0.3 < total < 1.02
    split = gen.score_components(binomial_rows()[:10])
    assert split.shape == (10, 4)
    np.testing.assert_allclose(split[:, 2:], np.log(WIDTHS) * np.ones((10, 1)))
    samples = gen.sample(40)
    assert (samples % WIDTHS == 0).all()


def test_components_of_the_identity_basis_are_columns():
    X = counts()
    gen = marginal_model(bin_width=1.0).fit(X)
    split = gen.score_components(X[:20])
    assert split.shape == (20, 2)
    for j in range(2):
        np.testing.assert_allclose(split[:, j], smoothed(X[:, j], X[:20, j]), rtol=0, atol=2e-3)


def test_weights_of_marginals_follow_the_number_of_observed_values():
    X = np.hstack([np.random.default_rng(0).normal(size=(2000, 1)), humps(2000)])
    X[25:, 0] = np.nan
    gen = marginal_model(schema=Schema(gaussianize=False)).fit(X)
    weights, *_ = gen.state_.preconditioner.distribution.mixtures
    # The last component is the wide one; where a Gaussian describes all values it is rarer.
    np.testing.assert_allclose(weights[:, -1], [1e-4 / 27, 1 / 2002])


@pytest.mark.parametrize("n_columns, chunk", [(5, 4096), (3000, 349)])
def test_validation_of_wide_rows_takes_few_values_at_once(n_columns, chunk):
    X = np.random.default_rng(0).normal(size=(60, n_columns))
    gen = small(max_iter=0, preconditioning="gaussian").fit(X)
    assert make_validation(gen.fitted_model(), Rows.of(X), 0).chunk == chunk


@pytest.mark.parametrize("n_columns, n_times, per_call", [(5, 64, 1024), (3000, 64, 256)])
def test_scores_of_wide_rows_take_few_values_at_once(monkeypatch, n_columns, n_times, per_call):
    X, seen = np.random.default_rng(0).normal(size=(128, n_columns)), []

    def integrand(split, path, x0, t, eps, *control):
        seen.append(len(x0))
        return torch.zeros_like(x0)

    monkeypatch.setattr("gudlearn.model.component.nll_correction", integrand)
    small(max_iter=0, preconditioning="gaussian").fit(X).score_samples(X)
    assert sum(seen) == 128 * n_times
    assert max(seen) == per_call


def test_untrained_scores_have_no_noise():
    X = exact_rows(full())
    scores = [marginal_model(random_state=k).fit(X).score_samples(X[:20]) for k in (0, 1)]
    np.testing.assert_array_equal(*scores)
