"""Partially observed rows: scores, samples given observed values, and what is refused."""

import copy

import numpy as np
import pandas as pd
import pytest
import torch

from gudlearn import (
    BlockBasis,
    DPMSolver,
    Heun,
    IdentityBasis,
    PCABasis,
    SequentialSchedule,
    UNet,
)
from gudlearn.conditioning import Observation, PosteriorDenoiser, ReplacementDenoiser
from small import continuous, dependent, small, whole

RATE = {"conditional_rate": 0.5}


def with_missing(X, fraction=0.3, seed=1):
    """X with missing values, but at least one observed value in each row and column."""
    X = X.astype(float)
    hidden = np.random.default_rng(seed).random(X.shape) < fraction
    hidden[np.arange(len(X)), np.arange(len(X)) % X.shape[1]] = False
    X[hidden] = np.nan
    return X


def mixed_frame(n=40):
    return pd.DataFrame(
        {"a": continuous(n)[:, 0], "b": whole(n)[:, 0].astype(int), "c": continuous(n)[:, 2]}
    )


# Scores


@pytest.mark.parametrize("make", [continuous, whole])
def test_untrained_scores_of_parts_are_sums_of_marginals(make):
    X = make()
    width = 1.0 if make is whole else None
    gen = small(max_iter=0, bin_width=width, preconditioning="marginal", **RATE).fit(X)
    split = gen.score_components(X)
    partial = with_missing(X)
    seen = ~np.isnan(partial)
    np.testing.assert_allclose(gen.score_samples(partial), (split * seen).sum(1), rtol=0, atol=1e-9)
    given = gen.score_samples(X, given_columns=[1])
    np.testing.assert_allclose(given, split[:, [0, 2]].sum(1), rtol=0, atol=1e-9)
    both = gen.score_components(partial, given_columns=["x1"])
    np.testing.assert_allclose(both, split * seen * [1, 0, 1], rtol=0, atol=1e-9)


def test_bits_per_dim_count_the_scored_values():
    X = whole()
    gen = small(max_iter=0, bin_width=1.0, preconditioning="marginal", **RATE).fit(X)
    split = -gen.score_components(X) / np.log(2)
    assert gen.bits_per_dim(X, given_columns=[0]) == pytest.approx(split[:, 1:].mean())
    partial = with_missing(X)
    assert gen.bits_per_dim(partial) == pytest.approx(split[~np.isnan(partial)].mean())
    assert gen.bits_per_dim(X, given_columns=[0, 1, 2]) == 0


def test_scores_do_not_depend_on_missing_values():
    X = continuous()
    gen = small(max_iter=3, **RATE).fit(X)
    partial = X.copy()
    partial[:, 2] = np.nan
    first = gen.score_components(X, given_columns=[0])
    # Given columns are not scored.
    assert (first[:, 0] == 0).all() and (first[:, 1] != 0).all()
    scores = gen.score_samples(partial)
    np.testing.assert_allclose(gen.score_samples(partial[::-1])[::-1], scores, rtol=1e-12)
    # Nothing is left of the value that replaces a missing one at its noise level.
    gen.state_.encoding.fill_values = gen.state_.encoding.fill_values + 3.0
    np.testing.assert_allclose(gen.score_samples(partial), scores, atol=0.02)


def test_given_columns_are_names_indices_or_a_mask():
    X = mixed_frame()
    gen = small(max_iter=1, **RATE).fit(X)
    expected = gen.score_samples(X, given_columns=["a", "c"])
    for same in ([0, 2], [0, -1], np.array([True, False, True]), "a c".split()):
        np.testing.assert_array_equal(gen.score_samples(X, given_columns=same), expected)


def test_groups_are_scored_given_all_other_columns():
    X = mixed_frame()
    gen = small(max_iter=1, **RATE).fit(X)
    found = gen.score_columns(X, groups={"first": ["a", "c"], "second": ["b"]})
    expected = [gen.score_samples(X, given_columns=given) for given in (["b"], ["a", "c"])]
    np.testing.assert_array_equal(found.T, expected)
    np.testing.assert_array_equal(gen.score_columns(X, groups=[["b"]])[:, 0], expected[1])
    for groups, message in (([["a"], []], "group 1 of groups is empty"), ([], "groups is empty")):
        with pytest.raises(ValueError, match=message):
            gen.score_columns(X, groups=groups)
    with pytest.raises(TypeError, match="groups='a' must be a list"):
        gen.score_columns(X, groups="a")
    mixing = small(basis="pca", max_iter=0, **RATE).fit(continuous())
    with pytest.raises(ValueError, match="score_columns parts columns that basis=PCABasis"):
        mixing.score_columns(continuous(), groups=[[0]])


