"""What GUDGenerator says of rows: log-likelihoods, joint, marginal and conditional."""

import math
import sys
import warnings

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted

from gudlearn import _fitting
from gudlearn._constraints import validate_set_later
from gudlearn._random import row_keys
from gudlearn.data.containers import as_mask, missing_mask, n_observed_values


def _level_of_the_caller():
    """The level, for `warnings.warn`, of the first frame outside of this package."""
    frame, level = sys._getframe(1), 1
    while frame.f_back and frame.f_globals.get("__name__", "").startswith("gudlearn."):
        frame, level = frame.f_back, level + 1
    return level


class Scores:
    """The scoring half of an estimator that has an engine."""

    def score_samples(self, X, y=None, *, given_columns=None):
        """Log-likelihood of each row, in nats and in the units of X.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features), or images
            NaN marks a missing value, in bases that do not mix its column with others: the score
            of such a row is that of the rest, log p(observed).
        y : array-like of shape (n_samples,), one label or None, default=None
            With ``class_conditional`` the density given these labels; None is the density that
            the network learned without them.
        given_columns : list of str, list of int, bool array of shape (n_features,) or None, \
                default=None
            Columns that are known: the score is log p(others | these). For images a mask of the
            shape of one image, or of its height and width.

        Returns
        -------
        ndarray of shape (n_samples,)
            Log-density; log-probability of discrete columns. With ``likelihood="bound"`` at most
            the model's, in expectation over its internal noise.

        Raises
        ------
        ValueError
            If X is not of the kind that was fitted, y holds an unknown class, the basis mixes
            missing or given columns with others, or ``likelihood="flow"`` is asked for a part.

        Warns
        -----
        UserWarning
            If a part is scored by a network that was fitted with ``conditional_rate=0``: it never
            saw parts of rows, and its bound is loose.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from gudlearn import GUDGenerator
        >>> X = load_iris().data
        >>> gen = GUDGenerator(conditional_rate=0.3, max_iter=20, random_state=0).fit(X)
        >>> gen.score_samples(X[:5], given_columns=[0, 1]).shape
        (5,)
        """
        return self._log_likelihood(*self._checked(X, y, given_columns))

    def _log_likelihood(self, X, labels, given, engine, own=None):
        """Scores of rows; keys `own` say which remembered rows they are, to be left out."""
        if self.likelihood == "flow":
            return engine.each_chunk(X, engine.flow, labels)
        # Summed chunk by chunk: the components of many images would not fit in memory.
        def score(*chunk):
            return engine.bound(*chunk).sum(1)

        return engine.each_chunk(X, score, labels, given, own)

    def _scores_as_new(self, X, itself=None):
        """Scores of rows as if `itself`, (n, F), or X, were not remembered; a flow's as it is."""
        X, labels, given, engine = self._checked(X, None)
        own = row_keys(X if itself is None else itself)
        return self._log_likelihood(X, labels, given, engine, own)

    @property
    def _remembers(self):
        """Whether the network looks rows up."""
        return self._encoding.remembered is not None

    def score_components(self, X, y=None, *, given_columns=None):
        """Log-likelihood of each row split by component, in nats and in the units of X.

        For an exact denoiser the total does not depend on the schedule. The split does: with a
        sequential schedule it is the chain rule, each group given those generated before it.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features), or images
            As in ``score_samples``.
        y : array-like of shape (n_samples,), one label or None, default=None
            As in ``score_samples``.
        given_columns : list of str, list of int, bool array or None, default=None
            As in ``score_samples``.

        Returns
        -------
        ndarray of shape (n_samples, n_components) or (n_samples, n_components + n_features)
            Sums to ``score_samples``. Where components are not data columns and the data are
            discrete, the reconstruction of each column follows the components. What is given or
            missing has 0.

        Raises
        ------
        ValueError
            If ``likelihood="flow"``, whose density is not a sum over components; and as
            ``score_samples`` does.
        """
        if self.likelihood == "flow":
            raise ValueError(
                "likelihood='flow' has no split by component: the flow's density is one number a "
                "row. Use likelihood='bound'."
            )
        X, labels, given, engine = self._checked(X, y, given_columns)
        return engine.each_chunk(X, engine.bound, labels, given)

    def score_columns(self, X, y=None, *, groups=None):
        """Log-likelihood of each entry given all others of its row, in nats and in the units of X.

        It tells which column of a row is odd, or which group of columns. Each is a score of its
        own: this takes as many scores as there are columns, or groups.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features), or images
            NaN as in ``score_samples``.
        y : array-like of shape (n_samples,), one label or None, default=None
            As in ``score_samples``.
        groups : list or dict of columns as of ``given_columns``, or None, default=None
            Groups of columns, which may overlap; each is scored given all columns outside of it.
            None is every column by itself.

        Returns
        -------
        ndarray of shape (n_samples, n_features) or (n_samples, n_groups)
            0 where entries are missing. The sum over columns is no log-likelihood of the row.

        Raises
        ------
        ValueError
            If a group is empty, or the basis mixes a group with other columns; and as
            ``score_samples`` does.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from gudlearn import GUDGenerator
        >>> X = load_iris().data
        >>> gen = GUDGenerator(conditional_rate=0.3, max_iter=20, random_state=0).fit(X)
        >>> gen.score_columns(X[:5]).shape
        (5, 4)
        >>> gen.score_columns(X[:5], groups={"sepal": [0, 1], "petal": [2, 3]}).shape
        (5, 2)
        """
        return self._score_groups(X, y, groups)

    def _score_groups(self, X, y, groups, as_new=False, itself=None):
        """What ``score_columns`` returns; with `as_new` as `_scores_as_new` does."""
        check_is_fitted(self)
        masks = self._masks_of_groups(groups)
        X, labels, _, engine = self._checked(X, y, groups=masks)
        own = row_keys(X if itself is None else itself) if as_new else None
        found = np.zeros((len(X), len(masks)))
        for k, mask in enumerate(masks):
            given = np.broadcast_to(~mask, X.shape)
            found[:, k] = self._log_likelihood(X, labels, given, engine, own)
        return found

    def _masks_of_groups(self, groups):
        """Columns of groups as masks (n_groups, F); None is each column."""
        if groups is None:
            return np.eye(self.n_features_in_, dtype=bool)
        if not isinstance(groups, list | tuple | dict):
            raise TypeError(
                f"groups={groups!r} must be a list, or a dict, of groups of columns, or None."
            )
        groups = list(groups.values()) if isinstance(groups, dict) else list(groups)
        masks = [
            as_mask("groups", group, self._column_names(), self._mask_axes) for group in groups
        ]
        empty = [k for k, mask in enumerate(masks) if not mask.any()]
        if empty or not masks:
            what = f"group {empty[0]} of groups is" if empty else "groups is"
            raise ValueError(f"{what} empty. Pass at least one column in each, or None.")
        return np.stack(masks)

    def score(self, X, y=None, *, given_columns=None):
        """Mean log-likelihood of the rows, in nats and in the units of X.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features), or images
            As in ``score_samples``.
        y : array-like of shape (n_samples,), one label or None, default=None
            As in ``score_samples``; ignored without ``class_conditional``.
        given_columns : list of str, list of int, bool array or None, default=None
            As in ``score_samples``.

        Returns
        -------
        float
        """
        return float(self.score_samples(X, y, given_columns=given_columns).mean())

    def bits_per_dim(self, X, y=None, *, given_columns=None):
        """Mean negative log-likelihood in bits per entry that is scored.

        Constant columns count; what is given or missing does not.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features), or images
            As in ``score_samples``.
        y : array-like of shape (n_samples,), one label or None, default=None
            As in ``score_samples``.
        given_columns : list of str, list of int, bool array or None, default=None
            As in ``score_samples``.

        Returns
        -------
        float
            0 where nothing is scored.
        """
        X, labels, given, engine = self._checked(X, y, given_columns)
        total = -self._log_likelihood(X, labels, given, engine).sum()
        n_scored = n_observed_values(X) if given is None else n_observed_values(np.where(given, np.nan, X))
        return float(total / (max(n_scored, 1) * math.log(2)))

    def _checked(self, X, y, given_columns=None, groups=None):
        """Rows, indices of labels, a mask of what is given (n, F) or None, and the engine.

        Where groups, masks (n_groups, F), are to be scored given all others, they are checked in
        the place of what is given.
        """
        check_is_fitted(self)
        X = self._validate_rows(X)
        self._encoding.bins.check(X)
        labels = None
        if self.class_conditional:
            labels = self._no_labels(len(X)) if y is None else self._labels(y, len(X))
        given = None
        if groups is not None:
            parts = {"score_columns": ~groups, "NaN in X": missing_mask(X)}
        else:
            if given_columns is not None:
                names = self._column_names()
                given = as_mask("given_columns", given_columns, names, self._mask_axes)
                given = np.broadcast_to(given, X.shape) if given.any() else None
            parts = {"given_columns": given, "NaN in X": missing_mask(X)}
        if self._check_parts(parts):
            self._warn_of_parts("the bound of a part is loose")
        return X, labels, given, self._engine()

    @property
    def _axes(self):
        """Shape of one image; (n_features,) of a row."""
        return getattr(self._container, "axes", (self.n_features_in_,))

    @property
    def _mask_axes(self):
        """Shape of a mask of columns: that of one sample, or of the image that a flat row is."""
        flat = self._has_images and len(self._axes) == 1
        return self._container.shape if flat else self._axes

    def _check_parts(self, parts):
        """Raise where a part cannot be scored; whether there is one.

        Parts are masks (m, F), or None, by the name of what makes them.
        """
        parts = {k: mask for k, mask in parts.items() if mask is not None and mask.any()}
        flow = validate_set_later(self, "likelihood") == "flow"
        if parts and flow:
            raise ValueError(
                f"likelihood='flow' scores whole rows only, but there is {' and '.join(parts)}. "
                "Use likelihood='bound'."
            )
        for name, mask in parts.items():
            if self._encoding.cuts(mask):
                raise ValueError(
                    f"{name} parts columns that basis={self.basis_!r} mixes: no component is "
                    "known or missing with them. Fit with basis='identity', or a BlockBasis "
                    "whose blocks are not parted."
                )
        return bool(parts)

    def _warn_of_parts(self, consequence):
        """Warn where the network never saw parts of rows."""
        if self.conditional_rate_ == 0:
            warnings.warn(
                "This model was fitted with conditional_rate=0: its network never saw rows of "
                f"which a part is given or missing, and {consequence}. Fit with "
                "conditional_rate=0.3.",
                UserWarning,
                stacklevel=_level_of_the_caller(),
            )

    def log_snr(self, t):
        """Effective log-SNR of each component that diffuses, over time.

        Parameters
        ----------
        t : array-like of shape (n_times,)
            Times in [0, 1]; 0 is data, 1 is noise.

        Returns
        -------
        ndarray of shape (n_times, n_components)
        """
        check_is_fitted(self)
        active = self._encoding.ends.active
        t = torch.as_tensor(np.atleast_1d(np.asarray(t, dtype=np.float64)))
        path = _fitting.build_path(self._encoding, self.schedule_)
        if path is None:
            return np.zeros((len(t), 0))
        return np.log(self._encoding.ends.variances[active]) - path(t).numpy()
