r"""Strips longer than what was trained on: a window of columns rolls along.

The first K of the strip's columns c = 0, 1, ... are observed, the context. The others follow the
path one behind the other,

.. math:: \gamma_c(t) = \Gamma(\mathrm{clip}(t + (c - K)/A, 0, 1))

with A of them active at once. When t has gone from 1/A to 0 column K is finished: the oldest column
leaves, all move up by one, and a column of noise joins. This is exact for a stationary distribution
that is a Markov chain of order K in its columns.
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
    """Where the columns of a strip are among the components of a model.

    Parameters
    ----------
    place, component : ndarray of shape (n_columns, n_entries)
        Features and components of each column, in the order in which the strip grows. One rotation
        leads from the former to the latter in every column.
    n_context, n_active : int
    """

    place: np.ndarray
    component: np.ndarray
    n_context: int
    n_active: int


class RollingPath:
    """The path of a strip, seen by the time of its first unfinished column.

    Parameters
    ----------
    path : GammaPath
    delay : Tensor of shape (D,)
        By how much each component is behind, negative infinity for the context.
    """

    def __init__(self, path, delay):
        self.path, self.delay = path, delay

    def __call__(self, t):
        """Gamma at one time t, (1,), as (1, D)."""
        return self.path((t[:, None] + self.delay).clamp(0.0, 1.0))


def roll(fitted, strip, start, n_steps, keys, sampler, steps_per_column):
    """Yield new columns (n, n_entries), one after another, without end where n_steps is None.

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
        # The first column comes all the way, each later one the last A-th part of it. With every
        # part one more column sets out.
        for part in range(0 if k == 0 else strip.n_active - 1, strip.n_active):
            window.advance(part, salt, step, steps_per_column)
        yield window.finished(mix(keys, salt - 1))
        window.shift(k)
        k += 1


class _Window:
    """The state of a strip of columns while it rolls along."""

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
        """Ratio of scales, and offset, from the components of a column to those of the one before.

        Columns were scaled one by one: values keep their units of the data when they move.
        """
        place, component, basis = self.strip.place, self.strip.component, self.encoding.basis
        scale, apart = basis.scale_[component], np.zeros(place.size)
        apart[place[:-1]] = basis.mean_[place[1:]] - basis.mean_[place[:-1]]
        offset = basis.rotate(apart[None])[0][component[:-1]] / scale[:-1]
        model = self.model
        return (
            torch.from_numpy(v).to(model.device, model.dtype)
            for v in (scale[1:] / scale[:-1], offset)
        )

    def _normal(self, stream, k):
        return keyed_normal(mix(self.keys, k), self.model.n_components, stream).to(self.model.dtype)

    def _noise_of(self, k, column):
        """Noise of the k-th column of all that ever are, at t = 1, in a column of the strip."""
        model, own = self.model, mix(self.keys, k)
        u = keyed_uniform(own, model.n_components, _NEW).to(model.dtype)
        eps = keyed_normal(own, model.n_components, _NEW).to(model.dtype)
        drawn = model.denoiser.marginals.draw(u, eps, self.gamma_1.expand_as(u))
        return drawn[:, torch.from_numpy(self.strip.component[column])]

    def advance(self, part, salt, step, n_steps):
        """Move all active columns by one A-th part of their way, in n_steps steps."""
        strip, model, x = self.strip, self.model, self.x
        begin, end = 1 - part / strip.n_active, 1 - (part + 1) / strip.n_active
        times = torch.linspace(begin, end, n_steps + 1, dtype=torch.float64).to(x)
        # Fresh noise for the column that sets out: others depend on the noise it waited with.
        own = strip.component[strip.n_context + part]
        x[:, own] = self._noise_of(salt + part, strip.n_context + part)
        starts = torch.zeros(model.n_components, dtype=torch.bool)
        starts[own] = True
        first, mean = salt + part * n_steps, model.denoiser.marginals.mean
        with torch.no_grad(), model.arithmetic():
            x = start_near(self.denoise, x, self.path(times[:1]), mean, starts.to(x.device))
            self.x = integrate(
                self.denoise, self.path, x, times, step, lambda j: self._normal(_STEP, first + j)
            )

    def finished(self, keys):
        """The column that has arrived, (n, n_entries), in the units of the data."""
        clean = (self.x / alpha(self.gamma_0)).double().cpu().numpy()
        return self.encoding.decode(clean, keys)[:, self.strip.place[self.strip.n_context]]

    def shift(self, k):
        """Move all columns up by one, after k + 1 columns; the last one becomes noise."""
        strip, x = self.strip, self.x
        moved, here, there = x.clone(), strip.component[1:], strip.component[:-1]
        left, entered = (
            alpha(self.path(x.new_full((1,), t)))[0] for t in (0.0, 1 / strip.n_active)
        )
        moved[:, there] = entered[there] * (x[:, here] / left[here] * self.ratio + self.offset)
        last = len(strip.place) - 1
        moved[:, strip.component[-1]] = self._noise_of(len(strip.place) + k, last)
        self.x = moved