def test_training_learns_conditional_distributions():
    X = dependent(200)[:, :2]
    # The preconditioner knows nothing of dependence: what is learned is the network's.
    gen = small(
        max_iter=80, batch_size=40, learning_rate_init=1e-2, conditional_rate=0.6,
        preconditioning="marginal",
    ).fit(X)  # fmt: skip
    alone = gen.score(np.column_stack([X[:, 1] * np.nan, X[:, 1]]))
    given = gen.score(X, given_columns=[0])
    # log(1/0.1) = 2.3 nats for an exact denoiser. Over seeds it is 1.96 with a standard deviation
    # of 0.08.
    assert given > alone + 1.2
    other = gen.score(X, given_columns=[1])
    # Both bounds are loose: the difference is 0.35 with a standard deviation of 0.06.
    assert gen.score(X) == pytest.approx(alone + other, abs=0.7)


def test_entries_are_scored_given_all_other_entries():
    X = whole()
    gen = small(max_iter=2, bin_width=1.0, **RATE).fit(X)
    for rows in (X, with_missing(X)):
        found = gen.score_columns(rows)
        for j in range(3):
            others = np.delete(np.arange(3), j)
            np.testing.assert_allclose(found[:, j], gen.score_samples(rows, given_columns=others))
        assert (found == 0)[np.isnan(rows)].all()


def test_entries_that_the_basis_mixes_are_not_scored_alone():
    basis = BlockBasis([("i", IdentityBasis(), [0]), ("p", PCABasis(), [1, 2])])
    gen = small(basis=basis, max_iter=0, **RATE).fit(continuous())
    with pytest.raises(ValueError, match="score_columns parts columns that basis="):
        gen.score_columns(continuous())


@pytest.mark.parametrize("likelihood", ["bound", "flow"])
def test_no_given_columns_score_the_joint_density(likelihood):
    gen = small(max_iter=0, preconditioning="marginal", likelihood=likelihood).fit(continuous())
    expected = gen.score_samples(continuous()[:3])
    for nothing in ([], np.zeros(3, bool)):
        found = gen.score_samples(continuous()[:3], given_columns=nothing)
        np.testing.assert_array_equal(found, expected)


def test_constant_columns_score_zero_in_parts_of_rows():
    X = np.array([[1.0, np.nan], [1.0, 2.0], [1.0, 2.0]])
    gen = small(max_iter=0).fit(X)
    assert (gen.score_samples(X) == gen.score_samples(X[1:2])).all()
    np.testing.assert_array_equal(gen.score_samples(X, given_columns=[0, 1]), 0)
    assert gen.score_columns(X)[0, 1] == 0


def test_finished_groups_do_not_change():
    gen = small(
        max_iter=1, schedule=SequentialSchedule(window=1), sampler=DPMSolver(steps=30), **RATE
    ).fit(continuous())
    states = gen.sample_trajectory(4, n_states=31).components
    # Each of three columns is active for a third of the time.
    for j in range(3):
        done = states[10 * (j + 1) :, :, j]
        np.testing.assert_array_equal(done, np.broadcast_to(done[0], done.shape))
    assert (states[5, :, 0] != states[-1, :, 0]).all()


def test_samples_are_given_labels_beside_values():
    X, y = continuous(), np.arange(40) % 2
    X[:, 1] += 5 * y
    gen = small(max_iter=10, class_conditional=True, validation_fraction=0.0, **RATE).fit(X, y)
    partial = X[:5].copy()
    partial[:, 1:] = np.nan
    assert gen.sample(given=partial).shape == (5, 3)
    one = gen.sample(given=partial, y=1)
    assert (one != gen.sample(given=partial))[np.isnan(partial)].any()
    np.testing.assert_array_equal(gen.sample(2, given=partial, y=[1] * 5)[0], one)


def test_observed_values_are_informative_about_the_class():
    y = np.arange(400) % 2
    X = 6.0 * y[:, None] + np.random.default_rng(0).normal(size=(400, 2))
    gen = small(max_iter=0, class_conditional=True, **RATE).fit(X, y)
    partial = np.array([[6.0, np.nan]] * 200)
    # Classes drawn by their frequency would give one half, with a standard error of 0.04.
    assert (gen.sample(given=partial)[:, 1] > 3).mean() > 0.9
    with pytest.raises(ValueError, match="guidance=2.0 weighs a class"):
        gen.sample(given=partial, guidance=2.0)


# Fits to rows with missing values


