"""Specifications of networks, built-in and custom."""

import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator, clone
from torch import nn

from gudlearn import MLP, SequentialSchedule, Transformer, UNet
from gudlearn.networks import ImageNetwork, build_network
from small import continuous, dependent, small


class Plain(nn.Module):
    """A linear layer over components and noise levels, not initially zero."""

    def __init__(self, n_components, n_channels):
        super().__init__()
        self.layer = nn.Linear((n_channels + 1) * n_components, n_components)

    def forward(self, inputs, gamma):
        return self.layer(torch.cat([inputs.flatten(1), gamma / 10], 1))


def make_plain(n_components, n_channels):
    return Plain(n_components, n_channels)


class PlainSpec(BaseEstimator):
    """The same network as a specification."""

    def __init__(self, unused=1):
        self.unused = unused

    def build(self, n_components, n_channels):
        return Plain(n_components, n_channels)


@pytest.mark.parametrize("network", [make_plain, Plain, PlainSpec()], ids=["def", "class", "spec"])
def test_a_custom_network_starts_from_the_preconditioner(network):
    X = dependent(40)
    reference = small(max_iter=0, preconditioning="marginal").fit(X)
    gen = small(max_iter=0, preconditioning="marginal", network=network).fit(X)
    np.testing.assert_allclose(gen.score_samples(X), reference.score_samples(X), rtol=1e-9)
    assert gen.set_params(max_iter=1).fit(X).sample(2).shape == (2, 3)


def test_a_custom_network_learns():
    X = dependent()
    gen = small(
        network=Plain, preconditioning="marginal", max_iter=50, batch_size=16,
        learning_rate_init=1e-2,
    ).fit(X)  # fmt: skip
    marginal = small(max_iter=0, preconditioning="marginal").fit(X)
    gain = gen.score_samples(X) - marginal.score_samples(X)
    # Two columns nearly agree, which their marginals leave out. About 0.35 +- 0.03 nats.
    assert gain.mean() > 5 * gain.std() / len(X) ** 0.5


def test_a_module_in_place_of_a_callable_is_refused():
    with pytest.raises(TypeError, match="Pass a callable of .n_components, n_channels."):
        small(network=nn.Linear(3, 3)).fit(continuous())


def test_buffers_of_a_network_are_stored():
    def network(n_components, n_channels):
        module = Plain(n_components, n_channels)
        module.layer = nn.Sequential(module.layer, nn.BatchNorm1d(n_components))
        return module

    # Without validation the last weights are kept, whether or not they are the best.
    gen = small(network=network, validation_fraction=0).fit(continuous())
    (variance,) = (w for name, w in gen.weights_.items() if "running_var" in name)
    assert (variance != 1).all()


def test_a_custom_network_is_cloned_with_its_parameters():
    gen = clone(small(network=PlainSpec(unused=3)))
    assert gen.get_params()["network__unused"] == 3


def test_the_network_is_built_for_the_components_that_diffuse():
    seen = []

    def network(n_components, n_channels):
        seen.append(n_components)
        return Plain(n_components, n_channels)

    X = np.column_stack([continuous(), np.ones(40)])
    small(network=network, max_iter=0).fit(X)
    assert set(seen) == {3}


def test_the_output_of_an_untrained_mlp_is_zero():
    module = MLP(width=8, n_blocks=1).build(n_components=5, n_channels=2)
    out = module(
        torch.randn(4, 2, 5, generator=torch.Generator().manual_seed(0)), torch.zeros(4, 5)
    )
    assert out.shape == (4, 5)
    assert not out.any()


def test_width_and_blocks_determine_the_number_of_weights():
    sizes = [
        sum(p.numel() for p in MLP(width=w, n_blocks=b).build(3, 1).parameters())
        for w, b in ((8, 1), (16, 1), (16, 2))
    ]
    assert sizes == sorted(set(sizes))
    gen = small(max_iter=0, network=MLP(width=8, n_blocks=1)).fit(continuous())
    assert gen.n_parameters_ == sum(w.size for w in gen.weights_.values())


def test_the_schedule_can_be_swapped_after_training():
    X = continuous(100)
    gen = small().fit(X)
    before, log_snr = gen.score_samples(X), gen.log_snr([0.5])
    gen.schedule_ = SequentialSchedule(window=2)
    difference = gen.score_samples(X) - before
    assert not np.allclose(gen.log_snr([0.5]), log_snr)
    # For an exact denoiser the bound is that of every path. For normal rows it is nearly exact.
    assert difference.any()
    assert abs(difference.mean()) < 0.01 + 5 * difference.std() / len(X) ** 0.5


@pytest.mark.parametrize(
    ("parameter", "value"), [("width", 0), ("n_blocks", 0), ("dropout", 1.0), ("width", 2.5)]
)
def test_parameters_of_the_mlp_are_checked(parameter, value):
    with pytest.raises(ValueError, match=f"'{parameter}' parameter of MLP"):
        MLP(**{parameter: value}).build(3, 1)


def test_a_callable_must_build_a_module():
    with pytest.raises(TypeError, match="must build a torch.nn.Module, but built a int"):
        build_network(lambda n_components, n_channels: 3, 4, 1)


@pytest.mark.parametrize(
    ("network", "n_rows", "resolved"),
    [
        (MLP(), 10_001, {"dropout": 0.0}),
        (MLP(), 6000, {"dropout": 0.05}),
        (MLP(dropout=0.3), 6000, {"dropout": 0.3}),
        (UNet(), 1000, {"width": 32, "dropout": 0.2}),
        (UNet(), 6000, {"width": 48, "dropout": 0.05}),
        (UNet(width=8), 200_000, {"width": 8, "dropout": 0.0}),
        (UNet(), 200_000, {"width": 96, "dropout": 0.0}),
        (Transformer(), 6000, {"width": 128, "dropout": 0.05}),
    ],
    ids=repr,
)
def test_auto_is_resolved_by_the_number_of_rows_in_a_copy(network, n_rows, resolved):
    before = network.get_params()
    sized = network.sized(n_rows)
    assert network.get_params() == before
    assert type(sized) is type(network)
    assert sized.get_params() == before | resolved


@pytest.mark.parametrize("network", [MLP(), UNet(), Transformer()], ids=repr)
def test_valid_parameters_fit_every_shape(network):
    assert network.check_params() is None
    assert network.check_params((5, 7, 3)) is None


@pytest.mark.parametrize(
    ("network", "shape", "message"),
    [
        (MLP(width=0), None, "'width' parameter of MLP"),
        (UNet(width="8"), None, "'width' parameter of UNet"),
        (UNet(attention=(16, 8)), (8, 8), "must have True or False"),
        (UNet(n_blocks=(1,)), (8, 8, 3), "n_blocks=.* one for each of the 2 of multipliers"),
        (Transformer(n_blocks=0), None, "'n_blocks' parameter of Transformer"),
        (Transformer(width=10, n_heads=3), (8, 8, 1), "n_heads=3 must divide width=10"),
    ],
    ids=repr,
)
def test_invalid_parameters_are_refused_before_a_network_is_built(network, shape, message):
    with pytest.raises(ValueError, match=message):
        network.check_params(shape)


def test_a_custom_image_network_may_leave_out_both_methods():
    class Custom(ImageNetwork):
        n_condition = 3

        def build(self, n_inputs, n_outputs, n_condition, shape):
            raise AssertionError("not needed")

    network = Custom()
    assert network.sized(10) is network
    assert network.check_params((8, 8)) is None
