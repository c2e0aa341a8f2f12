"""The outlier detector: the density of a generator, then scores in closed form."""

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import BaseEstimator, clone
from sklearn.neighbors import KernelDensity
from sklearn.preprocessing import StandardScaler

from gudlearn import GenerativePipeline, GUDGenerator, GUDOutlierDetector, Schema
from gudlearn._random import row_keys
from small import continuous, small


def test_rows_far_from_the_rest_are_outliers():
    X = continuous(100)
    detector = GUDOutlierDetector(small(), contamination=0.05).fit(X)
    outlier = detector.predict(X) == -1
    assert outlier.sum() == 5
    # Given the first column the last has a standard deviation of 1: 18 nats less.
    assert (detector.predict(X[:20] + [0, 0, 6]) == -1).all()
    decision = detector.decision_function(X)
    np.testing.assert_allclose(decision, detector.score_samples(X) - detector.offset_)
    np.testing.assert_array_equal(decision < 0, outlier)
    np.testing.assert_array_equal(detector.fit_predict(X) == -1, outlier)


def with_unusual_entries(n_rows=100):
    """Three columns that nearly agree, except for column 2 in the second array; and one of ties."""
    rng = np.random.default_rng(0)
    common = rng.normal(size=(n_rows, 1))
    X = np.c_[common + 0.1 * rng.normal(size=(n_rows, 3)), rng.integers(0, 3, n_rows)]
    rows = X[:20].copy()
    # Likely alone. Given the others it is 10 standard deviations off, column 0 only 5.
    rows[:, 2] += 1.2
    return X, rows


@pytest.mark.parametrize("retrieval", [0, "auto"])
def test_the_least_likely_column_is_the_unusual_one(retrieval):
    X, rows = with_unusual_entries()
    generator = small(conditional_rate=0.5, retrieval=retrieval)
    detector = GUDOutlierDetector(generator).fit(X)
    found = detector.score_columns(rows)
    assert found.shape == rows.shape
    assert (found.argmin(1) == 2).all()
    groups = detector.score_columns(rows, groups=[[0, 1], [2], [3]])
    np.testing.assert_array_equal(groups[:, 1:], found[:, 2:])


def test_scores_of_columns_are_those_of_the_generator_where_ties_are_kept():
    X, rows = with_unusual_entries()
    detector = GUDOutlierDetector(small(conditional_rate=0.5), ties="keep").fit(X)
    expected = detector.generator_.score_columns(rows)
    np.testing.assert_array_equal(detector.score_columns(rows), expected)


@pytest.mark.parametrize("method", ["score_samples", "score_columns"])
def test_training_rows_are_scored_without_themselves(method, monkeypatch):
    X, _ = with_unusual_entries()
    detector = GUDOutlierDetector(small(conditional_rate=0.5, retrieval="auto")).fit(X)
    inner, calls = f"{method}_leave_one_out", []
    score = getattr(GUDGenerator, inner)

    def spy(self, rows, reference=None, **named):
        calls.append((rows, reference))
        return score(self, rows, reference=reference, **named)

    monkeypatch.setattr(GUDGenerator, inner, spy)
    getattr(detector, method)(X)
    reference_set = detector.generator_.state_.preconditioner.reference
    # A call for each random spread of ties; the training rows were spread in another way.
    assert len(calls) == 2
    for rows, reference in calls:
        assert (reference_set.index(row_keys(rows)) == -1).all()
        places = reference_set.index(row_keys(reference))
        assert set(places.tolist()) == {-1, *range(len(reference_set.rows))}


def test_scores_of_columns_need_a_gud_generator():
    detector = GUDOutlierDetector(KernelDensity()).fit(continuous())
    with pytest.raises(TypeError, match="score_columns needs a GUDGenerator, but generator=Kernel"):
        detector.score_columns(continuous())


def test_rows_with_missing_values_are_scored_by_the_observed_ones():
    X = continuous(100)
    X[::3, 0] = np.nan
    detector = GUDOutlierDetector(small(), random_state=1).fit(X)
    assert detector.generator_.random_state == 1
    assert np.isfinite(detector.score_samples(X)).all()
    assert detector.predict([[np.nan, np.nan, 50.0]]) == -1


