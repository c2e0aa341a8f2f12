"""Sampling of categories beside a solver of the numbers: masked ones are revealed step by step."""

import math

import torch

from gudlearn.diffusion.categories import masked_fraction

# Times at which the paths of categories are compared.
_PROBES = 33


def together(path):
    """Columns of the categories whose masked fractions are equal at all times, in groups.

    Returns
    -------
    list of LongTensor
    """
    times = torch.linspace(0, 1, _PROBES, dtype=path.gamma_0.dtype, device=path.gamma_0.device)
    fraction = masked_fraction(path, path(times)).round(decimals=4)
    _, group = torch.unique(fraction, dim=1, return_inverse=True)
    return [torch.where(group == k)[0] for k in range(int(group.max()) + 1)]


def steps_for_each(path):
    """Number of even steps in which each category of a group is revealed in one of its own."""
    times = torch.linspace(0, 1, 1025, dtype=torch.float64, device=path.gamma_0.device)
    fastest = masked_fraction(path, path(times)).diff(dim=0).max(0).values * (len(times) - 1)
    needed = [len(columns) * float(fastest[columns].max()) for columns in together(path)]
    # Fractions of a path of float32 are rounded.
    return math.ceil(max(needed) - 1e-2)


def evenly_spaced(order, shift, path):
    """Numbers in (0, 1) that decide when the categories of rows are revealed.

    Those of the categories of a group, see `together`, are evenly spaced in each row, so that few
    are revealed in one step: these are drawn independently. The order is random, and each number
    is uniform. Their joint distribution is free: rows that are generated in any order, at any
    times, have the same distribution.

    Parameters
    ----------
    order, shift : Tensor of shape (B, C)
        Independent uniforms.
    path : gamma path with levels

    Returns
    -------
    Tensor of shape (B, C)
    """
    out = torch.empty_like(order)
    for columns in together(path):
        rank = order[:, columns].argsort(1).argsort(1)
        out[:, columns] = (rank + shift[:, columns[:1]]) / len(columns)
    return out


class RevealingDenoiser:
    """A denoiser of the numeric components that holds the categories, and draws them.

    Each category has a number in (0, 1), and is masked while more than that fraction of its path
    is covered. In a step from t to s all categories whose time has come are drawn, independently,
    from their probabilities at t.

    Parameters
    ----------
    denoise : callable (x, gamma) -> (B, D' + L)
    path : gamma path with levels
    reveal_at, draws : Tensor of shape (B, C)
        Numbers that decide when a category is revealed, see `evenly_spaced`, and uniforms that
        decide which level is drawn.

    Attributes
    ----------
    codes : Tensor of shape (B, C)
        Codes of the levels; 0 where masked.
    masked : BoolTensor of shape (B, C)
    """

    def __init__(self, denoise, path, reveal_at, draws):
        self.denoise, self.path, self.reveal_at, self.draws = denoise, path, reveal_at, draws
        self.codes = torch.zeros_like(reveal_at)
        self.masked = torch.ones_like(reveal_at, dtype=torch.bool)
        n = path.levels.n_columns
        self._low, self._high = path.gamma_0[-n:].to(draws), path.gamma_1[-n:].to(draws)
        self._logits = None

    def state(self, x, gamma):
        """Numeric components and their noise levels, followed by those of the categories."""
        of_categories = torch.where(self.masked, self._high, self._low)
        return torch.cat([x, self.codes], 1), torch.cat([gamma, of_categories], 1)

    def __call__(self, x, gamma):
        """Denoise numeric components x (B, D') at noise levels gamma (B, D')."""
        numbers, logits = self.path.levels.split(self.denoise(*self.state(x, gamma)))
        # A solver may evaluate later states of the same step, too.
        self._logits = logits if self._logits is None else self._logits
        return numbers

    def reveal(self, t):
        """Go to time t (1,): draw the categories that are observed from there on."""
        fraction = masked_fraction(self.path, self.path(t))
        now = self.masked & (fraction <= self.reveal_at)
        if self._logits is not None and bool(now.any()):
            drawn = self.path.levels.draw(self._logits, self.draws)
            self.codes = torch.where(now, drawn, self.codes)
            self.masked = self.masked & ~now
        self._logits = None

    def probabilities(self, x, gamma):
        """Probabilities of levels (B, L): certain where drawn, predicted where masked."""
        levels = self.path.levels
        _, logits = levels.split(self.denoise(*self.state(x, gamma)))
        shown = torch.zeros_like(self.masked)
        drawn = levels.one_hot(self.codes, shown)
        masked = levels.one_hot_mask(self.masked)
        return torch.where(masked, levels.probabilities(logits), drawn)


class NumericPath:
    """The path of the numeric components alone.

    Parameters
    ----------
    path : gamma path
    n : int
        Number of numeric components, the first ones.
    """

    def __init__(self, path, n):
        self.path, self.n = path, n

    def __call__(self, t):
        """Gamma of the numeric components at times t, (B, n)."""
        return self.path(t)[:, : self.n]
