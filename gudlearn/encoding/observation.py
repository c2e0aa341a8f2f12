r"""Observation model of binned data: p(x | z) at the end of the diffusion.

Discrete data lie on bins with whole-number indices k. They are observed through white noise with a
standard deviation of tau bins, :math:`y = k + \tau \epsilon`, and Bayes' rule gives the bin back:

.. math:: p(k | y) \propto \pi_k \exp(-(y - k)^2 / (2 \tau^2))

Continuous data are observed through the noise that remains, N(x; z/alpha, sigma^2/alpha^2).
"""

import torch

# Four bins are at least eight standard deviations of the noise.
_WINDOW = 4


class BinPrior:
    """Probability mass functions of the bins of F columns; zero outside the tables.

    Parameters
    ----------
    log_pmf : list of Tensors of shape (L_k,)
        Log-probability of each bin of each table.
    first : LongTensor of shape (n_tables,)
        Index of the first bin of each table.
    table_of_column : LongTensor of shape (F,), optional
        Index of the table of each column; by default column j has table j.

    Attributes
    ----------
    first : LongTensor of shape (F,)
        Index of the first bin of each column.
    """

    def __init__(self, log_pmf, first, table_of_column=None):
        if table_of_column is None:
            table_of_column = torch.arange(len(log_pmf), device=first.device)
        self.log_pmf, self.table_of_column = log_pmf, table_of_column
        self._first_of_table = first
        length = torch.tensor([len(p) for p in log_pmf], device=first.device)
        self._concatenated = torch.cat(log_pmf)
        self.first, self._length = first[table_of_column], length[table_of_column]
        self._start = (length.cumsum(0) - length)[table_of_column]

    def to(self, device=None, dtype=None):
        """Return a copy on a device, with log-probabilities of a dtype."""
        return BinPrior(
            [p.to(device, dtype) for p in self.log_pmf],
            self._first_of_table.to(device),
            self.table_of_column.to(device),
        )

    def clip(self, indices):
        """Return the nearest bin indices inside the tables; (..., F)."""
        low = self.first.to(indices.dtype)
        return torch.minimum(torch.maximum(indices, low), low + self._length - 1)

    def locate(self, indices):
        """Return positions in the concatenated tables, and whether bins are inside; (..., F)."""
        position = indices.long() - self.first
        inside = (position >= 0) & (position < self._length)
        return self._start + position.clamp(min=0).minimum(self._length - 1), inside

    def log_prob(self, indices):
        """Log-probability of bins by their indices, whole numbers (..., F)."""
        position, inside = self.locate(indices)
        return self._concatenated[position].masked_fill(~inside, -torch.inf)


class BinnedObservation:
    """Bins observed through white noise of tau bins.

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
        self.tau = tau.expand(len(prior.table_of_column))
        self._expected_nll = None

    def to(self, device=None, dtype=None):
        """Return a copy on a device and with a dtype."""
        return BinnedObservation(self.prior.to(device, dtype), self.tau.to(device, dtype))

    def _log_joint(self, centre, y):
        """Bins around a centre, and their joint log-probability with y; both (K, B, F)."""
        offsets = torch.arange(-_WINDOW, _WINDOW + 1, device=y.device, dtype=centre.dtype)
        indices = centre + offsets[:, None, None]
        residual = (y - indices) / self.tau
        return indices, self.prior.log_prob(indices) - 0.5 * residual * residual

    def log_prob(self, indices, y):
        """Log-probability (B, F) of bin indices, whole numbers, given y in units of bins."""
        _, log_joint = self._log_joint(indices, y)
        return log_joint[_WINDOW] - torch.logsumexp(log_joint, 0)

    def expected_nll(self, indices, nodes, weights):
        """Mean of -log_prob over the noise of y, by quadrature over one normal; (B, F).

        It depends on the bin only, and is tabulated at the first call.
        """
        if self._expected_nll is None:
            self._expected_nll = torch.cat(
                [self._tabulate(k, nodes, weights) for k in range(len(self.prior.log_pmf))]
            )
        return self._expected_nll[self.prior.locate(indices)[0]]

    def _tabulate(self, k, nodes, weights):
        """Expected negative log-probability of every bin of table k, (L_k,)."""
        column = int((self.prior.table_of_column == k).nonzero()[0])
        log_pmf, first = self.prior.log_pmf[k], self.prior.first[column : column + 1]
        tau = self.tau[column : column + 1]
        alone = BinnedObservation(BinPrior([log_pmf], first), tau)
        indices = first + torch.arange(len(log_pmf), device=first.device)
        indices = indices.to(log_pmf.dtype).repeat(len(nodes))[:, None]
        noise = torch.as_tensor(nodes, device=tau.device).to(tau).repeat_interleave(len(log_pmf))
        nll = -alone.log_prob(indices, indices + tau * noise[:, None]).view(len(nodes), -1)
        return torch.as_tensor(weights / weights.sum(), device=tau.device).to(tau) @ nll

    def draw(self, y, u):
        """Bin indices drawn from p(k | y) by uniforms u; all (B, F)."""
        indices, log_joint = self._log_joint(self.prior.clip(torch.round(y)), y)
        cumulative = torch.softmax(log_joint, 0).cumsum(0)
        k = (u > cumulative).sum(0).clamp(max=2 * _WINDOW)
        return indices.gather(0, k[None])[0]
