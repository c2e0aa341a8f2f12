"""The fit of latent classes to encoded rows, by expectation maximisation."""

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.special import logsumexp

from gudlearn.preconditioning.latent_classes import FittedClasses

# Largest number of rows that classes are fitted to, and of held-out rows that choose their number.
MOST_ROWS, _MOST_HELD_OUT = 20_000, 4000
# Numbers of classes in the order in which they are tried.
_N_CLASSES = (2, 4, 8, 16, 32, 64)
# Smallest gain on held-out rows that counts, in nats per row and in standard errors.
_LEAST_GAIN, _LEAST_ERRORS = 0.02, 2.0
# Rows per class that are needed, and the largest products of the number of classes with that of
# numbers, and with that of levels.
_LEAST_ROWS, _MOST_TERMS, _MOST_FREQUENCIES = 20, 4096, 2**22
# Numbers are clipped to this many standard deviations; least variance, in units of all rows'.
_FAR, _LEAST_VARIANCE = 4.0, 0.01
# A class has this many rows of average frequencies, means and variances beside its own.
_PRIOR_ROWS = 3.0
# Steps of EM: at most, and the gain of a step in nats per row that ends them.
_MOST_STEPS, _LEAST_STEP = 30, 0.003
# Indicators of levels are a dense matrix up to this many entries.
_MOST_DENSE = 2**23


