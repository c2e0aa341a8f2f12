r"""The denoising loss, and the times at which it is taken.

.. math:: \tfrac12 \gamma_i'(t) \frac{\alpha_i^2}{\sigma_i^2} (x_{0,i} - \hat x_{0,i})^2

summed over components is the integrand of the bound (Kingma et al. 2021,
https://arxiv.org/abs/2107.00630; per component Sahoo et al. 2023,
https://arxiv.org/abs/2312.13236). Times are stratified, and drawn more often where the
integrand is large.
"""

import torch

from gudlearn.diffusion.noise import snr
from gudlearn.diffusion.process import perturb


def nll_integrand(denoise, path, x0, t, eps):
    """Integrand of the bound per component, in nats; (B, D).

    Parameters
    ----------
    denoise : callable (x, gamma) -> x0_hat
    path : gamma path
    x0, eps : Tensor of shape (B, D)
    t : Tensor of shape (B,)
    """
    gamma, rate = path.gamma_and_rate(t)
    error = x0 - denoise(perturb(x0, eps, gamma), gamma)
    return 0.5 * rate * snr(gamma) * error**2


def noise_loss(denoise, path, x0, t, eps):
    """Squared error of the predicted noise per component, the same at all own times; (B, D)."""
    gamma = path(t)
    error = x0 - denoise(perturb(x0, eps, gamma), gamma)
    return path.speed(t) * snr(gamma) * error**2


class TimeDensity:
    """A piecewise constant density of t on [0, 1].

    Parameters
    ----------
    weights : Tensor of shape (n_bins,)
        Relative height of each bin; a tenth of the mass is spread evenly over all.
    """

    def __init__(self, weights):
        share = 0.9 * weights / weights.sum() + 0.1 / len(weights)
        self.share = share
        self._edges = torch.cat([share.new_zeros(1), share.cumsum(0)])

    def __call__(self, u):
        """Times of the quantiles u in [0, 1], their inverse density, and their bins."""
        n_bins = len(self.share)
        k = (torch.searchsorted(self._edges, u, right=True) - 1).clamp(0, n_bins - 1)
        within = (u - self._edges[k]) / self.share[k]
        t = ((k + within) / n_bins).clamp(0, 1)
        return t, 1 / (n_bins * self.share[k]), k

    def height(self, t):
        """The density at times t of any shape, in [0, 1]."""
        n_bins = len(self.share)
        return n_bins * self.share[(t * n_bins).long().clamp(0, n_bins - 1)]


class AdaptiveTimes:
    """Stratified times with density proportional to the root mean square of the loss there.

    Parameters
    ----------
    n_bins : int
    device, dtype : of the tensors
    memory : float
        Share of the past in the running mean of squares.
    """

    def __init__(self, n_bins=32, device=None, dtype=torch.float32, memory=0.97):
        self.memory = memory
        self._squares = torch.zeros(n_bins, device=device, dtype=dtype)
        self._seen = torch.zeros(n_bins, device=device, dtype=dtype)
        self._strata = {}
        # Whether a loss has been noted: known without asking the device.
        self.started = False

    @property
    def weights(self):
        """Root mean square of the loss in each bin; bins never seen count as the mean bin."""
        mean_square = self._squares / self._seen.clamp(min=1e-12)
        if not self.started:
            return torch.ones_like(mean_square)
        seen = self._seen > 0
        mean = (mean_square * seen).sum() / seen.sum().clamp(min=1)
        return torch.where(seen, mean_square, mean).sqrt().clamp(min=1e-12)

    def sample(self, u):
        """Times, inverse densities and bins for uniforms u (B,), one in each of B strata.

        Returns
        -------
        t, inverse_density, bins : Tensor of shape (B,)
        density : TimeDensity
            They were drawn from.
        """
        n = len(u)
        if n not in self._strata:
            self._strata[n] = torch.arange(n, device=u.device, dtype=u.dtype)
        density = TimeDensity(self.weights)
        return *density((self._strata[n] + u) / n), density

    def update(self, bins, losses):
        """Take note of losses (B,) that fell into bins (B,)."""
        self.started = self.started or len(losses) > 0
        self._squares.mul_(self.memory).index_add_(0, bins, losses.detach() ** 2)
        self._seen.mul_(self.memory).index_add_(0, bins, torch.ones_like(losses))
