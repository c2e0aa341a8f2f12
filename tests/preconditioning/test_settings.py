"""Settings of the process, torch's default dtype and NumPy's error handling, change no bit."""

import numpy as np
import pytest
import torch

from gudlearn.encoding.bin_tables import bin_prior, fit_bin_table
from gudlearn.encoding.observation import BinnedObservation
from gudlearn.preconditioning.clusters import (
    denoising_nll,
    deviations,
    find_clusters,
    with_every_column_observed,
    with_least_std,
)
from gudlearn.preconditioning.distributions import JointDistribution, MixtureDistribution
from gudlearn.preconditioning.fit_joint import fit_joint
from gudlearn.preconditioning.fit_marginals import (
    bin_marginals,
    fit_mixtures,
    gaussians,
    join,
    mixture_marginals,
)
from gudlearn.preconditioning.joint import JointGaussian
from gudlearn.preconditioning.kernels import KernelDensities
from gudlearn.preconditioning.marginals import GaussianMarginals

DTYPES = (torch.float32, torch.float64)
RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(300, 4)) @ RNG.normal(size=(4, 4))
MISSING = RNG.random(ROWS.shape) < 0.2
LABELS = RNG.integers(0, 3, len(ROWS))
COUNTS = [RNG.poisson(mean, size=300).astype(float) for mean in (0.5, 3, 40, 3000)]
STATES, GAMMA = RNG.normal(size=(2, 40, 4)) * np.array([1.0, 6.0])[:, None, None]


def states(dtype):
    return (torch.from_numpy(part).to(dtype) for part in (STATES, GAMMA))


def joint_gaussian(**parameters):
    return JointGaussian(*map(torch.from_numpy, fit_joint(ROWS, **parameters)))


def marginals():
    """Marginals of all kinds, fitted: two mixtures, point masses and a grid."""
    parts, columns = bin_marginals(
        [fit_bin_table(COUNTS[1]), fit_bin_table(COUNTS[3])], np.zeros(2), np.array([0.5, 1e-3])
    )
    mixtures = mixture_marginals(*fit_mixtures(ROWS[:, :2]))
    return join([mixtures, *parts], [[0, 1], *(2 + c for c in columns)])


def posteriors_of_marginals():
    for dtype in DTYPES:
        x, gamma = states(dtype)
        one = marginals().to(dtype=dtype)
        yield from (one.mean, one.variance, *one.posterior(x, gamma), one.log_prob(x, gamma))
        yield one.draw(torch.sigmoid(x), x, gamma)


def gaussian_marginals():
    return mixture_marginals(*gaussians(ROWS.var(0)))


def posteriors_of_distributions():
    missing, labels = torch.from_numpy(MISSING[:40]), torch.from_numpy(LABELS[:40])
    plain = JointDistribution(marginals(), joint_gaussian())
    of_classes = JointDistribution(gaussian_marginals(), joint_gaussian(labels=LABELS))
    weights = torch.tensor([0.4, 0.6], dtype=torch.float64)
    mixture = MixtureDistribution(weights, [plain, JointDistribution(*one_cluster())])
    for dtype in DTYPES:
        x, gamma = states(dtype)
        for distribution in (plain, of_classes, mixture):
            distribution = distribution.to(dtype=dtype)
            for grad in (True, False):
                with torch.set_grad_enabled(grad):
                    yield from distribution.posterior(x, gamma)
                    yield from distribution.posterior(x, gamma[:1].expand_as(x), labels)
                    yield from distribution.posterior(x, gamma, labels, missing)


def one_cluster():
    mean, std, loadings = with_least_std(None, ROWS[:40], MISSING[:40], ROWS.std(0))
    parameters = [torch.from_numpy(p) for p in (mean, std, loadings)]
    return GaussianMarginals(parameters[0], parameters[1] ** 2), JointGaussian(*parameters)


def posteriors_of_kernels():
    mean, variance = torch.from_numpy(ROWS.mean(0)), torch.from_numpy(ROWS.var(0))
    for observed in (None, torch.from_numpy(~MISSING)):
        kernels = KernelDensities(torch.from_numpy(ROWS), observed, mean, variance)
        for dtype in DTYPES:
            x, gamma = states(dtype)
            yield from kernels.to(dtype=dtype).posteriors(x, gamma, torch.arange(-1, 39))


def binned_observation():
    tables = [fit_bin_table(counts) for counts in COUNTS]
    nodes, weights = np.polynomial.hermite_e.hermegauss(9)
    for dtype in DTYPES:
        x, _ = states(dtype)
        observation = BinnedObservation(bin_prior(tables), 0.12).to(dtype=dtype)
        indices = observation.prior.clip(torch.round(3 * x))
        yield observation.log_prob(indices, indices + 0.1 * x)
        yield observation.expected_nll(indices, nodes, weights)
        yield observation.draw(5 * x, torch.sigmoid(x))


def fits():
    filled = np.where(MISSING, 0.0, ROWS)
    for Z in (ROWS, np.column_stack([*COUNTS, 1e-200 * ROWS, np.ones(300)])):
        yield from fit_mixtures(Z)
    for table in map(fit_bin_table, COUNTS):
        yield from (table.log_pmf, *table.clip(np.arange(-500.0, 5000.0)))
    yield from fit_joint(filled, MISSING)
    yield from fit_joint(ROWS, labels=LABELS)


def clusters():
    apart = np.concatenate([ROWS, 0.1 * ROWS + 30])
    yield from (part for cluster in find_clusters(apart, 4) for part in cluster)
    yield from with_every_column_observed(ROWS, MISSING, np.arange(9))
    yield deviations(np.column_stack([ROWS[:, 0], 1e-200 * ROWS[:, 1]]), MISSING[:, :2])
    yield from with_least_std(None, ROWS, MISSING, ROWS.std(0))
    variances = torch.from_numpy(ROWS.var(0))
    distribution = JointDistribution(gaussian_marginals(), joint_gaussian())
    levels = variances.log() - 11, variances.log() + 7, variances.log()
    yield denoising_nll(distribution, torch.from_numpy(ROWS), torch.from_numpy(MISSING), *levels)


CALLS = [
    posteriors_of_marginals,
    posteriors_of_distributions,
    posteriors_of_kernels,
    binned_observation,
    fits,
    clusters,
]


def results(call):
    return [np.asarray(part.detach() if torch.is_tensor(part) else part) for part in call()]


def assert_same_bits(found, expected):
    assert len(found) == len(expected) > 0
    for part, value in zip(found, expected, strict=True):
        assert part.dtype == value.dtype
        np.testing.assert_array_equal(part, value)


@pytest.fixture
def float64_by_default():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.__name__)
def test_the_default_dtype_of_torch_changes_nothing(call, request):
    expected = results(call)
    request.getfixturevalue("float64_by_default")
    assert_same_bits(results(call), expected)


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.__name__)
def test_errors_that_numpy_raises_change_nothing(call):
    expected = results(call)
    with np.errstate(all="raise"):
        found = results(call)
    assert_same_bits(found, expected)
