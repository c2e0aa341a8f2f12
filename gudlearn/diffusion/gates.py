r"""Columns of two natures: a category that says which, before the number is generated.

A column with point masses, or whose values may be missing for a reason, is a *gate*, the category
"which point mass, or none", and a number that exists only where the gate says "none". Both follow
the path of the column: with v the fraction of its range of gamma that is covered, the gate is
masked with probability :math:`\mathrm{clip}((v - h)/(1 - h), 0, 1)`, and the number's fraction is
:math:`\mathrm{clip}(v/h, 0, 1)`. The gate is thus revealed before the number leaves the noise.
"""

import torch

from gudlearn.diffusion.paths import GammaPath

# Fraction of a column's path in which its number is generated; its gate takes the rest.
NUMBER_FRACTION = 0.75
# Halvings of [0, 1] by which the time between gate and number of a column is found.
_HALVINGS = 50


class GatedPath(GammaPath):
    """A path in which gates come before their numbers.

    Parameters
    ----------
    path : GammaPath
    gates, numbers : LongTensor of shape (G,)
        Components of the gates, and of their numbers.
    """

    def __init__(self, path, gates, numbers):
        self.path, self.levels = path, path.levels
        phase = torch.zeros(len(path.gamma_0))
        phase[gates], phase[numbers] = 1.0, -1.0
        self.phase = phase.to(path.gamma_0)
        super().__init__(path.gamma_0, path.gamma_1, ())
        self.gamma_0, self.gamma_1 = path.gamma_0, path.gamma_1
        changes = self._changes()[torch.cat([gates, numbers])].tolist()
        times = sorted({*path.kinks, *(round(t, 9) for t in changes)})
        self.kinks = tuple(t for t in times if 0.0 < t < 1.0)

    def _changes(self):
        """Times at which components have covered NUMBER_FRACTION of their range, (D,)."""
        low = torch.zeros_like(self.gamma_0)
        high = torch.ones_like(low)
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            below = self._covered(self.path(middle[None]))[0] < NUMBER_FRACTION
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        return (low + high) / 2

    def _covered(self, gamma):
        low, high = self.gamma_0.to(gamma), self.gamma_1.to(gamma)
        return (gamma - low) / (high - low)

    def _retimed(self, gamma):
        """Gamma of each component in its phase, and its derivative in the given gamma."""
        covered, phase = self._covered(gamma), self.phase.to(gamma)
        number, gate = covered / NUMBER_FRACTION, covered - NUMBER_FRACTION
        gate = gate / (1 - NUMBER_FRACTION)
        of_phase = torch.where(phase > 0, gate, number)
        slope = torch.where(phase > 0, 1 / (1 - NUMBER_FRACTION), 1 / NUMBER_FRACTION)
        inside = (of_phase >= 0) & (of_phase <= 1)
        retimed = torch.lerp(self.gamma_0.to(gamma), self.gamma_1.to(gamma), of_phase.clamp(0, 1))
        return (
            torch.where(phase == 0, gamma, retimed),
            torch.where(phase == 0, 1.0, slope * inside),
        )

    def __call__(self, t):
        """Return gamma(t), of shape (B, D), for times t of shape (B,) or (B, D)."""
        return self._retimed(self.path(t))[0]

    def gamma_and_rate(self, t):
        """Return gamma(t) and its derivative in t, each of shape (B, D)."""
        gamma, rate = self.path.gamma_and_rate(t)
        retimed, slope = self._retimed(gamma)
        return retimed, rate * slope
