"""What GUDGenerator promises of fit, sample and score."""

import copy
import io
import pickle
import random

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone

from gudlearn import (
    DDIM,
    Ancestral,
    DPMSolver,
    EulerMaruyama,
    Heun,
    PCABasis,
    SoftConditioningSchedule,
)
from gudlearn._random import seed_keys
from small import continuous, small, whole

SCHEDULES = ["auto", "linear", "cosine", "vp", "soft", "sequential"]
KINDS = [(continuous(), None), (whole(), 1.0)]
# Untrained, with independent components: the product of the marginals.
INDEPENDENT = {"max_iter": 0, "preconditioning": "marginal"}
every_kind = pytest.mark.parametrize(("X", "bin_width"), KINDS, ids=["continuous", "discrete"])


@pytest.fixture(scope="module")
def fitted():
    """One fit to continuous and one to discrete rows, for tests that only read."""
    return [(small(bin_width=width, max_iter=5).fit(X), X) for X, width in KINDS]


@pytest.fixture
def noise_by_index(monkeypatch):
    """Key the noise of rows by their index, so that it does not change with their units."""
    monkeypatch.setattr("gudlearn.data.rows.row_keys", lambda X: seed_keys(0, len(X)))


def same_weights(first, second):
    return all(
        np.array_equal(weight, second.weights_[name]) for name, weight in first.weights_.items()
    )


# Scores


def test_the_scores_agree_with_each_other(fitted):
    for gen, X in fitted:
        rows = gen.score_samples(X)
        assert rows.shape == (40,)
        assert rows.dtype == np.float64
        assert isinstance(gen.score(X), float)
        assert gen.score(X) == pytest.approx(rows.mean(), rel=1e-12)
        assert gen.bits_per_dim(X) == pytest.approx(-rows.mean() / 3 / np.log(2), rel=1e-12)


@pytest.mark.parametrize(
    ("basis", "n_extra"), [("identity", 0), ("block", 0), ("pca", 3), ("fourier", 3)]
)
@every_kind
def test_component_scores_sum_to_the_score(basis, n_extra, X, bin_width):
    gen = small(basis=basis, bin_width=bin_width).fit(X)
    split = gen.score_components(X)
    # Where components are not columns, the reconstruction of each column is an extra one.
    assert split.shape == (40, 3 + (n_extra if bin_width else 0))
    np.testing.assert_allclose(split.sum(1), gen.score_samples(X), rtol=1e-12)


def test_component_scores_of_columns_are_in_their_order():
    X = np.column_stack([continuous()[:, 0], whole()[:, 0], np.full(40, 2.0)])
    # A joint Gaussian would find correlations by chance.
    gen = small(bin_width=[None, 1.0, None], **INDEPENDENT).fit(X)
    for j in range(2):
        alone = small(bin_width=[None, 1.0][j], **INDEPENDENT).fit(X[:, [j]])
        np.testing.assert_allclose(
            gen.score_components(X)[:, j], alone.score_samples(X[:, [j]]), rtol=1e-9
        )
    np.testing.assert_array_equal(gen.score_components(X)[:, 2], 0)


def test_the_flow_has_no_split_by_component():
    X = continuous(10, 1)
    gen = small(likelihood="flow", max_iter=0).fit(X)
    with pytest.raises(ValueError, match="likelihood='flow' has no split by component"):
        gen.score_components(X)


def test_the_flow_of_the_untrained_model_is_near_its_bound():
    X = continuous(12, 1)
    gen = small(likelihood="flow", max_iter=0).fit(X)
    flow = gen.score_samples(X)
    bound = small(max_iter=0).fit(X).score_samples(X)
    assert flow.shape == (12,)
    # One component has no correction by the network: neither number has noise.
    np.testing.assert_allclose(flow, bound, atol=1e-3)
    np.testing.assert_array_equal(gen.score_samples(X), flow)


