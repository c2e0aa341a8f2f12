"""torch's default dtype changes no bit of a network, a draw or a result."""

import numpy as np
import pytest
import torch

from gudlearn.conditioning.guidance import (
    Observation,
    PosteriorDenoiser,
    RepaintStep,
    ReplacementDenoiser,
)
from gudlearn.conditioning.random_masks import RandomMasks
from gudlearn.conditioning.states import ObservedDenoiser, missing_gamma
from gudlearn.diffusion import conversions, likelihood, losses, noise, process, solvers
from gudlearn.diffusion.paths import CosineGamma, VPGamma, WindowedGamma, active_fraction
from gudlearn.networks import MLP, Transformer, UNet
from gudlearn.nn import rotated
from gudlearn.nn.denoiser import Denoiser, LabelledDenoiser, symlog
from gudlearn.nn.randomness import use_generator
from gudlearn.preconditioning.marginals import GaussianMarginals

D = 12
GAMMA_0, GAMMA_1 = np.linspace(-9, -6, D), np.linspace(4, 7, D)
LOG_VARIANCES = np.linspace(-1, 1, D)
PATHS = {
    "linear": lambda: WindowedGamma(GAMMA_0, GAMMA_1, 0.0, 1.0),
    "windowed": lambda: WindowedGamma(GAMMA_0, GAMMA_1, np.linspace(0, 0.6, D), 0.4),
    "cosine": lambda: CosineGamma(GAMMA_0, GAMMA_1, LOG_VARIANCES),
    "vp": lambda: VPGamma(GAMMA_0, GAMMA_1, LOG_VARIANCES),
}
STEPS = [
    solvers.DDIMStep(0.5),
    solvers.HeunStep(),
    solvers.DPMSolverStep(),
    solvers.EulerMaruyamaStep(),
]
either_precision = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=seeded(seed), dtype=dtype)


def uniform(*shape, seed=0, dtype=torch.float32):
    return torch.rand(*shape, generator=seeded(seed), dtype=dtype)


def assert_same_under_both_defaults(function):
    """The tensors and numbers that a function yields have the same bits and dtypes."""
    before, found = torch.get_default_dtype(), []
    for default in (torch.float32, torch.float64):
        torch.set_default_dtype(default)
        try:
            with torch.random.fork_rng(devices=[]):
                torch.random.default_generator.manual_seed(0)
                found.append(list(function()))
        finally:
            torch.set_default_dtype(before)
    for one, other in zip(*found, strict=True):
        if isinstance(one, torch.Tensor):
            assert one.dtype == other.dtype
            assert torch.equal(one, other)
        else:
            assert one == other


def image_network(spec, rotation):
    """A network of images of 3 x 4 pixels, with labels, maps and mirror images."""
    active = torch.arange(1, D)
    cell, pixels = torch.arange(D - 1) % 5, torch.arange(D).view(1, 3, 4) % 7
    return rotated.RotatedNetwork(
        spec.build(3, 1, 16, (3, 4)), rotation, (3, 4, 1), active=active,
        scale=0.5 + uniform(D - 1), offset=normal(D), log_variances=normal(D - 1, seed=1),
        groups=torch.arange(D - 1) % 3, maps=rotated.GammaMaps(cell, pixels), n_condition=16,
        n_classes=2, mirror=True,
    )  # fmt: skip


def orthonormal(n):
    return torch.linalg.qr(normal(n, n)).Q


def rotations():
    one, halves = torch.ones(1, 1, dtype=torch.float32), [np.arange(6), np.arange(6, D)]
    yield rotated.IdentityRotation()
    yield rotated.MatrixRotation(orthonormal(D))
    yield rotated.ChannelRotation([orthonormal(6), orthonormal(6)])
    yield rotated.BlockRotation([rotated.MatrixRotation(orthonormal(6)) for _ in halves], halves)
    yield rotated.FourierRotation((3, 4), one)
    yield rotated.SplitRotation((3, 4), one, [(orthonormal(3), orthonormal(4))])


