"""The methods gudlearn is compared with, each tuned on validation rows in the same time.

Every `fit_*` takes the training rows, the bin widths (None: continuous data), a budget of seconds
and a seed. It returns a function from rows to log-likelihoods in nats, in the units of the rows
(log-probabilities of the bins for discrete data), and a dict of what was chosen.
"""

from __future__ import annotations

import copy
import math
import time
import warnings

import numpy as np
import torch
from _data import group_split
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KernelDensity

COMPONENTS = (1, 2, 3, 5, 8, 12, 20, 30, 40, 60, 80)
VALIDATION_FRACTION = 0.1
TEST_DRAWS = 4


class Clock:
    """Wall clock of one budget."""

    def __init__(self, seconds):
        self.seconds = seconds
        self.start = time.perf_counter()

    @property
    def elapsed(self):
        """Seconds since the start."""
        return time.perf_counter() - self.start

    def left(self, fraction=1.0):
        """Whether less than this fraction of the budget has been spent."""
        return self.elapsed < fraction * self.seconds


def dequantise(X, bin_width, rng):
    """Draw each value uniformly within its bin; continuous rows are returned unchanged."""
    if bin_width is None:
        return X
    return X + bin_width * rng.uniform(-0.5, 0.5, size=X.shape)


class Standardiser:
    """Standardised columns of the (dequantised) training rows, and their log-determinant."""

    def __init__(self, X, bin_width):
        variance = X.var(axis=0)
        if bin_width is not None:
            variance = variance + bin_width**2 / 12
        self.mean = X.mean(axis=0)
        self.std = np.where(variance > 0, np.sqrt(variance), 1.0)
        self.log_det = -np.log(self.std).sum()

    def __call__(self, X):
        """Standardise rows."""
        return (X - self.mean) / self.std


def dequantised_score(log_density, standardise, bin_width, seed):
    """Score of raw rows from a log-density of standardised rows, the mean of several draws."""

    def score(X):
        if bin_width is None:
            return log_density(standardise(X)) + standardise.log_det
        rng = np.random.default_rng([seed, 1])
        draws = [log_density(standardise(dequantise(X, bin_width, rng))) for _ in range(TEST_DRAWS)]
        return np.mean(draws, axis=0) + standardise.log_det + np.log(bin_width).sum()

    return score


def prepare(train, bin_width, seed):
    """A fixed draw of standardised rows, indices to fit and to validate, and the standardiser."""
    standardise = Standardiser(train, bin_width)
    Z = standardise(dequantise(train, bin_width, np.random.default_rng([seed, 0])))
    kept, held = group_split(train, VALIDATION_FRACTION, seed)
    return Z, kept, held, standardise


# ---------------------------------------------------------------- Gaussian mixtures


class GMMCandidate:
    """A mixture trained a few EM steps at a time; keeps its best state on the validation rows."""

    def __init__(self, n_components, covariance_type, seed, reg_covar=1e-6):
        self.settings = {
            "n_components": n_components, "covariance_type": covariance_type, "reg_covar": reg_covar
        }  # fmt: skip
        self.model = GaussianMixture(warm_start=True, random_state=seed, **self.settings)
        self.best, self.best_score, self.converged = None, -np.inf, False

    def advance(self, Z, held, iterations, clock, fraction=1.0):
        """Run EM until `iterations`, convergence or the end of the budget."""
        for _ in range(0, iterations, 5):
            if self.converged or not clock.left(fraction):
                return
            self.model.set_params(max_iter=5)
            try:
                self.model.fit(Z)
            except ValueError:  # an ill-conditioned covariance ends this candidate
                self.converged = True
                return
            self.converged = self.model.converged_
            score = self.model.score(held)
            if score > self.best_score:
                self.best, self.best_score = copy.deepcopy(self.model), score


def halve(candidates, Z, held, clock):
    """Successive halving: train all a little, the better ones longer, the best two to the end."""
    for keep, iterations, fraction in ((None, 5, 0.5), (6, 45, 0.75), (2, 500, 0.9)):
        candidates = sorted(candidates, key=lambda c: -c.best_score)[:keep]
        for candidate in candidates:
            candidate.advance(Z, held, iterations, clock, fraction)
    return max(candidates, key=lambda c: c.best_score)


