r"""States of components: target, observed or missing, separately for each row.

An observed component is fixed at its floor, :math:`\gamma_i(0)`; a missing one is fixed at a noise
level at which nothing of it is left; a target follows the path. The bound over the targets bounds
:math:`-\log p(target | observed)`. Observed components keep the noise of their floor, which makes
the chain rule of two such bounds exact.
"""

import copy

import torch

TARGET, OBSERVED, MISSING = range(3)
# Effective log-SNR of a missing component. The denoiser ignores the noise that it consists of.
MISSING_LOG_SNR = -15.0
# Weight of the squared error of a number that is a steady target, see `steady_end`.
STEADY_WEIGHT = 1.0


def missing_gamma(log_variances, gamma_1):
    """Return the noise level of missing components, always distinct from the path's end gamma_1.

    Parameters
    ----------
    log_variances, gamma_1 : Tensor of shape (D,)
        log V_i of the scaled components, and the end point of the path.
    """
    return torch.maximum(log_variances - MISSING_LOG_SNR, gamma_1 + 2)


def steady_targets(state, n_categories):
    r"""Categories that are the only target of their row, a mask (n, D) of states (n, D).

    Nothing else changes in such a row, and the integrand of the bound is the cross-entropy H of the
    category wherever it is masked: :math:`\int_0^1 \frac{u'}{u} u H dt = H`. Held masked at all
    times, with a rate of its whole range, it has this integrand without the noise of the mask.
    """
    target = state == TARGET
    is_category = torch.arange(state.shape[1], device=state.device) >= (
        state.shape[1] - n_categories
    )
    return target & is_category & (target.sum(1, keepdim=True) == 1)


def steady_end(path, log_variances):
    r"""Noise levels (D,) of steady targets, and rates (D,) of their part of the bound.

    A category is masked, and a number missing. Its squared error is weighted by the inverse of its
    variance V: with :math:`\gamma' = 2 w e^{\gamma} / V` the integrand of the bound is
    :math:`w (x_0 - \hat x_0)^2 / V`.
    """
    missing = missing_gamma(log_variances, path.gamma_1)
    end, rate = missing, 2 * STEADY_WEIGHT * (missing - log_variances).exp()
    if path.levels is not None:
        n = len(end) - path.levels.n_columns
        end = torch.cat([end[:n], path.gamma_1[n:].to(end)])
        rate = torch.cat([rate[:n], (path.gamma_1 - path.gamma_0)[n:].to(rate)])
    return end, rate


