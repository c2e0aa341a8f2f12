"""Continuations of two real series by 24 steps: monthly sunspots, daily minima in Melbourne.

    python series.py --data DIR --seconds 180 --seeds 0 1

`DIR` is a folder with a `load.py`: `load.npz("daily_curves")` returns `sunspots_monthly` and
`melbourne_min_temp`. Models are trained on the first 80 % and continue the series from every
sixth time of the rest, with 100 draws each. Printed are the mean CRPS (by step) and the mean energy
score (of all 24 steps together); smaller is better.

- gudlearn: windows of 36 + 24 values; `extend` with a context of 36, all 24 steps active at once.
- gudlearn with season: windows of 20 + 24 values in fields of three rows, with sine and cosine of
  the phase of the season (132 months, 365 days).
- seasonal naive: the value one season earlier, with Gaussian errors as large as those in training.
- ARMA: statsmodels, orders by AIC; draws of the fitted process from its filtered state. ARMA with
  season: with sine and cosine as regressors.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import warnings

import numpy as np
import torch

from gudlearn import GUDGenerator, Schema

CONTEXT, CONTEXT_WITH_SEASON, AHEAD, DRAWS, EVERY = 36, 20, 24, 100, 6
SERIES = {"sunspots_monthly": 132, "melbourne_min_temp": 365}


def phase(n, season):
    """Sine and cosine of the season at n times, (2, n)."""
    angle = 2 * np.pi * np.arange(n) / season
    return np.stack([np.sin(angle), np.cos(angle)])


def by_gudlearn(x, n_past, places, season, options, seed):
    """Draws (DRAWS, n, AHEAD) of the values that follow n times of a series."""
    return extended(x[None], n_past, places, CONTEXT, options, seed)


def by_gudlearn_with_season(x, n_past, places, season, options, seed):
    """The same from a field of the series and the phase of the season."""
    field = np.concatenate([x[None], phase(len(x), season)])
    return extended(field, n_past, places, CONTEXT_WITH_SEASON, options, seed)


def extended(field, n_past, places, context, options, seed):
    """Draws of the first row of a field (height, times), given the past of each time."""

    def as_series(windows):
        return windows[:, 0] if len(field) == 1 else windows

    windows = np.lib.stride_tricks.sliding_window_view(field[:, :n_past], context + AHEAD, axis=1)
    gen = GUDGenerator(
        network="mlp",
        schema=Schema(gaussianize=False),
        conditional_rate=options.rate,
        max_time=options.seconds,
        random_state=seed,
    ).fit(as_series(windows.swapaxes(0, 1)))
    starts = np.stack([field[:, p - context : p] for p in places])
    starts = as_series(np.repeat(starts, DRAWS, axis=0))
    longer = gen.extend(
        starts, AHEAD, context=context, active=AHEAD, steps_per_column=2, random_state=seed
    )
    draws = longer.reshape(len(places), DRAWS, len(field), -1)[:, :, 0, -AHEAD:]
    return draws.swapaxes(0, 1)


def by_seasonal_naive(x, n_past, places, season, options, seed):
    """Draws around the values one season earlier."""
    error = (x[season:n_past] - x[: n_past - season]).std()
    centre = np.stack([x[p - season : p][:AHEAD] for p in places])
    noise = np.random.default_rng(seed).normal(size=(DRAWS, *centre.shape))
    return centre + error * noise


def by_arma(x, n_past, places, season, options, seed, regressors=None):
    """Draws of the ARMA process with the smallest AIC."""
    from statsmodels.tsa.arima.model import ARIMA

    def regressors_of(start, end):
        return None if regressors is None else regressors[start:end]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fits = [
            ARIMA(x[:n_past], exog=regressors_of(0, n_past), order=(p, 0, q)).fit()
            for p, q in itertools.product((1, 2, 3, 6), (0, 1, 2))
        ]
        best = min(fits, key=lambda fit: fit.aic)
        found = []
        for k, p in enumerate(places):
            start = max(0, p - 10 * season)
            state = best.apply(x[start:p], exog=regressors_of(start, p))
            rng = np.random.default_rng([seed, k])
            draws = state.simulate(
                AHEAD, repetitions=DRAWS, anchor="end", exog=regressors_of(p, p + AHEAD), rng=rng
            )
            found.append(np.asarray(draws).reshape(AHEAD, DRAWS).T)
    order = best.model.order
    print(f"ARMA({order[0]}, {order[2]})", flush=True)
    return np.stack(found, 1)


def by_arma_with_season(x, n_past, places, season, options, seed):
    """Draws of an ARMA process around a sine and a cosine of the season."""
    return by_arma(x, n_past, places, season, options, seed, phase(len(x), season).T)


def crps(draws, truth):
    """Mean CRPS of draws (m, n, k) of values (n, k)."""
    ordered = np.sort(draws, axis=0)
    m = len(draws)
    rank = (2 * np.arange(1, m + 1) - m - 1)[:, None, None]
    # Unbiased: only pairs of different draws count.
    half_distance = (rank * ordered).sum(0) / (m * (m - 1))
    return (np.abs(draws - truth).mean(0) - half_distance).mean()


def energy(draws, truth):
    """Mean energy score of draws (m, n, k) of vectors (n, k)."""
    m = len(draws)
    error = np.linalg.norm(draws - truth, axis=2).mean(0)
    pairs = np.zeros(truth.shape[0])
    for shift in range(1, m):
        pairs += np.linalg.norm(draws - np.roll(draws, shift, axis=0), axis=2).mean(0)
    return (error - 0.5 * pairs / (m - 1)).mean()


METHODS = {
    "gudlearn": by_gudlearn,
    "gudlearn with season": by_gudlearn_with_season,
    "seasonal naive": by_seasonal_naive,
    "ARMA": by_arma,
    "ARMA with season": by_arma_with_season,
}


def main():
    """Measure every series and seed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", metavar="DIR", required=True)
    parser.add_argument("--seconds", type=float, default=180)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--series", nargs="+", choices=SERIES, default=list(SERIES))
    parser.add_argument("--rate", type=float, default=0.5)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    options = parser.parse_args()
    torch.set_num_threads(1)
    sys.path.insert(0, options.data)
    import load

    for name in options.series:
        season = SERIES[name]
        x = load.npz("daily_curves")[name].astype(np.float64)
        n_past = int(0.8 * len(x))
        places = np.arange(n_past, len(x) - AHEAD, EVERY)
        truth = np.stack([x[p : p + AHEAD] for p in places])
        for seed in options.seeds:
            for method in options.methods:
                draws = METHODS[method](x, n_past, places, season, options, seed)
                print(
                    f"{name} seed {seed} {method}: CRPS {crps(draws, truth):.4f}, energy score "
                    f"{energy(draws, truth):.4f}, {len(places)} continuations",
                    flush=True,
                )


if __name__ == "__main__":
    main()
