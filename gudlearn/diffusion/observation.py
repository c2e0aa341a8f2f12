r"""What is observed of the cleanest noisy state: p(x | z) at the end of the diffusion.

Discrete data with bins of width Delta sit on levels k; white noise of tau bins blurs them, so
that :math:`y = k + \tau \epsilon` in bins, and Bayes' rule gives them back:

.. math:: p(k | y) \propto \pi_k \exp(-(y - k)^2 / (2 \tau^2))

Continuous data are read with the noise that is left, N(x; z/alpha, sigma^2/alpha^2).
"""

import math

import torch

from gudlearn.diffusion.marginals import LOG_2PI

# Four bins are at least 20 standard deviations of a noise of 0.2 bins.
_WINDOW = 4


class LevelPrior:
    """Log-probabilities of the levels of F columns: a table each, geometric tails outside.

    Parameters
    ----------
    log_pmf : list of F Tensors of shape (L_j,)
        Log-probability of each level of the table.
    first : LongTensor of shape (F,)
        The level of the first entry of each table.
    log_tails : Tensor of shape (F, 2)
        Log of the mass below and above the table; -inf where no value can be.
    """

    def __init__(self, log_pmf, first, log_tails):
        self.log_pmf, self.first, self.log_tails = log_pmf, first, log_tails
        lengths = torch.tensor([len(p) for p in log_pmf], device=first.device)
        self._table, self._length = torch.cat(log_pmf), lengths
        self._start = lengths.cumsum(0) - lengths

    def to(self, device=None, dtype=None):
        return LevelPrior(
            [p.to(device, dtype) for p in self.log_pmf],
            self.first.to(device),
            self.log_tails.to(device, dtype),
        )

    def log_prob(self, level):
        """Log-probability of whole-number levels (..., F)."""
        place = level.long() - self.first
        inside = self._table[self._start + place.clamp(min=0).minimum(self._length - 1)]
        below, above = -place, place - self._length + 1
        tail = torch.where(place < 0, self.log_tails[:, 0], self.log_tails[:, 1])
        # Mass 1/2, 1/4, 1/8, ... of the tail at distance 1, 2, 3, ...
        tail = tail - math.log(2) * torch.where(place < 0, below, above)
        return torch.where((place >= 0) & (place < self._length), inside, tail)


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
        levels, log_joint = self._log_joint(torch.round(y), y)
        cumulative = torch.softmax(log_joint, -1).cumsum(-1)
        k = (u[..., None] > cumulative).sum(-1, keepdim=True).clamp(max=2 * _WINDOW)
        return levels.gather(-1, k)[..., 0]


def gaussian_log_prob(eps, gamma):
    """Log-density of x0 given x = alpha x0 + sigma eps, read as N(x/alpha, sigma^2/alpha^2)."""
    return -0.5 * (LOG_2PI + gamma + eps**2)
