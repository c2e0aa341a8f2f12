"""An untrained denoiser is the exact posterior mean of its marginals."""

import pytest
import torch
from torch import nn

from gudlearn.networks import MLP, build_network
from gudlearn.nn.denoiser import Denoiser, symlog
from gudlearn.preconditioning.marginals import (
    GaussianMarginals,
    MixtureMarginals,
    PointMassMarginals,
)

MEANS = torch.tensor([[-1.0, 2.0], [0.0, 0.5], [10.0, 90.0]])
WEIGHTS = torch.tensor([[0.4, 0.6], [0.9, 0.1], [0.5, 0.5]])
MARGINALS = {
    "gaussian": GaussianMarginals(MEANS[:, 0], torch.tensor([0.5, 1.0, 400.0])),
    "mixture": MixtureMarginals(WEIGHTS, MEANS, 0.1 + 0 * MEANS),
    "point masses": PointMassMarginals(WEIGHTS, MEANS),
}


class NonzeroNetwork(nn.Module):
    """A custom network with nonzero initial output."""

    def __init__(self, n_components, n_channels):
        super().__init__()
        self.linear = nn.Linear(n_channels * n_components, n_components)

    def forward(self, inputs, gamma):
        return 5 + self.linear(inputs.flatten(1)) + gamma


class Recorder(nn.Module):
    """A network that records its inputs."""

    def forward(self, inputs, gamma):
        self.inputs, self.gamma = inputs, gamma
        return torch.ones_like(gamma)


def states(marginals, seed=0, n=50):
    generator = torch.Generator().manual_seed(seed)
    u = torch.rand(n, 3, generator=generator)
    eps, gamma = torch.randn(2, n, 3, generator=generator)
    gamma = 5 * gamma - 2
    return marginals.draw(u, eps, gamma), gamma


@pytest.mark.parametrize("name", MARGINALS)
@pytest.mark.parametrize("spec", [MLP(width=8, n_blocks=1), NonzeroNetwork], ids=["mlp", "custom"])
def test_untrained_denoiser_is_the_posterior_mean_exactly(name, spec):
    marginals = MARGINALS[name]
    network = build_network(spec, 3, Denoiser.n_channels(marginals))
    x, gamma = states(marginals)
    mu, correction = Denoiser(network, marginals).split(x, gamma)
    assert not correction.any()
    assert torch.equal(mu, marginals.posterior(x, gamma)[0])
    assert torch.equal(Denoiser(network, marginals)(x, gamma), mu)


@pytest.mark.parametrize("name", MARGINALS)
def test_a_network_wrapped_to_start_at_zero_has_gradients(name):
    marginals = MARGINALS[name]
    network = build_network(NonzeroNetwork, 3, Denoiser.n_channels(marginals))
    x, gamma = states(marginals)
    Denoiser(network, marginals)(x, gamma).sum().backward()
    assert any(p.grad is not None and p.grad.any() for p in network.parameters())


@pytest.mark.parametrize("name", MARGINALS)
def test_correction_is_measured_in_posterior_standard_deviations(name):
    marginals, network = MARGINALS[name], Recorder()
    x, gamma = states(marginals)
    mu, correction = Denoiser(network, marginals).split(x, gamma)
    _, variance = marginals.posterior(x, gamma)
    # The floor, 1e-5 of the component's standard deviation, keeps the gradient finite.
    floor = 1e-5 * marginals.variance.sqrt()
    torch.testing.assert_close(correction**2, variance + floor**2, rtol=1e-4, atol=0)
    assert torch.equal(network.gamma, gamma)


@pytest.mark.parametrize("name", MARGINALS)
def test_inputs_have_unit_size_at_most_at_every_scale(name):
    marginals, network = MARGINALS[name], Recorder()
    x, gamma = states(marginals, n=500)
    Denoiser(network, marginals)(x, gamma)
    assert network.inputs.shape == (500, Denoiser.n_channels(marginals), 3)
    assert torch.isfinite(network.inputs).all()
    # Standardised and squashed by symlog, or a logarithm divided by four.
    assert network.inputs.abs().max() < 4
    assert 0.2 < network.inputs[:, 0].std() < 1.2