def test_the_random_state_is_passed_to_the_generator_inside():
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
        ({"contamination": "half"}, "contamination"),
        ({"contamination": -0.1}, "contamination"),
        ({"method": "forest"}, "method"),
        ({"ties": "drop"}, "ties"),
        ({"generator": BaseEstimator()}, "generator"),
    ],
    ids=repr,
)
def test_bad_parameters_are_refused(parameters, message):
    with pytest.raises(ValueError, match=message):
        GUDOutlierDetector(**parameters).fit(continuous())


def repeated(n_rows=200, seed=0):
    """Half of the rows have zero in the first column; the second goes with the first."""
    rng = np.random.default_rng(seed)
    latent = rng.normal(size=n_rows)
    return np.c_[np.ceil(3 * latent).clip(0), latent + 0.2 * rng.normal(size=n_rows)]


def mean_and_error(scores):
    return scores.mean(), scores.std() / len(scores) ** 0.5


@pytest.mark.parametrize(("ties", "likelier"), [("keep", True), ("spread", False)])
def test_spread_ties_make_frequent_values_no_likelier(ties, likelier):
    X = repeated()
    detector = GUDOutlierDetector(small(max_iter=0), ties=ties).fit(X)
    scores, zero = detector.score_samples(X), X[:, 0] == 0
    (mean, error), (other, error_2) = (mean_and_error(scores[w]) for w in (zero, ~zero))
    # About 2.4 nats where zeros are a spike of the density, and -0.8 where they are spread.
    margin = 5 * np.hypot(error, error_2)
    assert mean > other + margin if likelier else mean < other + margin


@pytest.mark.parametrize("odd", [[0.0, 2.0], [5.0, -2.0]], ids=["frequent", "rare"])
def test_values_that_do_not_agree_with_other_columns_are_outliers(odd):
    detector = GUDOutlierDetector(small(max_iter=0)).fit(repeated())
    # Keys, and so the spread of ties, differ between rows.
    rows = np.add(odd, [[0.0, 0.01 * k] for k in range(20)])
    mean, error = mean_and_error(detector.decision_function(rows))
    assert mean < -5 * error


class Recorder(BaseEstimator):
    """Keeps the rows of fit; every score is 0."""

    def fit(self, X):
        self.rows_, self.n_features_in_ = X, X.shape[1]
        return self

    def score_samples(self, X):
        return np.zeros(len(X))


def test_equal_training_rows_are_spread_differently():
    X = np.tile([[0.0, 1.0], [1.0, 0.0]], (10, 1))
    rows = GUDOutlierDetector(Recorder()).fit(X).generator_.rows_
    assert len(np.unique(rows, axis=0)) == 20
    np.testing.assert_array_equal(rows > 0, X > 0)


def test_ties_are_spread_where_bin_width_is_none():
    X = repeated(60)
    detector = GUDOutlierDetector(small(bin_width=None)).fit(X)
    as_they_are = clone(detector.generator).fit(X).score_samples(X)
    assert np.abs(detector.score_samples(X) - as_they_are).mean() > 0.1


def test_contamination_is_the_fraction_of_training_rows_below_the_threshold():
    X = np.random.default_rng(0).integers(0, 2, (200, 10))
    detector = GUDOutlierDetector(small(max_iter=0), contamination=0.1).fit(X)
    # Equal rows are on one side of the threshold.
    most_equal = np.unique(X, axis=0, return_counts=True)[1].max()
    assert 20 - most_equal < (detector.predict(X) == -1).sum() <= 20


def test_scores_do_not_depend_on_the_container():
    X = np.c_[np.arange(60) % 3, np.arange(60)]
    names = ["first", "second"]
    frames = [
        pd.DataFrame(X, columns=names),
        pd.DataFrame(X, columns=names, dtype="Int64"),
        pl.DataFrame(X, schema=names),
    ]
    expected = GUDOutlierDetector(small(max_iter=0)).fit(X).score_samples(X)
    for frame in frames:
        detector = GUDOutlierDetector(small(max_iter=0)).fit(frame)
        np.testing.assert_allclose(detector.score_samples(frame), expected)
        # As many rows as columns.
        np.testing.assert_allclose(detector.score_samples(frame[:2]), expected[:2])
        assert list(detector.feature_names_in_) == names
        # Columns are taken by name.
        reordered = frame[["second", "first"]]
        np.testing.assert_allclose(detector.score_samples(reordered), expected)
    assert not hasattr(detector.fit(X), "feature_names_in_")


