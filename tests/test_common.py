"""scikit-learn's own checks."""

import pytest
from sklearn.utils.estimator_checks import check_estimator

from gudlearn import (
    GenerativePipeline,
    GUDClassifier,
    GUDGenerator,
    GUDImputer,
    GUDOutlierDetector,
    MarginalGaussianizer,
)
from small import small


@pytest.mark.parametrize(
    "estimator",
    [
        GUDGenerator(),
        small(max_iter=0, basis="pca"),
        GUDClassifier(small(max_iter=5)),
        GUDImputer(small(max_iter=1), n_samples=3),
        GUDOutlierDetector(small(max_iter=1)),
        MarginalGaussianizer(),
    ],
    ids=repr,
)
def test_no_check_of_scikit_learn_fails(estimator):
    results = check_estimator(estimator, on_skip=None)
    assert {r["status"] for r in results} <= {"passed", "skipped"}
    # Needs an environment variable that is read when scikit-learn is imported.
    skipped = [r["check_name"] for r in results if r["status"] == "skipped"]
    assert skipped in ([], ["check_array_api_input"])


def test_a_generator_is_a_density_estimator():
    for estimator in (small(), GenerativePipeline([("last", small())])):
        assert estimator.__sklearn_tags__().estimator_type == "density_estimator"
