"""Images: how they are read, rotations by torch, networks of images, and their likelihood."""

import copy
import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits

from gudlearn import (
    BlockBasis,
    FourierBasis,
    GUDClassifier,
    GUDGenerator,
    IdentityBasis,
    PCABasis,
    SequentialSchedule,
    SoftConditioningSchedule,
    Transformer,
    UNet,
    WaveletBasis,
)
from gudlearn.data.images import ImageContainer, read_images
from gudlearn.data.rows import Rows
from gudlearn.encoding.encoding import Encoding
from gudlearn.model.image_network import _order_groups, make_gamma_maps, make_rotation
from gudlearn.networks import ImageNetwork
from gudlearn.nn.denoiser import Denoiser, LabelledDenoiser
from gudlearn.nn.layers import Conv, mix
from gudlearn.preconditioning.marginals import GaussianMarginals
from gudlearn.training.options import make_trainer
from gudlearn.training.sources import rows_on_device
from small import small

TINY = UNet(width=8, n_blocks=1)


def random_images(n=60, shape=(6, 5, 3), seed=0):
    """Smooth random uint8 images with correlated channels."""
    rng = np.random.default_rng(seed)
    field = rng.normal(size=(n, *shape)).cumsum(1).cumsum(2)
    field[..., 1:] = 0.7 * field[..., :1] + 0.3 * field[..., 1:]
    return np.clip(128 + 12 * field, 0, 255).astype(np.uint8)


def digits(n=300):
    return load_digits().images[:n]


def tiny(**parameters):
    return small(**{"network": TINY, **parameters})


# Reading images


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ((6, 5), np.uint8),
        ((6, 5, 1), np.float32),
        ((6, 5, 3), np.uint8),
        ((6, 5, 3), np.int32),
        ((6, 5, 3), np.float64),
    ],
)
def test_images_come_back_in_their_shape_and_dtype(shape, dtype):
    X = random_images(30, (*shape, 1)[:3]).reshape(30, *shape).astype(dtype)
    gen = tiny(max_iter=1).fit(X)
    drawn = gen.sample(3)
    assert drawn.shape == (3, *shape) and drawn.dtype == dtype
    assert gen.score_samples(X[:4]).shape == (4,)
    assert gen.n_features_in_ == np.prod(shape)
    assert (gen.bin_width_ is None) == (np.dtype(dtype).kind == "f")


def test_integers_without_bins_come_back_as_integers():
    drawn = tiny(max_iter=0, bin_width=None).fit(random_images(30)).sample(3)
    assert drawn.dtype == np.uint8 and drawn.std() > 10


def test_flat_rows_with_a_shape_are_the_same_images():
    X = random_images(20)
    flat = X.reshape(len(X), -1)
    as_images = tiny(max_iter=1).fit(X)
    as_rows = tiny(max_iter=1, shape=(6, 5, 3)).fit(flat)
    np.testing.assert_array_equal(as_images.score_samples(X), as_rows.score_samples(flat))
    np.testing.assert_array_equal(as_images.sample(4).reshape(4, -1), as_rows.sample(4))


def test_frames_of_flat_images_come_back_as_frames():
    X = random_images(20).reshape(20, -1)
    frame = pd.DataFrame(X, columns=[f"pixel{k}" for k in range(90)])
    gen = tiny(max_iter=0, shape=(6, 5, 3)).fit(frame)
    drawn = gen.sample(2)
    assert drawn.columns.tolist() == frame.columns.tolist()
    assert (drawn.dtypes == np.uint8).all()
    np.testing.assert_array_equal(drawn, tiny(max_iter=0, shape=(6, 5, 3)).fit(X).sample(2))
    np.testing.assert_array_equal(gen.score_samples(frame[:2]), gen.score_samples(X[:2]))
    assert gen.feature_names_in_.tolist() == frame.columns.tolist()
    assert gen.conditioning_method(["pixel0"]) == "posterior"
    # Column labels that are not strings are not compared, as everywhere in scikit-learn.
    numbered = pd.DataFrame(X, columns=range(1, 91))
    again = tiny(max_iter=0, shape=(6, 5, 3)).fit(numbered)
    found = again.score_samples(pd.DataFrame(X[:2]))
    np.testing.assert_array_equal(found, again.score_samples(X[:2]))
    with pytest.raises(ValueError, match="feature names should match"):
        gen.score_samples(frame[frame.columns[::-1]])
    partial = frame[5:7].astype(float)
    partial.iloc[:, 45:] = np.nan
    gen.set_params(conditioning="posterior")
    assert gen.sample(given=partial).index.tolist() == [5, 6]


