"""Rows in the user's units against a model on its device: scores and samples, in chunks."""

from dataclasses import dataclass
from numbers import Integral

import numpy as np
import torch

from gudlearn._random import mix, row_keys, seed_keys
from gudlearn.diffusion.paths import active_fraction

# Draws of time and noise per row in a score: 12 per component, within these limits and those of
# noisy values in all, and up to eight times as many where components move in turn; for images a
# fixed number, since they differ among themselves by far more than the draws of one.
_FEWEST_TIMES, _MOST_TIMES, _MOST_NOISY, _IN_TURN = 128, 768, 768 * 256, 8
_IMAGE_TIMES = 32
_SCORE_CHUNK, _IMAGE_SCORE_CHUNK = 128, 16
_SAMPLE_CHUNK, _IMAGE_CHUNK = 256, 64
# Draws of the noise inside the bins of columns that are not read through white noise.
_SPREAD_DRAWS = 8
_FLOW_STEPS = 40
_FLOW_DRAWS = 8
# Up to this many components the trace of the flow's Jacobian is summed exactly.
_EXACT_TRACE = 16


# So many standard deviations from the mean no density is told from zero.
_FARTHEST = 1e30


def _too_far(z):
    return z.abs().amax(1) > _FARTHEST


def _n_times(n_active):
    """Draws per row of so many components, of as many values in all where they are many."""
    return np.clip(min(12 * n_active, _MOST_NOISY // n_active), _FEWEST_TIMES, _MOST_TIMES)


def _only(split, scored):
    """A log-likelihood by component with zeros where nothing is scored; see `Engine._scored`."""
    return split if scored is None else np.where(scored[1], split, 0.0)


@dataclass(frozen=True)
class Trajectory:
    """States that samples pass through, from noise to data.

    Parameters
    ----------
    t : ndarray of shape (n_states,)
        Times, from 1 (noise) to 0 (data).
    denoised : ndarray of shape (n_states, n_samples, n_features), or images
        Expected clean sample given each state, in the units of the data.
    noisy : ndarray of shape (n_states, n_samples, n_features), or images
        The states in the units of the data, rescaled by component: at t = 1 noise as spread as
        the data, white as far as the basis does not whiten; at t = 0 the sample before it is
        rounded to levels.
    components : ndarray of shape (n_states, n_samples, n_components)
        Scaled components x_t = alpha z + sigma eps. Those that do not diffuse are the sample's
        throughout.
    """

    t: np.ndarray
    denoised: np.ndarray
    noisy: np.ndarray
    components: np.ndarray


class Engine:
    """An encoding and a model, with the key of the noise inside scores.

    Parameters
    ----------
    encoding : Encoding
    model : Model
    key : int
    """

    def __init__(self, encoding, model, key=0):
        self.encoding, self.model, self.key = encoding, model, key

    def _encoded(self, X, draw=0):
        """Components, levels, the log-probability beyond the tables, and keys of rows X."""
        encoding, model = self.encoding, self.model
        keys = row_keys(X)
        X, _ = encoding.fill(X)
        levels, log_beyond = encoding.clip(encoding.bins.levels(X))
        z = torch.from_numpy(encoding.encode(X, levels, keys, draw))
        return (
            z.to(model.device, model.dtype),
            torch.from_numpy(levels).to(model.device, model.dtype),
            log_beyond,
            mix(keys, self.key).to(model.device),
        )

    def _in_user_units(self, components, levels, log_beyond):
        per_level = log_beyond.copy()
        if self.model.observation is not None:
            per_level[:, self.encoding.binned] -= self.model.level_cost(levels).cpu().numpy()
        return self.encoding.in_user_units(components.double().cpu().numpy(), per_level)

    def _scored(self, X, given=None):
        """What of rows X is scored and how: None where it is all of them.

        Parameters
        ----------
        X : ndarray of shape (n, F)
            With NaN where a value is missing.
        given : ndarray of shape (n, F), bool, or None
            Values that the others are scored given.

        Returns
        -------
        None or (path, wanted) : MaskedPath, and ndarray of shape (n, D) or (n, D + F)
        """
        encoding, model = self.encoding, self.model
        _, missing = encoding.fill(X)
        if given is None and missing is None:
            return None
        missing = np.zeros(X.shape, bool) if missing is None else missing
        given = np.zeros(X.shape, bool) if given is None else given & ~missing
        states = encoding.states(given, missing)
        wanted = ~(states[0] | states[1])
        if encoding.has_levels_apart:
            wanted = np.hstack([wanted, ~(given | missing)])
        if model.path is None:
            return None, wanted
        path = model.stated(*(torch.from_numpy(s).to(model.device) for s in states))
        return path, wanted

    @property
    def _draws(self):
        return _SPREAD_DRAWS if self.encoding.dequantised.any() else 1

    def each_chunk(self, X, function, *by_row):
        """Apply a function of rows to chunks of X: memory does not grow with X.

        Chunks of images are of one size, the last one filled up with its last image: the rounding
        of convolutions goes with the size. What else goes by row, labels or a mask, is handed on
        for the rows of the chunk; None as it is.
        """
        images = self.model.sees_images
        size = _IMAGE_SCORE_CHUNK if images else _SCORE_CHUNK
        found = []
        with torch.no_grad():
            for start in range(0, len(X), size):
                index = np.arange(start, start + size if images else min(start + size, len(X)))
                index = index.clip(max=len(X) - 1)
                others = (None if a is None else a[index] for a in by_row)
                found.append(function(X[index], *others))
        return np.concatenate(found)[: len(X)]

    def untrained(self, X):
        """Log-likelihood of the product of the marginals by component, and components z."""
        z, levels, log_beyond, _ = self._encoded(X)
        split = self._in_user_units(-self.model.marginal_bound(z), levels, log_beyond)
        return _only(split, self._scored(X)), z

    def fixed(self, X):
        """The part of the log-likelihood by component that neither network nor marginals enter."""
        z, levels, log_beyond, _ = self._encoded(X)
        split = self._in_user_units(-self.model.fixed_cost(z), levels, log_beyond)
        return _only(split, self._scored(X))

    def bound(self, X, labels=None, given=None, own=None):
        """The bound by component, in nats and in the units of X; (n, D) or (n, D + F).

        What is missing, NaN, and what is given, (n, F) bool, adds zero. Rows are not told of the
        remembered ones with their `own` keys, (n,), if there are any.
        """
        own = None if own is None else self.encoding.places(own, self.model.device)
        scored = self._scored(X, given)
        path = None if scored is None else scored[0]
        labels = None if labels is None else labels.to(self.model.device)
        model, draws = self.model, self._draws
        n_times = _IMAGE_TIMES
        if not model.sees_images:
            in_turn = 1 if model.path is None else min(1 / active_fraction(model.path), _IN_TURN)
            n_times = int(in_turn * _n_times(max(len(model.active), 1)))
        total = 0.0
        for draw in range(draws):
            z, levels, log_beyond, keys = self._encoded(X, draw)
            cost = model.marginal_bound(z) / draws
            strata = torch.arange(draw, n_times, draws, device=model.device)
            cost[:, model.active] += model.correction(z, keys, strata, n_times, labels, path, own)
            total = total - cost
        total[_too_far(z)] = -torch.inf
        return _only(self._in_user_units(total, levels, log_beyond), scored)

    def flow(self, X, labels=None):
        """The flow's log-density, or log-probability, of rows X; (n,)."""
        model = self.model
        labels = None if labels is None else labels.to(model.device)
        n_probes = 0 if len(model.active) <= _EXACT_TRACE else 1
        total = 0.0
        for draw in range(self._draws):
            z, levels, log_beyond, keys = self._encoded(X, draw)
            keys = mix(keys, draw)
            total = total + model.flow(z, levels, keys, _FLOW_STEPS, n_probes, _FLOW_DRAWS, labels)
        total[_too_far(z)] = -torch.inf
        units = self.encoding.in_user_units(np.zeros((1, model.n_components)), log_beyond)
        return total.double().cpu().numpy() / self._draws + units.sum(1)

    def sample(self, n_samples, seed, sampler, labels=None, guidance=1.0, condition=None):
        """Rows in the user's units; row i depends on the seed, i, its label and condition."""

        def draw(keys, given, told):
            z = self.model.sample(keys, sampler, given, guidance, **told)
            return self.encoding.decode(z.double().cpu().numpy(), keys, self.model)

        return self._each_sample(draw, n_samples, seed, labels, condition)

    def expect(self, n_samples, seed, labels, condition):
        """Expected rows in the user's units, by a condition of method "exact"; as `sample`."""

        def answer(keys, given, told):
            z = self.model.expect(keys, labels=given, **told)
            return self.encoding.expected(z.double().cpu().numpy())

        return self._each_sample(answer, n_samples, seed, labels, condition)

    def _each_sample(self, function, n_samples, seed, labels, condition):
        """Apply a function of keys, labels and what the model is told to chunks of samples."""
        chunks = []
        with torch.no_grad():
            for keys, given in self._sample_chunks(n_samples, seed, labels):
                told = {}
                if condition is not None:
                    index = np.arange(len(keys)) + len(keys) * len(chunks)
                    keys, told = condition.keys(index, keys), condition.of(self, index)
                chunks.append(function(keys, given, told))
        return np.concatenate(chunks)[:n_samples]

    def components(self, rows):
        """Components of rows, a tensor on the device."""
        return self._encoded(rows)[0]

    def known(self, rows):
        """Components of rows, with NaN where they are not known, and which of them are known."""
        z = self.components(rows)
        holes = np.isnan(rows)
        known, _ = self.encoding.states(~holes, holes)
        return z, torch.from_numpy(known).to(z.device)

    def _sample_chunks(self, n_samples, seed, labels):
        """Keys and labels of chunks of a sample.

        They are of one size, so that a row's bits do not depend on n_samples.
        """
        model = self.model
        size = _IMAGE_CHUNK if model.sees_images else _SAMPLE_CHUNK
        for start in range(0, n_samples, size):
            given = None
            if labels is not None:
                given = torch.full((size,), model.null, device=model.device)
                some = labels[start : start + size]
                given[: len(some)] = some.to(model.device)
            yield seed_keys(seed, size, start, device=model.device), given

    def trajectory(self, n_states, n_samples, seed, sampler, labels=None, guidance=1.0):
        """The Trajectory of the rows that `sample` draws from the same seed.

        Raises
        ------
        ValueError
            If the sampler does not visit so many states, or nothing diffuses.
        """
        if not len(self.model.active):
            raise ValueError("There is no trajectory: no component of the data varies.")
        whole = isinstance(n_states, Integral) and not isinstance(n_states, bool)
        if not whole or not 2 <= n_states <= sampler.steps + 1:
            raise ValueError(
                f"n_states={n_states!r} must be a whole number from 2 to {sampler.steps + 1}, the "
                "states that the sampler visits. Ask for fewer, or give the sampler more steps."
            )
        components = self.encoding.components
        noise_std = np.sqrt(components.variances.mean() / np.square(components.scale).mean())
        chunks = []
        with torch.no_grad():
            for keys, given in self._sample_chunks(n_samples, seed, labels):
                t, states = self.model.trajectory(
                    keys, sampler, n_states, float(noise_std), given, guidance
                )
                chunks.append(states[:, :, : n_samples - len(keys) * len(chunks)].double().cpu())
        x, noisy, denoised = torch.cat(chunks, 2).numpy()
        noisy, denoised = (
            self.encoding.in_data_space(z.reshape(-1, z.shape[2])).reshape(*z.shape[:2], -1)
            for z in (noisy, denoised)
        )
        return Trajectory(t.double().cpu().numpy(), denoised, noisy, x)