@pytest.mark.parametrize("make", [continuous, whole])
def test_marginals_are_those_of_the_observed_values(make):
    X = make(400)
    width = 1.0 if make is whole else None
    partial = with_missing(X)
    gen = small(max_iter=0, bin_width=width).fit(partial)
    assert gen.conditional_rate_ == 0.3
    for j in range(3):
        column = partial[~np.isnan(partial[:, j])][:, [j]]
        assert gen.basis_.mean_[j] == pytest.approx(column.mean())
        assert gen.basis_.component_variances_[j] == pytest.approx(column.var())
        alone = small(max_iter=0, bin_width=width).fit(column).score(column)
        only = np.full((len(column), 3), np.nan)
        only[:, j] = column[:, 0]
        assert gen.score(only) == pytest.approx(alone, abs=0.02)


def test_the_denoiser_does_not_depend_on_missing_columns_of_rare_values():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1000, 3))
    # One row has nearly all of the variance of a column, and one row the only 1 of another.
    X[0, 1] = 300.0
    X[:, 2] = np.arange(1000) == 5
    gen = small(max_iter=1, bin_width=[None, None, 1.0], conditional_rate=0.5).fit(X)
    model = gen.fitted_model().components
    missing = torch.tensor([[False, True, True]]).expand(20, -1)
    path = model.masked_path(torch.zeros_like(missing), missing)
    gamma = path(torch.full((20,), 1.0, dtype=model.dtype))
    x = torch.randn(20, 3, generator=torch.Generator().manual_seed(0)).to(model.dtype)
    other = torch.where(missing, -3 * x, x)
    denoiser = model.denoiser
    assert torch.equal(denoiser(x, gamma), denoiser(other, gamma))
    # The noise at the end of the path is less than that.
    gamma = model.path(torch.ones(1).to(model.dtype)).expand(20, -1)
    assert (denoiser(x, gamma) != denoiser(other, gamma)).any()


def test_training_learns_from_rows_with_missing_values():
    X = dependent(200)
    parameters = {"batch_size": 30, "learning_rate_init": 1e-2, "preconditioning": "marginal"}
    gen = small(max_iter=40, **parameters).fit(with_missing(X))
    untrained = small(max_iter=0, **parameters).fit(with_missing(X))
    # Over seeds the gain is 1.0 nats a row, or more, with a standard deviation of 0.1.
    assert gen.score(X) > untrained.score(X) + 0.4
    assert np.isfinite(gen.loss_curve_).all()
    assert np.isfinite(gen.sample(5)).all()
    gen.partial_fit(with_missing(X))
    whole_rows = small(max_iter=1).fit(continuous())
    whole_rows.partial_fit(with_missing(continuous()))
    assert whole_rows.conditional_rate_ == 0.3


def test_losses_are_nats_per_observed_value():
    X = continuous(4000)
    # Nothing is learned, and the preconditioner cannot lose correlations to missing values.
    parameters = {
        "max_iter": 25, "learning_rate_init": 1e-9, "conditional_rate": 0.0,
        "preconditioning": "marginal", "validation_fraction": 0,
    }  # fmt: skip
    complete, partial = (
        np.array(small(**parameters).fit(rows).loss_curve_) for rows in (X, with_missing(X))
    )
    error = np.hypot(complete.std(ddof=1), partial.std(ddof=1)) / np.sqrt(25)
    # Thirty per cent of the loss are 0.4 nats.
    assert abs(partial.mean() - complete.mean()) < 5 * error + 0.01 < 0.2


def test_without_missing_values_the_default_conditional_rate_is_zero():
    assert small(max_iter=0).fit(continuous()).conditional_rate_ == 0
    assert small(max_iter=0, **RATE).fit(continuous()).conditional_rate_ == 0.5


def test_nullable_integers_stay_integers():
    X = pd.DataFrame({"a": pd.array([1, 2, 3, None] * 10, dtype="Int64"), "b": np.arange(40.0)})
    gen = small(max_iter=0).fit(X)
    assert gen.bin_width_[0] == 1
    drawn = gen.sample(5)
    assert drawn["a"].dtype == "Int64"
    assert set(drawn["a"]) <= {1, 2, 3}


def test_a_block_without_missing_values_may_mix_its_columns():
    X = continuous()
    X[3, 0] = np.nan
    basis = BlockBasis([("i", IdentityBasis(), [0]), ("p", PCABasis(), [1, 2])])
    gen = small(basis=basis, max_iter=1).fit(X)
    assert np.isfinite(gen.score_samples(X)).all()
    assert gen.conditioning_method([1, 2]) == "exact"
    assert gen.conditioning_method([1]) == "posterior"


