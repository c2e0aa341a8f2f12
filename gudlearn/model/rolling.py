r"""Strips longer than the training data, by a rolling window of columns.

The first K of the window's columns c = 0, 1, ... are observed: the context. The others follow the
path, each behind the one before it,

.. math:: \gamma_c(t) = \Gamma(\mathrm{clip}(t + (c - K)/A, 0, 1))

with A of them active at once. When t has gone from 1/A to 0, column K is finished: the oldest
column is dropped, all move up by one, and a column of noise is added. This is exact for a
stationary distribution that is a Markov chain of order K in its columns.
"""

from dataclasses import dataclass

import numpy as np
import torch

from gudlearn._random import keyed_normal, keyed_uniform, mix
from gudlearn.data.rows import Rows
from gudlearn.diffusion.noise import alpha
from gudlearn.diffusion.process import perturb
from gudlearn.diffusion.solvers import integrate, start_near

_FLOOR, _STEP, _NEW = range(3)


@dataclass(frozen=True)
class Strip:
    """Positions of the columns of a strip among features and components.

    Parameters
    ----------
    place, component : ndarray of shape (n_columns, n_entries)
        Indices of the features and of the components of each column, in the order in which the
        strip grows. The same rotation maps features to components in every column.
    n_context, n_active : int
    """

    place: np.ndarray
    component: np.ndarray
    n_context: int
    n_active: int


class RollingPath:
    """The path of a strip over the time of its first unfinished column.

    Parameters
    ----------
    path : GammaPath
    delay : Tensor of shape (D,)
        Time by which each component is behind; negative infinity for the context.
    """

    def __init__(self, path, delay):
        self.path, self.delay = path, delay

    def __call__(self, t):
        """Gamma at one time t, (1,), as (1, D)."""
        return self.path((t[:, None] + self.delay).clamp(0.0, 1.0))


def roll(fitted, strip, start, n_steps, keys, sampler, steps_per_column):
    """Yield new columns (n, n_entries) one after another, endlessly if n_steps is None.

    Parameters
    ----------
    fitted : FittedModel
    strip : Strip
    start : ndarray of shape (n, n_context, n_entries)
        The last observed columns, in the order in which the strip grows.
    n_steps : int or None
    keys : Tensor of shape (n,)
    sampler : Sampler
    steps_per_column : int
    """
    window = _Window(fitted, strip, start, keys)
    step, k = sampler.build(), 0
    while n_steps is None or k < n_steps:
        salt = (k + 1) << 20
        # The first column goes through all A parts of the path; a later one has only the last part
        # left. With every part one more column becomes active.
        for part in range(0 if k == 0 else strip.n_active - 1, strip.n_active):
            window.advance(part, salt, step, steps_per_column)
        yield window.finished(mix(keys, salt - 1))
        window.shift(k)
        k += 1


class _Window:
    """The state of the rolling window."""

    def __init__(self, fitted, strip, start, keys):
        self.encoding, self.model = fitted.encoding, fitted.components
        self.strip, self.keys = strip, keys
        model = self.model
        self.ratio, self.offset = self._between_columns()
        self.gamma_0, self.gamma_1 = (
            model.path(torch.full((1,), t).to(model.path.gamma_0)) for t in (0, 1)
        )
        n_context = strip.n_context
        rows = np.tile(self.encoding.fill_values, (len(start), 1))
        rows[:, strip.place[:n_context]] = start
        z = fitted.encode(Rows.of(rows))
        self.x = perturb(z, self._normal(_FLOOR, 0), self.gamma_0)
        delay = torch.full((model.n_components,), -torch.inf, dtype=model.dtype)
        for c in range(n_context, len(strip.place)):
            self.x[:, strip.component[c]] = self._noise_of(c, c)
            delay[strip.component[c]] = (c - n_context) / strip.n_active
        self.path = RollingPath(model.path, delay.to(model.device))
        labels = None
        if model.null:
            labels = torch.full((len(start),), model.null, device=model.device)
        self.denoise = model.labelled(labels)

    def _between_columns(self):
        """Ratio of scales and offset that map the components of a column to the column before it.

        Columns were standardised one by one; values must not change when they move up by one.
        """
        place, component, basis = self.strip.place, self.strip.component, self.encoding.basis
        scale, difference = basis.scale_[component], np.zeros(place.size)
        difference[place[:-1]] = basis.mean_[place[1:]] - basis.mean_[place[:-1]]
        offset = basis.rotate(difference[None])[0][component[:-1]] / scale[:-1]
        model = self.model
        return (
            torch.from_numpy(v).to(model.device, model.dtype)
            for v in (scale[1:] / scale[:-1], offset)
        )

    def _normal(self, stream, k):
        return keyed_normal(mix(self.keys, k), self.model.n_components, stream).to(self.model.dtype)

    def _noise_of(self, k, column):
        """Noise at t = 1 for a column of the window, from stream number k."""
        model, keys = self.model, mix(self.keys, k)
        u = keyed_uniform(keys, model.n_components, _NEW).to(model.dtype)
        eps = keyed_normal(keys, model.n_components, _NEW).to(model.dtype)
        drawn = model.denoiser.marginals.draw(u, eps, self.gamma_1.expand_as(u))
        return drawn[:, torch.from_numpy(self.strip.component[column])]

    def advance(self, part, salt, step, n_steps):
        """Denoise all active columns by one A-th part of the path, in n_steps steps."""
        strip, model, x = self.strip, self.model, self.x
        begin, end = 1 - part / strip.n_active, 1 - (part + 1) / strip.n_active
        times = torch.linspace(begin, end, n_steps + 1, dtype=torch.float64).to(x)
        # New noise for the column that becomes active: the others depend on its earlier noise.
        entering = strip.component[strip.n_context + part]
        x[:, entering] = self._noise_of(salt + part, strip.n_context + part)
        starts = torch.zeros(model.n_components, dtype=torch.bool)
        starts[entering] = True
        first, mean = salt + part * n_steps, model.denoiser.marginals.mean
        with torch.no_grad(), model.arithmetic():
            x = start_near(self.denoise, x, self.path(times[:1]), mean, starts.to(x.device))
            self.x = integrate(
                self.denoise, self.path, x, times, step, lambda j: self._normal(_STEP, first + j)
            )

    def finished(self, keys):
        """The finished column, (n, n_entries), in the units of the data."""
        clean = (self.x / alpha(self.gamma_0)).double().cpu().numpy()
        # A strip may leave the range of the data.
        rows = self.encoding.decode(clean, keys, within=False)
        return rows[:, self.strip.place[self.strip.n_context]]

    def shift(self, k):
        """Move all columns up by one after k + 1 new columns; the last one becomes noise."""
        strip, x = self.strip, self.x
        moved, source, target = x.clone(), strip.component[1:], strip.component[:-1]
        alpha_end, alpha_start = (
            alpha(self.path(x.new_full((1,), t)))[0] for t in (0.0, 1 / strip.n_active)
        )
        clean = x[:, source] / alpha_end[source]
        moved[:, target] = alpha_start[target] * (clean * self.ratio + self.offset)
        last = len(strip.place) - 1
        moved[:, strip.component[-1]] = self._noise_of(len(strip.place) + k, last)
        self.x = moved
