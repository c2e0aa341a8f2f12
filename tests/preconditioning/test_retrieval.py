"""The reference set: training rows that the network looks up."""

import pickle
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.preprocessing import PowerTransformer, StandardScaler
from torch import nn

from gudlearn import GenerativePipeline, GUDGenerator, GUDImputer, GUDOutlierDetector
from gudlearn._random import row_keys
from gudlearn.preconditioning.kernels import KernelDensities
from gudlearn.training import fit as training_fit
from gudlearn.training.options import n_reference
from small import continuous, small, whole


def families(n_rows=240, n_families=30, seed=0):
    """Rows close to one of a few centres: a distribution that no simple formula describes."""
    centres = np.random.default_rng(7).normal(size=(n_families, 4))
    rng = np.random.default_rng(seed)
    return centres[rng.integers(n_families, size=n_rows)] + 0.1 * rng.normal(size=(n_rows, 4))


def reference_of(generator):
    return generator.state_.preconditioner.reference


def excluded_rows(generator, calls):
    """Note the rows that a generator scores, and the reference rows that it excludes for them.

    Both are as its schema reads them.
    """
    score, read = generator.score_samples_leave_one_out, generator.schema_.read

    def spy(rows, reference):
        calls.append((read(rows), read(reference)))
        return score(rows, reference)

    generator.score_samples_leave_one_out = spy


def with_missing_values(X):
    missing = np.random.default_rng(3).random(X.shape) < 0.2
    return np.where(missing, np.nan, X), missing


@pytest.fixture(scope="module")
def retrieving():
    return small(max_iter=30, retrieval="auto", conditional_rate=0.3).fit(families())


def test_rows_with_near_neighbours_have_a_higher_likelihood(retrieving):
    new, given = families(seed=1), {"given_columns": [0, 1]}
    plain = small(max_iter=30, conditional_rate=0.3).fit(families())
    assert retrieving.score(new) > plain.score(new) + 1.0
    assert retrieving.score(new, **given) > plain.score(new, **given) + 0.5


def test_a_reference_set_changes_nothing_before_training():
    X = families()
    scores = [small(max_iter=0, retrieval=r).fit(X).score_samples(X[:20]) for r in (0, "auto")]
    np.testing.assert_allclose(*scores, rtol=1e-12)


@pytest.mark.parametrize("random_state", [0, None])
def test_held_out_rows_are_not_in_the_reference_set(monkeypatch, random_state):
    held_out, make = [], training_fit.make_validation

    def spy(fitted, rows, *others):
        held_out.append(rows)
        return make(fitted, rows, *others)

    monkeypatch.setattr(training_fit, "make_validation", spy)
    gen = small(retrieval="auto", random_state=random_state).fit(families())
    (rows,), keys = held_out, reference_of(gen).keys
    assert len(rows) == 24 and len(keys) == 216
    assert not np.isin(rows.keys.numpy(), keys).any()


def test_reference_rows_are_found_by_their_values(retrieving):
    X, reference = families(), reference_of(retrieving)
    index = reference.index(row_keys(X)).numpy()
    found = index >= 0
    assert found.sum() == len(reference.keys)
    # Some of the columns are mapped to normal ones before the basis.
    warp = retrieving.state_.encoding.warp
    expected = retrieving.basis_.transform(warp.forward(X[found])[0])
    np.testing.assert_allclose(reference.rows[index[found]], expected, rtol=1e-5)
    assert (reference.index(row_keys(families(seed=1))) == -1).all()


def test_no_row_looks_itself_up_in_training(monkeypatch):
    excluded, posteriors = [], KernelDensities.posteriors

    def spy(self, x, gamma, self_index=None):
        if torch.is_grad_enabled():
            excluded.append(self_index)
        return posteriors(self, x, gamma, self_index)

    monkeypatch.setattr(KernelDensities, "posteriors", spy)
    settings = {"accumulation_steps": 2, "batch_size": 108}
    small(max_iter=1, retrieval="auto", **settings).fit(families())
    assert len(excluded) == 4
    # Each training row once in an epoch.
    assert torch.cat(excluded).sort().values.tolist() == list(range(216))


def test_leave_one_out_scores_exclude_the_row_itself(retrieving):
    X = families()
    scores, excluded = retrieving.score_samples(X), retrieving.score_samples_leave_one_out(X)
    in_reference = reference_of(retrieving).index(row_keys(X)).numpy() >= 0
    np.testing.assert_allclose(scores[~in_reference], excluded[~in_reference], rtol=1e-9)
    assert (scores - excluded)[in_reference].mean() > 0.01


@pytest.mark.parametrize(
    ("pipeline", "dtype"), [(False, np.float32), (True, np.float32), (True, np.float64)]
)
def test_a_threshold_is_that_of_new_rows(pipeline, dtype):
    X = families().astype(dtype)
    model = small(max_iter=30, retrieval="auto")
    if pipeline:
        model = GenerativePipeline([("scale", StandardScaler()), ("model", model)])
    detector = GUDOutlierDetector(model, contamination=0.2).fit(X)
    assert (detector.predict(X) == -1).mean() == pytest.approx(0.2, abs=0.01)
    # The 240 rows of the threshold and the 400 new rows have a standard error of 0.033.
    new = detector.predict(families(400, seed=1))
    assert (new == -1).mean() == pytest.approx(0.2, abs=0.17)
    # Rows that look themselves up have higher scores.
    scores = detector.generator_.score_samples(X)
    assert detector.offset_ < np.percentile(scores, 20)