# Completions


@pytest.mark.parametrize("conditioning", ["exact", "posterior", "repaint"])
def test_observed_entries_come_back_to_the_bit(conditioning):
    X = mixed_frame()
    gen = small(max_iter=1, conditioning=conditioning, **RATE).fit(X)
    partial = X.astype({"b": "Int64"}).mask(np.random.default_rng(0).random(X.shape) < 0.5)
    found = gen.sample(given=partial)
    assert found.dtypes.tolist() == X.dtypes.tolist()
    observed = partial.notna().to_numpy()
    assert (found.to_numpy()[observed] == X.to_numpy()[observed]).all()
    assert found.notna().all(axis=None)


def test_completions_have_the_index_of_their_rows():
    X = mixed_frame().set_axis(range(100, 140))
    X["d"] = X["b"] > 1
    gen = small(max_iter=0, **RATE).fit(X)
    partial = X.astype(float).mask(np.random.default_rng(0).random(X.shape) < 0.5)
    found = gen.sample(given=partial)
    assert found.index.tolist() == list(range(100, 140))
    assert found["d"].dtype == bool
    # Several draws are one array of numbers for any dtypes of the columns.
    several = gen.sample(3, given=partial)
    assert several.dtype == np.float64
    np.testing.assert_array_equal(several[0], found.to_numpy(dtype=float))


def test_shapes_of_completions():
    X = continuous()
    gen = small(max_iter=0, **RATE).fit(X)
    partial = with_missing(X[:7])
    assert gen.sample(given=partial).shape == (7, 3)
    draws = gen.sample(4, given=partial)
    assert draws.shape == (4, 7, 3)
    np.testing.assert_array_equal(gen.sample(2, given=partial), draws[:2])
    np.testing.assert_array_equal(gen.sample(given=partial), draws[0])


def test_conditional_means_depend_on_the_number_of_samples():
    X = whole()
    gen = small(bin_width=1.0, **RATE).fit(X)
    partial = with_missing(X[:8])
    few, many = (gen.conditional_mean(partial, n_samples=n) for n in (4, 40))
    assert (few != many)[np.isnan(partial)].all()


def test_equal_partial_rows_are_completed_differently():
    gen = small(max_iter=0, **RATE).fit(continuous())
    found = gen.sample(given=np.array([[1.0, np.nan, np.nan]] * 300))
    assert len(np.unique(found[:, 1])) == 300


def test_rows_with_nothing_or_everything_observed():
    X = continuous()
    gen = small(max_iter=1, **RATE).fit(X)
    nothing = np.full((5, 3), np.nan)
    np.testing.assert_array_equal(gen.sample(given=nothing), gen.sample(5))
    np.testing.assert_array_equal(gen.sample(given=X[:5]), X[:5])
    for wrong in ({"y": "a"}, {"guidance": -1.0}, {"random_state": "seed"}):
        with pytest.raises(ValueError, match="needs a model of labels|guidance=|seed"):
            gen.sample(given=X[:5], **wrong)
    # The same holds among rows that are guided.
    partial = nothing.copy()
    partial[1, 0] = 1.0
    for conditioning in ("auto", "repaint"):
        guided = small(basis="pca", max_iter=1, conditioning=conditioning).fit(X)
        np.testing.assert_allclose(guided.sample(given=partial)[[0, 2]], guided.sample(5)[[0, 2]])
    np.testing.assert_array_equal(gen.score_samples(nothing), np.zeros(5))
    np.testing.assert_array_equal(gen.score_samples(X, given_columns=[0, 1, 2]), np.zeros(40))


def test_conditional_means_and_quantiles_are_those_of_the_draws():
    X = continuous()
    gen = small(max_iter=0, **RATE).fit(X)
    partial = with_missing(X[:4])
    draws = gen.sample(50, given=partial)
    gen.conditioning = "posterior"
    guided = gen.sample(50, given=partial)
    np.testing.assert_allclose(gen.conditional_mean(partial, n_samples=50), guided.mean(0))
    gen.conditioning = "auto"
    found = gen.conditional_quantile(partial, [0.1, 0.9], n_samples=50)
    np.testing.assert_allclose(found, np.quantile(draws, [0.1, 0.9], axis=0))
    median = gen.conditional_quantile(partial, 0.5, n_samples=50)
    observed = ~np.isnan(partial)
    np.testing.assert_array_equal(median[observed], X[:4][observed])