def test_na_of_pandas_is_a_missing_value():
    X = pd.DataFrame({"a": np.arange(60) % 3, "b": np.arange(60)}, dtype="Int64")
    detector = GUDOutlierDetector(small(conditional_rate=0.3)).fit(X)
    partial = X[:3].copy()
    partial.iloc[0, 1] = pd.NA
    found = detector.score_samples(partial)
    expected = detector.score_samples(partial.astype(float))
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_allclose(found[1:], detector.score_samples(X)[1:3])


def test_text_where_numbers_were_is_refused():
    X = pd.DataFrame({"a": np.arange(60) % 3, "b": np.arange(60.0)})
    detector = GUDOutlierDetector(small(max_iter=0)).fit(X)
    with pytest.raises(ValueError, match="Column 'a' holds the non-numeric value '0' in row 0"):
        detector.score_samples(X.astype({"a": str}))
    plain = GUDOutlierDetector(KernelDensity()).fit(X)
    with pytest.raises(ValueError, match="could not convert|X must be a table of 2 columns"):
        plain.score_samples(X.astype({"a": str}).replace("0", "zero"))
    with pytest.raises(ValueError, match="infinity"):
        detector.score_samples(X.replace(2, np.inf))
    with pytest.raises(ValueError, match="feature names"):
        detector.score_samples(X[["a"]])


def mixed(n=200):
    """A column of many zeros, one that goes with it, and a category that goes with both."""
    X = repeated(n)
    return pd.DataFrame(
        {
            "zeros": X[:, 0],
            "kind": pd.Categorical(np.where(X[:, 1] > 0, "up", "down")),
            "real": X[:, 1],
            "flag": X[:, 1] > 1,
        }
    )


def to_polars(X):
    return pl.DataFrame({name: X[name].tolist() for name in X})


FRAMES = {"pandas": lambda X: X, "polars": to_polars}


@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)
def test_categories_that_do_not_agree_with_numbers_are_outliers(frame):
    X = mixed()
    generator = small(max_iter=0, conditional_rate=0.3)
    detector = GUDOutlierDetector(generator, contamination=0.05).fit(frame(X))
    assert detector.generator_.schema_.names == list(X.columns)
    scores = detector.score_samples(frame(X))
    assert np.isfinite(scores).all()
    np.testing.assert_allclose(detector.score_samples(frame(X[10:20])), scores[10:20], rtol=1e-9)
    # A level that was not seen has a small probability, and not none.
    unseen = X.assign(kind="sideways")
    new = detector.score_samples(frame(unseen))
    assert np.isfinite(new).all() and (new < scores).mean() > 0.95
    by_column = detector.score_columns(frame(unseen[:20]))
    assert by_column.shape == (20, 4)
    assert (by_column.argmin(1) == 1).mean() > 0.9


def test_equal_numbers_with_other_categories_are_spread_differently():
    X = pd.DataFrame({"a": [1.0, 2.0] * 30, "kind": [f"k{k % 20}" for k in range(60)]})
    rows = GUDOutlierDetector(Recorder()).fit(X).generator_.rows_
    assert rows["a"].nunique() == 60 and rows["kind"].equals(X["kind"])


def test_columns_with_a_declared_type_are_not_spread():
    X = pd.DataFrame({"a": np.arange(60) % 3, "b": np.arange(60) % 5})
    schema = Schema(feature_types={"a": "category"})
    detector = GUDOutlierDetector(small(max_iter=0, schema=schema)).fit(X)
    assert [c.feature_type for c in detector.generator_.schema_.columns][0] == "category"
    assert detector.generator_.schema_.columns[0].n_distinct == 3
    assert detector.generator_.schema_.columns[1].n_distinct == 60


def test_the_reference_set_of_a_mixed_frame_is_looked_up_without_the_row(monkeypatch):
    X = mixed(100)
    detector = GUDOutlierDetector(small(retrieval="auto")).fit(X)
    calls = []
    score = GUDGenerator.score_samples_leave_one_out

    def spy(self, rows, reference=None):
        calls.append(reference)
        return score(self, rows, reference=reference)

    monkeypatch.setattr(GUDGenerator, "score_samples_leave_one_out", spy)
    detector.score_samples(X)
    generator = detector.generator_
    reference_set = generator.state_.preconditioner.reference
    for reference in calls:
        places = reference_set.index(row_keys(generator.schema_.read(reference)))
        assert set(places.tolist()) == {-1, *range(len(reference_set.rows))}


