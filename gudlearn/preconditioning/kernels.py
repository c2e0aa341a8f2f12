r"""Rows that are remembered: the denoiser of a kernel density, for a network to look up.

Remembered row k is the centre :math:`c_k` of a Gaussian with variance :math:`h^2 V_i` in component
i, for each of a few widths h. At noise levels gamma the law of the noisy values
:math:`y_i = x_i / \alpha_i` is a mixture of Gaussians of variance
:math:`s_i = h^2 V_i + e^{\gamma_i}`, and

.. math::

    w_k \propto \prod_i N(y_i; c_{ki}, s_i), \qquad
    E[x_0 | x]_i = \sum_k w_k \left(c_{ki} + \frac{h^2 V_i}{s_i} (y_i - c_{ki})\right).

Where component i of row k is not known its factor is that of the marginal,
:math:`N(y_i; m_i, V_i + e^{\gamma_i})`, and other rows have the say on it. In training a row is
left out of what it is told: it hears what a new row would.

References: Blattmann et al. (2022), https://arxiv.org/abs/2204.11824, for retrieval in diffusion;
Gorishniy et al. (2023), https://arxiv.org/abs/2307.14338, for tables.
"""

import torch

# Widths of the kernels, in standard deviations of a component.
BANDWIDTHS = (0.2, 0.5)
# Shares of a weight that count as none.
_NOTHING = 1e-30


class KernelDensities:
    """Kernel densities around remembered rows, of several widths.

    Parameters
    ----------
    rows : Tensor of shape (N, D)
    known : BoolTensor of shape (N, D) or None
        Which of their components are known; None is all.
    mean, variance : Tensor of shape (D,)
        Of the components.
    """

    n_bandwidths = len(BANDWIDTHS)

    def __init__(self, rows, known, mean, variance):
        self.rows, self.known, self.mean, self.variance = rows, known, mean, variance
        off = rows - mean
        parts = [off, off.square()]
        if known is not None:
            parts = [torch.where(known, part, 0.0) for part in parts] + [known.to(rows)]
        self._table = torch.cat(parts, 1)

    def to(self, device=None, dtype=None):
        known = None if self.known is None else self.known.to(device)
        others = (part.to(device, dtype) for part in (self.rows, self.mean, self.variance))
        rows, mean, variance = others
        return KernelDensities(rows, known, mean, variance)

    def posteriors(self, x, gamma, self_index=None):
        """Mean and variance of x0 given x for each width, both of shape (B, H, D).

        Parameters
        ----------
        x, gamma : Tensor of shape (B, D)
        self_index : LongTensor of shape (B,) or None
            The remembered row that each row is, and that it is not told of; -1 is none.
        """
        noise = gamma.exp()
        itself = None if self_index is None else self_index[:, None] == torch.arange(len(self.rows)).to(self_index)
        off = x * torch.rsqrt(torch.sigmoid(-gamma)) - self.mean
        found = [self._posterior(off, noise, width**2 * self.variance, itself) for width in BANDWIDTHS]
        means, variances = zip(*found, strict=True)
        return torch.stack(means, 1), torch.stack(variances, 1)

    def _posterior(self, off, noise, spread, itself):
        precision = 1 / (spread + noise)
        terms = [precision * off, -0.5 * precision]
        if self.known is not None:
            # What knows the component speaks by its kernel in the place of the marginal.
            wide = self.variance + noise
            own_term = precision.log() - precision * off.square()
            terms.append(0.5 * (own_term + wide.log() + off.square() / wide))
        weight = torch.cat([t.expand_as(off) for t in terms], 1) @ self._table.T
        if itself is not None:
            weight = weight.masked_fill(itself, -torch.inf)
        sums = weight.softmax(1) @ self._table
        first, second, *share = sums.split(off.shape[1], 1)
        if share:
            first, second = (part / share[0].clamp(min=_NOTHING) for part in (first, second))
        # By how much the centres, and not the noisy value, are believed.
        kept = noise * precision
        mean = self.mean + kept * first + (1 - kept) * off
        between = (second - first.square()).clamp(min=0.0)
        return mean, kept.square() * between + kept * spread
