"""Classification by a model of features and class, or of the features given each class."""

from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import log_softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import get_tags
from sklearn.utils.validation import check_is_fitted

from gudlearn._atomic import isolated, unchanged_on_error
from gudlearn._constraints import HasMethods, StrOptions
from gudlearn._specs import NestedGenerator
from gudlearn._typing import Floats, RandomState
from gudlearn.data.labels import check_no_missing_label, fit_labels
from gudlearn.generator import GUDGenerator
from gudlearn.model.calibration import best_factor
from gudlearn.model.target_table import TargetTable


class GUDClassifier(NestedGenerator, ClassifierMixin, BaseEstimator):
    r"""Classifier by a diffusion model of rows and their class.

    Parameters
    ----------
    generator : GUDGenerator or None, default=None
        The model, not fitted; None is ``GUDGenerator()`` with its defaults. In the copy that is
        fitted, ``targets`` or ``class_conditional`` is set. Its parameters can be set as
        ``generator__max_iter``.
    method : {"auto", "joint", "density"}, default="auto"
        "joint": the class is one more column of the table, a category, which is predicted from
        the others by one evaluation of the network. Any features may be missing. "density": Bayes'
        rule with the density of the rows of each class; for images. "auto" is "density" for images
        and for generators without ``targets``, else "joint".
    priors : None or array-like of shape (n_classes,), default=None
        Probabilities of the classes, in the order of ``classes_``. None takes their frequencies in
        fit.
    random_state : int, RandomState instance or None, default=None
        If not None, it is passed to the generator.

    Attributes
    ----------
    generator_ : GUDGenerator
        The fitted model. With "joint" it samples, scores and completes rows with their class,
        which is the last column: in a frame it has the name of y, or "y", with underscores if
        there is such a column; in an array it is the index of the class. With "density" it samples
        each class, and scores rows given it.
    method_ : {"joint", "density"}
        The method in use.
    classes_ : ndarray of shape (n_classes,)
        Class labels, sorted.
    class_prior_ : ndarray of shape (n_classes,)
        Probabilities of the classes in use.
    temperature_ : float
        With "joint", the divisor of log-probabilities under which the generator's held-out rows
        are most likely; 1 with fewer than 20 of them, and with "density".
    n_features_in_ : int
        Number of columns, or of values in one image.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the columns, if they were strings.

    Notes
    -----
    X may be any table that the generator takes: frames of numbers, text, categories and times. A
    class of a single row is learned like any other. If that row is held out for validation, only
    its frequency is known to the model.

    With "joint" the network learns :math:`p(c | x)` itself, of all and of some of the features.
    Other priors :math:`\pi_c` than the frequencies :math:`f_c` multiply it by :math:`\pi_c / f_c`.
    With "density"

    .. math:: p(c | x) \propto \pi_c \, p(x | c)

    with the variational bound in place of :math:`\log p(x | c)`. Its noise is keyed by the row: all
    classes are scored with the same draws, and most of the noise cancels.

    References
    ----------
    Li et al. (2023), "Your diffusion model is secretly a zero-shot classifier",
    https://arxiv.org/abs/2303.16203

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from gudlearn import GUDClassifier, GUDGenerator
    >>> X, y = load_iris(return_X_y=True)
    >>> classifier = GUDClassifier(GUDGenerator(max_iter=20), random_state=0).fit(X, y)
    >>> classifier.predict_proba(X[:2]).shape
    (2, 3)
    >>> classifier.score(X[::5], y[::5]) > 0.8
    True
    """

    _NEEDS = "class_conditional", "has no classes"
    _parameter_constraints = {
        "generator": [None, HasMethods("score_samples")],
        "method": [StrOptions({"auto", "joint", "density"})],
        "priors": [None, "array-like"],
        "random_state": ["random_state"],
    }

    def __init__(
        self, generator: GUDGenerator | None = None, *,
        method: Literal["auto", "joint", "density"] = "auto", priors: ArrayLike | None = None,
        random_state: RandomState = None,
    ) -> None:  # fmt: skip
        self.generator = generator
        self.method = method
        self.priors = priors
        self.random_state = random_state

    @isolated
    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Fit the model of all classes.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features), or images
        y : array-like of shape (n_samples,)
            Class labels.

        Returns
        -------
        self : GUDClassifier

        Raises
        ------
        ValueError
            For bad parameters or data, or if there is only one class.
        """
        self._validate_params()
        generator = self._new_generator()
        n_classes = _count_classes(y)
        if n_classes == 1:
            raise ValueError("y holds one class, but a classifier needs at least two.")
        priors = self._check_priors(n_classes)
        method = self._chosen_method(generator, X)
        with unchanged_on_error(self):
            model = ByColumn(generator) if method == "joint" else ByDensity(generator)
            self._model = model.fit(self, X, y)
            self.method_, self.generator_ = method, generator
            self.classes_, self.temperature_ = self._model.classes, self._model.temperature
            self.class_prior_ = self._model.frequencies if priors is None else priors
        return self

    def _default_generator(self):
        return GUDGenerator()

    def _chosen_method(self, generator, X):
        images = _are_images(generator, X)
        if self.method == "joint" and images:
            raise ValueError(
                "method='joint' makes the class a column of a table, but X holds images. Pass "
                "'density' or 'auto'."
            )
        if self.method == "joint" and not hasattr(generator, "targets"):
            raise TypeError(
                f"generator={generator!r} has no targets. Pass a GUDGenerator, or None."
            )
        joint = not images and hasattr(generator, "targets")
        return ("joint" if joint else "density") if self.method == "auto" else self.method

    def _check_priors(self, n_classes):
        if self.priors is None:
            return None
        priors = np.asarray(self.priors, dtype=np.float64)
        if n_classes is not None and priors.shape != (n_classes,):
            raise ValueError(
                f"priors has shape {priors.shape}, but y has {n_classes} classes. Pass one "
                "probability for each, in the order of the sorted classes."
            )
        if not (priors > 0).all() or not np.isclose(priors.sum(), 1):
            raise ValueError(f"priors={priors.tolist()} must be positive and sum to 1.")
        return priors

    @isolated
    def log_likelihood(self, X: ArrayLike) -> Floats:
        """Log-likelihood of each row given each class, in nats and in the units of X.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features), or images

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            With the method "joint" the score of row and class minus the logarithm of the frequency
            of the class: for each class it takes as long as ``generator_.score_samples``.
        """
        check_is_fitted(self)
        return self._model.log_likelihood(self, X)

    @isolated
    def predict_log_proba(self, X: ArrayLike) -> Floats:
        """Logarithm of the probability of each class.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features), or images

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
        """
        check_is_fitted(self)
        log_p = self._model.log_proba(self, X)
        return log_softmax(log_p + np.log(self.class_prior_), axis=1)

    @isolated
    def predict_proba(self, X: ArrayLike) -> Floats:
        """Probability of each class.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features), or images

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
        """
        return np.exp(self.predict_log_proba(X))

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Predict the most probable class of each row.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features), or images

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        log_proba = self.predict_log_proba(X)
        return self.classes_[log_proba.argmax(1)]

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        generator = self._default_generator() if self.generator is None else self.generator
        tags.input_tags.three_d_array = True
        of_generator = get_tags(generator).input_tags
        for name in ("allow_nan", "categorical", "string"):
            setattr(tags.input_tags, name, getattr(of_generator, name))
        return tags


class ByColumn:
    """The class as a column of the table.

    Parameters
    ----------
    generator : GUDGenerator

    Attributes
    ----------
    classes, frequencies : ndarray of shape (n_classes,)
    temperature : float
    """

    def __init__(self, generator):
        self._table = TargetTable(generator)

    def fit(self, estimator, X, y):
        """Fit the generator to rows and their labels, and set the estimator's columns."""

        def column(n_rows, is_frame):
            self.classes, self.frequencies, codes = fit_labels(y, n_rows)
            # A frame has a column of labels, an array one of their indices.
            self._values = np.arange(len(self.classes))
            if is_frame and self.classes.dtype.kind in "bifuOU":
                is_text = self.classes.dtype.kind == "U"
                self._values = self.classes.astype(object) if is_text else self.classes
            return self._values[codes.numpy()], "category"

        held_out = self._table.fit(estimator, X, column, getattr(y, "name", None))
        self.temperature = 1.0
        n = len(held_out.index)
        if n:
            log_p = self._log_proba(held_out.prediction, held_out.rows)
            place = np.searchsorted(self.classes, np.asarray(y).ravel()[held_out.index])

            def log_likelihood(temperature):
                return log_softmax(log_p / temperature, axis=1)[np.arange(n), place]

            self.temperature = best_factor(log_likelihood, n)
        return self

    def _log_proba(self, prediction, rows):
        levels = np.asarray(prediction.levels).tolist()
        order = [levels.index(value) for value in self._values.tolist()]
        p = prediction.probabilities(rows)[:, order]
        return np.log(np.maximum(p, np.finfo(np.float64).tiny))

    def log_proba(self, estimator, X):
        """Log-probabilities of the classes relative to their frequencies, (n, n_classes)."""
        log_p = self._log_proba(*self._table.prediction(estimator, X)) / self.temperature
        return log_softmax(log_p, axis=1) - np.log(self.frequencies)

    def log_likelihood(self, estimator, X):
        """Log-likelihoods of rows given each class, (n, n_classes)."""
        score, table = self._table.generator.score_samples, self._table
        joint = [score(table.with_target(estimator, X, value)) for value in self._values]
        return np.stack(joint, axis=1) - np.log(self.frequencies)


