"""Images: what X was understood as, and how a basis of pixels is computed by torch."""

import math
from dataclasses import dataclass
from numbers import Integral

import numpy as np
import pandas as pd
import torch

from gudlearn.bases import BlockBasis, FourierBasis, IdentityBasis, PCABasis, WaveletBasis
from gudlearn.data.containers import clip_to
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

# So many means of noise levels, of components alike in order, make a network's condition.
_N_GROUPS = 12


@dataclass(frozen=True)
class ImageContainer:
    """How images came, and how they go back.

    Parameters
    ----------
    shape : (height, width, channels)
    axes : tuple of int
        Shape of one sample in X.
    dtype : numpy.dtype
    names : list or None
        Columns of a pandas DataFrame of flat images.
    """

    shape: tuple
    axes: tuple
    dtype: np.dtype
    names: list | None = None

    def rows(self, X):
        """Flat rows of more images of the same kind.

        Raises
        ------
        ValueError
            If their shape is another one, or their columns have other names.
        """
        names = list(getattr(X, "columns", ()))
        if names != self.names and are_names(names) and are_names(self.names):
            raise ValueError(
                "The feature names should match those that were passed during fit, in their order."
            )
        X = _as_array(X)
        if X.shape[1:] != self.axes:
            raise ValueError(
                f"X has shape {X.shape}, but this estimator was fitted to samples of shape "
                f"{self.axes}. Pass an array of shape {('n', *self.axes)}.".replace("'n'", "n")
            )
        return _flat(X)

    def wrap(self, X, whole):
        """Rows, float64, as images of the shape and the dtype that were fitted.

        Images of integers are rounded, whether or not values are `whole` as columns of a table.
        """
        X = X.reshape(-1, *self.axes)
        X = X if self.dtype.kind == "f" else clip_to(self.dtype, np.rint(X))
        X = X.astype(self.dtype)
        return X if self.names is None else pd.DataFrame(X, columns=self.names)


def understand(X, shape):
    """Rows and container of images; None where X and shape speak of a table.

    Parameters
    ----------
    X : array-like
        Images (n, height, width[, channels]), or flat rows where shape is given.
    shape : tuple of two or three ints, or None

    Raises
    ------
    ValueError
        If shapes do not fit, differ between images, or have the channels first.
    TypeError
        If X holds no numbers, or shape no whole numbers.
    """
    names = list(X.columns) if isinstance(X, pd.DataFrame) else None
    if shape is not None:
        shape = _check_shape(shape)
    elif not _is_nested(X) if _is_listed(X) else _n_axes(X) < 3:
        return None
    X = _as_array(X)
    if X.ndim == 2 and shape is not None:
        if X.shape[1] != math.prod(shape):
            raise ValueError(
                f"shape={shape} has {math.prod(shape)} entries but X has {X.shape[1]} features. "
                "Pass the shape of one flattened sample, channels last."
            )
        if _has_channels_first(shape):
            raise ValueError(
                f"shape={shape} was understood as {shape[0]} x {shape[1]} pixels with {shape[2]} "
                "channels. It looks as if the channels came first. Pass "
                f"np.moveaxis(np.reshape(X, (-1, *{shape})), 1, -1) without a shape, or "
                f"np.reshape(X, (-1, *{shape})) with it if it is as you meant."
            )
    elif X.ndim not in (3, 4):
        raise ValueError(
            f"X has {X.ndim} dimensions. Images have shape (n, height, width) or (n, height, "
            "width, channels); pass flat rows (n, features) with shape=(height, width[, channels])."
        )
    elif shape is not None and X.shape[1:] not in (shape, (*shape, 1)):
        raise ValueError(
            f"shape={shape} does not match X of shape {X.shape}. Leave shape out: images tell "
            "their own."
        )
    elif shape is None:
        _refuse_channels_first(X.shape)
    axes = X.shape[1:]
    found = shape if X.ndim == 2 else axes
    container = ImageContainer((*found, 1)[:3], axes, X.dtype, names)
    return _flat(X), container


def are_names(names):
    """Whether columns have names; labels of other kinds are none, as to scikit-learn."""
    return bool(names) and all(isinstance(name, str) for name in names)


