r"""The forward process, each component at its own noise level.

.. math:: dx_i = -\tfrac12\beta_i x_i\,dt + \sqrt{\beta_i}\,dw_i, \qquad
          \beta_i = \sigma_i^2\,\gamma_i'(t), \qquad
          x_i(t) = \alpha_i x_{0,i} + \sigma_i\epsilon_i
"""

import torch

from gudlearn.diffusion.noise import alpha, sigma


def perturb(x0, eps, gamma):
    """Noisy components alpha x0 + sigma eps; all of shape (B, D)."""
    return alpha(gamma) * x0 + sigma(gamma) * eps


def perturb_further(x, eps, gamma_s, gamma_t):
    """Components x at levels gamma_s made as noisy as at gamma_t >= gamma_s; all (B, D).

    Where the levels are equal they stay as they are, to the bit.
    """
    fresh = -torch.expm1((gamma_s - gamma_t).clamp(max=0.0))
    return alpha(gamma_t) / alpha(gamma_s) * x + sigma(gamma_t) * fresh.sqrt() * eps


def beta(gamma, rate):
    """Noising rate sigma^2 dgamma/dt in 1/time, where rate is dgamma/dt; all of shape (B, D)."""
    return torch.sigmoid(gamma) * rate


def marginal_std(variances, gamma):
    """Standard deviation of x where x0 has the given variances: sqrt(alpha^2 V + sigma^2)."""
    return (torch.sigmoid(-gamma) * variances + torch.sigmoid(gamma)).sqrt()


def flow_velocity(x, x0_hat, gamma, rate):
    r"""Velocity dx/dt of the probability-flow ODE, -1/2 beta (x + score).

    Parameters
    ----------
    x, x0_hat : Tensor of shape (B, D)
        Noisy state and the posterior mean of the clean one.
    gamma, rate : Tensor of shape (B, D)
        Negative log-SNR and its derivative in t.

    Returns
    -------
    Tensor of shape (B, D)

    Notes
    -----
    With the score :math:`(\alpha\hat x_0 - x)/\sigma^2` and :math:`1 - \sigma^2 = \alpha^2` it is
    :math:`\tfrac12\gamma'\alpha(\alpha x - \hat x_0)`: nothing is divided by a small sigma.

    References
    ----------
    Song et al. (2021), https://arxiv.org/abs/2011.13456
    """
    signal = alpha(gamma)
    return 0.5 * rate * signal * (signal * x - x0_hat)