@pytest.mark.parametrize("make", [continuous, whole])
def test_conditional_means_need_few_samples(make):
    X = make()
    gen = small(bin_width=1.0 if make is whole else None, **RATE).fit(X)
    partial = with_missing(X[:8])
    observed = ~np.isnan(partial)
    means = [gen.conditional_mean(partial, n_samples=4, random_state=k) for k in range(8)]
    draws = gen.sample(400, given=partial)
    spread = np.std(means, 0, ddof=1)[~observed].mean()
    # The mean of four draws would have half of their standard deviation; it is 0.04 of it or less.
    assert spread < 0.2 * draws.std(0)[~observed].mean()
    # Five standard errors of means of 400 draws, and the bias of halfway denoised values.
    off = np.abs(np.mean(means, 0) - draws.mean(0))
    assert (off <= 5 * draws.std(0) / np.sqrt(400) + 0.1 * X.std()).all()
    assert (means[0] >= X.min(0)).all() or make is continuous
    np.testing.assert_array_equal(means[0][observed], X[:8][observed])


def test_conditional_means_of_a_constant_column_are_its_value():
    X = continuous()
    X[:, 1] = 0.3
    gen = small(bin_width=[None, 0.1, None], **RATE).fit(X)
    partial = X[:3].copy()
    partial[:, 1] = np.nan
    assert (gen.conditional_mean(partial)[:, 1] == 0.3).all()


def test_conditional_means_of_images_and_of_constant_pixels():
    X = np.random.default_rng(0).integers(0, 4, (30, 4, 3)).astype(np.uint8)
    X[:, 0, 0] = 2
    gen = small(network=UNet(width=8, n_blocks=1), max_iter=1, **RATE).fit(X)
    partial = X[:3].astype(float)
    partial[:, :2] = np.nan
    found = gen.conditional_mean(partial, n_samples=2)
    assert found.shape == X[:3].shape
    np.testing.assert_array_equal(found[:, 2:], X[:3, 2:])
    np.testing.assert_allclose(found[:, 0, 0], 2)
    assert found.min() >= 0 and found.max() <= 3


def gaussian_rows():
    """Rows with a mean of 0 and a given covariance, exactly, and this covariance."""
    X = np.random.default_rng(0).normal(size=(4000, 3))
    X -= X.mean(0)
    X = X @ np.linalg.inv(np.linalg.cholesky(X.T @ X / len(X))).T
    A = np.array([[1.0, 0, 0], [0.8, 0.6, 0], [-0.5, 0.3, 0.7]])
    return X @ A.T, A @ A.T


def assert_normal(draws, mean, covariance, bias):
    """Moments of draws (n, d) within five standard errors; bias is that of the sampler."""
    n, variance = len(draws), np.diag(covariance)
    off = np.abs(draws.mean(0) - mean)
    assert (off < 5 * np.sqrt(variance / n) + bias * np.sqrt(variance)).all()
    error = np.sqrt((np.outer(variance, variance) + covariance**2) / n)
    off = np.abs(np.atleast_2d(np.cov(draws.T)) - covariance)
    assert (off < 5 * error + bias * variance.max()).all()


def test_a_guided_gaussian_has_the_conditional_distribution():
    X, covariance = gaussian_rows()
    gen = small(basis="pca", preconditioning="gaussian", max_iter=0, sampler="dpm-solver").fit(X)
    assert gen.conditioning_method([0]) == "posterior"
    partial = np.full((1, 3), np.nan)
    partial[0, 0] = 1.5
    draws = gen.sample(4000, given=partial)[:, 0, 1:]
    gain = covariance[1:, 0] / covariance[0, 0]
    expected = covariance[1:, 1:] - np.outer(gain, covariance[0, 1:])
    assert_normal(draws, 1.5 * gain, expected, bias=0.02)


def test_linear_observations_of_a_gaussian():
    X, covariance = gaussian_rows()
    gen = small(basis="pca", preconditioning="gaussian", max_iter=0, sampler="dpm-solver").fit(X)
    A, noise = np.array([[1.0, 1.0, 1.0]]), 0.5
    draws = gen.sample(4000, observation=(A, [2.0], noise))
    gain = covariance @ A.T / (A @ covariance @ A.T + noise**2)
    assert_normal(draws, 2 * gain[:, 0], covariance - gain @ A @ covariance, bias=0.03)
    several = gen.sample(observation=(A, [[2.0], [-3.0]], 0.0))
    np.testing.assert_allclose(several @ A[0], [2, -3], atol=0.1)
    assert gen.sample(4, observation=(A, [[2.0], [-3.0]], 0.0)).shape == (4, 2, 3)


