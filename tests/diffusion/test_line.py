"""The flow of one component on a line."""

import numpy as np
import pytest
import torch
from scipy.special import ndtr

from gudlearn.diffusion.line import line_flow, tangent_slope

NODES = torch.linspace(-3.6, 3.6, 33, dtype=torch.float64)


def mixture(means, stds, weights):
    """The exact denoiser of a mixture of Gaussians, of y = x / alpha."""
    means, variances, weights = (torch.tensor(v).double() for v in (means, stds, weights))
    variances = variances.square()

    def denoise(y, gamma):
        total = variances + gamma.exp()
        off = y[..., None] - means
        log_w = weights.log() - 0.5 * (total.log() + off.square() / total)
        posterior = means + variances / total * off
        return (log_w.softmax(-1) * posterior).sum(-1)

    return denoise


def carried(denoise, mean, variance, steps):
    gammas = torch.linspace(7.0, -11.0, steps + 1, dtype=torch.float64)
    y = mean + (variance + gammas[0].exp()).sqrt() * NODES[:, None]
    return line_flow(denoise, y, gammas)[:, 0].numpy()


@pytest.mark.parametrize("steps", [1, 2, 12])
@pytest.mark.parametrize(("mean", "std"), [(0.3, 0.4), (-2.0, 1.5)])
def test_the_flow_of_a_gaussian_is_exact_in_any_number_of_steps(steps, mean, std):
    y = carried(mixture([mean], [std], [1.0]), mean, torch.tensor(std**2).double(), steps)
    # The slope of the tangent is limited, and so is the variance at the highest noise level.
    expected = mean + np.sqrt(std**2 + np.exp(-11.0)) * NODES.numpy()
    np.testing.assert_allclose(y, expected, rtol=1e-6, atol=1e-6)


TWO = ([-0.8, 0.9], [0.3, 0.15], [0.4, 0.6])


def cdf_error(steps):
    """Largest error of the distribution function of a mixture of two Gaussians at the points."""
    means, stds, weights = map(np.array, TWO)
    mean = weights @ means
    variance = weights @ (stds**2 + means**2) - mean**2
    y = carried(mixture(*TWO), mean, torch.tensor(variance), steps)
    spread = np.sqrt(stds**2 + np.exp(-11.0))
    return np.abs(ndtr((y[:, None] - means) / spread) @ weights - ndtr(NODES.numpy())).max()


def test_the_flow_of_two_modes_has_their_quantiles():
    assert cdf_error(12) < 0.02
    # The order is 2 at least: with half of the step the error is a quarter.
    assert cdf_error(192) < cdf_error(96) / 3


def test_slopes_are_those_between_neighbours_and_limited():
    y = torch.tensor([[0.0], [1.0], [2.0], [2.0]])
    found = tangent_slope(y, torch.tensor([[0.0], [0.5], [3.0], [3.0]]))
    torch.testing.assert_close(found[:, 0], torch.tensor([0.5, 0.999, 0.999, 0.0]))
