"""The forward process against Gaussian closed forms and its own differential equation."""

import pytest
import torch

from gudlearn.diffusion.noise import alpha, sigma
from gudlearn.diffusion.paths import CosineGamma, WindowedGamma
from gudlearn.diffusion.process import beta, flow_velocity, marginal_std, perturb

VARIANCES = torch.tensor([0.05, 1.0, 30.0], dtype=torch.float64)
TIMES = torch.linspace(0.05, 0.95, 31, dtype=torch.float64)
PATHS = [
    WindowedGamma([-8.0, -6.0, -4.0], [5.0, 6.0, 8.0], [0.0, 0.1, 0.4], [0.6, 0.9, 0.3]),
    CosineGamma([-8.0] * 3, [7.0] * 3, VARIANCES.log()),
]


def derivative(function, t, step=1e-4):
    """Fourth-order central differences; truncation and rounding errors are below 1e-10."""
    near = function(t + step) - function(t - step)
    far = function(t + 2 * step) - function(t - 2 * step)
    return (8 * near - far) / (12 * step)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: type(path).__name__)
def test_beta_is_the_rate_at_which_the_signal_decays(path):
    gamma, rate = path.gamma_and_rate(TIMES)
    log_signal = derivative(lambda t: alpha(path(t)).log(), TIMES)
    torch.testing.assert_close(beta(gamma, rate), -2 * log_signal)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: type(path).__name__)
def test_variance_obeys_the_forward_equation(path):
    # dx = -1/2 beta x dt + sqrt(beta) dw implies d var/dt = beta (1 - var).
    gamma, rate = path.gamma_and_rate(TIMES)
    change = derivative(lambda t: marginal_std(VARIANCES, path(t)) ** 2, TIMES)
    variance = marginal_std(VARIANCES, gamma) ** 2
    torch.testing.assert_close(change, beta(gamma, rate) * (1 - variance))


@pytest.mark.parametrize("path", PATHS, ids=lambda path: type(path).__name__)
def test_the_flow_of_gaussian_data_follows_the_marginal_width(path):
    # A point at k standard deviations keeps its quantile, so x(t) = k std(t) solves the flow.
    gamma, rate = path.gamma_and_rate(TIMES)
    width = marginal_std(VARIANCES, gamma)
    x = 1.7 * width
    x0_hat = alpha(gamma) * VARIANCES * x / width**2
    expected = 1.7 * derivative(lambda t: marginal_std(VARIANCES, path(t)), TIMES)
    torch.testing.assert_close(flow_velocity(x, x0_hat, gamma, rate), expected)


def test_flow_velocity_is_half_of_beta_times_state_plus_score():
    generator = torch.Generator().manual_seed(0)
    x, x0_hat, gamma, rate = torch.randn(4, 20, 3, generator=generator, dtype=torch.float64)
    score = (alpha(gamma) * x0_hat - x) / sigma(gamma) ** 2
    expected = -0.5 * beta(gamma, rate) * (x + score)
    torch.testing.assert_close(flow_velocity(x, x0_hat, gamma, rate), expected)


def test_flow_velocity_keeps_its_digits_where_sigma_is_small():
    gamma, rate = torch.full((1, 1), -30.0), torch.ones(1, 1)
    x, x0_hat = torch.tensor([[3.0]]), torch.tensor([[1.0]])
    exact = flow_velocity(x.double(), x0_hat.double(), gamma.double(), rate.double())
    torch.testing.assert_close(
        flow_velocity(x, x0_hat, gamma, rate).double(), exact, rtol=1e-6, atol=0
    )


def test_perturbed_states_have_the_marginal_variance_exactly():
    # x0 and eps are orthogonal with exact norms, so the second moment is the closed form.
    eps = torch.tensor([[1.0], [1.0], [-1.0], [-1.0]], dtype=torch.float64)
    x0 = torch.tensor([[2.0], [-2.0], [2.0], [-2.0]], dtype=torch.float64)
    gamma = torch.full((4, 1), -0.7, dtype=torch.float64)
    moment = perturb(x0, eps, gamma).square().mean()
    expected = marginal_std(torch.tensor(4.0, dtype=torch.float64), gamma[0, 0]) ** 2
    torch.testing.assert_close(moment, expected)
