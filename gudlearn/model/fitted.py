"""A fitted model in the units of the data: scores and samples of rows, in chunks."""

from dataclasses import dataclass
from numbers import Integral

import numpy as np
import torch

from gudlearn._random import mix, seed_keys
from gudlearn.diffusion.paths import active_fraction
from gudlearn.model.draws import BLOCK
from gudlearn.model.progress import Progress

# Draws of time and noise per row in a score: 6 per component, within these limits and a limit of
# noisy values in total; fewer in proportion to the variance that the joint Gaussian leaves; up to
# eight times as many if components are active one after another. Images take a fixed number: scores
# vary far more between images than between draws.
_FEWEST_TIMES, _MOST_TIMES, _MOST_NOISY, _SEQUENTIAL = 64, 384, 384 * 256, 8
_IMAGE_TIMES, _COARSE, _COARSE_IMAGES = 32, 32, 16
# Weight of the differences between nodes in standard errors, in blocks.
_OF_NODES = 2
_SCORE_CHUNK, _IMAGE_SCORE_CHUNK = 128, 16
_SAMPLE_CHUNK, _IMAGE_CHUNK = 256, 64
# Draws of the uniform noise inside bins of dequantised columns.
_DEQUANTISATION_DRAWS = 8
_FLOW_STEPS = 40
_FLOW_DRAWS = 8
# Up to this many components the trace of the flow's Jacobian is summed exactly.
_EXACT_TRACE = 16
# Beyond this many standard deviations from the mean a density cannot be distinguished from zero.
_FARTHEST = 1e30


