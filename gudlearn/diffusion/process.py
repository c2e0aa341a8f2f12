r"""The forward process, with a noise level for each component.

.. math:: dx_i = -\tfrac12\beta_i x_i\,dt + \sqrt{\beta_i}\,dw_i, \qquad
          \beta_i = \sigma_i^2\,\gamma_i'(t), \qquad
          x_i(t) = \alpha_i x_{0,i} + \sigma_i\epsilon_i
"""

import torch

from gudlearn.diffusion.noise import alpha, sigma


def perturb(x0, eps, gamma):
    """Return the noisy components alpha x0 + sigma eps; all of shape (B, D)."""
    return alpha(gamma) * x0 + sigma(gamma) * eps


def perturb_further(x, eps, gamma_s, gamma_t):
    """Noise components x further, from gamma_s to gamma_t >= gamma_s; all of shape (B, D).

    Components whose two noise levels are equal stay the same, to the bit.
    """
    added_fraction = -torch.expm1((gamma_s - gamma_t).clamp(max=0.0))
    return alpha(gamma_t) / alpha(gamma_s) * x + sigma(gamma_t) * added_fraction.sqrt() * eps


def beta(gamma, rate):
    """Return the noising rate sigma^2 dgamma/dt in 1/time; rate is dgamma/dt; all (B, D)."""
    return torch.sigmoid(gamma) * rate


def marginal_std(variances, gamma):
    """Return the standard deviation of x, sqrt(alpha^2 V + sigma^2), if x0 has variances V."""
    return (torch.sigmoid(-gamma) * variances + torch.sigmoid(gamma)).sqrt()


def flow_velocity(x, x0_hat, gamma, rate):
    r"""Return the velocity dx/dt of the probability-flow ODE, -1/2 beta (x + score).

    Parameters
    ----------
    x, x0_hat : Tensor of shape (B, D)
        Noisy state, and the posterior mean of x0.
    gamma, rate : Tensor of shape (B, D)
        Negative log-SNR and its derivative in t.

    Returns
    -------
    Tensor of shape (B, D)

    Notes
    -----
    With the score :math:`(\alpha\hat x_0 - x)/\sigma^2` and :math:`1 - \sigma^2 = \alpha^2` this is
    :math:`\tfrac12\gamma'\alpha(\alpha x - \hat x_0)`, without a division by a small sigma.

    References
    ----------
    Song et al. (2021), https://arxiv.org/abs/2011.13456
    """
    signal = alpha(gamma)
    return 0.5 * rate * signal * (signal * x - x0_hat)
