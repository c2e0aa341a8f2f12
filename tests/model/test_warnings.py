"""Warnings name the line of the user's call."""

import inspect
import warnings

import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from gudlearn import GenerativePipeline, GUDClassifier, GUDImputer, GUDOutlierDetector
from small import continuous, small


def hurried():
    """A generator whose time is over before it trains."""
    return small(max_iter="auto", max_time=1e-9)


ESTIMATORS = {
    "generator": hurried,
    "classifier": lambda: GUDClassifier(hurried()),
    "imputer": lambda: GUDImputer(hurried()),
    "detector": lambda: GUDOutlierDetector(hurried()),
    "pipeline": lambda: GenerativePipeline([("scale", StandardScaler()), ("gud", hurried())]),
    "sklearn": lambda: make_pipeline(StandardScaler(), hurried()),
    "search": lambda: GridSearchCV(hurried(), {"optimizer": ["adamw"]}, cv=2),
}


def assert_at(caught, line):
    assert caught
    for warning in caught:
        assert (warning.filename, warning.lineno) == (__file__, line)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_a_network_without_time_to_train_is_warned_of(name):
    estimator, X, y = ESTIMATORS[name](), continuous(), np.arange(40) % 2
    message = "max_time=1e-09 seconds had passed .* the network is untrained. Raise max_time"
    with pytest.warns(UserWarning, match=message) as caught:
        line = inspect.currentframe().f_lineno + 1
        estimator.fit(X, y)
    assert_at(caught, line)


def test_every_fit_without_time_to_train_is_warned_of():
    gen = small(warm_start=True).fit(continuous())
    gen.set_params(max_time=1e-9)
    with pytest.warns(UserWarning, match="the network is untrained"):
        gen.fit(continuous())
    assert gen.n_iter_ == 2


def test_a_fit_that_is_not_to_train_warns_of_nothing():
    for limits in ({"max_iter": 0, "max_time": 1e-9}, {"max_iter": 1, "max_time": 1e9}):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            small(**limits).fit(continuous())
    # Nothing diffuses where all columns are constant.
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        hurried().fit(np.ones((40, 2)))


def test_a_network_that_saw_no_partial_rows_is_warned_of_at_the_call():
    X = continuous()
    gen, partial = small(conditional_rate=0).fit(X), X[:3].copy()
    partial[:, 0] = np.nan
    calls = {
        "score": lambda: gen.score(partial),
        "score_samples": lambda: gen.score_samples(X, given_columns=[0]),
        "sample": lambda: gen.sample(given=partial),
        "conditional_mean": lambda: gen.conditional_mean(partial, n_samples=1),
    }
    for call in calls.values():
        with pytest.warns(UserWarning, match="conditional_rate=0") as caught:
            call()
        assert_at(caught, call.__code__.co_firstlineno)
