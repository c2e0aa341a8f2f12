"""Solvers on Gaussian data, with a closed-form denoiser and distribution at all noise levels."""

import numpy as np
import pytest
import torch

from gudlearn.diffusion.noise import alpha, sigma
from gudlearn.diffusion.paths import CosineGamma, WindowedGamma
from gudlearn.diffusion.solvers import (
    DDIMStep,
    DPMSolverStep,
    EulerMaruyamaStep,
    HeunStep,
    ddim_step,
    dpm_solver_step,
    euler_maruyama_step,
    heun_step,
    integrate,
    time_grid,
)

STEPS = [
    DDIMStep(),
    DDIMStep(eta=0.5),
    DDIMStep(eta=1.0),
    HeunStep(),
    DPMSolverStep(),
    EulerMaruyamaStep(),
]
DETERMINISTIC = [step for step in STEPS if not step.stochastic]
STOCHASTIC = [step for step in STEPS if step.stochastic]
every_step = pytest.mark.parametrize("step", STEPS, ids=repr)

VARIANCES = np.array([20.0, 3.0, 0.5, 0.02])
DIM = len(VARIANCES)
GAMMA_0 = np.log(VARIANCES) - 9
GAMMA_1 = np.log(VARIANCES) + 4
PATHS = {
    "linear": WindowedGamma(GAMMA_0, GAMMA_1, 0.0, 1.0),
    "soft": WindowedGamma(GAMMA_0, GAMMA_1, [0.51, 0.37, 0.24, 0.0], 0.49),
    "sequential": WindowedGamma(GAMMA_0, GAMMA_1, [0.7, 0.4, 0.4, 0.0], [0.3, 0.3, 0.3, 0.4]),
}


class GaussianData:
    """Correlated Gaussian data: the exact denoiser, and the covariance of x at any noise level."""

    def __init__(self):
        rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(DIM, DIM)))[0]
        correlated = rotation @ np.diag([2.5, 1.0, 0.4, 0.1]) @ rotation.T
        self.covariance = torch.tensor(np.sqrt(VARIANCES)[:, None] * correlated * VARIANCES**0.5)

    def noisy_covariance(self, gamma):
        signal = alpha(gamma)
        return signal[:, None] * self.covariance * signal + torch.diag(sigma(gamma) ** 2)

    def denoise(self, x, gamma):
        cross = alpha(gamma[0])[:, None] * self.covariance
        return x @ torch.linalg.solve(self.noisy_covariance(gamma[0]), cross)

    def transported_covariance(self, path, size, step):
        """Covariance at t = 0 of draws of the exact prior; exact because every step is linear."""
        covariance = self.noisy_covariance(path.gamma_1)
        if not step.stochastic:
            rows = torch.linalg.cholesky(covariance).T.contiguous()
            rows = integrate(self.denoise, path, rows, time_grid(path, size), step)
            return rows.T @ rows
        levels = path(time_grid(path, size))[:, None].expand(-1, DIM, DIM)
        unit = torch.eye(DIM, dtype=torch.float64)
        for gamma_t, gamma_s in zip(levels[:-1], levels[1:], strict=True):
            drift, _ = step(self.denoise, unit, gamma_t, gamma_s, None, 0 * unit)
            diffusion, _ = step(self.denoise, 0 * unit, gamma_t, gamma_s, None, unit)
            covariance = drift.T @ covariance @ drift + diffusion.T @ diffusion
        return covariance

    def error(self, path, size, step):
        """Distance to the covariance alpha^2 C + sigma^2 at t = 0, after whitening by it."""
        whitener = torch.linalg.cholesky(self.noisy_covariance(path.gamma_0)).inverse()
        covariance = self.transported_covariance(path, size, step)
        return float((whitener @ covariance @ whitener.T - torch.eye(DIM).double()).norm())


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS.keys())
@every_step
def test_samples_converge_to_the_data_distribution_at_the_declared_order(step, path):
    sizes = [64, 128, 256]
    data = GaussianData()
    errors = [data.error(path, size, step) for size in sizes]
    order = -np.polyfit(np.log(sizes), np.log(errors), 1)[0]
    # The slope is not yet constant at these sizes, by about a tenth.
    assert abs(order - step.order) < 0.15
    assert errors[-1] < (0.2 if step.order == 1 else 0.003)


