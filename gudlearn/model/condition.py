"""What a denoiser says of rows of which a part is observed, and the rest wholly unknown."""

import numpy as np
import torch

from gudlearn.diffusion.categories import corrupt
from gudlearn.diffusion.line import line_flow
from gudlearn.diffusion.noise import alpha

# Rows, times quantiles, in one call of the network: its hidden units stay in the cache.
BATCH = 1024
# Steps of the flow of one component.
_STEPS = 12
# Values farther from the mean say no more. Squares of these do not overflow in float32.
_FARTHEST = 1e4


def each_condition(fitted, rows, function, size=BATCH, target=None):
    """Results of a function of the `Condition` of each batch of rows, as arrays of float64.

    Parameters
    ----------
    fitted : FittedModel
    rows : Rows
    function : callable (Condition) -> Tensor or None
    size : int
        Rows of a batch.
    target : BoolTensor of shape (D,) or None
        Components that are asked for and not observed in any row; None where none is held apart.

    Yields
    ------
    ndarray
    """
    model = fitted.components
    if target is None:
        target = torch.zeros(model.n_components, dtype=torch.bool)
    target = target.to(model.device)
    with torch.no_grad():
        for start in range(0, len(rows), size):
            batch = rows.take(slice(start, start + size))
            observed = batch.observed
            if observed is None:
                observed = np.ones(batch.values.shape, bool)
            observed = torch.from_numpy(fitted.encoding.components_in(observed))
            observed = observed.to(model.device) & ~target
            condition = Condition(model, fitted.encode(batch), observed, target)
            yield function(condition).double().cpu().numpy()


class Condition:
    """Rows of which some components are observed, one or more are targets, and others missing.

    Parameters
    ----------
    model : ComponentModel
    z : Tensor of shape (n, D)
    observed : BoolTensor of shape (n, D)
    target : BoolTensor of shape (D,)
    """

    def __init__(self, model, z, observed, target):
        self.model = model
        path = model.masked_path(observed, ~observed & ~target)
        x0, n = z[:, model.active], len(model.numeric)
        x0 = torch.cat([x0[:, :n].clamp(-_FARTHEST, _FARTHEST), x0[:, n:]], 1)
        zero = x0.new_zeros(1)
        # What is observed is shown without the noise of its floor, what is not at its mean.
        shown, _ = corrupt(x0, torch.zeros_like(x0), model.path(zero), model.path)
        mean = torch.zeros_like(x0)
        if n:
            gamma = model.path(zero + 1)[:, :n]
            mean[:, :n] = alpha(gamma) * model.denoiser.marginals.mean
        self._x = torch.where(path.observed, shown, mean)
        self._gamma = path(zero + 1).expand_as(x0)
        self._alike = bool((self._gamma == self._gamma[:1]).all())

    def _denoised(self, x, gamma):
        """Numbers, and log-probabilities of levels or None, of states of a multiple of n rows."""
        if self._alike:
            # Rows that share their memory are one row to the joint distribution.
            gamma = gamma[:1].expand_as(x)
        model, labels = self.model, None
        if model.null:
            labels = torch.full((len(x),), model.null, device=x.device)
        with model.arithmetic():
            out = model.labelled(labels)(x, gamma)
        return (out, None) if model.levels is None else model.levels.split(out)

    def level_probabilities(self):
        """Probabilities (n, L) of the levels of all categories, column by column."""
        _, log_prob = self._denoised(self._x, self._gamma)
        return self.model.levels.probabilities(log_prob)

    def means(self):
        """Means of the components that are not observed, and probabilities of levels.

        Returns
        -------
        means : Tensor of shape (n, D')
            Of active numeric components.
        probabilities : Tensor of shape (n, L) or None
            Of the levels of all categories, column by column; None without any.
        """
        means, log_prob = self._denoised(self._x, self._gamma)
        return means, None if log_prob is None else self.model.levels.probabilities(log_prob)

    def flow(self, j, nodes):
        """Active component j at t = 0, (n, Q), of noise at Q quantiles of a standard normal."""
        model, n_nodes = self.model, len(nodes)
        first, last = model.path.gamma_1[j].to(self._x), model.path.gamma_0[j].to(self._x)
        gammas = torch.linspace(0, 1, _STEPS + 1, dtype=torch.float64).to(self._x)
        mean = self._denoised(self._x, self._gamma)[0][:, j]
        noise = (model.denoiser.marginals.variance[j] + first.exp()).sqrt()
        y = mean + noise * torch.from_numpy(nodes).to(self._x)[:, None]
        x, gamma = self._x.repeat(n_nodes, 1), self._gamma.repeat(n_nodes, 1)

        def denoise(y, gamma_y):
            x[:, j], gamma[:, j] = (alpha(gamma_y) * y).flatten(), gamma_y
            return self._denoised(x, gamma)[0][:, j].view_as(y)

        return line_flow(denoise, y, first + (last - first) * gammas).T
