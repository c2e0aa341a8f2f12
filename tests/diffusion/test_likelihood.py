"""Bound and flow against closed forms, for Gaussians, mixtures and inexact denoisers."""

import pytest
import torch

from gudlearn.diffusion.likelihood import (
    flow_log_prob,
    flow_times,
    gaussian_kl,
    nll_correction,
    noised_divergence,
)
from gudlearn.diffusion.losses import nll_integrand
from gudlearn.diffusion.noise import alpha
from gudlearn.diffusion.paths import CosineGamma, VPGamma, WindowedGamma
from gudlearn.preconditioning.marginals import GaussianMarginals, MixtureMarginals

VARIANCES = torch.tensor([0.1, 1.0, 20.0], dtype=torch.float64)
GAMMA_0 = VARIANCES.log() - 8
GAMMA_1 = VARIANCES.log() + 6
PATHS = {
    "linear": WindowedGamma(GAMMA_0, GAMMA_1, 0.0, 1.0),
    "soft": WindowedGamma(GAMMA_0, GAMMA_1, [0.0, 0.2, 0.4], [0.6, 0.6, 0.6]),
    "sequential": WindowedGamma(GAMMA_0, GAMMA_1, [0.0, 1 / 3, 2 / 3], [1 / 3] * 3),
    "cosine": CosineGamma(GAMMA_0, GAMMA_1, VARIANCES.log()),
    "vp": VPGamma(GAMMA_0, GAMMA_1, VARIANCES.log()),
}


def normals(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def uniforms(*shape, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(*shape, generator=generator, dtype=torch.float64)


def gaussian():
    return GaussianMarginals(torch.tensor([0.0, 0.3, -2.0]).double(), VARIANCES)


def mixture():
    std = VARIANCES.sqrt()[:, None]
    return MixtureMarginals(
        torch.tensor([[0.3, 0.7], [0.5, 0.5], [0.9, 0.1]]).double(),
        std * torch.tensor([[-1.2, 0.5], [-0.9, 0.9], [0.0, 2.0]]).double(),
        std**2 * torch.tensor([[0.2, 0.4], [0.15, 0.15], [0.5, 0.1]]).double(),
    )


def noisy_log_density(marginals, x0):
    """Log-density of the data plus noise of variance exp(gamma(0)), as the flow has it."""
    a = alpha(GAMMA_0)
    return (marginals.log_prob(a * x0, GAMMA_0.expand_as(x0)) + a.log()).sum(1)


@pytest.mark.parametrize("name", PATHS)
@pytest.mark.parametrize("make", [gaussian, mixture], ids=["gaussian", "mixture"])
def test_flow_density_is_the_density_of_the_noisy_data(make, name):
    marginals = make()
    x0 = normals(8, 3) * VARIANCES.sqrt()
    found = flow_log_prob(
        lambda x, gamma: marginals.posterior(x, gamma)[0], PATHS[name], marginals, x0, 40
    )
    # The steps are a quarter of a nat, or half a nat on sequential paths.
    torch.testing.assert_close(found, noisy_log_density(marginals, x0), rtol=0, atol=2e-3)


@pytest.mark.parametrize("name", ["soft", "sequential"])
def test_flow_density_in_float32_is_accurate_at_kinks(name):
    exact = GaussianMarginals(torch.zeros(3).double(), VARIANCES)
    x0 = normals(8, 3) * VARIANCES.sqrt()
    found = []
    for dtype in (torch.float32, torch.float64):
        path, marginals = PATHS[name].to(dtype=dtype), exact.to(dtype=dtype)
        found.append(
            flow_log_prob(
                lambda x, g, m=marginals: m.posterior(x, g)[0], path, marginals, x0.to(dtype), 40
            )
        )
    torch.testing.assert_close(found[0].double(), found[1], rtol=0, atol=2e-4)


def test_flow_density_converges_with_order_four():
    marginals = mixture()
    x0 = normals(5, 3) * VARIANCES.sqrt()
    truth = noisy_log_density(marginals, x0)
    errors = [
        (
            flow_log_prob(
                lambda x, g: marginals.posterior(x, g)[0], PATHS["linear"], marginals, x0, n
            )
            - truth
        )
        .abs()
        .max()
        for n in (30, 60)
    ]
    # 2^4, reduced by terms of higher order.
    assert errors[0] / errors[1] > 10


def correlated_denoiser():
    """The exact denoiser of a full covariance, and its matrix, in standardised components."""
    root = torch.tensor([[1.0, 0.0, 0.0], [0.8, 0.6, 0.0], [-0.5, 0.4, 0.75]]).double()
    covariance = root @ root.T

    def denoise(x, gamma):
        a, s2 = alpha(gamma), torch.sigmoid(gamma)
        noisy = a[:, :, None] * covariance * a[:, None, :] + torch.diag_embed(s2)
        return torch.linalg.solve(noisy, x[..., None])[..., 0] * a @ covariance

    return denoise, covariance


def correlated_path(start, width):
    return WindowedGamma([-8.0] * 3, [8.0] * 3, start, width)


@pytest.mark.parametrize("start, width", [(0.0, 1.0), ([0.0, 0.3, 0.5], [0.5, 0.5, 0.5])])
def test_flow_density_of_correlated_data_holds_on_every_path(start, width):
    denoise, covariance = correlated_denoiser()
    path = correlated_path(start, width)
    x0 = normals(10, 3)
    prior = GaussianMarginals(torch.zeros(3).double(), covariance.diagonal())
    found = flow_log_prob(denoise, path, prior, x0, 60)
    noisy = covariance + torch.eye(3).double() * torch.exp(torch.tensor(-8.0).double())
    distribution = torch.distributions.MultivariateNormal(torch.zeros(3).double(), noisy)
    # At gamma = 8 a correlation of 0.8 changes the prior's log-density by about exp(-8) nats.
    torch.testing.assert_close(found, distribution.log_prob(x0), rtol=0, atol=5e-3)


def test_hutchinson_probes_average_to_the_exact_trace():
    denoise, covariance = correlated_denoiser()
    prior = GaussianMarginals(torch.zeros(3).double(), covariance.diagonal())
    path = correlated_path([0.0, 0.2, 0.4], [0.6, 0.6, 0.6])
    x0 = normals(2, 3)
    exact = flow_log_prob(denoise, path, prior, x0, 16)
    # For a linear field the mean over all eight sign vectors is the trace; each one is not.
    signs = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0]).double()] * 3)
    probe = signs[:, None].expand(8, 2, 3)
    mean = flow_log_prob(denoise, path, prior, x0, 16, probe)
    torch.testing.assert_close(mean, exact)
    single = flow_log_prob(denoise, path, prior, x0, 16, probe[1:2])
    assert (single - exact).abs().min() > 1e-3
    # Each row has its own probes, in the order of the rows.
    mixed = torch.stack([signs[[1, 2]], signs[[5, 1]]])
    rows = flow_log_prob(denoise, path, prior, x0, 16, mixed)
    for i in range(2):
        alone = flow_log_prob(denoise, path, prior, x0[i : i + 1], 16, mixed[:, i : i + 1])
        torch.testing.assert_close(rows[i], alone[0])