@pytest.mark.parametrize("basis", ["identity", "pca"])
def test_constant_columns_do_not_change_the_others(basis):
    X = continuous()
    X[:, 1] = 0.3
    gen = small(basis=basis, max_iter=0, conditioning="posterior").fit(X)
    partial = X[:4].copy()
    partial[:, 2] = np.nan
    expected = gen.sample(given=partial)
    assert gen.conditioning_method([0, 1]) == "posterior"
    # A value that differs from training comes back, and does not change the others.
    partial[:, 1] = 7.0
    found = gen.sample(given=partial)
    np.testing.assert_array_equal(found[:, [0, 2]], expected[:, [0, 2]])
    assert (found[:, 1] == 7.0).all()
    partial[:, 0] = np.nan
    np.testing.assert_array_equal(gen.sample(given=partial)[:, [0, 2]], gen.sample(4)[:, [0, 2]])
    A = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    one, both = (
        gen.sample(4, observation=(A[:m], [0.5, 7.0][:m], 0.1)) for m in (1, 2)
    )
    np.testing.assert_array_equal(one, both)


def test_repaint_agrees_with_the_observation():
    X, _ = gaussian_rows()
    gen = small(basis="pca", max_iter=0, conditioning="repaint", sampler="dpm-solver").fit(X)
    draws = gen.sample(20, observation=(np.ones((1, 3)), [2.0], 0.0))
    np.testing.assert_allclose(draws.sum(1), 2, atol=0.1)


def test_guidance_is_sensitive_to_small_differences_of_observed_values():
    z = np.random.default_rng(0).normal(size=(4000, 3))
    # The first two have a correlation of 0.98, and the third follows their difference.
    X = np.column_stack([z[:, 0] + 0.1 * z[:, 1], z[:, 0] - 0.1 * z[:, 1], z[:, 1] + 0.1 * z[:, 2]])
    gen = small(max_iter=0, conditioning="posterior", sampler="dpm-solver", **RATE).fit(X)
    partial = np.full((200, 3), np.nan)
    partial[:, :2] = [0.15, -0.15]
    # The standard error is 0.01, and so is the bias.
    assert gen.sample(given=partial)[:, 2].mean() == pytest.approx(1.5, abs=0.1)


# Repetitions are slow: few steps, whose error the tests allow for.
REPAINT = {"max_iter": 0, "conditioning": "repaint", "sampler": Heun(steps=20)}


def test_repaint_keeps_the_variance():
    n, X = 1000, np.random.default_rng(0).normal(size=(2000, 2))
    gen = small(preconditioning="gaussian", **REPAINT, **RATE).fit(X)
    partial = np.full((n, 2), np.nan)
    partial[:, 0] = 0.5
    ratio = gen.sample(given=partial)[:, 1].var() / X[:, 1].var()
    # The error of the steps is -0.04.
    assert ratio == pytest.approx(0.96, abs=5 * np.sqrt(2 / n))


def test_repaint_lets_observed_values_move_the_others():
    X, _ = gaussian_rows()
    # The fewer the steps, the more depends on the joint Gaussian that corrects the others.
    gen = small(**{**REPAINT, "sampler": Heun(steps=4)}, **RATE).fit(X)
    n = 3000
    partial = np.full((n, 3), np.nan)
    partial[:, 0] = 1.0
    # The conditional mean is 0.8. It would be 0.65 without the joint Gaussian, and 0.3 without
    # repetitions, too. Here the standard deviation is 0.5, and the error of the steps 0.02.
    mean = gen.sample(given=partial)[:, 1].mean()
    assert mean == pytest.approx(0.8, abs=5 * 0.5 / np.sqrt(n) + 0.025)


def test_repaint_in_principal_components_draws_the_conditional_distribution():
    X, covariance = gaussian_rows()
    gen = small(basis="pca", preconditioning="gaussian", **REPAINT).fit(X)
    # Rows with different patterns are drawn together.
    partial = np.full((1600, 3), np.nan)
    partial[:, 0], partial[::2, 2] = 1.5, -1.0
    drawn = gen.sample(given=partial)
    for observed, rows in (([0], drawn[1::2]), ([0, 2], drawn[::2])):
        rest = [j for j in range(3) if j not in observed]
        precision = np.linalg.inv(covariance[np.ix_(observed, observed)])
        slope = covariance[np.ix_(rest, observed)] @ precision
        expected = covariance[np.ix_(rest, rest)] - slope @ covariance[np.ix_(observed, rest)]
        # The error of the steps is up to a tenth of the variance.
        assert_normal(rows[:, rest], slope @ partial[0, observed], expected, bias=0.1)


