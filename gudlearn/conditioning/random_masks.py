"""Random states for training: parts of a row given, parts missing, parts one after another.

A network that never saw such states is poor at them (Chen et al. 2024, "Diffusion Forcing",
https://arxiv.org/abs/2407.01392).
"""

import numpy as np
import torch

from gudlearn.conditioning.states import MISSING, OBSERVED, TARGET, MaskedPath

# Of the rows in mixed states, the share whose groups go one after another.
_WINDOWS = 0.3


class RandomMasks:
    """Draws the states of rows, and the windows in which their components travel.

    A share of the rows is in a mixed state. There a part is wanted and the rest is given, or
    missing, or some of each; parts are groups drawn one by one with a probability that is drawn
    too, or spans of neighbours. In other rows groups go one after another, a few at once, in
    their order, the reverse one or any.

    Parameters
    ----------
    groups : LongTensor of shape (D,)
        The group of each component; neighbours have neighbouring numbers.
    grid : tuple of int
        Extents of the grid whose cells, row by row, are the groups.
    rate : float in [0, 1]
        Share of rows in a mixed state.
    log_variances : Tensor of shape (D,)
        Of the scaled components.
    """

    def __init__(self, groups, grid, rate, log_variances):
        self.groups, self.grid, self.rate = groups, grid, rate
        self.log_variances = log_variances
        # What batches so far had less than their share of, in rows.
        self._owed = 0.0

    def path(self, path, n_rows, generator, missing=None):
        """The path of a batch, with states drawn for each row.

        Parameters
        ----------
        path : GammaPath
        n_rows : int
        generator : torch.Generator
        missing : BoolTensor of shape (n_rows, D) or None
            What the data do not tell.

        Returns
        -------
        MaskedPath
        """
        state = torch.full((n_rows, len(self.groups)), TARGET, device=self.groups.device)
        start = width = None
        rows = self._mixed_rows(n_rows, generator)
        if len(rows):
            start = torch.zeros(state.shape, device=state.device)
            width = torch.ones_like(start)
            state[rows], start[rows], width[rows] = self._draw(len(rows), generator)
        if missing is not None:
            state = state.masked_fill(missing, MISSING)
        return MaskedPath(path, state, self.log_variances, start, width)

    def _mixed_rows(self, n, generator):
        """Indices of the rows in a mixed state, evenly spaced: so are the times of rows."""
        self._owed += n * self.rate
        n_mixed = min(int(self._owed), n)
        self._owed -= n_mixed
        offset = torch.rand(1, generator=generator, device=self.groups.device).double()
        place = (torch.arange(n_mixed, device=offset.device) + offset) * (n / max(n_mixed, 1))
        return place.long().clamp(max=n - 1)

    def _draw(self, n, generator):
        """State, start and width of n rows in a mixed state; each (n, D)."""
        n_groups = int(np.prod(self.grid))

        def uniform(*shape):
            return torch.rand(n, *shape, generator=generator, device=self.groups.device)

        in_turn = uniform(1) < _WINDOWS
        apart = uniform(n_groups) < uniform(1)
        together = self._spans(uniform)
        known = torch.where(uniform(1) < 0.5, apart, together)
        known = known ^ (uniform(1) < 0.5)
        known &= ~known.all(1, keepdim=True) & ~(in_turn & (uniform(1) < 0.5))
        # The rest is given, or missing, or in a fifth of the rows some of each. What is missing
        # leaves more to learn.
        kind = uniform(1)
        share = torch.where(kind < 0.4, 1.0, torch.where(kind < 0.8, 0.0, 0.5))
        rest = torch.where(uniform(n_groups) < share, OBSERVED, MISSING)
        state = torch.where(known, rest, TARGET)
        start, width = self._windows(n_groups, uniform)
        start, width = torch.where(in_turn, start, 0.0), torch.where(in_turn, width, 1.0)
        return state[:, self.groups], start[:, self.groups], width.expand(n, len(self.groups))

    def _spans(self, uniform):
        """Whether groups lie in a box of the grid, whose every side may be all of its axis."""
        inside = None
        for extent in self.grid:
            cut = torch.stack([uniform(1), uniform(1)]).mul(extent + 1).floor()
            low, high = cut.amin(0), cut.amax(0)
            whole = uniform(1) < 0.5 if len(self.grid) > 1 else False
            place = torch.arange(extent, device=low.device)
            along = ((place >= low) & (place < high)) | whole
            inside = along if inside is None else (inside[:, :, None] & along[:, None]).flatten(1)
        return inside

    def _windows(self, n_groups, uniform):
        """Start and width of the windows of groups that go in turn; (n, G) and (n, 1)."""
        forward = torch.arange(n_groups, device=self.groups.device)
        shuffled = uniform(n_groups).argsort(1)
        kind = uniform(1)
        behind = torch.where(kind < 0.5, forward, n_groups - 1 - forward)
        behind = torch.where(kind < 0.25, shuffled, behind)
        at_once = float(n_groups) ** uniform(1)
        return behind / (n_groups - 1 + at_once), at_once / (n_groups - 1 + at_once)


def make_random_masks(encoding, rate, device):
    """The RandomMasks of an encoding's active components.

    Parameters
    ----------
    encoding : Encoding
    rate : float
    device : torch.device
    """
    active = encoding.ends.active
    groups, grid = encoding.groups()
    return RandomMasks(
        torch.from_numpy(groups).to(device),
        grid,
        rate,
        torch.from_numpy(np.log(encoding.ends.variances[active])).to(device, torch.float32),
    )