def fit_latent_classes(categories, rows, z, missing):
    """Divide rows into latent classes as long as the likelihood of held-out categories grows.

    Parameters
    ----------
    categories : Categories
    rows : Rows
    z : ndarray of shape (n, D')
        Numeric components of the rows.
    missing : ndarray of shape (n, D') of bool, or None

    Returns
    -------
    FittedClasses or None
        None if independent categories are not clearly worse.
    """
    rng = np.random.default_rng(0)
    order = rng.permutation(len(rows))[:MOST_ROWS]
    scale = _Scale.of(z, missing)
    n_held_out = min(len(order) // 5, _MOST_HELD_OUT)
    data = _Data.of(categories, rows, z, missing, order, scale)
    held_out, train = data.part(slice(0, n_held_out)), data.part(slice(n_held_out, None))
    best = classes = _Classes.single(categories, train)
    score = classes.score(held_out)
    for n_classes in _N_CLASSES:
        if n_classes > _most_classes(len(train), z.shape[1], len(categories.log_pmf)):
            break
        classes = classes.split(rng).fitted(train)
        new = classes.score(held_out)
        gain = new - score
        error = gain.std() / max(len(gain), 1) ** 0.5
        if not gain.mean() > max(_LEAST_GAIN, _LEAST_ERRORS * error):
            break
        best, score = classes, new
    return best.in_units(scale) if len(best.weights) > 1 else None


def _most_classes(n_rows, n_numbers, n_levels):
    """Largest number of classes that rows can tell apart, and that can be afforded."""
    limits = n_rows // _LEAST_ROWS, _MOST_TERMS // max(n_numbers, 1), _MOST_FREQUENCIES // n_levels
    return min(limits)


@dataclass(frozen=True, eq=False)
class _Scale:
    """Means and standard deviations (D',) of the observed numbers."""

    mean: np.ndarray
    std: np.ndarray

    @classmethod
    def of(cls, z, missing):
        observed = np.ones(z.shape) if missing is None else (~missing).astype(float)
        total = observed.sum(0).clip(min=1)
        mean = np.where(observed > 0, z, 0.0).sum(0) / total
        std = (np.where(observed > 0, z - mean, 0.0) ** 2).sum(0) / total
        return cls(mean, np.sqrt(np.where(std > 0, std, 1.0)))


@dataclass(frozen=True, eq=False)
class _Data:
    """Rows as EM reads them.

    Parameters
    ----------
    levels : ndarray or sparse matrix of shape (n, L)
        Indicators of the observed levels.
    z, observed : ndarray of shape (n, D')
        Standardised numbers, 0 where they are missing, and indicators of the others.
    """

    levels: object
    z: np.ndarray
    observed: np.ndarray

    @classmethod
    def of(cls, categories, rows, z, missing, order, scale):
        """The rows with the indices of an order, numbers standardised and clipped."""
        z = ((z[order] - scale.mean) / scale.std).clip(-_FAR, _FAR)
        observed = np.ones(z.shape) if missing is None else (~missing[order]).astype(float)
        z = np.where(observed > 0, z, 0.0)
        codes = rows.values[order][:, categories.columns]
        seen = codes < categories.sizes
        if rows.observed is not None:
            seen &= rows.observed[order][:, categories.columns]
        i, j = np.nonzero(seen)
        start = categories.sizes.cumsum() - categories.sizes
        place = start[j] + codes[i, j].astype(np.int64)
        shape = len(order), int(categories.sizes.sum())
        levels = sparse.csr_matrix((np.ones(len(i), np.float32), (i, place)), shape)
        if shape[0] * shape[1] <= _MOST_DENSE:
            levels = levels.toarray()
        return cls(levels, z, observed)

    def __len__(self):
        return len(self.z)

    def part(self, index):
        """Rows of a slice."""
        return _Data(self.levels[index], self.z[index], self.observed[index])


@dataclass(frozen=True, eq=False)
class _Classes:
    """M classes, and the priors that they shrink to.

    Parameters
    ----------
    weights : ndarray of shape (M,)
    log_pmf : ndarray of shape (M, L)
    means, variances : ndarray of shape (M, D')
        In units of standardised numbers.
    pmf : ndarray of shape (L,)
        Frequencies of all rows.
    starts : ndarray of shape (C,) of int
        First level of each column.
    """

    weights: np.ndarray
    log_pmf: np.ndarray
    means: np.ndarray
    variances: np.ndarray
    pmf: np.ndarray
    starts: np.ndarray

    @classmethod
    def single(cls, categories, data):
        """One class: all rows."""
        starts = categories.sizes.cumsum() - categories.sizes
        d = data.z.shape[1]
        empty = cls(
            np.ones(1), categories.log_pmf[None], np.zeros((1, d)), np.ones((1, d)),
            np.exp(categories.log_pmf), starts,
        )  # fmt: skip
        return empty.maximised(data, np.ones((len(data), 1), np.float32))

    def split(self, rng):
        """Twice as many classes: each row goes at random, but not evenly, to a half of its own."""
        noise = np.exp(0.5 * rng.standard_normal((2, *self.log_pmf.shape)))
        pmf = (np.exp(self.log_pmf) * noise).reshape(-1, self.log_pmf.shape[1])
        shift = 0.5 * rng.standard_normal(self.means.shape) * np.sqrt(self.variances)
        return _Classes(
            np.tile(self.weights / 2, 2), np.log(self._normalised(pmf)),
            np.concatenate([self.means + shift, self.means - shift]),
            np.tile(self.variances, (2, 1)), self.pmf, self.starts,
        )  # fmt: skip

    def fitted(self, data):
        """The classes after EM."""
        classes, before = self, -np.inf
        for _ in range(_MOST_STEPS):
            joint = classes.log_joint(data)
            total = logsumexp(joint, 1)
            after = total.mean()
            if after - before < _LEAST_STEP:
                break
            before = after
            classes = classes.maximised(data, np.exp(joint - total[:, None]))
        return classes

    def score(self, data):
        """Log-likelihood of the categories of each row, the mean of without and given numbers."""
        of_levels = self._of_levels(data) + np.log(self.weights)
        alone = logsumexp(of_levels, 1)
        if not data.z.shape[1]:
            return alone
        of_numbers = self._of_numbers(data)
        marginal = logsumexp(of_numbers + np.log(self.weights), 1)
        return (alone + logsumexp(of_levels + of_numbers, 1) - marginal) / 2

    def in_units(self, scale):
        """The parameters, means and variances in units of components."""
        means, variances = self.means * scale.std + scale.mean, self.variances * scale.std**2
        return FittedClasses(self.weights, self.log_pmf, means, variances)

    def log_joint(self, data):
        """Log-densities of rows and each class, (n, M)."""
        out = self._of_levels(data) + np.log(self.weights).astype(np.float32)
        return out + self._of_numbers(data).astype(np.float32) if data.z.shape[1] else out

    def _of_levels(self, data):
        return data.levels @ self.log_pmf.T.astype(np.float32)

    def _of_numbers(self, data):
        precision = 1 / self.variances
        constant = self.means**2 * precision + np.log(2 * np.pi * self.variances)
        linear = data.z @ (self.means * precision).T
        return linear - 0.5 * (data.z**2 @ precision.T + data.observed @ constant.T)

    def maximised(self, data, responsibilities):
        """The classes of largest likelihood for the responsibilities (n, M) of the classes."""
        r = responsibilities.astype(np.float32)
        total = r.sum(0, dtype=np.float64)
        weights = (total + _PRIOR_ROWS) / (total + _PRIOR_ROWS).sum()
        counts = np.asarray((data.levels.T @ r).T, np.float64)
        pmf = self._normalised(counts + _PRIOR_ROWS * self.pmf)
        n = r.T @ data.observed + _PRIOR_ROWS
        means = r.T @ data.z / n
        # The prior rows have mean 0 and variance 1.
        second = (r.T @ data.z**2 + _PRIOR_ROWS) / n
        variances = (second - means**2).clip(min=_LEAST_VARIANCE)
        return _Classes(weights, np.log(pmf), means, variances, self.pmf, self.starts)

    def _normalised(self, values):
        """Values (M, L) divided by their sum in each column."""
        sums = np.add.reduceat(values, self.starts, 1)
        sizes = np.diff(np.append(self.starts, values.shape[1]))
        return values / sums.repeat(sizes, 1)
