"""Samples that satisfy conditions on their columns, by rejection of candidates."""

from dataclasses import dataclass

import numpy as np
import torch

from gudlearn._random import keyed_uniform, mix, seed_keys
from gudlearn.conditioning.conditions import Completion
from gudlearn.data.rows import Rows
from gudlearn.model.rejection import draw_accepted, iter_accepted

# Stream of the uniforms that draw categories from their restricted probabilities.
_LEVELS = 23


@dataclass(frozen=True, eq=False)
class Candidates:
    """The condition of candidates: noise belongs to the number of a candidate.

    Parameters
    ----------
    index : ndarray of shape (m,) of int
        Numbers of the candidates.
    seed : int
    completion : Completion or None
        Of the partially observed rows of all candidates; None draws whole rows.
    """

    index: np.ndarray
    seed: int
    completion: object = None

    def keys(self, index, keys):
        """Keys of the candidates at positions `index` (n,), modulo their number."""
        return keys_at(self.seed, self.index[index % len(self.index)]).to(keys.device)

    def of(self, fitted, index):
        """Keyword arguments of ``ComponentModel.sample``, see `Completion.of`."""
        return {} if self.completion is None else self.completion.of(fitted, index)


def keys_at(seed, index):
    """The keys of rows with numbers index (n,) of a sample; see ``seed_keys``."""
    first = int(index.min())
    return seed_keys(seed, int(index.max()) - first + 1, first)[index - first]


