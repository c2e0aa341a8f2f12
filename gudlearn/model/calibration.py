"""One factor of a fitted distribution that is chosen on held-out rows."""

import numpy as np

# Factors that are tried, and the standard deviation of their logarithm under the prior.
_FACTORS = np.exp(np.linspace(-0.75, 0.75, 31))
_PRIOR_STD = 0.3
# With fewer rows the factor is 1.
_FEWEST_ROWS = 20


def best_factor(log_likelihood, n_rows):
    """The factor with the largest posterior density; its logarithm is normal around 0.

    Parameters
    ----------
    log_likelihood : callable (factor) -> ndarray of shape (n_rows,)
        Log-likelihoods of held-out rows.
    n_rows : int

    Returns
    -------
    float
    """
    if n_rows < _FEWEST_ROWS:
        return 1.0
    prior = -0.5 * (np.log(_FACTORS) / _PRIOR_STD) ** 2
    scores = [np.sum(log_likelihood(factor)) for factor in _FACTORS]
    return float(_FACTORS[np.argmax(np.array(scores) + prior)])
