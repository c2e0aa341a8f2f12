"""Imputation of the missing values of training rows by draws from the model in training.

A network trained on rows with missing values hardly ever sees a complete row. If values are missing
at random, but not completely at random, the rows in which a value is observed have another
distribution than all rows. Draws of the missing values given the observed ones complete the rows,
and a network trained on complete rows draws better (for expectation maximisation with diffusion
models see Zhang et al. 2024, https://arxiv.org/abs/2405.20690).

Imputed values are inputs of the network. They are targets of the loss where the whole row is noisy:
there the targets must have the distribution of all rows. Where a part of the row is observed they
are none, which loses nothing and keeps errors of early draws from persisting: what is drawn given
observed values is learned from true values only. Held-out rows are completed, too: otherwise
weights would be judged by the rows of each missing pattern, which differ, and not by all rows.
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
    held_out : tuple of Rows and Validation, or None
        Held-out rows, and an object whose method ``impute`` receives the completed ones.
    """

    def __init__(self, fitted, rows, source, seed, held_out=None):
        self.fitted, self.seed = fitted, seed
        parts = [(rows, source)] if held_out is None else [(rows, source), held_out]
        self._parts = [(rows, part) for rows, part in parts if rows.observed is not None]
        self._moments, self._last = list(_MOMENTS), 0
        # Drawn values of each part, (n_missing,), once there are any.
        self._drawn = None
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
        self._drawn = []
        for rows, part in self._parts:
            complete = self._completed(rows, part.labels, self.seed + n_epochs)
            self._drawn.append(complete[rows.missing])
            part.impute(complete)
        return True

    def state_dict(self):
        """Imputed values, and when the next are due, a dict of arrays and plain values."""
        return {"moments": self._moments, "last": self._last, "drawn": self._drawn}

    def load_state_dict(self, state):
        """Take what `state_dict` returned, and impute its values."""
        self._moments, self._last, self._drawn = state["moments"], state["last"], state["drawn"]
        if self._drawn is None:
            return
        for (rows, part), drawn in zip(self._parts, self._drawn, strict=True):
            complete = rows.filled(self.fitted.encoding.fill_values).copy()
            complete[rows.missing] = drawn
            part.impute(complete)

    def _completed(self, rows, labels, seed):
        """Values of rows, with draws of the missing ones; labels are a tensor (n,) or None."""
        encoding = self.fitted.encoding
        imputable, complete = encoding.imputable(rows), rows.filled(encoding.fill_values).copy()
        if imputable is None or not imputable.any():
            return complete
        index = np.flatnonzero(imputable.any(1))
        partial = rows.take(index)
        labels = None if labels is None else labels[index]
        drawn = self.fitted.sample(
            len(partial), seed, self._sampler, labels, condition=Completion(partial, "exact")
        )
        values = partial.values.astype(np.float64)
        complete[index] = np.where(partial.observed, values, drawn)
        return complete