def test_lists_of_images_differ_from_lists_of_rows():
    X = random_images(4)
    rows, container = read_images(X.tolist(), None)
    np.testing.assert_array_equal(rows, X.reshape(4, -1))
    assert container.shape == (6, 5, 3)
    assert read_images([[1.0, 2.0], [3.0, 4.0]], None) is None
    assert read_images(3.0, None) is None


def ragged():
    """An array of objects, which are images of two sizes."""
    X = np.empty(2, dtype=object)
    X[0], X[1] = random_images(1)[0], random_images(1, (4, 4, 3))[0]
    return X


FIVE = random_images(5)
BAD_IMAGES = {
    "channels first": (FIVE.transpose(0, 3, 1, 2), {}, "as .*the channels came first"),
    "sizes differ": ([random_images(1)[0], random_images(1, (4, 4, 3))[0]], {}, "different sizes"),
    "objects": (ragged(), {}, "different sizes"),
    "five dimensions": (FIVE[None], {}, "5 dimensions"),
    "wrong shape": (FIVE.reshape(5, -1), {"shape": (6, 6)}, r"36 entries but X has 90"),
    "shape of others": (FIVE, {"shape": (5, 6, 3)}, "does not match X of shape"),
    "shape of one": (FIVE, {"shape": (5,)}, "must be .height, width"),
    "width per pixel": (FIVE, {"bin_width": np.ones(90)}, "share one width"),
    "basis": (FIVE, {"basis": FourierBasis(shape=(5, 6), channels=3)}, "does not match"),
    "basis channels": (FIVE, {"basis": WaveletBasis(shape=(6, 5))}, "does not match"),
    "principal components": (FIVE, {"basis": PCABasis(channels=2)}, "does not match images"),
    "range": (
        FIVE / 255, {"bin_width": 1 / 255, "bin_range": (0, 0.5)}, "outside bin_range"
    ),
    "attention": (
        FIVE, {"network": UNet(width=8, attention=(True,))}, "or False for each of the 2"
    ),
    "attention at": (
        FIVE, {"network": UNet(width=8, attention=(16, 8))}, "must have True or False"
    ),
    "multipliers": (FIVE, {"network": UNet(width=8, multipliers=(0, 1))}, "whole numbers"),
    "blocks": (FIVE, {"network": UNet(width=8, n_blocks=(1, 1, 1))}, "one for each"),
    "heads": (FIVE, {"network": Transformer(width=10, n_heads=3)}, "must divide width"),
    "width": (FIVE, {"network": UNet(width="8")}, "The 'width' parameter of UNet"),
    "softness": (FIVE, {"schedule": SoftConditioningSchedule(-1)}, "softness=-1 must be"),
    "flips": (FIVE, {"network": "mlp", "random_flips": True}, "random_flips=True mirrors"),
    "retrieval": (FIVE, {"retrieval": 10}, "retrieval=10 keeps rows of a table"),
    "judges": (FIVE, {"early_stopping": True}, "of 5 rows holds none out"),
}  # fmt: skip


@pytest.fixture(scope="module")
def fitted():
    """A model of ten images, for tests that change only copies of it."""
    return tiny(max_iter=1).fit(random_images(10))


@pytest.mark.parametrize("name", BAD_IMAGES)
def test_images_that_cannot_be_fitted_are_refused_first(name, monkeypatch, fitted):
    X, parameters, message = BAD_IMAGES[name]
    gen = copy.deepcopy(fitted)
    # It is refused before anything is fitted.
    monkeypatch.setattr(Encoding, "fit", None)
    before = dict(vars(gen))
    gen.set_params(**parameters)
    with pytest.raises(ValueError, match=message):
        gen.fit(X)
    assert all(vars(gen)[k] is before[k] for k in before if k.endswith("_"))


def test_flat_rows_with_channels_first_are_refused():
    X = np.moveaxis(random_images(20, (8, 8, 3)), -1, 1)
    with pytest.raises(ValueError, match=r"shape=\(3, 8, 8\) was understood as 3 x 8 pixels"):
        tiny(shape=(3, 8, 8)).fit(X.reshape(20, -1))
    assert tiny(shape=(3, 8, 8), max_iter=0).fit(X).sample(1).shape == (1, 3, 8, 8)


