"""The estimator against laws that are known in closed form."""

import numpy as np
import pytest
import torch
from scipy import stats

from gudlearn import (
    DPMSolver,
    FourierBasis,
    IdentityBasis,
    PCABasis,
    SequentialSchedule,
    SoftConditioningSchedule,
    WaveletBasis,
)
from gudlearn._fitting import make_validation
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


LAWS = [(IdentityBasis(), diagonal), (PCABasis(), full), (FourierBasis(), circulant)]
BASES = ["identity", "pca", "fourier"]


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


def blurred(gen, covariance):
    """N(0, V + exp(gamma(0))) in the user's units: SNR(0) is one number for all components."""
    snr = np.exp(gen.log_snr([0.0])[0])
    np.testing.assert_allclose(snr, snr[0])
    return stats.multivariate_normal(MEAN, covariance * (1 + 1 / snr[0]))


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
@pytest.mark.parametrize("basis, law", LAWS, ids=BASES)
def test_bound_and_flow_are_the_gaussian_density(basis, law, schedule):
    covariance = law()
    gen = gaussian_model(basis, schedule, covariance)
    rows = np.random.default_rng(1).multivariate_normal(MEAN, covariance, size=6)
    expected = blurred(gen, covariance).logpdf(rows) / N_COLUMNS
    # Of the bound, 1/2 log(1 + exp(-11)) is lost in the reading of x_0; PCA shrinks by little.
    bound = gen.score_samples(rows) / N_COLUMNS
    np.testing.assert_allclose(bound, expected, rtol=0, atol=0.01)
    assert abs((bound - expected).mean()) < 2e-3
    flow = gen.set_params(likelihood="flow").score_samples(rows) / N_COLUMNS
    np.testing.assert_allclose(flow, expected, rtol=0, atol=0.01)


def test_flow_holds_for_many_components_in_turn():
    # Twelve components with a twelfth of the time for each.
    covariance = np.diag(np.linspace(0.5, 3, 12))
    X = np.random.default_rng(0).normal(size=(500, 12)) @ np.sqrt(covariance)
    gen = small(schedule="sequential", max_iter=0, preconditioning="gaussian").fit(X)
    bound = gen.score_samples(X[:2])
    flow = gen.set_params(likelihood="flow").score_samples(X[:2])
    np.testing.assert_allclose(flow / 12, bound / 12, rtol=0, atol=2e-3)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
@pytest.mark.parametrize("basis, law", LAWS, ids=BASES)
def test_samples_have_the_covariance(basis, law, schedule):
    covariance = law()
    # Steps enough that the solver's error is below the sampling error of 3000 rows.
    steps = 80 if isinstance(schedule, SequentialSchedule) else 40
    gen = gaussian_model(basis, schedule, covariance, sampler=DPMSolver(steps=steps))
    n = 3000
    samples = gen.sample(n)
    root = np.linalg.cholesky(covariance)
    relative = np.linalg.solve(root, (samples - MEAN).T)
    # Of a white Wishart matrix the diagonal has a standard error of sqrt(2/n), the rest sqrt(1/n);
    # eigenvalues lie within 2 sqrt(D/n) of 1 (Marchenko, Pastur), as wide as three of the former.
    second = relative @ relative.T / n
    eigenvalues = np.linalg.eigvalsh(second)
    assert np.abs(eigenvalues - 1).max() < 2 * np.sqrt(N_COLUMNS / n) + 3 * np.sqrt(2 / n) / 2
    assert np.abs(np.diag(second) - 1).max() < 4 * np.sqrt(2 / n)
    assert np.abs(relative.mean(1)).max() < 4 / np.sqrt(n)


@pytest.mark.parametrize("whiten", [True, False, 0.5])
def test_scores_do_not_depend_on_whitening(whiten):
    X = exact_rows(full())
    score = small(basis=PCABasis(whiten=whiten), max_iter=0).fit(X).score_samples(X[:20])
    reference = small(basis=PCABasis(), max_iter=0).fit(X).score_samples(X[:20])
    np.testing.assert_allclose(score, reference, rtol=0, atol=1e-6)


def test_scores_do_not_depend_on_units_that_are_not_whitened():
    X = exact_rows(full()) * 10.0 ** np.linspace(-7, 7, N_COLUMNS)
    score = small(basis=IdentityBasis(whiten=False), max_iter=0).fit(X).score_samples(X[:20])
    reference = small(max_iter=0).fit(X).score_samples(X[:20])
    np.testing.assert_allclose(score, reference, rtol=0, atol=1e-5)


