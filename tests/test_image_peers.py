"""The bits/dim of a denoiser, against Gaussian pixels, whose bound has a closed form."""

import importlib
import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.stats import norm

FOLDER = Path(__file__).parents[1] / "examples" / "benchmarks"
with pytest.MonkeyPatch.context() as patch:
    patch.syspath_prepend(FOLDER)
    peers = importlib.import_module("_image_peers")

STD = 20.0
TAUS = (0.15, 0.5, 1.0)


def images(n=60, side=32, seed=0):
    """Independent normal pixels, rounded; the probabilities of their bins are known."""
    y = 127.5 + STD * np.random.default_rng(seed).normal(size=(n, side, side, 3))
    return np.clip(np.round(y), 0, 255).astype(np.uint8)


def gaussian_denoiser(std):
    def denoise(x, gamma):
        ratio = (std / 127.5) ** 2 * torch.exp(-gamma)[:, None, None, None]
        return ratio / (1 + ratio) / torch.sigmoid(-gamma).sqrt()[:, None, None, None] * x

    return denoise


def cross_entropy(X):
    """Mean of -log2 P(k) under the discretised distribution of the pixels."""
    k = X.astype(float)
    below, above = norm.cdf((k - 128) / STD), norm.cdf((k - 127) / STD)
    return -np.log2(above - below).mean((1, 2, 3))


def closed_form(X, tau):
    """KL(q(x_0|x0) || N(0, alpha^2 v + sigma^2)) and the reconstruction, for each image.

    The reverse process of the exact denoiser adds nothing after its last step.
    """
    v, noise = (STD / 127.5) ** 2, (tau / 127.5) ** 2
    x0 = X / 127.5 - 1
    divergence = 0.5 * ((x0**2 + noise) / (v + noise) - 1 + math.log((v + noise) / noise))
    observed = peers.reconstruction_bits(tau)[X]
    return (divergence / math.log(2) + observed).mean((1, 2, 3))


@pytest.fixture(scope="module")
def bits():
    return peers.denoiser_bits(gaussian_denoiser(STD), images(), tau=TAUS, seed=0)


@pytest.mark.parametrize("tau", TAUS)
def test_bits_of_the_exact_denoiser_are_the_closed_form(bits, tau):
    difference = bits[tau] - closed_form(images(), tau)
    # Five of its standard errors: over seeds the mean has a standard deviation of 0.0024.
    assert abs(difference.mean()) < 0.012


def test_bits_of_the_exact_denoiser_are_near_the_cross_entropy(bits):
    X = images()
    # Five standard errors, as above, and 0.001 for the difference of the closed forms.
    assert bits[0.5].mean() == pytest.approx(cross_entropy(X).mean(), abs=0.013)
    # The denoiser ignores the grid. Where the noise is narrow this costs the width of a bin,
    # -log2(tau sqrt(2 pi e)), and 0.0036 for the flat observation.
    cost = -math.log2(0.15 * math.sqrt(2 * math.pi * math.e)) + 0.0036
    assert (closed_form(X, 0.15) - cross_entropy(X)).mean() == pytest.approx(cost, abs=2e-3)
    assert 0 < (closed_form(X, 0.5) - cross_entropy(X)).mean() < 0.001


@pytest.mark.parametrize("std", [STD / 1.5, STD * 1.5])
def test_a_wrong_denoiser_costs_bits(bits, std):
    wrong = peers.denoiser_bits(gaussian_denoiser(std), images(), tau=TAUS, seed=0)
    for tau in TAUS:
        assert wrong[tau].mean() > bits[tau].mean() + 0.02


def test_bits_of_a_denoiser_that_returns_zero_are_the_integral_of_the_snr():
    X = images(n=40, side=8)
    bits = peers.denoiser_bits(lambda x, gamma: 0 * x, X, tau=TAUS, seed=0)
    mean_square = ((X / 127.5 - 1) ** 2).mean()
    for tau in TAUS:
        nats = 0.5 * mean_square * ((127.5 / tau) ** 2 - math.exp(-8))
        expected = nats / math.log(2) + peers.reconstruction_bits(tau)[100]
        # The prior term, left out, is below 1e-3; noise levels in each stratum are a finite sample.
        assert bits[tau].mean() == pytest.approx(expected, rel=0.02)


def test_one_integral_serves_every_tau(bits):
    alone = peers.denoiser_bits(gaussian_denoiser(STD), images(), tau=(0.5,), seed=1)[0.5]
    # Five standard errors of the difference of two means.
    assert alone.mean() == pytest.approx(bits[0.5].mean(), abs=0.017)


@pytest.mark.parametrize("tau", [0.15, 0.7])
@pytest.mark.parametrize("k", [0, 1, 100, 255])
def test_reconstruction_agrees_with_draws(tau, k):
    eps = np.random.default_rng(0).normal(size=20_000)
    y = k + tau * eps
    log_p = -((y[:, None] - np.arange(256)) ** 2) / (2 * tau**2)
    draws = np.logaddexp.reduce(log_p, 1) - log_p[:, k]
    error = draws.std(ddof=1) / math.sqrt(len(draws))
    assert abs(draws.mean() / math.log(2) - peers.reconstruction_bits(tau)[k]) < 6 * error + 1e-12


def test_time_steps_and_v_prediction_make_a_denoiser():
    variance = torch.tensor((STD / 127.5) ** 2)
    table = torch.linspace(-8, 9, 200, dtype=torch.float64)

    def predict_v(x, t):
        gamma = torch.from_numpy(np.interp(t.double(), np.arange(200), table)).float()
        alpha, sigma = torch.sigmoid(-gamma).sqrt(), torch.sigmoid(gamma).sqrt()
        alpha, sigma = alpha[:, None, None, None], sigma[:, None, None, None]
        return (alpha - alpha * variance / (alpha**2 * variance + sigma**2)) * x / sigma

    signal = torch.sigmoid(-table)
    denoise = peers.ddpm_denoiser(SimpleNamespace(alphas_cumprod=signal, model=predict_v))
    gamma = torch.tensor([-8.0, -7.98, -3.3, 0.0, 4.1, 9.0])
    x = torch.randn(6, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    expected = gaussian_denoiser(STD)(x, gamma)
    torch.testing.assert_close(denoise(x, gamma), expected, rtol=1e-4, atol=1e-4)
    # Below the first step the score is held constant, so it contains the noise of that step.
    gamma = torch.full((6,), -11.0)
    fraction = math.exp(-11) / (variance + math.exp(-8))
    expected = (1 - fraction) * x / torch.sigmoid(-gamma[0]).sqrt()
    torch.testing.assert_close(denoise(x, gamma), expected, rtol=1e-4, atol=1e-5)


def test_strata_end_at_every_tau():
    edges = peers.strata((0.7, 0.15), 8.0, 32)
    assert edges[0] == peers.gamma_of_tau(0.15)
    assert edges[-1] == 8
    assert np.min(np.abs(edges - peers.gamma_of_tau(0.7))) == 0
    assert np.all(np.diff(edges) > 0)
    assert np.diff(edges).max() < 1.5 * np.diff(edges).min()


def test_the_average_forgets_the_initial_weights():
    model = torch.nn.Linear(1, 1)
    average = peers.Average(model, 0.999, 1)
    with torch.no_grad():
        for p in model.parameters():
            p.fill_(7.0)
    for _ in range(100):
        average.update(model)
    for p in average.model.parameters():
        torch.testing.assert_close(p, torch.full_like(p, 7.0))
