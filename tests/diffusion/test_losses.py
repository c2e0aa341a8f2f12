"""The training loss integrates to the bound, under every importance-sampling density."""

import pytest
import torch

from gudlearn.diffusion.likelihood import gaussian_kl
from gudlearn.diffusion.losses import AdaptiveTimes, TimeDensity, nll_integrand, noise_loss
from gudlearn.diffusion.paths import CosineGamma, WindowedGamma
from gudlearn.preconditioning.marginals import GaussianMarginals

VARIANCES = torch.tensor([0.1, 1.0, 20.0], dtype=torch.float64)
GAMMA_0 = VARIANCES.log() - 9
GAMMA_1 = VARIANCES.log() + 6
PATHS = {
    "linear": WindowedGamma(GAMMA_0, GAMMA_1, 0.0, 1.0),
    "sequential": WindowedGamma(GAMMA_0, GAMMA_1, [0.0, 0.3, 0.6], [0.3, 0.3, 0.4]),
    "cosine": CosineGamma(GAMMA_0, GAMMA_1, VARIANCES.log()),
}


def denoise(x, gamma):
    """The exact denoiser of N(0, VARIANCES)."""
    return GaussianMarginals(torch.zeros(3).double(), VARIANCES).posterior(x, gamma)[0]


def expected_integrand(path, x0, t):
    """Mean over the noise; eps = -1 and +1 give it exactly, as the integrand is quadratic."""
    ones = torch.ones_like(x0)
    return sum(nll_integrand(denoise, path, x0, t, s * ones) for s in (-1, 1)) / 2


def quadrature(path, per_interval=1000):
    """Midpoints between the kinks, denser at both ends, where cosine's rate grows like 1/t."""
    u = (torch.arange(per_interval).double() + 0.5) / per_interval
    edges = torch.tensor([0.0, *path.kinks, 1.0], dtype=torch.float64)
    length = edges.diff()[:, None]
    nodes = edges[:-1, None] + length * u**2 * (3 - 2 * u)
    return nodes.flatten(), (length * 6 * u * (1 - u) / per_interval).flatten()


@pytest.mark.parametrize("name", PATHS)
def test_loss_integrates_to_the_closed_form_bound(name):
    # The denoiser is exact: the integral is the KL at gamma(0) minus that at gamma(1).
    path = PATHS[name]
    t, weights = quadrature(path)
    for x0 in (0.0, 0.7, -2.0):
        x0 = x0 * VARIANCES.sqrt()
        integrand = expected_integrand(path, x0.expand(len(t), 3), t)
        found = (integrand * weights[:, None]).sum(0)
        expected = gaussian_kl(x0, VARIANCES, GAMMA_0) - gaussian_kl(x0, VARIANCES, GAMMA_1)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_noise_loss_is_the_squared_error_of_the_predicted_noise():
    path = PATHS["linear"]
    generator = torch.Generator().manual_seed(0)
    x0, eps = torch.randn(2, 30, 3, generator=generator, dtype=torch.float64)
    t = torch.rand(30, generator=generator, dtype=torch.float64)
    gamma = path(t)
    a, s = torch.sigmoid(-gamma).sqrt(), torch.sigmoid(gamma).sqrt()
    x = a * x0 + s * eps
    eps_hat = (x - a * denoise(x, gamma)) / s
    torch.testing.assert_close(noise_loss(denoise, path, x0, t, eps), (eps_hat - eps) ** 2)
    rate = path.gamma_and_rate(t)[1]
    torch.testing.assert_close(
        nll_integrand(denoise, path, x0, t, eps), 0.5 * rate * (eps_hat - eps) ** 2
    )


