"""Rows of which a part is known: what is scored, what is drawn, and what is refused."""

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
from small import continuous, small, whole

RATE = {"conditional_rate": 0.5}


def holes(X, share=0.3, seed=1):
    """X with holes, some value left in each row and column."""
    X = X.astype(float)
    hidden = np.random.default_rng(seed).random(X.shape) < share
    hidden[np.arange(len(X)), np.arange(len(X)) % X.shape[1]] = False
    X[hidden] = np.nan
    return X


def mixed_frame(n=40):
    return pd.DataFrame(
        {"a": continuous(n)[:, 0], "b": whole(n)[:, 0].astype(int), "c": continuous(n)[:, 2]}
    )


# Scores


@pytest.mark.parametrize("make", [continuous, whole])
def test_untrained_parts_are_sums_of_the_marginals(make):
    X = make()
    width = 1.0 if make is whole else None
    gen = small(max_iter=0, bin_width=width, preconditioning="marginal", **RATE).fit(X)
    split = gen.score_components(X)
    partial = holes(X)
    seen = ~np.isnan(partial)
    np.testing.assert_allclose(gen.score_samples(partial), (split * seen).sum(1), rtol=0, atol=1e-9)
    given = gen.score_samples(X, given_columns=[1])
    np.testing.assert_allclose(given, split[:, [0, 2]].sum(1), rtol=0, atol=1e-9)
    both = gen.score_components(partial, given_columns=["x1"])
    np.testing.assert_allclose(both, split * seen * [1, 0, 1], rtol=0, atol=1e-9)


def test_bits_count_what_is_scored():
    X = whole()
    gen = small(max_iter=0, bin_width=1.0, preconditioning="marginal", **RATE).fit(X)
    split = -gen.score_components(X) / np.log(2)
    assert gen.bits_per_dim(X, given_columns=[0]) == pytest.approx(split[:, 1:].mean())
    partial = holes(X)
    assert gen.bits_per_dim(partial) == pytest.approx(split[~np.isnan(partial)].mean())
    assert gen.bits_per_dim(X, given_columns=[0, 1, 2]) == 0


def test_the_score_of_a_part_does_not_see_the_rest():
    X = continuous()
    gen = small(max_iter=3, **RATE).fit(X)
    partial = X.copy()
    partial[:, 2] = np.nan
    first = gen.score_components(X, given_columns=[0])
    # Nothing of what is given is scored, and all of the order of rows is kept.
    assert (first[:, 0] == 0).all() and (first[:, 1] != 0).all()
    scores = gen.score_samples(partial)
    np.testing.assert_allclose(gen.score_samples(partial[::-1])[::-1], scores, rtol=1e-12)
    # What stands in the place of a missing value: nothing of it is left at its noise level.
    gen._encoding.fill_values = gen._encoding.fill_values + 3.0
    np.testing.assert_allclose(gen.score_samples(partial), scores, atol=0.02)


def test_columns_are_given_by_names_indices_or_a_mask():
    X = mixed_frame()
    gen = small(max_iter=1, **RATE).fit(X)
    expected = gen.score_samples(X, given_columns=["a", "c"])
    for same in ([0, 2], [0, -1], np.array([True, False, True]), "a c".split()):
        np.testing.assert_array_equal(gen.score_samples(X, given_columns=same), expected)


def test_groups_are_scored_given_all_others():
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


def test_one_column_given_the_other_learns_what_they_share():
    X = continuous(400)
    X[:, 1] = X[:, 0] + 0.1 * X[:, 1]
    gen = small(max_iter=150, conditional_rate=0.6, batch_size=64).fit(X[:, :2])
    alone = gen.score(np.column_stack([X[:, 1] * np.nan, X[:, 1]]))
    given = gen.score(X[:, :2], given_columns=[0])
    # log(1/0.1) = 2.3 nats for an exact denoiser.
    assert given > alone + 1.2
    other = gen.score(X[:, :2], given_columns=[1])
    assert gen.score(X[:, :2]) == pytest.approx(alone + other, abs=0.25)


