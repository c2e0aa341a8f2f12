"""Components given the noisy values of the others, against the dense Gaussian and quadrature."""

import numpy as np
import pytest
import torch

import gudlearn.preconditioning.joint as joint_module
from gudlearn.diffusion.paths import load_forward_mode
from gudlearn.preconditioning.joint import JointGaussian
from gudlearn.preconditioning.marginals import (
    GaussianMarginals,
    MixtureMarginals,
    PointMassMarginals,
)

MEAN = torch.tensor([1.0, -2.0, 0.5, 10.0], dtype=torch.float64)
STD = torch.tensor([1.0, 0.3, 2.0, 20.0], dtype=torch.float64)
MISSING = 16.0


def joint(k=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    loadings = torch.randn(4, k, generator=generator, dtype=torch.float64)
    norm = loadings.square().sum(1, keepdim=True).sqrt()
    return JointGaussian(MEAN, STD, 0.95 * loadings / norm)


def covariance_of(gaussian):
    correlation = gaussian.loadings @ gaussian.loadings.T
    correlation.fill_diagonal_(1.0)
    return gaussian.std[:, None] * correlation * gaussian.std


def states(gaussian=None, n=50, seed=1):
    """Noisy values of rows that fit the Gaussian, at noise levels from clean to pure noise."""
    gaussian = joint() if gaussian is None else gaussian
    generator = torch.Generator().manual_seed(seed)
    gamma = 8 * torch.rand(n, 4, generator=generator, dtype=torch.float64) - 6
    gamma = gamma + 2 * STD.log()
    gamma[::5, 1] = MISSING
    normal, eps = 0.6 * torch.randn(2, n, 4, generator=generator, dtype=torch.float64)
    x0 = MEAN + normal @ torch.linalg.cholesky(covariance_of(gaussian)).T
    return torch.sigmoid(-gamma).sqrt() * x0 + torch.sigmoid(gamma).sqrt() * eps, gamma


def dense_posterior(gaussian, x, gamma):
    """Mean and variance of each component given all noisy values, by the formula."""
    covariance = covariance_of(gaussian)
    y = x / torch.sigmoid(-gamma).sqrt() - gaussian.mean
    gain = covariance @ torch.linalg.inv(covariance + torch.diag_embed(gamma.exp()))
    mean = gaussian.mean + (gain @ y[..., None])[..., 0]
    return mean, (covariance - gain @ covariance).diagonal(dim1=-2, dim2=-1)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_posterior_of_gaussians_is_that_of_the_dense_gaussian(k):
    gaussian = joint(k)
    x, gamma = states(gaussian)
    updated = gaussian.condition_and_update(x, gamma)
    found = GaussianMarginals(gaussian.mean, gaussian.std**2).posterior(*updated)
    for value, expected in zip(found, dense_posterior(gaussian, x, gamma), strict=True):
        torch.testing.assert_close(value, expected, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_many_factors_give_the_same_as_few(dtype):
    generator = torch.Generator().manual_seed(0)
    loadings = torch.randn(20, 16, generator=generator, dtype=torch.float64)
    loadings = 0.98 * loadings / loadings.norm(dim=1, keepdim=True)
    gaussian = JointGaussian(torch.zeros(20).double(), torch.ones(20).double(), loadings)
    # Close to the mean, where no covariance is inflated.
    x = 0.1 * torch.randn(30, 20, generator=generator, dtype=torch.float64)
    gamma = 6 * torch.rand(30, 20, generator=generator, dtype=torch.float64) - 5
    expected = dense_posterior(gaussian, x, gamma)
    gaussian = gaussian.to(dtype=dtype)
    updated = gaussian.condition_and_update(x.to(dtype), gamma.to(dtype))
    found = GaussianMarginals(gaussian.mean, gaussian.std**2).posterior(*updated)
    tolerance = 1e-7 if dtype == torch.float64 else 1e-3
    for value, exact in zip(found, expected, strict=True):
        torch.testing.assert_close(value.double(), exact, rtol=tolerance, atol=tolerance)


def test_rows_at_one_noise_level_share_what_depends_on_it_alone():
    gaussian, (x, gamma) = joint(), states()
    one = gamma[:1].expand_as(gamma)
    shared, apart = gaussian.condition(x, one), gaussian.condition(x, one.clone())
    assert shared.covariance.shape == (1, 3, 3) and shared.variance.shape == (1, 4)
    torch.testing.assert_close(gaussian.log_det(shared, one), gaussian.log_det(apart, one))
    updates = (gaussian.condition_and_update(x, gamma) for gamma in (one, one.clone()))
    for value, expected in zip(*updates, strict=True):
        assert value.shape == x.shape
        torch.testing.assert_close(value, expected)


def test_matrices_of_equal_noise_levels_are_inverted_once(monkeypatch):
    gaussian, (x, gamma) = joint(), states()
    gaussian, x, mask = gaussian.to(dtype=torch.float32), x.float(), torch.arange(len(x)) % 3
    gamma = gamma[:3].float()[mask]
    inverted = []
    inverse = joint_module._inverse
    monkeypatch.setattr(joint_module, "_inverse", lambda m: inverted.append(len(m)) or inverse(m))
    # Rows are not compared where the gradient in their noise levels is asked for.
    apart = gaussian.condition(x, gamma.clone().requires_grad_())
    apart = apart._replace(**{k: v.detach() for k, v in apart._asdict().items() if k != "index"})
    in_training = gaussian.condition(x, gamma)
    with torch.no_grad():
        found = gaussian.condition(x, gamma)
        # The same rows of the third kind among other rows, at other noise levels.
        others = torch.cat([gamma[mask == 2], torch.rand(40, 4)])
        beside = gaussian.condition(torch.cat([x[mask == 2], x[:40]]), others)
    assert inverted == [50, 3, 3, 41]
    for name in ("y", "mean", "precision", "variance", "distance"):
        part, expected, alone = (getattr(c, name) for c in (found, apart, beside))
        torch.testing.assert_close(part, expected, rtol=1e-4, atol=1e-5)
        same = alone[: int((mask == 2).sum())]
        torch.testing.assert_close(part[mask == 2], same, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found.covariance[found.index], apart.covariance)
    torch.testing.assert_close(in_training.mean, apart.mean, rtol=1e-4, atol=1e-5)


def test_rows_of_one_key_that_differ_stay_apart():
    # Noise levels so far apart that the last is lost in their weighted sum.
    gamma = torch.zeros(50, 4, dtype=torch.float64)
    gamma[:, 0], gamma[1, 3] = 1e9, 1e-9
    gamma[2] = gamma[1]
    with torch.no_grad():
        distinct, index = joint_module._distinct(gamma)
    assert torch.equal(distinct[index], gamma)


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_products_of_a_row_do_not_depend_on_the_other_rows(dtype):
    generator = torch.Generator().manual_seed(0)
    rows, matrix = (torch.rand(70, 50, generator=generator).to(dtype) for _ in range(2))
    found = joint_module._product(rows, matrix.T)
    for some in (slice(0, 1), slice(40, 43), torch.arange(69, -1, -1)):
        assert torch.equal(joint_module._product(rows[some], matrix.T), found[some])


@pytest.mark.parametrize("kind", ["point masses", "mixture"])
def test_other_marginals_are_multiplied_by_the_message_of_the_others(kind):
    gaussian, (x, gamma) = joint(), states()
    means = MEAN[:, None] + STD[:, None] * torch.tensor([-1.0, 0.2, 1.5], dtype=torch.float64)
    weights = torch.tensor([0.3, 0.5, 0.2], dtype=torch.float64).expand(4, 3)
    if kind == "point masses":
        marginals = PointMassMarginals(weights, means)
        grid, density = means, weights
    else:
        variances = (0.2 * STD[:, None] ** 2).expand(4, 3)
        marginals = MixtureMarginals(weights, means, variances)
        grid = MEAN[:, None] + STD[:, None] * torch.linspace(-9, 9, 20001, dtype=torch.float64)
        off = grid[:, :, None] - means[:, None]
        density = (weights[:, None] * (-0.5 * off**2 / variances[:, None]).exp()).sum(-1)
    covariance = covariance_of(gaussian)
    y = x / torch.sigmoid(-gamma).sqrt() - gaussian.mean
    found, _ = marginals.posterior(*gaussian.condition_and_update(x, gamma))
    for i in range(4):
        rest = [j for j in range(4) if j != i]
        noisy = covariance[rest][:, rest] + torch.diag_embed(gamma[:, rest].exp())
        gain = torch.linalg.solve(noisy, covariance[rest, i].expand(len(x), 3))
        mean = gaussian.mean[i] + (gain * y[:, rest]).sum(1)
        variance = covariance[i, i] - gain @ covariance[rest, i]
        u = grid[i]
        log_p = density[i].log() - 0.5 * (u - mean[:, None]) ** 2 / variance[:, None]
        log_p = log_p + 0.5 * (u - gaussian.mean[i]) ** 2 / covariance[i, i]
        own = gaussian.mean[i] + y[:, i, None]
        log_p = log_p - 0.5 * (u - own) ** 2 / gamma[:, i, None].exp()
        expected = (log_p.softmax(1) * u).sum(1)
        torch.testing.assert_close(found[:, i], expected, rtol=1e-6, atol=1e-6)


def test_components_of_pure_noise_carry_no_information():
    gaussian, (x, gamma) = joint(), states()
    gamma[:, 1:] = 40.0
    updated, level = gaussian.condition_and_update(x, gamma)
    torch.testing.assert_close(updated[:, 0], x[:, 0], rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(level[:, 0], gamma[:, 0], rtol=1e-6, atol=1e-6)


def test_single_precision_is_enough_for_clean_values():
    gaussian, (x, gamma) = joint(), states()
    gamma = gamma - 6

    def posterior(gaussian, x, gamma):
        marginals = GaussianMarginals(gaussian.mean, gaussian.std**2)
        return torch.stack(marginals.posterior(*gaussian.condition_and_update(x, gamma)))

    exact = posterior(gaussian, x, gamma)
    rounded = posterior(gaussian.to(dtype=torch.float32), x.float(), gamma.float())
    torch.testing.assert_close(rounded.double(), exact, rtol=1e-4, atol=1e-4)


def test_a_value_that_is_far_by_itself_has_the_conditionals_of_the_gaussian():
    gaussian = joint()
    gamma = torch.full((3, 4), MISSING, dtype=torch.float64)
    gamma[:, 0] = -8.0
    x = torch.sigmoid(-gamma).sqrt() * MEAN
    x[:, 0] += STD[0] * torch.tensor([1.0, 100.0, 1e6])
    updated = gaussian.condition_and_update(x, gamma)
    found = GaussianMarginals(gaussian.mean, gaussian.std**2).posterior(*updated)
    for value, expected in zip(found, dense_posterior(gaussian, x, gamma), strict=True):
        torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-5)


def test_values_that_contradict_one_another_say_less_of_the_others():
    gaussian = joint()
    gamma = torch.tensor([[-8.0, -8.0, 2.0, 2.0]], dtype=torch.float64).repeat(3, 1)
    # The first two have a correlation of 0.77.
    y = torch.zeros(3, 4, dtype=torch.float64)
    y[:, 0] = torch.tensor([0.1, 10.0, 1e6])
    y[:, 1] = -y[:, 0]
    x = torch.sigmoid(-gamma).sqrt() * (MEAN + y * STD)
    noisy = covariance_of(gaussian) / torch.outer(STD, STD) + torch.diag(gamma[0].exp() / STD**2)
    distance = (y @ torch.linalg.inv(noisy) * y).sum(1)
    alone = (y.square() / noisy.diagonal()).sum(1)
    # Four standard deviations beyond the mean of the distance of Gaussian rows.
    inflation = (distance / alone.clamp(min=4 + 4 * 8**0.5)).clamp(min=1)
    assert inflation[0] == 1 and (inflation[1:] > 3).all()
    expected = gaussian.update(gaussian.condition(x, gamma), inflation)
    found = gaussian.condition_and_update(x, gamma)
    for value, exact in zip(found, expected, strict=True):
        torch.testing.assert_close(value, exact)
    gained = (gamma - found[1])[:, 2:]
    assert (gained[1:] < gained[0] / 2).all()


def test_it_is_differentiable_both_ways():
    gaussian, (x, gamma) = joint(), states(n=3)

    def updated(x):
        return gaussian.condition_and_update(x, gamma)[0]

    x = x.requires_grad_()
    assert torch.autograd.gradcheck(updated, x)
    load_forward_mode()
    _, slope = torch.func.jvp(updated, (x.detach(),), (torch.ones_like(x),))
    h = 1e-6
    finite = (updated(x + h) - updated(x - h)) / (2 * h)
    np.testing.assert_allclose(slope.numpy(), finite.detach().numpy(), rtol=1e-5, atol=1e-7)