def test_rows_are_excluded_where_their_ties_are_spread():
    X = np.round(families(), 1)
    X[:, 0] = np.round(X[:, 0])
    detector = GUDOutlierDetector(small(retrieval="auto", validation_fraction=0)).fit(X)
    calls, reference = [], reference_of(detector.generator_)
    excluded_rows(detector.generator_, calls)
    detector.score_samples(X)
    assert len(calls) == 2
    for rows, excluded in calls:
        # Ties were broken otherwise than in the reference set.
        assert (rows[:, 0] != X[:, 0]).all()
        assert (reference.index(row_keys(rows)) == -1).all()
        assert (reference.index(row_keys(excluded)) >= 0).all()


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_pipeline_excludes_rows_in_bins(dtype):
    X = np.round(families(120, 15), 1).astype(dtype)
    model = small(max_iter=30, retrieval="auto", validation_fraction=0)
    steps = [("scale", StandardScaler()), ("model", model)]
    pipeline = GenerativePipeline(steps, bin_width=0.1).fit(X)
    scores, excluded = pipeline.score_samples(X[:30]), pipeline.score_samples_leave_one_out(X[:30])
    assert (scores - excluded).mean() > 0.01
    new = np.round(families(20, 15, seed=1), 1).astype(dtype)
    new = new[~np.isin(row_keys(new), row_keys(X))]
    excluded = pipeline.score_samples_leave_one_out(new)
    np.testing.assert_allclose(excluded, pipeline.score_samples(new))


@pytest.mark.parametrize("dtype", ["Int64", np.int64, np.float32])
def test_rows_that_the_dtypes_of_training_do_not_hold_are_new(dtype):
    X = np.rint(10 * families(120)) + 40
    frame = pd.DataFrame(X, columns=list("abcd")).astype(dtype)
    steps = [("power", PowerTransformer("box-cox")), ("model", small(retrieval="auto"))]
    pipeline = GenerativePipeline(steps).fit(frame)
    new = frame[:4].astype(float)
    new.iloc[0, 0] += 0.4
    new.iloc[1, 0] = 1e39
    new.iloc[2, 0] = 0.4
    scores, excluded = pipeline.score_samples(new), pipeline.score_samples_leave_one_out(new)
    np.testing.assert_allclose(excluded[:3], scores[:3])
    # All reference rows are recognised behind the transformer.
    calls, reference = [], reference_of(pipeline[-1])
    excluded_rows(pipeline[-1], calls)
    pipeline.score_samples_leave_one_out(frame)
    ((_, rows),) = calls
    assert set(reference.index(row_keys(rows)).tolist()) >= set(range(len(reference.keys)))


def test_no_row_looks_up_its_copy():
    X = np.repeat(families(120), 2, axis=0)
    reference = reference_of(small(retrieval="auto", validation_fraction=0).fit(X))
    assert len(reference.keys) == len(np.unique(reference.keys)) == 120
    assert (reference.index(row_keys(X)) >= 0).all()
    # Where rows take few values copies belong to the distribution.
    few = np.random.default_rng(0).integers(0, 2, (60, 2)).astype(float)
    gen = small(retrieval="auto", bin_width=1.0, validation_fraction=0).fit(few)
    assert len(reference_of(gen).keys) == 60


def test_a_pickled_model_has_its_reference_set(retrieving):
    again, X = pickle.loads(pickle.dumps(retrieving)), families(20, seed=1)
    np.testing.assert_array_equal(again.score_samples(X), retrieving.score_samples(X))
    np.testing.assert_array_equal(again.sample(5), retrieving.sample(5))


@pytest.mark.parametrize(("likelihood", "n_rows"), [("bound", 30), ("flow", 6)])
def test_scores_depend_on_no_other_row(retrieving, likelihood, n_rows, monkeypatch):
    monkeypatch.setattr("gudlearn.model.fitted._FLOW_STEPS", 8)
    X = families(n_rows, seed=2)
    gen = pickle.loads(pickle.dumps(retrieving)).set_params(likelihood=likelihood)
    scores = gen.score_samples(X)
    np.testing.assert_allclose(gen.score_samples(X[3:5]), scores[3:5], rtol=1e-9)
    assert np.isfinite(scores).all()


def test_missing_values_of_reference_rows_do_not_count():
    partial, _ = with_missing_values(families(60))
    fitted = small(max_iter=0, retrieval="auto").fit(partial).state_.preconditioner
    reference = fitted.reference
    moved = np.where(reference.observed, reference.rows, np.float32(9.0))
    other = fitted.with_reference(replace(reference, rows=moved))
    x, gamma = torch.from_numpy(families(5, seed=1)), torch.zeros(5, 4)
    assert (moved != reference.rows).any()
    for found, expected in zip(
        *(p.kernels().posteriors(x, gamma) for p in (other, fitted)), strict=True
    ):
        torch.testing.assert_close(found, expected)


