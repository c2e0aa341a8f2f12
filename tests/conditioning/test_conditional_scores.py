"""Scores of partially observed rows, and fits to them."""

import numpy as np
import pandas as pd
import pytest
import torch

from gudlearn import BlockBasis, DPMSolver, IdentityBasis, PCABasis, SequentialSchedule
from small import continuous, dependent, mixed_frame, small, whole, with_missing

RATE = {"conditional_rate": 0.5}


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
        max_iter=160, batch_size=40, learning_rate_init=1e-2, conditional_rate=0.6,
        preconditioning="marginal",
    ).fit(X)  # fmt: skip
    alone = gen.score(np.column_stack([X[:, 1] * np.nan, X[:, 1]]))
    given = gen.score(X, given_columns=[0])
    # log(1/0.1) = 2.3 nats for an exact denoiser. Over seeds it is 2.07 with a standard deviation
    # of 0.06.
    assert given > alone + 1.2
    other = gen.score(X, given_columns=[1])
    # Both bounds are loose: the difference is 0.18 with a standard deviation of 0.06.
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
