"""The scales of signal and noise against their definition."""

import pytest
import torch

from gudlearn.diffusion.noise import alpha, sigma, snr


@pytest.fixture
def gamma():
    return torch.linspace(-40.0, 40.0, 81, dtype=torch.float64)


def test_the_process_preserves_variance(gamma):
    torch.testing.assert_close(
        alpha(gamma) ** 2 + sigma(gamma) ** 2, torch.ones_like(gamma), rtol=1e-15, atol=0
    )


def test_gamma_is_the_negative_log_snr(gamma):
    torch.testing.assert_close(-2 * (alpha(gamma).log() - sigma(gamma).log()), gamma)
    torch.testing.assert_close(snr(gamma), (alpha(gamma) / sigma(gamma)) ** 2)


def test_scales_keep_their_relative_precision_in_float32():
    gamma = torch.tensor([-30.0, 30.0])
    small = torch.tensor([-15.0], dtype=torch.float64).exp().float()
    torch.testing.assert_close(sigma(gamma[:1]), small, rtol=1e-6, atol=0)
    torch.testing.assert_close(alpha(gamma[1:]), small, rtol=1e-6, atol=0)
