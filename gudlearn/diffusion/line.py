r"""The probability flow of one component on a line, for many points at once.

In y = x / alpha the flow is :math:`dy = \tfrac12 (y - D(y, \gamma)) \, d\gamma`. Differences of
neighbouring points of a row are the slope b of the denoiser D. Its tangent is the denoiser of a
Gaussian of variance :math:`V = b e^\gamma / (1 - b)` around :math:`m = (D - b y) / (1 - b)`. The
flow of that has closed form,

.. math:: y_s = m + \sqrt{\frac{V + e^{\gamma_s}}{V + e^{\gamma_t}}} \, (y_t - m) .

A step is that of the tangent, corrected by what D differs from it at the end of the step. It is an
exponential Rosenbrock method (Hochbruck, Ostermann 2010, Acta Numerica 19), exact for Gaussians.
"""

from itertools import pairwise

import torch

# Largest slope of the tangent. Between modes that of the denoiser may be above 1.
_STEEPEST = 0.999


def line_flow(denoise, y, gammas):
    """Carry points along the flow from gammas[0] to gammas[-1].

    Parameters
    ----------
    denoise : callable (y, gamma) -> D
        Denoised points of shape (Q, n), at one noise level.
    y : Tensor of shape (Q, n)
        Q points of each of n rows, increasing along the first axis.
    gammas : Tensor of shape (K + 1,)
        Decreasing noise levels; each step takes one evaluation.

    Returns
    -------
    Tensor of shape (Q, n)
    """
    denoised = denoise(y, gammas[0])
    slope = tangent_slope(y, denoised)
    for gamma_t, gamma_s in pairwise(gammas):
        noise_t, noise_s = gamma_t.exp(), gamma_s.exp()
        rest = 1 - slope
        mean, variance = (denoised - slope * y) / rest, slope * noise_t / rest
        ratio = ((variance + noise_s) / (variance + noise_t)).sqrt()
        y = mean + ratio * (y - mean)
        of_tangent = mean + variance / (variance + noise_s) * (y - mean)
        denoised = denoise(y, gamma_s)
        slope = tangent_slope(y, denoised)
        change = (gamma_t - gamma_s) / 4 * (denoised - of_tangent)
        y, denoised = y + change, denoised + slope * change
    return y


def tangent_slope(y, denoised):
    """Slope of denoised points in points, from differences between neighbours; (Q, n)."""
    ends = [v[1:] - v[:-1] for v in (y, denoised)]
    rise, run = (torch.cat([d[:1], d[1:] + d[:-1], d[-1:]]) for d in (ends[1], ends[0]))
    tiny = torch.finfo(y.dtype).tiny
    slope = rise / torch.where(run > 0, run, tiny)
    return torch.where(run > 0, slope, 0.0).clamp(0.0, _STEEPEST)
