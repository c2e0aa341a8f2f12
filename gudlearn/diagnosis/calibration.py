"""Calibration of each column given the others, and of each column by itself."""

from dataclasses import dataclass

import numpy as np
import torch

from gudlearn.diagnosis.uniformity import Calibration, compare_levels, pit_of_levels
from gudlearn.model.condition import BATCH, each_condition
from gudlearn.model.conditional import ConditionalQuantiles
from gudlearn.model.prediction import NODES


@dataclass(frozen=True)
class Part:
    """A column that is judged, or one of the two natures of a column.

    Parameters
    ----------
    field : int
        Column of `Rows`.
    place : int
        The user's column.
    label : str
        Name of the column, and which nature.
    is_category : bool
    """

    field: int
    place: int
    label: str
    is_category: bool


class _AsIs:
    """The map of a component to itself, for `ConditionalQuantiles`."""

    def forward(self, values):
        return values, np.zeros(values.shape)

    def inverse(self, components):
        return components


def parts_of(state, places):
    """The parts of the user's columns that can be judged: those that are not constant.

    Parameters
    ----------
    state : ModelState
    places : ndarray of int

    Returns
    -------
    list of Part
    """
    schema, encoding = state.container, state.encoding
    categories = encoding.categories
    varying = [] if categories is None else categories.columns
    parts = []
    for place in places:
        name = schema.names[place]
        for field in _fields(schema, place):
            is_category = bool(schema.masked[field])
            if is_category and field not in varying or encoding.constant[field]:
                continue
            gate = schema.gate[field] >= 0
            of_two = is_category and not schema.columns[place].is_category
            label = f"{name} (number)" if gate else f"{name} (which value)" if of_two else name
            parts.append(Part(int(field), int(place), label, is_category))
    return parts


def _fields(schema, place):
    return np.arange(len(schema.fields))[schema.fields_of_column(place)]


class Conditionals:
    """Calibration of the distribution of one column given all that is observed of the others.

    Parameters
    ----------
    state : ModelState
    fitted : FittedModel
    rows : Rows
    rng : numpy Generator
        Of the randomised PIT, and of the noise of binned columns.
    """

    def __init__(self, state, fitted, rows, rng):
        self.state, self.fitted, self.rows, self._rng = state, fitted, rows, rng
        self._components = fitted.encode(rows).double().cpu().numpy()

    def of(self, part):
        """The `Calibration` of a `Part`."""
        observed = _observed(self.rows, part.field)
        rows = self.rows.take(observed)
        return (self._category if part.is_category else self._number)(part, rows, observed)

    def _target(self, fields):
        mask = np.zeros((1, self.rows.n_features), bool)
        mask[:, fields] = True
        return torch.from_numpy(self.state.encoding.components_in(mask)[0])

    def _category(self, part, rows, observed):
        # The number of a gate says which value the gate has.
        target = self._target(_fields(self.state.container, part.place))
        levels = self.state.encoding.categories.part(part.field)
        found = each_condition(
            self.fitted, rows, lambda c: c.level_probabilities()[:, levels], BATCH, target
        )
        p = _concatenated(found, (0, levels.stop - levels.start))
        p = p / p.sum(1, keepdims=True)
        codes = rows.values[:, part.field].astype(int)
        pit = pit_of_levels(p, codes, self._rng.random(len(rows)))
        known = codes < p.shape[1]
        own = np.where(known, p[np.arange(len(p)), np.where(known, codes, 0)], 0.0)
        surprise = -np.log(np.maximum(own, 1e-12))
        names = level_names(self.state, part)
        levels = compare_levels(p, codes, names) if len(rows) else {}
        return Calibration(pit, observed, len(rows), surprise, levels)

    def _number(self, part, rows, observed):
        target = self._target([part.field])
        component = int(torch.nonzero(target)[0, 0])
        active = self.fitted.components.active.cpu()
        j = int(torch.nonzero(active == component)[0, 0])
        noise = []

        def flow(condition):
            noise.append(float(condition.model.path.gamma_0[j]))
            return condition.flow(j, NODES)

        found = each_condition(self.fitted, rows, flow, max(1, BATCH // len(NODES)), target)
        values = np.maximum.accumulate(_concatenated(found, (0, len(NODES))), axis=1)
        # At t = 0 components have the noise of the first noise level; that of bins is visible.
        std = np.exp(0.5 * noise[0]) if noise else 0.0
        z = self._components[observed, component] + std * self._rng.standard_normal(len(rows))
        quantiles = ConditionalQuantiles(NODES, values, _AsIs())
        return Calibration(quantiles.cdf(z), observed, len(rows), -quantiles.log_prob(z))


def _concatenated(found, empty):
    found = list(found)
    return np.concatenate(found) if found else np.zeros(empty)


def _observed(rows, field):
    """Positions of the rows in which a field is observed."""
    if rows.observed is None:
        return np.arange(len(rows))
    return np.flatnonzero(rows.observed[:, field])


def level_names(state, part):
    """Names of the levels of a category, or of the point masses of a column."""
    column, n = state.container.columns[part.place], state.container.n_levels[part.field]
    values = column.levels if column.is_category else column.atoms
    labels = [] if values is None else list(values)
    labels += ["missing"] if column.missing == "model" else []
    labels += ["another value"] if not column.is_category else []
    return [str(label) for label in labels[:n]]


def of_draws(state, part, rows, draws, rng):
    """Calibration of a `Part` by itself, from draws of the model.

    Parameters
    ----------
    state : ModelState
    part : Part
    rows, draws : Rows
        Test rows, and rows that the model has drawn.
    rng : numpy Generator

    Returns
    -------
    Calibration
    """
    observed, drawn = _observed(rows, part.field), _observed(draws, part.field)
    values, among = rows.values[observed, part.field], draws.values[drawn, part.field]
    n, m = len(values), len(among)
    n_effective = n * m / max(n + m, 1)
    if part.is_category:
        sizes = int(state.container.n_levels[part.field])
        codes, p = values.astype(int), np.bincount(among.astype(int), minlength=sizes) / max(m, 1)
        repeated = np.broadcast_to(p, (n, len(p)))
        pit = pit_of_levels(repeated, codes, rng.random(n))
        names, of_draws = level_names(state, part), p * (1 - p) / max(m, 1)
        levels = compare_levels(repeated[:, :sizes], codes, names, of_draws[:sizes]) if n else {}
        return Calibration(pit, observed, n_effective, None, levels)
    among = np.sort(among)
    below, upto = (np.searchsorted(among, values, side) for side in ("left", "right"))
    rank = below + rng.random(n) * (upto - below + 1)
    return Calibration(rank / (m + 1), observed, n_effective)