def best_gmm(Z, kept, held, components, types, clock, seed, reg_covars=(1e-6,)):
    """The mixture that is best on the validation rows, after five EM steps on all rows."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        candidates = [
            GMMCandidate(n, kind, seed, reg_covar)
            for n in components
            if n < len(kept)
            for kind in types
            for reg_covar in reg_covars
        ]
        best = halve(candidates, kept, held, clock)
        model = copy.deepcopy(best.best)
        if clock.left():
            try:
                model.fit(Z)
            except ValueError:  # keep the state that validation chose
                model = best.best
    return model, best.settings


def fit_gmm(train, bin_width, seconds, seed):
    """GaussianMixture with 1 to 80 components and both kinds of covariance."""
    return tuned_gmm(train, bin_width, seconds, seed, types=("full", "diag"))


def tuned_gmm(train, bin_width, seconds, seed, *, types, reg_covars=(1e-6,)):
    """GaussianMixture with 1 to 80 components of the given kinds."""
    clock = Clock(seconds)
    Z, kept, held, standardise = prepare(train, bin_width, seed)
    model, settings = best_gmm(Z, Z[kept], Z[held], COMPONENTS, types, clock, seed, reg_covars)
    score = dequantised_score(model.score_samples, standardise, bin_width, seed)
    return score, settings


# ---------------------------------------------------------------- kernel density


def fit_kde(train, bin_width, seconds, seed):
    """KernelDensity (Gaussian kernel); hill climbing of the bandwidth on the validation score."""
    clock = Clock(seconds)
    Z, kept, held, standardise = prepare(train, bin_width, seed)
    scores = {}

    def validation(step):
        if step not in scores and (clock.left(0.9) or not scores):
            model = KernelDensity(bandwidth=bandwidth(step), rtol=1e-4).fit(Z[kept])
            scores[step] = model.score(Z[held]) / len(held)
        return scores.get(step, -np.inf)

    scott = len(kept) ** (-1 / (Z.shape[1] + 4))

    def bandwidth(step):
        return scott * 1.15**step

    best, validation_best = 0, validation(0)
    for direction in (-1, 1):
        while validation(best + direction) > validation_best:
            best += direction
            validation_best = validation(best)
    model = KernelDensity(bandwidth=bandwidth(best), rtol=1e-4).fit(Z)
    score = dequantised_score(model.score_samples, standardise, bin_width, seed)
    return score, {"bandwidth": bandwidth(best), "tried": len(scores)}


# ---------------------------------------------------------------- neural spline flow


def train_flow(flow, draw, held, learning_rate, seconds, batch_size=512):
    """Adam with cosine decay in time; returns the best validation loss, its weights, the steps."""
    optimizer = torch.optim.Adam(flow.parameters(), lr=learning_rate)
    clock, checking, steps = Clock(seconds), 0.0, 0
    best_loss, best_weights = math.inf, copy.deepcopy(flow.state_dict())

    def check():
        nonlocal best_loss, best_weights, checking
        began = clock.elapsed
        with torch.no_grad():
            loss = -flow().log_prob(held).mean().item()
        if loss < best_loss:
            best_loss, best_weights = loss, copy.deepcopy(flow.state_dict())
        checking += clock.elapsed - began

    while clock.left():
        decay = 0.5 * (1 + math.cos(math.pi * clock.elapsed / seconds))
        optimizer.param_groups[0]["lr"] = learning_rate * decay
        loss = -flow().log_prob(draw(batch_size)).mean()
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(flow.parameters(), 1.0)
        if torch.isfinite(norm):
            optimizer.step()
        steps += 1
        if checking < 0.05 * clock.elapsed:
            check()
    check()
    return best_loss, best_weights, steps


def fit_nsf(train, bin_width, seconds, seed):
    """zuko's NSF, 5 transforms, 256 x 256; two learning rates with half of the time each."""
    import zuko  # from the extra "bench"; the other methods run without it

    clock = Clock(seconds)
    Z, kept, held, standardise = prepare(train, bin_width, seed)
    rows = torch.as_tensor(standardise(train)[kept], dtype=torch.float32)
    width = None
    if bin_width is not None:
        width = torch.as_tensor(bin_width / standardise.std, dtype=torch.float32)
    held = torch.as_tensor(Z[held], dtype=torch.float32)
    generator = torch.Generator().manual_seed(seed)

    def draw(n):
        batch = rows[torch.randint(len(rows), (min(n, len(rows)),), generator=generator)]
        if width is None:
            return batch
        return batch + width * (torch.rand(batch.shape, generator=generator) - 0.5)

    best = (math.inf, None, 0)
    for done, learning_rate in enumerate((1e-3, 5e-4)):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            flow = zuko.flows.NSF(train.shape[1], transforms=5, hidden_features=(256, 256))
        left = (seconds - clock.elapsed) / (2 - done)
        loss, weights, steps = train_flow(flow, draw, held, learning_rate, left)
        if loss < best[0] or best[1] is None:
            best = (loss, weights, steps, learning_rate)
    flow.load_state_dict(best[1])

    def log_density(Z):
        with torch.no_grad():
            parts = torch.as_tensor(Z, dtype=torch.float32).split(4096)
            return torch.cat([flow().log_prob(part) for part in parts]).double().numpy()

    score = dequantised_score(log_density, standardise, bin_width, seed)
    return score, {"learning_rate": best[3], "steps": best[2]}