def test_second_order_survives_kinks_between_the_nodes():
    data, path = GaussianData(), PATHS["soft"]
    off = WindowedGamma(path.gamma_0, path.gamma_1, path.start, 0.49)
    off.kinks = ()
    for step in (HeunStep(), DPMSolverStep()):
        assert data.error(off, 256, step) < 4 * data.error(path, 256, step)


@pytest.mark.parametrize("step", DETERMINISTIC, ids=repr)
def test_deterministic_steps_are_exact_for_a_known_clean_state(step):
    x0, eps = torch.randn(2, 6, DIM, generator=generator(), dtype=torch.float64)
    path = PATHS["soft"]
    x = alpha(path.gamma_1) * x0 + sigma(path.gamma_1) * eps
    end = integrate(lambda x, gamma: x0, path, x, time_grid(path, 3), step)
    torch.testing.assert_close(end, alpha(path.gamma_0) * x0 + sigma(path.gamma_0) * eps)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@every_step
def test_a_component_with_a_fixed_noise_level_is_unchanged_to_the_bit(step, dtype):
    x, noise, gamma_t = torch.randn(3, 50, DIM, generator=generator(), dtype=dtype)
    gamma_t = 8 * gamma_t
    gamma_s = gamma_t - torch.tensor([0.0, 1.0, 0.0, 2.0], dtype=dtype)
    memory = None
    for _ in range(2):
        moved, memory = step(lambda x, gamma: x.sin(), x, gamma_t, gamma_s, memory, noise)
        assert torch.equal(moved[:, [0, 2]], x[:, [0, 2]])
        assert not torch.isclose(moved[:, [1, 3]], x[:, [1, 3]]).all(dim=0).any()
        assert moved.isfinite().all()


@every_step
def test_float32_is_accurate(step):
    data = GaussianData()
    exact = data.covariance.float()
    data32 = GaussianData()
    data32.covariance = exact
    # A smaller range of gamma, because the reference denoiser inverts a covariance.
    path = WindowedGamma(GAMMA_0 + 3, GAMMA_1, [0.5, 0.4, 0.2, 0.0], 0.5)
    draws = torch.randn(41, 8, DIM, generator=generator(), dtype=torch.float64)
    times = time_grid(path, 40)
    end = integrate(data.denoise, path, draws[40], times, step, lambda k: draws[k])
    end32 = integrate(
        data32.denoise, path, draws[40].float(), times, step, lambda k: draws[k].float()
    )
    torch.testing.assert_close(end32.double(), end, rtol=0, atol=3e-5 * float(end.abs().max()))


def test_ancestral_steps_draw_from_the_posterior_of_the_forward_process():
    # q(x_s | x_t, x0) by Gaussian conditioning: x_t = (alpha_t/alpha_s) x_s + noise.
    x, x0, noise = torch.randn(3, 9, DIM, generator=generator(), dtype=torch.float64)
    gamma_t = torch.linspace(-6, 9, 9 * DIM, dtype=torch.float64).reshape(9, DIM)
    gamma_s = gamma_t - torch.linspace(0.01, 9, DIM, dtype=torch.float64)
    ratio = alpha(gamma_t) / alpha(gamma_s)
    added = sigma(gamma_t) ** 2 - ratio**2 * sigma(gamma_s) ** 2
    variance = 1 / (1 / sigma(gamma_s) ** 2 + ratio**2 / added)
    mean = variance * (alpha(gamma_s) * x0 / sigma(gamma_s) ** 2 + ratio * x / added)
    moved = ddim_step(x, x0, gamma_t, gamma_s, 1.0, noise)
    torch.testing.assert_close(moved, mean + variance.sqrt() * noise)


