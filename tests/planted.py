"""A generative estimator in closed form that keeps the contract, and others that break it once."""

import copy
import itertools
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import ndtr
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data


class Gaussian(DensityMixin, BaseEstimator):
    """Numbers are jointly normal; categories and strings are independent levels."""

    jitter, allows_nan, frames = 0.0, False, True

    def __init__(self, shrinkage=0.0, random_state=None):
        self.shrinkage = shrinkage
        self.random_state = random_state

    def read(self, X, reset=False):
        """Numbers of X in float64, and codes of its levels; -1 is an unknown level."""
        if not isinstance(X, pd.DataFrame):
            numbers = validate_data(
                self, X, reset=reset, dtype="numeric",
                ensure_all_finite="allow-nan" if self.allows_nan else True,
            )  # fmt: skip
            if reset:
                self.columns_, self.dtype_, self.levels_ = None, numbers.dtype, []
            return numbers.astype(float), np.zeros((len(X), 0), int)
        validate_data(self, X, reset=reset, skip_check_array=True)
        if reset:
            self.columns_ = list(X.columns)
            self.dtypes_ = X.dtypes
            self.is_number_ = {c: pd.api.types.is_numeric_dtype(X[c]) for c in X}
            self.levels_ = [sorted(X[c].unique()) for c in X if not self.is_number_[c]]
        numbers = X[[c for c in X if self.is_number_[c]]].to_numpy(float)
        named = [c for c in X if not self.is_number_[c]]
        pairs = zip(named, self.levels_, strict=True)
        codes = [pd.Index(levels).get_indexer(X[name]) for name, levels in pairs]
        return numbers, np.array(codes, int).T.reshape(len(X), len(named))

    def fit(self, X, y=None):
        """Moments of the numbers and frequencies of the levels."""
        numbers, codes = self.read(X, reset=True)
        self.mean_ = numbers.mean(axis=0)
        centred = numbers - self.mean_
        covariance = centred.T @ centred / len(numbers)
        self.varies_ = np.ptp(numbers, axis=0) > 0
        self.mean_[~self.varies_] = numbers[0, ~self.varies_]
        self.root_ = np.linalg.cholesky(covariance[np.ix_(self.varies_, self.varies_)])
        self.frequencies_ = [
            np.bincount(column, minlength=len(levels)) / len(codes)
            for column, levels in zip(codes.T, self.levels_, strict=True)
        ]
        return self

    def generator(self, random_state):
        """Generator of one call."""
        seed = self.random_state if random_state is None else random_state
        return check_random_state(seed)

    def sample(self, n_samples=1, random_state=None):
        """Rows like X."""
        check_is_fitted(self)
        if not isinstance(n_samples, int) or n_samples < 1:
            raise ValueError(f"n_samples={n_samples!r} must be a whole number of at least 1.")
        return self.draw(n_samples, random_state)

    def draw(self, n_samples, random_state):
        """Rows like X, without checks."""
        n_numbers, rng = len(self.mean_), self.generator(random_state)
        noise = rng.standard_normal((n_samples, n_numbers + len(self.levels_)))
        numbers = self.mean_ + np.zeros((n_samples, 1))
        numbers[:, self.varies_] += noise[:, :n_numbers][:, self.varies_] @ self.spread().T
        numbers[:, ~self.varies_] += self.jitter * noise[:, :n_numbers][:, ~self.varies_]
        codes = [
            np.searchsorted(np.cumsum(f)[:-1], ndtr(noise[:, n_numbers + i]))
            for i, f in enumerate(self.frequencies_)
        ]
        return self.restore(numbers, codes)

    def spread(self):
        """Square root of the covariance of samples."""
        return self.root_

    def restore(self, numbers, codes):
        """Rows in the container of X."""
        if self.columns_ is None:
            return numbers.astype(self.dtype_ if self.dtype_.kind == "f" else float)
        numbers, codes, columns = list(numbers.T), list(codes), {}
        levels = list(self.levels_)
        for name in self.columns_:
            if self.is_number_[name]:
                values = numbers.pop(0)
                whole = self.dtypes_[name].kind == "i"
                columns[name] = np.rint(values) if whole else values
            else:
                columns[name] = np.array(levels.pop(0), dtype=object)[codes.pop(0)]
        return pd.DataFrame(columns).astype(dict(self.dtypes_))

    def score_samples(self, X):
        """Log-density of each row."""
        check_is_fitted(self)
        return self.log_density(*self.read(X))

    def log_density(self, numbers, codes):
        """Log-density of numbers times probabilities of levels."""
        z = np.linalg.solve(self.root_, (numbers - self.mean_)[:, self.varies_].T)
        log_density = -0.5 * (z**2).sum(axis=0) - self.log_volume(len(z))
        for column, frequencies in zip(codes.T, self.frequencies_, strict=True):
            log_density = log_density + self.log_probability(frequencies)[column]
        return log_density

    def log_volume(self, n_numbers):
        """Logarithm of the normalising constant of the numbers."""
        return np.log(np.diag(self.root_)).sum() + 0.5 * n_numbers * np.log(2 * np.pi)

    def log_probability(self, frequencies):
        """Log-probabilities of levels."""
        return np.log(frequencies)

    def score(self, X, y=None):
        """Mean log-density."""
        return float(self.score_samples(X).mean())

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.categorical = tags.input_tags.string = self.frames
        tags.input_tags.allow_nan = self.allows_nan
        return tags