def apart(**parameters):
    """An untrained model: the product of the marginals."""
    return small(max_iter=0, preconditioning="marginal", **parameters)


def test_density_changes_by_the_determinant_of_a_change_of_units():
    X = exact_rows(full())
    factor = np.array([1e3, 1e-2, 1.0, 7.0])
    score = apart().fit(X).score_samples(X[:20])
    scaled = apart().fit(X * factor).score_samples(X[:20] * factor)
    np.testing.assert_allclose(scaled, score - np.log(factor).sum(), rtol=0, atol=1e-6)


# Densities that integrate to one


def humps(n, seed=0):
    rng = np.random.default_rng(seed)
    return np.where(rng.random(n) < 0.4, rng.normal(-3, 0.5, n), rng.normal(2, 1.0, n))[:, None]


@pytest.mark.parametrize("likelihood", ["bound", "flow"])
def test_an_untrained_density_of_one_column_integrates_to_one(likelihood):
    gen = small(max_iter=0, likelihood=likelihood).fit(humps(400))
    # Wider than the wide member of the mixture, which has a weight of 1/402.
    grid = np.linspace(-40, 40, 401 if likelihood == "flow" else 2001)[:, None]
    density = np.exp(gen.score_samples(grid))
    total = np.trapezoid(density, grid[:, 0])
    # The bound lies below by its looseness, which is of the order of exp(-11).
    np.testing.assert_allclose(total, 1, atol=2e-3)


def test_an_untrained_density_of_two_columns_integrates_to_one():
    X = np.hstack([humps(400), 10 * humps(400, seed=1) + 5])
    gen = apart().fit(X)
    x, y = np.linspace(-12, 12, 80), np.linspace(-110, 120, 80)
    grid = np.stack(np.meshgrid(x, y, indexing="ij"), -1).reshape(-1, 2)
    total = np.exp(gen.score_samples(grid)).sum() * (x[1] - x[0]) * (y[1] - y[0])
    # Outside lies most of the wide members' mass, twice 1/402 at most.
    assert 0.993 < total < 1.001


def test_a_trained_flow_density_of_one_column_integrates_to_one():
    gen = small(
        max_iter=120, preconditioning="gaussian", likelihood="flow", validation_fraction=0.0
    ).fit(humps(600))
    grid = np.linspace(-14, 14, 300)[:, None]
    density = np.exp(gen.score_samples(grid))
    # A change of variables whatever the network: exact up to steps and tails.
    np.testing.assert_allclose(np.trapezoid(density, grid[:, 0]), 1, atol=0.01)
    # It has learned: between the humps one Gaussian has its peak.
    at = {x: density[np.abs(grid[:, 0] - x).argmin()] for x in (-3, -0.5, 2)}
    assert at[-0.5] < 0.6 * at[2] and at[-0.5] < 0.6 * at[-3]


# Discrete data


def counts(n=300, seed=0):
    """Dependent levels: the second column is the first, or one more."""
    rng = np.random.default_rng(seed)
    a = rng.choice(5, size=n, p=[0.1, 0.4, 0.2, 0.05, 0.25])
    return np.column_stack([a, a + (rng.random(n) < 0.3)]).astype(float)


def smoothed(column, level):
    """Fitted log-probability of a level of one column, by the estimator's own table."""
    from gudlearn.encoding.bin_tables import fit_bin_table

    table = fit_bin_table(column)
    clipped, beyond = table.clip(level)
    return table.log_pmf[(clipped - table.first).astype(int)] + beyond


@pytest.mark.parametrize("likelihood", ["bound", "flow"])
def test_independent_atoms_score_their_own_log_frequency(likelihood):
    X = counts()
    gen = apart(bin_width=1.0, likelihood=likelihood).fit(X)
    rows = np.array([[0.0, 0.0], [3.0, 5.0], [1.0, 2.0], [4.0, 0.0], [-3.0, 9.0]])
    expected = smoothed(X[:, 0], rows[:, 0]) + smoothed(X[:, 1], rows[:, 1])
    if likelihood == "bound":
        # Noise of 0.12 bins: a level and its neighbour overlap by exp(-1/(8 0.12^2)) = 2e-4.
        np.testing.assert_allclose(gen.score_samples(rows), expected, rtol=0, atol=2e-3)
    else:
        # The blur cancels draw by draw; what is left are 40 Runge-Kutta steps across the atoms.
        np.testing.assert_allclose(gen.score_samples(rows), expected, rtol=0, atol=0.03)


