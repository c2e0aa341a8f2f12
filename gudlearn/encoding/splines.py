"""Increasing rational-quadratic splines (Gregory and Delbourgo 1982) with equal steps in z."""

import numpy as np

# Limits of a slope in units of that of the chord keep the inverse accurate.
_LEAST_SLOPE, _MOST_SLOPE = 1e-4, 1e4


class IncreasingSpline:
    """An increasing function with given values and slopes at its knots.

    Parameters
    ----------
    z_first, z_last : float
        Values at the first and the last knot; those between have equal distances.
    knots : ndarray of shape (K,)
        Increasing positions, K at least 2.
    slopes : ndarray of shape (K,) or None
        Positive slopes at the knots; None: harmonic means of the slopes of neighbouring chords.
    """

    def __init__(self, z_first, z_last, knots, slopes=None):
        self.z_first, self.z_last, self.knots = float(z_first), float(z_last), knots
        self._step = (self.z_last - self.z_first) / (len(knots) - 1)
        self._width = np.diff(knots)
        chord = self._step / self._width
        if slopes is None:
            slopes = _harmonic_slopes(self._width, chord)
        self._log_chord = np.log(chord)
        # In units of the slope of the chord.
        self._left = np.clip(slopes[:-1] / chord, _LEAST_SLOPE, _MOST_SLOPE)
        self._right = np.clip(slopes[1:] / chord, _LEAST_SLOPE, _MOST_SLOPE)

    def forward(self, x):
        """Values z and log dz/dx at x (n,); those at the end knots beyond these."""
        piece = np.searchsorted(self.knots, x, side="right") - 1
        piece = np.clip(piece, 0, len(self._width) - 1)
        t = np.clip((x - self.knots[piece]) / self._width[piece], 0.0, 1.0)
        left, right = self._left[piece], self._right[piece]
        mixed = t * (1 - t)
        denominator = 1 + (left + right - 2) * mixed
        z = self.z_first + self._step * (piece + (t * t + left * mixed) / denominator)
        slope = right * t * t + 2 * mixed + left * (1 - t) ** 2
        return z, np.log(slope / (denominator * denominator)) + self._log_chord[piece]

    def inverse(self, z):
        """Positions of the values z (n,); the end knots beyond them, NaN at NaN."""
        position = (z - self.z_first) / self._step
        piece = np.clip(np.nan_to_num(position), 0, len(self._width) - 1).astype(np.intp)
        y = np.clip(position - piece, 0.0, 1.0)
        left, right = self._left[piece], self._right[piece]
        # The root t of (1 - b) t^2 + b t = y, without cancellation for either sign of b.
        b = left - y * (left + right - 2)
        root = np.sqrt(b * b + 4 * (1 - b) * y)
        negative = b < 0
        t = np.where(negative, root - b, 2 * y) / np.where(negative, 2 * (1 - b), b + root)
        return self.knots[piece] + self._width[piece] * t


def _harmonic_slopes(width, chord):
    """Slopes at the K knots of pieces of given widths and slopes of chords, (K - 1,)."""
    between = (width[1:] + width[:-1]) / (width[1:] / chord[1:] + width[:-1] / chord[:-1])
    return np.concatenate([chord[:1], between, chord[-1:]])
