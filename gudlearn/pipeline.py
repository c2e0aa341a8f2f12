r"""Densities behind transformations: log p(x) = log p(T(x)) + log|det dT/dx|.

Each kind of step has one function for its log-determinant. A step without one is refused before
anything is fitted, since a score that leaves it out is in the units of the transformed data.
"""

import copy
import inspect
from contextlib import nullcontext
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.base import is_outlier_detector
from sklearn.pipeline import Pipeline
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted, validate_data

from gudlearn._atomic import isolated, unchanged_on_error
from gudlearn._random import distinct_keys, keyed_uniform, row_keys
from gudlearn._typing import Floats, Given, RandomState, Rows
from gudlearn._versions import Versioned
from gudlearn.data.columns import check_n_samples, column_names
from gudlearn.data.containers import cast_like, clip_to, rows_held_by
from gudlearn.data.frames import in_order
from gudlearn.data.reading import read_checked
from gudlearn.transforms.determinants import (
    check_by_column,
    check_step,
    flatten_steps,
    step_log_det,
)
from gudlearn.transforms.grid import bin_indices, resolve_bin_width
from gudlearn.transforms.inversion import draw_final, draw_given, draw_through
from gudlearn.transforms.tables import (
    check_takes_mixed,
    is_mixed,
    named_like_fit,
    with_draws,
    without_search,
)

__all__ = ["GenerativePipeline"]

# Uniform draws inside a bin per scored row.
_DRAWS = 16
# Streams of keyed noise: shift and stride of the lattice of draws, and positions in bins in fit.
_SHIFT, _STRIDE, _PLACE = range(3)


class _Learned:
    """An attribute learned by the pipeline itself, else by its first step.

    Not a data descriptor: attributes that `fit` stores on the instance come first.
    """

    def __set_name__(self, owner, name):
        self.name = name

    def __get__(self, instance, owner=None):
        if instance is None:
            return self
        return getattr(super(GenerativePipeline, instance), self.name)


def _can_sample(self):
    getattr(self._final_estimator, "sample")  # noqa: B009 (its AttributeError is the answer)
    return all(hasattr(step, "inverse_transform") for _, step in flatten_steps(self.steps[:-1]))


