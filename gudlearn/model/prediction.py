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
from gudlearn.diffusion.categories import corrupt
from gudlearn.diffusion.line import line_flow
from gudlearn.diffusion.noise import alpha
from gudlearn.encoding.column_map import ColumnMap

# Rows, times quantiles, in one call of the network: its hidden units stay in the cache.
_BATCH = 1024
# Quantiles of a standard normal that go through the flow, and steps.
NODES, _STEPS = np.linspace(-3.6, 3.6, 33), 12
# Values farther from the mean say no more. Squares of these do not overflow in float32.
_FARTHEST = 1e4


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

        p = self._each_batch(rows, evaluate, _BATCH)
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
        flow = self._each_batch(rows, lambda c: c.flow(j, NODES), max(1, _BATCH // len(NODES)))
        # Where values are nearly certain, rounding may turn the order of two.
        return np.maximum.accumulate(flow, axis=1)

    def column_map(self):
        """The `ColumnMap` between values of the column and its component."""
        return ColumnMap(self.state.encoding, self._field)

    def _each_batch(self, rows, function, size):
        """Results of a function of the `Condition` of each batch."""
        model, results = self.fitted.components, []
        target = self._target.to(model.device)
        with torch.no_grad():
            for start in range(0, len(rows), size):
                batch = rows.take(slice(start, start + size))
                observed = self._observed_components(batch).to(model.device) & ~target
                condition = Condition(model, self.fitted.encode(batch), observed, target)
                results.append(function(condition).double().cpu().numpy())
        return np.concatenate(results)

    def _observed_components(self, rows):
        observed = rows.observed
        observed = np.ones(rows.values.shape, bool) if observed is None else observed
        return torch.from_numpy(self.fitted.encoding.components_in(observed))


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
