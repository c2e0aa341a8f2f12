r"""Categories: the second kind of component, with two noise states, observed and masked.

A column of K unordered levels is masked at time t with probability :math:`u(t)`, the fraction of
its own range of gamma that its path has covered. Its part of the bound is

.. math:: \int_0^1 u'(t) \, E[-\log p(x | \mathrm{state at } t, x \mathrm{ masked})] \, dt

with no term for the prior, because all is masked at t = 1, and none for the reconstruction, because
nothing is masked at t = 0 (Sahoo et al. 2024, https://arxiv.org/abs/2406.07524; Shi et al. 2024,
https://arxiv.org/abs/2406.04329).

Category components are the last ones of a state x (B, D): x holds the code of the level, and gamma
is gamma(0) where it is observed, gamma(1) or more where it is masked. A denoiser returns the
numeric components and then log-probabilities of all levels, column by column, (B, D' + L).
"""

import torch

from gudlearn.diffusion.process import perturb


class Levels:
    """Levels of C category columns, and the layout of a value for each, (B, L).

    Parameters
    ----------
    sizes : sequence of int
        Number of levels of each column, at least 1. The code ``size`` stands for any value that
        was never seen.
    log_unseen : Tensor of shape (C,)
        Log-probability of a value that was never seen.
    """

    def __init__(self, sizes, log_unseen):
        self.sizes = [int(size) for size in sizes]
        self.log_unseen = log_unseen
        self.n_columns, self.n_levels = len(self.sizes), sum(self.sizes)
        device = log_unseen.device
        self._size = torch.tensor(self.sizes, device=device)
        self._start = self._size.cumsum(0) - self._size
        self._log_seen = torch.log1p(-log_unseen.exp())
        self._uniform = len(set(self.sizes)) == 1
        self._blocks = [] if self._uniform else self._make_blocks(device)

    def _make_blocks(self, device):
        """Columns of similar size: their indices, and those of their levels, padded with L."""
        blocks, offsets = {}, self._start.tolist()
        for j, size in enumerate(self.sizes):
            blocks.setdefault(size.bit_length(), []).append(j)
        result = []
        for columns in blocks.values():
            longest = max(self.sizes[j] for j in columns)
            index = torch.full((len(columns), longest), self.n_levels)
            for row, j in enumerate(columns):
                index[row, : self.sizes[j]] = offsets[j] + torch.arange(self.sizes[j])
            result.append((torch.tensor(columns, device=device), index.to(device)))
        return result

    def to(self, device=None, dtype=None):
        """Return a copy on a device, with log-probabilities of a dtype."""
        return Levels(self.sizes, self.log_unseen.to(device, dtype))

    def split(self, values):
        """Split the output of a denoiser into numeric components and values of levels."""
        n_numeric = values.shape[1] - self.n_levels
        return values[:, :n_numeric], values[:, n_numeric:]

    def _padded(self, values):
        """Values of levels (B, L) by column, in blocks (B, c, K) padded with minus infinity."""
        if self._uniform:
            yield None, values.view(len(values), self.n_columns, -1)
            return
        ended = torch.cat([values, values.new_full((len(values), 1), -torch.inf)], 1)
        for columns, index in self._blocks:
            yield columns, ended[:, index]

    def log_softmax(self, logits):
        """Normalise logits (B, L) to log-probabilities, column by column."""
        if self._uniform:
            ((_, padded),) = self._padded(logits)
            return torch.log_softmax(padded, 2).flatten(1)
        parts, order = [], []
        for (_, padded), (_, index) in zip(self._padded(logits), self._blocks, strict=True):
            inside = index.flatten() < self.n_levels
            parts.append(torch.log_softmax(padded, 2).flatten(1)[:, inside])
            order.append(index.flatten()[inside])
        return torch.cat(parts, 1)[:, torch.argsort(torch.cat(order))]

    def _place(self, codes):
        """Position of each code among all levels, and whether it was seen in the fit; (B, C)."""
        codes = codes.long()
        seen = codes < self._size
        return self._start + codes.minimum(self._size - 1), seen

    def nll(self, log_prob, codes):
        """Negative log-probability of codes (B, C) under log-probabilities of levels (B, L)."""
        place, seen = self._place(codes)
        of_level = log_prob.expand(len(codes), -1).gather(1, place) + self._log_seen
        return -torch.where(seen, of_level, self.log_unseen)

    def change(self, difference, codes):
        """Entry of differences of log-probabilities (B, L) at codes (B, C); 0 if never seen."""
        place, seen = self._place(codes)
        return difference.gather(1, place) * seen

    def one_hot(self, codes, masked):
        """Indicators of codes (B, C) as (B, L); all zero where masked, or never seen."""
        place, seen = self._place(codes)
        shown = (seen & ~masked).to(self.log_unseen.dtype)
        return shown.new_zeros(len(codes), self.n_levels).scatter_(1, place, shown)

    def one_hot_mask(self, columns):
        """Repeat a mask of columns (B, C) for each of their levels, (B, L)."""
        return columns.repeat_interleave(self._size, 1)

    def draw(self, logits, u):
        """Codes (B, C) drawn by uniforms u (B, C), from logits (B, L)."""
        codes = torch.empty_like(u)
        for columns, padded in self._padded(logits):
            cumulative = torch.softmax(padded, 2).cumsum(2)
            of_block = u if columns is None else u[:, columns]
            drawn = (of_block[:, :, None] > cumulative).sum(2)
            size = self._size if columns is None else self._size[columns]
            drawn = drawn.minimum(size - 1).to(u.dtype)
            if columns is None:
                return drawn
            codes[:, columns] = drawn
        return codes

    def probabilities(self, logits):
        """Probabilities (B, L) of logits (B, L)."""
        return self.log_softmax(logits).exp()