def test_repaint_ignores_constant_columns_in_observations():
    X, _ = gaussian_rows()
    X = np.column_stack([X, np.full(len(X), 5.0)])
    gen = small(basis="pca", max_iter=0, conditioning="repaint", sampler="dpm-solver").fit(X)
    draws = gen.sample(20, observation=([[1.0, 0.0, 0.0, 10.0]], [51.5], 0.0))
    np.testing.assert_allclose(draws[:, 0], 1.5, atol=0.1)
    with pytest.raises(ValueError, match="without noise.*noise_std=0.5"):
        gen.sample(observation=([[1.0, 0.0, 0.0, 0.0]], [1.5], 0.5))


def test_guidance_keeps_its_precision_under_autocast():
    generator = torch.Generator().manual_seed(0)
    A, z, values = (
        torch.randn(*shape, generator=generator) for shape in ((4, 6), (5, 6), (5, 4))
    )
    observation = Observation(A, values, torch.full((4,), 1e-3))
    gamma = torch.zeros(5, 6)
    guided = [
        PosteriorDenoiser(lambda x, gamma: 0.5 * x, observation),
        ReplacementDenoiser(lambda x, gamma: 0.5 * x, observation),
    ]
    plain = [denoise(z, gamma) for denoise in guided]
    with torch.autocast("cpu", torch.bfloat16):
        cast = [denoise(z, gamma) for denoise in guided]
    for one, other in zip(plain, cast, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_images_are_completed():
    X = np.random.default_rng(0).integers(0, 256, (20, 6, 5, 3)).astype(np.uint8)
    gen = small(network=UNet(width=8), max_iter=1, **RATE).fit(X)
    partial = X[:3].astype(float)
    partial[:, :, 3:] = np.nan
    found = gen.sample(given=partial)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found[:, :, :3], X[:3, :, :3])
    left = np.zeros((6, 5), bool)
    left[:, :3] = True
    assert gen.conditioning_method(left) == "exact"
    assert np.isfinite(gen.score_samples(X[:3], given_columns=left)).all()
    assert gen.sample(2, given=partial).shape == (2, 3, 6, 5, 3)
    found = gen.conditional_quantile(partial, [0.2, 0.8], n_samples=5)
    assert found.shape == (2, 3, 6, 5, 3) and (found[0] <= found[1]).all()
    with pytest.raises(ValueError, match=r"mask of shape \(5, 6\).*shape \(6, 5, 3\)"):
        gen.conditioning_method(left.T)
    flat = small(network=UNet(width=8), max_iter=0, shape=(6, 5, 3), **RATE)
    flat.fit(X.reshape(20, -1))
    assert flat.conditioning_method(left) == "exact"
    assert (
        small(basis="wavelet", network=UNet(width=8), max_iter=0, **RATE)
        .fit(X)
        .conditioning_method(left)
        == "posterior"
    )


# Errors and warnings


