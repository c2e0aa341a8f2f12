"""The outlier detector."""

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from scipy.stats import kstest
from sklearn.base import BaseEstimator, clone
from sklearn.neighbors import KernelDensity
from sklearn.preprocessing import StandardScaler

from gudlearn import GenerativePipeline, GUDGenerator, GUDOutlierDetector
from gudlearn._random import row_keys
from gudlearn.data.ties import SpreadTies
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


@pytest.mark.parametrize("retrieval", [0, "auto"])
def test_the_odd_column_is_told(retrieval, monkeypatch):
    X = np.c_[continuous(300), np.random.default_rng(1).integers(0, 3, 300)]
    X[:, 1] = X[:, 0] + 0.1 * X[:, 1]
    generator = small(max_iter=60, conditional_rate=0.5, retrieval=retrieval)
    detector = GUDOutlierDetector(generator).fit(X)
    rows = X[:40].copy()
    # Likely alone, but not beside the first column, which the second nearly repeats.
    rows[:, 2] += 8
    found = detector.score_columns(rows)
    assert found.shape == rows.shape and (found.argmin(1) == 2).mean() > 0.9
    told, score = [], GUDGenerator._log_likelihood

    def spy(self, *arguments):
        told.append(arguments[-1])
        return score(self, *arguments)

    monkeypatch.setattr(GUDGenerator, "_log_likelihood", spy)
    groups = detector.score_columns(rows, groups=[[0, 1], [2], [3]])
    # No row is told of what it was in training, where it may have been remembered.
    itself = row_keys(detector._ties.spread(rows, row_keys(rows)))
    assert len(told) == 6
    assert all((own is None) if not retrieval else torch.equal(own, itself) for own in told)
    np.testing.assert_array_equal(groups[:, 1:], found[:, 2:])
    kept = clone(detector).set_params(ties="keep").fit(X)
    if not retrieval:
        expected = kept.generator_.score_columns(rows)
        np.testing.assert_array_equal(kept.score_columns(rows), expected)


def test_columns_are_told_apart_by_a_generator_alone():
    detector = GUDOutlierDetector(KernelDensity()).fit(continuous())
    with pytest.raises(TypeError, match="score_columns needs a GUDGenerator, but generator=Kernel"):
        detector.score_columns(continuous())


def test_rows_with_holes_are_judged_by_what_is_there():
    X = continuous(100)
    X[::3, 0] = np.nan
    detector = GUDOutlierDetector(small(max_iter=5), random_state=1).fit(X)
    assert detector.generator_.random_state == 1
    assert np.isfinite(detector.score_samples(X)).all()
    assert detector.predict([[np.nan, np.nan, 50.0]]) == -1


def test_the_random_state_is_that_of_the_generator_inside():
    pipeline = GenerativePipeline([("scale", StandardScaler()), ("gud", small(max_iter=1))])
    detector = GUDOutlierDetector(pipeline, random_state=3).fit(continuous())
    assert detector.generator_.get_params()["gud__random_state"] == 3
    alone = GUDOutlierDetector(KernelDensity(), random_state=3).fit(continuous())
    assert np.isfinite(alone.score_samples(continuous())).all()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"contamination": 0.0}, "contamination"),
        ({"contamination": 0.6}, "contamination"),
        ({"ties": "drop"}, "ties"),
        ({"generator": BaseEstimator()}, "generator"),
    ],
    ids=repr,
)
def test_parameters_that_are_refused(parameters, message):
    with pytest.raises(ValueError, match=message):
        GUDOutlierDetector(**parameters).fit(continuous())


def repeated(n_rows=400, seed=0):
    """Half of the rows have zero in the first column, which the second goes with in both halves."""
    rng = np.random.default_rng(seed)
    zero = rng.random(n_rows) < 0.5
    first = np.where(zero, 0.0, 1 + rng.poisson(5, n_rows))
    second = np.where(zero, -2.0, 2.0) + 0.3 * rng.normal(size=n_rows)
    return np.c_[first, second]


def test_a_value_that_many_share_is_not_likely_for_it():
    X = repeated()
    odd = [[0.0, 2.0], [5.0, -2.0]]
    spread = GUDOutlierDetector(small(max_iter=200)).fit(X)
    assert (spread.predict(odd) == -1).all()
    zero = X[:, 0] == 0
    means = [spread.score_samples(X[some]).mean() for some in (zero, ~zero)]
    kept = GUDOutlierDetector(small(max_iter=60), ties="keep").fit(X)
    gap = np.subtract(*(kept.score_samples(X[some]).mean() for some in (zero, ~zero)))
    # Zeros are a spike of the density; their scores are those of any other row.
    assert gap > 2 and abs(means[0] - means[1]) < 0.5 * gap


def test_ties_of_columns_that_are_said_to_be_continuous_are_spread():
    X = repeated(60)
    detector = GUDOutlierDetector(small(bin_width=None)).fit(X)
    as_they_are = clone(detector.generator).fit(X).score_samples(X)
    assert np.abs(detector.score_samples(X) - as_they_are).mean() > 0.1