def test_a_shape_confirms_images_with_few_rows():
    X = random_images(5, (3, 8, 8))
    assert tiny(max_iter=0, shape=(3, 8, 8)).fit(X).sample(1).shape == (1, 3, 8, 8)


@pytest.mark.parametrize(
    ("X", "shape", "message"),
    [(np.array([["a"]]), (1, 1), "real numbers"), (FIVE, "6x5", "tuple of whole numbers")],
)
def test_arrays_that_hold_no_images_raise_type_errors(X, shape, message):
    with pytest.raises(TypeError, match=message):
        read_images(X, shape)


def test_images_of_another_size_cannot_be_scored(fitted):
    with pytest.raises(ValueError, match=r"fitted to samples of shape \(6, 5, 3\)"):
        fitted.score_samples(random_images(4, (5, 6, 3)))


def test_the_default_basis_is_the_identity():
    assert isinstance(tiny(max_iter=0).fit(random_images(30)).basis_, IdentityBasis)


def test_a_basis_by_name_mixes_the_channels():
    gen, X = tiny(max_iter=0, basis="wavelet"), random_images(30)
    assert gen.fit(X).basis_.joint_channels
    assert not gen.fit(X[..., 0]).basis_.joint_channels


@pytest.mark.parametrize(
    ("side", "patch_unet", "patch_transformer"), [(8, 1, 1), (32, 1, 4), (64, 1, 8), (65, 2, 16)]
)
def test_default_patches_limit_the_number_of_positions(side, patch_unet, patch_transformer):
    shape = (side, side)
    assert UNet(width=4).build(1, 1, 4, shape).patch == patch_unet
    assert Transformer(width=32, n_blocks=1).build(1, 1, 4, shape).patch == patch_transformer


def test_a_network_of_images_refuses_a_table():
    with pytest.raises(ValueError, match="needs images, but X is a table"):
        tiny().fit(random_images(5).reshape(5, -1))


def test_a_container_keeps_integers_in_their_range():
    container = ImageContainer((1, 2, 1), (1, 2), np.dtype(np.uint8))
    out = container.wrap(np.array([[-3.0, 255.6]]), np.ones(2, dtype=bool))
    assert out.tolist() == [[[0, 255]]]


# Bases by torch

BASES = [
    IdentityBasis(),
    PCABasis(),
    PCABasis(channels=3, whiten=0.5),
    FourierBasis(shape=(6, 5), channels=3),
    FourierBasis(shape=(6, 5), channels=3, joint_channels=True),
    WaveletBasis(shape=(6, 5), channels=3, joint_channels=True),
    WaveletBasis(shape=(6, 5), channels=3, levels=2),
    BlockBasis(
        [
            ("odd", PCABasis(), slice(89, None, -2)),
            ("nested", BlockBasis([("a", IdentityBasis(), [2, 0]), ("b", FourierBasis(), [1, 3])]),
             [40, 0, 2, 88]),
            ("first", IdentityBasis(), [4]),
            ("two", PCABasis(channels=2), [k for k in range(6, 88, 2) if k != 40]),
        ]
    ),
]


@pytest.mark.parametrize("basis", BASES, ids=repr)
def test_torch_rotates_as_the_basis_does(basis):
    X = random_images().reshape(60, -1).astype(float)
    basis = copy.deepcopy(basis).fit(X)
    rotation = make_rotation(basis, (6, 5, 3))
    x = torch.from_numpy(X - basis.mean_).float()
    z = rotation(x)
    expected = basis.transform(X) * basis.scale_
    # Components reach 500, of which float32 keeps seven digits.
    np.testing.assert_allclose(z.numpy(), expected, rtol=0, atol=2e-3)
    np.testing.assert_allclose(rotation.back(z).numpy(), x.numpy(), rtol=0, atol=2e-3)


def test_patches_have_principal_components_of_their_own():
    X = random_images(40, (4, 4, 1))
    place = np.arange(16).reshape(4, 4)
    corners = [(0, 0), (0, 2), (2, 0), (2, 2)]
    patches = [
        (f"patch{r}{c}", PCABasis(), place[r : r + 2, c : c + 2].ravel()) for r, c in corners
    ]
    gen = tiny(basis=BlockBasis(patches), max_iter=2, conditional_rate=0.3).fit(X)
    assert gen.sample(2).shape == (2, 4, 4) + (1,)
    rotation = gen.fitted_model().components.denoiser.network.rotation
    assert max(buffer.numel() for buffer in rotation.buffers()) == 16
    # Constant buffers are not averaged after each step.
    assert make_trainer(gen, gen.state_, 40, 0)._buffers == []
    whole_patch = np.isin(place, patches[0][2])
    assert gen.conditioning_method(whole_patch) == "exact"
    assert np.isfinite(gen.score_samples(X[:3], given_columns=whole_patch)).all()


