"""Estimators and rows small enough that a fit takes a fraction of a second."""

import numpy as np

from gudlearn import MLP, DPMSolver, GUDGenerator


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


def few_draws(monkeypatch):
    """Let scores take few draws of noise, for tests in which their accuracy does not matter."""
    for limit in ("_FEWEST_TIMES", "_MOST_TIMES"):
        monkeypatch.setattr(f"gudlearn.model.fitted.{limit}", 8)


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
