"""The outlier detector."""

import numpy as np
import pytest
from sklearn.base import BaseEstimator

from gudlearn import GUDOutlierDetector
from small import continuous, small


def test_rows_far_from_the_rest_are_outliers():
    X = continuous(200)
    detector = GUDOutlierDetector(small(max_iter=20), contamination=0.05).fit(X)
    assert (detector.predict(X) == -1).mean() == pytest.approx(0.05, abs=0.01)
    far = X[:20] + [0, 0, 6]
    assert (detector.predict(far) == -1).all()
    decision = detector.decision_function(X)
    np.testing.assert_allclose(decision, detector.score_samples(X) - detector.offset_)
    np.testing.assert_array_equal(decision < 0, detector.predict(X) == -1)
    assert (detector.fit_predict(X) == detector.predict(X)).all()


def test_rows_with_holes_are_judged_by_what_is_there():
    X = continuous(100)
    X[::3, 0] = np.nan
    detector = GUDOutlierDetector(small(max_iter=5), random_state=1).fit(X)
    assert detector.generator_.random_state == 1
    assert np.isfinite(detector.score_samples(X)).all()
    assert detector.predict([[np.nan, np.nan, 50.0]]) == -1


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"contamination": 0.0}, "contamination"),
        ({"contamination": 0.6}, "contamination"),
        ({"generator": BaseEstimator()}, "generator"),
    ],
    ids=repr,
)
def test_parameters_that_are_refused(parameters, message):
    with pytest.raises(ValueError, match=message):
        GUDOutlierDetector(**parameters).fit(continuous())
