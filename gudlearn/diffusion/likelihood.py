r"""Likelihoods of a denoiser: the bound, per component, and the density of its flow.

.. math::

    -\log p(x_0) \le KL(q(x_1|x_0) \| prior) - E \log p(x_0 | x_{t=0})
    + \tfrac12 \int_0^1 E \sum_i \gamma_i' \frac{\alpha_i^2}{\sigma_i^2} (x_{0,i} - \hat x_{0,i})^2 dt

Noise and times are handed in; nothing here draws a random number. Everything is in nats.
"""

import torch

from gudlearn.diffusion.levels import alpha, sigma, snr
from gudlearn.diffusion.marginals import LOG_2PI


def correction_integrand(split, path, x0, t, eps):
    r"""What a correction adds to the integrand of the bound of the marginals; (B, D), in nats.

    With :math:`\hat x_0 = \mu + \delta` it is
    :math:`\tfrac12 \gamma_i' \frac{\alpha_i^2}{\sigma_i^2} \delta_i (\delta_i - 2 (x_{0,i} - \mu_i))`.
    The bound of the marginals alone is known (`level_divergence` at t = 0), which makes of it a
    control variate: an untrained network is scored without noise.

    Parameters
    ----------
    split : callable (x, gamma) -> mu, delta
    path : gamma path
    x0, eps : Tensor of shape (B, D)
    t : Tensor of shape (B,)
    """
    gamma, rate = path.gamma_and_rate(t)
    mu, delta = split(alpha(gamma) * x0 + sigma(gamma) * eps, gamma)
    return 0.5 * rate * snr(gamma) * delta * (delta - 2 * (x0 - mu))


def level_divergence(marginals, gamma, x0, eps):
    """One draw of log q(x | x0) - log p(x) per component, p the marginal at that level; (B, D).

    At gamma(1) its mean is the prior term of the bound. At gamma(0) it is the whole bound of the
    product of the marginals, but for the reconstruction: their denoiser is exact, and
    diffusion from 0 to 1 adds the difference of the two.
    """
    x = alpha(gamma) * x0 + sigma(gamma) * eps
    log_q = -0.5 * (LOG_2PI + sigma(gamma).square().log() + eps**2)
    return log_q - marginals.log_prob(x, gamma.expand_as(x))


def gaussian_divergence(x0, variance, gamma):
    """KL of q(x | x0) from N(0, alpha^2 variance + sigma^2), per component; (B, D)."""
    a2, s2 = torch.sigmoid(-gamma), torch.sigmoid(gamma)
    total = a2 * variance + s2
    return 0.5 * ((a2 * x0**2 + s2) / total - 1 + (total / s2).log())


def flow_log_prob(denoise, path, marginals, x0, n_steps, probe=None):
    r"""Log-density of the probability flow at x0, the data blurred to gamma(0); (B,).

    In y = x/alpha the flow is :math:`dy_i = \tfrac12 (y_i - \hat x_{0,i}) d\gamma_i`, and the
    log-density changes by minus the trace of its Jacobian. Classical Runge-Kutta steps.

    Parameters
    ----------
    denoise : callable (x, gamma) -> x0_hat
    path : gamma path
    marginals : the prior at t = 1
    x0 : Tensor of shape (B, D)
    n_steps : int
    probe : None or Tensor of shape (n_probes, B, D)
        Signs for Hutchinson's estimator of the trace; None sums the exact diagonal.

    References
    ----------
    Song et al. (2021), https://arxiv.org/abs/2011.13456
    """
    times = torch.linspace(0, 1, n_steps + 1, dtype=x0.dtype, device=x0.device)
    times = torch.cat([times, times.new_tensor(path.kinks)]).sort().values
    y, log_det = x0, x0.new_zeros(len(x0))

    def field(y, t):
        gamma, rate = path.gamma_and_rate(t.expand(len(y)))
        a = alpha(gamma)

        def velocity(y):
            return 0.5 * rate * (y - denoise(a * y, gamma))

        return _with_divergence(velocity, y, probe)

    for t, s in zip(times[:-1], times[1:], strict=True):
        h = s - t
        if h <= 0:
            continue
        # A step ends where the next begins, but a kink belongs to neither side's inside.
        lo, mid, hi = t + 1e-9 * h, t + 0.5 * h, s - 1e-9 * h
        k1, d1 = field(y, lo)
        k2, d2 = field(y + 0.5 * h * k1, mid)
        k3, d3 = field(y + 0.5 * h * k2, mid)
        k4, d4 = field(y + h * k3, hi)
        y = y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        log_det = log_det + h / 6 * (d1 + 2 * d2 + 2 * d3 + d4)
    gamma = path(times[-1:]).expand_as(y)
    a = alpha(gamma)
    return (marginals.log_prob(a * y, gamma) + a.log()).sum(1) + log_det


def _with_divergence(velocity, y, probe):
    """The velocity at y and the trace of its Jacobian, exact or by the probes."""
    if probe is None:
        probe = torch.eye(y.shape[1], dtype=y.dtype, device=y.device)[:, None, :]
        probe = probe.expand(-1, len(y), -1)
        count = 1
    else:
        count = len(probe)
    total, value = 0, None
    for e in probe:
        value, slope = torch.func.jvp(velocity, (y,), (e,))
        total = total + (slope * e).sum(1)
    return value, total / count
