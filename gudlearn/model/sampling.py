"""Sampling by a user's parameters: checks, labels, conditions and shapes."""

import dataclasses
from numbers import Real

import numpy as np
import torch

from gudlearn._random import derive_seed, keyed_uniform, seed_keys
from gudlearn.conditioning.conditions import Completion
from gudlearn.conditioning.resolve import (
    method_with_categories,
    resolve_method,
    resolve_observation,
)
from gudlearn.data.columns import check_n_samples
from gudlearn.data.containers import mean_of_draws
from gudlearn.data.labels import label_indices, no_labels
from gudlearn.data.row_blocks import in_blocks_of
from gudlearn.diffusion.paths import active_fraction
from gudlearn.model.accepted import Request
from gudlearn.model.means import learned_at_once, means_at_once
from gudlearn.model.reveal import steps_for_each, together
from gudlearn.model.warnings import warn_never_partial

# Steps of the default sampler where nothing asks for others, the fewest and the most.
_STEPS, _FEWEST, _MOST = 50, 10, 1000
# Stream of the uniforms that draw the classes of a sample.
_CLASSES = 13


def auto_sampler(sampler, state):
    """Set the steps of a sampler by a state: 50, or more.

    More are taken if the schedule is sequential, and as many as there are categories: those that
    are revealed in one step are drawn independently. Where there is nothing else, and all follow
    one path, that many are enough.
    """
    path = state.path()
    if path is None:
        return sampler.set_params(steps=_STEPS)
    n = 0 if path.levels is None else path.levels.n_columns
    steps = np.clip(max(_STEPS, n) / active_fraction(path), _STEPS, _MOST)
    if n and n == len(path.gamma_0) and len(together(path)) == 1:
        steps = min(steps, max(steps_for_each(path), _FEWEST))
    return sampler.set_params(steps=int(steps))


@dataclasses.dataclass(frozen=True, eq=False)
class Expectation:
    """Conditional means of numbers, and conditional probabilities of categories.

    Parameters
    ----------
    means : ndarray of shape (n, F)
        Observed values are those of the rows.
    probabilities : ndarray of shape (n, L) or None
        Probabilities of the levels of all categories that vary, column by column.
    categories : Categories or None
    """

    means: np.ndarray
    probabilities: np.ndarray | None
    categories: object

    def of_column(self, j):
        """Probabilities (n, K) of the levels of a category column j; None if it does not vary."""
        if j not in self.categories.columns:
            return None
        return self.probabilities[:, self.categories.part(j)]

    def rows(self, observed):
        """Rows (n, F) of means and modes; observed (n, F), or None, marks observed values."""
        out = self.means.copy()
        if self.categories is None or observed is None:
            return out
        for j in self.categories.columns:
            missing = ~observed[:, j]
            out[missing, j] = self.of_column(j)[missing].argmax(1)
        return out


