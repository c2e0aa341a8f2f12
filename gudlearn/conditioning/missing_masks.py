"""Random masks for models that will be asked for whatever is missing.

Values of training rows are hidden as they will be missing: like those of another row, or each with
the same probability. What is hidden is the target, and everything else is observed. In some of the
rows all targets are wholly unknown: the network then learns conditional means of numbers, and
probabilities of levels, from one evaluation.
"""

import torch

from gudlearn.conditioning.random_masks import RandomMasks
from gudlearn.conditioning.states import MISSING, OBSERVED, TARGET, MaskedPath

# Fraction of the masked rows whose targets are wholly unknown.
_UNKNOWN = 0.8
# Fraction of the masked rows whose values are hidden like those of another row, where such are.
_LIKE_ANOTHER = 0.5
# Seed of the masks of held-out rows.
_SEED = 0


class MissingMasks(RandomMasks):
    """Random states of components: hidden values are targets, and all others observed.

    Parameters
    ----------
    groups, grid, rate, log_variances : see `RandomMasks`
    """

    def path(self, path, n_rows, generator, missing=None):
        """Return the path of a batch, see `RandomMasks.path`."""
        rows = self._masked_rows(n_rows, generator)
        return self._path(path, rows, n_rows, generator, missing)

    def of_validation(self, path, n_rows, missing=None):
        """The path of held-out rows, all of them masked, with the same masks at every call."""
        generator = torch.Generator(device=self.groups.device).manual_seed(_SEED)
        rows = torch.arange(n_rows, device=self.groups.device)
        return self._path(path, rows, n_rows, generator, missing)

    def _path(self, path, rows, n_rows, generator, missing):
        state = torch.full((n_rows, len(self.groups)), TARGET, device=self.groups.device)
        unknown = torch.zeros((n_rows, 1), dtype=torch.bool, device=state.device)
        if len(rows):
            others = None
            if missing is not None:
                others = missing[torch.randperm(
                    n_rows, generator=generator, device=state.device
                )[: len(rows)]]  # fmt: skip
            hidden = self._hidden(len(rows), generator, others)
            state[rows] = torch.where(hidden, TARGET, OBSERVED)
            unknown[rows] = self._uniform(generator, len(rows), 1) < _UNKNOWN
        if missing is not None:
            state = state.masked_fill(missing, MISSING)
        steady = (state == TARGET) & unknown
        return MaskedPath(path, state, self.log_variances, steady=steady)

    def _uniform(self, generator, *shape):
        device = self.groups.device
        return torch.rand(*shape, generator=generator, device=device, dtype=torch.float32)

    def _hidden(self, n, generator, others):
        """Which components of n rows are hidden, (n, D); like those of other rows (n, D), if any.

        At least one group of each row is.
        """
        n_groups = int(self.groups.max()) + 1
        uniform = self._uniform(generator, n, n_groups)
        hidden = uniform < self._uniform(generator, n, 1).square()
        least = self._uniform(generator, n, n_groups).argmax(1, keepdim=True)
        hidden = hidden.scatter(1, least, True)[:, self.groups]
        if others is None:
            return hidden
        like = (self._uniform(generator, n, 1) < _LIKE_ANOTHER) & others.any(1, keepdim=True)
        return torch.where(like, others, hidden)