def _n_axes(X):
    """Dimensions of what is no list; a frame of any kind has two."""
    return 2 if hasattr(X, "columns") else getattr(X, "ndim", None) or np.asarray(X).ndim


def _is_listed(X):
    """Whether X is a list of samples, or an array of objects that are samples."""
    return isinstance(X, list | tuple) or (
        isinstance(X, np.ndarray) and X.dtype == object and X.ndim == 1
    )


def _is_nested(X):
    """Whether a list holds lists of lists, or arrays of two dimensions, which need not be alike."""
    return len(X) > 0 and np.ndim(_first(X)) >= 2


def _first(X):
    try:
        return np.asarray(X[0])
    except ValueError:
        return np.zeros((0, 0))


def _check_shape(shape):
    if not isinstance(shape, list | tuple) or not all(
        isinstance(n, Integral) and not isinstance(n, bool) for n in shape
    ):
        raise TypeError(
            f"shape={shape!r} must be a tuple of whole numbers: (height, width) or (height, "
            "width, channels)."
        )
    if len(shape) not in (2, 3) or min(shape) < 1:
        raise ValueError(
            f"shape={shape!r} must be (height, width) or (height, width, channels), of at least 1 "
            "each."
        )
    return tuple(int(n) for n in shape)


def _as_array(X):
    try:
        X = np.asarray(X)
        mixed = X.dtype == object
    except ValueError:
        mixed = True
    if mixed:
        raise ValueError(
            "X holds images of different sizes, or no numbers. Crop or resize them to one size, "
            "and pass one array of shape (n, height, width[, channels])."
        )
    if X.dtype.kind not in "iubf":
        raise TypeError(f"X has dtype {X.dtype}, but images hold real numbers. Convert them.")
    return X


def _has_channels_first(shape):
    """Whether the first of three extents looks like a number of channels, and not the last."""
    return len(shape) == 3 and shape[0] in (1, 3, 4) and shape[2] not in (1, 2, 3, 4)


def _refuse_channels_first(shape):
    if _has_channels_first(shape[1:]):
        raise ValueError(
            f"X has shape {shape}, which was understood as (n, height, width, channels): images "
            f"of {shape[1]} x {shape[2]} pixels with {shape[3]} channels. It looks as if the "
            "channels came first. Pass np.moveaxis(X, 1, -1), or shape= if it is as you meant."
        )


def _flat(X):
    X = X.reshape(len(X), math.prod(X.shape[1:]))
    if X.dtype.kind == "f" and X.dtype.itemsize not in (4, 8):
        # Torch computes with half precision on few devices, and knows nothing longer than double.
        return X.astype(np.float32 if X.dtype.itemsize < 4 else np.float64)
    return X.astype(X.dtype.newbyteorder("="), copy=False)


# Bases of pictures


def image_basis(parameter, basis, shape):
    """The basis for images: shape and channels filled in, or refused.

    Parameters
    ----------
    parameter : str or Basis
        What the user passed.
    basis : Basis
        What it was resolved to; a copy.
    shape : (height, width, channels)

    Raises
    ------
    ValueError
        If the basis is one of pictures of another shape, or of other channels.
    """
    height, width, channels = shape
    if isinstance(basis, PCABasis) and basis.channels not in (None, 1, channels):
        raise ValueError(
            f"basis={basis!r} does not match images with {channels} channels. Pass "
            f"PCABasis(channels={channels}), or one PCA of all values, PCABasis()."
        )
    if not isinstance(basis, FourierBasis | WaveletBasis):
        return basis
    if basis.shape is None and basis.channels is None:
        basis.set_params(shape=(height, width), channels=channels)
        if isinstance(parameter, str):
            basis.set_params(joint_channels=channels > 1)
    elif tuple(basis.shape or ()) != (height, width) or (basis.channels or 1) != channels:
        raise ValueError(
            f"basis={basis!r} does not match images of {height} x {width} pixels with {channels} "
            "channels. Leave out its shape and channels: they are taken from the images."
        )
    return basis


# Bases by torch


