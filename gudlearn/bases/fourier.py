"""Fourier basis: real modes of signals, images and volumes."""

from collections.abc import Sequence
from numbers import Integral

import numpy as np
from scipy import fft

from gudlearn._constraints import Interval
from gudlearn.bases.axes import channel_axes, check_joint_channels
from gudlearn.bases.base import WHITEN_CONSTRAINT, Basis
from gudlearn.bases.batches import isotropic_noise, row_rounding, scaled, spatial_shape


class FourierBasis(Basis):
    r"""Real, orthonormal Fourier modes of a signal, an image or a volume.

    Parameters
    ----------
    shape : tuple of one to three ints or None, default=None
        Shape of one flattened sample (C order), without the channels. None is one dimension.
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
    The discrete Hartley transform: with F the unitary Fourier transform of real data,

    .. math:: H_k = \mathrm{Re} F_k - \mathrm{Im} F_k
              = N^{-1/2} \sum_x \phi_x (\cos + \sin)(2 \pi k x / N)

    It is real, orthonormal and its own inverse in any number of dimensions. It diagonalises the
    covariance of every stationary (circulant) distribution. Components have the layout of F.
    The natural order is ``|k|`` in cycles per longest axis, equal for k and -k. The groups are the
    shells of ``|k|`` rounded to integers, "k0", "k1", ...

    Examples
    --------
    >>> import numpy as np
    >>> from gudlearn.bases import FourierBasis
    >>> basis = FourierBasis().fit(np.random.default_rng(0).normal(size=(9, 4)))
    >>> basis.describe().order
    array([0., 1., 2., 1.])
    """

    _parameter_constraints: dict = {
        **WHITEN_CONSTRAINT,
        "shape": [tuple, list, None],
        "channels": [Interval(Integral, 1, None, closed="left"), None],
        "joint_channels": ["boolean"],
    }

    def __init__(
        self, shape: Sequence[int] | None = None, channels: int | None = None,
        joint_channels: bool = False, whiten: bool | float = True,
    ) -> None:  # fmt: skip
        self.shape = shape
        self.channels = channels
        self.joint_channels = joint_channels
        self.whiten = whiten

    def _prepare(self, n_features):
        if self.joint_channels:
            check_joint_channels(self.channels)
        self.shape_, self.n_channels_ = spatial_shape(self.shape, self.channels, n_features)

    def _learn(self, X):
        self.channel_axes_ = np.eye(self.n_channels_)
        if self.joint_channels:
            self.channel_axes_ = channel_axes(X, self.mean_, self.n_channels_)
        return scaled(self._rotated_variances(X), row_rounding(X), self.whiten)

    def rotate(self, centred):
        """Multiply centred rows by U transposed; see `Basis.rotate`."""
        return self._hartley(self._mix_channels(centred, self.channel_axes_.T))

    def rotate_back(self, components):
        """Multiply unscaled components by U; see `Basis.rotate_back`."""
        return self._mix_channels(self._hartley(components), self.channel_axes_)

    def _mix_channels(self, rows, matrix):
        return (rows.reshape(-1, self.n_channels_) @ matrix).reshape(rows.shape)

    def _hartley(self, rows):
        grid = rows.reshape(-1, *self.shape_, self.n_channels_)
        modes = fft.fftn(grid, axes=range(1, grid.ndim - 1), norm="ortho")
        return (modes.real - modes.imag).reshape(rows.shape)

    def _wave_numbers(self):
        """Signed wave numbers of the components, (D, n_dimensions)."""
        axes = [np.rint(fft.fftfreq(n, 1 / n)).astype(int) for n in self.shape_]
        grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
        return np.repeat(grid.reshape(-1, len(axes)), self.n_channels_, axis=0)

    def _component_names(self, input_names):
        names = ["fourier_k" + "_".join(map(str, k)) for k in self._wave_numbers().tolist()]
        if self.channels is not None:
            names = [f"{name}_c{i % self.n_channels_}" for i, name in enumerate(names)]
        return names

    def natural_order(self):
        """Return ``|k|`` in cycles per longest axis; see `Basis.natural_order`."""
        cycles = self._wave_numbers() * (max(self.shape_) / np.array(self.shape_))
        return np.sqrt(np.square(cycles).sum(axis=1))

    def _groups(self, names):
        return [f"k{k}" for k in np.rint(self.natural_order()).astype(int)]

    def component_columns(self):
        """Return None: no mode is a column; see `Basis.component_columns`."""
        return None

    def component_noise(self, column_std):
        """Compute the noise of the components; see `Basis.component_noise`."""
        return isotropic_noise(column_std)