class Sampling:
    """Draws samples by the parameters of ``GUDGenerator.sample``, float64 arrays of flat rows.

    Parameters
    ----------
    state : ModelState
    fitted : FittedModel
    sampler : Sampler
    conditioning : {"auto", "exact", "posterior", "repaint"}
    """

    def __init__(self, state, fitted, sampler, conditioning):
        self.state, self.fitted = state, fitted
        self.sampler, self.conditioning = sampler, conditioning

    def seed(self, random_state):
        """A seed, the same in all processes that draw together."""
        return self.fitted.agreed(derive_seed(random_state))

    def answer(self, n_samples, rows, observation, y, guidance, random_state, where=None):
        """Samples, given partially observed `Rows` or an observation, and their classes.

        At least one of the two is None. ``where`` is a `Where` or None; the other parameters are
        those of ``GUDGenerator.sample``.

        Returns
        -------
        values : ndarray of shape (n_samples[, n_rows], F)
        labels : ndarray of shape (n_samples[, n_rows]), or None without classes
        """
        passed = {"given=": rows, "where=": where}
        if observation is not None:
            for name, value in passed.items():
                if value is not None:
                    raise ValueError(f"Pass {name} or observation=, not both.")
            self._check_unconstrained("observation=")
            drawn = self.observe(n_samples, observation, y, guidance, random_state)
        elif where is not None or self.state.constraints is not None:
            return self.satisfy(n_samples, rows, where, y, guidance, random_state)
        elif rows is not None:
            drawn = self.complete(n_samples, rows, y, guidance, random_state)
        else:
            seed, labels = self._request(n_samples, y, guidance, random_state)
            drawn = self.fitted.sample(n_samples, seed, self.sampler, labels, float(guidance))
            return drawn, None if labels is None else labels.numpy()
        return drawn, self._repeated_labels(y, drawn.shape[:-1])

    def _repeated_labels(self, y, shape):
        """Labels of rows for every draw of each, of a shape (n_samples, n_rows); None without."""
        if self.state.classes is None or y is None:
            return None
        n = shape[-1]
        return np.broadcast_to(label_indices(y, n, self.state.classes.labels).numpy(), shape)

    def draw(self, n_samples, y, guidance, random_state):
        """Rows (n_samples, F), float64, of the classes y; without y, of all classes."""
        seed, labels = self._request(n_samples, y, guidance, random_state)
        return self.fitted.sample(n_samples, seed, self.sampler, labels, float(guidance))

    def blocks(self, n_samples, block_size, random_state):
        """Iterate over the rows of `answer` without conditions, in blocks (block_size, F)."""
        check_n_samples(n_samples)
        check_n_samples(block_size, "block_size")
        seed = self.seed(random_state)
        if self.state.constraints is None:
            parts = self._parts(n_samples, block_size, seed)
        else:
            parts = Request(self, None, 1.0, seed).parts(n_samples)
        return in_blocks_of(parts, block_size)

    def _parts(self, n_samples, block_size, seed):
        """Yield rows in parts of whole chunks: their rounding depends on the place in a chunk."""
        chunk = self.fitted.samples_at_once
        size = chunk * -(-block_size // chunk)
        for start in range(0, n_samples, size):
            n = min(size, n_samples - start)
            labels = self.prior_labels(seed_keys(seed, n, start))
            yield self.fitted.sample(n, seed, self.sampler, labels, start=start)

    def observe(self, n_samples, observation, y, guidance, random_state):
        """Rows that agree with a linear observation, (n_samples[, n_rows], F), float64."""
        check_n_samples(n_samples)
        self._check_numbers(
            "observation= is a linear function of numbers",
            "Pass the observed values of a row as given=",
        )
        n_columns = self.state.encoding.bins.width.size
        condition, one_row = resolve_observation(observation, n_columns, self.conditioning)
        self._check_linear(condition.A)
        n_rows = len(condition.values)
        if not one_row:
            y = _repeated(y, n_samples, n_rows)
        n = n_samples * n_rows
        seed, labels = self._request(n, y, guidance, random_state, conditional=True)
        drawn = self.fitted.sample(n, seed, self.sampler, labels, float(guidance), condition)
        return drawn if one_row else drawn.reshape(n_samples, n_rows, -1)

    def complete(self, n_samples, rows, y, guidance, random_state):
        """Completions (n_samples, n_rows, F) of partially observed `Rows`, float64."""
        check_n_samples(n_samples)
        self.check_values(rows)
        n_rows, observed = len(rows), rows.observed
        y, n = _repeated(y, n_samples, n_rows), n_samples * n_rows
        seed, labels = self._request(n, y, guidance, random_state, conditional=True)
        if observed is None:
            return np.repeat(rows.values[None], n_samples, 0)
        condition = self._completion(rows)
        drawn = self.fitted.sample(n, seed, self.sampler, labels, float(guidance), condition)
        return np.where(observed, rows.values, drawn.reshape(n_samples, n_rows, -1))

    def satisfy(self, n_samples, rows, where, y, guidance, random_state):
        """Rows that satisfy a `Where`, if any, and the constraints; see `answer`."""
        check_n_samples(n_samples)
        self._check_guidance(y, guidance)
        request = Request(self, where, float(guidance), self.seed(random_state))
        return request.draw(n_samples, rows, y)

    def complete_by_value(self, rows, n_samples, seed, by_value):
        """Completions (n_samples, n_rows, F) of checked `Rows`, all of them partially observed.

        With ``by_value`` the noise belongs to the values of a row and the seed.
        """
        condition = self._completion(rows, by_value, seed)
        n = n_samples * len(rows)
        labels = no_labels(n, self.state.n_classes)
        drawn = self.fitted.sample(n, seed, self.sampler, labels, 1.0, condition)
        return drawn.reshape(n_samples, *rows.values.shape)

    def expect(self, n_samples, rows, random_state):
        """The `Expectation` of partially observed `Rows`."""
        check_n_samples(n_samples)
        self.check_values(rows)
        return self.expect_by_value(rows, n_samples, self.seed(random_state), False)

    def expect_by_value(self, rows, n_samples, seed, by_value):
        """The `Expectation` of checked `Rows`.

        It comes from one evaluation if the network has learned that; else, where conditions are
        exact, from estimates of conditional means, each from two draws of noise, elsewhere from
        samples. ``by_value`` is that of `complete_by_value`.
        """
        values, n_rows = rows.values, len(rows)
        categories = self.state.encoding.categories
        if rows.observed is None:
            return Expectation(values, _indicators(values[None], categories), categories)
        if self.conditioning in ("auto", "exact") and learned_at_once(self.state, rows.observed):
            means, probabilities = means_at_once(self.fitted, rows)
            means = np.where(rows.observed, values, means)
            return Expectation(means, probabilities, categories)
        condition = self._completion(rows, by_value, seed)
        if condition.method != "exact":
            drawn = self.complete_by_value(rows, n_samples, seed, by_value)
            drawn = np.where(rows.observed, values, drawn)
            return Expectation(mean_of_draws(drawn), _indicators(drawn, categories), categories)
        # An estimate counts as two draws.
        n = -(-n_samples // 2) * n_rows
        labels = no_labels(n, self.state.n_classes)
        means, probabilities = self.fitted.conditional_means(n, seed, labels, condition)
        means = np.where(rows.observed, values, means.reshape(-1, n_rows, means.shape[1]))
        probabilities = probabilities.reshape(len(means), n_rows, -1).mean(0)
        return Expectation(mean_of_draws(means), probabilities, categories)

    def check_values(self, rows):
        """Raise if observed values of `Rows` are off the grid of their column."""
        encoding = self.state.encoding
        encoding.bins.check(rows.filled(encoding.fill_values))

    def _completion(self, rows, by_value=False, seed=0):
        return Completion(rows, self.method_of(rows), by_value, seed)

    def method_of(self, rows):
        """The method for partially observed `Rows`; warns if the network never saw any."""
        if rows.observed is None:
            return "exact"
        method = self.method(rows.observed)
        if rows.observed.any():
            self._warn(rows.observed, method)
        return method

    def method(self, observed):
        """The method for observed entries (n, F), bool."""
        state = self.state
        encoding, rate = state.encoding, state.conditional_rate
        splits = encoding.splits_block(observed)
        if encoding.categories is None:
            return resolve_method(self.conditioning, splits, rate, encoding.basis)
        any_order = not encoding.ends.numeric.any()
        return method_with_categories(self.conditioning, splits, rate, encoding.basis, any_order)

    def trajectory(self, n_samples, n_states, y, guidance, random_state):
        """The `Trajectory` of samples, in the shape of the data."""
        self._check_numbers("A trajectory is one of numbers", "Draw samples")
        self._check_unconstrained("A trajectory")
        seed, labels = self._request(n_samples, y, guidance, random_state)
        trajectory = self.fitted.trajectory(
            n_states, n_samples, seed, self.sampler, labels, float(guidance)
        )
        shape = (n_states, n_samples, *self.state.container.sample_shape)
        return dataclasses.replace(
            trajectory,
            denoised=trajectory.denoised.reshape(shape),
            noisy=trajectory.noisy.reshape(shape),
        )

    def _request(self, n_samples, y, guidance, random_state, conditional=False):
        """Check a request; return its seed and labels. Conditional samples draw no classes."""
        check_n_samples(n_samples)
        self._check_guidance(y, guidance)
        seed = self.seed(random_state)
        if not conditional or y is not None:
            return seed, self._labels(n_samples, y, seed)
        self._check_guides_a_class(guidance)
        # The class depends on the observed values: it cannot be drawn by its overall frequency.
        return seed, no_labels(n_samples, self.state.n_classes)

    def _check_guides_a_class(self, guidance):
        if guidance not in (0, 1):
            raise ValueError(
                f"guidance={guidance!r} weighs a class, but where a part is observed none is "
                "drawn. Pass y."
            )

    def _check_unconstrained(self, what):
        if self.state.constraints is not None:
            raise ValueError(
                f"{what} is not compatible with constraints of columns. Use given= or where=, or "
                "fit without Schema(constraints=..., forbid_unseen=...)."
            )

    def _check_numbers(self, rule, cure):
        """Raise if some columns are categories."""
        encoding = self.state.encoding
        if encoding.masked.any():
            name = encoding.bins.names[int(encoding.masked.argmax())]
            raise ValueError(
                f"{rule}, but column {name!r} holds categories or point masses, which are masked. "
                f"{cure}, or fit with numbers only."
            )

    def _check_linear(self, A):
        """Raise if functions A (m, F) of a row are not linear in its components."""
        encoding = self.state.encoding
        if encoding.warp is None:
            return
        nonlinear = (A != 0).any(0) & encoding.warp.columns
        if nonlinear.any():
            name = encoding.bins.names[int(nonlinear.argmax())]
            raise ValueError(
                f"observation= is a linear function of numbers, but column {name!r} is mapped to a "
                "normal one by its distribution function, which is not linear. Fit with "
                "schema=Schema(gaussianize=False), or pass known values of columns as given=."
            )

    def _check_guidance(self, y, guidance):
        number = isinstance(guidance, Real) and not isinstance(guidance, bool)
        if not number or not 0 <= guidance < np.inf:
            raise ValueError(
                f"guidance={guidance!r} must be a finite number of at least 0; 1 is none."
            )
        asked = "y" if y is not None else f"guidance={guidance!r}" if guidance != 1 else None
        if asked and self.state.classes is None:
            raise ValueError(
                f"{asked} needs a model of labels, but this one was fitted without. Fit with "
                "class_conditional=True and y."
            )

    def _labels(self, n_samples, y, seed):
        """Labels of a sample: y, or classes drawn by their frequencies."""
        classes = self.state.classes
        if classes is None or y is None:
            return self.prior_labels(seed_keys(seed, n_samples))
        return label_indices(y, n_samples, classes.labels)

    def labels_of_rows(self, y, n_rows, guidance, given):
        """Labels of rows, (n_rows,); None if there are no classes or they are still to be drawn."""
        classes = self.state.classes
        if classes is None or y is not None:
            return None if classes is None else label_indices(y, n_rows, classes.labels)
        if not given:
            return None
        self._check_guides_a_class(guidance)
        return no_labels(n_rows, self.state.n_classes)

    def prior_labels(self, keys):
        """Classes drawn by their frequencies, one for each key; None if there are none."""
        classes = self.state.classes
        if classes is None:
            return None
        u = keyed_uniform(keys, 1, _CLASSES)[:, 0].numpy()
        drawn = np.searchsorted(classes.prior.cumsum(), u)
        return torch.from_numpy(drawn.clip(max=len(classes.labels) - 1))

    def _warn(self, observed, method):
        """Warn if samples would be exact had the network seen partially observed rows."""
        if not self.state.encoding.ends.numeric.any():
            return
        if method == "exact":
            warn_never_partial(self.state, "observed values may lead it astray")
        elif self.conditioning == "auto" and not self.state.encoding.splits_block(observed):
            warn_never_partial(self.state, "observed values guide it, slowly and not exactly")


def as_probabilities(parameter, q):
    """A probability, or a list of them, as an array of no or one dimension.

    Raises
    ------
    ValueError
        If an entry is outside [0, 1], or q is empty or has more dimensions.
    """
    array = np.asarray(q, dtype=np.float64)
    if array.ndim > 1 or not array.size or not ((array >= 0) & (array <= 1)).all():
        raise ValueError(f"{parameter}={q!r} must be a number in [0, 1], or a list of them.")
    return array


def _indicators(draws, categories):
    """Frequencies (n, L) of the levels of categories in draws (n_draws, n, F); None without any."""
    if categories is None:
        return None
    codes = draws[:, :, categories.columns]
    parts = [
        (codes[:, :, c, None] == np.arange(size)).mean(0) for c, size in enumerate(categories.sizes)
    ]
    return np.concatenate(parts, axis=1)


def _repeated(y, n_samples, n_rows):
    """Labels of rows, repeated for every draw of each row."""
    if y is None or not np.ndim(y) or len(y) != n_rows:
        return y
    return np.tile(np.asarray(y), n_samples)
