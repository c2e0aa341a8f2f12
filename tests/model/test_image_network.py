"""Rotations by torch agree with their bases, and a basis of one's own can register a fast one."""

import numpy as np
import pytest
import torch
from torch import nn

from gudlearn.bases import Basis, BlockBasis, FourierBasis, IdentityBasis, PCABasis, WaveletBasis
from gudlearn.bases.batches import row_rounding, scaled
from gudlearn.model.image_network import make_rotation
from gudlearn.nn.rotated import FourierRotation, MatrixRotation, SplitRotation

SHAPE = (4, 6, 2)
X = np.random.default_rng(0).normal(size=(60, 48))


class Reversed(Basis):
    """The columns in reverse order."""

    def __init__(self, whiten=True):
        self.whiten = whiten

    def _prepare(self, n_features):
        pass

    def _learn(self, X):
        return scaled(self._rotated_variances(X), row_rounding(X), self.whiten)

    def rotate(self, centred):
        return centred[:, ::-1]

    def rotate_back(self, components):
        return components[:, ::-1]

    def _component_names(self, input_names):
        return [f"r{i}" for i in range(self.n_components_)]

    def natural_order(self):
        return np.arange(self.n_components_)

    def _groups(self, names):
        return names

    def component_columns(self):
        return None

    def component_noise(self, column_std):
        return column_std[::-1]


def agrees(basis, rotation):
    centred = torch.from_numpy(X - basis.mean_).float()
    rotated = basis.rotate(X - basis.mean_)
    np.testing.assert_allclose(rotation(centred).numpy(), rotated, atol=1e-5)
    np.testing.assert_allclose(rotation.back(rotation(centred)), centred, atol=1e-5)


@pytest.mark.parametrize(
    "basis",
    [
        IdentityBasis(),
        PCABasis(),
        PCABasis(channels=2),
        FourierBasis(shape=(4, 6), channels=2, joint_channels=True),
        WaveletBasis(shape=(4, 6), channels=2),
        FourierBasis(),
        WaveletBasis(shape=(8, 6)),
        BlockBasis([("a", PCABasis(), slice(0, 12)), ("b", FourierBasis(), slice(12, 48))]),
        Reversed(),
    ],
    ids=repr,
)
def test_a_rotation_is_that_of_its_basis(basis):
    agrees(basis.fit(X), make_rotation(basis, SHAPE))


def test_bases_of_the_images_grid_have_fast_rotations():
    fourier = FourierBasis(shape=(4, 6), channels=2).fit(X)
    wavelet = WaveletBasis(shape=(4, 6), channels=2).fit(X)
    assert isinstance(make_rotation(fourier, SHAPE), FourierRotation)
    assert isinstance(make_rotation(wavelet, SHAPE), SplitRotation)
    # Of another grid, or of no images at all.
    assert isinstance(make_rotation(fourier, (6, 4, 2)), MatrixRotation)
    assert isinstance(make_rotation(wavelet), MatrixRotation)


def test_a_basis_of_ones_own_can_be_fast():
    class Flip(nn.Module):
        def forward(self, pixels):
            return pixels.flip(1)

        back = forward

    class Own(Reversed):
        pass

    make_rotation.register(Own, lambda basis, shape=None: Flip())
    basis = Own().fit(X)
    rotation = make_rotation(basis, SHAPE)
    assert isinstance(rotation, Flip)
    agrees(basis, rotation)
    # Inside a block, too.
    block = BlockBasis([("own", Own(), slice(None))]).fit(X)
    agrees(block, make_rotation(block, SHAPE))