def masked_fraction(path, gamma):
    """Probability that each category is masked at levels gamma (B, D) of a path; (B, C)."""
    n = path.levels.n_columns
    low, high = path.gamma_0[-n:].to(gamma), path.gamma_1[-n:].to(gamma)
    return (gamma[:, -n:] - low) / (high - low)


def corrupt(x0, eps, gamma, path):
    """Noisy state of components: numbers get noise, categories are masked at random.

    Parameters
    ----------
    x0, eps : Tensor of shape (B, D)
        Clean components, and a standard normal draw. A category is masked if the normal's
        probability is below the fraction that its path has covered.
    gamma : Tensor of shape (B, D) or (1, D)
        Noise levels on the path.
    path : gamma path

    Returns
    -------
    x, gamma : Tensor of shape (B, D)
        The state, and the noise levels that the network sees.
    """
    if path.levels is None:
        return perturb(x0, eps, gamma), gamma
    n = path.levels.n_columns
    gamma = gamma.expand_as(x0)
    numeric = perturb(x0[:, :-n], eps[:, :-n], gamma[:, :-n])
    masked = masked_fraction(path, gamma) > torch.special.ndtr(eps[:, -n:])
    low, high = path.gamma_0[-n:].to(gamma), path.gamma_1[-n:].to(gamma)
    seen = torch.where(masked, torch.maximum(gamma[:, -n:], high), low)
    codes = torch.where(masked, 0.0, x0[:, -n:])
    return torch.cat([numeric, codes], 1), torch.cat([gamma[:, :-n], seen], 1)


def reveal_weight(path, gamma, rate, seen, least=0.0):
    """Weight of each category's cross-entropy in the integrand of the bound, (B, C).

    It is u'/u where the category is masked, and 0 where it is observed.

    Parameters
    ----------
    path : gamma path
    gamma, rate : Tensor of shape (B, D)
        Noise levels on the path, and their derivatives.
    seen : Tensor of shape (B, D)
        Noise levels that the network sees, from `corrupt`.
    least : float
        Smallest u that is divided by. Above 0 the weight is bounded, and too small where u is less.
    """
    n = path.levels.n_columns
    low, high = path.gamma_0[-n:].to(gamma), path.gamma_1[-n:].to(gamma)
    elapsed = (gamma[:, -n:] - low).maximum(least * (high - low)).clamp(min=1e-30)
    return torch.where(seen[:, -n:] > low, rate[:, -n:] / elapsed, 0.0)
