r"""Conversions between the predictions x0, eps, v and the score.

.. math:: x = \alpha x_0 + \sigma\epsilon, \qquad v = \alpha\epsilon - \sigma x_0, \qquad
          \nabla\log p_t(x) = -\epsilon/\sigma

All arguments are tensors of shape (B, D) or broadcast to it. Division by sigma is ill-conditioned
near the data, division by alpha near the noise. Conversions from v need no division.
"""

from gudlearn.diffusion.noise import alpha, sigma


def x0_from_eps(x, eps, gamma):
    """Return the clean components, given the noise in x; divides by alpha."""
    return (x - sigma(gamma) * eps) / alpha(gamma)


def x0_from_v(x, v, gamma):
    """Return the clean components, given v; without division."""
    return alpha(gamma) * x - sigma(gamma) * v


def eps_from_x0(x, x0, gamma):
    """Return the noise in x, given the clean components; divides by sigma."""
    return (x - alpha(gamma) * x0) / sigma(gamma)


def eps_from_v(x, v, gamma):
    """Return the noise in x, given v; without division."""
    return sigma(gamma) * x + alpha(gamma) * v


def v_from_x0(x, x0, gamma):
    """Return v, given the clean components; divides by sigma."""
    return (alpha(gamma) * x - x0) / sigma(gamma)


def v_from_eps(x, eps, gamma):
    """Return v, given the noise in x; divides by alpha."""
    return (eps - sigma(gamma) * x) / alpha(gamma)


def score_from_x0(x, x0, gamma):
    """Return the gradient of log p_t(x), given the posterior mean of x0; divides by sigma^2."""
    return (alpha(gamma) * x0 - x) / sigma(gamma).square()


def score_from_eps(eps, gamma):
    """Return the gradient of log p_t(x), given the posterior mean of eps; divides by sigma."""
    return -eps / sigma(gamma)
