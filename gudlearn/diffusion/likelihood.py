r"""Likelihoods of a denoiser: the variational bound per component, and the density of its flow.

.. math::

    -\log p(x_0) \le KL(q(x_1|x_0) \| prior) - E \log p(x_0 | x_{t=0})
    + \tfrac12 \int_0^1 E \sum_i
    \gamma_i' \frac{\alpha_i^2}{\sigma_i^2} (x_{0,i} - \hat x_{0,i})^2 dt

Terms of the bound add up to a negative log-likelihood, nll (small is good); `flow_log_prob` is a
log-likelihood (large is good). Noise and times are arguments. All values are in nats.
"""

import math
from itertools import pairwise

import numpy as np
import torch

from gudlearn.diffusion.categories import corrupt, reveal_weight
from gudlearn.diffusion.noise import alpha, sigma, snr
from gudlearn.diffusion.paths import load_forward_mode
from gudlearn.diffusion.process import perturb

LOG_2PI = math.log(2 * math.pi)


def nll_correction(split, path, x0, t, eps, control=None):
    r"""Return the change in the integrand of the nll bound due to a correction; (B, D), in nats.

    The correction is to the marginals' denoiser. With :math:`\hat x_0 = \mu + \delta` the change is

    .. math::

        \tfrac12 \gamma_i' \frac{\alpha_i^2}{\sigma_i^2} \delta_i (\delta_i - 2 (x_{0,i} - \mu_i)).

    The bound of the marginals alone is known (the mean of `noised_divergence` at t = 0) and acts as
    a control variate: without a joint distribution, the score of an untrained network has no Monte
    Carlo error.

    For categories mu are the log-frequencies of their levels, delta is the change of these
    log-probabilities, and the change in the integrand is that of the cross-entropy.

    Parameters
    ----------
    split : callable (x, gamma) -> mu, delta
    path : gamma path
    x0, eps : Tensor of shape (B, D)
        Clean components, standard normal draw.
    t : Tensor of shape (B,)
    control : callable (x, gamma, mu) -> Tensor of shape (B, D), or None
        Another denoiser of the numbers, whose bound is known, in place of the marginals' mean mu.
    """
    gamma, rate = path.gamma_and_rate(t)
    x, seen = corrupt(x0, eps, gamma, path)
    mu, delta = split(x, seen)
    weight = 0.5 * rate * snr(gamma)
    if path.levels is None:
        if control is not None:
            mu, delta = _relative_to(control(x, gamma, mu), mu, delta)
        return weight * delta * (delta - 2 * (x0 - mu))
    (mu, _), (delta, change) = path.levels.split(mu), path.levels.split(delta)
    n = delta.shape[1]
    if control is not None:
        mu, delta = _relative_to(control(x[:, :n], gamma[:, :n], mu), mu, delta)
    numeric = weight[:, :n] * delta * (delta - 2 * (x0[:, :n] - mu))
    change = path.levels.change(change, x0[:, n:])
    return torch.cat([numeric, -reveal_weight(path, gamma, rate, seen) * change], 1)


def _relative_to(other, mu, delta):
    """The same estimate mu + delta, divided into another one and the rest."""
    return other, mu + delta - other


def noised_divergence(marginals, gamma, x0, eps):
    """Return one draw of log q(x | x0) - log p(x) per component, p the noisy marginal; (B, D).

    It adds to the nll. At gamma(1) its mean is the prior term of the bound. At gamma(0) its mean is
    the whole bound of the product of the marginals except for the reconstruction term: their
    denoiser is exact, so the diffusion term is the difference between the two.
    """
    x = perturb(x0, eps, gamma)
    log_q = -0.5 * (LOG_2PI + sigma(gamma).square().log() + eps**2)
    return log_q - marginals.log_prob(x, gamma.expand_as(x))


def gaussian_kl(x0, variance, gamma):
    """Return KL(q(x | x0) || N(0, alpha^2 variance + sigma^2)) per component; (B, D)."""
    a2, s2 = torch.sigmoid(-gamma), torch.sigmoid(gamma)
    total = a2 * variance + s2
    return 0.5 * ((a2 * x0**2 + s2) / total - 1 + (total / s2).log())


