"""Paths between the same end points, of which the rows of training take different ones."""

import copy
import math

import torch

from gudlearn.diffusion.gates import GatedPath
from gudlearn.diffusion.paths import WindowedGamma

# Steps of the two additive sequences modulo 1 that spread paths over rows, and over batches.
_GOLDEN, _SILVER = (math.sqrt(5) - 1) / 2, math.sqrt(2) - 1


class PathBank:
    """Paths of the same components between the same end points.

    Parameters
    ----------
    paths : sequence of GammaPath
        On one device.
    """

    def __init__(self, paths):
        self.paths, windows = list(paths), [_windows(path) for path in paths]
        self._linear = None
        if len(windows) > 1 and all(w is not None for w in windows):
            self._start = torch.stack([w.start for w in windows])
            self._width = torch.stack([w.stop for w in windows]) - self._start
            self._linear = _as_linear(self.paths[0])
        self._groups = {}

    def of_batch(self, n_rows, n_groups, batch):
        """The path of a batch, or the paths of its rows.

        Paths with windows differ between groups of neighbouring rows, all others between batches.
        Each group and each batch has its turn at all paths equally often: places are those of an
        additive sequence, so that no random number is drawn.

        Parameters
        ----------
        n_rows, n_groups : int
            Neighbouring rows make a group, as in `AdaptiveTimes.sample`.
        batch : int
            Number of the batch.

        Returns
        -------
        path : GammaPath
        windows : WindowedRows or None
            Windows in which each row is on the path; None if all rows are on it at all times.
        """
        if len(self.paths) == 1:
            return self.paths[0], None
        shift = batch * _SILVER % 1
        if self._linear is None:
            return self.paths[int(shift * len(self.paths))], None
        groups = self._groups.get((n_rows, n_groups))
        if groups is None:
            group = torch.arange(n_rows, device=self._start.device) // -(-n_rows // n_groups)
            first = torch.arange(0, n_rows, -(-n_rows // n_groups), device=group.device)
            place = torch.arange(len(first), device=group.device).double() * _GOLDEN % 1
            groups = self._groups[n_rows, n_groups] = group, first, place
        group, first, place = groups
        index = ((place + shift) % 1 * len(self.paths)).long()
        start, width = self._start[index], self._width[index]
        return self._linear, WindowedRows(self._linear, start, width, group, first)


class WindowedRows:
    """Paths of rows, each component of each linear in t inside a window of its own.

    Parameters
    ----------
    path : GammaPath
        Linear in t, apart from gates.
    start, width : Tensor of shape (G, D)
        Windows of groups of neighbouring rows, which share their times.
    group : LongTensor of shape (n,)
        Group of each row.
    first : LongTensor of shape (G,)
        First row of each group.

    Attributes
    ----------
    gamma_0, gamma_1, levels : those of the path
    """

    def __init__(self, path, start, width, group, first):
        self.path, self.start, self.width = path, start, width
        self.group, self.first = group, first
        self.gamma_0, self.gamma_1, self.levels = path.gamma_0, path.gamma_1, path.levels

    @property
    def active_fraction(self):
        """Mean width of the windows of each row, (n,)."""
        return self.width.mean(1)[self.group]

    def of_rows(self):
        """Start and width of the windows of each row, (n, D)."""
        return self.start[self.group], self.width[self.group]

    def _local(self, t):
        """Times (n,) of rows as times of groups in units of each window, (G, D)."""
        return (t[self.first, None] - self.start) / self.width

    def row_times(self, local_times, density, u):
        """Times at which one random component of each group is at a given local time.

        As `MaskedPath.row_times`, for rows of which all components are targets.

        Parameters
        ----------
        local_times : Tensor of shape (n,)
            One for each group.
        density : TimeDensity
            The density of the local times.
        u : Tensor of shape (G,)
            Uniform random numbers, which select the components.

        Returns
        -------
        t, inverse_density : Tensor of shape (n,)
            Times, and the inverse of their density, which is averaged over the components.
        """
        local_times, n_components = local_times[self.first], self.width.shape[1]
        selected = (u * n_components).long()[:, None]
        start, width = self.start.gather(1, selected), self.width.gather(1, selected)
        t = start + width * local_times[:, None]
        # The selected one is at its local time up to rounding, which may be just outside.
        local = ((t - self.start) / self.width).scatter_(1, selected, local_times[:, None])
        inside = (local >= 0) & (local <= 1)
        height = (inside * density.height(local.clamp(0, 1)) / self.width).sum(1)
        return t[self.group, 0], (n_components / height)[self.group]

    def __call__(self, t):
        """Return gamma(t), of shape (n, D), for times t of shape (n,), one for each group."""
        return self.path(self._local(t).clamp(0.0, 1.0))[self.group]

    def gamma_and_rate(self, t):
        """Return gamma(t) and its derivative in t, each of shape (n, D)."""
        local = self._local(t)
        gamma, rate = self.path.gamma_and_rate(local.clamp(0.0, 1.0))
        return gamma[self.group], (rate * self._speed(local))[self.group]

    def speed(self, t):
        """Return the rate of each component's local time, (n, D); 0 outside its window."""
        return self._speed(self._local(t))[self.group]

    def _speed(self, local):
        return ((local >= 0) & (local <= 1)) / self.width


def _windows(path):
    """The path with windows that a path is, apart from its gates; None if there is none."""
    path = path.path if isinstance(path, GatedPath) else path
    return path if isinstance(path, WindowedGamma) else None


def _as_linear(path):
    """The same path with windows of all time."""
    path = copy.copy(path)
    if isinstance(path, GatedPath):
        path.path = _as_linear(path.path)
    else:
        path.start, path.stop = torch.zeros_like(path.start), torch.ones_like(path.stop)
    return path
