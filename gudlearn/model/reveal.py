"""Sampling of categories beside a solver of the numbers: masked ones are revealed step by step."""

import torch

from gudlearn.diffusion.categories import masked_fraction


class RevealingDenoiser:
    """A denoiser of the numeric components that holds the categories, and draws them.

    Each category has a uniform number: it is masked while the fraction of its path that is covered
    is above it. In a step from t to s all categories whose time has come are drawn, independently,
    from their probabilities at t.

    Parameters
    ----------
    denoise : callable (x, gamma) -> (B, D' + L)
    path : gamma path with levels
    reveal_at, draws : Tensor of shape (B, C)
        Uniforms that decide when a category is revealed, and which level is drawn.

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