def test_scores_do_not_depend_on_the_other_rows(fitted):
    for gen, X in fitted:
        rows = gen.score_samples(X)
        order = np.random.default_rng(0).permutation(len(X))
        np.testing.assert_array_equal(gen.score_samples(X), rows)
        np.testing.assert_allclose(gen.score_samples(X[order]), rows[order], rtol=1e-12)
        np.testing.assert_allclose(gen.score_samples(X[7:8]), rows[7:8], rtol=1e-12)
        np.testing.assert_allclose(gen.score_samples(X[::3]), rows[::3], rtol=1e-12)
        # More rows than a chunk holds.
        many = np.tile(X, (4, 1))
        np.testing.assert_allclose(gen.score_samples(many), np.tile(rows, 4), rtol=1e-12)


def test_without_a_seed_scores_are_deterministic_too():
    X = continuous()
    gen = small(random_state=None).fit(X)
    np.testing.assert_array_equal(gen.score_samples(X), gen.score_samples(X))


def test_scores_take_rows_of_any_numeric_dtype(fitted):
    gen, X = fitted[1]
    for same in (X.astype(np.float32), X.astype(int), X.tolist(), np.asfortranarray(X)):
        np.testing.assert_allclose(gen.score_samples(same), gen.score_samples(X), rtol=1e-12)


@pytest.mark.parametrize("basis", ["identity", "pca"])
def test_scores_are_in_the_units_of_the_rows(basis, noise_by_index):
    # Scaling by a power of two is exact: the model is the same to the last bit.
    X = continuous()
    gen, scaled = small(basis=basis).fit(X), small(basis=basis).fit(4 * X)
    assert same_weights(gen, scaled)
    np.testing.assert_allclose(
        scaled.score_samples(4 * X), gen.score_samples(X) - 3 * np.log(4), rtol=1e-12
    )


def test_scaling_one_column_shifts_the_score_by_its_logarithm():
    X = continuous()
    for c in (1e-3, 7.0):
        scaled = X * [1, c, 1]
        np.testing.assert_allclose(
            small(**INDEPENDENT).fit(scaled).score_samples(scaled),
            small(**INDEPENDENT).fit(X).score_samples(X) - np.log(c),
            rtol=1e-6,
        )


@pytest.mark.parametrize("basis", ["identity", "pca"])
def test_probabilities_do_not_depend_on_the_units(basis, noise_by_index):
    X = whole()
    gen = small(basis=basis, bin_width=1.0).fit(X)
    scaled = small(basis=basis, bin_width=1 / 16).fit(X / 16)
    assert same_weights(gen, scaled)
    np.testing.assert_allclose(scaled.score_samples(X / 16), gen.score_samples(X), atol=1e-6)
    np.testing.assert_array_equal(16 * scaled.sample(20), gen.sample(20))


@pytest.mark.parametrize("preconditioning", ["auto", "marginal"])
def test_training_does_not_depend_on_the_units(preconditioning):
    X = whole()
    parameters = {"validation_fraction": 0, "max_iter": 10, "preconditioning": preconditioning}
    gen = small(bin_width=1.0, **parameters).fit(X)
    scaled = small(bin_width=1 / 16, **parameters).fit(X / 16)
    assert same_weights(gen, scaled)
    # The noise inside scores is keyed by the values: only means over keys agree.
    scores, of_scaled = (
        np.array([g.set_params(random_state=k).score(rows) for k in range(16)])
        for g, rows in ((gen, X), (scaled, X / 16))
    )
    error = np.hypot(scores.std(ddof=1), of_scaled.std(ddof=1)) / np.sqrt(16)
    assert abs(of_scaled.mean() - scores.mean()) < 5 * error < 0.5


# Samples


@pytest.mark.parametrize(
    "sampler",
    [
        DPMSolver(steps=4),
        DDIM(steps=4),
        DDIM(steps=4, eta=0.5),
        Ancestral(steps=4),
        Heun(steps=2),
        EulerMaruyama(steps=4),
    ],
)
@every_kind
def test_the_first_rows_of_a_sample_do_not_depend_on_its_size(sampler, X, bin_width):
    gen = small(sampler=sampler, bin_width=bin_width).fit(X)
    rows = gen.sample(300)
    assert rows.shape == (300, 3)
    for k in (1, 10, 255, 256, 257):
        np.testing.assert_array_equal(gen.sample(k), rows[:k])
    # Rows differ from each other, and so do chunks.
    assert not np.array_equal(rows[:44], rows[256:])
    assert len(np.unique(rows, axis=0)) > 20


