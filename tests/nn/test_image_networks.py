"""Networks of images."""

import copy

import numpy as np
import pytest
import torch
from sklearn.base import clone

from gudlearn import GUDGenerator, Transformer, UNet
from gudlearn.networks import ImageNetwork
from gudlearn.nn.layers import Conv, mix
from small import TINY, digits, random_images, small


@pytest.mark.parametrize(
    "network",
    [TINY, UNet(width=8, n_blocks=(1, 0), patch_size=2), Transformer(width=16, n_blocks=1)],
    ids=repr,
)
@pytest.mark.parametrize("shape", [(8, 8), (7, 5), (1, 9)])
def test_an_untrained_network_returns_zero_and_has_gradients(network, shape):
    module = network.build(2, 3, 16, shape)
    maps, condition = torch.randn(4, 2, *shape), torch.randn(4, 16)
    out = module(maps, condition)
    assert out.shape == (4, 3, *shape) and not out.any()
    (out * torch.randn_like(out)).sum().backward()
    assert module.last.weight.grad.any()


@pytest.mark.parametrize(
    "network",
    [
        UNet(width=50, attention=(False, True)),
        UNet(width=8, multipliers=(1, 2, 2), attention=(False, True, True)),
        Transformer(width=100, n_blocks=1),
        Transformer(width=16, n_blocks=1, n_heads=2),
    ],
    ids=repr,
)
def test_heads_of_attention_divide_the_width(network):
    generator = torch.Generator().manual_seed(0)
    module = network.build(2, 1, 16, (6, 5))
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.3, generator=generator)
    maps, condition = (torch.randn(2, *s, generator=generator) for s in ((2, 6, 5), (16,)))
    out = module(maps, condition)
    assert out.isfinite().all()
    # A change in one corner changes the output in the opposite one.
    maps[:, :, 0, 0] += 1
    assert (module(maps, condition)[:, :, -1, -1] != out[:, :, -1, -1]).all()


def test_attention_is_that_of_torch():
    q, k, v = torch.randn(3, 2, 4, 7, 8, generator=torch.Generator().manual_seed(0))
    expected = torch.nn.functional.scaled_dot_product_attention(q, k, v)
    torch.testing.assert_close(mix(q, k, v), expected)


def test_a_convolution_is_that_of_torch():
    conv = Conv(3, 4)
    x = torch.randn(2, 3, 5, 6)
    weight = conv.weight.view(4, 3, 3, 3).permute(0, 3, 1, 2)
    expected = torch.nn.functional.conv2d(x, weight, conv.bias, padding=1)
    torch.testing.assert_close(conv(x), expected)


@pytest.mark.parametrize("network", [UNet(width=8), Transformer(width=16, n_blocks=2)], ids=repr)
def test_checkpointing_changes_memory_and_no_gradient(network):
    grads, kept = [], []

    def note(tensor):
        kept[-1] += tensor.numel()
        return tensor

    for checkpointing in (False, True):
        with torch.random.fork_rng():
            torch.random.default_generator.manual_seed(0)
            spec = copy.deepcopy(network).set_params(gradient_checkpointing=checkpointing)
            module = spec.build(2, 1, 16, (8, 8))
            torch.nn.init.normal_(module.last.weight)
            kept.append(0)
            with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
                out = module(torch.randn(2, 2, 8, 8), torch.randn(2, 16))
            out.square().sum().backward()
        grads.append([p.grad for p in module.parameters() if p.grad is not None])
    for a, b in zip(*grads, strict=True):
        torch.testing.assert_close(a, b)
    assert kept[1] < 0.6 * kept[0]


class OneLayer(ImageNetwork):
    """A network of images that a user wrote."""

    n_condition = 3

    def build(self, n_inputs, n_outputs, n_condition, shape):
        class Module(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.last = torch.nn.Conv2d(n_inputs + n_condition, n_outputs, 3, padding=1)
                torch.nn.init.zeros_(self.last.weight)
                torch.nn.init.zeros_(self.last.bias)

            def forward(self, maps, condition):
                wide = condition[:, :, None, None].expand(-1, -1, *shape)
                return self.last(torch.cat([maps, wide], 1))

        return Module()


@pytest.mark.parametrize("network", ["unet", "transformer", "mlp", OneLayer()])
def test_every_network_sees_images(network):
    X = random_images(20, (4, 4, 3))
    gen = small(network=network, max_iter=1).fit(X)
    assert np.isfinite(gen.score_samples(X[:3])).all()


@pytest.mark.parametrize(
    ("network", "max_iter"),
    [
        (UNet(width=16, n_blocks=1, dropout=0.0), 80),
        (Transformer(width=32, n_blocks=1, patch_size=2, dropout=0.0), 180),
    ],
    ids=["unet", "transformer"],
)
def test_a_network_memorises_eight_images(network, max_iter):
    X = digits(8)[:, 1:7, 1:7]
    gen = GUDGenerator(
        bin_width=1.0, network=network, max_iter=max_iter, batch_size=32, weight_decay=0.0,
        validation_fraction=0, learning_rate_init=1e-2, random_state=0,
    )  # fmt: skip
    untrained = clone(gen).set_params(max_iter=0).fit(X).bits_per_dim(X)
    trained = gen.fit(np.tile(X, (8, 1, 1))).bits_per_dim(X)
    # 3.0 bits untrained, and log2(8)/36 = 0.08 at best. After so few epochs it is 0.6 and 1.2, with
    # a standard deviation of 0.05 over seeds.
    assert trained < 1.6 < 2.5 < untrained
