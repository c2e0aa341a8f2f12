"""Validation on held-out rows during training."""

from dataclasses import replace

import numpy as np
import torch

from gudlearn.diffusion.likelihood import nll_correction
from gudlearn.diffusion.losses import TimeDensity
from gudlearn.model.component import MOST_VALUES
from gudlearn.training.sources import missing_components

# Rows that share their times.
_ROWS_PER_TIME = 4


class Validation:
    """The ELBO of held-out rows, with the same noise at every call.

    Parameters
    ----------
    x0 : Tensor of shape (n, D)
    n_times : int
        Draws of time and noise per row.
    constant : float
        Mean nll under the product of the marginals, in nats per dimension.
    n_dimensions : float
        Divisor of the sum over components.
    seed : int
    labels : LongTensor of shape (n,) or None
    missing : BoolTensor of shape (n, D) or None
    self_index : LongTensor of shape (n,) or None
        Indices of the rows in the reference set, -1 for others.
    chunk : int
        Largest number of rows times noise draws in one call of the network.
    encode : callable (X) -> (x0, constant, missing, n_dimensions), or None
        Encodes completed rows X (n, F), for `impute`.
    """

    def __init__(
        self, x0, *, n_times, constant, n_dimensions, seed, labels=None, missing=None,
        self_index=None, chunk=4096, encode=None,
    ):  # fmt: skip
        self.x0, self.n_times, self.labels, self.chunk = x0, n_times, labels, chunk
        self.missing, self.self_index, self.seed = missing, self_index, seed
        self.constant, self.n_dimensions = constant, n_dimensions
        self._density, self._encode = None, encode

    @property
    def n_evaluations(self):
        """Evaluations of the network for one score."""
        return len(self.x0) * self.n_times

    def impute(self, X):
        """Score the same rows with missing values imputed, X (n, F), in all of their values."""
        self.x0, self.constant, self.missing, self.n_dimensions = self._encode(X)

    def state_dict(self):
        """What scores depend on beside rows and weights, a dict."""
        return {"density": None if self._density is None else self._density.weights}

    def load_state_dict(self, state):
        """Take what `state_dict` returned."""
        density = state["density"]
        self._density = None if density is None else TimeDensity(density.to(self.x0.device))

    def scores(self, trainer):
        """Log-likelihoods of the held-out rows under a trainer's averaged weights.

        Their mean and their differences under other weights are those of the rows. The marginals'
        part, which weights do not change, is its mean in all of them.

        Returns
        -------
        Tensor of shape (n,)
            On the CPU, in nats per dimension.
        """
        n, d = self.x0.shape
        device, times = self.x0.device, trainer.times
        generator = torch.Generator(device=device).manual_seed(self.seed)
        density = self._density or TimeDensity(times.weights)
        if times.started:
            # The same density for all later calls: then only the weights differ between them.
            self._density = density
        # Neighbouring rows share times, whose matrices a joint distribution inverts only once.
        offset = torch.rand(
            -(-n // _ROWS_PER_TIME), generator=generator, device=device, dtype=torch.float32
        ).repeat_interleave(_ROWS_PER_TIME)
        rows = torch.arange(n * self.n_times, device=device)
        draws = []
        with torch.no_grad():
            for chunk in rows.split(self.chunk):
                row, stratum = chunk % n, chunk // n
                t, inverse_density, _ = density((stratum + offset[row]) / self.n_times)
                eps = torch.randn(
                    len(chunk), d, generator=generator, device=device, dtype=torch.float32
                )
                labels, missing, self_index = (
                    None if v is None else v[row]
                    for v in (self.labels, self.missing, self.self_index)
                )
                split = trainer.labelled(labels, self_index).split
                path = trainer.path_of_validation(len(chunk), missing)
                terms = nll_correction(split, path, self.x0[row], t, eps).sum(1)
                draws.append((terms * inverse_density).double())
        # Rows vary fastest. Sums by index would depend on the order of threads on a GPU.
        total = torch.cat(draws).view(self.n_times, n).sum(0)
        return -(total / (self.n_times * self.n_dimensions) + self.constant).cpu()


def make_validation(fitted, rows, seed, targets=None):
    """The `Validation` on held-out `Rows`, or None if there are none.

    Parameters
    ----------
    fitted : FittedModel
        Untrained model, which encodes the rows and computes their likelihood under the marginals.
    rows : Rows
    seed : int
    targets : ndarray of shape (F,) of bool, or None
        Columns that are scored, given the others; None scores whole rows.
    """
    if not len(rows):
        return None
    model, labels = fitted.components, rows.labels
    images, n_active = model.sees_images, max(len(model.active), 1)
    x0, constant, missing, n_dimensions = _encoded(fitted, rows, targets)
    return Validation(
        x0,
        labels=None if labels is None else labels.to(model.device),
        n_times=2 if images else int(np.clip(2048 // len(rows), 4, 64)),
        constant=constant,
        n_dimensions=n_dimensions,
        seed=seed,
        missing=missing,
        self_index=fitted.preconditioner.self_index(rows.keys.to(model.device)),
        chunk=128 if images else max(1, min(4096, MOST_VALUES // n_active)),
        encode=lambda X: _encoded(fitted, _completed(fitted, rows, X), targets),
    )


def _completed(fitted, rows, X):
    """The same rows with values X (n, F), of which only those are missing that do not exist."""
    absent = fitted.encoding.kinds.absent(X)
    return replace(rows, values=X, observed=None if absent is None else ~absent)


def _encoded(fitted, rows, targets=None):
    """Components of rows; the mean nll of what is scored under the marginals, per dimension.

    Also the components that are missing, (n, D') bool or None, and the number of dimensions.
    """
    model, z, n_dimensions = fitted.components, [], rows.n_observed / len(rows)
    if targets is not None:
        observed = rows.observed
        n_dimensions = targets.sum() if observed is None else observed[:, targets].sum(1).mean()
        n_dimensions = max(float(n_dimensions), 1 / len(rows))

    def log_likelihood(chunk):
        given = None if targets is None else np.tile(~targets, (len(chunk), 1))
        log_prob, encoded = fitted.marginal_log_likelihood(chunk, given)
        z.append(encoded[:, model.active].to(torch.float32))
        return log_prob.sum(1)

    constant = -fitted.each_chunk(rows, log_likelihood).mean() / n_dimensions
    # The last chunk of images is padded.
    missing = missing_components(fitted.encoding, rows.missing, model.device)
    return torch.cat(z)[: len(rows)], constant, missing, n_dimensions
