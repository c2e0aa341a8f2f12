"""What the estimators around a generator have in common."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from gudlearn import GUDClassifier, GUDGenerator, GUDImputer, GUDOutlierDetector
from small import continuous, small

WRAPPERS = [GUDClassifier, GUDImputer, GUDOutlierDetector]
LABELS = np.arange(40) % 2


@pytest.mark.parametrize("kind", WRAPPERS, ids=lambda kind: kind.__name__)
def test_parameters_of_the_default_generator_can_be_set(kind):
    wrapper = kind().set_params(generator__max_iter=3, random_state=1)
    assert wrapper.generator.max_iter == 3
    expected = kind()._default_generator().set_params(max_iter=3)
    assert repr(clone(wrapper).generator) == repr(expected)
    wrapper.set_params(generator__network__width=16).fit(continuous(), LABELS)
    assert wrapper.generator_.n_iter_ == 3
    assert wrapper.generator_.random_state == 1
    plain = kind()
    with pytest.raises(ValueError, match="Invalid parameter 'iterations'"):
        plain.set_params(generator__iterations=3)
    assert plain.generator is None
    assert kind().set_params(generator=small(), generator__max_iter=4).generator.max_iter == 4


def test_the_default_generator_stands_in_a_grid():
    grid = {"generator__max_iter": [0, 1], "generator__preconditioning": ["marginal"]}
    search = GridSearchCV(GUDClassifier(), grid, cv=2).fit(continuous(), LABELS)
    assert search.best_estimator_.generator.preconditioning == "marginal"


def test_a_row_that_no_class_could_make_keeps_the_priors():
    classifier = GUDClassifier(small(max_iter=0), priors=[0.9, 0.1]).fit(continuous(), LABELS)
    np.testing.assert_allclose(classifier.predict_proba([[1e200, 0, 0]]), [[0.9, 0.1]])


def test_the_default_of_an_imputer_looks_rows_up():
    model = GUDImputer(random_state=3)._new_generator()
    found = model.retrieval, model.sampler.steps, model.conditional_rate, model.random_state
    assert found == ("auto", 20, 0.5, 3)


@pytest.mark.parametrize("kind", WRAPPERS, ids=lambda kind: kind.__name__)
def test_names_are_those_of_the_last_fit(kind):
    X = continuous()
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    wrapper = kind(small(max_iter=0)).fit(frame, LABELS)
    assert list(wrapper.feature_names_in_) == ["a", "b", "c"]
    assert not hasattr(wrapper.fit(X, LABELS), "feature_names_in_")


@pytest.mark.parametrize("kind", WRAPPERS, ids=lambda kind: kind.__name__)
def test_a_failed_fit_leaves_the_earlier_one(kind):
    X = continuous()
    wrapper = kind(small(max_iter=0)).fit(X, LABELS)
    asked = X.copy()
    asked[0, 1] = np.nan if kind is GUDImputer else 0.0
    method = "transform" if kind is GUDImputer else "predict"
    before = getattr(wrapper, method)(asked)
    wrapper.set_params(generator=GUDGenerator(max_iter=-1))
    with pytest.raises(ValueError, match="max_iter"):
        wrapper.fit(X[:, :2], LABELS)
    np.testing.assert_array_equal(getattr(wrapper, method)(asked), before)
