"""Images: their container, and the basis that fits them."""

import math
from dataclasses import dataclass
from numbers import Integral

import numpy as np
import pandas as pd

from gudlearn.bases import FourierBasis, PCABasis, WaveletBasis
from gudlearn.data.containers import clip_to


@dataclass(frozen=True, eq=False)
class ImageContainer:
    """Shape, dtype and columns of the images that a user passed.

    Parameters
    ----------
    shape : (height, width, channels)
    sample_shape : tuple of int
        Shape of one sample in X.
    dtype : numpy.dtype
    columns : pandas.Index or None
        Columns of a pandas DataFrame of flat images.
    """

    shape: tuple
    sample_shape: tuple
    dtype: np.dtype
    columns: pd.Index | None = None

    is_image = True

    @property
    def names(self):
        """Columns of a DataFrame of flat images as a list, or None."""
        return None if self.columns is None else list(self.columns)

    def rows(self, X):
        """Flat rows of new images of the same kind.

        Raises
        ------
        ValueError
            If they have another shape, or other column names.
        """
        names = list(getattr(X, "columns", ()))
        if names != self.names and are_names(names) and are_names(self.names):
            raise ValueError(
                "The feature names should match those that were passed during fit, in their order."
            )
        X = _as_array(X)
        if X.shape[1:] != self.sample_shape:
            shape = ", ".join(["n", *map(str, self.sample_shape)])
            raise ValueError(
                f"X has shape {X.shape}, but this estimator was fitted to samples of shape "
                f"{self.sample_shape}. Pass an array of shape ({shape})."
            )
        return _flat(X)

    def wrap(self, X, whole):
        """Rows, float64, as images of the shape and the dtype that were fitted.

        Images of integers are always rounded; `whole` is for columns of tables, and is not used.
        """
        X = X.reshape(-1, *self.sample_shape)
        X = X if self.dtype.kind == "f" else np.rint(X)
        X = clip_to(self.dtype, X).astype(self.dtype)
        return X if self.columns is None else pd.DataFrame(X, columns=self.columns)


def read_images(X, shape):
    """Flat rows and container of images; None where X and shape describe a table.

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
        If X is not numeric, or shape does not hold whole numbers.
    """
    columns = X.columns.copy() if isinstance(X, pd.DataFrame) else None
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
                f"np.reshape(X, (-1, *{shape})) with it if the shape is right."
            )
    elif X.ndim not in (3, 4):
        raise ValueError(
            f"X has {X.ndim} dimensions. Images have shape (n, height, width) or (n, height, "
            "width, channels); pass flat rows (n, features) with shape=(height, width[, channels])."
        )
    elif shape is not None and X.shape[1:] not in (shape, (*shape, 1)):
        raise ValueError(
            f"shape={shape} does not match X of shape {X.shape}. Leave shape out: it is taken "
            "from the images."
        )
    elif shape is None:
        _refuse_channels_first(X.shape)
    sample_shape = X.shape[1:]
    image_shape = shape if X.ndim == 2 else sample_shape
    container = ImageContainer((*image_shape, 1)[:3], sample_shape, X.dtype, columns)
    return _flat(X), container


def are_names(names):
    """Whether column labels are names: all strings, as scikit-learn requires."""
    return bool(names) and all(isinstance(name, str) for name in names)


def _n_axes(X):
    """Number of dimensions of an array or a frame."""
    return 2 if hasattr(X, "columns") else getattr(X, "ndim", None) or np.asarray(X).ndim


def _is_listed(X):
    """Whether X is a list of samples, or an object array of samples."""
    return isinstance(X, list | tuple) or (
        isinstance(X, np.ndarray) and X.dtype == object and X.ndim == 1
    )


def _is_nested(X):
    """Whether the samples of a list have two or more dimensions; their shapes may differ."""
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
            "channels came first. Pass np.moveaxis(X, 1, -1), or shape= if the shape is right."
        )


def _flat(X):
    X = X.reshape(len(X), math.prod(X.shape[1:]))
    if X.dtype.kind == "f" and X.dtype.itemsize not in (4, 8):
        # Torch computes in half precision on few devices, and has no type longer than double.
        return X.astype(np.float32 if X.dtype.itemsize < 4 else np.float64)
    return X.astype(X.dtype.newbyteorder("="), copy=False)


def image_basis(parameter, basis, shape):
    """Set shape and channels of a basis for images, or check them.

    Parameters
    ----------
    parameter : str or Basis
        Parameter of the estimator.
    basis : Basis
        The specification that it was resolved to, a copy.
    shape : (height, width, channels)

    Raises
    ------
    ValueError
        If the basis is for images of another shape, or with other channels.
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
