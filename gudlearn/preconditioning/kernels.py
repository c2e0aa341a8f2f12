r"""Kernel density estimates around a reference set: denoisers that a network looks up.

Reference row k is the centre :math:`c_k` of a Gaussian with variance :math:`h^2 V_i` in component
i, for each of a few bandwidths h. At noise levels gamma the noisy values
:math:`y_i = x_i / \alpha_i` have a mixture of Gaussians of variance
:math:`s_i = h^2 V_i + e^{\gamma_i}` as their distribution, and

.. math::

    w_k \propto \prod_i N(y_i; c_{ki}, s_i), \qquad
    E[x_0 | x]_i = \sum_k w_k \left(c_{ki} + \frac{h^2 V_i}{s_i} (y_i - c_{ki})\right).

Where component i of row k is missing, its factor is that of the marginal,
:math:`N(y_i; m_i, V_i + e^{\gamma_i})`, and the sum over k leaves the row out. In training a row
is excluded from its own estimate, so that it sees what a new row would see.

References: Blattmann et al. (2022), https://arxiv.org/abs/2204.11824, for retrieval in diffusion;
Gorishniy et al. (2023), https://arxiv.org/abs/2307.14338, for tables.
"""

import torch

# Bandwidths of the kernels, in standard deviations of a component.
BANDWIDTHS = (0.2, 0.5)
# Least total weight that is divided by.
_LEAST_WEIGHT = 1e-30


class KernelDensities:
    """Kernel density estimates around a reference set, with several bandwidths.

    Parameters
    ----------
    rows : Tensor of shape (N, D)
        Reference set.
    observed : BoolTensor of shape (N, D) or None
        Which of its components are observed; None: all.
    mean, variance : Tensor of shape (D,)
        Of the components.
    """

    n_bandwidths = len(BANDWIDTHS)

    def __init__(self, rows, observed, mean, variance):
        self.rows, self.observed, self.mean, self.variance = rows, observed, mean, variance
        off = rows - mean
        parts = [off, off.square()]
        if observed is not None:
            parts = [torch.where(observed, part, 0.0) for part in parts] + [observed.to(rows)]
        self._moments = torch.cat(parts, 1)

    def to(self, device=None, dtype=None):
        """Return a copy on a device and with a dtype."""
        observed = None if self.observed is None else self.observed.to(device)
        rows, mean, variance = (
            part.to(device, dtype) for part in (self.rows, self.mean, self.variance)
        )
        return KernelDensities(rows, observed, mean, variance)

    def posteriors(self, x, gamma, self_index=None):
        """Mean and variance of x0 given x for each bandwidth, both of shape (B, H, D).

        Parameters
        ----------
        x, gamma : Tensor of shape (B, D)
        self_index : LongTensor of shape (B,) or None
            Index of each row in the reference set, which excludes it from its own estimate; -1
            for rows that are not in the set.
        """
        noise = gamma.exp()
        itself = None if self_index is None else self_index[:, None]
        off = x * torch.rsqrt(torch.sigmoid(-gamma)) - self.mean
        means, variances = zip(
            *(self._posterior(off, noise, h**2 * self.variance, itself) for h in BANDWIDTHS),
            strict=True,
        )
        return torch.stack(means, 1), torch.stack(variances, 1)

    def _posterior(self, off, noise, variance, itself):
        """Mean and variance (B, D) for kernels of a variance (D,), from y - mean (B, D).

        ``itself`` (B, 1), or None, is the row of the set that is left out, -1 for none.
        """
        precision = 1 / (variance + noise)
        terms = [precision * off, -0.5 * precision]
        if self.observed is not None:
            # The log-ratio of kernel and marginal, for the components that a row observes.
            total = self.variance + noise
            log_kernel = precision.log() - precision * off.square()
            terms.append(0.5 * (log_kernel + total.log() + off.square() / total))
        weight = torch.cat([t.expand_as(off) for t in terms], 1) @ self._moments.T
        if itself is not None:
            first = itself.clamp(min=0)
            lowered = torch.where(itself < 0, weight.gather(1, first), -torch.inf)
            weight.scatter_(1, first, lowered)
        sums = weight.softmax(1) @ self._moments
        first, second, *observed = sums.split(off.shape[1], 1)
        if observed:
            total = observed[0].clamp(min=_LEAST_WEIGHT)
            first, second = first / total, second / total
        # The weight of the centres against that of the noisy value.
        shrinkage = noise * precision
        mean = self.mean + shrinkage * first + (1 - shrinkage) * off
        between = (second - first.square()).clamp(min=0.0)
        return mean, shrinkage.square() * between + shrinkage * variance
