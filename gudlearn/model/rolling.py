r"""Strips longer than what was trained on: a window of columns rolls along.

Of the strip's columns c = 0, 1, ... the first K are known. The others travel one behind the other,

.. math:: \gamma_c(t) = \Gamma(\mathrm{clip}(t + (c - K)/A, 0, 1))

with A of them on their way at once. When t has gone from 1/A to 0 column K is finished: the oldest
column leaves, all move up by one, and one of noise joins. This is exact for a stationary law that
is a Markov chain of order K in its columns.
"""

from dataclasses import dataclass

import numpy as np
import torch

from gudlearn._random import keyed_normal, keyed_uniform, mix
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
        By how much each component is behind, negative infinity for what is known.
    """

    def __init__(self, path, delay):
        self.path, self.delay = path, delay

    def __call__(self, t):
        """Gamma at one time t, (1,), as (1, D)."""
        return self.path((t[:, None] + self.delay).clamp(0.0, 1.0))


def roll(engine, strip, start, n_steps, keys, sampler, steps_per_column):
    """Yield new columns (n, n_entries), one after another, without end where n_steps is None.

    Parameters
    ----------
    engine : Engine
    strip : Strip
    start : ndarray of shape (n, n_context, n_entries)
        The last known columns, in the order in which the strip grows.
    n_steps : int or None
    keys : Tensor of shape (n,)
    sampler : Sampler
    steps_per_column : int
    """
    model, encoding = engine.model, engine.encoding
    place, component, n_context = strip.place, strip.component, strip.n_context
    # Columns were scaled one by one: in the units of the data what moves stays what it is.
    basis = encoding.basis
    scale, apart = basis.scale_[component], np.zeros(place.size)
    apart[place[:-1]] = basis.mean_[place[1:]] - basis.mean_[place[:-1]]
    shift = basis.rotate(apart[None])[0][component[:-1]] / scale[:-1]
    ratio, shift = (
        torch.from_numpy(v).to(model.device, model.dtype) for v in (scale[1:] / scale[:-1], shift)
    )
    gamma_0, gamma_1 = (model.path(torch.full((1,), t).to(model.path.gamma_0)) for t in (0, 1))

    def normal(stream, k, size):
        return keyed_normal(mix(keys, k), size, stream).to(model.dtype)

    def noise_of(k, column):
        """The k-th column of all that ever are, at its outset, in a column of the strip."""
        index = torch.from_numpy(component[column])
        own = mix(keys, k)
        u = keyed_uniform(own, model.n_components, _NEW).to(model.dtype)
        eps = keyed_normal(own, model.n_components, _NEW).to(model.dtype)
        return model.denoiser.marginals.draw(u, eps, gamma_1.expand_as(u))[:, index]

    rows = np.tile(encoding.fill_values, (len(start), 1))
    rows[:, place[:n_context]] = start
    z = engine.components(rows)
    x = perturb(z, normal(_FLOOR, 0, model.n_components), gamma_0)
    delay = torch.full((model.n_components,), -torch.inf, dtype=model.dtype)
    for c in range(n_context, len(place)):
        x[:, component[c]] = noise_of(c, c)
        delay[component[c]] = (c - n_context) / strip.n_active
    path = RollingPath(model.path, delay.to(model.device))
    # A model of classes is told of none.
    labels = torch.full((len(start),), model.null, device=model.device) if model.null else None
    denoise, step = model.given(labels), sampler.build()
    marginal_mean, k = model.denoiser.marginals.mean, 0
    while n_steps is None or k < n_steps:
        salt = (k + 1) << 20
        # The first column comes all the way, each later one the last A-th part of it. With every
        # part one column more sets out.
        for move in range(0 if k == 0 else strip.n_active - 1, strip.n_active):
            begin, end = 1 - move / strip.n_active, 1 - (move + 1) / strip.n_active
            times = torch.linspace(begin, end, steps_per_column + 1, dtype=torch.float64).to(x)
            # Its noise is drawn afresh: what was drawn before depends on the noise it waited with.
            own = component[n_context + move]
            x[:, own] = noise_of(salt + move, n_context + move)
            starts = torch.zeros(model.n_components, dtype=torch.bool)
            starts[own] = True

            def noise(j, salt=salt + move * steps_per_column):
                return normal(_STEP, salt + j, model.n_components)

            with torch.no_grad(), model.arithmetic():
                x = start_near(denoise, x, path(times[:1]), marginal_mean, starts.to(x.device))
                x = integrate(denoise, path, x, times, step, noise)
        clean = (x / alpha(gamma_0)).double().cpu().numpy()
        found = encoding.decode(clean, mix(keys, salt - 1), model)
        yield found[:, place[n_context]]
        moved, here, there = x.clone(), component[1:], component[:-1]
        left, entered = (
            alpha(path(times.new_full((1,), t)))[0] for t in (0.0, 1 / strip.n_active)
        )
        moved[:, there] = entered[there] * (x[:, here] / left[here] * ratio + shift)
        moved[:, component[-1]] = noise_of(len(place) + k, len(place) - 1)
        x, k = moved, k + 1
