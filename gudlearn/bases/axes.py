"""Principal axes of a covariance and of the channels of an image."""

import numpy as np

from gudlearn.bases.batches import TOO_LARGE, batches_about


def principal_axes(covariance):
    """Diagonalise a covariance.

    Parameters
    ----------
    covariance : ndarray of shape (D, D)
        Symmetric; D may be 0.

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


def channel_axes(X, mean, n_channels):
    """Compute the principal axes of the channels over all rows and positions.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Rows whose last and fastest axis are the channels.
    mean : ndarray of shape (n_features,)
        Mean of each column.
    n_channels : int
        Number of channels.

    Returns
    -------
    axes : ndarray of shape (n_channels, n_channels)
        Orthonormal rows, by descending variance about the mean of each column.

    Raises
    ------
    ValueError
        If the variance overflows.
    """
    covariance = np.zeros((n_channels, n_channels))
    for centred in batches_about(X, mean):
        pixels = centred.reshape(-1, n_channels)
        covariance += pixels.T @ pixels / X.size
    if not np.all(np.isfinite(covariance)):
        raise ValueError(TOO_LARGE)
    return principal_axes(covariance)[1]


def check_joint_channels(channels):
    """Check that there are at least two channels to rotate jointly.

    Parameters
    ----------
    channels : int or None
        Number of channels; None is one.

    Raises
    ------
    ValueError
        If there are fewer than two.
    """
    if channels is None or channels < 2:
        raise ValueError(
            f"joint_channels=True rotates two or more channels, but channels={channels}. "
            "Pass the number of channels of one flattened sample, or joint_channels=False."
        )
