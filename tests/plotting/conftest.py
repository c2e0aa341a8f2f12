"""A stand-in for fitted generators."""

from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.base import BaseEstimator

from gudlearn.schedules import LinearSchedule


class StandIn(BaseEstimator):
    """What displays read from a generator, with a linear schedule in closed form."""

    def __init__(self, n_features=4):
        self.n_features = n_features

    def fit(self, X=None, y=None):
        self.variances_ = np.geomspace(1.0, 10.0, self.n_features)
        names = np.array([f"component{i}" for i in range(self.n_features)])
        components = SimpleNamespace(variances=self.variances_, names=names)
        self.state_ = SimpleNamespace(encoding=SimpleNamespace(components=components))
        self.schedule_ = LinearSchedule()
        self.loss_curve_ = [2.0, 1.5, 1.25, 1.2]
        self.validation_scores_ = [-1.75, -1.5]
        self.validation_iters_ = [2, 4]
        self.best_validation_score_ = -1.5
        return self

    def log_snr(self, t):
        return np.log(self.variances_) + 9.0 - 18.0 * np.asarray(t)[:, None]

    def sample(self, n_samples=1, *, random_state=None):
        rng = np.random.default_rng(random_state)
        return rng.normal(size=(n_samples, self.n_features))


@pytest.fixture
def stand_in():
    """Return the class of the stand-in."""
    return StandIn


@pytest.fixture
def fitted():
    return StandIn().fit()