class Request:
    """A request for rows that satisfy conditions.

    Where categories are restricted to some of their levels, they are drawn from their conditional
    probabilities restricted to these, one after another: the first always, each of the others if a
    uniform number is below the probability of its levels. The rest of a row is drawn given them.
    Rows are so drawn from the model given the conditions, and most candidates that fail cost one
    evaluation of the network.

    Parameters
    ----------
    sampling : Sampling
    where : Where or None
    guidance : float
    seed : int
    """

    def __init__(self, sampling, where, guidance, seed):
        self.sampling, self.where, self.guidance, self.seed = sampling, where, guidance, seed
        self.state, self.fitted = sampling.state, sampling.fitted

    def draw(self, n_samples, rows, y):
        """Rows that satisfy the conditions, and the indices of their classes.

        Parameters
        ----------
        n_samples : int
        rows : Rows or None
            Partially observed rows.
        y : labels of rows, or of samples where rows are None; one label, or None

        Returns
        -------
        values : ndarray of shape (n_samples, F), or (n_samples, n_rows, F) with ``rows``
        labels : ndarray of shape (n_samples,) or (n_samples, n_rows), or None without classes
        """
        has_rows, one_each = rows is not None, rows is None and y is not None and np.ndim(y) > 0
        n_rows = len(rows) if has_rows else n_samples if one_each else 1
        given = has_rows or self._is_drawn_given(y)
        labels = self.sampling.labels_of_rows(y, n_rows, self.guidance, given)
        if given:
            values = rows.values if has_rows else np.full((n_rows, len(self.where.fixed)), np.nan)
            rows = self._with_conditions(values)
            draw = self._completing(rows, labels)
        else:
            draw = self._whole(n_rows, labels)
        drawn = draw_accepted(draw, 1 if one_each else n_samples, n_rows)
        if not has_rows:
            drawn = drawn[0] if one_each else drawn[:, 0]
        classes = self.state.classes
        return drawn[..., :-1], None if classes is None else drawn[..., -1].astype(np.int64)

    def parts(self, n_samples):
        """Yield the rows of `draw` without conditions and labels, in parts (m, F)."""
        for drawn in iter_accepted(self._whole(1, None), n_samples):
            yield drawn[:, :-1]

    def _is_drawn_given(self, y):
        """Whether rows are drawn given what the conditions determine, and not only accepted."""
        where, encoding = self.where, self.state.encoding
        if where is None or where.needs_given:
            return where is not None
        fixed = ~np.isnan(where.fixed)
        class_is_drawn = self.state.classes is not None and y is None
        if class_is_drawn or not (fixed.any() or where.allowed):
            return False
        trained = self.state.conditional_rate > 0 or not encoding.ends.numeric.any()
        exact = self.sampling.conditioning in ("auto", "exact")
        return trained and exact and not encoding.splits_block(fixed[None])

    def _with_conditions(self, values):
        """Partially observed rows with the values that conditions and constraints determine."""
        if self.where is not None:
            values = self.where.with_fixed(values)
        if self._constraints is not None:
            values = self._constraints.propagated(values, self.state.container)
        rows = Rows.of(values)
        self.sampling.check_values(rows)
        return rows

    @property
    def _constraints(self):
        return self.state.container.constraints

    def _index(self, n, start, rows, n_rows):
        """Numbers of the candidates start, start + 1, ... of rows."""
        return ((start + np.arange(n))[:, None] * n_rows + rows).ravel()

    def _whole(self, n_rows, labels):
        """A function that draws candidates without observed values, see `draw_accepted`."""

        def draw(n, start, rows):
            index = self._index(n, start, rows, n_rows)
            of = self.sampling.prior_labels(keys_at(self.seed, index))
            of = of if labels is None else labels[torch.from_numpy(index % n_rows)]
            values = self._sample(index, of, None)
            return self._judged(values, np.zeros(values.shape, bool), of)

        return draw

    def _completing(self, rows, labels):
        """A function that draws completions of `Rows` as candidates, see `draw_accepted`."""
        observed = np.ones(rows.values.shape, bool) if rows.observed is None else rows.observed
        method = self.sampling.method_of(rows)
        sets = self._sets() if method == "exact" else []

        def draw(n, start, active):
            index = self._index(n, start, active, len(rows))
            row = index % len(rows)
            of = None if labels is None else labels[torch.from_numpy(row)]
            values = rows.values[row]
            alive = self._draw_levels(values, index, of, sets)
            of_alive = None if of is None else of[torch.from_numpy(alive)]
            values[~alive] = np.nan
            partial = Rows.of(values[alive])
            if alive.any() and partial.observed is not None:
                completion = Completion(partial, method)
                drawn = self._sample(index[alive], of_alive, completion)
                values[alive] = np.where(partial.observed, partial.values, drawn)
            values, accepted = self._judged(values, observed[row], of)
            return values, accepted & alive

        return draw

    def _sample(self, index, labels, completion):
        condition = Candidates(index, self.seed, completion)
        return self.fitted.sample(
            len(index), self.seed, self.sampling.sampler, labels, self.guidance, condition
        )

    def _sets(self):
        """Category fields of which some levels are allowed, these, and where they are among all."""
        if self.where is None:
            return []
        categories, sets = self.state.encoding.categories, []
        for field, allowed in self.where.allowed.items():
            part = categories.part(field)
            mass = np.exp(categories.log_pmf[part])[allowed].sum()
            sets.append((mass, field, allowed, part))
        # The rarest is drawn first: it never fails.
        return [entry[1:] for entry in sorted(sets, key=lambda entry: entry[0])]

    def _draw_levels(self, values, index, labels, sets):
        """Draw restricted categories into values (m, F) in place; mask of those not yet failed."""
        alive, begun = np.ones(len(values), bool), np.zeros(len(values), bool)
        keys = mix(keys_at(self.seed, index), _LEVELS)
        u = keyed_uniform(keys, 2 * len(sets), _LEVELS).numpy()
        for k, (field, allowed, part) in enumerate(sets):
            now = np.flatnonzero(alive & np.isnan(values[:, field]))
            if not len(now):
                continue
            completion = Completion(Rows.of(values[now]), "exact")
            condition = Candidates(index[now], self.seed, completion)
            of = None if labels is None else labels[torch.from_numpy(now)]
            p = self.fitted.probabilities(len(now), self.seed, of, self.guidance, condition)
            p = p[:, part] * allowed
            mass = p.sum(1)
            values[now, field] = (p.cumsum(1) > (u[now, 2 * k] * mass)[:, None]).argmax(1)
            alive[now] = (mass > 0) & (~begun[now] | (u[now, 2 * k + 1] < mass))
            begun[now] = True
        return alive

    def _judged(self, values, observed, labels):
        """Candidates with what constraints compute, and their labels; which are accepted."""
        schema, accepted = self.state.container, np.ones(len(values), bool)
        if self._constraints is not None:
            values, accepted = self._constraints.completed(values, observed, schema)
        if self.where is not None:
            accepted &= self.where.accepts(values)
        labels = np.zeros(len(values)) if labels is None else labels.cpu().numpy()
        return np.hstack([values, labels[:, None]]), accepted