@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
def test_ddim_has_the_right_noise_variance_for_every_eta(eta):
    gamma_t, gamma_s = torch.tensor([[2.0, -3.0]]).double(), torch.tensor([[-1.0, -3.5]]).double()
    zero, one = torch.zeros_like(gamma_t), torch.ones_like(gamma_t)
    carried = ddim_step(sigma(gamma_t), zero, gamma_t, gamma_s, eta, zero)
    drawn = ddim_step(zero, zero, gamma_t, gamma_s, eta, one)
    torch.testing.assert_close(carried**2 + drawn**2, sigma(gamma_s) ** 2)
    # A noiseless alpha_t x0 is mapped to alpha_s x0.
    moved = ddim_step(alpha(gamma_t), one, gamma_t, gamma_s, eta, zero)
    torch.testing.assert_close(moved, alpha(gamma_s))


@pytest.mark.parametrize("step", [1e-6, 1e-3, 0.0199, 0.0201, 1.0, 8.0])
def test_heun_solves_the_flow_exactly_for_x0_linear_in_lambda(step):
    # d(x/sigma)/dlambda = exp(lambda) x0(lambda), by Gauss-Legendre quadrature.
    nodes, weights = map(torch.tensor, np.polynomial.legendre.leggauss(40))
    x, x0_t, x0_s, gamma_t = torch.randn(4, 5, 1, generator=generator(), dtype=torch.float64)
    gamma_s = gamma_t - 2 * step
    fraction = (nodes + 1) / 2
    integrand = (-gamma_t / 2 + step * fraction).exp() * torch.lerp(x0_t, x0_s, fraction)
    integral = (integrand * weights).sum(dim=1, keepdim=True) * step / 2
    expected = sigma(gamma_s) * (x / sigma(gamma_t) + integral)
    moved = heun_step(x, x0_t, x0_s, gamma_t, gamma_s)
    torch.testing.assert_close(moved, expected, rtol=1e-12, atol=1e-12)
    correction = moved - ddim_step(x, x0_t, gamma_t, gamma_s)
    # The second-order term alone, which the first-order step would hide.
    exact = expected - ddim_step(x, x0_t, gamma_t, gamma_s)
    torch.testing.assert_close(correction, exact, rtol=1e-9, atol=1e-15)


def test_dpm_solver_extrapolates_active_components_only_as_published():
    x, x0, x0_previous, gamma_t = torch.randn(4, 7, 4, generator=generator(), dtype=torch.float64)
    step = torch.tensor([1.0, 1.0, 1.0, 0.0], dtype=torch.float64)
    step_previous = torch.tensor([0.8, 0.0, 0.1, 0.0], dtype=torch.float64)
    gamma_s = gamma_t - step
    moved = dpm_solver_step(x, x0, x0_previous, gamma_t, gamma_s, step_previous.expand_as(x))
    ratio = 0.8
    blend = (1 + 1 / (2 * ratio)) * x0 - x0_previous / (2 * ratio)
    published = sigma(gamma_s) / sigma(gamma_t) * x
    published = published - alpha(gamma_s) * torch.expm1((gamma_s - gamma_t) / 2) * blend
    torch.testing.assert_close(moved[:, 0], published[:, 0])
    # Newly active, active since late in the previous step, and fixed.
    first_order = ddim_step(x, x0, gamma_t, gamma_s)
    assert torch.equal(moved[:, 1:], first_order[:, 1:])


def test_euler_maruyama_is_the_reverse_sde_with_frozen_coefficients():
    x, x0, noise, gamma_t = torch.randn(4, 7, DIM, generator=generator(), dtype=torch.float64)
    path = PATHS["linear"]
    t, dt = torch.full((7,), 0.6, dtype=torch.float64), 0.02
    gamma, rate = path.gamma_and_rate(t)
    frozen = sigma(gamma) ** 2 * rate
    score = -(x - alpha(gamma) * x0) / sigma(gamma) ** 2
    expected = x + dt * (frozen * x / 2 + frozen * score) + (dt * frozen).sqrt() * noise
    torch.testing.assert_close(euler_maruyama_step(x, x0, gamma, path(t - dt), noise), expected)


@every_step
def test_stochastic_steps_alone_draw_noise_once_a_step(step):
    draws = []

    def noise(k):
        draws.append(k)
        return torch.zeros(3, DIM, dtype=torch.float64)

    path = PATHS["linear"]
    x = torch.ones(3, DIM, dtype=torch.float64)
    integrate(lambda x, gamma: x, path, x, time_grid(path, 5), step, noise)
    assert draws == ([0, 1, 2, 3, 4] if step.stochastic else [])


