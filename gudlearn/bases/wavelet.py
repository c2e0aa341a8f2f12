"""Wavelet basis: Haar at every length, other orthonormal families by PyWavelets."""

from collections.abc import Sequence
from numbers import Integral

import numpy as np

from gudlearn._constraints import Interval
from gudlearn.bases.axes import channel_axes, check_joint_channels
from gudlearn.bases.base import WHITEN_CONSTRAINT, Basis
from gudlearn.bases.batches import isotropic_noise, row_rounding, scaled, spatial_shape


class WaveletBasis(Basis):
    r"""Orthonormal wavelets of a signal, an image or a volume.

    Parameters
    ----------
    shape : tuple of one to three ints or None, default=None
        Shape of one flattened sample (C order), without the channels. None is one dimension.
    wavelet : str, default="haar"
        "haar" works at every length. Any other name is a family of PyWavelets (the extra
        `wavelet`) that is orthonormal, e.g. "db2" or "sym4"; every axis longer than 1 must then
        have an even length at each level.
    levels : int or None, default=None
        Number of times that the approximation is split. None is as often as the lengths allow
        and, for families other than Haar, as PyWavelets recommends for the filter.
    channels : int or None, default=None
        Number of channels, the last and fastest axis of a sample. Each is transformed separately.
    joint_channels : bool, default=False
        First rotate the channels to the principal axes of their covariance. Channel 0 is then the
        combination of largest variance (the brightness of colours). Needs at least two channels.
    whiten : bool or float in [0, 1], default=True
        Divide each component by its standard deviation to this power.

    Attributes
    ----------
    shape_ : tuple of int
        Shape without the channels.
    n_channels_ : int
        Number of channels, 1 if `channels` is None.
    channel_axes_ : ndarray of shape (n_channels, n_channels)
        Orthonormal rows: the combinations of channels that are transformed, by descending variance
        over all rows and positions, about the mean of each column. The entry of largest magnitude
        in each row is positive. The identity matrix unless `joint_channels`.
    n_levels_ : int
        Number of times that the approximation is split.
    mean_ : ndarray of shape (n_features,)
        Mean of each column.
    component_variances_ : ndarray of shape (n_components,)
        Variance of each component before scaling; a small positive number for constant ones.
    scale_ : ndarray of shape (n_components,)
        Divisor of each component; 1 for constant components.
    dead_ : ndarray of shape (n_components,)
        True for components that are constant up to rounding.
    log_abs_det_jacobian_ : float
        Logarithm of the Jacobian determinant of `transform`.
    n_components_ : int
        Number of components, equal to the number of columns.
    n_features_in_ : int
        Number of columns seen in fit.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the columns, if they were strings.

    Notes
    -----
    Haar gives each coefficient a weight w, the number of samples that it covers, and combines
    neighbours by

    .. math:: a = \frac{\sqrt{w_l} x_l + \sqrt{w_r} x_r}{\sqrt{w_l + w_r}}, \qquad
              d = \frac{\sqrt{w_r} x_l - \sqrt{w_l} x_r}{\sqrt{w_l + w_r}}

    A last sample without a neighbour is kept as it is. This transform is orthonormal at every
    length, has no details for constant signals, and is the usual Haar transform if lengths are
    powers of two. Components are laid out as an image of the coefficients, on each axis the
    approximation first. Groups (and natural order) are "level0" (0) for the approximation, "level1"
    (1) for the coarsest detail, and so on to the finest.

    Examples
    --------
    >>> import numpy as np
    >>> from gudlearn.bases import WaveletBasis
    >>> basis = WaveletBasis().fit(np.random.default_rng(0).normal(size=(9, 4)))
    >>> basis.describe().groups.tolist()
    ['level0', 'level1', 'level2', 'level2']
    """

    _parameter_constraints: dict = {
        **WHITEN_CONSTRAINT,
        "shape": [tuple, list, None],
        "wavelet": [str],
        "levels": [Interval(Integral, 1, None, closed="left"), None],
        "channels": [Interval(Integral, 1, None, closed="left"), None],
        "joint_channels": ["boolean"],
    }

    def __init__(
        self, shape: Sequence[int] | None = None, wavelet: str = "haar", levels: int | None = None,
        channels: int | None = None, joint_channels: bool = False, whiten: bool | float = True,
    ) -> None:  # fmt: skip
        self.shape = shape
        self.wavelet = wavelet
        self.levels = levels
        self.channels = channels
        self.joint_channels = joint_channels
        self.whiten = whiten

    def _prepare(self, n_features):
        if self.joint_channels:
            check_joint_channels(self.channels)
        self.shape_, self.n_channels_ = spatial_shape(self.shape, self.channels, n_features)
        if self.wavelet == "haar":
            self.n_levels_ = _haar_levels(self.levels, self.shape_)
        else:
            self.n_levels_ = _filter_levels(self.levels, self.shape_, self.wavelet)

    def _learn(self, X):
        self.channel_axes_ = np.eye(self.n_channels_)
        if self.joint_channels:
            self.channel_axes_ = channel_axes(X, self.mean_, self.n_channels_)
        return scaled(self._rotated_variances(X), row_rounding(X), self.whiten)

    def extents(self):
        """Return the shape of the approximation before each split, and after the last.

        Returns
        -------
        extents : list of tuple of int
            ``n_levels_ + 1`` shapes without channels, the first of which is `shape_`.
        """
        return [
            tuple(-(-n // 2**level) for n in self.shape_) for level in range(self.n_levels_ + 1)
        ]

    def split_matrices(self):
        """Return the orthonormal matrices of each split, one for each axis.

        Returns
        -------
        matrices : list of tuple of ndarray of shape (length, length)
            For each split, starting with that of the whole sample, one matrix for each axis of
            `shape_`. A row is a coefficient, the approximation first; the identity matrix where
            the length is 1.
        """
        matrices = []
        for level, extent in enumerate(self.extents()[:-1]):
            of_axes = [np.eye(length) for length in extent]
            for axis, length in enumerate(extent):
                if length > 1:
                    split, _ = self._split_and_join(axis, level)
                    of_axes[axis] = split(of_axes[axis]).T.copy()
            matrices.append(tuple(of_axes))
        return matrices

    def _split_and_join(self, axis, level):
        """Return the split along one axis of the approximation at one level, and its inverse."""
        if self.wavelet != "haar":
            return _filter_split(self.wavelet)
        return _haar_split(_haar_weights(self.shape_[axis], level))

    def rotate(self, centred):
        """Multiply centred rows by U transposed; see `Basis.rotate`."""
        mixed = centred.reshape(-1, self.n_channels_) @ self.channel_axes_.T
        grid = mixed.reshape(-1, *self.shape_, self.n_channels_)
        for level, extent in enumerate(self.extents()[:-1]):
            region = (slice(None), *map(slice, extent))
            block = grid[region]
            for axis, length in enumerate(extent):
                if length > 1:
                    split, _ = self._split_and_join(axis, level)
                    block = _along(split, block, axis + 1)
            grid[region] = block
        return grid.reshape(centred.shape)

    def rotate_back(self, components):
        """Multiply unscaled components by U; see `Basis.rotate_back`."""
        grid = components.reshape(-1, *self.shape_, self.n_channels_).copy()
        for level, extent in reversed(list(enumerate(self.extents()[:-1]))):
            region = (slice(None), *map(slice, extent))
            block = grid[region]
            for axis, length in enumerate(extent):
                if length > 1:
                    _, join = self._split_and_join(axis, level)
                    block = _along(join, block, axis + 1)
            grid[region] = block
        return (grid.reshape(-1, self.n_channels_) @ self.channel_axes_).reshape(components.shape)

    def _level_of_components(self):
        """0 for the approximation, 1 for the coarsest detail, ..., `n_levels_` for the finest."""
        levels = np.zeros(self.shape_, dtype=int)
        for split, extent in enumerate(self.extents()):
            levels[tuple(map(slice, extent))] = self.n_levels_ - split
        return np.repeat(levels.ravel(), self.n_channels_)

    def _component_names(self, input_names):
        levels = self._level_of_components()
        index = np.empty(len(levels), dtype=int)
        for level in np.unique(levels):
            of_level = levels == level
            index[of_level] = np.arange(of_level.sum())
        return [f"wavelet_level{level}_{i}" for level, i in zip(levels, index, strict=True)]

    def natural_order(self):
        """Return the level of each component; see `Basis.natural_order`."""
        return self._level_of_components()

    def _groups(self, names):
        return [f"level{level}" for level in self._level_of_components()]

    def component_columns(self):
        """Return None: no wavelet is a column; see `Basis.component_columns`."""
        return None

    def component_noise(self, column_std):
        """Compute the noise of the components; see `Basis.component_noise`."""
        return isotropic_noise(column_std)


def _along(function, block, axis):
    return np.moveaxis(function(np.moveaxis(block, axis, -1)), -1, axis)


def _haar_weights(length, level):
    """Number of samples covered by each coefficient of the approximation at one level."""
    edges = np.minimum(np.arange(0, length + 2**level, 2**level), length)
    return np.diff(edges)


def _haar_split(weights):
    """Return the split of the last axis into [approximation | detail] and its inverse."""
    length = len(weights)
    pairs = length // 2
    left, right = weights[0 : 2 * pairs : 2], weights[1::2]
    cos, sin = np.sqrt(left / (left + right)), np.sqrt(right / (left + right))

    def split(x):
        x_left, x_right = x[..., 0 : 2 * pairs : 2], x[..., 1::2]
        parts = [cos * x_left + sin * x_right, x[..., 2 * pairs :], sin * x_left - cos * x_right]
        return np.concatenate(parts, axis=-1)

    def join(coefficients):
        approximation, detail = coefficients[..., :pairs], coefficients[..., length - pairs :]
        x = np.empty_like(coefficients)
        x[..., 0 : 2 * pairs : 2] = cos * approximation + sin * detail
        x[..., 1::2] = sin * approximation - cos * detail
        x[..., 2 * pairs :] = coefficients[..., pairs : length - pairs]
        return x

    return split, join


def _filter_split(name):
    """Return the split of the last axis by a filter of PyWavelets and its inverse."""
    import pywt

    def split(x):
        return np.concatenate(pywt.dwt(x, name, mode="periodization", axis=-1), axis=-1)

    def join(coefficients):
        approximation, detail = np.split(coefficients, 2, axis=-1)
        return pywt.idwt(approximation, detail, name, mode="periodization", axis=-1)

    return split, join


def _haar_levels(levels, shape):
    max_levels = (max(shape) - 1).bit_length()
    if levels is not None and levels > max_levels:
        raise ValueError(
            f"levels={levels} is more than the {max_levels} that shape={shape} allows. "
            "Pass fewer levels, or None for as many as possible."
        )
    return max_levels if levels is None else int(levels)


def _filter_levels(levels, shape, name):
    filter_length = _orthonormal_filter_length(name)
    lengths = [n for n in shape if n > 1]
    if not lengths:
        return _haar_levels(levels, shape)
    # Each split needs an even length on every axis; axes of length 1 are not split.
    max_levels = 0
    while any(n >> max_levels > 1 for n in lengths) and all(
        n >> max_levels == 1 or (n >> max_levels) % 2 == 0 for n in lengths
    ):
        max_levels += 1
    if max_levels == 0 or (levels is not None and levels > max_levels):
        requested = 1 if levels is None else levels
        raise ValueError(
            f"wavelet={name!r} is orthonormal only where every axis has an even length at each "
            f"level: shape={shape} allows {max_levels} levels, not {requested}. "
            "Use wavelet='haar', which works at every length, or fewer levels."
        )
    if levels is not None:
        return int(levels)
    recommended = int(np.log2(max(1, min(lengths) / (filter_length - 1))))
    return min(max_levels, max(1, recommended))


def _orthonormal_filter_length(name):
    """Number of taps of a PyWavelets filter; raises if it is not orthonormal."""
    try:
        import pywt
    except ImportError as error:
        raise ImportError(
            f"wavelet={name!r} needs PyWavelets. Install it with pip install 'gudlearn[wavelet]', "
            "or use wavelet='haar'."
        ) from error
    if name not in pywt.wavelist(kind="discrete"):
        raise ValueError(
            f"wavelet={name!r} is not known. Use 'haar' or an orthonormal family of "
            "pywt.wavelist(kind='discrete'), such as 'db2' or 'sym4'."
        )
    wavelet = pywt.Wavelet(name)
    taps = np.array(wavelet.dec_lo)
    overlaps = np.correlate(taps, taps, mode="full")[len(taps) - 1 :: 2]
    # PyWavelets calls "dmey" orthogonal, but it is so to two digits only.
    if not wavelet.orthogonal or np.abs(overlaps - (np.arange(len(overlaps)) == 0)).max() > 1e-10:
        raise ValueError(
            f"wavelet={name!r} is not orthonormal. Use 'haar' or an orthonormal family such as "
            "'db2' or 'sym4'."
        )
    return len(taps)