class MaskedPath:
    r"""A path with a mask of component states for each row, and optionally a window per component.

    Component i of a row is at the point of the path given by its local time
    :math:`\mathrm{clip}((t - start_i)/width_i, 0, 1)`.

    Parameters
    ----------
    path : GammaPath
    state : LongTensor of shape (n, D)
        TARGET, OBSERVED or MISSING.
    log_variances : Tensor of shape (D,)
        log V_i, of the scaled components.
    start, width : Tensor of shape (n, D), optional
        The window of each component; [0, 1] if omitted.
    steady : BoolTensor of shape (n, D), optional
        Categories that are masked at all times, see `steady_targets`.

    Attributes
    ----------
    gamma_0, gamma_1, kinks, levels : those of the path
    target, observed, missing : BoolTensor of shape (n, D)
        The components in each state.
    """

    def __init__(self, path, state, log_variances, start=None, width=None, steady=None):
        self.path, self.start, self.width, self.steady = path, start, width, steady
        self.gamma_0, self.gamma_1, self.kinks = path.gamma_0, path.gamma_1, path.kinks
        self.levels = path.levels
        self.target, self.observed, self.missing = (state == s for s in (TARGET, OBSERVED, MISSING))
        self._gamma_missing = missing_gamma(log_variances, path.gamma_1)
        if steady is not None:
            self._end, self._steady_rate = steady_end(path, log_variances)

    def in_windows(self, start, width):
        """The same path with windows (n, D) for the rows that have none."""
        path = copy.copy(self)
        if self.width is not None:
            has_windows = (self.width < 1).any(1, keepdim=True)
            start = torch.where(has_windows, self.start, start)
            width = torch.where(has_windows, self.width, width)
        path.start, path.width = start, width
        return path

    @property
    def active_fraction(self):
        """Mean width of the windows of each row, (n,), or 1: the fraction of active components."""
        return 1.0 if self.width is None else self.width.mean(1)

    def missing_components(self, gamma):
        """Which components are missing at noise levels gamma (B, D); None if none ever is."""
        return self._repeated(self.missing, gamma)

    def _repeated(self, values, t):
        """Repeat values (n, D) of the n rows to match a multiple of n times or noise levels t."""
        return values if len(t) <= len(values) else values.repeat(len(t) // len(values), 1)

    def fix(self, gamma):
        """Replace the levels in gamma (B, D) of observed and missing components by fixed ones."""
        gamma = torch.where(self._repeated(self.observed, gamma), self.gamma_0.to(gamma), gamma)
        is_missing = self._repeated(self.missing, gamma)
        gamma = torch.where(is_missing, self._gamma_missing.to(gamma), gamma)
        if self.steady is None:
            return gamma
        return torch.where(self._repeated(self.steady, gamma), self._end.to(gamma), gamma)

    def _local_times(self, t):
        if self.start is None:
            return t
        start, width = self._repeated(self.start, t), self._repeated(self.width, t)
        return ((t[:, None] - start) / width).clamp(0.0, 1.0)

    def speed(self, t):
        """Return the rate of each component's local time, (B, D) or 1; 0 outside its window.

        Those of steady numbers give their squared error the weight that it has in the bound.
        """
        speed = 1.0
        if self.start is not None:
            local = self._local_times(t)
            # Outside the window the clipped local time is exactly 0 or 1.
            speed = ((local > 0) & (local < 1)) / self._repeated(self.width, t)
        if self.steady is None:
            return speed
        return torch.where(self._repeated(self.steady, t), self._steady_rate.to(t) / 2, speed)

    def row_times(self, local_times, density, candidates, priority):
        """Return times at which one random component of each row is at a given local time.

        Local times come from an importance-sampling density, so that every component is trained
        equally often on the noise levels that matter, however narrow its window is.

        Parameters
        ----------
        local_times : Tensor of shape (n,)
        density : TimeDensity
            The density of the local times.
        candidates : BoolTensor of shape (n, D)
            Components that may be selected.
        priority : Tensor of shape (n, D), at least 0, or None if there are no windows
            The candidate with the highest priority is selected.

        Returns
        -------
        t, inverse_density : Tensor of shape (n,)
            Times, and the inverse of their density, which is averaged over the candidates.
        """
        if self.start is None:
            return local_times, self._steady_as_one(1 / density.height(local_times))
        selected = torch.where(candidates, priority, -1.0).argmax(1, keepdim=True)
        start, width = self.start.gather(1, selected), self.width.gather(1, selected)
        t = (start + width * local_times[:, None]).squeeze(1)
        all_local = (t[:, None] - self.start) / self.width
        all_local = all_local.scatter(1, selected, local_times[:, None])
        is_inside = candidates & (all_local >= 0) & (all_local <= 1)
        height = (is_inside * density.height(all_local.clamp(0, 1)) / self.width).sum(1)
        n_candidates = candidates.sum(1)
        # A row without candidates has no loss; its weight only has to be finite.
        return t, self._steady_as_one(torch.where(n_candidates > 0, n_candidates / height, 1.0))

    def _steady_as_one(self, inverse_density):
        """Inverse densities of times (n,), 1 in rows whose loss is the same at all times."""
        if self.steady is None:
            return inverse_density
        return torch.where(self.steady.any(1), 1.0, inverse_density)

    def __call__(self, t):
        """Return gamma(t), of shape (B, D).

        Times (B,) are one for all n rows, (1,), or one for each of a multiple of n rows.
        """
        return self.fix(self.path(self._local_times(t)))

    def gamma_and_rate(self, t):
        """Return gamma(t) and its derivative in t, each of shape (B, D); fixed ones have rate 0."""
        gamma, rate = self.path.gamma_and_rate(self._local_times(t))
        rate = rate * self.speed(t) * self._repeated(self.target, t)
        if self.steady is not None:
            rate = torch.where(self._repeated(self.steady, t), self._steady_rate.to(rate), rate)
        return self.fix(gamma), rate


class ObservedDenoiser:
    """A denoiser that always sees the observed values, whatever a solver does to them.

    Parameters
    ----------
    denoise : callable (x, gamma) -> x0_hat
    path : MaskedPath
        Of n rows.
    floor : Tensor of shape (n, D)
        The observed components, noised to gamma(0).
    """

    def __init__(self, denoise, path, floor):
        self.denoise, self.path, self.floor = denoise, path, floor

    def __call__(self, x, gamma):
        """Denoise x (n, D) at noise levels gamma (n, D); observed components are replaced."""
        x = torch.where(self.path.observed, self.floor, x)
        return self.denoise(x, self.path.fix(gamma))
