r"""States of components: wanted, given or missing, row by row.

A given component stands still at its floor, :math:`\gamma_i(0)`; a missing one stands still where
nothing of it is left; a wanted one travels. The bound over the wanted components of a path with
such states is one of :math:`-\log p(wanted | given)`, and because given components keep the noise
of their floor the chain rule of two such bounds is exact.
"""

import torch

TARGET, OBSERVED, MISSING = range(3)
# Effective log-SNR of a missing component. What it holds is noise that no denoiser hears.
MISSING_LOG_SNR = -15.0


def missing_gamma(log_variances, gamma_1):
    """Noise level of what is missing, told from pure noise, that of a path's end, in any case."""
    return torch.maximum(log_variances - MISSING_LOG_SNR, gamma_1 + 2)


class MaskedPath:
    r"""A path on which each row has states of its own, and its own times where they are given.

    Component i of a row runs through the path at time
    :math:`\mathrm{clip}((t - start_i)/width_i, 0, 1)`.

    Parameters
    ----------
    path : GammaPath
    state : LongTensor of shape (n, D)
        TARGET, OBSERVED or MISSING.
    log_variances : Tensor of shape (D,)
        log V_i, of the scaled components.
    start, width : Tensor of shape (n, D), optional
        The window of each component; [0, 1] where they are left out.

    Attributes
    ----------
    gamma_0, gamma_1, kinks : those of the path
    """

    def __init__(self, path, state, log_variances, start=None, width=None):
        self.path, self.start, self.width = path, start, width
        self.gamma_0, self.gamma_1, self.kinks = path.gamma_0, path.gamma_1, path.kinks
        self.wanted, self.given, self.missing = (state == s for s in (TARGET, OBSERVED, MISSING))
        self._gamma_missing = missing_gamma(log_variances, path.gamma_1)

    @property
    def moving(self):
        """Mean width of the windows of each row, (n,) or 1: a share of the components that move."""
        return 1.0 if self.width is None else self.width.mean(1)

    def _rows(self, values, t):
        """Values (n, D) of the rows that B times or levels are of: all n of them repeatedly."""
        return values if len(t) <= len(values) else values.repeat(len(t) // len(values), 1)

    def stand(self, gamma):
        """Levels gamma (B, D) of the path with those of components that stand still put in."""
        gamma = torch.where(self._rows(self.given, gamma), self.gamma_0.to(gamma), gamma)
        return torch.where(self._rows(self.missing, gamma), self._gamma_missing.to(gamma), gamma)

    def _own_times(self, t):
        if self.start is None:
            return t
        start, width = self._rows(self.start, t), self._rows(self.width, t)
        return ((t[:, None] - start) / width).clamp(0.0, 1.0)

    def speed(self, t):
        """The speed of the components' own times, (B, D) or a number: 0 outside their windows."""
        if self.start is None:
            return 1.0
        own = self._own_times(t)
        # At the ends of its window a component has the rate of the inside.
        return ((own > 0) & (own < 1)) / self._rows(self.width, t)

    def shared_times(self, own, density, told, chance):
        """Times of rows at which one component of each, drawn at random, is at its own time.

        Own times are drawn from a density, and so every component meets the noise levels that
        matter to it as often as they matter, however narrow its window is.

        Parameters
        ----------
        own : Tensor of shape (n,)
        density : TimeDensity
            They were drawn from.
        told : BoolTensor of shape (n, D)
            The components that may be drawn.
        chance : Tensor of shape (n, D), at least 0, or None where there are no windows
            The component with the highest one is drawn.

        Returns
        -------
        t, inverse_density : Tensor of shape (n,)
            Of the times of rows, over the components that might have been drawn.
        """
        if self.start is None:
            return own, 1 / density.height(own)
        drawn = torch.where(told, chance, -1.0).argmax(1, keepdim=True)
        t = (self.start.gather(1, drawn) + self.width.gather(1, drawn) * own[:, None]).squeeze(1)
        theirs = (t[:, None] - self.start) / self.width
        theirs = theirs.scatter(1, drawn, own[:, None])
        inside = told & (theirs >= 0) & (theirs <= 1)
        height = (inside * density.height(theirs.clamp(0, 1)) / self.width).sum(1)
        n_observed = told.sum(1)
        # Of rows of which nothing is told nothing is learned.
        return t, torch.where(n_observed > 0, n_observed / height, 1.0)

    def __call__(self, t):
        """Return gamma(t), of shape (B, D).

        Times (B,) are one for all n rows, (1,), or one for each of a multiple of n rows.
        """
        return self.stand(self.path(self._own_times(t)))

    def gamma_and_rate(self, t):
        """Return gamma(t) and its derivative in t, each of shape (B, D); zero where it stands."""
        own = self._own_times(t)
        gamma, rate = self.path.gamma_and_rate(own)
        return self.stand(gamma), rate * self.speed(t) * self._rows(self.wanted, t)


class ObservedDenoiser:
    """A denoiser that is told what is given, whatever a solver makes of it.

    Parameters
    ----------
    denoise : callable (x, gamma) -> x0_hat
    states : MaskedPath
        Of n rows.
    floor : Tensor of shape (n, D)
        What is given, at its floor.
    """

    def __init__(self, denoise, states, floor):
        self.denoise, self.states, self.floor = denoise, states, floor

    def __call__(self, x, gamma):
        """Denoise x (n, D) at noise levels gamma (n, D), of components that are not given."""
        x = torch.where(self.states.given, self.floor, x)
        return self.denoise(x, self.states.stand(gamma))