def test_entries_are_scored_given_all_others():
    X = whole()
    gen = small(max_iter=2, bin_width=1.0, **RATE).fit(X)
    for rows in (X, holes(X)):
        found = gen.score_columns(rows)
        for j in range(3):
            others = np.delete(np.arange(3), j)
            np.testing.assert_allclose(found[:, j], gen.score_samples(rows, given_columns=others))
        assert (found == 0)[np.isnan(rows)].all()


def test_an_entry_is_not_scored_alone_where_the_basis_mixes_it():
    basis = BlockBasis([("i", IdentityBasis(), [0]), ("p", PCABasis(), [1, 2])])
    gen = small(basis=basis, max_iter=0, **RATE).fit(continuous())
    with pytest.raises(ValueError, match="score_columns parts columns that basis="):
        gen.score_columns(continuous())


@pytest.mark.parametrize("likelihood", ["bound", "flow"])
def test_nothing_given_is_the_joint(likelihood):
    gen = small(max_iter=0, likelihood=likelihood).fit(continuous())
    expected = gen.score_samples(continuous()[:5])
    for nothing in ([], np.zeros(3, bool)):
        found = gen.score_samples(continuous()[:5], given_columns=nothing)
        np.testing.assert_array_equal(found, expected)


def test_parts_of_rows_in_which_nothing_varies_cost_nothing():
    X = np.array([[1.0, np.nan], [1.0, 2.0], [1.0, 2.0]])
    gen = small(max_iter=0).fit(X)
    assert (gen.score_samples(X) == gen.score_samples(X[1:2])).all()
    np.testing.assert_array_equal(gen.score_samples(X, given_columns=[0, 1]), 0)
    assert gen.score_columns(X)[0, 1] == 0


def test_finished_groups_are_never_touched_again():
    gen = small(
        max_iter=1, schedule=SequentialSchedule(window=1), sampler=DPMSolver(steps=30), **RATE
    ).fit(continuous())
    states = gen.sample_trajectory(4, n_states=31).components
    # Three columns in a third of the time each, the first one first.
    for j in range(3):
        done = states[10 * (j + 1) :, :, j]
        np.testing.assert_array_equal(done, np.broadcast_to(done[0], done.shape))
    assert (states[5, :, 0] != states[-1, :, 0]).all()


def test_what_is_known_speaks_for_the_class():
    X, y = continuous(), np.arange(40) % 2
    X[:, 1] += 5 * y
    gen = small(max_iter=30, class_conditional=True, validation_fraction=0.0, **RATE).fit(X, y)
    partial = X[:5].copy()
    partial[:, 1:] = np.nan
    assert gen.sample(given=partial).shape == (5, 3)
    one = gen.sample(given=partial, y=1)
    assert (one != gen.sample(given=partial))[np.isnan(partial)].any()
    np.testing.assert_array_equal(gen.sample(2, given=partial, y=[1] * 5)[0], one)


def test_what_is_known_tells_the_class():
    y = np.arange(400) % 2
    X = 6.0 * y[:, None] + np.random.default_rng(0).normal(size=(400, 2))
    gen = small(max_iter=0, class_conditional=True, **RATE).fit(X, y)
    partial = np.array([[6.0, np.nan]] * 200)
    # By frequency it would be every second one.
    assert (gen.sample(given=partial)[:, 1] > 3).mean() > 0.9
    with pytest.raises(ValueError, match="guidance=2.0 weighs a class"):
        gen.sample(given=partial, guidance=2.0)


# Fits to rows with holes


@pytest.mark.parametrize("make", [continuous, whole])
def test_marginals_are_those_of_what_was_observed(make):
    X = make(400)
    width = 1.0 if make is whole else None
    partial = holes(X)
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


