"""Small data whose distribution is known, for the checks of generative estimators."""

import numpy as np
import pandas as pd
from scipy import stats

N_ROWS = 250
MEAN = np.array([3.0, -1.0, 0.5])
COVARIANCE = np.array([[1.0, 0.8, 0.0], [0.8, 1.5, -0.4], [0.0, -0.4, 0.7]])
#: Factors of the columns under rescaling; no subset of their logarithms has a sum near zero.
FACTORS = np.array([1000.0, 0.01, 7.0])
#: Levels of the two columns of `categories`, and their probabilities.
LEVELS = (["green", "red", "white"], ["no", "yes"])
CONSTANT = 0.1


def truth():
    """Return the distribution of the rows of `gaussian`, as a frozen one of scipy."""
    return stats.multivariate_normal(MEAN, COVARIANCE)


def gaussian(seed, n_rows=N_ROWS):
    """Three correlated normal columns, an array of shape (n_rows, 3)."""
    rng = np.random.default_rng([seed, 1])
    return MEAN + rng.normal(size=(n_rows, 3)) @ np.linalg.cholesky(COVARIANCE).T


def line(seed):
    """One normal column of mean 2 and standard deviation 0.5, an array of shape (N_ROWS, 1)."""
    return np.random.default_rng([seed, 2]).normal(2.0, 0.5, size=(N_ROWS, 1))


def rescale(X):
    """Multiply each of the three columns of X by its entry of FACTORS."""
    return X * FACTORS


def rescaled(seed):
    """The rows of `gaussian` in other units."""
    return rescale(gaussian(seed))


def constant(seed):
    """The rows of `gaussian` with the second column constant."""
    X = gaussian(seed)
    X[:, 1] = CONSTANT
    return X


def single(seed):
    """The rows of `gaussian` in float32."""
    return gaussian(seed).astype(np.float32)


def missing(seed):
    """The rows of `gaussian`, of whose values one in seven is NaN, never a whole row."""
    X = gaussian(seed)
    hidden = np.random.default_rng([seed, 3]).random(X.shape) < 1 / 7
    hidden[np.arange(len(X)), np.arange(len(X)) % 3] = False
    X[hidden] = np.nan
    return X


def integers(seed):
    """One column of whole numbers from 0 to 5, of dtype int64 and shape (N_ROWS, 1)."""
    return np.random.default_rng([seed, 4]).binomial(5, 0.4, size=(N_ROWS, 1))


def categories(seed):
    """A frame of two dependent columns of categories, three levels and two."""
    rng = np.random.default_rng([seed, 5])
    colour = rng.choice(3, size=N_ROWS, p=[0.5, 0.3, 0.2])
    answer = (rng.random(N_ROWS) < np.array([0.2, 0.5, 0.8])[colour]).astype(int)
    return pd.DataFrame(
        {
            "colour": pd.Categorical.from_codes(colour, LEVELS[0]),
            "answer": pd.Categorical.from_codes(answer, LEVELS[1]),
        }
    )


def mixed(seed):
    """A frame of floats, whole numbers, categories and strings."""
    X, levels = gaussian(seed), categories(seed)
    return pd.DataFrame(
        {
            "weight (kg)": X[:, 0],
            "count": integers(seed)[:, 0],
            "colour": levels["colour"],
            "answer": levels["answer"].astype(str),
            "length": X[:, 1],
        }
    )


DATASETS = {
    function.__name__: function
    for function in (
        gaussian, line, rescaled, constant, single, missing, integers, categories, mixed,
    )
}  # fmt: skip
