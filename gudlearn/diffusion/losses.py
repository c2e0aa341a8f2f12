r"""The denoising loss, and the distribution of the times at which it is evaluated.

.. math:: \tfrac12 \gamma_i'(t) \frac{\alpha_i^2}{\sigma_i^2} (x_{0,i} - \hat x_{0,i})^2

summed over components is the integrand of the variational bound on the negative log-likelihood
(Kingma et al. 2021, https://arxiv.org/abs/2107.00630; per component Sahoo et al. 2023,
https://arxiv.org/abs/2312.13236). Times are stratified and importance-sampled: they are drawn more
often where the integrand is large.
"""

import torch

from gudlearn.diffusion.categories import corrupt, reveal_weight
from gudlearn.diffusion.noise import snr

# Updates of the weights between two densities: they change slowly, and take a while to normalise.
_UPDATES = 8


def nll_integrand(denoise, path, x0, t, eps, bounded=False):
    """Return the integrand of the bound on the nll (small is good) per component, in nats; (B, D).

    Parameters
    ----------
    denoise : callable (x, gamma) -> x0_hat, and log-probabilities of levels of categories
    path : gamma path
    x0, eps : Tensor of shape (B, D)
        Clean components, standard normal draw.
    t : Tensor of shape (B,)
    bounded : bool
        Whether the weights of cross-entropies are bounded, for training: their variance is then
        less, and the bound is not exact.
    """
    gamma, rate = path.gamma_and_rate(t)
    x, seen = corrupt(x0, eps, gamma, path)
    weight = 0.5 * rate * snr(gamma)
    if path.levels is None:
        return weight * (x0 - denoise(x, seen)) ** 2
    return _with_cross_entropy(denoise(x, seen), path, x0, weight, gamma, rate, seen, bounded)


def _with_cross_entropy(denoised, path, x0, weight, gamma, rate, seen, bounded):
    """Weighted squared errors of numbers, and weighted cross-entropies of categories; (B, D)."""
    denoised, log_prob = path.levels.split(denoised)
    n = denoised.shape[1]
    squares = weight[:, :n] * (x0[:, :n] - denoised) ** 2
    cross_entropy = path.levels.nll(log_prob, x0[:, n:])
    # Of C categories less than half a one is masked where u is below this. A row in which one is
    # would have the more weight the rarer that is.
    least = bounded * 0.5 / path.levels.n_columns
    weights = reveal_weight(path, gamma, rate, seen, least)
    return torch.cat([squares, weights * cross_entropy], 1)


def noise_loss(denoise, path, x0, t, eps, bounded=False):
    """Return the squared error of the predicted noise per component (small is good); (B, D).

    Its integral over t weights all times inside a component's window equally. Parameters as in
    `nll_integrand`.
    """
    if path.levels is None:
        gamma = path(t)
        x, _ = corrupt(x0, eps, gamma, path)
        return path.speed(t) * snr(gamma) * (x0 - denoise(x, gamma)) ** 2
    gamma, rate = path.gamma_and_rate(t)
    x, seen = corrupt(x0, eps, gamma, path)
    weight = snr(gamma) * path.speed(t)
    return _with_cross_entropy(denoise(x, seen), path, x0, weight, gamma, rate, seen, bounded)


class TimeDensity:
    """A piecewise constant importance-sampling density over t in [0, 1].

    Parameters
    ----------
    weights : Tensor of shape (n_bins,)
        Relative density in each bin. The density is a mixture of these weights (nine tenths) and
        the uniform density (one tenth).

    Attributes
    ----------
    weights : Tensor of shape (n_bins,)
        As given.
    probabilities : Tensor of shape (n_bins,)
        Probability of each bin.
    """

    def __init__(self, weights):
        self.weights = weights
        probabilities = 0.9 * weights / weights.sum() + 0.1 / len(weights)
        self.probabilities = probabilities
        self._edges = torch.cat([probabilities.new_zeros(1), probabilities.cumsum(0)])

    def __call__(self, u):
        """Map quantiles u in [0, 1] to times, inverse densities and bin indices."""
        n_bins = len(self.probabilities)
        k = (torch.searchsorted(self._edges, u, right=True) - 1).clamp(0, n_bins - 1)
        within = (u - self._edges[k]) / self.probabilities[k]
        t = ((k + within) / n_bins).clamp(0, 1)
        return t, 1 / (n_bins * self.probabilities[k]), k

    def nodes(self, n):
        """Nodes and weights of an integral over t: a midpoint rule of about n, and at least n_bins.

        Each bin has a number of nodes in proportion to its probability, and at least one, so that
        no node's part of t crosses the edge of a bin.

        Returns
        -------
        t, weights : Tensor of shape (n_nodes,)
            Increasing times; the weights sum to one.
        """
        n_bins = len(self.probabilities)
        counts = (self.probabilities * n).round().long().clamp(min=1)
        k = torch.arange(n_bins, device=counts.device).repeat_interleave(counts)
        place = torch.arange(len(k), device=counts.device) - (counts.cumsum(0) - counts)[k]
        k, place, width = (part.to(self.probabilities) for part in (k, place, n_bins * counts[k]))
        return k / n_bins + (place + 0.5) / width, 1 / width

    def height(self, t):
        """Return the density at times t in [0, 1], of any shape."""
        n_bins = len(self.probabilities)
        return n_bins * self.probabilities[(t * n_bins).long().clamp(0, n_bins - 1)]