def _n_times(n_active):
    """Draws of time and noise per row for a number of active components."""
    return np.clip(min(6 * n_active, _MOST_NOISY // n_active), _FEWEST_TIMES, _MOST_TIMES)


def _standard_errors(starts, changes):
    """Standard errors of scores, (n,), from what their parts contribute.

    Parameters
    ----------
    starts : Tensor of shape (n_parts, n)
        A known term for each draw inside bins, of which the score has the mean.
    changes : list of n_parts tensors of shape (n_nodes, n)
        Terms of a sum over nodes, by part, in the order of time. The difference between the sums
        over the two groups of a block is due to noise. There are few blocks; differences between
        neighbouring nodes are many, but do not know that groups are stratified, and are rather too
        large. Both are averaged. NaN for a part of one or two nodes.
    """
    variance = starts.new_zeros(starts.shape[1])
    if len(starts) > 1:
        variance += starts.var(0) / len(starts)
    blocks = sum(-(-len(terms) // BLOCK) for terms in changes)
    for terms in changes:
        if len(terms) < 3:
            variance += torch.nan
            continue
        # Second differences, so that a trend that is linear adds nothing.
        of_nodes = terms.diff(n=2, dim=0).square().sum(0) / 6 * len(terms) / (len(terms) - 2)
        sign = torch.ones_like(terms[:, :1])
        sign[1::2] = -1
        of_groups = sum(part.sum(0).square() for part in (sign * terms).split(BLOCK))
        variance += (blocks * of_groups + _OF_NODES * of_nodes) / (blocks + _OF_NODES)
    return variance.sqrt().double()


def _too_far(z):
    return z.abs().amax(1) > _FARTHEST


def _on_target(log_prob, scored):
    """Log-likelihoods by component, with zeros where they are not scored."""
    return log_prob if scored is None else np.where(scored[1], log_prob, 0.0)


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
        The states in the units of the data, rescaled by component: at t = 1 noise with the mean
        variance of the data, white unless the basis whitens; at t = 0 the sample before it is
        rounded to bins.
    components : ndarray of shape (n_states, n_samples, n_components)
        Scaled components x_t = alpha z + sigma eps. Those that do not diffuse are the sample's
        throughout.
    """

    t: np.ndarray
    denoised: np.ndarray
    noisy: np.ndarray
    components: np.ndarray


class FittedModel:
    """Scores and samples of rows in the units of the data.

    Parameters
    ----------
    encoding : Encoding
    preconditioner : Preconditioner
    components : ComponentModel
    key : int
        Key of the noise inside scores.
    verbose : int
        Above 0, long computations show how far they are.
    """

    def __init__(self, encoding, preconditioner, components, key=0, verbose=0):
        self.encoding, self.preconditioner = encoding, preconditioner
        self.components, self.key, self.verbose = components, key, verbose

    def agreed(self, seed):
        """The seed of all processes that divide the work: this is the only one."""
        return seed

    # Scores

    def log_likelihood(self, rows, given=None, excluded=None):
        """ELBO of each of `Rows`, (n,), see `log_likelihood_and_error`."""
        return self.log_likelihood_and_error(rows, given, excluded)[:, 0]

    def log_likelihood_and_error(self, rows, given=None, excluded=None, n_draws="auto"):
        """ELBO of each of `Rows`, in nats and in the units of the data, and its standard error.

        Parameters
        ----------
        rows : Rows
            Missing values are not scored: the score is that of the observed values.
        given : ndarray of shape (n, F) of bool, or None
            Values on which the score of the others is conditioned.
        excluded : LongTensor of shape (n,) or None
            For each row, the key of the reference row that the network must not look up.
        n_draws : int or {"auto", "coarse"}
            Draws of noise for each row, about.

        Returns
        -------
        ndarray of shape (n, 2)
            Log-likelihoods, and the standard errors that the draws leave.
        """
        joint = self.components.gaussian is not None

        # Summed within chunks: the components of many images would not fit in memory.
        def score(*chunk):
            log_prob, of_all, errors = self._elbo(*chunk, n_draws, joint)
            return np.stack([log_prob.sum(1) + of_all, errors], 1)

        return self.each_chunk(rows, score, given, excluded)

    def log_likelihood_by_component(self, rows, given=None, n_draws="auto"):
        """ELBO of each of `Rows` by component, see `elbo`."""

        def by_component(*chunk):
            return self.elbo(*chunk, n_draws=n_draws)

        return self.each_chunk(rows, by_component, given, None)

    def elbo(self, rows, given=None, excluded=None, n_draws="auto"):
        """ELBO by component, (n, D) or (n, D + F); missing and given values add zero.

        The parameters are those of `log_likelihood_and_error`, for one chunk of rows.
        """
        model = self.components
        split, _, _ = self._elbo(rows, given, excluded, n_draws)
        if model.gaussian is None:
            return split
        # The sum is known better than its parts: numbers share the difference equally.
        of_numbers, joint, _ = self._elbo(rows, given, excluded, n_draws, True)
        share = np.zeros(split.shape)
        share[:, model.numeric.cpu().numpy()] = 1.0
        scored = self._target(rows, given)
        share = share if scored is None else share * scored[1]
        with np.errstate(invalid="ignore"):
            difference = of_numbers.sum(1) + joint - split.sum(1)
        difference = np.where(np.isfinite(difference), difference, 0.0)
        return split + share * (difference / np.maximum(share.sum(1), 1))[:, None]

    def _elbo(self, rows, given, excluded, n_draws, joint_control=False):
        """ELBO by component, a term of all components together (n,), and standard errors (n,).

        The second is 0 unless the control variate is the joint Gaussian.
        """
        model, scored = self.components, self._target(rows, given)
        self_index = None
        if excluded is not None:
            self_index = self.preconditioner.self_index(excluded.to(model.device))
        path = None if scored is None else scored[0]
        n_times = self._n_times(n_draws)
        draws = min(self._dequantisation_draws, n_times)
        labels, total, of_joint, change = self._labels(rows), 0.0, 0.0, 0.0
        starts, changes = [], []
        for draw in range(draws):
            z, indices, log_change, keys = self._encoded(rows, draw)
            change = change + log_change / draws
            nll, joint, near = model.marginal_nll(z), 0.0, None
            if joint_control:
                joint, near = model.gaussian_nll(z, path)
                nll = torch.where(near[:, None], model.marginal_nll(z, t=1.0), nll)
                joint = torch.where(near, joint, 0.0)
            starts.append(joint + nll.sum(1))
            of_network, by_node = model.nll_correction(
                z, keys, model.draws(n_times, draw, draws), labels, path, self_index, near
            )
            changes.append(by_node)
            nll /= draws
            if joint_control:
                of_joint = of_joint - (joint / draws + by_node.sum(0))
            else:
                nll[:, model.active] += of_network
            total = total - nll
        total[_too_far(z)] = -torch.inf
        errors = _standard_errors(torch.stack(starts), changes).cpu().numpy()
        if joint_control:
            of_joint = of_joint.masked_fill(_too_far(z), 0.0).double().cpu().numpy()
        return _on_target(self._in_user_units(total, indices, change), scored), of_joint, errors

    def flow_log_prob(self, rows):
        """The flow's log-density, or log-probability, of each row; (n,)."""
        return self.each_chunk(rows, self._flow_log_prob)

    def _flow_log_prob(self, rows):
        model, labels = self.components, self._labels(rows)
        n_probes = 0 if len(model.active) <= _EXACT_TRACE else 1
        total, change, draws = 0.0, 0.0, self._dequantisation_draws
        for draw in range(draws):
            z, indices, log_change, keys = self._encoded(rows, draw)
            keys, change = mix(keys, draw), change + log_change / draws
            total = total + model.flow_log_prob(
                z, indices, keys, _FLOW_STEPS, n_probes, _FLOW_DRAWS, labels
            )
        total[_too_far(z)] = -torch.inf
        units = self.encoding.in_user_units(np.zeros((1, model.n_components)), change)
        return total.double().cpu().numpy() / draws + units.sum(1)

    def marginal_log_likelihood(self, rows, given=None):
        """Log-likelihood of the product of the marginals by component, and components z."""
        z, indices, change, _ = self._encoded(rows)
        log_prob = self._in_user_units(-self.components.marginal_nll(z), indices, change)
        return _on_target(log_prob, self._target(rows, given)), z

    def fixed_log_likelihood(self, rows):
        """The part of the ELBO by component that depends on neither network nor marginals."""
        z, indices, change, _ = self._encoded(rows)
        log_prob = self._in_user_units(-self.components.fixed_nll(z), indices, change)
        return _on_target(log_prob, self._target(rows))

    def each_chunk(self, rows, function, *by_row):
        """Apply a function of `Rows` to chunks, so that memory does not grow with their number.

        Chunks of images have one size, and the last is padded with its last image: the rounding of
        convolutions depends on the size. Further arguments, arrays by row or None, are split in the
        same way.
        """
        images, size = self.components.sees_images, self.scored_at_once
        results = []
        with torch.no_grad(), Progress("scored", len(rows), self.verbose) as progress:
            for start in range(0, len(rows), size):
                index = np.arange(start, start + size if images else min(start + size, len(rows)))
                index = index.clip(max=len(rows) - 1)
                others = (None if a is None else a[index] for a in by_row)
                results.append(function(rows.take(index), *others))
                progress(start + size)
        return np.concatenate(results)[: len(rows)]

    @property
    def scored_at_once(self):
        """Rows that are scored in one chunk."""
        return _IMAGE_SCORE_CHUNK if self.components.sees_images else _SCORE_CHUNK

    def _encoded(self, rows, draw=0):
        """Components, bin indices, changes of log-likelihoods (n, F), and keys of rows.

        The changes are log-probabilities of bins beyond the tables, and log-slopes of maps.
        """
        encoding, model = self.encoding, self.components
        X = rows.filled(encoding.fill_values)
        indices, log_beyond = encoding.bin_indices(X)
        z, log_slope = encoding.encode_with_slope(X, indices, rows.keys, draw)
        return (
            torch.from_numpy(z).to(model.device, model.dtype),
            torch.from_numpy(indices).to(model.device, model.dtype),
            log_beyond + log_slope,
            mix(rows.keys, self.key).to(model.device),
        )

    def _in_user_units(self, log_prob, indices, change):
        bin_log_prob = change.copy()
        if self.components.observation is not None:
            binned = self.encoding.binned
            bin_log_prob[:, binned] -= self.components.bin_nll(indices).cpu().numpy()
        return self.encoding.in_user_units(log_prob.double().cpu().numpy(), bin_log_prob)

    def _target(self, rows, given=None):
        """Which values of rows are scored, and on which path; None if all values are.

        Returns
        -------
        None or (path, target) : MaskedPath, and ndarray of shape (n, D) or (n, D + F)
        """
        encoding, model = self.encoding, self.components
        missing = rows.missing
        if given is None and missing is None:
            return None
        missing = np.zeros(rows.values.shape, bool) if missing is None else missing
        given = np.zeros(rows.values.shape, bool) if given is None else given & ~missing
        states = encoding.components_in(given), encoding.components_in(missing)
        target = ~(states[0] | states[1])
        if encoding.has_bins_apart:
            target = np.hstack([target, ~(given | missing)])
        if model.path is None:
            return None, target
        path = model.masked_path(*(torch.from_numpy(s).to(model.device) for s in states))
        return path, target

    def _n_times(self, n_draws="auto"):
        """Draws of time and noise per row in a score."""
        model = self.components
        if not isinstance(n_draws, str):
            return int(n_draws)
        if model.sees_images:
            return _IMAGE_TIMES if n_draws == "auto" else _COARSE_IMAGES
        sequential = 1 if model.path is None else min(1 / active_fraction(model.path), _SEQUENTIAL)
        n = _COARSE
        if n_draws == "auto":
            n = _n_times(max(len(model.active), 1))
            n = max(model.variance_ratio * n, min(_COARSE, n))
        return int(sequential * n)

    @property
    def _dequantisation_draws(self):
        return _DEQUANTISATION_DRAWS if self.encoding.dequantised.any() else 1

    def _labels(self, rows):
        return None if rows.labels is None else rows.labels.to(self.components.device)

    # Samples

    def sample(self, n_samples, seed, sampler, labels=None, guidance=1.0, condition=None, start=0):
        """Rows in the units of the data, (n_samples, F), float64.

        Row i depends on the seed, start + i, its label and its condition.

        Parameters
        ----------
        n_samples, seed : int
        sampler : Sampler
        labels : LongTensor of shape (n_samples,) or None
        guidance : float
        condition : Completion, LinearObservation or None
        start : int
            Index of the first row.
        """

        def draw(keys, labels, conditioned, progress):
            # A chunk of images may take minutes.
            record = progress.of_part(len(keys), sampler.steps) if self.verbose else None
            z = self.components.sample(keys, sampler, labels, guidance, record, **conditioned)
            within = self._within(conditioned)
            return self.encoding.decode(z.double().cpu().numpy(), keys, within)

        return self._each_sample(draw, n_samples, seed, labels, condition, start)

    @property
    def samples_at_once(self):
        """Rows that are drawn in one chunk; every chunk has this size."""
        return _IMAGE_CHUNK if self.components.sees_images else _SAMPLE_CHUNK

    def _within(self, conditioned):
        """Whether samples stay in the range that was seen: not if what they are given does not."""
        if "observed" not in conditioned:
            return conditioned.get("guide") is None
        z, observed = (part.cpu().numpy() for part in conditioned["observed"])
        return self.encoding.is_within(z, observed)

    def conditional_means(self, n_samples, seed, labels, condition, start=0):
        """Estimates of mean rows given a condition of method "exact"; parameters as in `sample`.

        Returns
        -------
        means : ndarray of shape (n_samples, F)
            Categories that are not observed are 0.
        probabilities : ndarray of shape (n_samples, L)
            Probabilities of the levels of all categories that vary, column by column.
        """

        def estimate(keys, labels, conditioned, progress):
            estimate = self.components.conditional_mean
            # Means of columns that are mapped back are means of samples.
            drawn = self.encoding.warp is not None
            estimates, probabilities = estimate(keys, labels=labels, drawn=drawn, **conditioned)
            means = [self.encoding.decode_mean(z.double().cpu().numpy()) for z in estimates]
            mean = sum(means) / len(means)
            if probabilities is None:
                return mean
            return np.hstack([mean, probabilities.double().cpu().numpy()])

        estimates = self._each_sample(estimate, n_samples, seed, labels, condition, start)
        n_columns = len(self.encoding.bins.width)
        return estimates[:, :n_columns], estimates[:, n_columns:]

    def probabilities(self, n_samples, seed, labels, guidance, condition, start=0):
        """Probabilities (n_samples, L) of the levels of all categories that vary, column by column.

        They are given a condition of method "exact", with nothing known of the other columns;
        parameters as in `sample`. Those of observed categories are not their values.
        """

        def estimate(keys, labels, conditioned, progress):
            out = self.components.probabilities(keys, conditioned["observed"], labels, guidance)
            return out.double().cpu().numpy()

        return self._each_sample(estimate, n_samples, seed, labels, condition, start)

    def _each_sample(self, function, n_samples, seed, labels, condition, start=0):
        """Apply a function of keys, labels, conditions and a `Progress` to chunks of samples."""
        chunks = []
        with torch.no_grad(), Progress("sampled", n_samples, self.verbose) as progress:
            for keys, chunk_labels in self._sample_chunks(n_samples, seed, labels, start):
                conditioned = {}
                if condition is not None:
                    index = start + np.arange(len(keys)) + len(keys) * len(chunks)
                    keys, conditioned = condition.keys(index, keys), condition.of(self, index)
                chunks.append(function(keys, chunk_labels, conditioned, progress))
                progress(len(keys) * len(chunks))
        return np.concatenate(chunks)[:n_samples]

    def _sample_chunks(self, n_samples, seed, labels, first=0):
        """Keys and labels of chunks of a sample.

        All chunks have one size, so that the bits of a row do not depend on n_samples.
        """
        model, size = self.components, self.samples_at_once
        for start in range(0, n_samples, size):
            chunk = None
            if labels is not None:
                chunk = torch.full((size,), model.null, device=model.device)
                part = labels[start : start + size]
                chunk[: len(part)] = part.to(model.device)
            yield seed_keys(seed, size, first + start, device=model.device), chunk

    def encode(self, rows):
        """Components of `Rows`, a tensor (n, D) on the device."""
        return self._encoded(rows)[0]

    def encode_observed(self, rows):
        """Components of `Rows`, a tensor (n, D), and the mask of the observed ones."""
        z = self.encode(rows)
        observed = self.encoding.components_in(rows.observed)
        return z, torch.from_numpy(observed).to(z.device)

    def trajectory(self, n_states, n_samples, seed, sampler, labels=None, guidance=1.0):
        """The `Trajectory` of the rows that `sample` draws from the same seed.

        Raises
        ------
        ValueError
            If the sampler does not visit that many states, or nothing diffuses.
        """
        if not len(self.components.active):
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
            for keys, chunk_labels in self._sample_chunks(n_samples, seed, labels):
                t, states = self.components.trajectory(
                    keys, sampler, n_states, float(noise_std), chunk_labels, guidance
                )
                chunks.append(states[:, :, : n_samples - len(keys) * len(chunks)].double().cpu())
        x, noisy, denoised = torch.cat(chunks, 2).numpy()
        noisy, denoised = (
            self.encoding.in_data_space(z.reshape(-1, z.shape[2])).reshape(*z.shape[:2], -1)
            for z in (noisy, denoised)
        )
        # The last state is the sample, which stays in the range that was seen.
        noisy[-1] = self.encoding.clipped(noisy[-1])
        return Trajectory(t.double().cpu().numpy(), denoised, noisy, x)