def flow_log_prob(denoise, path, marginals, x0, n_steps, probe=None):
    r"""Return the log-density of the probability flow at x0 (large is good); (B,).

    It is the density of the data with the noise of gamma(0). In y = x/alpha the flow is
    :math:`dy_i = \tfrac12 (y_i - \hat x_{0,i}) d\gamma_i`, and the log-density changes by minus the
    trace of its Jacobian. The steps are classical Runge-Kutta.

    Parameters
    ----------
    denoise : callable (x, gamma) -> x0_hat
    path : gamma path
    marginals : object with `log_prob`, the prior at t = 1
    x0 : Tensor of shape (B, D)
    n_steps : int
        Number of steps if all components are active together; see `flow_times`.
    probe : None or Tensor of shape (n_probes, B, D)
        Random signs for Hutchinson's estimator of the trace; None computes the trace exactly.

    References
    ----------
    Song et al. (2021), https://arxiv.org/abs/2011.13456
    """
    signs, count = _probes(x0, probe)
    y, log_det = x0, x0.new_zeros(len(x0))

    def field(y, t):
        gamma, rate = (v.expand(len(signs), -1) for v in path.gamma_and_rate(t[None]))
        a = alpha(gamma)

        def velocity(y):
            return 0.5 * rate * (y - denoise(a * y, gamma))

        load_forward_mode()
        value, slope = torch.func.jvp(velocity, (y.repeat(len(signs) // len(y), 1),), (signs,))
        divergence = (slope * signs).sum(1).view(-1, len(y)).sum(0) / count
        return value[: len(y)], divergence

    for t, s in pairwise(flow_times(path, n_steps).to(x0)):
        h = s - t
        # Evaluating slightly inside the step avoids the other side of a kink.
        edge = torch.minimum((1e-9 * h).clamp(min=8 * torch.finfo(h.dtype).eps), h / 4)
        lo, mid, hi = t + edge, t + 0.5 * h, s - edge
        k1, d1 = field(y, lo)
        k2, d2 = field(y + 0.5 * h * k1, mid)
        k3, d3 = field(y + 0.5 * h * k2, mid)
        k4, d4 = field(y + h * k3, hi)
        y = y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        log_det = log_det + h / 6 * (d1 + 2 * d2 + 2 * d3 + d4)
    gamma = path(y.new_ones(1)).expand_as(y)
    a = alpha(gamma)
    return (marginals.log_prob(a * y, gamma) + a.log()).sum(1) + log_det


def _probes(x0, probe):
    """Return directions for all rows, (P * B, D), and the divisor of the sum over them."""
    if probe is not None:
        return probe.reshape(-1, x0.shape[1]), len(probe)
    axes = torch.eye(x0.shape[1], dtype=x0.dtype, device=x0.device)
    return axes.repeat_interleave(len(x0), 0), 1


def flow_times(path, n_steps):
    """Return increasing times from 0 to 1 that contain the kinks of the path; float64.

    In each step every component covers at most 2/n_steps of its range of gamma. This takes n_steps
    steps if all components are active together, and half as many per component if they are
    sequential.
    """
    nodes, progress = [], []
    for begin, end in pairwise([0.0, *path.kinks, 1.0]):
        fine = begin + (end - begin) * torch.linspace(0, 1, 129, dtype=torch.float64)
        change = path(fine.to(path.gamma_0)).double().diff(dim=0)
        fraction = (change / (path.gamma_1 - path.gamma_0).double()).amax(1).cpu()
        nodes.append(fine.numpy())
        progress.append(np.concatenate([[0.0], fraction.cumsum(0).numpy()]))
    density = n_steps * (1 + 1 / sum(p[-1] for p in progress)) / 2
    times = []
    for t, covered in zip(nodes, progress, strict=True):
        steps = max(1, math.ceil(density * covered[-1] - 1e-6))
        inner = np.linspace(0, covered[-1], steps + 1)[1:-1]
        times += [t[:1], np.interp(inner, covered, t)]
    return torch.from_numpy(np.concatenate([*times, [1.0]]))
