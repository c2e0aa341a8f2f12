"""The network for tables: its inputs, its initial output, and its precision."""

import pytest
import torch

from gudlearn.nn.embeddings import GammaEmbedding
from gudlearn.nn.mlp import ResidualMLP


def network(n_components=4, n_channels=2, dropout=0.0):
    """A small network with random weights in every layer."""
    mlp = ResidualMLP(n_components, n_channels, width=16, n_blocks=2, dropout=dropout)
    generator = torch.Generator().manual_seed(0)
    for p in mlp.parameters():
        p.data = torch.empty_like(p).normal_(generator=generator) / max(p.shape) ** 0.5
    return mlp.double()


def states(n=6):
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(n, 2, 4, generator=generator, dtype=torch.float64)
    return inputs, 5 * torch.randn(n, 4, generator=generator, dtype=torch.float64)


def test_the_untrained_network_outputs_zero():
    inputs, gamma = states()
    assert not ResidualMLP(4, 2, 16, 2).double()(inputs, gamma).any()


@pytest.mark.parametrize("i", range(4))
def test_every_output_depends_on_gamma_and_channels_of_every_component(i):
    inputs, gamma = states()
    inputs.requires_grad_(), gamma.requires_grad_()
    by_input, by_gamma = torch.autograd.grad(network()(inputs, gamma)[:, i].sum(), (inputs, gamma))
    assert (by_gamma != 0).all()
    assert (by_input != 0).all()


def test_rows_do_not_depend_on_each_other():
    inputs, gamma = states()
    mlp = network()
    together = mlp(inputs, gamma)
    alone = torch.cat([mlp(inputs[k : k + 1], gamma[k : k + 1]) for k in range(len(inputs))])
    torch.testing.assert_close(together, alone)


def test_embedding_has_half_a_turn_over_its_range_and_finer_waves():
    embedding = GammaEmbedding(1, 8, centre=-1.0, half_width=8.0, n_frequencies=3)
    seen = []
    embedding.linear.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    embedding(torch.tensor([[-9.0], [-1.0], [7.0]]))
    u = torch.tensor([-1.0, 0.0, 1.0])
    waves = [f * torch.pi / 2 * u for f in (1, 2, 4)]
    expected = torch.stack([u, *(w.sin() for w in waves), *(w.cos() for w in waves)], 1)
    torch.testing.assert_close(seen[0], expected, rtol=0, atol=1e-6)


def test_embedding_distinguishes_components():
    embedding = GammaEmbedding(2, 8)
    first, second = embedding(torch.tensor([[-3.0, 2.0], [2.0, -3.0]]))
    assert (first - second).abs().max() > 1e-3


def test_dropout_is_inactive_in_evaluation():
    inputs, gamma = states()
    mlp = network(dropout=0.5)
    with torch.random.fork_rng(devices=[]):
        assert not torch.equal(mlp.train()(inputs, gamma), mlp(inputs, gamma))
    torch.testing.assert_close(mlp.eval()(inputs, gamma), network()(inputs, gamma))


def test_hidden_matrices_are_those_of_the_hidden_layers():
    mlp = network()
    hidden = mlp.hidden_matrices()
    assert len(hidden) == 4
    assert all(w.shape == (16, 16) for w in hidden)
    ends = {id(mlp.first.weight), id(mlp.last.weight), id(mlp.modulation.weight)}
    assert not ends & {id(w) for w in hidden}


def test_first_and_last_layers_keep_full_precision_under_autocast():
    mlp = network().float()
    inputs, gamma = (v.float() for v in states())
    exact = mlp(inputs, gamma)
    seen = []
    mlp.last.register_forward_hook(lambda _, args, out: seen.append((args[0].dtype, out.dtype)))
    with torch.autocast("cpu", torch.bfloat16):
        out = mlp(inputs, gamma)
    assert seen == [(torch.float32, torch.float32)]
    # The hidden layers have the 8-bit precision of bfloat16.
    torch.testing.assert_close(out, exact, rtol=0.1, atol=0.1)