def test_maps_of_wavelets_show_each_decomposition_level_in_place():
    shape = (8, 8, 1)
    basis = WaveletBasis(shape=(8, 8)).fit(np.random.default_rng(0).normal(size=(9, 64)))
    maps = make_gamma_maps(basis, shape, np.arange(64))
    assert maps.n_maps == 4
    for i in range(64):
        support = np.abs(basis.inverse_transform(np.eye(64)[i : i + 1])[0] - basis.mean_) > 1e-9
        level = int(basis.describe().order[i])
        shown = maps(torch.eye(64)[i : i + 1])[0].numpy()
        np.testing.assert_array_equal(shown[level].ravel() > 0, support)
        assert not shown[[k for k in range(4) if k != level]].any()


def test_noise_levels_of_global_components_are_averaged_by_order():
    ranks = np.random.default_rng(0).permutation(240)
    np.testing.assert_array_equal(_order_groups(ranks / 7), ranks // 20)
    few = np.array([5.0, 1.0, 5.0, 3.0])
    np.testing.assert_array_equal(_order_groups(few), [2, 0, 2, 1])
    # Equal values stay in one group.
    many = np.repeat(np.arange(30.0), [1, 60] + 28 * [1])
    groups = _order_groups(many)
    assert len(set(groups[1:61])) == 1 and groups.max() < 12
    assert (np.diff(groups) >= 0).all()


def test_maps_of_pixels_show_their_noise_levels():
    shape = (3, 4, 2)
    basis = IdentityBasis().fit(random_images(20, shape).reshape(20, -1))
    active = np.flatnonzero(np.arange(24) != 5)
    maps = make_gamma_maps(basis, shape, active)
    level = torch.arange(24.0)[active].expand(2, -1)
    found = maps.UNIT * maps(level)
    expected = torch.arange(24.0).view(shape).permute(2, 0, 1).clone()
    # Pixels without a component show the mean of all.
    expected[1, 0, 2] = level[0].mean()
    torch.testing.assert_close(found, expected.expand(2, -1, -1, -1))


def test_maps_of_blocks_show_their_mean_noise_levels():
    place = np.arange(24).reshape(4, 6)
    order = [2, 0, 1, 5, 4, 3]
    blocks = [(f"c{c}", WaveletBasis(), place[:, c]) for c in order]
    basis = BlockBasis(blocks).fit(np.random.default_rng(0).normal(size=(20, 24)))
    maps = make_gamma_maps(basis, (4, 6, 1), np.arange(24))
    level = torch.arange(24.0)
    expected = level.view(6, 4).mean(1)[torch.tensor(np.argsort(order))]
    torch.testing.assert_close(maps.UNIT * maps(level[None])[0, 0], expected.expand(4, 6))


def test_maps_of_odd_sizes_have_a_value_everywhere():
    basis = WaveletBasis(shape=(6, 5)).fit(np.random.default_rng(0).normal(size=(9, 30)))
    maps = make_gamma_maps(basis, (6, 5, 1), np.arange(30))
    np.testing.assert_allclose(maps(torch.full((1, 30), 8.0)), 1.0, rtol=1e-6)


# Networks of images


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


# Likelihood


def gaussian_pixels(n=4000, shape=(2, 2, 1), seed=0):
    """Correlated normal pixels with a standard deviation of 12 bins, rounded."""
    rng = np.random.default_rng(seed)
    size = int(np.prod(shape))
    mixing = 12 * (np.eye(size) + 0.4 * np.ones((size, size))) / 1.5
    return np.rint(128 + rng.normal(size=(n, size)) @ mixing.T).astype(np.uint8).reshape(n, *shape)


def test_an_untrained_model_is_the_gaussian_of_its_basis():
    X = gaussian_pixels()
    gen = tiny(basis="pca", preconditioning="gaussian", max_iter=0).fit(X)
    rows = X.reshape(len(X), -1).astype(float)
    covariance = np.cov(rows.T, bias=True)
    off = rows - rows.mean(0)
    squares = np.einsum("ni,ij,nj->n", off, np.linalg.inv(covariance), off)
    log_density = -0.5 * (squares + np.linalg.slogdet(2 * np.pi * covariance)[1])
    gap = gen.score_samples(X[:200]) - log_density[:200]
    # The bound ends at noise of 0.35 bins: 0.008 nats a pixel, and the nll of bins given it.
    assert -0.06 < gap.mean() < 0
    assert gap.std() < 0.03


def test_bins_observed_through_noise_and_dequantised_bins_agree():
    X = gaussian_pixels()

    class Correlated(PCABasis):
        def noise_std(self, column_std):
            return None

    scores = []
    for basis in (PCABasis(), Correlated()):
        gen = tiny(basis=basis, preconditioning="gaussian", max_iter=0).fit(X)
        scores.append(gen.score_samples(X[:300]).mean() / (4 * np.log(2)))
    assert gen.state_.encoding.dequantised.all()
    # White noise of 0.35 bins costs 0.011 bits, dequantisation 0.001 at this width. Its draws leave
    # a standard error of 0.0004.
    assert scores[1] - scores[0] == pytest.approx(0.010, abs=0.003)
    trained = tiny(basis=Correlated(), max_iter=2).fit(X[:200])
    assert np.isfinite(trained.score_samples(X[:3])).all()


def test_wide_images_of_many_bins_score_the_entropy_of_their_pixels():
    rng = np.random.default_rng(0)
    X, new = (np.rint(rng.normal(128, 12, (n, 33, 32))).astype(np.uint8) for n in (300, 10))
    gen = tiny(max_iter=0, preconditioning="marginal").fit(X)
    # Marginals of so many pixels are not point masses.
    assert gen.state_.encoding.is_wide and not gen.state_.encoding.point_masses.any()
    # Over 10560 pixels the standard errors are 0.01 bits, and 0.7 % of the standard deviation.
    entropy = np.log2(12 * np.sqrt(2 * np.pi * np.e))
    assert gen.bits_per_dim(new) == pytest.approx(entropy, abs=0.06)
    drawn = gen.sample(10).astype(float)
    assert drawn.std() == pytest.approx(12, rel=0.05)
    assert gen.set_params(max_iter=1).fit(X[:20]).n_iter_ == 1


def test_a_compiled_network_of_images_learns_the_same(monkeypatch):
    original = torch.compile
    monkeypatch.setattr(torch, "compile", lambda module: original(module, backend="eager"))
    X = random_images(40, (4, 4, 1))
    settings = {
        "basis": "wavelet", "network": UNet(width=8, mirror=True, dropout=0.0), "max_iter": 3,
        "validation_fraction": 0, "precision": "bf16",
    }  # fmt: skip
    gen, plain = small(compile=True, **settings).fit(X), small(**settings).fit(X)
    np.testing.assert_allclose(gen.loss_curve_, plain.loss_curve_, rtol=1e-2)


def test_bfloat16_scores_as_float32_does():
    X = random_images(100, (8, 8, 1))
    gen = tiny(basis="wavelet", max_iter=6, precision="bf16").fit(X)
    bits, types = gen.bits_per_dim(X[:32]), set()

    def note(module, inputs, output):
        types.add(output.dtype)

    for precision in ("bf16", "fp32"):
        model = gen.set_params(precision=precision).fitted_model().components
        types.clear()
        for module in model.denoiser.network.network.modules():
            if isinstance(module, Conv):
                module.register_forward_hook(note)
        with torch.no_grad(), model.arithmetic():
            model.labelled()(torch.zeros(2, 64), torch.zeros(2, 64))
        assert (torch.bfloat16 in types) == (precision == "bf16")
    assert gen.set_params(precision="fp32").bits_per_dim(X[:32]) == pytest.approx(bits, abs=0.005)


def test_scores_of_images_do_not_depend_on_the_other_images():
    X = random_images(150, (4, 4, 1))
    gen = tiny(max_iter=2).fit(X)
    scores = gen.score_samples(X)
    order = np.random.default_rng(0).permutation(len(X))
    np.testing.assert_allclose(gen.score_samples(X[order]), scores[order], rtol=0, atol=1e-4)
    np.testing.assert_allclose(gen.score_samples(X[7:9]), scores[7:9], rtol=0, atol=1e-4)


def test_samples_of_images_depend_on_seed_and_index_alone():
    gen = tiny(max_iter=2).fit(random_images(40, (4, 4, 1)))
    many = gen.sample(70, random_state=5)
    np.testing.assert_array_equal(gen.sample(3, random_state=5), many[:3])
    assert len(np.unique(many.reshape(70, -1), axis=0)) == 70


def test_constant_pixels_come_back_and_contribute_nothing():
    X = random_images(40, (4, 4, 1))
    X[:, 0] = 7
    for basis in ("identity", "pca", "wavelet"):
        gen = tiny(basis=basis, max_iter=1).fit(X)
        assert (gen.sample(5)[:, 0] == 7).all()
        # The last columns are the log-probabilities of bins.
        bins = gen.score_components(X[:5])[:, -16:]
        np.testing.assert_allclose(bins[:, :4], 0, atol=1e-2)


def test_images_survive_pickling_and_cloning():
    X = random_images(30)
    gen = tiny(max_iter=1, basis="fourier").fit(X)
    again = pickle.loads(pickle.dumps(gen))
    np.testing.assert_array_equal(again.score_samples(X), gen.score_samples(X))
    np.testing.assert_array_equal(again.sample(2), gen.sample(2))


def test_images_are_warm_started_and_fitted_in_parts():
    X = random_images(40, (4, 4, 1))
    gen = tiny(max_iter=1, warm_start=True).fit(X)
    assert gen.fit(X).n_iter_ == 2
    parts = tiny().partial_fit(X[:20]).partial_fit(X[20:])
    assert parts.n_iter_ == 2 and parts.sample(2).shape == (2, 4, 4, 1)


@pytest.mark.parametrize(
    "schedule", [SoftConditioningSchedule(0.5), SequentialSchedule(order=np.arange(16) % 4)]
)
def test_the_schedule_of_a_model_of_images_may_be_replaced(schedule):
    X = random_images(60, (4, 4, 1))
    gen = tiny(max_iter=2).fit(X)
    gen.schedule_ = schedule
    assert np.isfinite(gen.score_samples(X[:3])).all()
    assert gen.sample(2).shape == (2, 4, 4, 1)


def test_flips_mirror_half_of_the_images():
    X = random_images(40, (2, 4, 1))
    X[..., 2:, :] //= 4
    gen = tiny(random_flips=True, max_iter=1).fit(X)
    trainer = make_trainer(gen, gen.state_, len(X), 0)
    rows = rows_on_device(gen.state_, Rows.of(X.reshape(40, -1)), trainer, flips=True)
    index = torch.zeros(400, dtype=torch.long)
    z = rows.take(index, trainer.generator).x0
    pixels = gen.basis_.inverse_transform(z.double().numpy()).reshape(400, 2, 4)
    first = X[0, ..., 0].astype(float)
    is_plain = np.abs(pixels - first).max((1, 2)) < 0.01
    is_mirrored = np.abs(pixels - first[:, ::-1]).max((1, 2)) < 0.01
    # Five standard errors of a binomial number are 50.
    assert (is_plain ^ is_mirrored).all() and 150 <= is_plain.sum() <= 250
    again = gen.basis_.inverse_transform(rows.components(index[:1]).double().numpy())
    np.testing.assert_allclose(again.reshape(2, 4), first, atol=0.01)


@pytest.mark.parametrize("dtype", ["f4", "f8", ">f4", "g", "i4", "u2"])
def test_training_and_scores_see_the_same_components(dtype):
    # So large that float32 does not hold the differences between images.
    offset = 1e7 if np.dtype(dtype).itemsize > 4 or dtype == "i4" else 100
    X = (random_images(30, (4, 4, 1)).astype(np.float64) + offset).astype(dtype)
    gen = tiny(max_iter=1).fit(X)
    assert gen.sample(2).dtype == X.dtype
    rows, _ = read_images(X, None)
    trainer = make_trainer(gen, gen.state_, 30, 0)
    source = rows_on_device(gen.state_, Rows.of(rows), trainer, flips=False)
    found = source.components(torch.arange(30))
    expected = gen.basis_.transform(rows)[:, gen.state_.encoding.ends.active]
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-4)


