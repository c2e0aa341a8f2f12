"""Bases of images by torch, and maps of their noise levels."""

import copy

import numpy as np
import pytest
import torch

from gudlearn import BlockBasis, FourierBasis, IdentityBasis, PCABasis, WaveletBasis
from gudlearn.model.image_network import _order_groups, make_gamma_maps, make_rotation
from gudlearn.training.options import make_trainer
from small import random_images, tiny

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
            (
                "nested",
                BlockBasis([("a", IdentityBasis(), [2, 0]), ("b", FourierBasis(), [1, 3])]),
                [40, 0, 2, 88],
            ),
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
