r"""A joint Gaussian of all components: what the noisy values of the others say about each.

It has k factors, :math:`x_0 = m + s (W f + \sqrt\psi e)` with f and e white. In units of s the
noisy value of component i is :math:`y_i = u_i + N(0, n_i)`, :math:`n_i = e^{\gamma_i}/s_i^2`.
Given the noisy values of all others, u_i has the distribution :math:`N(m'_i, v'_i)`. Relative to
the distribution of u_i alone, the others contribute the factor

.. math::

    N(u_i; m'_i, v'_i) / N(u_i; 0, 1) \propto \exp(-\lambda_i u_i^2 / 2 + h_i u_i), \quad
    \lambda_i = 1/v'_i - 1, \quad h_i = m'_i/v'_i .

Data need not be Gaussian: for a row that lies far from the mean, by its squared distance
:math:`y^T C^{-1} y`, both are divided by a factor in proportion (`covariance_inflation`).

Multiplied by the component's own likelihood :math:`\exp(-u_i^2 / 2 n_i + u_i y_i / n_i)`, this is
the likelihood of the same observation with less noise. It is expressed by a new value and a new
noise level, which replace x_i and gamma_i; nothing else changes. The posterior of a Gaussian
component is then exact. That of point masses or of a mixture of Gaussians is one iteration of
expectation propagation (Minka 2001, https://arxiv.org/abs/1301.2294).
"""

from typing import NamedTuple

import torch
from torch import nn

# A row's influence is reduced if its squared distance exceeds its mean by this many of its
# standard deviations.
_FAR = 4.0
# Beyond this many the bound of the Gaussian is no control variate for that of the row.
_VERY_FAR = 12.0
# Rows of a block that goes through a matrix product at once.
_BLOCK = 32
# Up to this many factors a general inverse is faster on a CPU than one by Cholesky factors.
_FEW_FACTORS = 12


