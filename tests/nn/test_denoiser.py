"""A denoiser that has learned nothing is the exact posterior of its marginals."""

import pytest
import torch
from torch import nn

from gudlearn.networks import MLP, build_network
from gudlearn.nn.denoiser import Denoiser, symlog
from gudlearn.preconditioning.marginals import AtomMarginals, GaussianMarginals, MixtureMarginals

MEANS = torch.tensor([[-1.0, 2.0], [0.0, 0.5], [10.0, 90.0]])
WEIGHTS = torch.tensor([[0.4, 0.6], [0.9, 0.1], [0.5, 0.5]])
MARGINALS = {
    "gaussian": GaussianMarginals(MEANS[:, 0], torch.tensor([0.5, 1.0, 400.0])),
    "mixture": MixtureMarginals(WEIGHTS, MEANS, 0.1 + 0 * MEANS),
    "atoms": AtomMarginals(WEIGHTS, MEANS),
}


class Loud(nn.Module):
    """Someone's network, which does not start at zero."""

    def __init__(self, n_components, n_channels):
        super().__init__()
        self.linear = nn.Linear(n_channels * n_components, n_components)

    def forward(self, inputs, gamma):
        return 5 + self.linear(inputs.flatten(1)) + gamma


class Recorder(nn.Module):
    """Remembers what it was shown."""

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
@pytest.mark.parametrize("spec", [MLP(width=8, n_blocks=1), Loud], ids=["mlp", "custom"])
def test_untrained_denoiser_is_the_posterior_mean_exactly(name, spec):
    marginals = MARGINALS[name]
    network = build_network(spec, 3, Denoiser.n_channels(marginals))
    x, gamma = states(marginals)
    mu, correction = Denoiser(network, marginals).split(x, gamma)
    assert not correction.any()
    assert torch.equal(mu, marginals.posterior(x, gamma)[0])
    assert torch.equal(Denoiser(network, marginals)(x, gamma), mu)


@pytest.mark.parametrize("name", MARGINALS)
def test_a_network_that_starts_at_zero_still_learns(name):
    marginals = MARGINALS[name]
    network = build_network(Loud, 3, Denoiser.n_channels(marginals))
    x, gamma = states(marginals)
    Denoiser(network, marginals)(x, gamma).sum().backward()
    assert any(p.grad is not None and p.grad.any() for p in network.parameters())


@pytest.mark.parametrize("name", MARGINALS)
def test_correction_is_measured_in_posterior_standard_deviations(name):
    marginals, network = MARGINALS[name], Recorder()
    x, gamma = states(marginals)
    mu, correction = Denoiser(network, marginals).split(x, gamma)
    _, variance = marginals.posterior(x, gamma)
    # The floor, 1e-5 of a component's own standard deviation, keeps the root's slope finite.
    floor = 1e-5 * marginals.variance.sqrt()
    torch.testing.assert_close(correction**2, variance + floor**2, rtol=1e-4, atol=0)
    assert torch.equal(network.gamma, gamma)


@pytest.mark.parametrize("name", MARGINALS)
def test_inputs_are_of_unit_size_at_most_whatever_the_scale(name):
    marginals, network = MARGINALS[name], Recorder()
    x, gamma = states(marginals, n=500)
    Denoiser(network, marginals)(x, gamma)
    assert network.inputs.shape == (500, Denoiser.n_channels(marginals), 3)
    assert torch.isfinite(network.inputs).all()
    # Standardised and tamed, or a logarithm over four.
    assert network.inputs.abs().max() < 4
    assert 0.2 < network.inputs[:, 0].std() < 1.2


@pytest.mark.parametrize("name", MARGINALS)
def test_of_a_state_the_network_sees_as_much_as_is_not_noise(name):
    marginals, network = MARGINALS[name], Recorder()
    for log_snr in (8.0, 0.0, -7.0):
        gamma = (marginals.variance.log() - log_snr).expand(2000, -1)
        generator = torch.Generator().manual_seed(0)
        u = torch.rand(2000, 3, generator=generator)
        x = marginals.draw(u, torch.randn(2000, 3, generator=generator), gamma)
        Denoiser(network, marginals)(x, gamma)
        a = torch.sigmoid(-gamma).sqrt()
        whole = (x - a * marginals.mean) / marginals_std(marginals, gamma)
        signal = torch.sigmoid(torch.tensor(log_snr)).sqrt()
        torch.testing.assert_close(network.inputs[:, 0], signal * symlog(whole), rtol=1e-3, atol=1e-4)


def marginals_std(marginals, gamma):
    return (torch.sigmoid(-gamma) * marginals.variance + torch.sigmoid(gamma)).sqrt()


@pytest.mark.parametrize("name", MARGINALS)
def test_nothing_is_heard_of_what_is_missing(name):
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
    # In units a thousand times smaller the same noise is that of gamma + 2 log 1000.
    shift = 2 * torch.tensor(1000.0).log()
    a, a_scaled = (torch.sigmoid(-g).sqrt() for g in (gamma, gamma + shift))
    Denoiser(small, marginals)(x, gamma)
    Denoiser(large, scaled)(x / a * 1000 * a_scaled, gamma + shift)
    torch.testing.assert_close(small.inputs, large.inputs, rtol=1e-3, atol=1e-3)


def test_outliers_stay_within_reach_of_the_network():
    network = Recorder()
    for marginals in MARGINALS.values():
        x = torch.tensor([[1e6, -1e6, 1e9]])
        out = Denoiser(network, marginals)(x, torch.full((1, 3), -5.0))
        assert torch.isfinite(out).all()
        # log(1e6) and its like, where the standardised value would be 1e6.
        assert network.inputs.abs().max() < 25


def test_tame_is_odd_and_the_identity_near_zero():
    x = torch.tensor([-1e3, -0.5, 0.0, 1e-4, 0.5, 1e3], dtype=torch.float64)
    torch.testing.assert_close(symlog(-x), -symlog(x))
    torch.testing.assert_close(symlog(x[3]), x[3], rtol=1e-4, atol=0)
    torch.testing.assert_close(symlog(x).abs(), torch.log(1 + x.abs()))


@pytest.mark.parametrize("name", MARGINALS)
def test_denoiser_moves_as_a_whole(name):
    marginals = MARGINALS[name]
    denoiser = Denoiser(
        MLP(width=8, n_blocks=1).build(3, Denoiser.n_channels(marginals)), marginals
    )
    x, gamma = states(marginals)
    single = denoiser(x, gamma)
    double = denoiser.to(dtype=torch.float64)(x.double(), gamma.double())
    assert double.dtype == torch.float64 and single.dtype == torch.float32
    torch.testing.assert_close(single.double(), double, rtol=1e-3, atol=2e-2)