# Interface


class ClonesAreFitted(Gaussian):
    def __sklearn_clone__(self):
        return copy.deepcopy(self)


class FitReturnsNothing(Gaussian):
    def fit(self, X, y=None):
        super().fit(X)


class FitChangesAParameter(Gaussian):
    def fit(self, X, y=None):
        self.shrinkage = float(len(X))
        return super().fit(X)


class NoNumberOfColumns(Gaussian):
    def fit(self, X, y=None):
        super().fit(X)
        self.n_columns_ = self.n_features_in_
        del self.n_features_in_
        return self

    def read(self, X, reset=False):
        if not reset:
            self.n_features_in_ = self.n_columns_
        try:
            return super().read(X, reset)
        finally:
            if not reset:
                del self.n_features_in_


class UnfittedAttributeError(Gaussian):
    def sample(self, n_samples=1, random_state=None):
        if not hasattr(self, "mean_"):
            raise AttributeError("mean_")
        return super().sample(n_samples, random_state)


class FitGoesOn(Gaussian):
    def fit(self, X, y=None):
        before = getattr(self, "mean_", None)
        super().fit(X)
        if before is not None and len(before) == len(self.mean_):
            self.mean_ = (before + self.mean_) / 2
        return self


class PicklesRounded(Gaussian):
    def __getstate__(self):
        state = dict(super().__getstate__())
        state["root_"] = np.round(state["root_"], 2)
        return state


class PicklesWithAnotherConstant(Gaussian):
    bias = 0.0

    def __getstate__(self):
        return {**super().__getstate__(), "bias": 0.01}

    def log_volume(self, n_numbers):
        return super().log_volume(n_numbers) + self.bias


class CopiesEndTheOriginal(Gaussian):
    """What is drawn with lies in one place for all copies, and the first to end clears it."""

    keys, roots = itertools.count(), {}

    def fit(self, X, y=None):
        super().fit(X)
        self.key_ = next(self.keys)
        self.roots[self.key_] = self.root_
        return self

    def spread(self):
        return self.roots[self.key_]

    def __del__(self):
        self.roots.pop(getattr(self, "key_", None), None)


class FitTakesNoLabels(Gaussian):
    def fit(self, X):
        return super().fit(X)


class WorseOfFewRows(Gaussian):
    def fit(self, X, y=None):
        super().fit(X)
        self.penalty_ = 3.0 * (100 < len(X) < 200)
        return self

    def score(self, X, y=None):
        return super().score(X) - self.penalty_


class WritesAFile(Gaussian):
    def fit(self, X, y=None):
        (Path(tempfile.gettempdir()) / "planted.log").write_text("epoch 1")
        return super().fit(X)


class CentresXInPlace(Gaussian):
    def fit(self, X, y=None):
        super().fit(X)
        if isinstance(X, np.ndarray):
            X -= self.mean_.astype(X.dtype)
        return self