def test_an_integer_seed_repeats_the_sample(fitted):
    for gen, _ in fitted:
        np.testing.assert_array_equal(gen.sample(5), gen.sample(5))


def test_random_state_of_the_call_overrides_that_of_the_estimator(fitted):
    gen, X = fitted[0]
    np.testing.assert_array_equal(gen.sample(5, random_state=0), gen.sample(5))
    other = gen.sample(5, random_state=1)
    assert not np.array_equal(other, gen.sample(5))
    np.testing.assert_array_equal(
        gen.sample(5, random_state=np.random.RandomState(3)),
        gen.sample(5, random_state=np.random.RandomState(3)),
    )
    unseeded = copy.copy(gen).set_params(random_state=None)
    assert not np.array_equal(unseeded.sample(5), unseeded.sample(5))
    np.testing.assert_array_equal(unseeded.sample(5, random_state=1), other)


def test_samples_follow_the_data():
    X = continuous(400) * [1, 10, 1] + [0, 100, 0]
    n = 3000
    rows = small(max_iter=0, sampler=DPMSolver(steps=20)).fit(X).sample(n)
    for q in (0.1, 0.25, 0.5, 0.75, 0.9):
        below = (rows < np.quantile(X, q, axis=0)).mean(0)
        # Without noise it differs by up to 0.025: the marginals are smoother than the data's.
        np.testing.assert_allclose(below, q, rtol=0, atol=5 * np.sqrt(q * (1 - q) / n) + 0.025)


# What fit leaves alone


def test_fitting_twice_gives_the_same():
    X = continuous()
    gen = small().fit(X)
    rows, losses = gen.score_samples(X), gen.loss_curve_
    gen.fit(X)
    np.testing.assert_array_equal(gen.score_samples(X), rows)
    assert gen.loss_curve_ == losses
    assert not np.array_equal(small(random_state=1).fit(X).score_samples(X), rows)


def test_global_random_states_do_not_move():
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    for seed in (0, np.random.RandomState(0)):
        gen = small(random_state=seed).fit(whole())
        gen.partial_fit(whole())
        gen.score(whole())
        gen.sample(3)
    assert torch.equal(torch.get_rng_state(), before[0])
    np.testing.assert_array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002
    assert random.getstate() == before[2]


def test_settings_of_torch_do_not_change():
    def settings():
        return torch.get_num_threads(), torch.get_default_dtype(), torch.is_grad_enabled()

    before = settings()
    gen = small().fit(continuous())
    gen.score(continuous())
    gen.sample(2)
    assert settings() == before


def test_fit_leaves_parameters_and_data_alone():
    X = whole()
    X.flags.writeable = False
    copied, basis = X.copy(), PCABasis()
    gen = small(basis=basis, bin_width=1.0)
    parameters = gen.get_params(deep=False)
    gen.fit(X)
    np.testing.assert_array_equal(X, copied)
    assert all(gen.get_params(deep=False)[k] is v for k, v in parameters.items())
    assert not [name for name in vars(basis) if name.endswith("_")]


def test_the_target_is_ignored():
    X = continuous()
    np.testing.assert_array_equal(
        small().fit(X, y=X[:, 0]).score_samples(X), small().fit(X).score_samples(X)
    )


# Copies


def round_trip(gen):
    buffer = io.BytesIO()
    joblib.dump(gen, buffer)
    buffer.seek(0)
    return joblib.load(buffer)


