"""Dropout and mirroring draw from a private generator, and checkpointing repeats their draws."""

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from gudlearn.networks import MLP, Transformer, UNet
from gudlearn.nn.layers import Dropout
from gudlearn.nn.randomness import draws_from_global_state, use_generator
from gudlearn.nn.rotated import IdentityRotation, RotatedNetwork

SHAPE = (4, 6, 1)
N_COMPONENTS = 24


def normal(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float32)


def trained(module):
    """The module in training mode, no weight of which is zero."""
    with torch.no_grad():
        for k, weights in enumerate(module.parameters()):
            weights += 0.1 * normal(*weights.shape, seed=k)
    return module.train()


def image_network(spec, mirror=True):
    index = torch.arange(N_COMPONENTS)
    return RotatedNetwork(
        spec.build(2, 1, 16, SHAPE[:2]), IdentityRotation(), SHAPE, active=index,
        scale=torch.ones(N_COMPONENTS), offset=torch.zeros(N_COMPONENTS),
        log_variances=torch.zeros(N_COMPONENTS), groups=index // 12, maps=None, n_condition=16,
        mirror=mirror,
    )  # fmt: skip


def make(name, checkpointing=False):
    """A network with dropout, and inputs for it."""
    if name == "mlp":
        network = with_global_seed(MLP(width=16, n_blocks=2, dropout=0.3).build, 5, 2)
        return trained(network), (normal(6, 2, 5), normal(6, 5, seed=1))
    spec = {
        "unet": UNet(8, dropout=0.3, gradient_checkpointing=checkpointing),
        "transformer": Transformer(32, 2, dropout=0.3, gradient_checkpointing=checkpointing),
    }[name]
    inputs = normal(6, 2, N_COMPONENTS), normal(6, N_COMPONENTS, seed=1)
    return trained(with_global_seed(image_network, spec)), inputs


def seeded(seed=7):
    return torch.Generator().manual_seed(seed)


def with_global_seed(function, *inputs, seed=7):
    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(seed)
        return function(*inputs)


def gradients(network, inputs, compiled=None):
    """Gradients of a loss of the network, or of its compiled form if that is given."""
    network.zero_grad()
    function = network if compiled is None else compiled
    function(*inputs).square().sum().backward()
    return {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}


every_network = pytest.mark.parametrize("name", ["mlp", "unet", "transformer"])
image_networks = pytest.mark.parametrize("name", ["unet", "transformer"])


@pytest.fixture(autouse=True)
def global_state_stays():
    """Nothing here may move torch's global generator."""
    before = torch.random.get_rng_state()
    yield
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("p", [0.1, 1 / 3, 0.8])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("shape", [(37, 129), (4, 8, 9, 9)], ids=str)
def test_dropout_drops_entries_and_keeps_their_mean(p, dtype, shape):
    x = normal(*shape).to(dtype)
    if x.ndim == 4:
        x = x.contiguous(memory_format=torch.channels_last)
    layer = Dropout(p)
    expected = with_global_seed(F.dropout, x, p)
    assert torch.equal(with_global_seed(layer, x), expected)
    use_generator(layer, seeded())
    found, again = layer(x), layer(x)
    assert (found.dtype, found.stride()) == (expected.dtype, expected.stride())
    # The probability is a multiple of 1/256, so that the factor is, too.
    kept, fraction = found != 0, round(256 * (1 - p)) / 256
    rounding = torch.finfo(dtype).eps
    torch.testing.assert_close(found[kept], x[kept] / fraction, rtol=2 * rounding, atol=0)
    assert abs(float(kept.double().mean()) - fraction) < 5 * (p * (1 - p) / x.numel()) ** 0.5
    assert not torch.equal(found, again)
    use_generator(layer, seeded())
    assert torch.equal(layer(x), found)


def test_dropout_drops_all_entries_equally_often():
    layer = Dropout(0.5)
    use_generator(layer, seeded())
    # Entries are bytes of words of eight: no byte may lack a bit.
    kept = (layer(torch.ones(5000, 8)) != 0).double().mean(0)
    assert (kept - 0.5).abs().max() < 5 * (0.25 / 5000) ** 0.5


def test_dropout_draws_nothing_in_evaluation_or_at_zero():
    x, generator = normal(5, 4), seeded()
    for layer in (Dropout(0.5).eval(), Dropout(0.0).train()):
        use_generator(layer, generator)
        assert layer(x) is x
    assert torch.equal(generator.get_state(), seeded().get_state())