def test_nothing_is_heard_of_missing_columns_of_rare_values():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1000, 3))
    # Nearly all of the variance is one row's, and one of a thousand is a one.
    X[0, 1] = 300.0
    X[:, 2] = np.arange(1000) == 5
    gen = small(max_iter=1, bin_width=[None, None, 1.0], conditional_rate=0.5).fit(X)
    model = gen._engine().model
    missing = torch.tensor([[False, True, True]]).expand(20, -1)
    path = model.stated(torch.zeros_like(missing), missing)
    gamma = path(torch.full((20,), 1.0, dtype=model.dtype))
    x = torch.randn(20, 3, generator=torch.Generator().manual_seed(0)).to(model.dtype)
    other = torch.where(missing, -3 * x, x)
    denoiser = model.denoiser
    assert torch.equal(denoiser(x, gamma), denoiser(other, gamma))
    # The end of the path is no such level.
    gamma = model.path(torch.ones(1).to(model.dtype)).expand(20, -1)
    assert (denoiser(x, gamma) != denoiser(other, gamma)).any()


def test_rows_with_holes_train():
    X = continuous(3000)
    X[:, 2] = X[:, 0] ** 2
    X = holes(X)
    gen = small(max_iter=60, learning_rate_init=1e-2).fit(X)
    assert gen.best_validation_score_ > gen.validation_scores_[0] + 0.05
    assert np.isfinite(gen.loss_curve_).all()
    assert np.isfinite(gen.sample(5)).all()
    gen.partial_fit(X)
    whole_rows = small(max_iter=1).fit(continuous())
    whole_rows.partial_fit(holes(continuous()))
    assert whole_rows.conditional_rate_ == 0.3


def test_a_loss_over_holes_is_one_of_what_is_there():
    X = continuous(2000)
    parameters = {"max_iter": 1, "learning_rate_init": 1e-9, "conditional_rate": 0.0}
    complete = small(**parameters).fit(X).loss_curve_[0]
    assert small(**parameters).fit(holes(X)).loss_curve_[0] == pytest.approx(complete, abs=0.1)


def test_the_share_of_mixed_rows_is_none_without_holes():
    assert small(max_iter=0).fit(continuous()).conditional_rate_ == 0
    assert small(max_iter=0, **RATE).fit(continuous()).conditional_rate_ == 0.5


def test_nullable_integers_with_holes_stay_integers():
    X = pd.DataFrame({"a": pd.array([1, 2, 3, None] * 10, dtype="Int64"), "b": np.arange(40.0)})
    gen = small(max_iter=0).fit(X)
    assert gen.bin_width_[0] == 1
    drawn = gen.sample(5)
    assert drawn["a"].dtype == "Int64"
    assert set(drawn["a"]) <= {1, 2, 3}


def test_a_block_without_holes_may_mix_its_columns():
    X = continuous()
    X[3, 0] = np.nan
    basis = BlockBasis([("i", IdentityBasis(), [0]), ("p", PCABasis(), [1, 2])])
    gen = small(basis=basis, max_iter=1).fit(X)
    assert np.isfinite(gen.score_samples(X)).all()
    assert gen.conditioning_method([1, 2]) == "exact"
    assert gen.conditioning_method([1]) == "posterior"


# Completions


@pytest.mark.parametrize("conditioning", ["exact", "posterior", "repaint"])
def test_known_entries_come_back_to_the_bit(conditioning):
    X = mixed_frame()
    gen = small(max_iter=1, conditioning=conditioning, **RATE).fit(X)
    partial = X.astype({"b": "Int64"}).mask(np.random.default_rng(0).random(X.shape) < 0.5)
    found = gen.sample(given=partial)
    assert found.dtypes.tolist() == X.dtypes.tolist()
    known = partial.notna().to_numpy()
    assert (found.to_numpy()[known] == X.to_numpy()[known]).all()
    assert found.notna().all(axis=None)


def test_completions_stand_beside_the_rows_that_they_complete():
    X = mixed_frame().set_axis(range(100, 140))
    X["d"] = X["b"] > 1
    gen = small(max_iter=0, **RATE).fit(X)
    partial = X.astype(float).mask(np.random.default_rng(0).random(X.shape) < 0.5)
    found = gen.sample(given=partial)
    assert found.index.tolist() == list(range(100, 140))
    assert found["d"].dtype == bool
    # Several draws are one array of numbers, whatever the dtypes of the columns.
    several = gen.sample(3, given=partial)
    assert several.dtype == np.float64
    np.testing.assert_array_equal(several[0], found.to_numpy(dtype=float))