def test_scores_of_frames_depend_on_no_other_row():
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
        (GUDOutlierDetector(small(shape=(1, 2))), repeated(60)),
        (GUDOutlierDetector(small()), continuous()),
    ],
    ids=["kept", "binned", "images", "no ties"],
)
def test_scores_are_those_of_the_generator_where_ties_are_kept(detector, X):
    detector.fit(X)
    expected = clone(detector.generator).fit(X).score_samples(X)
    np.testing.assert_allclose(detector.score_samples(X), expected)


# In closed form


def correlated(n=400, seed=0):
    """Three columns, of which the last two nearly agree."""
    X = np.random.default_rng(seed).normal(size=(n, 3))
    X[:, 2] = X[:, 1] + 0.1 * X[:, 2]
    return X


def test_by_default_nothing_is_trained_for_tables():
    detector = GUDOutlierDetector(random_state=0).fit(correlated())
    assert detector.method_ == "kernel" and detector.generator_ is None
    assert GUDOutlierDetector(small(max_iter=0)).fit(correlated()).method_ == "density"
    chosen = GUDOutlierDetector(small(max_iter=0), method="kernel").fit(correlated())
    assert chosen.method_ == "kernel"


def test_images_are_scored_by_density():
    images = np.random.default_rng(0).normal(size=(12, 4, 4))
    detector = GUDOutlierDetector(random_state=0)
    detector.set_params(generator__max_iter=0, generator__network="mlp").fit(images)
    assert detector.method_ == "density" and detector.score_samples(images[:2]).shape == (2,)
    with pytest.raises(ValueError, match="method='kernel' scores rows of tables, but X holds imag"):
        GUDOutlierDetector(method="kernel").fit(images)


def test_rows_that_break_a_correlation_are_less_usual():
    detector = GUDOutlierDetector(random_state=0).fit(correlated())
    # Each value is frequent; the difference of the columns is 15 of its standard deviations.
    rows = np.array([[0.0, 0.8, -0.7], [0.3, -0.8, 0.7]])
    agree = rows * [1, 1, -1]
    assert (detector.score_samples(rows) < detector.score_samples(agree) - 1).all()
    assert (detector.predict(rows * [1, 2, 2]) == -1).all()
    by_column = detector.score_columns(rows)
    assert by_column.shape == (2, 3) and (by_column.argmin(1) > 0).all()
    assert (by_column[:, 0] > by_column[:, 1:].min(1)).all()


def test_scores_of_columns_are_differences_of_scores():
    X = correlated()
    detector = GUDOutlierDetector(random_state=0).fit(X)
    rows = X[:5] + 0.01
    without = np.where([False, True, False], np.nan, rows)
    expected = detector.score_samples(rows) - detector.score_samples(without)
    np.testing.assert_allclose(detector.score_columns(rows)[:, 1], expected)
    groups = detector.score_columns(rows, groups={"one": [1], "two": [0, 1]})
    np.testing.assert_allclose(groups[:, 0], expected)
    assert (detector.score_columns(without)[:, 1] == 0).all()
    with pytest.raises(ValueError, match="groups holds the index 3"):
        detector.score_columns(rows, groups=[[3]])


def test_columns_of_training_rows_are_scored_without_these_rows():
    X = correlated()
    detector = GUDOutlierDetector(random_state=0).fit(X)
    without = np.where([True, False, False], np.nan, X)
    rest = detector._densities.score(without, np.arange(len(X)))
    found = detector.score_columns(X)[:, 0]
    np.testing.assert_allclose(found, detector.score_samples(X) - rest)


def test_contamination_auto_is_the_fence_of_held_out_scores():
    X = correlated(600)
    detector = GUDOutlierDetector(contamination="auto", random_state=0).fit(X)
    low, high = np.quantile(detector.score_samples(X), [0.25, 0.75])
    assert detector.offset_ == pytest.approx(low - 1.5 * (high - low))
    # Tukey's fence leaves 0.35 % of a normal sample below it; scores have a longer lower tail.
    assert (detector.predict(correlated(600, seed=1)) == -1).mean() < 0.08
    assert (detector.predict(X[:20] + 9) == -1).all()