def mirrored(rows, shape):
    """Flat images, a tensor, mirrored left to right."""
    return rows.view(-1, *shape).flip(2).flatten(1)


@pytest.mark.parametrize("network", [UNet(width=8, mirror=True), Transformer(32, 1, mirror=True)])
def test_a_mirror_network_is_equivariant_under_reflections(network):
    shape = (4, 6, 3)
    X = random_images(40, shape)
    X = np.concatenate([X, X[:, :, ::-1]])
    gen = tiny(network=network, basis="identity", max_iter=0, preconditioning="gaussian").fit(X)
    denoise = gen.fitted_model().components.denoiser
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(5, 72, generator=generator)
    gamma = torch.randn(5, 1, generator=generator).expand(-1, 72)
    off = {}
    with torch.no_grad():
        for weights in denoise.network.parameters():
            weights.normal_(0, 0.2, generator=generator)
        for denoise.network.mirror in (True, False):
            x0 = denoise(x, gamma)
            other = denoise(mirrored(x, shape), gamma)
            off[denoise.network.mirror] = float((other - mirrored(x0, shape)).norm() / x0.norm())
    assert off[True] < 1e-5 < 0.1 < off[False]


def test_in_training_a_mirror_network_sees_one_of_two_reflections():
    spec = UNet(width=8, dropout=0.0, mirror=True)
    gen = tiny(network=spec, max_iter=0).fit(random_images(40, (4, 6, 1)))
    network = gen.fitted_model().components.denoiser.network
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weights in network.parameters():
            weights.normal_(0, 0.2, generator=generator)
    first = torch.randn(1, 3, 4, 6, generator=generator)
    condition = torch.randn(1, network.condition.out_features, generator=generator)
    plain = network.network(first, condition)
    turned = network.network(first.flip(3), condition).flip(3)
    torch.testing.assert_close(network._both_ways(first, condition), (plain + turned) / 2)
    network.train()
    with torch.random.fork_rng():
        torch.random.default_generator.manual_seed(0)
        many = network._both_ways(first.expand(200, -1, -1, -1), condition.expand(200, -1))
    is_plain = (many - plain).abs().amax((1, 2, 3)) < 1e-5
    is_turned = (many - turned).abs().amax((1, 2, 3)) < 1e-5
    # Five standard errors of a binomial number are 35.
    assert (is_plain ^ is_turned).all() and 64 < is_plain.sum() < 136


