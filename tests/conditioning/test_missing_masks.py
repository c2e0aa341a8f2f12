"""Masks for models that will be asked for whatever is missing, and means from one evaluation."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import norm

from gudlearn import GUDGenerator, IdentityBasis, PCABasis, Schema
from gudlearn.conditioning.missing_masks import MissingMasks
from gudlearn.conditioning.states import MISSING, TARGET, MaskedPath
from gudlearn.diffusion.losses import nll_integrand, noise_loss
from gudlearn.diffusion.paths import WindowedGamma
from small import continuous, random_images, small, with_missing

N, D = 4000, 4
PATH = WindowedGamma(np.full(D, -9.0), np.full(D, 7.0), 0.0, 1.0)
VARIANCES = torch.tensor([1.0, 2.0, 0.5, 1.0], dtype=torch.float64)


def masks(rate=1.0, groups=(0, 1, 2, 3)):
    groups = torch.tensor(groups)
    return MissingMasks(groups, (int(groups.max()) + 1,), rate, VARIANCES.log())


def generator():
    return torch.Generator().manual_seed(0)


def test_a_part_of_each_masked_row_is_a_target_and_the_rest_observed():
    path = masks().path(PATH, N, generator())
    assert path.target.any(1).all() and not path.missing.any()
    hidden = path.target.float().mean(0)
    # The mean of u^2 is a third; one more is hidden at random.
    expected = 1 - (1 - 1 / 3) * (1 - 1 / D)
    np.testing.assert_allclose(hidden, expected, atol=5 * 0.5 / N**0.5)
    some = masks(rate=0.25).path(PATH, N, generator())
    assert abs(some.observed.any(1).float().mean() - 0.25) < 0.05


def test_values_that_are_missing_are_no_targets_and_other_rows_are_hidden_like_them():
    missing = torch.zeros(N, D, dtype=torch.bool)
    missing[: N // 2, 1:3] = True
    path = masks().path(PATH, N, generator(), missing)
    assert (path.missing == missing).all()
    # A quarter of the complete rows is hidden like one of the others, or by chance.
    alike = (path.target[N // 2 :] == torch.tensor([False, True, True, False])).all(1)
    assert 0.25 - 5 * (0.19 / N * 2) ** 0.5 < alike.float().mean() < 0.4


def test_components_of_one_column_are_hidden_together():
    path = masks(groups=(0, 1, 1, 2)).path(PATH, N, generator())
    assert (path.target[:, 1] == path.target[:, 2]).all()


def test_held_out_rows_have_the_same_masks_at_every_call():
    missing = torch.zeros(60, D, dtype=torch.bool)
    missing[3, 2] = True
    paths = [masks(rate=0.1).of_validation(PATH, 60, missing) for _ in range(2)]
    assert (paths[0].target == paths[1].target).all() and paths[0].missing[3, 2]
    assert paths[0].observed.any(1).float().mean() > 0.5


@pytest.mark.parametrize("loss", [nll_integrand, noise_loss])
def test_the_loss_of_steady_numbers_is_their_squared_error_over_their_variance(loss):
    state = torch.full((5, D), TARGET)
    state[:, 1] = MISSING
    steady = state == TARGET
    path = MaskedPath(PATH, state, VARIANCES.log(), steady=steady)
    x0 = torch.from_numpy(np.random.default_rng(0).normal(size=(5, D)))
    seen = {}

    def denoise(x, gamma):
        seen["gamma"] = gamma
        return torch.full_like(x, 0.25)

    terms = loss(denoise, path, x0, torch.linspace(0.1, 0.9, 5).double(), torch.zeros(5, D))
    expected = (x0 - 0.25) ** 2 / VARIANCES
    np.testing.assert_allclose(terms[:, [0, 2, 3]], expected[:, [0, 2, 3]], rtol=1e-6)
    # Nothing of them is left at their noise level, at any time.
    assert (seen["gamma"] == seen["gamma"][:1]).all() and (seen["gamma"] > 7).all()


def test_means_of_a_gaussian_are_exact_before_training():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 4)) @ rng.normal(size=(4, 4))
    gen = small(targets="all", max_iter=0, preconditioning="joint", bin_width=None).fit(X)
    rows = with_missing(X[:30], 0.5)
    found = gen.conditional_mean(rows)
    # The joint Gaussian before training, and its components, which are shifted and scaled columns.
    preconditioner, encoding = gen.state_.preconditioner, gen.state_.encoding
    mean, covariance = preconditioner.distribution.factors[0][:4], preconditioner.covariance()
    z = np.asarray(encoding.basis.transform(X[:30]))
    for k, known in enumerate(~np.isnan(rows)):
        gain = covariance[:, known] @ np.linalg.inv(covariance[np.ix_(known, known)])
        expected = mean + gain @ (z[k] - mean)[known]
        answer = encoding.decode_mean(expected[None])[0]
        answer = np.clip(answer, X.min(0), X.max(0))
        # Observed values have the noise of their floor.
        np.testing.assert_allclose(found[k][~known], answer[~known], atol=0.02 * X.std())


def skewed(n, seed=0):
    """A column, and one of which the mean given it is known, and is not the median."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, n)
    return np.column_stack([x, x + rng.exponential(1.0, n) ** 1.5]), x


