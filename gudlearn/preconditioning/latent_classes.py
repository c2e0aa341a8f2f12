r"""Latent classes: a mixture of products of categories, in closed form at any noise level.

A row belongs to one of M hidden classes with weights :math:`w_m`. Given the class its categories
are independent with frequencies :math:`p_m`, and its numbers are independent Gaussians with means
:math:`\mu_m` and variances :math:`v_m`. Of a state with observed and masked categories and noisy
numbers the classes have the responsibilities

.. math::

    r_m \propto w_m \prod_{j \mathrm{\,observed}} p_{m,j}(x_j)
    \prod_i N(x_i; \alpha_i \mu_{m,i}, \alpha_i^2 v_{m,i} + \sigma_i^2),

and a masked category has the level k with probability :math:`\sum_m r_m p_{m,j}(k)`. Missing and
hidden numbers are left out of the product.
"""

from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True, eq=False)
class FittedClasses:
    """Parameters of M latent classes; arrays.

    Parameters
    ----------
    weights : ndarray of shape (M,)
        Fractions of the rows, which sum to one.
    log_pmf : ndarray of shape (M, L)
        Log-frequencies of all levels of the categories, column by column.
    means, variances : ndarray of shape (M, D')
        Of the numeric components.
    """

    weights: np.ndarray
    log_pmf: np.ndarray
    means: np.ndarray
    variances: np.ndarray

    def tensors(self, missing_above):
        """The same classes as an object of tensors, float64 on the CPU.

        Parameters
        ----------
        missing_above : Tensor of shape (D',)
            Noise levels above which a number is missing or hidden.
        """
        arrays = np.log(self.weights), self.log_pmf, self.means, self.variances
        return LatentClasses(*(torch.from_numpy(array) for array in arrays), missing_above)


class LatentClasses:
    """Distribution of the categories given a state, see the module.

    Parameters
    ----------
    log_weights : Tensor of shape (M,)
    log_pmf : Tensor of shape (M, L)
    means, variances : Tensor of shape (M, D')
    missing_above : Tensor of shape (D',)
    """

    def __init__(self, log_weights, log_pmf, means, variances, missing_above):
        self.log_weights, self.log_pmf = log_weights, log_pmf
        self.means, self.variances, self.missing_above = means, variances, missing_above
        self._pmf = log_pmf.exp()

    def to(self, device=None, dtype=None):
        """Return a copy on a device and with a dtype."""
        tensors = (
            self.log_weights, self.log_pmf, self.means, self.variances, self.missing_above,
        )  # fmt: skip
        return LatentClasses(*(tensor.to(device, dtype) for tensor in tensors))

    def log_prob(self, numbers, gamma, one_hot):
        """Log-probabilities of all levels (B, L) given a state.

        Parameters
        ----------
        numbers, gamma : Tensor of shape (B, D')
            Noisy numbers, and their noise levels.
        one_hot : Tensor of shape (B, L)
            Indicators of the levels of observed categories.
        """
        with torch.autocast(one_hot.device.type, enabled=False):
            weights = torch.softmax(self.log_joint(numbers, gamma, one_hot), 1)
            return (weights @ self._pmf).log()

    def log_joint(self, numbers, gamma, one_hot):
        """Log-densities of a state and each class up to a constant of the state, (B, M)."""
        out = torch.addmm(self.log_weights, one_hot, self.log_pmf.T)
        return out + self._of_numbers(numbers, gamma) if numbers.shape[1] else out

    def _of_numbers(self, x, gamma):
        """Log-densities of noisy numbers given each class, (B, M)."""
        missing = gamma > self.missing_above
        x = x.masked_fill(missing, 0.0)
        a2 = torch.sigmoid(-gamma).masked_fill(missing, 0.0)[:, None]
        s2 = torch.sigmoid(gamma).masked_fill(missing, 1.0)[:, None]
        variance = a2 * self.variances + s2
        distance = (x[:, None] - a2.sqrt() * self.means).square() / variance
        return -0.5 * (distance + variance.log()).sum(2)
