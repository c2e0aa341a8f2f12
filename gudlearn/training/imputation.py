"""Holes in rows of training, filled by draws of what has been learned so far.

A network that sees rows with holes learns what rows are like that have those holes, and hardly ever
sees a whole one: where values are missing at random, but not completely so, that is another law.
Draws of what is missing given the rest make rows whole, and a network that learnt from whole rows
draws better (of expectation maximisation with diffusion models see Zhang et al. 2024,
https://arxiv.org/abs/2405.20690). Draws are shown to the network, and it is not asked to predict
them: else the errors of early draws would stay.
"""

import numpy as np

from gudlearn.conditioning.conditions import Completion
from gudlearn.diffusion.paths import active_fraction
from gudlearn.samplers import DPMSolver

# Shares of the budget after which holes are filled anew, and when it is too late to.
_MOMENTS, _TOO_LATE = (0.3, 0.5, 0.7, 0.85), 0.9
# Passes before and between at the least: filling takes as long as some five of them.
_FEWEST_PASSES = 10
# Steps of the sampler where components move all of the time, and the most of them.
_STEPS, _MOST_STEPS = 12, 250


class Filling:
    """Fills the holes of rows in training when it is time to.

    Parameters
    ----------
    engine : Engine
        Of the weights so far.
    X : ndarray of shape (n, F)
        Rows with holes, NaN.
    data : rows on the device
        The same rows; told of filled ones by ``fill``.
    seed : int
    """

    def __init__(self, engine, X, data, seed):
        self.engine, self.X, self.data, self.seed = engine, X, data, seed
        self._partial = np.flatnonzero(np.isnan(X).any(1))
        self._moments, self._last = list(_MOMENTS), 0
        steps = min(_STEPS / active_fraction(engine.model.path), _MOST_STEPS)
        self._sampler = DPMSolver(steps=int(np.ceil(steps)))

    @property
    def done(self):
        """Whether holes are not filled again."""
        return not self._moments

    def hurry(self):
        """Fill the holes as soon as there were enough passes."""
        self._moments[0] = 0.0

    def __call__(self, spent, n_passes):
        """Fill the holes if it is time to, after a share of the budget and so many passes.

        Returns
        -------
        bool
            Whether they were filled.
        """
        if spent > _TOO_LATE:
            self._moments = []
        if self.done or spent < self._moments[0] or n_passes < self._last + _FEWEST_PASSES:
            return False
        self._moments = [moment for moment in self._moments[1:] if moment > spent]
        self._last = n_passes
        rows, labels = self.X[self._partial].astype(np.float64), self.data.labels
        labels = None if labels is None else labels[self._partial]
        drawn = self.engine.sample(
            len(rows), self.seed + n_passes, self._sampler, labels,
            condition=Completion(rows, "exact"),
        )  # fmt: skip
        filled = self.X.copy()
        filled[self._partial] = np.where(np.isnan(rows), drawn, rows)
        self.data.fill(filled)
        return True
