"""Estimators with a generator inside: nested parameters, names and failed fits."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from gudlearn import (
    DPMSolver,
    GUDClassifier,
    GUDGenerator,
    GUDImputer,
    GUDOutlierDetector,
    GUDRegressor,
    Schema,
)
from small import continuous, few_draws, small

# Each with what generator=None stands for.
DEFAULTS = {
    GUDClassifier: GUDGenerator(),
    GUDImputer: GUDGenerator(
        sampler=DPMSolver(steps=20),
        retrieval="auto",
        bin_width=None,
        schema=Schema(atoms=False, gaussianize=False),
    ),  # fmt: skip
    GUDOutlierDetector: GUDGenerator(),
    GUDRegressor: GUDGenerator(),
}
LABELS = np.arange(40) % 2
every_kind = pytest.mark.parametrize("kind", DEFAULTS, ids=lambda kind: kind.__name__)


@pytest.fixture(autouse=True)
def few_draws_of_noise(monkeypatch):
    few_draws(monkeypatch)


@every_kind
def test_parameters_of_the_default_generator_can_be_set(kind):
    estimator = kind().set_params(generator__max_iter=3, random_state=1)
    assert estimator.generator.max_iter == 3
    expected = clone(DEFAULTS[kind]).set_params(max_iter=3)
    assert repr(clone(estimator).generator) == repr(expected)
    estimator.set_params(generator__network__width=16).fit(continuous(), LABELS)
    assert estimator.generator_.n_iter_ == 3
    assert estimator.generator_.random_state == 1
    plain = kind()
    with pytest.raises(ValueError, match="Invalid parameter 'iterations'"):
        plain.set_params(generator__iterations=3)
    assert plain.generator is None
    assert kind().set_params(generator=small(), generator__max_iter=4).generator.max_iter == 4


def test_a_grid_search_sets_parameters_of_the_default_generator():
    grid = {
        "generator__max_iter": [0, 1],
        "generator__preconditioning": ["marginal"],
        "generator__network__width": [8],
    }
    search = GridSearchCV(GUDClassifier(), grid, cv=2).fit(continuous(), LABELS)
    assert search.best_estimator_.generator.preconditioning == "marginal"


def test_a_row_of_density_zero_under_every_class_has_the_priors():
    classifier = GUDClassifier(small(max_iter=0), method="density", priors=[0.9, 0.1])
    classifier.fit(continuous(), LABELS)
    np.testing.assert_allclose(classifier.predict_proba([[1e200, 0, 0]]), [[0.9, 0.1]])


def test_the_default_generator_of_an_imputer_has_a_reference_set():
    imputer = GUDImputer(random_state=3).set_params(generator__max_iter=0).fit(continuous())
    model = imputer.generator_
    found = model.retrieval, model.sampler.steps, model.targets, model.random_state
    assert found == ("auto", 20, "all", 3)
    assert model.uses_reference_set


@every_kind
def test_feature_names_are_those_of_the_last_fit(kind):
    X = continuous()
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    estimator = kind(small(max_iter=0)).fit(frame, LABELS)
    assert list(estimator.feature_names_in_) == ["a", "b", "c"]
    assert not hasattr(estimator.fit(X, LABELS), "feature_names_in_")


@every_kind
def test_a_failed_fit_leaves_the_earlier_fit(kind):
    X = continuous()
    estimator = kind(small(max_iter=0)).fit(X, LABELS)
    rows = X.copy()
    rows[0, 1] = np.nan if kind is GUDImputer else 0.0
    method = "transform" if kind is GUDImputer else "predict"
    before = getattr(estimator, method)(rows)
    estimator.set_params(generator=GUDGenerator(max_iter=-1))
    with pytest.raises(ValueError, match="max_iter"):
        estimator.fit(X[:, :2], LABELS)
    np.testing.assert_array_equal(getattr(estimator, method)(rows), before)
