r"""What one Gaussian law of all components says of each, from the noisy values of the others.

The law is one of k factors, :math:`x_0 = m + s (W f + \sqrt\psi e)`, f and e white; in units of s
the noisy value of component i is :math:`y_i = u_i + N(0, n_i)`, :math:`n_i = e^{\gamma_i}/s_i^2`.
Given all others, u_i is Gaussian, :math:`N(m'_i, v'_i)`, and what they add to the law of u_i alone
is the factor

.. math::

    N(u_i; m'_i, v'_i) / N(u_i; 0, 1) \propto \exp(-\lambda_i u_i^2 / 2 + h_i u_i), \quad
    \lambda_i = 1/v'_i - 1, \quad h_i = m'_i/v'_i .

In a row that does not fit the law, by its distance :math:`y^T C^{-1} y` from the mean, both are
divided in proportion to that: data need not be Gaussian.

Beside the component's own :math:`\exp(-u_i^2 / 2 n_i + u_i y_i / n_i)` it reads as the same
observation with less noise: a value and a noise level in whose place nothing else changes. The
posterior of a Gaussian component is then exact, and one of atoms or of several Gaussians is what
expectation propagation (Minka 2001, https://arxiv.org/abs/1301.2294) makes of one pass.
"""

from typing import NamedTuple

import torch
from torch import nn

# Rows whose squared distance is so many of its standard deviations beyond its mean are doubted.
FAR = 4.0
# Noise levels that go through a product of matrices at once.
_BLOCK = 32


class JointGaussian:
    """A Gaussian law of k factors over D components.

    Parameters
    ----------
    mean, std : Tensor of shape (D,)
    loadings : Tensor of shape (D, k)
        W, whose rows have a squared norm below 1: the rest of the unit variance, psi, is a
        component's own.
    """

    def __init__(self, mean, std, loadings):
        self.mean, self.std, self.loadings = mean, std, loadings
        self._own = 1 - loadings.square().sum(1)
        self._products = (loadings[:, :, None] * loadings[:, None]).flatten(1)

    def to(self, device=None, dtype=None):
        return JointGaussian(*(p.to(device, dtype) for p in (self.mean, self.std, self.loadings)))

    def condition_and_update(self, x, gamma, missing=None):
        """States and noise levels that hold what the others say, too; each (B, D)."""
        heard = self.condition(x, gamma, missing)
        return self.update(heard, covariance_inflation(heard.distance, n_observed(x, missing)))

    def condition(self, x, gamma, missing=None):
        """What noisy values x (B, D) say of each component, those that are missing nothing."""
        kinds, place = _distinct(gamma)
        precision = (-kinds).exp() * self.std.square()
        weight = 1 / (self._own + 1 / precision)
        k = self.loadings.shape[1]
        of_factors = _product(weight, self._products).view(-1, k, k)
        covariance = _inverse(of_factors + torch.eye(k).to(of_factors))
        variance = _product(covariance.flatten(1), self._products.T)
        stretch = torch.rsqrt(torch.sigmoid(-kinds))
        precision, weight, variance, stretch = torch.stack(
            [precision, weight, variance, stretch], 1
        )[place].unbind(1)
        covariance = covariance[place]
        y = (x * stretch - self.mean) / self.std
        y = y if missing is None else y.masked_fill(missing, 0.0)
        # Of the factors, from all components.
        drawn = (weight * y) @ self.loadings
        factors = torch.einsum("bij,bj->bi", covariance, drawn)
        mean = factors @ self.loadings.T
        # Without the component itself: a downdate of rank one.
        leverage = weight * variance
        rest = 1 - leverage
        distance = (weight * y * y).sum(1) - (drawn * factors).sum(1)
        mean, variance = (mean - leverage * y) / rest, self._own + variance / rest
        return Conditionals(y, mean, precision, variance, distance, covariance)

    def update(self, heard, width):
        """States and noise levels, each (B, D), when the others are believed 1/width, (B,)."""
        width = width[:, None]
        total = heard.precision + (1 / heard.variance - 1).clamp(min=0) / width
        mean = heard.precision * heard.y + heard.mean / (heard.variance * width)
        gamma = 2 * self.std.log() - total.log()
        return torch.sigmoid(-gamma).sqrt() * (self.mean + self.std * mean / total), gamma

    def log_det(self, heard, gamma):
        """Log-determinant of the covariance of the noisy values, (B,), but for alpha."""
        spread = (self._own * self.std.square() + gamma.exp()).log().sum(1)
        return spread - torch.logdet(heard.covariance)


class Conditionals(NamedTuple):
    """What noisy values say under a joint Gaussian, in units of its standard deviations.

    Parameters
    ----------
    y : Tensor of shape (B, D)
        The values.
    mean : Tensor of shape (B, D)
        Of each component given the values of all others.
    precision, variance : Tensor of shape (B, D), or (1, D) where all rows share one noise level
        Of the noise; of each component given the values of all others.
    distance : Tensor of shape (B,)
        Squared, of all values from the mean.
    covariance : Tensor of shape (B, k, k), or (1, k, k)
        Of the factors given all values.
    """

    y: torch.Tensor
    mean: torch.Tensor
    precision: torch.Tensor
    variance: torch.Tensor
    distance: torch.Tensor
    covariance: torch.Tensor


def n_observed(x, missing):
    """How many values of each row of x (B, D) are not missing, (B,) or a number; 1 at least."""
    return x.shape[1] if missing is None else (~missing).sum(1).clamp(min=1)


def covariance_inflation(distance, n_values):
    """By how much less a row is believed that lies at this squared distance, 1 where it fits.

    Data need not be Gaussian: n_values have a mean squared distance of n_values if they are, and a
    standard deviation of the root of twice that; beyond four of them belief falls in proportion.
    """
    return (distance / (n_values + FAR * (2 * n_values) ** 0.5)).clamp(min=1)


def _distinct(rows):
    """Rows (B, D) without those that are there before, and where each row is among them.

    Rows that share their memory stay one; in training all differ.
    """
    if rows.stride(0) == 0:
        return rows[:1], slice(None)
    if not torch.is_grad_enabled():
        key = rows @ torch.arange(1, rows.shape[1] + 1).sqrt().to(rows)
        kinds, place = torch.unique(key, return_inverse=True)
        if len(kinds) < len(rows):
            first = torch.arange(len(rows), device=rows.device)
            first = torch.zeros_like(kinds, dtype=first.dtype).scatter_(0, place, first)
            # Rows of one key may differ.
            if torch.equal(rows[first[place]], rows):
                return rows[first], place
    return rows, slice(None)


def _product(rows, matrix):
    """Rows (n, m) times a matrix in blocks of one size: a row's bits do not depend on n.

    In training they may.
    """
    if torch.is_grad_enabled():
        return rows @ matrix
    padded = nn.functional.pad(rows, (0, 0, 0, -len(rows) % _BLOCK))
    return torch.cat([block @ matrix for block in padded.split(_BLOCK)])[: len(rows)]


def _inverse(matrices):
    """Inverses of positive definite matrices (B, k, k), by what is faster on a CPU."""
    if matrices.shape[-1] <= 12:
        return torch.linalg.inv_ex(matrices)[0]
    return torch.cholesky_inverse(torch.linalg.cholesky_ex(matrices)[0])