@every_network
def test_a_private_generator_replaces_the_global_one(name):
    network, inputs = make(name)
    expected = with_global_seed(network, *inputs)
    use_generator(network, seeded())
    found = network(*inputs)
    # A second call draws other numbers.
    assert not torch.equal(network(*inputs), found)
    use_generator(network, seeded())
    assert torch.equal(network(*inputs), found)
    use_generator(network, None)
    assert torch.equal(with_global_seed(network, *inputs), expected)


def test_mirroring_draws_from_the_generator():
    network = trained(with_global_seed(image_network, UNet(8, dropout=0.0)))
    inputs = normal(30, 2, N_COMPONENTS), normal(30, N_COMPONENTS, seed=1)
    generator = seeded()
    use_generator(network, generator)
    first, second = network(*inputs), network(*inputs)
    changed = (first != second).any(1)
    assert changed.any() and not changed.all()
    generator.manual_seed(7)
    assert torch.equal(network(*inputs), first)


@every_network
def test_generators_are_no_part_of_the_state_and_are_copied(name):
    network, inputs = make(name)
    names = list(network.state_dict())
    use_generator(network, seeded())
    assert list(network.state_dict()) == names
    copies = copy.deepcopy(network), pickle.loads(pickle.dumps(network))
    expected = network(*inputs)
    # A copy has a generator of its own, in the same state.
    for twin in copies:
        assert torch.equal(twin(*inputs), expected)


@image_networks
@pytest.mark.parametrize("private", [True, False])
def test_checkpointing_repeats_the_noise(name, private, monkeypatch):
    found = []
    for checkpointing in (False, True):
        network, inputs = make(name, checkpointing)
        if private:
            generator = seeded()
            use_generator(network, generator)
            with monkeypatch.context() as patch:
                # Even a state that is put back afterwards disturbs other threads.
                patch.setattr(torch, "set_rng_state", None)
                found.append(gradients(network, inputs))
            after = generator.get_state()
        else:
            found.append(with_global_seed(gradients, network, inputs))
            after = None
        found[-1]["generator"] = after
    plain, recomputed = found
    assert plain.keys() == recomputed.keys()
    states = plain.pop("generator"), recomputed.pop("generator")
    # The backward pass leaves the generator in its state after the forward pass.
    assert states == (None, None) or torch.equal(*states)
    for key in plain:
        torch.testing.assert_close(recomputed[key], plain[key])


@image_networks
def test_a_graph_may_be_recomputed_twice(name):
    network, inputs = make(name, checkpointing=True)
    use_generator(network, seeded())
    out = network(*inputs).square().sum()
    weights = [p for p in network.parameters() if p.requires_grad]
    first = torch.autograd.grad(out, weights, retain_graph=True, allow_unused=True)
    # Draws in between must not matter.
    network(*inputs)
    second = torch.autograd.grad(out, weights, allow_unused=True)
    for one, other in zip(first, second, strict=True):
        assert (one is None and other is None) or torch.equal(one, other)


class Foreign(nn.Module):
    """A module of somebody else's."""


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        (nn.Sequential(nn.Linear(2, 2), nn.SiLU(), nn.BatchNorm1d(2)), False),
        (nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.1)), True),
        (nn.Dropout(0.0), False),
        (nn.LSTM(2, 2, num_layers=2, dropout=0.1), True),
        (nn.GRU(2, 2), False),
        (nn.MultiheadAttention(4, 2, dropout=0.1), True),
        (nn.MultiheadAttention(4, 2), False),
        (nn.TransformerEncoderLayer(4, 2, dropout=0.1), True),
        (nn.TransformerEncoderLayer(4, 2, dropout=0.0), False),
        (nn.RReLU(), True),
        (Foreign(), True),
        (nn.Sequential(Dropout(0.5), Foreign()), True),
        (Dropout(0.5), False),
    ],
)
def test_layers_of_others_may_draw_from_the_global_state(module, expected):
    assert draws_from_global_state(module) is expected


@every_network
def test_our_networks_do_not_need_the_global_state(name):
    assert not draws_from_global_state(make(name)[0])


# torch's compiler reads .grad of the hidden tensor that it passes on at a graph break.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")
@pytest.mark.parametrize("private", [True, False])
def test_a_compiled_network_draws_the_same_noise(private):
    network, inputs = make("mlp")
    # Traced as for any backend, but run without a compiler, which a machine may lack. The global
    # generator breaks no graph.
    compiled = torch.compile(network, backend="eager", fullgraph=not private)
    found = []
    for form in (None, compiled):
        use_generator(network, seeded() if private else None)
        found.append(with_global_seed(gradients, network, inputs, form))
    for name, gradient in found[0].items():
        torch.testing.assert_close(found[1][name], gradient)
