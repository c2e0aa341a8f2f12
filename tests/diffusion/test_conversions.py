"""Conversions between x0, eps, v and the score, on states made by the forward process."""

import itertools

import pytest
import torch

from gudlearn.diffusion import conversions
from gudlearn.diffusion.noise import alpha, sigma
from gudlearn.diffusion.process import perturb


@pytest.fixture
def truth():
    generator = torch.Generator().manual_seed(0)
    x0, eps = torch.randn(2, 50, 3, generator=generator, dtype=torch.float64)
    gamma = torch.linspace(-6.0, 6.0, 150, dtype=torch.float64).reshape(50, 3)
    x = perturb(x0, eps, gamma)
    v = alpha(gamma) * eps - sigma(gamma) * x0
    return {"x0": x0, "eps": eps, "v": v}, x, gamma


@pytest.mark.parametrize(("source", "target"), list(itertools.permutations(["x0", "eps", "v"], 2)))
def test_predictions_convert_into_each_other(truth, source, target):
    predictions, x, gamma = truth
    convert = getattr(conversions, f"{target}_from_{source}")
    # Division by a scale of exp(-3) loses at most two of sixteen digits.
    torch.testing.assert_close(
        convert(x, predictions[source], gamma), predictions[target], rtol=1e-12, atol=1e-13
    )


def test_score_is_the_gradient_of_the_log_density_of_gaussian_data(truth):
    predictions, x, gamma = truth
    variances = torch.tensor([0.1, 1.0, 10.0], dtype=torch.float64)
    marginal = alpha(gamma) ** 2 * variances + sigma(gamma) ** 2
    x = x.clone().requires_grad_()
    log_density = -0.5 * (x**2 / marginal + marginal.log()).sum()
    (gradient,) = torch.autograd.grad(log_density, x)

    x0_hat = alpha(gamma) * variances * x / marginal
    score = conversions.score_from_x0(x, x0_hat, gamma)
    torch.testing.assert_close(score, gradient, rtol=1e-9, atol=1e-9)
    eps_hat = conversions.eps_from_x0(x, x0_hat, gamma)
    torch.testing.assert_close(conversions.score_from_eps(eps_hat, gamma), gradient)