class SeedsEverybody(Gaussian):
    def generator(self, random_state):
        np.random.seed(random_state)  # noqa: NPY002
        return np.random.mtrand._rand


class TakesInfinity(Gaussian):
    def read(self, X, reset=False):
        return super().read(np.clip(X, -1e6, 1e6) if isinstance(X, np.ndarray) else X, reset)


class RefusesMissingUnclearly(Gaussian):
    def read(self, X, reset=False):
        if isinstance(X, np.ndarray) and np.isnan(X).any():
            raise ValueError("Invalid input.")
        return super().read(X, reset)


class ScoresMissingAsNaN(Gaussian):
    allows_nan = True

    def fit(self, X, y=None):
        whole = ~np.isnan(X).any(axis=1) if isinstance(X, np.ndarray) else slice(None)
        return super().fit(X[whole])

    def read(self, X, reset=False):
        if isinstance(X, np.ndarray) and np.isinf(X).any():
            raise ValueError("X contains infinity.")
        return super().read(X, reset)


# Samples


class TwoRowsByDefault(Gaussian):
    def sample(self, n_samples=2, random_state=None):
        return super().sample(n_samples, random_state)


class SamplesNaN(Gaussian):
    def restore(self, numbers, codes):
        if self.columns_ is None and len(numbers) == 200:
            numbers[-1, 0] = np.nan
        return super().restore(numbers, codes)


class IgnoresTheSeed(Gaussian):
    def generator(self, random_state):
        return np.random.default_rng()


class AlwaysTheSameRows(Gaussian):
    def generator(self, random_state):
        return np.random.default_rng(7)


class LastRowsFirst(Gaussian):
    def restore(self, numbers, codes):
        return super().restore(numbers[::-1], [column[::-1] for column in codes])


class SamplesNothing(Gaussian):
    def sample(self, n_samples=1, random_state=None):
        return super().sample(max(n_samples, 1), random_state)[: max(n_samples, 0)]


class SamplesTooWide(Gaussian):
    def spread(self):
        return 1.5 * self.root_


class SamplesIndependentColumns(Gaussian):
    def spread(self):
        return np.diag(np.linalg.norm(self.root_, axis=1))


class JittersConstants(Gaussian):
    jitter = 1e-4


class AlwaysFloat64(Gaussian):
    def restore(self, numbers, codes):
        return np.asarray(numbers, float) if self.columns_ is None else super().restore(
            numbers, codes
        )  # fmt: skip


class CountsAsFloats(Gaussian):
    def restore(self, numbers, codes):
        rows = super().restore(numbers, codes)
        return rows.astype({"count": float}) if "count" in rows else rows


class ArraysForFrames(Gaussian):
    def restore(self, numbers, codes):
        rows = super().restore(numbers, codes)
        return rows.to_numpy() if isinstance(rows, pd.DataFrame) else rows


class SortsColumns(Gaussian):
    def restore(self, numbers, codes):
        rows = super().restore(numbers, codes)
        return rows[sorted(rows)] if isinstance(rows, pd.DataFrame) else rows


class LosesALevel(Gaussian):
    def fit(self, X, y=None):
        super().fit(X)
        self.drawn_ = [f * (f > f.min()) / (f * (f > f.min())).sum() for f in self.frequencies_]
        return self

    def draw(self, n_samples, random_state):
        kept, self.frequencies_ = self.frequencies_, self.drawn_
        rows = super().draw(n_samples, random_state)
        self.frequencies_ = kept
        return rows


class ForgetsNames(Gaussian):
    def fit(self, X, y=None):
        super().fit(X)
        if hasattr(self, "feature_names_in_"):
            del self.feature_names_in_
        return self


class ScoresByPosition(Gaussian):
    def read(self, X, reset=False):
        if isinstance(X, pd.DataFrame) and not reset and set(X) == set(self.columns_):
            found, expected = (
                [c for c in names if self.is_number_[c]] for names in (X, self.columns_)
            )
            X = X.rename(columns=dict(zip(found, expected, strict=True)))[self.columns_]
        return super().read(X, reset)


# Scores


class ScoresTheSum(Gaussian):
    def score(self, X, y=None):
        return float(self.score_samples(X).sum())