def test_contamination_auto_of_a_density_holds_rows_out():
    X = continuous(100)
    recorder = GUDOutlierDetector(Recorder(), contamination="auto").fit(X)
    assert len(recorder.generator_.rows_) == 90 and recorder.offset_ == 0
    few = GUDOutlierDetector(Recorder(), contamination="auto").fit(X[:20])
    assert len(few.generator_.rows_) == 20
    frame = GUDOutlierDetector(Recorder(), contamination="auto").fit(mixed(100))
    assert len(frame.generator_.rows_) == 90
    given = GUDOutlierDetector(Recorder(), contamination=0.1).fit(X)
    assert len(given.generator_.rows_) == 100


def test_one_row_and_rows_without_values_are_refused():
    with pytest.raises(ValueError, match="1 sample.* while a minimum of 2 is required"):
        GUDOutlierDetector().fit([[1.0, 2.0]])
    with pytest.raises(ValueError, match="X has no observed value"):
        GUDOutlierDetector().fit(np.full((5, 2), np.nan))
    with pytest.raises(ValueError, match="infinity"):
        GUDOutlierDetector().fit([[1.0], [np.inf], [2.0]])
    detector = GUDOutlierDetector(random_state=0).fit([[1.0, 2.0], [3.0, 4.0]])
    assert np.isfinite(detector.score_samples([[1.0, 2.0], [50.0, 0.0]])).all()


def test_a_failed_fit_changes_nothing():
    detector = GUDOutlierDetector(random_state=0).fit(correlated())
    before = detector.score_samples(correlated())
    with pytest.raises(ValueError, match="no observed value"):
        detector.fit(np.full((5, 2), np.nan))
    assert detector.n_features_in_ == 3
    np.testing.assert_array_equal(detector.score_samples(correlated()), before)


def test_constant_rows_are_equal_and_others_are_outliers():
    detector = GUDOutlierDetector(contamination="auto", random_state=0).fit(np.full((30, 2), 4.0))
    assert (detector.predict(np.full((5, 2), 4.0)) == 1).all()
    assert (detector.predict([[4.0, 5.0], [4.1, 4.0]]) == -1).all()


def test_columns_that_were_missing_in_fit_are_ignored():
    X = np.c_[correlated(), np.full(400, np.nan)]
    detector = GUDOutlierDetector(random_state=0).fit(X)
    rows = X[:3].copy()
    rows[:, 3] = 1e6
    np.testing.assert_array_equal(detector.score_samples(rows), detector.score_samples(X[:3]))
    missing = np.full((2, 4), np.nan)
    np.testing.assert_array_equal(detector.score_samples(missing), [0, 0])


@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)
def test_mixed_frames_are_scored_in_closed_form(frame):
    X = mixed()
    detector = GUDOutlierDetector(random_state=0).fit(frame(X))
    assert detector.method_ == "kernel" and list(detector.feature_names_in_) == list(X)
    scores = detector.score_samples(frame(X))
    np.testing.assert_allclose(detector.score_samples(frame(X[10:20])), scores[10:20])
    # Columns are taken by name.
    np.testing.assert_allclose(detector.score_samples(frame(X[list(X)[::-1]])), scores)
    unseen = frame(X.assign(kind="sideways"))
    assert (detector.score_samples(unseen) < scores).mean() > 0.95
    assert (detector.score_columns(unseen).argmin(1) == 1).mean() > 0.9
    with pytest.raises(ValueError, match="feature names"):
        detector.score_samples(frame(X[["kind"]]))
    with pytest.raises(ValueError, match="Column 'real' holds the non-numeric value 'x' in row 0"):
        detector.score_samples(frame(X.assign(real="x")))


def test_scores_depend_on_the_seed_only():
    X = np.random.default_rng(0).normal(size=(150, 12))
    first, second, other = (
        GUDOutlierDetector(random_state=seed).fit(X).score_samples(X) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, second)
    assert np.abs(first - other).max() > 0
    again = pickle.loads(pickle.dumps(GUDOutlierDetector(random_state=0).fit(X)))
    np.testing.assert_array_equal(again.score_samples(X), first)
