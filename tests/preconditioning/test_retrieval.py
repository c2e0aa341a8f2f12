"""Rows that are kept for the network to look up."""

import pickle

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
from gudlearn.training.options import _MOST_REFERENCE
from small import continuous, small, whole


def families(n_rows=240, n_families=30, seed=0):
    """Rows that lie close to one of a few centres which no simple law describes."""
    centres = np.random.default_rng(7).normal(size=(n_families, 4))
    rng = np.random.default_rng(seed)
    return centres[rng.integers(n_families, size=n_rows)] + 0.1 * rng.normal(size=(n_rows, 4))


@pytest.fixture(scope="module")
def kept():
    return small(max_iter=30, retrieval="auto", conditional_rate=0.3).fit(families())


def test_rows_with_near_neighbours_are_likelier(kept):
    new = families(seed=1)
    plain = small(max_iter=30, conditional_rate=0.3).fit(families())
    assert kept.score(new) > plain.score(new) + 1.0
    known = [0, 1]
    gain = kept.score_samples(new, given_columns=known) - plain.score_samples(
        new, given_columns=known
    )
    assert gain.mean() > 0.5


def test_before_training_nothing_is_different():
    X = families()
    scores = [small(max_iter=0, retrieval=r).fit(X).score_samples(X[:20]) for r in (0, "auto")]
    np.testing.assert_allclose(*scores, rtol=1e-12)


@pytest.mark.parametrize("random_state", [0, None])
def test_rows_that_judge_are_not_kept(monkeypatch, random_state):
    judges = []
    make = training_fit.make_validation
    monkeypatch.setattr(
        training_fit, "make_validation", lambda *a: judges.append(a[1]) or make(*a)
    )
    X = families()
    gen = small(retrieval="auto", random_state=random_state).fit(X)
    (held_out,) = judges
    remembered = gen.state_.preconditioner.reference.keys
    assert len(held_out) == 24 and len(remembered) == 216
    assert not np.isin(held_out.keys.numpy(), remembered).any()


def test_rows_are_found_by_their_values(kept):
    X = families()
    places = kept.state_.preconditioner.self_index(row_keys(X)).numpy()
    found = places >= 0
    assert found.sum() == len(kept.state_.preconditioner.reference.keys)
    expected = kept.basis_.transform(X[found])
    np.testing.assert_allclose(kept.state_.preconditioner.reference.rows[places[found]], expected, rtol=1e-5)
    assert (kept.state_.preconditioner.self_index(row_keys(families(seed=1))) == -1).all()


def test_in_training_no_row_is_told_of_itself(monkeypatch):
    asked = []
    posteriors = KernelDensities.posteriors

    def spy(self, x, gamma, self_index=None):
        if torch.is_grad_enabled():
            asked.append(self_index)
        return posteriors(self, x, gamma, self_index)

    monkeypatch.setattr(KernelDensities, "posteriors", spy)
    gen = small(max_iter=1, retrieval="auto", accumulation_steps=2, batch_size=108)
    gen.fit(families())
    own = torch.cat(asked)
    assert len(asked) == 4
    # Each of the rows that are trained on once in a pass.
    assert own.sort().values.tolist() == list(range(216))


def test_a_row_counts_as_new_if_it_is_to(kept):
    X = families()
    told, as_new = kept.score_samples(X), kept.score_samples_leave_one_out(X)
    remembered = (kept.state_.preconditioner.self_index(row_keys(X)) >= 0).numpy()
    np.testing.assert_allclose(told[~remembered], as_new[~remembered], rtol=1e-9)
    assert (told - as_new)[remembered].mean() > 0.01


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("pipeline", [False, True])
def test_a_threshold_is_that_of_new_rows(pipeline, dtype):
    X = families().astype(dtype)
    model = small(max_iter=30, retrieval="auto")
    if pipeline:
        model = GenerativePipeline([("scale", StandardScaler()), ("model", model)])
    detector = GUDOutlierDetector(model, contamination=0.2).fit(X)
    assert (detector.predict(X) == -1).mean() == pytest.approx(0.2, abs=0.01)
    new = detector.predict(families(400, seed=1))
    assert (new == -1).mean() == pytest.approx(0.2, abs=0.07)
    told = detector.generator_.score_samples(X)
    assert detector.offset_ < np.percentile(told, 20) - 0.01


def test_rows_count_as_new_where_their_ties_are_spread():
    X = np.round(families(), 1)
    X[:, 0] = np.round(X[:, 0])
    detector = GUDOutlierDetector(small(retrieval="auto", validation_fraction=0)).fit(X)
    assert 0 in detector._ties.columns
    reference = detector.generator_.state_.preconditioner.reference
    itself = detector._ties.spread(X, row_keys(X))
    assert (reference.index(row_keys(itself)) >= 0).all()
    # No score is of the very values that are kept.
    asked = []
    score = detector.generator_.score_samples_leave_one_out
    detector.generator_.score_samples_leave_one_out = lambda rows, own: asked.append(rows) or score(rows, own)
    detector.score_samples(X)
    assert len(asked) == 2
    assert all((reference.index(row_keys(rows)) == -1).all() for rows in asked)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_rows_in_bins_count_as_new_to_a_pipeline(dtype):
    X = np.round(families(), 1).astype(dtype)
    model = small(max_iter=30, retrieval="auto", validation_fraction=0)
    steps = [("scale", StandardScaler()), ("model", model)]
    pipeline = GenerativePipeline(steps, bin_width=0.1).fit(X)
    told, as_new = pipeline.score_samples(X), pipeline.score_samples_leave_one_out(X)
    assert (told - as_new).mean() > 0.01
    new = np.round(families(seed=1), 1).astype(dtype)
    new = new[~np.isin(row_keys(new), row_keys(X))]
    np.testing.assert_allclose(pipeline.score_samples_leave_one_out(new), pipeline.score_samples(new))


