r"""The distribution of one column given all that is observed of the others.

What is not observed is missing, not averaged over: the network has seen such rows. A category needs
one evaluation. A number y is one-dimensional given the others, and the probability flow from noise
to data is then an increasing map. It carries quantiles of the noise,

.. math:: x_1(\xi) / \alpha = m + \sqrt{V + \sigma^2 / \alpha^2}\, \xi ,

to those of y given the others, with :math:`m = E[y | others]` and V the variance of y, of which
next to nothing is left at the highest noise level.
"""

import numpy as np
import torch

from gudlearn.data.rows import Rows
from gudlearn.encoding.column_map import ColumnMap
from gudlearn.model.condition import BATCH, each_condition

# Quantiles of a standard normal that go through the flow.
NODES = np.linspace(-3.6, 3.6, 33)


class Prediction:
    """The distribution of one column of a table given the others.

    Parameters
    ----------
    state : ModelState
    fitted : FittedModel
    place : int
        The user's column.
    """

    def __init__(self, state, fitted, place):
        self.state, self.fitted, self._place = state, fitted, place
        schema, encoding = state.container, state.encoding
        self._field = schema.first_field[place]
        of_column = np.zeros((1, len(schema.fields)), bool)
        of_column[:, schema.fields_of_column(place)] = True
        self._target = torch.from_numpy(encoding.components_in(of_column)[0])

    def read(self, table):
        """`Rows` of a `Table` of all columns, in which values of this one may be missing.

        A level that was never seen is none to the network, and numbers are rounded to their grid.
        """
        schema, bins = self.state.container, self.state.encoding.bins
        values = schema.read(table)
        position = (values - bins.origin) / np.where(bins.discrete, bins.width, 1.0)
        return Rows.of(bins.values(np.rint(position), values))

    @property
    def levels(self):
        """Values of the column's levels; None if it is no category."""
        return self.state.container.columns[self._place].levels

    def probabilities(self, rows):
        """Probabilities (n, K) of the levels of a category.

        Parameters
        ----------
        rows : Rows
            Values of the column itself are not looked at.
        """
        categories = self.state.encoding.categories
        if categories is None or self._field not in categories.columns:
            return np.ones((len(rows), 1))
        part = categories.part(self._field)

        def evaluate(condition):
            return condition.level_probabilities()[:, part]

        p = self._each_batch(rows, evaluate, BATCH)
        return p / p.sum(1, keepdims=True)

    def quantiles(self, rows):
        """Components (n, Q) of the column at the normal quantiles `NODES`, increasing.

        Parameters
        ----------
        rows : Rows
            Values of the column itself are not looked at.
        """
        active = self.fitted.components.active.cpu()
        j = int(torch.nonzero(self._target[active])[0, 0])
        flow = self._each_batch(rows, lambda c: c.flow(j, NODES), max(1, BATCH // len(NODES)))
        # Where values are nearly certain, rounding may turn the order of two.
        return np.maximum.accumulate(flow, axis=1)

    def column_map(self):
        """The `ColumnMap` between values of the column and its component."""
        return ColumnMap(self.state.encoding, self._field)

    def within(self):
        """The range (low, high) in which samples of the column stay."""
        encoding = self.state.encoding
        if not encoding.kinds.clip:
            return -np.inf, np.inf
        return tuple(float(end[self._field]) for end in encoding.seen)

    def _each_batch(self, rows, function, size):
        """Results of a function of the `Condition` of each batch."""
        return np.concatenate(list(each_condition(self.fitted, rows, function, size, self._target)))
