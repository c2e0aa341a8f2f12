"""Conditions of samples, in the units of the data, and how a model is conditioned on them.

The parameter `fitted` is an object with `encoding`, `preconditioner`, `components` (the model of
components) and `encode_observed`, such as ``gudlearn.model.fitted.FittedModel``.
"""

from dataclasses import dataclass

import numpy as np
import torch

from gudlearn._random import keyed_normal, mix, seed_keys
from gudlearn.conditioning.guidance import (
    Observation,
    PosteriorDenoiser,
    RepaintStep,
    ReplacementDenoiser,
)

_REPAINT, _BY_VALUE = 17, 19
# Fraction of the largest variance that a row of A may have by rounding alone.
_NOTHING = 1e-24


@dataclass(frozen=True, eq=False)
class Completion:
    """Partially observed rows; sample i completes row i modulo their number.

    Parameters
    ----------
    rows : Rows
        m rows with missing values.
    method : {"exact", "posterior", "repaint"}
    by_value : bool
        Whether noise is keyed by the values of a row, not by its position.
    seed : int
        Seed of the noise that is keyed by values.
    """

    rows: object
    method: str
    by_value: bool = False
    seed: int = 0

    def keys(self, index, keys):
        """Keys of the samples with indices `index` (n,); `keys` (n,) are those by position."""
        if not self.by_value:
            return keys
        draw, row = np.divmod(index, len(self.rows))
        of_row = self.rows.keys[torch.from_numpy(row)].to(keys.device)
        # Keyed by the number of the draw, so that a draw does not depend on the number of rows.
        of_draw = seed_keys(self.seed, draw.max() + 1, device=keys.device)[draw]
        return mix(of_row ^ of_draw, _BY_VALUE)

    def of(self, fitted, index):
        """Keyword arguments of ``ComponentModel.sample`` for samples with indices `index`."""
        rows = self.rows.take(index % len(self.rows))
        if self.method == "exact":
            return {"observed": fitted.encode_observed(rows)}
        observed = rows.observed
        columns = np.flatnonzero(observed.any(0))
        A = np.zeros((len(columns), rows.n_features))
        A[np.arange(len(columns)), columns] = 1.0
        warp, values = fitted.encoding.warp, rows.values
        if warp is not None:
            values = warp.forward(values)[0]
        values = np.where(observed, values, 0.0)[:, columns]
        noise_std = np.zeros(len(columns))
        seen = observed[:, columns]
        return {"guide": _guide(fitted, self.method, A, values, noise_std, seen)}


@dataclass(frozen=True, eq=False)
class LinearObservation:
    """Observed values y = A x + noise of rows x in the units of the data.

    Parameters
    ----------
    A : ndarray of shape (m, F)
    values : ndarray of shape (n, m)
        Observed y; sample i is conditioned on row i modulo n.
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

    def of(self, fitted, index):
        """Keyword arguments of ``ComponentModel.sample`` for samples with indices `index`."""
        values = self.values[index % len(self.values)]
        return {"guide": _guide(fitted, self.method, self.A, values, self.noise_std)}


def _guide(fitted, method, A, values, noise_std, seen=None):
    """A guide for ``ComponentModel.sample``, from values (n, m) of A x that are observed if `seen`.

    None if A x carries no information.
    """
    encoding, model = fitted.encoding, fitted.components
    basis, active = encoding.basis, encoding.ends.active

    def tensor(array):
        return torch.from_numpy(np.ascontiguousarray(array)).to(model.device, model.dtype)

    # Functions of components that do not vary carry no information, and cannot be changed.
    rotated = basis.rotate(A)
    squares, variances = np.square(rotated), basis.component_variances_
    least = _NOTHING * squares.sum(1) * variances.max()
    informative = squares[:, active] @ variances[active] > least
    if not informative.any():
        return None
    A, values, noise_std = A[informative], values[:, informative], noise_std[informative]
    seen = None if seen is None else seen[:, informative]
    operator = rotated[informative] * basis.scale_
    # Samples end with the noise of gamma(0), and cannot be observed more precisely.
    floor = np.square(operator[:, active]) @ np.exp(encoding.ends.gamma_0[active])
    variances = tensor(np.square(noise_std) + floor)
    values, whole = tensor(values - A @ basis.mean_), tensor(operator)
    seen = None if seen is None else torch.from_numpy(seen).to(model.device)
    covariance = tensor(fitted.preconditioner.covariance())

    def guide(denoise, step, z, keys):
        undiffused = torch.where(torch.from_numpy(active).to(z.device), 0.0, z)
        error = values - undiffused @ whole.T
        observation = Observation(whole[:, model.active], error, variances, seen, covariance)
        if method == "posterior":
            return PosteriorDenoiser(denoise, observation), step
        keys = mix(keys, _REPAINT)

        def noise(k):
            return keyed_normal(keys, len(model.active), k).to(z.dtype)

        replaced = ReplacementDenoiser(denoise, observation)
        return replaced, RepaintStep(step, observation.tells, noise)

    return guide