class ByDensity:
    """The density of the rows of each class; see `ByColumn`."""

    temperature = 1.0

    def __init__(self, generator):
        self._generator = generator

    def fit(self, estimator, X, y):
        """Fit the generator to rows and their labels, and set the estimator's columns."""
        generator = self._generator.set_params(class_conditional=True).fit(X, y)
        self.classes, self.frequencies = generator.classes_, generator.class_prior_
        estimator.n_features_in_ = generator.n_features_in_
        vars(estimator).pop("feature_names_in_", None)
        if hasattr(generator, "feature_names_in_"):
            estimator.feature_names_in_ = generator.feature_names_in_
        return self

    def log_proba(self, estimator, X):
        """Log-likelihoods of rows given each class; a row of probability zero under all has 0."""
        log_p = self.log_likelihood(estimator, X)
        return np.where(np.isneginf(log_p).all(1, keepdims=True), 0.0, log_p)

    def log_likelihood(self, estimator, X):
        """Log-likelihoods of rows given each class, (n, n_classes)."""
        return np.stack([self._generator.score_samples(X, c) for c in self.classes], axis=1)


def _are_images(generator, X):
    """Whether X holds images, or flat rows of them."""
    if getattr(generator, "shape", None) is not None:
        return True
    return not hasattr(X, "columns") and np.asarray(X).ndim > 2


def _count_classes(y):
    """Number of classes; None if y is not a list of labels: the generator's fit then raises."""
    if y is None or np.asarray(y).ndim == 0:
        return None
    check_no_missing_label(y)
    return len(np.unique(np.asarray(y))) or None