def test_neighbours_help_to_impute_missing_values():
    X = families()
    (partial, missing), errors = with_missing_values(X), []
    for retrieval in (0, "auto"):
        imputer = GUDImputer(small(max_iter=60, retrieval=retrieval), random_state=0)
        errors.append(np.abs(imputer.fit_transform(partial) - X)[missing].mean())
    assert errors[1] < 0.8 * errors[0]


def test_the_number_of_reference_rows_is_limited():
    X = continuous(60)
    assert len(reference_of(small(max_iter=0, retrieval=20).fit(X)).keys) == 20
    # A single row would have nobody to look up.
    assert reference_of(small(max_iter=0, retrieval=1).fit(X)) is None
    # Of a larger table as many: one more row changes nothing.
    assert n_reference("auto", images=False) == 2048
    large = small(max_iter=0, retrieval="auto").fit(continuous(3000))
    assert len(reference_of(large).keys) == 2048
    images = whole(20, 16).astype(np.uint8).reshape(20, 4, 4)
    fitted = small(network="auto", max_iter=0, retrieval="auto").fit(images)
    assert reference_of(fitted) is None


class Linear(nn.Module):
    """A user's network: it sees kernel estimates, and answers with one value per component."""

    def __init__(self, n_components, n_channels):
        super().__init__()
        self.layer = nn.Linear(n_components * n_channels, n_components)

    def forward(self, inputs, gamma):
        return self.layer(inputs.flatten(1))


@pytest.mark.parametrize(
    "parameters",
    [
        {"network": Linear},
        {"preconditioning": "gaussian"},
        {"preconditioning": "mixture"},
        {"basis": "pca"},
        {"schedule": "sequential"},
        {"precision": "bf16"},
    ],
    ids=lambda p: next(iter(p.values())) if isinstance(p, dict) else str(p),
)
def test_reference_sets_work_with_other_parameters(parameters):
    X = families(80)
    gen = small(retrieval="auto", max_iter=3, **parameters).fit(X)
    assert np.isfinite(gen.score(families(10, seed=1)))
    partial = X[:3].copy()
    partial[:, 2] = np.nan
    found = gen.set_params(conditioning="posterior").sample(given=partial)
    np.testing.assert_array_equal(found[:, :2], X[:3, :2])
    assert np.isfinite(found).all()


def test_reference_sets_work_with_labels_and_bins():
    X, y = whole(80), np.arange(80) % 3
    gen = small(retrieval="auto", class_conditional=True, bin_width=1.0).fit(X, y)
    assert np.isfinite(gen.score(X, y))
    assert gen.sample(4, y=2, guidance=2.0).shape == (4, 3)


def test_continued_fits_keep_their_reference_set():
    gen = small(retrieval="auto", warm_start=True).fit(families(60))
    before = reference_of(gen)
    gen.fit(families(60, seed=1))
    assert reference_of(gen) is before
    with pytest.raises(ValueError, match="retrieval=0 was 'auto'"):
        gen.set_params(retrieval=0).fit(families(60))
    parts = small(retrieval="auto").partial_fit(families(60))
    before = reference_of(parts)
    assert reference_of(parts.partial_fit(families(60, seed=1))) is before


@pytest.mark.parametrize("retrieval", [-1, 1.5, "all"])
def test_numbers_of_reference_rows_are_checked(retrieval):
    with pytest.raises(ValueError, match="retrieval"):
        GUDGenerator(retrieval=retrieval).fit(continuous())


def test_images_have_no_reference_set():
    images = whole(20, 16).astype(np.uint8).reshape(20, 4, 4)
    with pytest.raises(ValueError, match="retrieval=8 keeps rows of a table"):
        small(network="auto", retrieval=8).fit(images)


def test_rows_of_a_mixed_frame_are_excluded_in_the_users_values():
    rng = np.random.default_rng(0)
    kind = np.repeat(["b", "a", "c"], 30)
    frame = pd.DataFrame({"kind": kind, "size": rng.normal(size=90) + (kind == "a")})
    settings = {"validation_fraction": 0, "conditional_rate": 0.3}
    gen = small(retrieval="auto", **settings).fit(frame)
    excluded = gen.score_samples_leave_one_out(frame)
    # The reference set holds each row once, so that each score has lost its own kernel.
    assert (gen.score_samples(frame) != excluded).all()
    # The rows that others correspond to are found, too.
    np.testing.assert_array_equal(gen.score_samples_leave_one_out(frame, frame), excluded)
    columns = gen.score_columns_leave_one_out(frame[:9])
    again = gen.score_columns_leave_one_out(frame[:9], reference=frame[:9])
    np.testing.assert_array_equal(again, columns)
    # Nothing is excluded for rows that correspond to no training row.
    new = frame.assign(size=frame["size"] + 50)
    np.testing.assert_array_equal(
        gen.score_samples_leave_one_out(frame, new), gen.score_samples(frame)
    )
