r"""What is observed of the cleanest noisy state: p(x | z) at the end of the diffusion.

Discrete data with bins of width Delta sit on levels k; white noise of tau bins blurs them, so
that :math:`y = k + \tau \epsilon` in bins, and Bayes' rule gives them back:

.. math:: p(k | y) \propto \pi_k \exp(-(y - k)^2 / (2 \tau^2))

Continuous data are read with the noise that is left, N(x; z/alpha, sigma^2/alpha^2).
"""

import torch

from gudlearn.diffusion.marginals import LOG_2PI

# Four bins are at least 20 standard deviations of a noise of 0.2 bins.
_WINDOW = 4


class LevelPrior:
    """Log-probabilities of the levels of F columns, a table each; no level lies outside.

    Parameters
    ----------
    log_pmf : list of F Tensors of shape (L_j,)
        Log-probability of each level of the table.
    first : LongTensor of shape (F,)
        The level of the first entry of each table.
    """

    def __init__(self, log_pmf, first):
        self.log_pmf, self.first = log_pmf, first
        self._length = torch.tensor([len(p) for p in log_pmf], device=first.device)
        self._table, self._start = torch.cat(log_pmf), self._length.cumsum(0) - self._length

    def to(self, device=None, dtype=None):
        return LevelPrior([p.to(device, dtype) for p in self.log_pmf], self.first.to(device))

    def clip(self, level):
        """The nearest levels of the tables; (..., F)."""
        low = self.first.to(level.dtype)
        return torch.minimum(torch.maximum(level, low), low + self._length - 1)

    def log_prob(self, level):
        """Log-probability of whole-number levels (..., F)."""
        place = level.long() - self.first
        inside = self._table[self._start + place.clamp(min=0).minimum(self._length - 1)]
        return inside.masked_fill((place < 0) | (place >= self._length), -torch.inf)


class BinnedObservation:
    """Levels read through white noise of tau bins.

    Parameters
    ----------
    prior : LevelPrior
    tau : float in (0, 0.2]
        Standard deviation of the noise, in bins.
    """

    def __init__(self, prior, tau):
        self.prior, self.tau = prior, tau

    def to(self, device=None, dtype=None):
        return BinnedObservation(self.prior.to(device, dtype), self.tau)

    def _log_joint(self, centre, y):
        offsets = torch.arange(-_WINDOW, _WINDOW + 1, device=y.device)
        levels = centre[..., None] + offsets
        prior = self.prior.log_prob(levels.movedim(-1, 0)).movedim(0, -1)
        return levels, prior - (y[..., None] - levels) ** 2 / (2 * self.tau**2)

    def log_prob(self, level, y):
        """Log-probability of levels (B, F), whole numbers, given y (B, F) in bins."""
        _, log_joint = self._log_joint(level, y)
        return log_joint[..., _WINDOW] - torch.logsumexp(log_joint, -1)

    def draw(self, y, u):
        """Levels drawn from p(k | y) by uniforms u (B, F)."""
        levels, log_joint = self._log_joint(self.prior.clip(torch.round(y)), y)
        cumulative = torch.softmax(log_joint, -1).cumsum(-1)
        k = (u[..., None] > cumulative).sum(-1, keepdim=True).clamp(max=2 * _WINDOW)
        return levels.gather(-1, k)[..., 0]


def gaussian_log_prob(eps, gamma):
    """Log-density of x0 given x = alpha x0 + sigma eps, read as N(x/alpha, sigma^2/alpha^2)."""
    return -0.5 * (LOG_2PI + gamma + eps**2)