# ---------------------------------------------------------------- independent marginals


def histogram_log_probability(levels, merge, alpha):
    """Log-probability of integer levels by a smoothed histogram of bins of `merge` levels.

    Inside the observed range `alpha` is added to the count of each bin; outside, a geometric tail
    on each side has half of the mass 1/(n + 2).
    """
    n, low, high = len(levels), levels.min(), levels.max()
    size = high - low + 1
    n_bins = -(-size // merge)
    levels_in_bin = np.minimum(merge, size - merge * np.arange(n_bins))
    counts = np.bincount((levels - low) // merge, minlength=n_bins)
    tail = 1 / (n + 2)
    smoothed = (counts + alpha * levels_in_bin / merge) / levels_in_bin
    inside = np.log1p(-tail) + np.log(smoothed)
    inside -= np.log(n + alpha * size / merge)
    stop = 1 / max(2.0, size / 10)

    def log_probability(x):
        beyond = np.maximum(low - x, x - high)
        outside = np.log(tail / 2) + np.log(stop) + (np.maximum(beyond, 1) - 1) * np.log1p(-stop)
        bins = np.clip((x - low) // merge, 0, n_bins - 1)
        return np.where(beyond <= 0, inside[bins], outside)

    return log_probability


def fit_histogram(levels, kept, held):
    """Histogram of one discrete column; bins and smoothing are chosen on the validation rows."""
    size = np.ptp(levels) + 1
    merges = [m for m in (1, 2, 5, 10, 20, 50, 100, 200, 500) if m == 1 or m <= size / 4]
    choices = [(m, alpha) for m in merges for alpha in (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)]
    scores = [
        histogram_log_probability(levels[kept], *choice)(levels[held]).mean() for choice in choices
    ]
    return histogram_log_probability(levels, *choices[int(np.argmax(scores))])


def fit_discrete_marginals(train, bin_width, seed):
    """Independent histograms on the grid of each column."""
    kept, held = group_split(train, VALIDATION_FRACTION, seed)
    levels = np.rint(train / bin_width).astype(int)
    columns = [fit_histogram(column, kept, held) for column in levels.T]

    def score(X):
        test = np.rint(X / bin_width).astype(int)
        return sum(column(x) for column, x in zip(columns, test.T, strict=True))

    return score, {}


def fit_continuous_marginals(train, seconds, seed):
    """Independent one-dimensional Gaussian mixtures, sizes chosen on the validation rows."""
    clock = Clock(seconds)
    Z, kept, held, standardise = prepare(train, None, seed)
    models, counts = [], []
    for j in range(Z.shape[1]):
        budget = Clock((seconds - clock.elapsed) / (Z.shape[1] - j))
        z = Z[:, j : j + 1]
        model, settings = best_gmm(z, z[kept], z[held], COMPONENTS[:8], ("full",), budget, seed)
        models.append(model)
        counts.append(settings["n_components"])

    def log_density(Z):
        return sum(model.score_samples(z[:, None]) for model, z in zip(models, Z.T, strict=True))

    score = dequantised_score(log_density, standardise, None, seed)
    return score, {"n_components": counts}


def fit_marginals(train, bin_width, seconds, seed):
    """Independent columns: histograms for discrete data, Gaussian mixtures for continuous."""
    if bin_width is not None:
        return fit_discrete_marginals(train, bin_width, seed)
    return fit_continuous_marginals(train, seconds, seed)


PEERS = {"gmm": fit_gmm, "kde": fit_kde, "nsf": fit_nsf, "marginals": fit_marginals}