def test_images_stay_in_their_dtype_on_the_device():
    X = random_images(20)
    gen = tiny(max_iter=0).fit(X)
    trainer = make_trainer(gen, gen.state_, 20, 0)
    source = rows_on_device(gen.state_, Rows.of(X.reshape(20, -1)), trainer, flips=False)
    kept = [v for v in vars(source).values() if isinstance(v, torch.Tensor) and len(v) == 20]
    assert [v.dtype for v in kept] == [torch.uint8]


# Labels


@pytest.fixture(scope="module")
def labelled():
    """A model of dark and light images, the images and their labels."""
    y = np.repeat(["dark", "light"], 50)
    noise = np.random.default_rng(0).integers(-20, 20, (100, 4, 4))
    X = (np.where(y == "dark", 60, 180)[:, None, None] + noise).astype(np.uint8)
    return tiny(class_conditional=True, max_iter=60).fit(X, y), X, y


def test_samples_have_their_labels(labelled):
    gen, _, _ = labelled
    assert gen.classes_.tolist() == ["dark", "light"]
    # The images of a class have means 60 and 180; those of samples, a standard deviation of 10.
    assert gen.sample(20, y="light").mean() > gen.sample(20, y="dark").mean() + 60
    both = gen.sample(4, y=["dark", "light", "dark", "light"])
    np.testing.assert_array_equal(gen.sample(2, y=["dark", "light"]), both[:2])
    # Five standard errors of a binomial number are 35.
    drawn = gen.sample(200).reshape(200, -1).mean(1) > 120
    assert 65 < drawn.sum() < 135


