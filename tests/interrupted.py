"""Fits that are interrupted, and go on from a checkpoint, for tests."""

import itertools

import numpy as np

from gudlearn.training.checkpoints import Checkpoint


class Killed(BaseException):
    """Ends a process, as far as the package can tell."""


def assert_equal(found, expected):
    """All that was learned is equal to the bit."""
    assert found.weights_.keys() == expected.weights_.keys()
    for name, value in expected.weights_.items():
        np.testing.assert_array_equal(found.weights_[name], value)
    for name in ("loss_curve_", "validation_scores_", "validation_iters_", "time_weights_"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    assert found.best_validation_score_ == expected.best_validation_score_
    found, expected = (np.asarray(gen.sample(3, random_state=0)) for gen in (found, expected))
    assert (found == expected).all()


def killed_before(monkeypatch, n):
    """Let the process end before its n-th step, when a checkpoint was written."""
    write, steps = Checkpoint.write, itertools.count(1)

    def write_and_die(checkpoint, state):
        write(checkpoint, state)
        raise Killed

    monkeypatch.setattr(Checkpoint, "due", lambda checkpoint: next(steps) == n)
    monkeypatch.setattr(Checkpoint, "write", write_and_die)
