"""Imputation of the missing values of training rows by draws from the model in training.

A network trained on rows with missing values hardly ever sees a complete row. If values are missing
at random, but not completely at random, the rows in which a value is observed have another
distribution than all rows. Draws of the missing values given the observed ones complete the rows,
and a network trained on complete rows draws better (for expectation maximisation with diffusion
models see Zhang et al. 2024, https://arxiv.org/abs/2405.20690). Imputed values are inputs of the
network but not targets of the loss: otherwise the errors of early draws would persist.
"""

import numpy as np

from gudlearn.conditioning.conditions import Completion
from gudlearn.diffusion.paths import active_fraction
from gudlearn.samplers import DPMSolver

# Fractions of the budget after which missing values are imputed, and after which it is too late.
_MOMENTS, _TOO_LATE = (0.3, 0.5, 0.7, 0.85), 0.9
# Smallest number of epochs before and between imputations: one takes as long as about five epochs.
_LEAST_EPOCHS = 10
# Steps of the sampler if components are always active, and at most.
_STEPS, _MOST_STEPS = 12, 250


class Imputation:
    """Imputes the missing values of training rows at given fractions of the budget.

    Parameters
    ----------
    fitted : FittedModel
        Model of the current weights.
    rows : Rows
    source : rows on the device
        The same rows; its method ``impute`` receives the completed ones.
    seed : int
    """

    def __init__(self, fitted, rows, source, seed):
        self.fitted, self.rows, self.source, self.seed = fitted, rows, source, seed
        self._partial = np.flatnonzero(~rows.observed.all(1))
        self._moments, self._last = list(_MOMENTS), 0
        steps = min(_STEPS / active_fraction(fitted.components.path), _MOST_STEPS)
        self._sampler = DPMSolver(steps=int(np.ceil(steps)))

    @property
    def done(self):
        """Whether no further imputation will follow."""
        return not self._moments

    def force(self):
        """Impute as soon as there have been enough epochs."""
        self._moments[0] = 0.0

    def __call__(self, spent, n_epochs):
        """Impute if it is due after a fraction of the budget and a number of epochs.

        Returns
        -------
        bool
            Whether values were imputed.
        """
        if spent > _TOO_LATE:
            self._moments = []
        if self.done or spent < self._moments[0] or n_epochs < self._last + _LEAST_EPOCHS:
            return False
        self._moments = [moment for moment in self._moments[1:] if moment > spent]
        self._last = n_epochs
        partial, labels = self.rows.take(self._partial), self.source.labels
        labels = None if labels is None else labels[self._partial]
        drawn = self.fitted.sample(
            len(partial), self.seed + n_epochs, self._sampler, labels,
            condition=Completion(partial, "exact"),
        )  # fmt: skip
        complete = self.rows.values.copy()
        values = partial.values.astype(np.float64)
        complete[self._partial] = np.where(partial.observed, values, drawn)
        self.source.impute(complete)
        return True