@pytest.mark.parametrize("name", PATHS)
def test_flow_times_meet_kinks_and_keep_steps_short(name):
    path = PATHS[name]
    times = flow_times(path, 20)
    assert times[0] == 0 and times[-1] == 1 and (times.diff() > 0).all()
    assert set(path.kinks) <= set(times.tolist())
    fractions = path(times).diff(dim=0) / (path.gamma_1 - path.gamma_0)
    # At most twice 1/20, plus the interpolation error of curved paths.
    assert fractions.max() < 0.105
    assert len(times) <= 21 * 3 + len(path.kinks)


def test_flow_times_cross_an_interval_without_active_components():
    path = WindowedGamma([-5.0, -5.0], [5.0, 5.0], [0.1, 0.6], [0.2, 0.2])
    times = flow_times(path, 10)
    assert (times.diff() > 0).all()
    assert {0.0, 0.1, 0.3, 0.6, 0.8, 1.0} == {
        round(t, 9) for t in times.tolist() if round(t, 9) in (0, 0.1, 0.3, 0.6, 0.8, 1)
    }
    prior = GaussianMarginals(torch.zeros(2).double(), torch.ones(2).double())
    x0 = normals(5, 2)
    found = flow_log_prob(lambda x, g: prior.posterior(x, g)[0], path, prior, x0, 60)
    noisy = torch.distributions.Normal(0.0, (1 + torch.tensor(-5.0).double().exp()).sqrt())
    torch.testing.assert_close(found, noisy.log_prob(x0).sum(1), rtol=0, atol=1e-3)


