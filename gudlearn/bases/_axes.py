"""Principal axes of a covariance."""

import numpy as np


def principal_axes(covariance):
    """Diagonalise a covariance.

    Parameters
    ----------
    covariance : ndarray of shape (D, D)
        A symmetric matrix; D may be 0.

    Returns
    -------
    eigenvalues : ndarray of shape (D,)
        Descending.
    axes : ndarray of shape (D, D)
        Orthonormal rows; the entry of largest magnitude in each is positive.
    """
    eigenvalues, axes = np.linalg.eigh(covariance)
    axes = axes.T[::-1]
    rows = np.arange(len(axes))
    signs = np.sign(axes[rows, np.argmax(np.abs(axes), axis=1)]) if len(axes) else rows
    return eigenvalues[::-1], axes * signs[:, None]