@pytest.mark.parametrize(
    "duplicate",
    [lambda g: pickle.loads(pickle.dumps(g)), round_trip, copy.copy, copy.deepcopy],
    ids=["pickle", "joblib", "copy", "deepcopy"],
)
def test_copies_score_and_sample_the_same(duplicate, fitted):
    for gen, X in fitted:
        twin = duplicate(gen)
        np.testing.assert_array_equal(twin.score_samples(X), gen.score_samples(X))
        np.testing.assert_array_equal(twin.sample(5), gen.sample(5))


def test_a_copy_is_independent():
    X = continuous()
    gen = small().fit(X)
    before = gen.score(X)
    copy.copy(gen).set_params(max_iter=9).fit(2 * X)
    pickle.loads(pickle.dumps(gen)).partial_fit(X)
    assert gen.score(X) == before


def test_nothing_of_torch_is_pickled(fitted):
    for gen, _ in fitted:
        assert b"torch" not in pickle.dumps(gen)


def test_a_clone_is_not_fitted(fitted):
    gen, _ = fitted[0]
    twin = clone(gen)
    assert repr(twin.get_params()) == repr(gen.get_params())
    assert not [name for name in vars(twin) if name.endswith("_")]


# Learned attributes


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_log_snr_falls_from_data_to_noise(schedule):
    gen = small(schedule=schedule, max_iter=1).fit(continuous())
    log_snr = gen.log_snr(np.linspace(0, 1, 5))
    assert log_snr.shape == (5, 3)
    assert (np.diff(log_snr, axis=0) <= 1e-9).all()
    reference = small(max_iter=0).fit(continuous()).log_snr([0, 1])
    # End points belong to the data, not to the schedule.
    np.testing.assert_allclose(log_snr[[0, -1]], reference, atol=1e-9)


def test_learned_attributes_describe_the_fit():
    X = pd.DataFrame(continuous(), columns=["a", "b", "c"])
    gen = small(max_iter=4).fit(X)
    assert gen.n_features_in_ == 3
    np.testing.assert_array_equal(gen.feature_names_in_, ["a", "b", "c"])
    assert gen.n_iter_ == len(gen.loss_curve_) == 4
    assert np.isfinite(gen.loss_curve_).all()
    assert len(gen.validation_scores_) == len(gen.validation_iters_)
    assert (gen.validation_iters_[0], gen.validation_iters_[-1]) == (0, 4)
    assert gen.best_validation_score_ in gen.validation_scores_
    assert all(isinstance(w, np.ndarray) for w in gen.weights_.values())
    assert gen.basis_.n_components_ == 3
    assert not hasattr(small(max_iter=0).fit(X.to_numpy()), "feature_names_in_")


def test_specifications_in_use_are_copies():
    schedule = SoftConditioningSchedule(softness=0.5)
    gen = small(schedule=schedule, basis="pca", max_iter=0).fit(continuous())
    assert gen.schedule_ is not schedule
    assert gen.schedule_.softness == 0.5
    assert isinstance(gen.basis_, PCABasis)


@pytest.mark.parametrize("X, width", [(continuous(40, 18), None), (whole(40, 18), 1.0)])
def test_flow_scores_by_random_probes_do_not_depend_on_the_other_rows(X, width):
    # Above 16 columns the trace is estimated by probes that are keyed by row.
    # The last weights are kept: without a network the Jacobian is diagonal, and no probe matters.
    parameters = {"preconditioning": "marginal", "validation_fraction": 0}
    gen = small(bin_width=width, likelihood="flow", **parameters).fit(X)
    together = gen.score_samples(X[:3])
    np.testing.assert_allclose(gen.score_samples(X[[2, 1]]), together[[2, 1]], rtol=1e-9)


def test_another_sampler_after_fit_is_used():
    gen = small(max_iter=2).fit(continuous())
    samples = {}
    for sampler in (DDIM(steps=3), DDIM(steps=9), "ancestral"):
        samples[repr(sampler)] = gen.set_params(sampler=sampler).sample(5, random_state=0)
        fresh = small(max_iter=2, sampler=sampler).fit(continuous()).sample(5, random_state=0)
        np.testing.assert_array_equal(samples[repr(sampler)], fresh)
    assert len({s.tobytes() for s in samples.values()}) == 3