def test_means_are_learned_from_one_evaluation_and_draw_nothing():
    X, _ = skewed(1000)
    model = small(targets="all", max_iter=30, schema=Schema(gaussianize=False)).fit(X)
    x = np.linspace(-0.8, 0.8, 9)
    rows = np.column_stack([x, np.full(9, np.nan)])
    found = model.conditional_mean(rows, n_samples=1, random_state=1)
    # The mean of an exponential variable to the power 3/2 is the gamma function of 5/2, 1.33, its
    # median 0.58. Its standard deviation is 2.06: five standard errors of a local mean.
    np.testing.assert_allclose(found[:, 1], x + 1.329, atol=5 * 2.06 / 200**0.5)
    again = model.conditional_mean(rows, n_samples=50, random_state=2)
    np.testing.assert_array_equal(found, again)


def test_probabilities_are_learned_from_one_evaluation():
    rng = np.random.default_rng(0)
    a = rng.normal(size=800)
    kind = np.where(rng.random(800) < norm.cdf(2 * a), "u", "v")
    X = pd.DataFrame({"a": a, "b": a + rng.normal(size=800), "kind": kind})
    model = small(targets="all", max_iter=40).fit(X)
    rows = pd.DataFrame({"a": [-1.0, 0.0, 1.0], "b": np.nan})
    found = model.conditional_proba(rows.assign(kind=None), "kind", n_samples=1)
    np.testing.assert_allclose(found["u"], norm.cdf([-2, 0, 2]), atol=0.2)
    again = model.conditional_proba(rows.assign(kind=None), "kind", n_samples=9, random_state=3)
    pd.testing.assert_frame_equal(found, again)


def test_columns_that_are_mapped_to_normal_ones_have_means_of_draws():
    X, _ = skewed(400)
    model = small(targets="all", max_iter=1, bin_width=None).fit(np.exp(2 * X))
    assert model.state_.encoding.warp is not None
    rows = np.column_stack([np.exp([0.5, 1.0]), [np.nan] * 2])
    first, second = (model.conditional_mean(rows, n_samples=2, random_state=k) for k in (1, 2))
    assert (first != second).any()


def test_means_stay_in_the_range_that_was_seen():
    X = continuous(60)
    schema = Schema(gaussianize=False)
    model = small(targets="all", max_iter=0, schema=schema, preconditioning="joint").fit(X)
    rows = np.array([[1e3, np.nan, np.nan], [-1e3, np.nan, np.nan]])
    found = model.conditional_mean(rows)[:, 1:]
    assert (found >= X[:, 1:].min(0)).all() and (found <= X[:, 1:].max(0)).all()


def test_training_learns_from_rows_with_missing_values():
    X = continuous(300)
    X[:, 1] = np.abs(X[:, 0])
    partial = with_missing(X, 0.3)
    model = small(
        targets="all", max_iter=100, batch_size=50, validation_fraction=0,
        schema=Schema(gaussianize=False),
    ).fit(partial)  # fmt: skip
    rows = np.column_stack([np.linspace(-1.5, 1.5, 7), np.full((7, 2), np.nan)])
    found = model.conditional_mean(rows)[:, 1]
    # Over salts it is 0.11 with a standard deviation of 0.02.
    assert np.abs(found - np.abs(rows[:, 0])).mean() < 0.35
    assert model.state_.at_once


def test_training_that_goes_on_for_other_targets_takes_draws_again():
    X = continuous(60)
    model = small(targets="all", max_iter=1, warm_start=True).fit(X)
    assert model.state_.at_once
    model.set_params(targets=None).fit(X)
    assert not model.state_.at_once


def test_a_column_may_be_called_all():
    X = pd.DataFrame(continuous(), columns=["all", "b", "c"])
    whole, named = small(targets="all", max_iter=1), small(targets=["all"], max_iter=1)
    assert whole.fit(X).state_.at_once
    assert not named.fit(X).state_.at_once


def test_refusals():
    with pytest.raises(ValueError, match="targets='all' needs rows that are partially observed"):
        small(targets="all", conditional_rate=0).fit(continuous())
    with pytest.raises(ValueError, match="names columns of a table, but X holds images"):
        GUDGenerator(targets="all", max_iter=1).fit(random_images(20))
    # A basis that mixes columns leaves no column to be hidden alone.
    with pytest.raises(ValueError, match="the basis mixes"):
        small(targets="all", basis=PCABasis()).fit(continuous())
    assert small(targets="all", basis=IdentityBasis(), max_iter=0).fit(continuous()).state_.at_once