def test_noised_divergence_has_the_closed_form_mean():
    marginals = GaussianMarginals(torch.zeros(3).double(), VARIANCES)
    x0 = torch.tensor([[0.2, -1.0, 7.0]]).double()
    # The draw is quadratic in the noise, so its mean is that over -1 and +1.
    for gamma in (GAMMA_0, GAMMA_1, torch.zeros(3).double()):
        ones = torch.ones(1, 3)
        found = sum(noised_divergence(marginals, gamma[None], x0, s * ones) for s in (-1, 1))
        expected = gaussian_kl(x0, VARIANCES, gamma)
        torch.testing.assert_close(found / 2, expected)
        q = torch.distributions.Normal(alpha(gamma) * x0, torch.sigmoid(gamma).sqrt())
        p = torch.distributions.Normal(
            0.0, (alpha(gamma) ** 2 * VARIANCES + torch.sigmoid(gamma)).sqrt()
        )
        torch.testing.assert_close(expected, torch.distributions.kl_divergence(q, p))


@pytest.mark.parametrize("name", PATHS)
@pytest.mark.parametrize("make", [gaussian, mixture], ids=["gaussian", "mixture"])
def test_bound_by_the_control_variate_is_the_plain_bound(make, name):
    # The denoiser is wrong and mixes components; both bounds estimate the same number.
    marginals, path = make(), PATHS[name]
    std = VARIANCES.sqrt()

    def split(x, gamma):
        mu, variance = marginals.posterior(x, gamma)
        return mu, 0.4 * variance.sqrt() * torch.sin(x.flip(1) / std + 0.1 * gamma)

    n = 40000
    x0 = (torch.tensor([[0.3, -0.8, 1.1]]).double() * std).expand(n, 3)
    t = (torch.arange(n) + uniforms(n)) / n
    eps = normals(n, 3, seed=2)
    plain = nll_integrand(lambda x, g: sum(split(x, g)), path, x0, t, eps)
    plain = plain + noised_divergence(marginals, path(t.new_ones(1)), x0, normals(n, 3, seed=3))
    controlled = nll_correction(split, path, x0, t, eps)
    at_gamma_0 = noised_divergence(marginals, path(t.new_zeros(1)), x0, normals(n, 3, seed=4))
    controlled = controlled + at_gamma_0
    difference = (plain - controlled).mean(0)
    error = (plain.var(0) / n + controlled.var(0) / n).sqrt()
    # Four standard errors, which are about 0.01 nats on the linear path.
    assert (difference.abs() < 4 * error).all()
    assert error.max() < 0.15
    assert nll_correction(split, path, x0, t, eps).mean(0).abs().max() > 0.05


def test_a_zero_correction_adds_zero():
    marginals, path = mixture(), PATHS["soft"]
    x0, eps, t = normals(10, 3), normals(10, 3, seed=1), uniforms(10)

    def split(x, gamma):
        return marginals.posterior(x, gamma)[0], torch.zeros_like(x)

    assert not nll_correction(split, path, x0, t, eps).any()


def test_bound_of_an_exact_denoiser_is_the_same_on_every_path():
    # On correlated data the bound of a single row depends on the path, its mean does not.
    denoise, covariance = correlated_denoiser()
    marginals = GaussianMarginals(torch.zeros(3).double(), covariance.diagonal())
    n = 60000
    root = torch.linalg.cholesky(covariance)
    x0, eps = normals(n, 3) @ root.T, normals(n, 3, seed=5)
    t = (torch.arange(n) + uniforms(n)) / n
    t = t[torch.randperm(n, generator=torch.Generator().manual_seed(6))]
    bounds, errors, splits = [], [], []
    for start, width in [(0.0, 1.0), ([0.0, 0.3, 0.5], 0.5), ([2 / 3, 1 / 3, 0.0], [1 / 3] * 3)]:
        path = correlated_path(start, width)

        def split(x, gamma):
            mu, _ = marginals.posterior(x, gamma)
            return mu, denoise(x, gamma) - mu

        terms = nll_correction(split, path, x0, t, eps)
        bounds.append(terms.sum(1).mean())
        errors.append(terms.sum(1).std() / n**0.5)
        splits.append(terms.mean(0))
    # Correlations change the nll by 1/2 log det of the correlation matrix, at noise exp(-8).
    noisy = covariance + torch.eye(3).double() * torch.tensor(-8.0).double().exp()
    expected = 0.5 * (torch.logdet(noisy) - noisy.diagonal().log().sum())
    for bound, error in zip(bounds, errors, strict=True):
        assert (bound - expected).abs() < 4 * error
        assert error < 0.03
    # The split depends on the path: on a sequential one the first group gains nothing.
    assert splits[2][0].abs() < 0.02 < splits[0][0].abs()
