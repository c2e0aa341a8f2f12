"""Adapters: estimators whose methods have other names or results, in the form of the contract.

An adapter is a few lines. Subclass `Adapter`, build and fit the model in ``fit``, and return rows
from ``sample``; examples/benchmarks has some for other packages.
"""

from sklearn.base import BaseEstimator, DensityMixin, clone
from sklearn.utils.validation import check_is_fitted, validate_data


class FromGaussianMixture(DensityMixin, BaseEstimator):
    """scikit-learn's GaussianMixture, or one like it, whose samples are rows.

    ``GaussianMixture.sample`` returns rows and labels, ordered by label, and takes its seed from
    the estimator.

    Parameters
    ----------
    mixture : estimator
        Such as ``GaussianMixture(5)`` or ``BayesianGaussianMixture(5)``.
    random_state : int or None, default=None
        Seed of the fit, and of samples that are given none.

    Attributes
    ----------
    mixture_ : estimator
        The fitted one.
    n_features_in_ : int
        Number of columns.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.mixture import GaussianMixture
    >>> from gudlearn.testing.adapters import FromGaussianMixture
    >>> X = np.random.default_rng(0).normal(size=(50, 2))
    >>> FromGaussianMixture(GaussianMixture(2)).fit(X).sample(3, random_state=0).shape
    (3, 2)
    """

    def __init__(self, mixture, random_state=None):
        self.mixture = mixture
        self.random_state = random_state

    def fit(self, X, y=None):
        """Fit the mixture.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        y : None
            Ignored.

        Returns
        -------
        self : FromGaussianMixture
        """
        # The mixture itself checks values.
        validate_data(self, X, skip_check_array=True)
        self.mixture_ = clone(self.mixture).set_params(random_state=self.random_state).fit(X)
        return self

    def sample(self, n_samples=1, *, random_state=None):
        """Draw rows.

        Parameters
        ----------
        n_samples : int, default=1
            How many.
        random_state : int or None, default=None
            Seed; None takes the estimator's.

        Returns
        -------
        rows : ndarray of shape (n_samples, n_features)
        """
        check_is_fitted(self)
        seed = self.random_state if random_state is None else random_state
        return self.mixture_.set_params(random_state=seed).sample(n_samples)[0]

    def score_samples(self, X):
        """Compute the log-density of each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        log_density : ndarray of shape (n_samples,)
            In nats.
        """
        check_is_fitted(self)
        return self.mixture_.score_samples(X)

    def score(self, X, y=None):
        """Compute the mean log-density of the rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        y : None
            Ignored.

        Returns
        -------
        score : float
            In nats.
        """
        return float(self.score_samples(X).mean())