def test_shapes_of_completions():
    X = continuous()
    gen = small(max_iter=0, **RATE).fit(X)
    partial = holes(X[:7])
    assert gen.sample(given=partial).shape == (7, 3)
    draws = gen.sample(4, given=partial)
    assert draws.shape == (4, 7, 3)
    np.testing.assert_array_equal(gen.sample(2, given=partial), draws[:2])
    np.testing.assert_array_equal(gen.sample(given=partial), draws[0])


def test_expected_values_are_of_as_many_draws_as_are_asked_for():
    X = whole()
    gen = small(bin_width=1.0, **RATE).fit(X)
    partial = holes(X[:8])
    few, many = (gen.conditional_mean(partial, n_samples=n) for n in (4, 40))
    assert (few != many)[np.isnan(partial)].all()


def test_equal_partial_rows_are_completed_differently():
    gen = small(max_iter=0, **RATE).fit(continuous())
    found = gen.sample(given=np.array([[1.0, np.nan, np.nan]] * 300))
    assert len(np.unique(found[:, 1])) == 300


def test_rows_of_which_nothing_or_everything_is_known():
    X = continuous()
    gen = small(max_iter=1, **RATE).fit(X)
    nothing = np.full((5, 3), np.nan)
    np.testing.assert_array_equal(gen.sample(given=nothing), gen.sample(5))
    np.testing.assert_array_equal(gen.sample(given=X[:5]), X[:5])
    for wrong in ({"y": "a"}, {"guidance": -1.0}, {"random_state": "seed"}):
        with pytest.raises(ValueError, match="needs a model of labels|guidance=|seed"):
            gen.sample(given=X[:5], **wrong)
    # Beside rows that are guided, too.
    partial = nothing.copy()
    partial[1, 0] = 1.0
    for conditioning in ("auto", "repaint"):
        guided = small(basis="pca", max_iter=1, conditioning=conditioning).fit(X)
        np.testing.assert_allclose(guided.sample(given=partial)[[0, 2]], guided.sample(5)[[0, 2]])
    np.testing.assert_array_equal(gen.score_samples(nothing), np.zeros(5))
    np.testing.assert_array_equal(gen.score_samples(X, given_columns=[0, 1, 2]), np.zeros(40))


def test_means_and_quantiles_are_those_of_the_draws():
    X = continuous()
    gen = small(max_iter=0, **RATE).fit(X)
    partial = holes(X[:4])
    draws = gen.sample(50, given=partial)
    gen.conditioning = "posterior"
    guided = gen.sample(50, given=partial)
    np.testing.assert_allclose(gen.conditional_mean(partial, n_samples=50), guided.mean(0))
    gen.conditioning = "auto"
    found = gen.conditional_quantile(partial, [0.1, 0.9], n_samples=50)
    np.testing.assert_allclose(found, np.quantile(draws, [0.1, 0.9], axis=0))
    median = gen.conditional_quantile(partial, 0.5, n_samples=50)
    known = ~np.isnan(partial)
    np.testing.assert_array_equal(median[known], X[:4][known])


@pytest.mark.parametrize("make", [continuous, whole])
def test_expected_values_need_few_draws(make):
    X = make()
    gen = small(bin_width=1.0 if make is whole else None, **RATE).fit(X)
    partial = holes(X[:8])
    known = ~np.isnan(partial)
    few, others = (gen.conditional_mean(partial, n_samples=4, random_state=k) for k in (0, 1))
    draws = gen.sample(400, given=partial)
    assert np.abs(few - others).max() < 0.15 * X.std()
    assert np.abs(few - draws.mean(0)).max() < 0.4 * X.std()
    assert (few >= X.min(0)).all() or make is continuous
    np.testing.assert_array_equal(few[known], X[:8][known])


def test_expected_values_of_a_constant_column_are_its_value():
    X = continuous()
    X[:, 1] = 0.3
    gen = small(bin_width=[None, 0.1, None], **RATE).fit(X)
    partial = X[:3].copy()
    partial[:, 1] = np.nan
    assert (gen.conditional_mean(partial)[:, 1] == 0.3).all()