@pytest.mark.parametrize("n_columns", [1, 2])
def test_probabilities_of_all_levels_sum_to_one(n_columns):
    X = counts()[:, :n_columns]
    gen = apart(bin_width=1.0).fit(X)
    axis = np.arange(-30.0, 40.0)
    grid = np.stack(np.meshgrid(*[axis] * n_columns, indexing="ij"), -1).reshape(-1, n_columns)
    p = np.exp(gen.score_samples(grid))
    # The tails halve with every level, 2^-30 is left out; each column's overlap costs 2e-3.
    np.testing.assert_allclose(p.sum(), 1, atol=2e-3 * n_columns)
    seen = ((grid >= X.min(0)) & (grid <= X.max(0))).all(1)
    # 1/(n + 2) outside the seen range, per column.
    np.testing.assert_allclose(p[~seen].sum(), n_columns / (len(X) + 2), rtol=0.05)


def test_bounds_of_the_levels_leave_nothing_outside():
    X = counts()[:, :1]
    gen = small(bin_width=1.0, bin_range=(0, 7), max_iter=0).fit(X)
    p = np.exp(gen.score_samples(np.arange(8.0)[:, None]))
    np.testing.assert_allclose(p.sum(), 1, atol=2e-3)
    assert (p > 0).all()


@pytest.mark.parametrize("width, origin", [(1 / 16, 0.0), (0.25, 100.0), (3.0, 1.0)])
def test_probabilities_do_not_depend_on_the_grid(width, origin):
    X = counts()
    plain = apart(bin_width=1.0).fit(X).score_samples(X[:20])
    grid = X * width + origin
    score = apart(bin_width=width).fit(grid).score_samples(grid[:20])
    np.testing.assert_allclose(score, plain, rtol=0, atol=1e-8)


@pytest.mark.parametrize(
    "parameters", [{"preconditioning": "marginal"}, {}, {"max_iter": 3}], ids=repr
)
def test_values_far_outside_have_finite_falling_scores(parameters):
    gen = small(**{"max_iter": 0, "bin_width": 1.0, **parameters}).fit(counts())
    distance = np.array([1.0, 2.0, 5.0, 20.0, 1e3, 1e6])
    for sign, end in ((1, 4.0), (-1, 0.0)):
        rows = np.column_stack([end + sign * distance, np.full(6, 2.0)])
        scores = [gen.set_params(random_state=k).score_samples(rows) for k in range(16)]
        assert np.isfinite(scores).all()
        # What is learned sees the end of the table in all of them; the noise differs by row.
        noisy = "preconditioning" not in parameters
        assert (np.diff(np.mean(scores, 0))[1 if noisy else 0 :] < 0).all()


def test_continuous_values_far_outside_have_finite_falling_scores():
    gen = small(max_iter=0).fit(humps(200))
    for sign in (1, -1):
        score = gen.score_samples(sign * np.array([[10.0], [30.0], [1e3], [1e6], [1e9]]))
        assert np.isfinite(score).all() and (np.diff(score) < 0).all()


def test_columns_of_thousands_of_levels():
    rng = np.random.default_rng(0)
    X = np.rint(np.column_stack([rng.normal(0, 900, 800), rng.gamma(2.0, 400, 800)]))
    gen = small(bin_width=1.0, max_iter=0, sampler=DPMSolver(steps=30)).fit(X)
    expected = smoothed(X[:, 0], X[:30, 0]) + smoothed(X[:, 1], X[:30, 1])
    # What a ladder of groups is worth, and the overlap of neighbours.
    np.testing.assert_allclose(gen.score_samples(X[:30]), expected, rtol=0, atol=0.02)
    samples = gen.sample(400)
    assert (samples == np.rint(samples)).all()
    for j in range(2):
        assert stats.ks_2samp(samples[:, j], X[:, j]).pvalue > 1e-3
        assert X[:, j].min() <= samples[:, j].min() and samples[:, j].max() <= X[:, j].max()


def test_a_trained_discrete_model_has_learned_and_stays_below_one():
    X = counts(600)
    gen = small(bin_width=1.0, max_iter=200, sampler=DPMSolver(steps=20)).fit(X)
    grid = np.stack(np.meshgrid(np.arange(-1.0, 6), np.arange(-1.0, 7), indexing="ij"), -1)
    grid = grid.reshape(-1, 2)
    # The noise inside a single score is 0.3 nats in rows as few as these.
    scores = [gen.set_params(random_state=k).score_samples(grid) for k in range(8)]
    p = np.exp(np.mean(scores, 0))
    # A bound: probabilities sum to one at most, but for the noise of their estimates.
    assert 0.85 < p.sum() < 1.02
    # Independent columns are worth -2.8 nats a row here, the truth about -2.0.
    untrained = apart(bin_width=1.0).fit(X).score(X)
    assert gen.score(X) > untrained + 0.5
    samples = gen.sample(3000)
    frequency = np.array([(samples == row).all(1).mean() for row in grid])
    data = np.array([(X == row).all(1).mean() for row in grid])
    # Ten cells and 3000 rows: sampling alone gives 0.02, the independent columns 0.5.
    assert np.abs(frequency - data).sum() / 2 < 0.1
    # The bound lies below the law that is sampled, by what it lacks to a sum of one.
    assert np.abs(frequency - p / p.sum()).sum() / 2 < 0.08