def test_bases_that_mix_columns_refuse_missing_values():
    X = with_missing(continuous())
    block = BlockBasis([("p", PCABasis(), [0, 1]), ("i", IdentityBasis(), [2])])
    for basis, name in (
        ("pca", "PCA"), (block, "PCA"), ("fourier", "Fourier"), ("wavelet", "Wavelet"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=f"contains NaN, but {name}Basis mixes.*IdentityBas"):
            small(basis=basis).fit(X)
    gen = small(basis="pca", max_iter=0).fit(continuous())
    with pytest.raises(ValueError, match="NaN in X parts columns that basis=PCABasis"):
        gen.score_samples(X)
    with pytest.raises(ValueError, match="given_columns parts columns"):
        gen.score_samples(continuous(), given_columns=[0])
    with pytest.raises(ValueError, match="conditioning='exact' needs observed columns"):
        gen.set_params(conditioning="exact").sample(given=X)


def test_a_column_without_values_is_refused():
    X = continuous()
    X[:, 1] = np.nan
    with pytest.raises(ValueError, match=r"Columns \['x1'\] of X hold nothing but NaN"):
        small().fit(X)
    with pytest.raises(ValueError, match="Column 1 of X holds nothing but NaN"):
        IdentityBasis().fit(X)


def test_the_flow_scores_whole_rows_only():
    gen = small(max_iter=0, likelihood="flow", **RATE).fit(continuous())
    with pytest.raises(ValueError, match="scores whole rows only, but there is given_columns"):
        gen.score_samples(continuous(), given_columns=[0])


def test_a_model_of_whole_rows_warns_about_parts():
    gen = small(max_iter=1).fit(continuous())
    with pytest.warns(UserWarning, match="conditional_rate=0"):
        gen.score_samples(continuous(), given_columns=[0])
    assert gen.conditioning_method([0]) == "posterior"
    partial = with_missing(continuous())
    with pytest.warns(UserWarning, match="conditional_rate=0.*observed values guide it"):
        gen.sample(given=partial)
    exact = clone_with(gen, conditioning="exact")
    with pytest.warns(UserWarning, match="conditional_rate=0.*may lead it astray"):
        exact.sample(given=partial)
    for warned in (
        lambda: gen.score(partial), lambda: gen.score_columns(continuous()),
        lambda: exact.conditional_mean(partial), lambda: gen.extend(continuous(), 1),
    ):  # fmt: skip
        with pytest.warns(UserWarning, match="conditional_rate=0") as record:
            warned()
        # The warning points to the user's line.
        assert [warning.filename for warning in record] == [__file__]
    # There is no warning where nothing is observed,
    gen.sample(given=np.full((2, 3), np.nan))
    # nor where the user chose the method, or the basis leaves no other.
    clone_with(gen, conditioning="posterior").sample(given=partial)
    small(basis="pca", max_iter=0).fit(continuous()).sample(given=partial)


def clone_with(gen, **parameters):
    """A copy of a fitted estimator with other parameters."""
    return copy.deepcopy(gen).set_params(**parameters)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (["z"], ValueError, "given_columns names column 'z'.*'x0', 'x1'"),
        ([3], ValueError, "given_columns holds the index 3.*columns 0 to 2"),
        ([-4], ValueError, "index -4"),
        ([True, False], ValueError, r"mask of shape \(2,\).*shape \(3,\)"),
        ([0.5], TypeError, "names of columns, their indices"),
        ([[0, 1]], TypeError, "names of columns, their indices"),
    ],
)
def test_given_columns_that_are_refused(given, error, message):
    gen = small(max_iter=0, **RATE).fit(continuous())
    with pytest.raises(error, match=message):
        gen.score_samples(continuous(), given_columns=given)


A = np.ones((2, 3))


@pytest.mark.parametrize(
    ("observation", "error", "message"),
    [
        (A, TypeError, "tuple"),
        ((A[:, :2], [0.0, 0.0], 0.1), ValueError, r"A of shape \(2, 2\).*\(m, 3\)"),
        ((A, [0.0], 0.1), ValueError, r"y of shape \(1,\), but A has 2 rows"),
        ((A, [0.0, 0.0], -1.0), ValueError, "noise_std=-1.0"),
        ((A, [0.0, 0.0], [0.1, 0.1, 0.1]), ValueError, "noise_std"),
        ((A, [0.0, np.nan], 0.1), ValueError, "finite"),
        ((A, np.empty((0, 2)), 0.1), ValueError, r"y of shape \(0, 2\)"),
        ((A[:0], [], 0.1), ValueError, "A has 0 rows"),
    ],
)
def test_observations_that_are_refused(observation, error, message):
    gen = small(max_iter=0).fit(continuous())
    with pytest.raises(error, match=message):
        gen.sample(observation=observation)


def test_observed_values_that_are_refused():
    X = whole()
    gen = small(max_iter=0, bin_width=1.0, **RATE).fit(X)
    with pytest.raises(ValueError, match="given= or observation="):
        gen.sample(given=X, observation=(A, [0.0, 0.0], 0.1))
    with pytest.raises(ValueError, match="multiple of bin_width"):
        gen.sample(given=X + 0.5)
    with pytest.raises(ValueError, match="conditioning='exact' takes whole observed comp"):
        gen.set_params(conditioning="exact").sample(observation=(A, [0.0, 0.0], 0.1))


def test_parameters_set_after_fit_are_checked_before_use():
    gen = small(max_iter=0, **RATE).fit(continuous())
    gen.conditioning = "Posterior"
    for call in (
        lambda: gen.sample(given=with_missing(continuous())),
        lambda: gen.sample(observation=([[1.0, 0.0, 0.0]], [0.0], 0.0)),
        lambda: gen.conditioning_method([0]),
    ):
        with pytest.raises(ValueError, match="'conditioning'.*must be a str among"):
            call()
    gen.likelihood = "Flow"
    for call in (gen.score_samples, gen.score_components):
        with pytest.raises(ValueError, match="'likelihood'.*must be a str among"):
            call(continuous())


@pytest.mark.parametrize("q", [1.5, [-0.1], [[0.5]], []])
def test_quantiles_that_are_refused(q):
    gen = small(max_iter=0, **RATE).fit(continuous())
    with pytest.raises(ValueError, match="must be a number in"):
        gen.conditional_quantile(with_missing(continuous()), q)
