"""Noise levels at both ends of the path of each component, and which components diffuse."""

from dataclasses import dataclass

import numpy as np

# Effective SNR of continuous components at t = 0 is exp(11): the noise is 0.4 % of their standard
# deviation.
_CLEAN_LOG_SNR = 11.0
# Effective SNR of every component at t = 1 is exp(-7).
_NOISY_LOG_SNR = -7.0


@dataclass(frozen=True)
class Ends:
    """End points of D components; learned, arrays of shape (D,).

    Parameters
    ----------
    variances : ndarray
        Variance of each scaled component.
    gamma_0, gamma_1 : ndarray
        Negative log-SNR at t = 0 and t = 1.
    active : ndarray of bool
        Components that diffuse.
    noise_observed : ndarray of bool
        Components of binned columns: their noise at gamma_0 is the noise of the observation model,
        and the likelihood accounts for it.
    point_masses : ndarray of bool
        Components of binned columns whose marginal is a set of point masses.
    tolerance : ndarray
        Deviation of a constant continuous component that adds one nat to the nll.
    category : ndarray of bool
        Components that are categories; the last ones.
    """

    variances: np.ndarray
    gamma_0: np.ndarray
    gamma_1: np.ndarray
    active: np.ndarray
    noise_observed: np.ndarray
    point_masses: np.ndarray
    tolerance: np.ndarray
    category: np.ndarray

    @property
    def numeric(self):
        """Mask of the components that diffuse and are numbers, (D,)."""
        return self.active & ~self.category


def fit_ends(
    components, constant, aligned, noise_observed, noise, point_masses, n_categories=0
):  # fmt: skip
    """End points of the components of a fitted basis.

    Parameters
    ----------
    components : Components
        Description of all components by the basis.
    constant : ndarray of shape (D,) of bool
        Components that do not vary.
    aligned : ndarray of shape (D,) of bool
        Components that are data columns.
    noise_observed, point_masses : ndarray of shape (D,) of bool
        See `Ends`.
    noise : ndarray of shape (D,)
        Standard deviation of the observation noise before scaling; used where `noise_observed`.
    n_categories : int
        Number of categories, the last components.
    """
    variances = components.variances / components.scale**2
    log_variances = np.log(variances)
    gamma_0, gamma_1 = log_variances - _CLEAN_LOG_SNR, log_variances - _NOISY_LOG_SNR
    if noise_observed.any():
        scale = components.scale[noise_observed]
        gamma_0[noise_observed] = 2 * np.log(noise[noise_observed] / scale)
    # In a column of very rare values the noise of a fraction of a bin exceeds the variance.
    gamma_1 = np.where(noise_observed & aligned, np.maximum(gamma_1, gamma_0 + 2), gamma_1)
    active = ~constant & (gamma_0 < gamma_1 - 1)
    category = np.arange(len(constant)) >= len(constant) - n_categories
    std = np.sqrt(components.variances[~constant & ~category])
    tolerance = np.full(len(constant), 1e-3 * (np.median(std) if std.size else 1.0))
    return Ends(
        variances, gamma_0, gamma_1, active, noise_observed, point_masses, tolerance, category
    )
