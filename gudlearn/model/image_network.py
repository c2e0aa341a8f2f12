"""Image networks for any basis of the noise: rotations in torch, and maps of noise levels."""

import functools
import math

import numpy as np
import torch

from gudlearn.bases import BlockBasis, FourierBasis, IdentityBasis, PCABasis, WaveletBasis
from gudlearn.nn.rotated import (
    BlockRotation,
    ChannelRotation,
    FourierRotation,
    GammaMaps,
    IdentityRotation,
    MatrixRotation,
    RotatedNetwork,
    SplitRotation,
)

# The network's condition holds the mean noise levels of at most this many groups of components of
# similar order.
_N_GROUPS = 12


@functools.singledispatch
def make_rotation(basis, shape=None):
    """The rotation of a fitted basis as a float32 module, by default by its matrix of components.

    Register a faster rotation for your own basis with ``make_rotation.register``.

    Parameters
    ----------
    basis : fitted Basis
    shape : (height, width, channels) or None
        Shape of one image where rows are flat images.

    Returns
    -------
    nn.Module
        See ``gudlearn.nn.rotated``.
    """
    matrix = getattr(basis, "components_", None)
    if matrix is None:
        matrix = basis.inverse_transform(np.eye(basis.n_components_)) - basis.mean_
        matrix = matrix / basis.scale_[:, None]
    return MatrixRotation(_float(matrix))


_matrix_rotation = make_rotation.dispatch(object)


@make_rotation.register
def _(basis: IdentityBasis, shape=None):
    return IdentityRotation()


@make_rotation.register
def _(basis: BlockBasis, shape=None):
    blocks = [(make_rotation(block), columns) for _, block, columns in basis.blocks_]
    return BlockRotation(*zip(*blocks, strict=True))


@make_rotation.register
def _(basis: PCABasis, shape=None):
    if basis.n_channels_ == 1:
        return _matrix_rotation(basis, shape)
    return ChannelRotation([_float(matrix) for matrix in basis.channel_components_])


@make_rotation.register
def _(basis: FourierBasis, shape=None):
    if not _fits(basis, shape):
        return _matrix_rotation(basis, shape)
    return FourierRotation(shape[:2], _float(basis.channel_axes_))


@make_rotation.register
def _(basis: WaveletBasis, shape=None):
    if not _fits(basis, shape):
        return _matrix_rotation(basis, shape)
    splits = [tuple(map(_float, pair)) for pair in basis.split_matrices()]
    return SplitRotation(shape[:2], _float(basis.channel_axes_), splits)


def _fits(basis, shape):
    """Whether the grid and channels of a basis are those of images of a shape."""
    return shape is not None and (*basis.shape_, basis.n_channels_) == tuple(shape)


def make_gamma_maps(basis, shape, active):
    """Maps of noise levels for local components (pixels, blocks, wavelets), else None."""
    height, width, channels = shape
    of_pixels, cell = basis.mixing()
    if of_pixels.any():
        pixels = of_pixels.reshape(height, width, channels).transpose(2, 0, 1)
    elif isinstance(basis, WaveletBasis) and basis.shape_ == (height, width):
        cell, pixels = _wavelet_cells(basis, shape)
    else:
        return None
    return GammaMaps(torch.from_numpy(cell[active]), torch.from_numpy(pixels.copy()))


def _wavelet_cells(basis, shape):
    """Cell of each wavelet, and cells of each pixel, on one grid for each decomposition level."""
    height, width, channels = shape
    extents = basis.extents()
    cell = np.zeros((height, width), dtype=np.int64)
    row, column = np.indices((height, width))
    pixels, first = [], 0
    # Each split has its details, and the last iteration is for the approximation.
    for split in range(len(extents)):
        inner = extents[min(split + 1, len(extents) - 1)]
        side = 2 ** min(split + 1, len(extents) - 1)
        rows, columns = -(-height // side), -(-width // side)
        inside = (row < extents[split][0]) & (column < extents[split][1])
        r = np.where(row >= inner[0], row - inner[0], row)[inside]
        c = np.where(column >= inner[1], column - inner[1], column)[inside]
        cell[inside] = first + r * columns + c
        pixels.append(first + (row // side) * columns + column // side)
        first += rows * columns
    return np.repeat(cell.ravel(), channels), np.stack(pixels[::-1])


def make_image_network(encoding, marginals, spec, n_classes):
    """An untrained network of images around the basis of an encoding."""
    basis, shape, active = encoding.basis, encoding.shape, np.flatnonzero(encoding.ends.active)
    height, width, channels = shape
    maps = make_gamma_maps(basis, shape, active)
    n_inputs = 2 * channels + (0 if maps is None else maps.n_maps)
    network = spec.build(n_inputs, channels, spec.n_condition, (height, width))
    pixel_std = math.sqrt(np.mean(encoding.column_std**2) + np.var(encoding.column_mean))
    pixel_std = pixel_std or 1.0
    std = np.sqrt(marginals.variance.numpy())
    return RotatedNetwork(
        network,
        make_rotation(basis, shape),
        shape,
        active=torch.from_numpy(active),
        scale=_float(std * basis.scale_[active] / pixel_std),
        offset=_float((basis.mean_ - encoding.column_mean.mean()) / pixel_std),
        log_variances=_float(np.log(encoding.ends.variances[active])),
        groups=torch.from_numpy(_order_groups(encoding.components.order)),
        maps=maps,
        n_condition=spec.n_condition,
        n_classes=n_classes,
        mirror=spec.mirror,
    )


def _order_groups(order):
    """Groups of components of similar order, at most _N_GROUPS; equal orders stay together."""
    values, rank = np.unique(order, return_inverse=True)
    below = np.searchsorted(np.sort(rank), rank)
    group = rank if len(values) <= _N_GROUPS else below * _N_GROUPS // len(order)
    return np.unique(group, return_inverse=True)[1]


def _float(array):
    return torch.from_numpy(np.array(array)).float()