LABELS = torch.tensor([0, 1, 2, 0, 1])
NETWORKS = {
    "mlp": lambda: MLP(16, 2, dropout=0.3).build(D - 1, 2, n_classes=2),
    "mlp with estimates": lambda: MLP(16, 1, dropout=0.3).build(D - 1, 2, 2, n_estimates=2),
    "unet": lambda: image_network(
        UNet(8, dropout=0.3, attention=(False, True)), rotated.IdentityRotation()
    ),
    "transformer": lambda: image_network(
        Transformer(32, 1, dropout=0.3, gradient_checkpointing=True), rotated.IdentityRotation()
    ),
}


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
def test_networks(name, autocast):
    def results():
        network = NETWORKS[name]()
        yield from network.state_dict().values()
        yield from network.buffers()
        with torch.no_grad():
            for k, weights in enumerate(network.parameters()):
                weights += 0.1 * normal(*weights.shape, seed=k)
        for training, generator in [(True, None), (True, seeded()), (False, None)]:
            use_generator(network.train(training), generator)
            network.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
                out = network(normal(5, 2, D - 1), 3 * normal(5, D - 1, seed=1), LABELS)
            out.float().square().sum().backward()
            yield out
            yield from (p.grad for p in network.parameters() if p.grad is not None)

    assert_same_under_both_defaults(results)


def test_rotations():
    def results():
        for rotation in rotations():
            x = normal(5, D)
            yield from (rotation(x), rotation.back(x), *rotation.buffers())

    assert_same_under_both_defaults(results)


@either_precision
def test_denoisers(dtype):
    def results():
        marginals = GaussianMarginals(normal(D - 1), 0.5 + uniform(D - 1))
        network = MLP(16, 1, dropout=0.0).build(D - 1, 1, n_classes=2)
        torch.nn.init.normal_(network.last.weight, generator=seeded())
        above = torch.full((D - 1,), 4.0, dtype=torch.float32)
        denoiser = Denoiser(network, marginals, missing_above=above).to(dtype=dtype)
        x = normal(5, D - 1, dtype=dtype)
        gamma = 4 * normal(5, D - 1, seed=1, dtype=dtype)
        yield symlog(x)
        for guidance in (1.0, 2.0):
            guided = LabelledDenoiser(denoiser, LABELS, guidance=guidance, null=2)
            yield from (guided(x, gamma), *guided.split(x, gamma))

    assert_same_under_both_defaults(results)


def denoise(x, gamma):
    return torch.sigmoid(-gamma) * torch.sin(x.flip(1))


def split(x, gamma):
    return 0.5 * x, denoise(x, gamma) - 0.5 * x


@either_precision
def test_scales_conversions_and_the_process(dtype):
    def results():
        x, x0 = normal(5, D, dtype=dtype), normal(5, D, seed=1, dtype=dtype)
        gamma = 3 * normal(5, D, seed=2, dtype=dtype)
        yield from (noise.alpha(gamma), noise.sigma(gamma), noise.snr(gamma))
        for source in ("x0", "eps", "v"):
            for target in ("x0", "eps", "v"):
                if target != source:
                    yield getattr(conversions, f"{target}_from_{source}")(x, x0, gamma)
        yield conversions.score_from_x0(x, x0, gamma)
        yield conversions.score_from_eps(x, gamma)
        yield process.perturb(x0, x, gamma)
        yield process.perturb_further(x, x0, gamma, gamma + 1)
        yield process.beta(gamma, x.square())
        yield process.marginal_std(x.square(), gamma)
        yield process.flow_velocity(x, x0, gamma, x.square())

    assert_same_under_both_defaults(results)


@either_precision
@pytest.mark.parametrize("name", PATHS)
def test_paths_losses_and_likelihoods(name, dtype):
    def results():
        path = PATHS[name]().to(dtype=dtype)
        t, x0, eps = uniform(6, dtype=dtype), normal(6, D, dtype=dtype), normal(6, D, dtype=dtype)
        yield from (path(t), *path.gamma_and_rate(t), *path.kinks, active_fraction(path))
        yield losses.nll_integrand(denoise, path, x0, t, eps)
        yield losses.noise_loss(denoise, path, x0, t, eps)
        yield likelihood.nll_correction(split, path, x0, t, eps)
        yield likelihood.gaussian_kl(x0, x0.square(), path(t))
        yield likelihood.flow_times(path, 5)
        marginals = GaussianMarginals(normal(D, dtype=dtype), 0.5 + uniform(D, dtype=dtype))
        yield likelihood.noised_divergence(marginals, path(t), x0, eps)
        for probe in (None, torch.sign(normal(2, 6, D, dtype=dtype))):
            yield likelihood.flow_log_prob(denoise, path, marginals, x0, 3, probe)

    assert_same_under_both_defaults(results)


