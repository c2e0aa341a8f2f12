"""Outliers by the log-likelihood of a generative model."""

from numbers import Real

import numpy as np
from sklearn.base import BaseEstimator, OutlierMixin, clone
from sklearn.utils import get_tags
from sklearn.utils.validation import check_is_fitted

from gudlearn._constraints import HasMethods, Interval
from gudlearn.generator import GUDGenerator


class GUDOutlierDetector(OutlierMixin, BaseEstimator):
    """Outlier detector: rows to which a diffusion model gives a low density.

    Parameters
    ----------
    generator : GUDGenerator or None, default=None
        The model, not fitted; None is ``GUDGenerator()``. Parameters are reached as
        ``generator__max_iter``.
    contamination : float in (0, 0.5], default=0.1
        Share of the training rows below the threshold. Rows that the generator keeps to look up
        (its ``retrieval``) count as new ones here.
    random_state : int, RandomState instance or None, default=None
        Where not None it is given to the generator.

    Attributes
    ----------
    generator_ : GUDGenerator
        The fitted model.
    offset_ : float
        Log-likelihood, in nats, below which a row is an outlier.
    n_features_in_ : int
        Number of columns, or of values in one image.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the columns, if they were strings.

    Notes
    -----
    Rows with NaN are judged by what is there, where the basis does not mix columns.

    Examples
    --------
    >>> import numpy as np
    >>> from gudlearn import GUDGenerator, GUDOutlierDetector
    >>> X = np.random.default_rng(0).normal(size=(100, 2))
    >>> detector = GUDOutlierDetector(GUDGenerator(max_iter=10), random_state=0).fit(X)
    >>> detector.predict([[0.0, 0.0], [9.0, 9.0]])
    array([ 1, -1])
    """

    _parameter_constraints = {
        "generator": [None, HasMethods("score_samples")],
        "contamination": [Interval(Real, 0, 0.5, closed="right")],
        "random_state": ["random_state"],
    }

    def __init__(self, generator=None, *, contamination=0.1, random_state=None):
        self.generator = generator
        self.contamination = contamination
        self.random_state = random_state

    def fit(self, X, y=None):
        """Fit the model, and the threshold to its scores of the same rows.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features), or images
        y : None
            Ignored.

        Returns
        -------
        self : GUDOutlierDetector
        """
        self._validate_params()
        generator = GUDGenerator() if self.generator is None else clone(self.generator)
        if self.random_state is not None:
            generator.set_params(random_state=self.random_state)
        generator.fit(X)
        # Rows that the model remembers must not look likelier than new ones.
        scores = getattr(generator, "_scores_as_new", generator.score_samples)(X)
        self.generator_ = generator
        self.offset_ = float(np.percentile(scores, 100 * self.contamination))
        self.n_features_in_ = generator.n_features_in_
        if hasattr(generator, "feature_names_in_"):
            self.feature_names_in_ = generator.feature_names_in_
        return self

    def score_samples(self, X):
        """Log-likelihood of each row, in nats; low for outliers.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features), or images

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        check_is_fitted(self)
        return self.generator_.score_samples(X)

    def decision_function(self, X):
        """Log-likelihood above the threshold, in nats; negative for outliers.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features), or images

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        return self.score_samples(X) - self.offset_

    def predict(self, X):
        """Tell outliers from the rest.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features), or images

        Returns
        -------
        ndarray of shape (n_samples,) of int
            -1 for outliers, 1 for the rest.
        """
        return np.where(self.decision_function(X) < 0, -1, 1)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        generator = GUDGenerator() if self.generator is None else self.generator
        tags.input_tags.three_d_array = True
        tags.input_tags.allow_nan = get_tags(generator).input_tags.allow_nan
        return tags