@pytest.mark.parametrize("dtype", ["Int64", np.int64, np.float32])
def test_rows_that_no_dtype_of_training_holds_are_new(dtype):
    X = np.rint(10 * families()) + 40
    frame = pd.DataFrame(X, columns=list("abcd")).astype(dtype)
    steps = [("power", PowerTransformer("box-cox")), ("model", small(retrieval="auto"))]
    pipeline = GenerativePipeline(steps).fit(frame)
    new = frame[:4].astype(float)
    new.iloc[0, 0] += 0.4
    new.iloc[1, 0] = 1e39
    new.iloc[2, 0] = 0.4
    told, as_new = pipeline.score_samples(new), pipeline.score_samples_leave_one_out(new)
    np.testing.assert_allclose(as_new[:3], told[:3])
    reference = pipeline[-1].state_.preconditioner.reference
    own = pipeline._as_trained(frame)
    assert (reference.index(row_keys(own)) >= 0).sum() >= len(reference.keys)


def test_no_row_is_told_of_its_copy():
    X = np.repeat(families(120), 2, axis=0)
    gen = small(retrieval="auto", validation_fraction=0).fit(X)
    keys = gen.state_.preconditioner.reference.keys
    assert len(keys) == len(np.unique(keys)) == 120
    assert (gen.state_.preconditioner.self_index(row_keys(X)) >= 0).all()
    # Where rows take few values copies are the law.
    few = np.random.default_rng(0).integers(0, 2, (60, 2)).astype(float)
    gen = small(retrieval="auto", validation_fraction=0).fit(few)
    assert len(gen.state_.preconditioner.reference.keys) == 60


def test_a_copy_remembers(kept):
    again = pickle.loads(pickle.dumps(kept))
    X = families(20, seed=1)
    np.testing.assert_array_equal(again.score_samples(X), kept.score_samples(X))
    np.testing.assert_array_equal(again.sample(5), kept.sample(5))


@pytest.mark.parametrize("likelihood", ["bound", "flow"])
def test_scores_depend_on_no_other_row(kept, likelihood):
    X = families(30, seed=2)
    gen = pickle.loads(pickle.dumps(kept)).set_params(likelihood=likelihood)
    whole_score = gen.score_samples(X)
    np.testing.assert_allclose(gen.score_samples(X[7:9]), whole_score[7:9], rtol=1e-9)
    assert np.isfinite(whole_score).all()


def test_what_is_missing_is_found_among_the_neighbours():
    X = families()
    hidden = np.random.default_rng(3).random(X.shape) < 0.2
    partial = np.where(hidden, np.nan, X)
    errors = []
    for retrieval in (0, "auto"):
        imputer = GUDImputer(small(max_iter=60, retrieval=retrieval), random_state=0)
        errors.append(np.abs(imputer.fit_transform(partial) - X)[hidden].mean())
    assert errors[1] < 0.8 * errors[0]


def test_only_so_many_rows_are_kept():
    X = continuous(60)
    assert len(small(retrieval=20).fit(X).state_.preconditioner.reference.keys) == 20
    # A row alone would have nobody to be told of.
    assert small(retrieval=1).fit(X).state_.preconditioner.reference is None
    many = continuous(_MOST_REFERENCE + 1)
    assert small(max_iter=0, retrieval="auto").fit(many).state_.preconditioner.reference is None
    images = whole(20, 16).astype(np.uint8).reshape(20, 4, 4)
    fitted = small(network="auto", max_iter=0, retrieval="auto").fit(images)
    assert fitted.state_.preconditioner.reference is None


class Linear(nn.Module):
    """Someone's own network: it sees what kernels say, and answers with one value a component."""

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
def test_it_goes_with(parameters):
    X = families(80)
    gen = small(retrieval="auto", max_iter=3, **parameters).fit(X)
    assert np.isfinite(gen.score(families(10, seed=1)))
    partial = X[:3].copy()
    partial[:, 2] = np.nan
    found = gen.set_params(conditioning="posterior").sample(given=partial)
    np.testing.assert_array_equal(found[:, :2], X[:3, :2])
    assert np.isfinite(found).all()


def test_labels_and_discrete_columns_go_with_it():
    X, y = whole(80), np.arange(80) % 3
    gen = small(retrieval="auto", class_conditional=True, bin_width=1.0).fit(X, y)
    assert np.isfinite(gen.score(X, y))
    assert gen.sample(4, y=2, guidance=2.0).shape == (4, 3)


def test_fits_go_on_with_the_rows_that_they_began_with():
    gen = small(retrieval="auto", warm_start=True).fit(families())
    before = gen.state_.preconditioner.reference
    gen.fit(families(seed=1))
    assert gen.state_.preconditioner.reference is before
    with pytest.raises(ValueError, match="retrieval=0 was 'auto'"):
        gen.set_params(retrieval=0).fit(families())
    parts = small(retrieval="auto").partial_fit(families(60))
    remembered = parts.state_.preconditioner.reference
    assert parts.partial_fit(families(60, seed=1)).state_.preconditioner.reference is remembered


@pytest.mark.parametrize("retrieval", [-1, 1.5, "all"])
def test_what_is_no_number_of_rows_is_refused(retrieval):
    with pytest.raises(ValueError, match="retrieval"):
        GUDGenerator(retrieval=retrieval).fit(continuous())


def test_images_are_not_kept():
    images = whole(20, 16).astype(np.uint8).reshape(20, 4, 4)
    with pytest.raises(ValueError, match="retrieval=8 keeps rows of a table"):
        small(network="auto", retrieval=8).fit(images)