class JointGaussian:
    """A Gaussian of D components with k factors.

    Parameters
    ----------
    mean, std : Tensor of shape (D,)
    loadings : Tensor of shape (D, k)
        W. Its rows have a squared norm below 1; the rest of the unit variance, psi, is specific to
        the component.
    """

    def __init__(self, mean, std, loadings):
        self.mean, self.std, self.loadings = mean, std, loadings
        self._specific = 1 - loadings.square().sum(1)
        self._products = (loadings[:, :, None] * loadings[:, None]).flatten(1)

    def to(self, device=None, dtype=None):
        """Return a copy on a device and with a dtype."""
        return JointGaussian(*(p.to(device, dtype) for p in (self.mean, self.std, self.loadings)))

    def condition_and_update(self, x, gamma, missing=None):
        """States and noise levels, each (B, D), that account for the other components."""
        conditionals = self.condition(x, gamma, missing)
        inflation = covariance_inflation(
            conditionals.distance, n_observed(x, missing), marginal_distance(conditionals)
        )
        return self.update(conditionals, inflation)

    def condition(self, x, gamma, missing=None):
        """Condition each component on the noisy values of all others.

        Parameters
        ----------
        x, gamma : Tensor of shape (B, D)
        missing : BoolTensor of shape (B, D) or None
            Components whose values are ignored; their noise must be large.

        Returns
        -------
        Conditionals
        """
        distinct, index = _distinct(gamma)
        precision = (-distinct).exp() * self.std.square()
        weight = 1 / (self._specific + 1 / precision)
        k = self.loadings.shape[1]
        of_factors = _product(weight, self._products).view(-1, k, k)
        unit = torch.eye(k, dtype=of_factors.dtype, device=of_factors.device)
        covariance = _inverse(of_factors + unit)
        variance = _product(covariance.flatten(1), self._products.T)
        inverse_alpha = torch.rsqrt(torch.sigmoid(-distinct))
        precision, weight, variance, inverse_alpha = torch.stack(
            [precision, weight, variance, inverse_alpha], 1
        )[index].unbind(1)
        y = (x * inverse_alpha - self.mean) / self.std
        y = y if missing is None else y.masked_fill(missing, 0.0)
        # The factors given all components.
        projected = (weight * y) @ self.loadings
        factors = _products_by_index(covariance, index, projected)
        mean = factors @ self.loadings.T
        # A rank-one downdate leaves out the component itself.
        leverage = weight * variance
        rest = 1 - leverage
        distance = (weight * y * y).sum(1) - (projected * factors).sum(1)
        mean, variance = (mean - leverage * y) / rest, self._specific + variance / rest
        return Conditionals(y, mean, precision, variance, distance, covariance, index)

    def update(self, conditionals, inflation):
        """Combine each component's noisy value with its conditional distribution.

        Parameters
        ----------
        conditionals : Conditionals
        inflation : Tensor of shape (B,)
            Divides the precision of what the other components say.

        Returns
        -------
        x, gamma : Tensor of shape (B, D)
            States and noise levels to use in place of the observed ones.
        """
        inflation = inflation[:, None]
        total = conditionals.precision + (1 / conditionals.variance - 1).clamp(min=0) / inflation
        mean = conditionals.precision * conditionals.y
        mean = mean + conditionals.mean / (conditionals.variance * inflation)
        gamma = 2 * self.std.log() - total.log()
        return torch.sigmoid(-gamma).sqrt() * (self.mean + self.std * mean / total), gamma

    def posterior_mean(self, conditionals):
        """Mean of each component given all noisy values, its own among them, (B, D)."""
        total = conditionals.precision + 1 / conditionals.variance
        mean = conditionals.precision * conditionals.y + conditionals.mean / conditionals.variance
        return self.mean + self.std * mean / total

    def divergence(self, x0, gamma, missing=None):
        """Expected log q(x | x0) - log p(x) of noisy values x given clean ones, in nats.

        q is the noise, and p the density of noisy values under this Gaussian. Negated, it is what
        the negative log-likelihood at this noise level adds to the noise's own entropy; the
        difference between two noise levels is the integral of the Gaussian denoiser's bound.

        Parameters
        ----------
        x0 : Tensor of shape (B, D)
        gamma : Tensor of shape (B, D), or (1, D) where all rows share one noise level
        missing : BoolTensor of shape (B, D) or None
            Components that are left out.

        Returns
        -------
        divergence, distance : Tensor of shape (B,)
            The second is the squared Mahalanobis distance of the clean values.
        """
        precision = (-gamma).exp() * self.std.square()
        if missing is not None:
            precision = precision.expand_as(x0).masked_fill(missing, 0.0)
        ratio = self._specific * precision
        weight = precision / (1 + ratio)
        k = self.loadings.shape[1]
        of_factors = _product(weight, self._products).view(-1, k, k)
        unit = torch.eye(k, dtype=of_factors.dtype, device=of_factors.device)
        root = torch.linalg.cholesky_ex(of_factors + unit)[0]
        covariance = torch.cholesky_inverse(root)
        log_det = 2 * root.diagonal(dim1=1, dim2=2).log().sum(1) + ratio.log1p().sum(1)
        y = (x0 - self.mean) / self.std
        projected = (weight * y) @ self.loadings
        factors = _products_by_index(covariance, slice(None), projected)
        distance = (weight * y * y).sum(1) - (projected * factors).sum(1)
        # What of the noise's own squared distance is left under p.
        variance = _product(covariance.flatten(1), self._products.T)
        trace = -(ratio / (1 + ratio)).sum(1) - (weight * variance / (1 + ratio)).sum(1)
        return 0.5 * (log_det + distance + trace), distance

    def bound(self, x0, path, shared):
        """Integral over a path of the bound's integrand for this Gaussian's denoiser.

        Parameters
        ----------
        x0 : Tensor of shape (B, D)
        path : GammaPath or MaskedPath
            Of D components, or of more.
        shared : bool
            Whether all rows have the same noise levels.

        Returns
        -------
        bound : Tensor of shape (B,)
        near : BoolTensor of shape (B,)
            Whether a row fits the Gaussian: far from it the integral is a small difference of
            large numbers.
        """
        n_rows, n = x0.shape
        ends = []
        for t in (0.0, 1.0):
            gamma = path(torch.full((1 if shared else n_rows,), t).to(x0))
            missing = path.missing_components(gamma)
            missing = None if missing is None else missing[:, :n]
            ends.append(self.divergence(x0, gamma[:, :n], missing))
        (first, distance), (last, _) = ends
        n_values = n if missing is None else (~missing).sum(1)
        return first - last, distance < n_values + _VERY_FAR * (2 * n_values) ** 0.5

    def denoiser_on(self, path, near=None):
        """The denoiser of this Gaussian on a path, without what is missing there.

        Parameters
        ----------
        path : GammaPath or MaskedPath
        near : BoolTensor of shape (n,) or None
            Rows that it is for; None: all. Batches are whole numbers of repetitions of the rows.

        Returns
        -------
        callable (x, gamma, mu) -> Tensor of shape (B, D)
            Its mean, and mu (B, D) for the other rows.
        """

        def denoise(x, gamma, mu):
            missing = path.missing_components(gamma)
            missing = None if missing is None else missing[:, : x.shape[1]]
            mean = self.posterior_mean(self.condition(x, gamma, missing))
            if near is None:
                return mean
            return torch.where(near.repeat(len(x) // len(near))[:, None], mean, mu)

        return denoise

    def first(self, n):
        """The Gaussian of the first n components."""
        if n == len(self.mean):
            return self
        return JointGaussian(self.mean[:n], self.std[:n], self.loadings[:n])

    def log_det(self, conditionals, gamma):
        """Log-determinant of the covariance of the noisy values over alpha, (B,)."""
        specific = (self._specific * self.std.square() + gamma.exp()).log().sum(1)
        return specific - torch.logdet(conditionals.covariance)[conditionals.index]


class Conditionals(NamedTuple):
    """Components given the noisy values of all others, in units of their standard deviations.

    Parameters
    ----------
    y : Tensor of shape (B, D)
        The noisy values, standardised.
    mean : Tensor of shape (B, D)
        Mean of each component given the others.
    precision, variance : Tensor of shape (B, D), or (1, D) where all rows share one noise level
        Precision of the noise; variance of each component given the others.
    distance : Tensor of shape (B,)
        Squared Mahalanobis distance of all values from the mean.
    covariance : Tensor of shape (U, k, k)
        Covariance of the factors given all values, at the distinct noise levels.
    index : LongTensor of shape (B,), or slice
        Which of these belongs to each row.
    """

    y: torch.Tensor
    mean: torch.Tensor
    precision: torch.Tensor
    variance: torch.Tensor
    distance: torch.Tensor
    covariance: torch.Tensor
    index: object


def n_observed(x, missing):
    """Number of observed values of each row of x (B, D): (B,) or a number, at least 1."""
    if missing is None:
        return x.shape[1]
    return (~missing).sum(1, dtype=torch.float32).clamp(min=1)


def covariance_inflation(distance, n_values, marginal=None):
    """Factor by which a row at this squared distance inflates the covariance; 1 where it fits.

    For Gaussian data the squared distance of n_values values has mean n_values and standard
    deviation sqrt(2 n_values). Beyond four standard deviations the factor grows in proportion.
    A row that is far only because some of its values are, each by itself, fits: the squared
    distance of all values is then no more than that of each added up, ``marginal`` (B,).
    """
    near = n_values + _FAR * (2 * n_values) ** 0.5
    if marginal is not None:
        near = marginal.clamp(min=near) if isinstance(near, float) else marginal.maximum(near)
    return (distance / near).clamp(min=1)


def marginal_distance(conditionals, n=None):
    """Sum of the squared distances of the first n components, or all, each by itself; (B,)."""
    y, precision = conditionals.y[:, :n], conditionals.precision[:, :n]
    return (y.square() * (precision / (1 + precision))).sum(1)


def _distinct(rows):
    """Distinct rows of (B, D), and the index that restores all of them.

    Rows that share their memory are one row.
    """
    if rows.stride(0) == 0:
        return rows[:1], slice(None)
    # How many rows are distinct depends on data, which a compiler does not know.
    if rows.requires_grad or torch.compiler.is_compiling():
        return rows, slice(None)
    # float32 roots, whatever the dtype: keys only have to tell rows apart.
    roots = torch.arange(1, rows.shape[1] + 1, dtype=torch.float32).sqrt()
    keys = (rows * roots.to(rows)).sum(1)
    keys, index = torch.unique(keys, return_inverse=True)
    if len(keys) < len(rows):
        first = torch.arange(len(rows), device=rows.device)
        first = torch.zeros_like(keys, dtype=first.dtype).scatter_(0, index, first)
        # Rows of one key may differ.
        if torch.equal(rows[first[index]], rows):
            return rows[first], index
    return rows, slice(None)


def _products_by_index(matrices, index, rows):
    """Product of each row (B, k) with its matrix, of which there are U, (U, k, k)."""
    n_matrices, n_rows = len(matrices), len(rows)
    if isinstance(index, slice) and n_matrices == 1:
        return _product(rows, matrices[0])
    if isinstance(index, slice):
        return torch.einsum("bij,bj->bi", matrices, rows)
    if n_rows < 8 * n_matrices:
        return torch.einsum("bij,bj->bi", matrices[index], rows)
    counts = torch.bincount(index, minlength=n_matrices)
    longest = int(counts.max())
    if longest * n_matrices > 2 * n_rows:
        return torch.einsum("bij,bj->bi", matrices[index], rows)
    # Rows by matrix, padded with zeros to equal numbers.
    order = index.argsort(stable=True)
    place = torch.arange(n_rows, device=rows.device)
    place -= (counts.cumsum(0) - counts)[index[order]]
    by_matrix = rows.new_zeros(n_matrices, longest, rows.shape[1])
    by_matrix[index[order], place] = rows[order]
    out = torch.empty_like(rows)
    out[order] = torch.bmm(by_matrix, matrices)[index[order], place]
    return out


def _product(rows, matrix):
    """Rows (n, m) times a matrix, in blocks of one size: a row's bits do not depend on n.

    In training they may.
    """
    if torch.is_grad_enabled():
        return rows @ matrix
    padded = nn.functional.pad(rows, (0, 0, 0, -len(rows) % _BLOCK))
    return torch.cat([block @ matrix for block in padded.split(_BLOCK)])[: len(rows)]


def _inverse(matrices):
    """Inverses of positive definite matrices (B, k, k)."""
    if matrices.shape[-1] <= _FEW_FACTORS:
        return torch.linalg.inv_ex(matrices)[0]
    return torch.cholesky_inverse(torch.linalg.cholesky_ex(matrices)[0])
