"""Classification by Bayes' rule, from the density of each class."""

import numpy as np
from scipy.special import log_softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import get_tags
from sklearn.utils.validation import check_is_fitted

from gudlearn._atomic import isolated
from gudlearn._constraints import HasMethods
from gudlearn._specs import NestedGenerator
from gudlearn.data.labels import check_no_missing_label
from gudlearn.generator import GUDGenerator


class GUDClassifier(NestedGenerator, ClassifierMixin, BaseEstimator):
    r"""Classifier by one class-conditional diffusion model of rows or images.

    Parameters
    ----------
    generator : GUDGenerator or None, default=None
        The model, not fitted; None is ``GUDGenerator()`` with its defaults. Its
        ``class_conditional`` is switched on in the copy that is fitted. Its parameters can be set
        as ``generator__max_iter``.
    priors : None or array-like of shape (n_classes,), default=None
        Probabilities of the classes, in the order of ``classes_``. None takes their frequencies in
        fit.
    random_state : int, RandomState instance or None, default=None
        If not None, it is passed to the generator.

    Attributes
    ----------
    generator_ : GUDGenerator
        The fitted model: it samples each class, and scores rows given their class.
    classes_ : ndarray of shape (n_classes,)
        Class labels, sorted.
    class_prior_ : ndarray of shape (n_classes,)
        Probabilities of the classes in use.
    n_features_in_ : int
        Number of columns, or of values in one image.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the columns, if they were strings.

    Notes
    -----
    X may be any table that the generator takes: frames of numbers, text, categories and times.

    .. math:: p(c | x) \propto p(c) \, p(x | c)

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
    >>> classifier = GUDClassifier(GUDGenerator(max_iter=10), random_state=0).fit(X, y)
    >>> classifier.predict_proba(X[:2]).shape
    (2, 3)
    >>> classifier.score(X[::5], y[::5]) > 0.8
    True
    """

    _NEEDS = "class_conditional", "has no classes"
    _parameter_constraints = {
        "generator": [None, HasMethods("score_samples")],
        "priors": [None, "array-like"],
        "random_state": ["random_state"],
    }

    def __init__(self, generator=None, *, priors=None, random_state=None):
        self.generator = generator
        self.priors = priors
        self.random_state = random_state

    @isolated
    def fit(self, X, y):
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
        generator.set_params(class_conditional=True)
        n_classes = _count_classes(y)
        if n_classes == 1:
            raise ValueError("y holds one class, but a classifier needs at least two.")
        priors = self._check_priors(n_classes)
        self.generator_ = generator.fit(X, y)
        self.classes_ = generator.classes_
        self.class_prior_ = generator.class_prior_ if priors is None else priors
        self.n_features_in_ = generator.n_features_in_
        vars(self).pop("feature_names_in_", None)
        if hasattr(generator, "feature_names_in_"):
            self.feature_names_in_ = generator.feature_names_in_
        return self

    def _default_generator(self):
        return GUDGenerator()

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
    def log_likelihood(self, X):
        """Log-likelihood of each row given each class, in nats and in the units of X.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features), or images

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
        """
        check_is_fitted(self)
        return np.stack([self.generator_.score_samples(X, c) for c in self.classes_], axis=1)

    @isolated
    def predict_log_proba(self, X):
        """Logarithm of the probability of each class.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features), or images

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
        """
        log_p = self.log_likelihood(X)
        # A row with probability zero under all classes keeps the priors.
        log_p = np.where(np.isneginf(log_p).all(1, keepdims=True), 0.0, log_p)
        return log_softmax(log_p + np.log(self.class_prior_), axis=1)

    @isolated
    def predict_proba(self, X):
        """Probability of each class.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features), or images

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
        """
        return np.exp(self.predict_log_proba(X))

    def predict(self, X):
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


def _count_classes(y):
    """Number of classes; None if y is not a list of labels: the generator's fit then raises."""
    if y is None or np.asarray(y).ndim == 0:
        return None
    check_no_missing_label(y)
    return len(np.unique(np.asarray(y))) or None