# Bases whose components are not columns


@pytest.mark.parametrize("basis", [PCABasis(), FourierBasis(), WaveletBasis()], ids=repr)
def test_discrete_data_in_a_rotated_basis_report_the_levels_apart(basis):
    X = np.hstack([counts(400), counts(400, seed=1)])
    gen = small(basis=basis, bin_width=1.0, max_iter=0).fit(X)
    split = gen.score_components(X[:10])
    assert split.shape == (10, 8)
    np.testing.assert_allclose(split.sum(1), gen.score_samples(X[:10]), rtol=0, atol=1e-9)
    # Given the components, up to noise of 0.35 bins, a level is confused with its neighbours only.
    assert (split[:, 4:] <= 0).all() and -0.6 < split[:, 4:].mean() < -0.01
    samples = gen.sample(50)
    assert (samples == np.rint(samples)).all()


def test_rotated_and_dequantised_scores_are_log_probabilities():
    # One column of twelve levels; bins of different widths are not white noise in a rotated basis.
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.binomial(12, 0.4, 400), 10 * rng.binomial(12, 0.5, 400)]).astype(float)
    mixed = small(basis=PCABasis(), bin_width=[1.0, 10.0], max_iter=0).fit(X)
    assert np.isfinite(mixed.score_samples(X[:20])).all()
    grid = np.stack(
        np.meshgrid(np.arange(-8.0, 18), np.arange(-80.0, 210, 10), indexing="ij"), -1
    ).reshape(-1, 2)
    total = np.exp(mixed.score_samples(grid)).sum()
    # Means of log-densities inside the bins: below the log-probability by Jensen's inequality,
    # here by as much as the mixtures vary inside a bin.
    assert 0.7 < total < 1.02
    split = mixed.score_components(X[:10])
    assert split.shape == (10, 4)
    np.testing.assert_allclose(split[:, 2:], np.log([1.0, 10.0]) * np.ones((10, 1)))
    samples = mixed.sample(40)
    assert (samples % [1, 10] == 0).all()


def test_components_of_the_identity_basis_are_columns():
    X = counts()
    gen = apart(bin_width=1.0).fit(X)
    split = gen.score_components(X[:20])
    assert split.shape == (20, 2)
    for j in range(2):
        np.testing.assert_allclose(split[:, j], smoothed(X[:, j], X[:20, j]), rtol=0, atol=2e-3)


def test_marginals_are_those_of_as_many_values_as_are_known():
    X = np.random.default_rng(0).normal(size=(2000, 2))
    X[25:, 0] = np.nan
    weights, *_ = apart().fit(X)._encoding.laws.mixtures
    # Of the wide member.
    np.testing.assert_allclose(weights[:, -1], [1 / 27, 1 / 2002])


@pytest.mark.parametrize("n_columns, chunk", [(5, 4096), (3000, 349)])
def test_wide_rows_are_validated_by_few_values_at_once(n_columns, chunk):
    X = np.random.default_rng(0).normal(size=(60, n_columns))
    gen = small(max_iter=0, preconditioning="gaussian").fit(X)
    assert make_validation(gen._engine(), X, None, 0).chunk == chunk


@pytest.mark.parametrize("n_columns, n_times, per_call", [(5, 128, 1024), (3000, 128, 256)])
def test_wide_rows_are_scored_by_few_values_at_once(monkeypatch, n_columns, n_times, per_call):
    X, seen = np.random.default_rng(0).normal(size=(128, n_columns)), []

    def integrand(split, path, x0, t, eps):
        seen.append(len(x0))
        return torch.zeros_like(x0)

    monkeypatch.setattr("gudlearn.model.component.nll_correction", integrand)
    small(max_iter=0, preconditioning="gaussian").fit(X).score_samples(X)
    assert sum(seen) == 128 * n_times
    assert max(seen) == per_call


def test_untrained_scores_have_no_noise():
    X = exact_rows(full())
    scores = [apart(random_state=k).fit(X).score_samples(X[:20]) for k in (0, 1)]
    np.testing.assert_array_equal(*scores)