def test_scores_are_given_their_labels(labelled):
    gen, X, y = labelled
    right, wrong, none = (gen.score_samples(X, labels) for labels in (y, y[::-1], None))
    for better, worse in ((right, none), (none, wrong)):
        # The noise of one row is the same in all of its scores.
        gain = better - worse
        assert gain.mean() > 5 * gain.std(ddof=1) / np.sqrt(len(X))


def test_guidance_weighs_the_label(labelled):
    gen, _, _ = labelled
    light, dark = (
        [gen.sample(40, y=label, guidance=w).astype(float) for w in (0.0, 0.3, 1.0)]
        for label in ("light", "dark")
    )
    np.testing.assert_array_equal(light[0], dark[0])
    # 0, 50 and 110; over seeds the second has a standard deviation of 8.
    gaps = [(first - second).mean() for first, second in zip(light, dark, strict=True)]
    assert 10 < gaps[1] < gaps[2] - 15


def test_guidance_moves_the_correction_along_the_label():
    class Network(torch.nn.Module):
        def forward(self, inputs, gamma, labels):
            return labels[:, None].to(gamma.dtype).expand_as(gamma)

    denoiser = Denoiser(Network(), GaussianMarginals(torch.zeros(3), torch.ones(3)))
    x, gamma = torch.randn(4, 3), torch.zeros(4, 3)
    labels = torch.tensor([1, 2])
    found = [
        LabelledDenoiser(denoiser, labels, guidance=w, null=5).split(x, gamma)[1]
        for w in (0.0, 1.0, 3)
    ]
    torch.testing.assert_close(found[2], found[0] + 3 * (found[1] - found[0]))
    unlabelled = LabelledDenoiser(denoiser, labels * 0 + 5).split(x, gamma)[1]
    torch.testing.assert_close(found[0], unlabelled)