def test_expected_values_of_pictures_and_of_constant_columns():
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


def full_covariance():
    X = np.random.default_rng(0).normal(size=(4000, 3))
    X -= X.mean(0)
    X = X @ np.linalg.inv(np.linalg.cholesky(X.T @ X / len(X))).T
    A = np.array([[1.0, 0, 0], [0.8, 0.6, 0], [-0.5, 0.3, 0.7]])
    return X @ A.T, A @ A.T


def test_the_guided_gaussian_has_the_conditional_law():
    X, covariance = full_covariance()
    gen = small(basis="pca", preconditioning="gaussian", max_iter=0, sampler="dpm-solver").fit(X)
    assert gen.conditioning_method([0]) == "posterior"
    partial = np.full((1, 3), np.nan)
    partial[0, 0] = 1.5
    draws = gen.sample(3000, given=partial)[:, 0, 1:]
    gain = covariance[1:, 0] / covariance[0, 0]
    expected = covariance[1:, 1:] - np.outer(gain, covariance[0, 1:])
    np.testing.assert_allclose(draws.mean(0), 1.5 * gain, atol=0.05)
    np.testing.assert_allclose(np.cov(draws.T), expected, atol=0.05)


def test_linear_observations_of_a_gaussian():
    X, covariance = full_covariance()
    gen = small(basis="pca", preconditioning="gaussian", max_iter=0, sampler="dpm-solver").fit(X)
    A, noise = np.array([[1.0, 1.0, 1.0]]), 0.5
    draws = gen.sample(3000, observation=(A, [2.0], noise))
    gain = covariance @ A.T / (A @ covariance @ A.T + noise**2)
    np.testing.assert_allclose(draws.mean(0), 2 * gain[:, 0], atol=0.06)
    np.testing.assert_allclose(np.cov(draws.T), covariance - gain @ A @ covariance, atol=0.06)
    several = gen.sample(observation=(A, [[2.0], [-3.0]], 0.0))
    np.testing.assert_allclose(several @ A[0], [2, -3], atol=0.1)
    assert gen.sample(4, observation=(A, [[2.0], [-3.0]], 0.0)).shape == (4, 2, 3)


@pytest.mark.parametrize("basis", ["identity", "pca"])
def test_constant_columns_tell_nothing_of_others(basis):
    X = continuous()
    X[:, 1] = 0.3
    gen = small(basis=basis, max_iter=0, conditioning="posterior").fit(X)
    partial = X[:4].copy()
    partial[:, 2] = np.nan
    expected = gen.sample(given=partial)
    assert gen.conditioning_method([0, 1]) == "posterior"
    # Another value than any in training comes back, and does not lead the rest astray.
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


def test_replacement_agrees_with_what_is_known():
    X, _ = full_covariance()
    gen = small(basis="pca", max_iter=0, conditioning="repaint", sampler="dpm-solver").fit(X)
    draws = gen.sample(20, observation=(np.ones((1, 3)), [2.0], 0.0))
    np.testing.assert_allclose(draws.sum(1), 2, atol=0.1)


def test_guidance_hears_a_small_difference_of_what_is_known():
    z = np.random.default_rng(0).normal(size=(4000, 3))
    # The first two have a correlation of 0.98, and the third goes with their difference.
    X = np.column_stack([z[:, 0] + 0.1 * z[:, 1], z[:, 0] - 0.1 * z[:, 1], z[:, 1] + 0.1 * z[:, 2]])
    gen = small(max_iter=0, conditioning="posterior", sampler="dpm-solver", **RATE).fit(X)
    partial = np.full((200, 3), np.nan)
    partial[:, :2] = [0.15, -0.15]
    assert gen.sample(given=partial)[:, 2].mean() == pytest.approx(1.5, abs=0.1)