class GenerativePipeline(Versioned, Pipeline):
    r"""Pipeline of transformers and a density estimator, in the units of the data.

    scikit-learn's own Pipeline scores in the units of the transformed data, so that scores of
    different scalers cannot be compared, and it cannot sample. This one adds the log-determinant
    of every step to the score and inverts the steps to sample.

    Parameters
    ----------
    steps : list of (str, estimator) tuples
        Transformers with a known log-determinant, then a density estimator with `score_samples`
        and, to draw from it, `sample`: GUDGenerator, GaussianMixture, KernelDensity, ...
        Transformers may be StandardScaler, MinMaxScaler, MaxAbsScaler, RobustScaler,
        PowerTransformer, QuantileTransformer, PCA with all components, FunctionTransformer without
        a function, MarginalGaussianizer, the bases of gudlearn, "passthrough", a Pipeline of these,
        and any class with a method `log_abs_det_jacobian(X)`, one number per row, or an attribute
        `log_abs_det_jacobian_`, one number, that is declared in the class (an annotation is
        enough). Every other step is refused by `fit`.
    bin_width : "auto", float, array-like of shape (n_features,) or None, default=None
        None scores a density. A number, or one per column, says that the data are whole multiples
        of it: scores are then log-probabilities, and samples are rounded to the grid. "auto" is 1
        if all columns are integers and None if none is; a mixture of both is an error, since one
        score cannot be a density and a probability (None cannot be given for a single column
        either).
    memory : str or object with the joblib.Memory interface, default=None
        Cache of fitted transformers, as in Pipeline.
    verbose : bool, default=False
        Whether to print the time each step took, as in Pipeline.
    transform_input : list of str, default=None
        Names of metadata to transform, as in Pipeline.

    Attributes
    ----------
    named_steps : Bunch
        The steps by name.
    bin_width_ : ndarray of shape (n_features,) or None
        The bin widths in use.
    n_features_in_ : int
        Number of columns seen in fit.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the columns, if X had names that are all strings.

    See Also
    --------
    sklearn.pipeline.Pipeline : The same without determinants and samples.

    Notes
    -----
    For a density, with T the steps before the last,

    .. math:: \log p(x) = \log p_{\mathrm{last}}(T(x)) + \log|\det dT/dx|.

    With `bin_width` w the steps are fitted on x + w (u - 1/2), u uniform, and rows are scored by
    the mean of log p(x + w (u - 1/2)) + sum log w over 16 stratified draws of u. It is a bound: its
    expectation is at most log P(x). The draws follow from the row's content, so that a score does
    not depend on the other rows.

    QuantileTransformer is a piecewise linear map that ends at the smallest and the largest value
    it was fitted on: the density outside is zero and the score minus infinity, also for
    `bin_width`, where draws in the outermost bins can fall outside.

    Some transformers (QuantileTransformer, PowerTransformer) map no row to parts of their output
    space. Samples that fall there are drawn again, and the probability that the last step assigns
    to such parts is missing from the density.

    Integer columns are sampled as integers only with `bin_width`; without it they have a density,
    unlike those of a GUDGenerator.

    Without transformers before the last step, X may be a frame of any types that the last step
    takes, with missing values; with them, X holds numbers and no NaN. Behind transformers a
    GUDGenerator whose ``bin_width`` and ``schema`` are "auto" is fitted with ``bin_width=None``:
    grids and repeated values of transformed data are not those of the data, and log-determinants do
    not apply to probabilities. Labels are passed to `fit` only: scores and samples are
    those of all classes, and for conditional samples use the generator itself.

    Examples
    --------
    >>> import numpy as np
    >>> from gudlearn import GenerativePipeline
    >>> from sklearn.mixture import GaussianMixture
    >>> from sklearn.preprocessing import PowerTransformer
    >>> X = np.exp(np.random.default_rng(0).normal(size=(500, 2)))
    >>> model = GenerativePipeline(
    ...     [("power", PowerTransformer()), ("mixture", GaussianMixture(random_state=0))]
    ... )
    >>> print(f"{model.fit(X).score(X):.2f} nats")
    -2.76 nats
    >>> model.sample(3, random_state=0).shape
    (3, 2)
    """

    n_features_in_ = _Learned()
    feature_names_in_ = _Learned()

    def __init__(
        self, steps: list[tuple[str, Any]], *, bin_width: ArrayLike | None = None,
        memory: Any = None, verbose: bool = False, transform_input: list[str] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(steps, transform_input=transform_input, memory=memory, verbose=verbose)
        self.bin_width = bin_width

    def fit(self, X: ArrayLike, y: ArrayLike | None = None, **params: Any) -> Self:
        """Fit all steps, one after another.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or None, default=None
            Passed to the steps.
        **params : dict
            Metadata, as in Pipeline.

        Returns
        -------
        self : GenerativePipeline
        """
        plain = self._has_transformers or self.bin_width is not None
        with without_search(self.steps[-1][1]) if plain else nullcontext():
            return super().fit(X, y, **params)

    @property
    def _has_transformers(self):
        return any(True for _ in flatten_steps(self.steps[:-1]))

    # `fit`, `fit_predict` and `fit_transform` all begin here.
    @isolated
    def _fit(self, X, y=None, *args, **kwargs):
        with unchanged_on_error(self):
            X = self._prepare(X)
            self._trained_on = X[:0].copy() if hasattr(X, "copy") else X[:0]
        if self._mixed:
            return super()._fit(X, y, *args, **kwargs)
        self._typical = np.array(X[:1], dtype=np.float64)
        first_row = self._like_input(self._typical)
        Z = super()._fit(X, y, *args, **kwargs)
        # Some errors show in fitted steps only: raise them before the last step is trained.
        self._forward(first_row)
        return Z

    def _prepare(self, X):
        """Check X and the steps; return X, dequantised where it has bins."""
        self._validate_steps()
        # `validate_data` deletes names of an earlier fit, which may be those of the first step.
        vars(self).setdefault("feature_names_in_", None)
        self._mixed = is_mixed(X)
        if self._mixed:
            return self._prepare_mixed(X)
        checked = validate_data(self, X, dtype="numeric")
        self._check_steps(*checked.shape)
        is_frame = hasattr(X, "iloc")
        X = X if is_frame else checked
        self._no_rows = (X.iloc[:0] if is_frame else X[:0]).copy()
        self.bin_width_ = resolve_bin_width(self, self._dtypes())
        if self.bin_width_ is None:
            return X
        levels = bin_indices(self, checked)
        # Equal rows must not be given equal noise here.
        values = self._inside_bins(levels, distinct_keys(levels))
        return self._like_input(
            values.astype(checked.dtype if checked.dtype.kind == "f" else float)
        )

    def _prepare_mixed(self, X):
        """Check a frame that holds more than numbers, and the steps."""
        table = read_checked(self, X, reset=True)
        self._check_steps(*np.shape(X))
        step = next(flatten_steps(self.steps[:-1]), (None,))[0]
        check_takes_mixed(table, column_names(self), step, self.bin_width)
        self.bin_width_ = None
        return X

    def _check_steps(self, n_rows, n_features):
        for name, step in flatten_steps(self.steps[:-1]):
            check_step(name, step, n_rows, n_features)
        name, final = self.steps[-1]
        if not hasattr(final, "score_samples") or is_outlier_detector(final):
            raise TypeError(
                f"The last step {name!r} must be a density estimator, whose score_samples is a "
                f"log-density; got {final!r}."
            )
        if not any(flatten_steps(self.steps[:-1])) and self.bin_width is None:
            return
        parameters = final.get_params() if hasattr(final, "get_params") else {}
        for parameter, value in parameters.items():
            inner = parameter == "bin_width" or parameter.endswith("__bin_width")
            if inner and not (value is None or (isinstance(value, str) and value == "auto")):
                raise ValueError(
                    f"{name}__{parameter}={value!r} refers to data that are rescaled or "
                    "dequantised before they reach it. Give bin_width to the GenerativePipeline "
                    f"and set {name}__{parameter}=None."
                )

    def _dtypes(self):
        if hasattr(self._no_rows, "iloc"):
            return list(self._no_rows.dtypes)
        return [self._no_rows.dtype] * self._no_rows.shape[1]

    def _like_input(self, X):
        """Put values into the container that fit was given, keeping their dtype."""
        template = getattr(self, "_no_rows", X)
        return type(template)(X, columns=template.columns) if hasattr(template, "iloc") else X

    def __sklearn_is_fitted__(self):
        """Tell whether the last step is fitted, and the bin width known.

        Returns
        -------
        bool
        """
        return super().__sklearn_is_fitted__() and (
            self.bin_width is None or hasattr(self, "bin_width_")
        )

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.estimator_type = "density_estimator"
        tags.input_tags.sparse = False
        return tags

    def __getitem__(self, ind):
        """Return a step, or the pipeline of some consecutive ones.

        Parameters
        ----------
        ind : int, str or slice
            A slice with the last step is a GenerativePipeline (of the density in the units it
            begins with), any other a scikit-learn Pipeline.

        Returns
        -------
        estimator or Pipeline
        """
        if not isinstance(ind, slice):
            return super().__getitem__(ind)
        part = Pipeline(self.steps, memory=self.memory, verbose=self.verbose)[ind]
        if not part.steps or range(len(self))[ind][-1] != len(self) - 1:
            return part
        if len(part) < len(self):
            return GenerativePipeline(part.steps, memory=self.memory, verbose=self.verbose)
        whole = copy.copy(self)
        whole.steps = part.steps
        return whole

    def _forward(self, X):
        """Transform X; return it and the log-determinant of every row."""
        log_det = np.zeros(len(X))
        for _, step in flatten_steps(self.steps[:-1]):
            # A copy: steps with copy=False write into what they transform.
            Z = step.transform(X.clone() if hasattr(X, "clone") else X.copy())
            log_det += step_log_det(step, X, Z)
            X = Z
        return X, log_det

    def _inside_bins(self, levels, keys):
        """Rows at random positions in the bins of indices `levels` (n, F), as in fit."""
        u = keyed_uniform(keys, levels.shape[1], _PLACE).numpy()
        return (levels + u - 0.5) * self.bin_width_

    def _as_trained(self, X):
        """Rows X (n, F) as the last step received them, if they were training rows."""
        if self._takes_any:
            return X
        X = validate_data(self, X, dtype=np.float64, reset=False)
        binned = getattr(self, "bin_width_", None) is not None
        if binned:
            levels = bin_indices(self, X)
            X = self._inside_bins(levels, row_keys(levels))
        Z = np.array(self._forward(self._like_input(X))[0], dtype=np.float64)
        template = getattr(self, "_trained_on", X)
        # A row that the dtypes of training cannot hold was not trained on; dequantised values were
        # rounded.
        held = rows_held_by(template, X)
        if held is not None and (held | binned).any():
            Z[held | binned] = self._forward(cast_like(template, X[held | binned]))[0]
        return Z

    @property
    def _takes_any(self):
        """Whether X goes to the last step as it is, whatever it holds."""
        return getattr(self, "_mixed", False)

    def _in_order(self, X):
        named = hasattr(self, "feature_names_in_")
        return in_order(X, self.feature_names_in_) if named else X

    def _log_density(self, X, reference=None):
        """Log-density of rows X; the last step excludes their rows `reference`, if not None."""
        Z, log_det = self._forward(self._like_input(X))
        final = self.steps[-1][1]
        if reference is None:
            scores = final.score_samples(Z)
        else:
            scores = final.score_samples_leave_one_out(Z, reference)
        return np.asarray(scores, dtype=np.float64) + log_det

    @isolated
    def score_samples(self, X: ArrayLike) -> Floats:
        """Compute the log-likelihood of each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows in the units of the data.

        Returns
        -------
        ndarray of shape (n_samples,)
            Log-density in nats, in the units of X; with `bin_width` a lower bound of the
            log-probability.
        """
        return self._scores(X)

    @isolated
    def score_samples_leave_one_out(
        self, X: ArrayLike, reference: ArrayLike | None = None,
    ) -> Floats:  # fmt: skip
        """Compute log-likelihoods as if rows were not in the reference set of the last step.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows in the units of the data.
        reference : array-like of shape (n_samples, n_features) or None, default=None
            The training rows that rows of X correspond to, where they differ from X.

        Returns
        -------
        ndarray of shape (n_samples,)
            As `score_samples`, and equal to it where the last step has no reference set (the
            ``retrieval`` of a GUDGenerator). Steps whose transform differs from their
            fit_transform in the last bit, as PCA's does, hide which rows these are.
        """
        check_is_fitted(self)
        if not self.uses_reference_set:
            return self._scores(X)
        return self._scores(X, self._as_trained(X if reference is None else reference))

    @property
    def uses_reference_set(self):
        """Whether the last step looks up training rows."""
        return getattr(self.steps[-1][1], "uses_reference_set", False)

    def _scores(self, X, reference=None):
        check_is_fitted(self)
        if self._takes_any:
            final = self.steps[-1][1]
            if reference is None:
                return final.score_samples(X)
            return final.score_samples_leave_one_out(X, reference)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        widths = getattr(self, "bin_width_", None)
        if widths is None:
            return self._log_density(X, reference)
        levels = bin_indices(self, X)
        keys = row_keys(levels)
        shift, stride = (
            keyed_uniform(keys, X.shape[1], stream).numpy() for stream in (_SHIFT, _STRIDE)
        )
        # A randomly shifted lattice: an odd stride visits each of the strata of a column once.
        stride = 2 * np.floor(stride * _DRAWS / 2) + 1
        total = np.zeros(len(X))
        for draw in range(_DRAWS):
            u = (shift + draw * stride / _DRAWS) % 1.0
            total += self._log_density((levels + u - 0.5) * widths, reference)
        return total / _DRAWS + np.log(widths).sum()

    def score(self, X: ArrayLike, y: ArrayLike | None = None) -> float:
        """Compute the mean log-likelihood of the rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows in the units of the data.
        y : None
            Ignored.

        Returns
        -------
        float
            Mean of `score_samples`, in nats; higher is better.
        """
        return float(np.mean(self.score_samples(X)))

    def bits_per_dim(self, X: ArrayLike) -> float:
        """Compute the mean negative log-likelihood in bits per column.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows in the units of the data.

        Returns
        -------
        float
            Lower is better.
        """
        score_samples = self.score_samples(X)
        return float(-np.mean(score_samples) / (np.shape(X)[1] * np.log(2)))

    @available_if(_can_sample)
    @isolated
    def sample(
        self, n_samples: int = 1, *, given: Given | None = None, random_state: RandomState = None,
    ) -> Rows:  # fmt: skip
        """Draw rows from the last step and invert the transformers.

        Parameters
        ----------
        n_samples : int, default=1
            Number of rows; with ``given``, of samples for each of its rows.
        given : array-like or DataFrame of shape (n_rows, n_features) or None, default=None
            Partially observed rows in the units of the data; NaN marks the values to be drawn, and
            a DataFrame may lack their columns. The steps must transform each column by itself, and
            the last must take ``given``, as GUDGenerator does.
        random_state : int, RandomState, numpy.random.Generator or None, default=None
            Controls this call. None leaves it to the last step.

        Returns
        -------
        ndarray or frame of shape (n_samples, n_features)
            A frame if fit was given one, in the kind of dtype that it had. With ``given`` and
            n_samples of 1 of shape (n_rows, n_features); with several samples an array of shape
            (n_samples, n_rows, n_features), or a DataFrame with an index of (draw, row). If there
            are no transformers it is what the last step returns.

        Raises
        ------
        ValueError
            If a step mixes columns, or the data are on a grid, and ``given`` is passed.
        TypeError
            If the last step does not take ``given``.
        RuntimeError
            If some samples of the last step are outside the range of the transformers however
            often they are drawn.
        """
        check_is_fitted(self)
        check_n_samples(n_samples)
        final = self.steps[-1][1]
        if given is not None:
            return self._complete(given, n_samples, random_state)
        if self._takes_any:
            return draw_final(final, n_samples, random_state)
        return self._restore(draw_through(self.steps, n_samples, random_state))

    def _complete(self, given, n_samples, random_state):
        """Samples given the observed values of rows."""
        name, final = self.steps[-1]
        if "given" not in inspect.signature(final.sample).parameters:
            raise TypeError(
                f"given= needs a last step that takes it, but {name!r} is a "
                f"{type(final).__name__}. Use a GUDGenerator."
            )
        if not self._has_transformers and getattr(self, "bin_width_", None) is None:
            return final.sample(n_samples, given=given, random_state=random_state)
        check_by_column(self.steps[:-1])
        if getattr(self, "bin_width_", None) is not None:
            raise ValueError(
                f"given= cannot be had with bin_width={self.bin_width!r}: the last step is fitted "
                "to values at random places in their bins. Pass bin_width=None."
            )
        index = given.index if isinstance(given, pd.DataFrame) else None
        if index is not None and hasattr(self, "feature_names_in_"):
            given = named_like_fit(given, list(self.feature_names_in_))
        rows = validate_data(
            self, given, dtype=np.float64, reset=False, ensure_all_finite="allow-nan"
        )
        typical = getattr(self, "_typical", np.ones((1, rows.shape[1])))
        whole = self._like_input(np.where(np.isnan(rows), typical, rows))
        drawn = draw_given(self.steps, rows, self._forward(whole)[0], n_samples, random_state)
        out = self._restore(drawn.reshape(-1, drawn.shape[2]))
        if not isinstance(out, pd.DataFrame):
            return out if n_samples == 1 else np.asarray(out).reshape(drawn.shape)
        return with_draws(out, pd.RangeIndex(len(rows)) if index is None else index, n_samples)

    def _restore(self, X):
        """Round to the grid, and put into the container and dtypes that fit was given."""
        widths = getattr(self, "bin_width_", None)
        if widths is not None:
            X = np.rint(X / widths) * widths
        elif not any(flatten_steps(self.steps[:-1])):
            # Without transformers the last step's samples are on its own grid already.
            widths = getattr(self.steps[-1][1], "bin_width_", None)
        if not hasattr(self, "_no_rows"):
            return X
        dtypes = {}
        for column, dtype in enumerate(self._dtypes()):
            if dtype.kind == "f":
                dtypes[column] = dtype
            elif dtype.kind in "iub" and widths is not None and widths[column] % 1 == 0:
                X[:, column] = clip_to(getattr(dtype, "numpy_dtype", dtype), X[:, column])
                dtypes[column] = dtype
        if not hasattr(self._no_rows, "iloc"):
            # An array has one dtype: that of the data if all columns can be cast, else float64.
            return X.astype(dtypes[0]) if len(dtypes) == X.shape[1] else X
        frame = type(self._no_rows)(X).astype(dtypes)
        return frame.set_axis(self._no_rows.columns, axis=1)
