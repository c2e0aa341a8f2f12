"""Kernel densities around a reference set, against mixtures written out term by term."""

import pytest
import torch

from gudlearn.diffusion.noise import alpha
from gudlearn.preconditioning.kernels import BANDWIDTHS, KernelDensities

MEAN = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
VARIANCE = torch.tensor([1.0, 0.1, 4.0], dtype=torch.float64)


def normal(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def reference_set(n=7, missing=False):
    rows = MEAN + VARIANCE.sqrt() * normal(n, 3)
    observed = torch.ones(n, 3, dtype=torch.bool)
    if missing:
        observed[0, 1] = observed[1, 0] = observed[1, 2] = observed[4, 1] = False
        rows = torch.where(observed, rows, 1e6)
    return rows, observed


def noisy(n=20):
    gamma = 6 * torch.rand(n, 3, generator=torch.Generator().manual_seed(1)).double() - 4
    x0 = MEAN + VARIANCE.sqrt() * normal(n, 3, seed=2)
    return alpha(gamma) * (x0 + (0.5 * gamma).exp() * normal(n, 3, seed=3)), gamma


def written_out(rows, observed, x, gamma, width, left_out=None):
    """Mean and variance of component i of one row, term by term."""
    y, noise, kernel = x / alpha(gamma), gamma.exp(), width**2 * VARIANCE
    log_w = torch.zeros(len(rows), dtype=torch.float64)
    for k in range(len(rows)):
        for i in range(3):
            centre, variance = MEAN[i], VARIANCE[i]
            if observed[k, i]:
                centre, variance = rows[k, i], kernel[i]
            scale = (variance + noise[i]).sqrt()
            log_w[k] += torch.distributions.Normal(centre, scale).log_prob(y[i])
    means, variances = torch.zeros(2, 3, dtype=torch.float64)
    for i in range(3):
        some = observed[:, i].clone()
        if left_out is not None:
            some[left_out] = False
        w = log_w[some].softmax(0)
        gain = kernel[i] / (kernel[i] + noise[i])
        each = rows[some, i] + gain * (y[i] - rows[some, i])
        means[i] = (w * each).sum()
        variances[i] = (w * (each - means[i]).square()).sum() + gain * noise[i]
    return means, variances


@pytest.mark.parametrize("own", [None, [3, -1] * 10])
@pytest.mark.parametrize("missing", [False, True])
def test_posteriors_are_those_of_the_mixture(missing, own):
    rows, observed = reference_set(missing=missing)
    kernels = KernelDensities(rows, observed if missing else None, MEAN, VARIANCE)
    x, gamma = noisy()
    index = None if own is None else torch.tensor(own)
    means, variances = kernels.posteriors(x, gamma, index)
    assert means.shape == variances.shape == (20, len(BANDWIDTHS), 3)
    for b in range(20):
        left_out = None if own is None or own[b] < 0 else own[b]
        for h, width in enumerate(BANDWIDTHS):
            mean, variance = written_out(rows, observed, x[b], gamma[b], width, left_out)
            torch.testing.assert_close(means[b, h], mean, rtol=1e-8, atol=1e-8)
            torch.testing.assert_close(variances[b, h], variance, rtol=1e-7, atol=1e-8)


def test_the_score_is_the_gradient_of_the_log_density():
    rows, observed = reference_set()
    kernels = KernelDensities(rows, None, MEAN, VARIANCE)
    x, gamma = noisy()
    x.requires_grad_(True)
    means, _ = kernels.posteriors(x, gamma)
    for h, width in enumerate(BANDWIDTHS):
        variance = width**2 * VARIANCE + gamma.exp()
        centred = (x / alpha(gamma))[:, None] - rows
        log_p = (-0.5 * centred.square() / variance[:, None]).sum(2).logsumexp(1)
        (score,) = torch.autograd.grad(log_p.sum(), x)
        # Tweedie: E[x0 | x] = (x + sigma^2 score) / alpha.
        expected = (x + torch.sigmoid(gamma) * score) / alpha(gamma)
        torch.testing.assert_close(means[:, h], expected.detach(), rtol=1e-8, atol=1e-8)


def test_an_excluded_row_is_as_good_as_absent():
    rows, observed = reference_set(missing=True)
    x, gamma = noisy(5)
    index = torch.full((5,), 2)
    excluded = KernelDensities(rows, observed, MEAN, VARIANCE).posteriors(x, gamma, index)
    others = torch.arange(7) != 2
    absent = KernelDensities(rows[others], observed[others], MEAN, VARIANCE).posteriors(x, gamma)
    for found, expected in zip(excluded, absent, strict=True):
        torch.testing.assert_close(found, expected)


def test_a_component_that_no_row_observes_is_finite():
    rows, observed = reference_set()
    observed[:, 0] = False
    x, gamma = noisy(5)
    for part in KernelDensities(rows, observed, MEAN, VARIANCE).posteriors(x, gamma):
        assert part.isfinite().all()


def test_a_copy_in_float32_agrees():
    rows, observed = reference_set(missing=True)
    kernels = KernelDensities(torch.where(observed, rows, 0.0), observed, MEAN, VARIANCE)
    x, gamma = noisy(5)
    single = kernels.to(dtype=torch.float32).posteriors(x.float(), gamma.float())
    for found, expected in zip(single, kernels.posteriors(x, gamma), strict=True):
        assert found.dtype == torch.float32
        torch.testing.assert_close(found.double(), expected, rtol=1e-3, atol=1e-4)