@pytest.mark.parametrize("name", MARGINALS)
def test_the_state_is_scaled_by_its_signal_fraction(name):
    marginals, network = MARGINALS[name], Recorder()
    for log_snr in (8.0, 0.0, -7.0):
        gamma = (marginals.variance.log() - log_snr).expand(2000, -1)
        generator = torch.Generator().manual_seed(0)
        u = torch.rand(2000, 3, generator=generator)
        x = marginals.draw(u, torch.randn(2000, 3, generator=generator), gamma)
        Denoiser(network, marginals)(x, gamma)
        a = torch.sigmoid(-gamma).sqrt()
        state = (x - a * marginals.mean) / marginals_std(marginals, gamma)
        expected = torch.sigmoid(torch.tensor(log_snr)).sqrt() * symlog(state)
        torch.testing.assert_close(network.inputs[:, 0], expected, rtol=1e-3, atol=1e-4)


def marginals_std(marginals, gamma):
    return (torch.sigmoid(-gamma) * marginals.variance + torch.sigmoid(gamma)).sqrt()


@pytest.mark.parametrize("name", MARGINALS)
def test_missing_components_have_no_effect(name):
    marginals = MARGINALS[name]
    network = MLP(width=8, n_blocks=1).build(3, Denoiser.n_channels(marginals))
    nn.init.normal_(network.last.weight)
    x, gamma = states(marginals)
    above = gamma.amax(0) + 1
    gamma[::2, 1] = above[1] + 1
    other = x.clone()
    other[::2, 1] = 10 * torch.randn(len(x) // 2, generator=torch.Generator().manual_seed(1))
    denoiser = Denoiser(network, marginals, missing_above=above)
    assert torch.equal(denoiser(x, gamma), denoiser(other, gamma))
    assert not torch.equal(Denoiser(network, marginals)(x, gamma), denoiser(x, gamma))
    other[:, 0] += 1
    assert (denoiser(x, gamma) != denoiser(other, gamma)).any(1).all()


def test_inputs_do_not_depend_on_the_units():
    small, large = Recorder(), Recorder()
    marginals = MARGINALS["mixture"]
    scaled = MixtureMarginals(WEIGHTS, 1000 * MEANS, 1e6 * (0.1 + 0 * MEANS))
    x, gamma = states(marginals)
    # In units a thousand times smaller the same noise has gamma + 2 log 1000.
    shift = 2 * torch.tensor(1000.0).log()
    a, a_scaled = (torch.sigmoid(-g).sqrt() for g in (gamma, gamma + shift))
    Denoiser(small, marginals)(x, gamma)
    Denoiser(large, scaled)(x / a * 1000 * a_scaled, gamma + shift)
    torch.testing.assert_close(small.inputs, large.inputs, rtol=1e-3, atol=1e-3)


def test_outliers_are_squashed():
    network = Recorder()
    for marginals in MARGINALS.values():
        x = torch.tensor([[1e6, -1e6, 1e9]])
        out = Denoiser(network, marginals)(x, torch.full((1, 3), -5.0))
        assert torch.isfinite(out).all()
        # About log(1e6), where the standardised value would be 1e6.
        assert network.inputs.abs().max() < 25


def test_symlog_is_odd_and_the_identity_near_zero():
    x = torch.tensor([-1e3, -0.5, 0.0, 1e-4, 0.5, 1e3], dtype=torch.float64)
    torch.testing.assert_close(symlog(-x), -symlog(x))
    torch.testing.assert_close(symlog(x[3]), x[3], rtol=1e-4, atol=0)
    torch.testing.assert_close(symlog(x).abs(), torch.log(1 + x.abs()))


@pytest.mark.parametrize("name", MARGINALS)
def test_to_converts_all_parts_of_the_denoiser(name):
    marginals = MARGINALS[name]
    denoiser = Denoiser(
        MLP(width=8, n_blocks=1).build(3, Denoiser.n_channels(marginals)), marginals
    )
    x, gamma = states(marginals)
    single = denoiser(x, gamma)
    double = denoiser.to(dtype=torch.float64)(x.double(), gamma.double())
    assert double.dtype == torch.float64 and single.dtype == torch.float32
    torch.testing.assert_close(single.double(), double, rtol=1e-3, atol=2e-2)
