"""Gaussian rows and images, and the Gaussian of a fitted model."""

import numpy as np

COVARIANCE = np.array([[1.0, 0.8, -0.5, 0.3], [0.8, 1.5, -0.2, 0.1], [-0.5, -0.2, 2.0, 0.9],
                       [0.3, 0.1, 0.9, 1.2]])  # fmt: skip
MEAN = np.array([3.0, -1.0, 0.0, 100.0])


def gaussian_rows(n, seed=0):
    """Rows (n, 4) of the moments above."""
    return np.random.default_rng(seed).multivariate_normal(MEAN, COVARIANCE, n)


def fields(n, width, seed=0):
    """Gaussian images of 4 rows: smooth along the height, autoregressive along the width."""
    gaps = [np.abs(np.subtract.outer(range(k), range(k))) for k in (4, width)]
    covariance = np.kron(np.exp(-0.5 * gaps[0] ** 2) + 0.1 * np.eye(4), 0.8 ** gaps[1])
    rows = np.random.default_rng(seed).multivariate_normal(np.zeros(4 * width), covariance, n)
    return rows.reshape(n, 4, width), covariance


def moments_of(factors):
    """Mean and covariance of a joint Gaussian, by its factors."""
    mean, std, loadings = factors
    correlation = loadings @ loadings.T
    np.fill_diagonal(correlation, 1.0)
    return mean, std[:, None] * correlation * std


def factors_of(generator):
    """Factors of the joint Gaussian that a generator has fitted, or None."""
    return generator.state_.preconditioner.distribution.factors


def user_moments(generator):
    """Mean and covariance of the untrained model, in the units of the data."""
    mean, covariance = moments_of(factors_of(generator))
    basis = generator.basis_
    return basis.mean_ + basis.scale_ * mean, basis.scale_[:, None] * covariance * basis.scale_