def test_repetitions_keep_the_spread():
    X = np.random.default_rng(0).normal(size=(2000, 2))
    gen = small(max_iter=0, conditioning="repaint", sampler=Heun(steps=20), **RATE).fit(X)
    partial = np.full((2000, 2), np.nan)
    partial[:, 0] = 0.5
    assert gen.sample(given=partial)[:, 1].var() == pytest.approx(X[:, 1].var(), rel=0.1)


def test_replacement_hears_what_the_known_says_of_the_rest():
    X, _ = full_covariance()
    gen = small(max_iter=0, conditioning="repaint", sampler=Heun(steps=20), **RATE).fit(X)
    partial = np.full((1000, 3), np.nan)
    partial[:, 0] = 1.0
    # Without a normal law 0.2 is missing of the mean of 0.8, without repetitions, too, 0.5.
    assert gen.sample(given=partial)[:, 1].mean() == pytest.approx(0.8, abs=0.2)


@pytest.mark.parametrize("known", [[0], [0, 2]])
def test_repetitions_in_principal_components_draw_the_conditional_law(known):
    X, covariance = full_covariance()
    gen = small(basis="pca", max_iter=0, conditioning="repaint", sampler=Heun(steps=20)).fit(X)
    partial = np.full((3000, 3), np.nan)
    partial[:, 0] = X[0, 0]
    # Rows of different patterns are drawn together.
    partial[::2, 2] = X[0, 2]
    rest = [j for j in range(3) if j not in known]
    drawn = gen.sample(given=partial)[len(known) % 2 :: 2][:, rest]
    of_known = np.linalg.inv(covariance[np.ix_(known, known)])
    slope = covariance[np.ix_(rest, known)] @ of_known
    expected = X.mean(0)[rest] + slope @ (X[0, known] - X.mean(0)[known])
    law = covariance[np.ix_(rest, rest)] - slope @ covariance[np.ix_(known, rest)]
    error = np.sqrt(law.diagonal() / len(drawn)).max()
    np.testing.assert_allclose(drawn.mean(0), expected, atol=4 * error)
    np.testing.assert_allclose(np.cov(drawn.T), law.squeeze(), atol=0.15 * law.max())


def test_replacement_reaches_round_constant_columns():
    X, _ = full_covariance()
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


# What is refused, and what is warned of


def test_bases_that_mix_columns_refuse_holes():
    X = holes(continuous())
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
    with pytest.raises(ValueError, match="conditioning='exact' needs known columns"):
        gen.set_params(conditioning="exact").sample(given=X)


def test_a_column_of_nothing_is_refused():
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


def test_a_model_of_whole_rows_warns_of_parts():
    gen = small(max_iter=1).fit(continuous())
    with pytest.warns(UserWarning, match="conditional_rate=0"):
        gen.score_samples(continuous(), given_columns=[0])
    assert gen.conditioning_method([0]) == "posterior"
    partial = holes(continuous())
    with pytest.warns(UserWarning, match="conditional_rate=0.*what is known guides it"):
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
        # It tells of the line of the user.
        assert [warning.filename for warning in record] == [__file__]
    # Of nothing nobody is told.
    gen.sample(given=np.full((2, 3), np.nan))
    # Who asks for it is not warned, nor who could not have it otherwise.
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
def test_columns_that_cannot_be_given(given, error, message):
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


def test_what_is_known_twice_or_off_the_grid_is_refused():
    X = whole()
    gen = small(max_iter=0, bin_width=1.0, **RATE).fit(X)
    with pytest.raises(ValueError, match="given= or observation="):
        gen.sample(given=X, observation=(A, [0.0, 0.0], 0.1))
    with pytest.raises(ValueError, match="multiple of bin_width"):
        gen.sample(given=X + 0.5)
    with pytest.raises(ValueError, match="conditioning='exact' knows whole components only"):
        gen.set_params(conditioning="exact").sample(observation=(A, [0.0, 0.0], 0.1))


def test_what_is_set_after_fit_is_checked_before_it_is_used():
    gen = small(max_iter=0, **RATE).fit(continuous())
    gen.conditioning = "Posterior"
    for call in (
        lambda: gen.sample(given=holes(continuous())),
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
        gen.conditional_quantile(holes(continuous()), q)