class AdaptiveTimes:
    """Stratified times, with a density proportional to the running root mean square of the loss.

    Parameters
    ----------
    n_bins : int
    device, dtype : device and dtype of the tensors
    memory : float in [0, 1)
        Decay per update of the running mean of squared losses.

    Attributes
    ----------
    started : bool
        Whether `update` has seen a loss.
    """

    def __init__(self, n_bins=32, device=None, dtype=torch.float32, memory=0.97):
        self.memory = memory
        self._squares = torch.zeros(n_bins, device=device, dtype=dtype)
        self._counts = torch.zeros(n_bins, device=device, dtype=dtype)
        self._strata, self._density, self._age = {}, None, 0
        # A Python bool: reading it does not synchronise with the device.
        self.started = False

    def state_dict(self):
        """What was learned so far, a dict of tensors and plain values."""
        density = None if self._density is None else self._density.weights
        return {
            "squares": self._squares, "counts": self._counts, "density": density,
            "age": self._age, "started": self.started,
        }  # fmt: skip

    def load_state_dict(self, state):
        """Take what `state_dict` returned."""
        self._squares.copy_(state["squares"])
        self._counts.copy_(state["counts"])
        density = state["density"]
        self._density = None if density is None else TimeDensity(density.to(self._squares))
        self._age, self.started = state["age"], state["started"]

    @property
    def weights(self):
        """Root mean square of the loss in each bin; empty bins get the mean over the others."""
        mean_square = self._squares / self._counts.clamp(min=1e-12)
        if not self.started:
            return torch.ones_like(mean_square)
        filled = self._counts > 0
        mean = (mean_square * filled).sum() / filled.sum().clamp(min=1)
        return torch.where(filled, mean_square, mean).sqrt().clamp(min=1e-12)

    def sample(self, u, n=None):
        """Draw a time in each of G strata, from uniforms u (G,), for n rows; by default for G.

        Neighbouring rows share a time: each stratum has n/G rows, rounded up but for the last.

        Returns
        -------
        t, inverse_density, bins : Tensor of shape (n,)
        density : TimeDensity
            The density of the times.
        """
        n = len(u) if n is None else n
        if (len(u), n) not in self._strata:
            rows = torch.arange(n, device=u.device)
            size = -(-n // len(u))
            edges = torch.arange(len(u) + 1, device=u.device).mul(size).clamp(max=n)
            start, width = (edges[:-1] / n).to(u.dtype), (edges.diff() / n).to(u.dtype)
            self._strata[len(u), n] = start, width, rows // size
        start, width, stratum = self._strata[len(u), n]
        density = self._current_density()
        t, inverse_density, bins = density(start + width * u)
        return t[stratum], inverse_density[stratum], bins[stratum], density

    def _current_density(self):
        """The density of the weights of a few updates ago, at most."""
        if self._density is None or self._age >= _UPDATES:
            self._density, self._age = TimeDensity(self.weights), 0
        return self._density

    def update(self, bins, losses):
        """Add losses (B,), observed in bins (B,), to the running mean."""
        if len(losses) and not self.started:
            self.started, self._density = True, None
        self._age += 1
        self._squares.mul_(self.memory).index_add_(0, bins, losses.detach() ** 2)
        self._counts.mul_(self.memory).index_add_(0, bins, torch.ones_like(losses))