def make_rotation(basis, shape):
    """The rotation of a fitted basis of flat images, float32.

    Fourier modes and wavelets are computed by their fast algorithms, every other basis by the
    matrix of its components, of each channel or block where they are apart.
    """
    height, width, channels = shape
    fits = isinstance(basis, FourierBasis | WaveletBasis) and basis.shape_ == (height, width)
    if fits and basis.n_channels_ == channels:
        axes = torch.from_numpy(basis.channel_axes_).float()
        if isinstance(basis, FourierBasis):
            return FourierRotation((height, width), axes)
        return SplitRotation((height, width), axes, _split_matrices(basis))
    return _rotation_of_rows(basis)


def _rotation_of_rows(basis):
    """The rotation of a fitted basis that knows no pictures, float32."""
    if isinstance(basis, IdentityBasis):
        return IdentityRotation()
    if isinstance(basis, BlockBasis):
        blocks = [(_rotation_of_rows(own), columns) for _, own, columns in basis.blocks_]
        return BlockRotation(*zip(*blocks, strict=True))
    if isinstance(basis, PCABasis) and basis.n_channels_ > 1:
        return ChannelRotation([torch.from_numpy(m).float() for m in basis.channel_components_])
    matrix = getattr(basis, "components_", None)
    if matrix is None:
        matrix = basis.inverse_transform(np.eye(basis.n_components_)) - basis.mean_
        matrix = matrix / basis.scale_[:, None]
    return MatrixRotation(torch.from_numpy(np.asarray(matrix)).float())


def _split_matrices(basis):
    """Both matrices of each split of a wavelet basis, the first one of the whole picture."""
    found = []
    for level, extent in enumerate(basis._extents()[:-1]):
        pair = []
        for axis, length in enumerate(extent):
            matrix = np.eye(length)
            if length > 1:
                matrix = basis._split_of(axis, level)[0](matrix).T
            pair.append(torch.from_numpy(matrix.copy()).float())
        found.append(tuple(pair))
    return found


def make_gamma_maps(basis, shape, active):
    """Maps of noise levels where components are local: pixels, blocks, wavelets; else None."""
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
    """The place of each wavelet in the picture: one grid of cells for each level."""
    height, width, channels = shape
    extents = basis._extents()
    cell = np.zeros((height, width), dtype=np.int64)
    row, column = np.indices((height, width))
    pixels, first = [], 0
    # Split after split the finer details are settled, and what is left is the approximation.
    for split in range(len(extents)):
        inner = extents[min(split + 1, len(extents) - 1)]
        side = 2 ** min(split + 1, len(extents) - 1)
        rows, columns = -(-height // side), -(-width // side)
        here = (row < extents[split][0]) & (column < extents[split][1])
        r = np.where(row >= inner[0], row - inner[0], row)[here]
        c = np.where(column >= inner[1], column - inner[1], column)[here]
        cell[here] = first + r * columns + c
        pixels.append(first + (row // side) * columns + column // side)
        first += rows * columns
    return np.repeat(cell.ravel(), channels), np.stack(pixels[::-1])


def make_image_network(encoding, spec, n_classes):
    """An untrained network of images around the basis of an encoding."""
    basis, shape, active = encoding.basis, encoding.shape, np.flatnonzero(encoding.ends.active)
    height, width, channels = shape
    maps = make_gamma_maps(basis, shape, active)
    n_inputs = 2 * channels + (0 if maps is None else maps.n_maps)
    network = spec.build(n_inputs, channels, spec.n_condition, (height, width))
    pixel_std = math.sqrt(np.mean(encoding.column_std**2) + np.var(encoding.column_mean))
    pixel_std = pixel_std or 1.0
    std = np.sqrt(encoding.marginals().variance.numpy())
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
    """At most _N_GROUPS groups of components alike in order, equal ones together."""
    values, rank = np.unique(order, return_inverse=True)
    below = np.searchsorted(np.sort(rank), rank)
    group = rank if len(values) <= _N_GROUPS else below * _N_GROUPS // len(order)
    return np.unique(group, return_inverse=True)[1]


def _float(array):
    return torch.from_numpy(np.asarray(array)).float()