def test_the_share_of_outliers_is_what_was_asked_for():
    X = np.random.default_rng(0).integers(0, 2, (400, 10))
    detector = GUDOutlierDetector(small(), contamination=0.1).fit(X)
    assert (detector.predict(X) == -1).mean() == pytest.approx(0.1, abs=0.01)


def test_the_container_makes_no_difference():
    X = np.c_[np.arange(60) % 3, np.arange(60)]
    names = ["first", "second"]
    frames = [
        pd.DataFrame(X, columns=names),
        pd.DataFrame(X, columns=names, dtype="Int64"),
        pl.DataFrame(X, schema=names),
    ]
    expected = GUDOutlierDetector(small()).fit(X).score_samples(X)
    for frame in frames:
        detector = GUDOutlierDetector(small()).fit(frame)
        np.testing.assert_allclose(detector.score_samples(frame), expected)
        # As many rows as columns.
        np.testing.assert_allclose(detector.score_samples(frame[:2]), expected[:2])
        assert list(detector.feature_names_in_) == names
        with pytest.raises(ValueError, match="feature names"):
            detector.score_samples(frame[["second", "first"]])
    assert not hasattr(detector.fit(X), "feature_names_in_")


def test_missing_values_of_pandas_are_missing_values():
    X = pd.DataFrame({"a": np.arange(60) % 3, "b": np.arange(60)}, dtype="Int64")
    detector = GUDOutlierDetector(small(conditional_rate=0.3)).fit(X)
    partial = X[:3].copy()
    partial.iloc[0, 1] = pd.NA
    found = detector.score_samples(partial)
    expected = detector.score_samples(partial.astype(float))
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_allclose(found[1:], detector.score_samples(X)[1:3])


def test_what_is_no_table_of_numbers_is_refused():
    X = pd.DataFrame({"a": np.arange(60) % 3, "b": np.arange(60.0)})
    detector = GUDOutlierDetector(small()).fit(X)
    with pytest.raises(ValueError, match="X must be a table of finite numbers with 2 columns"):
        detector.score_samples(X.astype({"a": str}))
    with pytest.raises(ValueError, match="infinity"):
        detector.score_samples(X.replace(2, np.inf))
    with pytest.raises(ValueError, match="feature names"):
        detector.score_samples(X[["a"]])


def test_spread_columns_are_standard_normal_and_others_stay():
    X = repeated(2000)
    X[::7, 0] = np.nan
    ties = SpreadTies(X)
    assert ties.columns.tolist() == [0]
    found = ties.spread(X, row_keys(X))
    np.testing.assert_array_equal(found[:, 1], X[:, 1])
    np.testing.assert_array_equal(np.isnan(found), np.isnan(X))
    known = found[~np.isnan(found[:, 0]), 0]
    assert kstest(known, "norm").pvalue > 0.01
    # Order is kept, and ties are broken in another way in another draw.
    order = np.argsort(X[:, 0])[: len(known)]
    steps = np.diff(X[order, 0]) > 0
    assert (np.diff(found[order, 0])[steps] > 0).all()
    assert (ties.spread(X, row_keys(X), 1)[:, 0] != found[:, 0]).all()


def test_scores_of_values_beyond_the_seen_ones_go_on():
    X = repeated()
    ties = SpreadTies(X)
    rows = np.c_[[0.5, X[:, 0].max() + 1, X[:, 0].max() + 101, -50.0], np.zeros(4)]
    scores = ties.spread(rows, row_keys(rows))[:, 0]
    assert scores[1] > 2 and scores[3] < -3
    assert scores[2] - scores[1] == pytest.approx(100 / X[:, 0].std())
    # No row has this one: it lies between those that were seen.
    assert abs(scores[0]) < 0.3


def test_frames_keep_their_names_and_scores_depend_on_no_other_row():
    X = pd.DataFrame(repeated(60), columns=["first", "second"])
    X["first"] = X["first"].astype(int)
    detector = GUDOutlierDetector(small()).fit(X)
    assert list(detector.feature_names_in_) == ["first", "second"]
    scores = detector.score_samples(X)
    np.testing.assert_allclose(detector.score_samples(X[20:23]), scores[20:23], rtol=1e-9)
    again = pickle.loads(pickle.dumps(detector))
    np.testing.assert_array_equal(again.score_samples(X), scores)
    with pytest.raises(ValueError, match="feature"):
        detector.score_samples(X[["second"]])


@pytest.mark.parametrize(
    ("detector", "X"),
    [
        (GUDOutlierDetector(small(), ties="keep"), repeated(60)),
        (GUDOutlierDetector(small(bin_width=[1.0, np.nan])), repeated(60)),
        (GUDOutlierDetector(small(shape=(1, 2), network="auto")), repeated(60)),
        (GUDOutlierDetector(small()), continuous()),
    ],
    ids=["kept", "binned", "images", "no ties"],
)
def test_where_ties_are_kept_scores_are_those_of_the_generator(detector, X):
    detector.fit(X)
    expected = clone(detector.generator).fit(X).score_samples(X)
    np.testing.assert_allclose(detector.score_samples(X), expected)