def test_time_density_is_unbiased_and_normalised():
    weights = torch.tensor([0.0, 5.0, 1.0, 0.2], dtype=torch.float64)
    density = TimeDensity(weights)
    torch.testing.assert_close(density.probabilities.sum().item(), 1.0)
    u = (torch.arange(200000).double() + 0.5) / 200000
    t, inverse, bins = density(u)
    assert (t.diff() >= 0).all() and t[0] >= 0 and t[-1] <= 1
    torch.testing.assert_close(bins, (4 * t).long().clamp(max=3))
    # A stratified sum over quantiles times the inverse density is an integral over t.
    torch.testing.assert_close((inverse * t.exp()).mean().item(), torch.e - 1, rtol=1e-5, atol=0)
    fraction = torch.bincount(bins, minlength=4).double() / len(u)
    torch.testing.assert_close(fraction, 0.9 * weights / 6.2 + 0.025, rtol=0, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_time_density_reaches_both_ends(dtype):
    density = TimeDensity(torch.tensor([1.0, 3.0, 2.0], dtype=dtype))
    t, inverse, bins = density(torch.tensor([0.0, 1.0], dtype=dtype))
    torch.testing.assert_close(t, torch.tensor([0.0, 1.0], dtype=dtype))
    assert bins.tolist() == [0, 2] and torch.isfinite(inverse).all()


def test_adaptive_times_are_unbiased_before_and_after_updates():
    generator = torch.Generator().manual_seed(0)
    times = AdaptiveTimes(n_bins=8, dtype=torch.float64)

    def loss(t):
        return 1 + 50 * t**8

    truth = 1 + 50 / 9
    for rounds in (1, 20):
        for _ in range(rounds):
            u = torch.rand(256, generator=generator, dtype=torch.float64)
            t, inverse, bins, _ = times.sample(u)
            times.update(bins, loss(t))
        estimates = []
        for _ in range(50):
            u = torch.rand(256, generator=generator, dtype=torch.float64)
            t, inverse, *_ = times.sample(u)
            estimates.append((loss(t) * inverse).mean())
        estimates = torch.stack(estimates)
        error = estimates.std() / len(estimates) ** 0.5
        assert (estimates.mean() - truth).abs() < 4 * error + 1e-9
        # 256 strata: far better than the 0.05 of independent times.
        assert error < 5e-3


def test_adaptive_times_go_where_the_loss_is():
    times = AdaptiveTimes(n_bins=4, dtype=torch.float64)
    assert not times.started
    torch.testing.assert_close(times.weights, torch.ones(4).double())
    bins = torch.tensor([0, 0, 1, 3])
    times.update(bins, torch.tensor([3.0, 3.0, 1.0, 0.0], dtype=torch.float64))
    assert times.started
    # The empty bin gets the mean square over the other bins, (9 + 1 + 0) / 3.
    expected = torch.tensor([3.0, 1.0, (10 / 3) ** 0.5, 1e-6], dtype=torch.float64)
    torch.testing.assert_close(times.weights, expected, rtol=1e-6, atol=1e-5)


def test_adaptive_times_forget_old_losses():
    times = AdaptiveTimes(n_bins=1, dtype=torch.float64, memory=0.5)
    zero = torch.zeros(1, dtype=torch.long)
    times.update(zero, torch.tensor([8.0]).double())
    for _ in range(40):
        times.update(zero, torch.tensor([2.0]).double())
    torch.testing.assert_close(times.weights.item(), 2.0)


def test_one_time_falls_into_each_stratum():
    u = torch.rand(64, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    t, *_ = AdaptiveTimes(dtype=torch.float64).sample(u)
    torch.testing.assert_close((64 * t).long(), torch.arange(64))


@pytest.mark.parametrize("n", [1, 4, 10, 225])
def test_rows_that_share_times_are_unbiased_in_equal_parts(n):
    generator = torch.Generator().manual_seed(0)
    times, n_times = AdaptiveTimes(n_bins=8, dtype=torch.float64), -(-n // 4)
    times.update(torch.arange(8), torch.linspace(1, 9, 8).double())
    estimates = []
    for _ in range(400):
        u = torch.rand(n_times, generator=generator, dtype=torch.float64)
        t, inverse, _, density = times.sample(u, n)
        assert len(t) == n and len(t.unique()) == n_times
        torch.testing.assert_close(density.height(t), 1 / inverse)
        estimates.append((t**2 * inverse).mean())
    estimates = torch.stack(estimates)
    error = estimates.std() / len(estimates) ** 0.5
    assert abs(float(estimates.mean()) - 1 / 3) < 5 * float(error)
