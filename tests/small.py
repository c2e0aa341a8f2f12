"""Estimators, rows and images so small that a fit takes a fraction of a second."""

import numpy as np
import pandas as pd
from sklearn.datasets import load_digits

from gudlearn import MLP, DPMSolver, GUDGenerator, UNet

TINY = UNet(width=8, n_blocks=1)


def small(**parameters):
    """A GUDGenerator with a tiny network, few epochs and few steps, the same on every device."""
    defaults = {
        "device": "cpu",
        "precision": "float32",
        "network": MLP(width=16, n_blocks=1, dropout=0.0),
        "sampler": DPMSolver(steps=4),
        "max_iter": 2,
        "random_state": 0,
    }
    return GUDGenerator(**{**defaults, **parameters})


def few_draws(monkeypatch, n=8):
    """Let scores take few draws of noise, for tests in which their accuracy does not matter."""
    for limit in ("_FEWEST_TIMES", "_MOST_TIMES"):
        monkeypatch.setattr(f"gudlearn.model.fitted.{limit}", n)


def continuous(n_rows=40, n_columns=3, seed=0):
    """Correlated normal rows."""
    X = np.random.default_rng(seed).normal(size=(n_rows, n_columns))
    X[:, -1] += X[:, 0]
    return X


def whole(n_rows=40, n_columns=3, seed=0):
    """Correlated whole numbers, stored as floats."""
    X = np.random.default_rng(seed).integers(0, 5, size=(n_rows, n_columns)).astype(float)
    X[:, -1] = np.clip(X[:, 0] + X[:, -1] % 2, 0, 4)
    return X


def dependent(n_rows=100):
    """Two columns that nearly agree, and a third."""
    X = continuous(n_rows)
    X[:, 1] = X[:, 0] + 0.1 * X[:, 1]
    return X


def with_missing(X, fraction=0.3, seed=1):
    """X with missing values, but at least one observed value in each row and column."""
    X = X.astype(float)
    hidden = np.random.default_rng(seed).random(X.shape) < fraction
    hidden[np.arange(len(X)), np.arange(len(X)) % X.shape[1]] = False
    X[hidden] = np.nan
    return X


def mixed_frame(n=40):
    """A frame of two continuous columns and one of integers."""
    return pd.DataFrame(
        {"a": continuous(n)[:, 0], "b": whole(n)[:, 0].astype(int), "c": continuous(n)[:, 2]}
    )


def random_images(n=60, shape=(6, 5, 3), seed=0):
    """Smooth random uint8 images with correlated channels."""
    rng = np.random.default_rng(seed)
    field = rng.normal(size=(n, *shape)).cumsum(1).cumsum(2)
    field[..., 1:] = 0.7 * field[..., :1] + 0.3 * field[..., 1:]
    return np.clip(128 + 12 * field, 0, 255).astype(np.uint8)


def digits(n=300):
    """Handwritten digits of 8 x 8 pixels."""
    return load_digits().images[:n]


def tiny(**parameters):
    """A GUDGenerator with a tiny U-Net."""
    return small(**{"network": TINY, **parameters})
