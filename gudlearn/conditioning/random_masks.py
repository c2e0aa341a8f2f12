"""Random conditioning masks for training: components are observed, missing or sequential.

A network denoises states poorly that it did not see in training (Chen et al. 2024, "Diffusion
Forcing", https://arxiv.org/abs/2407.01392).
"""

import numpy as np
import torch

from gudlearn.conditioning.states import MISSING, OBSERVED, TARGET, MaskedPath, steady_targets

# Fraction of the masked rows whose groups are sequential.
_SEQUENTIAL = 0.3
# Fraction of the masked rows in which just the favoured targets are targets, and fraction of these
# in which everything else is observed.
_FAVOURED, _COMPLETE = 0.8, 0.75


class RandomMasks:
    """Random states and windows of components for the rows of a batch.

    A fraction of the rows is masked: some groups are targets and the others observed, missing, or
    a mixture of both. The groups are either selected independently, with a random probability, or
    form a box on the grid. In some masked rows the groups are also sequential, a few active at a
    time, in forward, reverse or random order.

    Parameters
    ----------
    groups : LongTensor of shape (D,)
        Group index of each component; neighbouring groups have neighbouring indices.
    grid : tuple of int
        Shape of the grid whose cells, in row-major order, are the groups.
    rate : float in [0, 1]
        Fraction of rows that are masked.
    log_variances : Tensor of shape (D,)
        log V_i, of the scaled components.
    favoured : BoolTensor of shape (D,) or None
        Components that will be asked for given the others. In most masked rows they are the
        targets, and all others are observed, or some of them missing.
    """

    def __init__(self, groups, grid, rate, log_variances, favoured=None):
        self.groups, self.grid, self.rate = groups, grid, rate
        self.log_variances, self.favoured = log_variances, favoured
        # Fraction of a masked row that rounding has left to later batches.
        self._carried = 0.0

    @classmethod
    def of_encoding(cls, encoding, rate, device, targets=None):
        """The masks of an encoding's active components.

        Parameters
        ----------
        encoding : Encoding
        rate : float in [0, 1]
        device : torch.device
        targets : ndarray of shape (F,) of bool, or None
            Columns that are favoured as targets.
        """
        active, favoured = encoding.ends.active, None
        groups, grid = encoding.groups()
        if targets is not None:
            of_targets = encoding.components_in(targets[None])[0, active]
            favoured = torch.from_numpy(of_targets).to(device) if of_targets.any() else None
        log_variances = torch.from_numpy(np.log(encoding.ends.variances[active]))
        groups = torch.from_numpy(groups).to(device)
        return cls(groups, grid, rate, log_variances.to(device, torch.float32), favoured)

    def state_dict(self):
        """What later batches depend on, a dict of plain values."""
        return {"carried": self._carried}

    def load_state_dict(self, state):
        """Take what `state_dict` returned."""
        self._carried = state["carried"]

    def path(self, path, n_rows, generator, missing=None):
        """Return the path of a batch, with random states for each row.

        Parameters
        ----------
        path : GammaPath
        n_rows : int
        generator : torch.Generator
        missing : BoolTensor of shape (n_rows, D) or None
            Components that are missing in the data.

        Returns
        -------
        MaskedPath
        """
        state = torch.full((n_rows, len(self.groups)), TARGET, device=self.groups.device)
        start = width = None
        rows = self._masked_rows(n_rows, generator)
        if len(rows):
            start = torch.zeros(state.shape, dtype=torch.float32, device=state.device)
            width = torch.ones_like(start)
            state[rows], start[rows], width[rows] = self._draw(len(rows), generator)
        if missing is not None:
            state = state.masked_fill(missing, MISSING)
        return MaskedPath(path, state, self.log_variances, start, width, self._steady(path, state))

    def of_validation(self, path, n_rows, missing=None):
        """The path of held-out rows: favoured components are targets, all others observed.

        Without favoured components all are targets.
        """
        state = torch.full((n_rows, len(self.groups)), TARGET, device=self.groups.device)
        if self.favoured is not None:
            state = state.masked_fill(~self.favoured, OBSERVED)
        if missing is not None:
            state = state.masked_fill(missing, MISSING)
        elif self.favoured is None:
            return path
        return MaskedPath(path, state, self.log_variances, steady=self._steady(path, state))

    def _steady(self, path, state):
        if self.favoured is None or path.levels is None:
            return None
        return steady_targets(state, path.levels.n_columns)

    def _masked_rows(self, n, generator):
        """Return the indices of the masked rows; evenly spaced, like the times of the rows."""
        n_masked = self._number_masked(n)
        device = self.groups.device
        offset = torch.rand(1, generator=generator, device=device, dtype=torch.float32).double()
        position = (torch.arange(n_masked, device=device) + offset) * (n / max(n_masked, 1))
        return position.long().clamp(max=n - 1)

    def _number_masked(self, n):
        """The fraction of n rows as a whole number; what is left over is carried on."""
        self._carried += n * self.rate
        n_masked = min(int(self._carried), n)
        self._carried -= n_masked
        return n_masked

    def skip(self, n):
        """Count n rows of a batch whose states another process draws."""
        self._number_masked(n)

    def _draw(self, n, generator):
        """Return state, start and width of n masked rows; each (n, D)."""
        n_groups = int(np.prod(self.grid))

        def uniform(*shape):
            return torch.rand(
                n, *shape, generator=generator, device=self.groups.device, dtype=torch.float32
            )

        is_sequential = uniform(1) < _SEQUENTIAL
        independent = uniform(n_groups) < uniform(1)
        box = self._boxes(uniform)
        is_masked = torch.where(uniform(1) < 0.5, independent, box)
        is_masked = is_masked ^ (uniform(1) < 0.5)
        is_masked &= ~is_masked.all(1, keepdim=True) & ~(is_sequential & (uniform(1) < 0.5))
        # All masked groups are observed in two fifths of the rows, and missing in two fifths.
        kind = uniform(1)
        p_observed = torch.full_like(kind, 0.5)
        p_observed = torch.where(kind < 0.4, 1.0, torch.where(kind < 0.8, 0.0, p_observed))
        mask = torch.where(uniform(n_groups) < p_observed, OBSERVED, MISSING)
        state = torch.where(is_masked, mask, TARGET)
        start, width = self._windows(n_groups, uniform)
        state = state[:, self.groups]
        if self.favoured is not None:
            is_favoured = uniform(1) < _FAVOURED
            state = torch.where(is_favoured, self._others_observed(n_groups, uniform), state)
            is_sequential &= ~is_favoured
        start = torch.where(is_sequential, start, 0.0)
        width = torch.where(is_sequential, width, 1.0)
        return state, start[:, self.groups], width.expand(n, len(self.groups))

    def _others_observed(self, n_groups, uniform):
        """States (n, D) with the favoured components as targets, some of the others missing."""
        p_missing = torch.where(uniform(1) < _COMPLETE, 0.0, uniform(1))
        is_missing = (uniform(n_groups) < p_missing)[:, self.groups]
        return torch.where(self.favoured, TARGET, torch.where(is_missing, MISSING, OBSERVED))

    def _boxes(self, uniform):
        """Return which groups lie in a random box, any side of which may be the whole axis."""
        inside = None
        for extent in self.grid:
            edges = torch.stack([uniform(1), uniform(1)]).mul(extent + 1).floor()
            low, high = edges.amin(0), edges.amax(0)
            is_whole = uniform(1) < 0.5 if len(self.grid) > 1 else False
            index = torch.arange(extent, device=low.device)
            along = ((index >= low) & (index < high)) | is_whole
            inside = along if inside is None else (inside[:, :, None] & along[:, None]).flatten(1)
        return inside

    def _windows(self, n_groups, uniform):
        """Return start (n, G) and width (n, 1) of the windows of sequential groups."""
        forward = torch.arange(n_groups, device=self.groups.device)
        shuffled = uniform(n_groups).argsort(1)
        kind = uniform(1)
        position = torch.where(kind < 0.5, forward, n_groups - 1 - forward)
        position = torch.where(kind < 0.25, shuffled, position)
        n_active = float(n_groups) ** uniform(1)
        return position / (n_groups - 1 + n_active), n_active / (n_groups - 1 + n_active)
