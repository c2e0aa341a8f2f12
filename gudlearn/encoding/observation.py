r"""What is observed of the cleanest noisy state: p(x | z) at the end of the diffusion.

Discrete data with bins of width Delta sit on levels k; white noise of tau bins blurs them, so
that :math:`y = k + \tau \epsilon` in bins, and Bayes' rule gives them back:

.. math:: p(k | y) \propto \pi_k \exp(-(y - k)^2 / (2 \tau^2))

Continuous data are read with the noise that is left, N(x; z/alpha, sigma^2/alpha^2).
"""

import torch

# Four bins are at least eight standard deviations of the noise.
_WINDOW = 4


class BinPrior:
    """Log-probabilities of the levels of F columns, from tables; no level lies outside.

    Parameters
    ----------
    log_pmf : list of Tensors of shape (L_k,)
        Log-probability of each level of each table.
    first : LongTensor of shape (n_tables,)
        The level of the first entry of each table.
    which : LongTensor of shape (F,), optional
        The table of each column; one table each by default.
    """

    def __init__(self, log_pmf, first, which=None):
        self.log_pmf, self._firsts = log_pmf, first
        self.which = torch.arange(len(log_pmf), device=first.device) if which is None else which
        length = torch.tensor([len(p) for p in log_pmf], device=first.device)
        self._table = torch.cat(log_pmf)
        self.first, self._length = first[self.which], length[self.which]
        self._start = (length.cumsum(0) - length)[self.which]

    def to(self, device=None, dtype=None):
        return BinPrior(
            [p.to(device, dtype) for p in self.log_pmf],
            self._firsts.to(device),
            self.which.to(device),
        )

    def clip(self, level):
        """The nearest levels of the tables; (..., F)."""
        low = self.first.to(level.dtype)
        return torch.minimum(torch.maximum(level, low), low + self._length - 1)

    def place(self, level):
        """Places of levels (..., F) in the tables, end to end, and whether they are inside."""
        place = level.long() - self.first
        inside = (place >= 0) & (place < self._length)
        return self._start + place.clamp(min=0).minimum(self._length - 1), inside

    def log_prob(self, level):
        """Log-probability of whole-number levels (..., F)."""
        place, inside = self.place(level)
        return self._table[place].masked_fill(~inside, -torch.inf)


class BinnedObservation:
    """Levels read through white noise of tau bins.

    Parameters
    ----------
    prior : BinPrior
    tau : float or Tensor of shape (F,)
        Standard deviation of the noise of each column, in bins, at most 0.5.
    """

    def __init__(self, prior, tau):
        self.prior = prior
        if not isinstance(tau, torch.Tensor):
            tau = torch.tensor(tau, dtype=torch.float64)
        self.tau = tau.expand(len(prior.which))
        self._expected = None

    def to(self, device=None, dtype=None):
        return BinnedObservation(self.prior.to(device, dtype), self.tau.to(device, dtype))

    def _log_joint(self, centre, y):
        """Levels around a centre and their joint log-probability with y, both (K, B, F)."""
        offsets = torch.arange(-_WINDOW, _WINDOW + 1, device=y.device, dtype=centre.dtype)
        levels = centre + offsets[:, None, None]
        off = (y - levels) / self.tau
        return levels, self.prior.log_prob(levels) - 0.5 * off * off

    def log_prob(self, level, y):
        """Log-probability of levels (B, F), whole numbers, given y (B, F) in bins."""
        _, log_joint = self._log_joint(level, y)
        return log_joint[_WINDOW] - torch.logsumexp(log_joint, 0)

    def expected_nll(self, level, nodes, weights):
        """Mean of -log_prob over the noise of y, by quadrature over one normal; (B, F).

        It is a function of the level alone and is tabulated at the first call.
        """
        if self._expected is None:
            self._expected = torch.cat(
                [self._tabulate(k, nodes, weights) for k in range(len(self.prior.log_pmf))]
            )
        return self._expected[self.prior.place(level)[0]]

    def _tabulate(self, k, nodes, weights):
        log_pmf, column = self.prior.log_pmf[k], int((self.prior.which == k).nonzero()[0])
        first, tau = self.prior.first[column : column + 1], self.tau[column : column + 1]
        alone = BinnedObservation(BinPrior([log_pmf], first), tau)
        level = first + torch.arange(len(log_pmf), device=first.device)
        level = level.to(log_pmf.dtype).repeat(len(nodes))[:, None]
        noise = torch.as_tensor(nodes, device=tau.device).to(tau).repeat_interleave(len(log_pmf))
        cost = -alone.log_prob(level, level + tau * noise[:, None]).view(len(nodes), -1)
        return torch.as_tensor(weights / weights.sum(), device=tau.device).to(tau) @ cost

    def draw(self, y, u):
        """Levels drawn from p(k | y) by uniforms u (B, F)."""
        levels, log_joint = self._log_joint(self.prior.clip(torch.round(y)), y)
        cumulative = torch.softmax(log_joint, 0).cumsum(0)
        k = (u > cumulative).sum(0).clamp(max=2 * _WINDOW)
        return levels.gather(0, k[None])[0]
