"""What samples are conditioned on, in the user's units, and how the model is told."""

from dataclasses import dataclass

import numpy as np
import torch

from gudlearn._random import keyed_normal, mix, row_keys, seed_keys
from gudlearn.conditioning import (
    Observation,
    PosteriorDenoiser,
    RepaintStep,
    ReplacementDenoiser,
)

_REPAINT, _BY_VALUE = 17, 19
# Share of the largest variance that a row of A may have by rounding alone.
_NOTHING = 1e-24


@dataclass(frozen=True)
class Completion:
    """Partial rows; each is completed by as many samples as the whole is run through.

    Parameters
    ----------
    rows : ndarray of shape (m, F)
        NaN where a value is wanted.
    method : {"exact", "posterior", "repaint"}
    by_value : bool
        Whether the noise belongs to the values of a row, not to its place among the others.
    seed : int
        Of that noise.
    """

    rows: np.ndarray
    method: str
    by_value: bool = False
    seed: int = 0

    def keys(self, index, keys):
        """Keys of the noise of the samples of an index, which have others by position."""
        if not self.by_value:
            return keys
        draw, row = np.divmod(index, len(self.rows))
        own = row_keys(self.rows[row]).to(keys.device)
        # The keys of the first samples stand for the draws: other rows may be any in number.
        return mix(own ^ seed_keys(self.seed, draw.max() + 1, device=keys.device)[draw], _BY_VALUE)

    def of(self, engine, index):
        """What `Model.sample` is told for the samples of an index; sample i completes row i % m."""
        rows = self.rows[index % len(self.rows)]
        if self.method == "exact":
            return {"known": engine.known(rows)}
        seen = ~np.isnan(rows)
        columns = np.flatnonzero(seen.any(0))
        A = np.zeros((len(columns), rows.shape[1]))
        A[np.arange(len(columns)), columns] = 1.0
        values = np.where(seen, rows, 0.0)[:, columns]
        noise_std = np.zeros(len(columns))
        return {"guide": _guide(engine, self.method, A, values, noise_std, seen[:, columns])}


@dataclass(frozen=True)
class LinearObservation:
    """Values y = A x + noise of rows x in the user's units.

    Parameters
    ----------
    A : ndarray of shape (m, F)
    values : ndarray of shape (n, m)
    noise_std : ndarray of shape (m,)
    method : {"posterior", "repaint"}
    """

    A: np.ndarray
    values: np.ndarray
    noise_std: np.ndarray
    method: str

    def keys(self, index, keys):
        """The keys by position, see `Completion.keys`."""
        return keys

    def of(self, engine, index):
        """What `Model.sample` is told for the samples of an index, as in `Completion`."""
        values = self.values[index % len(self.values)]
        return {"guide": _guide(engine, self.method, self.A, values, self.noise_std)}


def _guide(engine, method, A, values, noise_std, seen=None):
    """A guide of `Model.sample` for rows whose A x, (n, m), is known, where it was seen; or None.

    None stands for A x that tells nothing.
    """
    basis, model = engine.encoding.basis, engine.model

    def tensor(array):
        return torch.from_numpy(np.ascontiguousarray(array)).to(model.device, model.dtype)

    active = engine.encoding.ends.active
    # What only concerns components that do not vary tells nothing, and cannot be reached.
    rotated = basis.rotate(A)
    reach, variances = np.square(rotated), basis.component_variances_
    told = reach[:, active] @ variances[active]
    tells = told > _NOTHING * reach.sum(1) * variances.max()
    if not tells.any():
        return None
    A, values, noise_std = A[tells], values[:, tells], noise_std[tells]
    seen = None if seen is None else seen[:, tells]
    operator = rotated[tells] * basis.scale_
    # Samples end with the noise of gamma(0), and are not known any better.
    floor = np.square(operator[:, active]) @ np.exp(engine.encoding.ends.gamma_0[active])
    variances = tensor(np.square(noise_std) + floor)
    values, whole = tensor(values - A @ basis.mean_), tensor(operator)
    seen = None if seen is None else torch.from_numpy(seen).to(model.device)
    covariance = tensor(engine.encoding.covariance())

    def guide(denoise, step, z, keys):
        rest = torch.where(torch.from_numpy(active).to(z.device), 0.0, z)
        error = values - rest @ whole.T
        observation = Observation(whole[:, model.active], error, variances, seen, covariance)
        if method == "posterior":
            return PosteriorDenoiser(denoise, observation), step
        keys = mix(keys, _REPAINT)

        def noise(k):
            return keyed_normal(keys, len(model.active), k).to(z.dtype)

        replaced = ReplacementDenoiser(denoise, observation)
        return replaced, RepaintStep(step, observation.tells, noise)

    return guide