BAD_LABELS = {
    "none": (None, "requires y to be passed"),
    "missing": ([0.0, np.nan] * 5, "no label for 5 rows, the first of them row 1"),
    "few": ([0, 1], "y has 2 labels for 10 rows"),
    "continuous": (np.linspace(0, 1, 10), "continuous"),
}


@pytest.mark.parametrize("name", BAD_LABELS)
def test_labels_that_cannot_be_fitted(name):
    y, message = BAD_LABELS[name]
    with pytest.raises(ValueError, match=message):
        tiny(class_conditional=True).fit(random_images(10), y)


def test_labels_that_a_model_does_not_know_are_refused(fitted):
    gen = tiny(class_conditional=True, max_iter=1).fit(random_images(10), [0, 1] * 5)
    with pytest.raises(ValueError, match=r"y holds 7, but the classes that were fitted are \[0, 1"):
        gen.sample(2, y=7)
    with pytest.raises(ValueError, match="y has 3 labels for 2 rows"):
        gen.sample(2, y=[0, 1, 0])
    with pytest.raises(ValueError, match="guidance=-1"):
        gen.sample(2, guidance=-1)
    for parameters in ({"guidance": 2.0}, {"y": 0}):
        with pytest.raises(ValueError, match="fitted without"):
            fitted.sample(2, **parameters)


def test_labels_work_for_tables_too():
    X, y = load_digits(return_X_y=True)
    X, y = X[:100, 20:30], y[:100]
    gen = small(class_conditional=True, bin_width=1.0, max_iter=3).fit(X, y)
    # The difference is 6.9 nats, with a standard error of 0.02.
    assert gen.score(X[:50], y[:50]) > gen.score(X[:50], (y[:50] + 1) % 10) + 3


def test_a_classifier_knows_digits_by_their_densities():
    images, y = load_digits().images[:, ::2, ::2], load_digits().target
    images, y = images[y < 2], y[y < 2]
    classifier = GUDClassifier(
        GUDGenerator(bin_width=1.0, network=TINY, max_iter=15), random_state=0
    ).fit(images[:200], y[:200])
    test = slice(200, 260)
    proba = classifier.predict_proba(images[test])
    np.testing.assert_allclose(proba.sum(1), 1)
    found = classifier.classes_[proba.argmax(1)]
    # 98 % of them over seeds; by chance it is one half, with a standard error of 6 %.
    assert (found == y[test]).mean() > 0.85
    assert (classifier.predict(images[200:210]) == found[:10]).all()
    assert classifier.generator_.random_state == 0


def test_priors_of_a_classifier():
    X, y = random_images(20, (4, 4, 1)), np.arange(20) % 2
    gen = tiny(max_iter=0)
    even = GUDClassifier(gen, priors=[0.9, 0.1]).fit(X, y)
    # An untrained model gives all classes the same density: the posterior is the prior.
    np.testing.assert_allclose(even.predict_proba(X), np.tile([0.9, 0.1], (20, 1)), atol=1e-6)
    # The default is the classes' frequencies.
    y = np.arange(20) % 4 == 0
    np.testing.assert_allclose(GUDClassifier(gen).fit(X, y).class_prior_, [0.75, 0.25])
    with pytest.raises(ValueError, match="one probability for each|Pass one probability"):
        GUDClassifier(gen, priors=[1.0]).fit(X, y)
    with pytest.raises(ValueError, match="positive and sum to 1"):
        GUDClassifier(gen, priors=[0.5, 0.6]).fit(X, y)
    with pytest.raises(ValueError, match="one class"):
        GUDClassifier(gen).fit(X, np.zeros(20))
    with pytest.raises(TypeError, match="has no classes"):
        from sklearn.neighbors import KernelDensity

        GUDClassifier(KernelDensity()).fit(X, y)
