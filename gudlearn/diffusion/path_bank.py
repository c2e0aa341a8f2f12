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
        self._places = {}

    def of_batch(self, n_rows, n_groups, batch):
        """The path of a batch, and windows of its rows.

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
        windows : tuple (start, width) of Tensor of shape (n_rows, D), or None
            Windows in which each row is on the path, see `MaskedPath`; None if all time is one.
        """
        if len(self.paths) == 1:
            return self.paths[0], None
        shift = batch * _SILVER % 1
        if self._linear is None:
            return self.paths[int(shift * len(self.paths))], None
        if (n_rows, n_groups) not in self._places:
            group = torch.arange(n_rows, device=self._start.device) // -(-n_rows // n_groups)
            self._places[n_rows, n_groups] = group.double() * _GOLDEN % 1
        place = (self._places[n_rows, n_groups] + shift) % 1
        index = (place * len(self.paths)).long()
        return self._linear, (self._start[index], self._width[index])


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