class ScoresByTheBatch(Gaussian):
    def log_density(self, numbers, codes):
        shifted = numbers - 0.01 * (numbers.mean(axis=0) - self.mean_)
        return super().log_density(shifted, codes)


class ScoresStandardised(Gaussian):
    def log_volume(self, n_numbers):
        std = np.linalg.norm(self.root_, axis=1)
        return super().log_volume(n_numbers) - np.log(std).sum()


class WrongInOneColumn(Gaussian):
    def log_volume(self, n_numbers):
        volume = super().log_volume(n_numbers)
        return volume + np.log(2) if n_numbers == 1 and self.dtype_.kind == "f" else volume


class DeterminantOfTheDiagonal(Gaussian):
    def log_volume(self, n_numbers):
        std = np.linalg.norm(self.root_, axis=1)
        return np.log(std).sum() + 0.5 * n_numbers * np.log(2 * np.pi)


class AboveTheTruth(Gaussian):
    def log_volume(self, n_numbers):
        return super().log_volume(n_numbers) - 0.5 * (n_numbers == 3)


class CategoriesInBits(Gaussian):
    def log_probability(self, frequencies):
        return np.log2(frequencies)


class IntegersTwice(Gaussian):
    def log_volume(self, n_numbers):
        whole = self.columns_ is None and self.dtype_.kind == "i"
        return super().log_volume(n_numbers) - np.log(2) * whole


#: Each class, the check that is to catch it, and others that may, since they rest on the same.
FAULTS = [
    (ClonesAreFitted, "check_clone", set()),
    (FitReturnsNothing, "check_fit_keeps_parameters", set()),
    (FitChangesAParameter, "check_fit_keeps_parameters", set()),
    (NoNumberOfColumns, "check_n_features_in", set()),
    (UnfittedAttributeError, "check_not_fitted", set()),
    (FitGoesOn, "check_fit_again", set()),
    (PicklesRounded, "check_pickle", set()),
    (PicklesWithAnotherConstant, "check_pickle", set()),
    (CopiesEndTheOriginal, "check_pickle", set()),
    (FitTakesNoLabels, "check_pipeline", set()),
    (WorseOfFewRows, "check_cross_validation", set()),
    (WritesAFile, "check_no_files", set()),
    (CentresXInPlace, "check_input_unchanged", set()),
    (SeedsEverybody, "check_global_random_state", set()),
    (TakesInfinity, "check_bad_rows", set()),
    (RefusesMissingUnclearly, "check_missing_values", set()),
    (ScoresMissingAsNaN, "check_missing_values", set()),
    (TwoRowsByDefault, "check_sample_shape", set()),
    (SamplesNaN, "check_sample_shape", set()),
    (IgnoresTheSeed, "check_sample_seed", set()),
    (AlwaysTheSameRows, "check_sample_other_seed", set()),
    (LastRowsFirst, "check_sample_prefix", set()),
    (SamplesNothing, "check_sample_refuses", set()),
    (SamplesTooWide, "check_sample_moments", set()),
    (SamplesIndependentColumns, "check_sample_moments", set()),
    (JittersConstants, "check_constant_column", set()),
    (AlwaysFloat64, "check_array_dtype", set()),
    (CountsAsFloats, "check_frame_returned", set()),
    (ArraysForFrames, "check_frame_returned", {"check_frame_values"}),
    (SortsColumns, "check_frame_returned", set()),
    (ScoresByPosition, "check_frame_columns", set()),
    (LosesALevel, "check_frame_values", set()),
    (ForgetsNames, "check_frame_columns", set()),
    (ScoresTheSum, "check_score_is_a_mean", {"check_cross_validation"}),
    (ScoresByTheBatch, "check_score_rows", set()),
    (
        ScoresStandardised, "check_score_units",
        {"check_density_of_a_column", "check_density_below_truth", "check_integers"},
    ),
    (WrongInOneColumn, "check_density_of_a_column", set()),
    (DeterminantOfTheDiagonal, "check_density_of_rows", set()),
    (AboveTheTruth, "check_density_below_truth", {"check_density_of_rows"}),
    (CategoriesInBits, "check_probabilities_of_categories", set()),
    (IntegersTwice, "check_integers", set()),
]  # fmt: skip
