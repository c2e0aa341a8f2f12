"""The log-likelihood of fake, held-out and training rows under a model."""

import narwhals as nw
import numpy as np
import pandas as pd

from gudlearn.metrics.reporting.errors import Estimate
from gudlearn.metrics.reporting.metrics import AS_HELD_OUT
from gudlearn.metrics.reporting.samples import COPY, FAKE, HELD_OUT

# Rows of each sample that a model scores.
_MOST_SCORED = 500
# Which frame a sample's rows come from.
_SOURCES = {FAKE: "fake", HELD_OUT: "test", COPY: "train"}


def log_likelihood(context, name):
    """Mean log-likelihood of rows in nats; oracles that are no rows of the user have none."""
    if name not in _SOURCES:
        raise ValueError("Only rows that were passed are scored, not oracles.")
    rows = take(context.options["frames"][_SOURCES[name]], context.seed)
    scores = np.asarray(context.options["model"].score_samples(rows), dtype=float)
    if not np.isfinite(scores).all():
        raise ValueError(f"{np.sum(~np.isfinite(scores))} of {len(scores)} scores are not finite.")
    error = np.std(scores, ddof=1) / np.sqrt(len(scores))
    return Estimate(float(scores.mean()), float(error))


#: The line of a report, without its key.
LIKELIHOOD = (
    "Log-likelihood", "high", AS_HELD_OUT, None,
    "Mean log-likelihood of rows under the model, in nats. That of fake rows should be that of "
    "held-out ones; that of training rows is larger if the model overfits.", log_likelihood, ".2f",
    False,
)  # fmt: skip


def take(frame, seed):
    """At most 500 rows of a frame or array, in its container."""
    native = nw.from_native(frame, eager_only=True, pass_through=True)
    if not isinstance(native, nw.DataFrame):
        frame = np.asarray(frame)
    n = len(frame)
    chosen = np.random.default_rng(seed).permutation(n)[:_MOST_SCORED]
    if isinstance(frame, pd.DataFrame):
        return frame.iloc[chosen]
    return frame[chosen] if isinstance(frame, np.ndarray) else native[chosen].to_native()
