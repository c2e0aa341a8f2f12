r"""What one Gaussian law of all components says of each, from the noisy values of the others.

The law is one of k factors, :math:`x_0 = m + s (W f + \sqrt\psi e)`, f and e white; in units of s
the noisy value of component i is :math:`y_i = u_i + N(0, n_i)`, :math:`n_i = e^{\gamma_i}/s_i^2`.
Given all others, u_i is Gaussian, :math:`N(m'_i, v'_i)`, and what they add to the law of u_i alone
is the factor

.. math::

    N(u_i; m'_i, v'_i) / N(u_i; 0, 1) \propto \exp(-\lambda_i u_i^2 / 2 + h_i u_i), \quad
    \lambda_i = 1/v'_i - 1, \quad h_i = m'_i/v'_i .

Beside the component's own :math:`\exp(-u_i^2 / 2 n_i + u_i y_i / n_i)` it reads as the same
observation with less noise: a value and a noise level in whose place nothing else changes. The
posterior of a Gaussian component is then exact, and one of atoms or of several Gaussians is what
expectation propagation (Minka 2001, https://arxiv.org/abs/1301.2294) makes of one pass.
"""

import torch


class JointGaussian:
    """A Gaussian law of k factors over D components.

    Parameters
    ----------
    mean, std : Tensor of shape (D,)
    loadings : Tensor of shape (D, k)
        W, whose rows have a squared norm below 1: the rest of the unit variance, psi, is a
        component's own.
    """

    # What lies further out, beyond its noise, says no more than this: in standard deviations.
    REACH = 6.0

    def __init__(self, mean, std, loadings):
        self.mean, self.std, self.loadings = mean, std, loadings
        self._own = 1 - loadings.square().sum(1)
        self._products = (loadings[:, :, None] * loadings[:, None]).flatten(1)

    def to(self, device=None, dtype=None):
        return JointGaussian(*(p.to(device, dtype) for p in (self.mean, self.std, self.loadings)))

    def absorb(self, x, gamma):
        """States and noise levels (B, D) that hold what the others say, too; each (B, D)."""
        precision = (-gamma).exp() * self.std.square()
        y = (x * torch.rsqrt(torch.sigmoid(-gamma)) - self.mean) / self.std
        noise = 1 / precision
        reach = self.REACH * (1 + noise).sqrt()
        mean, variance = self._given_others(torch.minimum(torch.maximum(y, -reach), reach), noise)
        total = precision + (1 / variance - 1).clamp(min=0)
        y = (precision * y + mean / variance) / total
        gamma = 2 * self.std.log() - total.log()
        return torch.sigmoid(-gamma).sqrt() * (self.mean + self.std * y), gamma

    def _given_others(self, y, noise):
        """Mean and variance of each component given the noisy values of all others, (B, D)."""
        k = self.loadings.shape[1]
        weight = 1 / (self._own + noise)
        precision = (weight @ self._products).view(-1, k, k)
        precision = precision + torch.eye(k, dtype=y.dtype, device=y.device)
        # Of the factors, from all components.
        covariance = _inverse(precision)
        factors = torch.einsum("bij,bj->bi", covariance, (weight * y) @ self.loadings)
        mean = factors @ self.loadings.T
        variance = covariance.flatten(1) @ self._products.T
        # Without the component itself: a downdate of rank one.
        leverage = weight * variance
        rest = 1 - leverage
        return (mean - leverage * y) / rest, self._own + variance / rest


def _inverse(matrices):
    """Inverses of positive definite matrices (B, k, k), by what is faster on a CPU."""
    if matrices.shape[-1] <= 12:
        return torch.linalg.inv_ex(matrices)[0]
    return torch.cholesky_inverse(torch.linalg.cholesky_ex(matrices)[0])