@either_precision
def test_adaptive_times(dtype):
    def results():
        times = losses.AdaptiveTimes(8, dtype=dtype)
        for k in range(3):
            t, inverse_density, bins, density = times.sample(uniform(16, seed=k, dtype=dtype))
            times.update(bins, t**3)
            yield from (t, inverse_density, bins, times.weights, density.height(t))
        yield losses.AdaptiveTimes().weights

    assert_same_under_both_defaults(results)


@either_precision
@pytest.mark.parametrize("step", STEPS, ids=repr)
def test_solvers(step, dtype):
    def results():
        path, x = PATHS["windowed"]().to(dtype=dtype), normal(5, D, dtype=dtype)
        times = solvers.time_grid(path, 9)
        mean = normal(D, seed=1, dtype=dtype)
        yield times
        yield solvers.start_near(denoise, x, path(times[:1]), mean, mean > 0)
        yield solvers.integrate(
            denoise, path, x, times, step, lambda k: normal(5, D, seed=k, dtype=dtype)
        )

    assert_same_under_both_defaults(results)


@pytest.mark.parametrize("with_missing", [False, True])
def test_random_masks(with_missing):
    def results():
        path = PATHS["linear"]().to(dtype=torch.float32)
        masks = RandomMasks(torch.arange(D), (3, 4), 0.7, normal(D))
        generator, t = seeded(), uniform(40, seed=1)
        density = losses.TimeDensity(uniform(5, seed=2))
        missing = normal(40, D) > 1 if with_missing else None
        for _ in range(3):
            masked = masks.path(path, 40, generator, missing)
            yield from (masked.target, masked.observed, masked.missing, masked.start, masked.width)
            yield from (masked(t), *masked.gamma_and_rate(t), masked.speed(t))
            yield from masked.row_times(t, density, masked.target, uniform(40, D, seed=3))
            conditioned = ObservedDenoiser(denoise, masked, normal(40, D, seed=4))
            yield conditioned(normal(40, D, seed=5), masked(t))
        yield masked.active_fraction
        yield generator.get_state()
        yield missing_gamma(normal(D), normal(D, seed=1))

    assert_same_under_both_defaults(results)


@either_precision
@pytest.mark.parametrize("covariance", ["none", "diagonal", "full"])
@pytest.mark.parametrize("partial", [False, True])
def test_guidance(partial, covariance, dtype):
    def results():
        root = normal(D, D, seed=1, dtype=dtype)
        priors = {"none": None, "diagonal": root[0].square() + 0.1, "full": root @ root.T}
        seen = normal(6, 3, seed=2) > 0 if partial else None
        operator, y = normal(3, D, dtype=dtype), normal(6, 3, seed=3, dtype=dtype)
        observation = Observation(
            operator, y, 0.1 + uniform(3, dtype=dtype), seen, priors[covariance]
        )
        x, gamma = normal(6, D, seed=4, dtype=dtype), normal(1, D, seed=5, dtype=dtype).expand(6, D)
        error = observation.error(x)
        yield from (error, observation.tells, observation.given_state(gamma))
        for noisy in (True, False):
            yield observation.normal_change(error, gamma, noisy)
        yield PosteriorDenoiser(denoise, observation)(x, gamma)
        replaced = ReplacementDenoiser(denoise, observation)
        step = RepaintStep(
            solvers.DDIMStep(0.5), observation.tells, lambda k: normal(6, D, seed=k, dtype=dtype)
        )
        yield step(replaced, x, gamma, gamma - 1, None, normal(6, D, dtype=dtype))[0]

    assert_same_under_both_defaults(results)