@every_step
def test_the_denoiser_sees_full_gammas_as_often_as_declared(step):
    seen = []

    def denoise(x, gamma):
        assert gamma.shape == x.shape
        seen.append(gamma[0])
        return 0.5 * x

    path = PATHS["soft"]
    x = torch.ones(3, DIM, dtype=torch.float64)
    times = time_grid(path, 12)
    integrate(denoise, path, x, times, step, lambda k: torch.zeros_like(x))
    assert len(seen) == 12 * step.evaluations
    torch.testing.assert_close(torch.stack(seen[:: step.evaluations]), path(times[:-1]))


@pytest.mark.parametrize("step", STOCHASTIC, ids=repr)
def test_stochastic_steps_without_noise_are_refused(step):
    path = PATHS["linear"]
    with pytest.raises(ValueError, match="needs noise"):
        integrate(lambda x, gamma: x, path, torch.ones(1, DIM), time_grid(path, 2), step)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 20, 50, 500])
@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS.keys())
def test_grids_decrease_from_one_to_zero_in_the_requested_steps(path, size):
    times = time_grid(path, size)
    assert len(times) == size + 1 and times.dtype == torch.float64
    assert times[0] == 1 and times[-1] == 0
    assert (times.diff() < 0).all()


def test_grids_have_nodes_on_kinks_and_even_steps_between():
    path = PATHS["sequential"]
    times = time_grid(path, 20)
    assert set(path.kinks) <= set(times.tolist())
    torch.testing.assert_close(-times.diff(), torch.full((20,), 0.05, dtype=torch.float64))
    kinks = torch.tensor(path.kinks, dtype=torch.float64)
    gamma = path(kinks)
    at_end = (gamma == path.gamma_0) | (gamma == path.gamma_1)
    assert at_end.all()
    assert torch.equal(time_grid(PATHS["linear"], 4), torch.linspace(1, 0, 5).double())


def test_grids_with_many_or_close_kinks_keep_the_requested_steps():
    start = np.linspace(0.0, 0.9, 64)
    many = WindowedGamma(np.full(64, -5.0), np.full(64, 5.0), start, 0.0953)
    assert len(many.kinks) > 100
    torch.testing.assert_close(time_grid(many, 20), torch.linspace(1, 0, 21).double())
    assert set(many.kinks) <= set(time_grid(many, 2000).tolist())
    close = WindowedGamma([-5.0] * 3, [5.0] * 3, [0.0, 0.001, 0.5], [0.5, 0.498, 0.499])
    times = time_grid(close, 10)
    assert set(times.tolist()) & set(close.kinks) == {0.499}
    assert (-times.diff()).max() < 0.11


def test_a_path_in_float32_has_its_nodes_on_its_own_kinks():
    path = PATHS["sequential"].to(dtype=torch.float32)
    times = time_grid(path, 20)
    gamma = path(times)
    assert times.dtype == torch.float32
    # Components are active in the steps of their windows and in no other.
    n_active = (gamma.diff(dim=0) != 0).sum(dim=0)
    assert n_active.tolist() == [6, 6, 6, 8]


def test_paths_that_are_always_active_are_sampled_too():
    variances = torch.tensor(VARIANCES)
    path = CosineGamma(GAMMA_0, GAMMA_1, np.log(VARIANCES))
    width = (alpha(path.gamma_1) ** 2 * variances + sigma(path.gamma_1) ** 2).sqrt()

    def denoise(x, gamma):
        marginal = alpha(gamma) ** 2 * variances + sigma(gamma) ** 2
        return alpha(gamma) * variances * x / marginal

    end = integrate(denoise, path, width[None], time_grid(path, 200), DPMSolverStep())
    expected = (alpha(path.gamma_0) ** 2 * variances + sigma(path.gamma_0) ** 2).sqrt()
    torch.testing.assert_close(end[0], expected, rtol=2e-3, atol=0)


def generator():
    return torch.Generator().manual_seed(0)
