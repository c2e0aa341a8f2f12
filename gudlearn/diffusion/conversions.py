r"""One prediction, four names: x0, eps, v and the score.

.. math:: x = \alpha x_0 + \sigma\epsilon, \qquad v = \alpha\epsilon - \sigma x_0, \qquad
          \nabla\log p_t(x) = -\epsilon/\sigma

All arguments are tensors of shape (B, D), or broadcast to it. Dividing by sigma is ill-conditioned
near the data, dividing by alpha near the noise; from v nothing is divided.
"""

from gudlearn.diffusion.noise import alpha, sigma


def x0_from_eps(x, eps, gamma):
    """Clean components from the noise in x; divides by alpha."""
    return (x - sigma(gamma) * eps) / alpha(gamma)


def x0_from_v(x, v, gamma):
    """Clean components from v; divides by nothing."""
    return alpha(gamma) * x - sigma(gamma) * v


def eps_from_x0(x, x0, gamma):
    """Noise in x from the clean components; divides by sigma."""
    return (x - alpha(gamma) * x0) / sigma(gamma)


def eps_from_v(x, v, gamma):
    """Noise in x from v; divides by nothing."""
    return sigma(gamma) * x + alpha(gamma) * v


def v_from_x0(x, x0, gamma):
    """v from the clean components; divides by sigma."""
    return (alpha(gamma) * x - x0) / sigma(gamma)


def v_from_eps(x, eps, gamma):
    """v from the noise in x; divides by alpha."""
    return (eps - sigma(gamma) * x) / alpha(gamma)


def score_from_x0(x, x0, gamma):
    """Gradient of log p_t(x) from the posterior mean of x0; divides by sigma^2."""
    return (alpha(gamma) * x0 - x) / sigma(gamma).square()


def score_from_eps(eps, gamma):
    """Gradient of log p_t(x) from the posterior mean of the noise; divides by sigma."""
    return -eps / sigma(gamma)
