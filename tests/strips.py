"""Strips of stationary autoregressive columns, and bases for them."""

import numpy as np

from gudlearn import BlockBasis

# Correlation of neighbouring columns.
RHO = 0.9
HAAR = np.array(
    [[0.5, 0.5, 0.5, 0.5], [0.5, 0.5, -0.5, -0.5], [0.5**0.5, -(0.5**0.5), 0, 0],
     [0, 0, 0.5**0.5, -(0.5**0.5)]]
)  # fmt: skip
STDS = np.array([3.0, 1.0, 0.5, 0.5])


def ar_covariance(width):
    """Covariance of an autoregressive process of variance 1."""
    places = np.arange(width)
    return RHO ** np.abs(places[:, None] - places)


def ar_rows(n, width, seed=0):
    """Rows (n, width) of the process."""
    # Unlike multivariate_normal's, these are the same to the last bits on every machine.
    noise = np.random.default_rng(seed).normal(size=(n, width))
    return noise @ np.linalg.cholesky(ar_covariance(width)).T


def haar_strips(n):
    """Images (n, 4, 4) whose columns have Haar components that are processes of their own."""
    processes = ar_rows(4 * n, 4).reshape(n, 4, 4)
    return np.einsum("ji,njc->nic", HAAR, STDS[:, None] * processes)


def random_walks(n=60, width=6, seed=0):
    """Rows (n, width) of a random walk."""
    rng = np.random.default_rng(seed)
    return np.cumsum(rng.normal(size=(n, width)), axis=1) / 3


def by_column(basis, height, width):
    """A basis for each column of images, in any order."""
    places = np.arange(height * width).reshape(height, width)
    order = np.random.default_rng(0).permutation(width)
    return BlockBasis([(f"c{c}", basis, places[:, c]) for c in order])
