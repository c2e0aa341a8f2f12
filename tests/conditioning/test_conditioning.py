"""Samples given observed values."""

import numpy as np
import pandas as pd
import pytest
import torch

from gudlearn import Heun, Schema, UNet
from gudlearn.conditioning import Observation, PosteriorDenoiser, ReplacementDenoiser
from small import continuous, mixed_frame, small, whole, with_missing

RATE = {"conditional_rate": 0.5}


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
    several = gen.sample(3, given=partial)
    assert several.index.names == ["draw", "row"]
    assert several.index.tolist() == [(k, row) for k in range(3) for row in range(100, 140)]
    pd.testing.assert_frame_equal(several.loc[0], found, check_names=False)


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
    # Beyond the range that was seen samples would have its bounds.
    gen = small(max_iter=0, schema=Schema(clip=False), **RATE).fit(continuous())
    found = gen.sample(given=np.array([[1.0, np.nan, np.nan]] * 300))
    assert len(np.unique(found[:, 1])) == 300


def test_rows_with_nothing_or_everything_observed():
    X = continuous()
    gen = small(max_iter=1, **RATE).fit(X)
    nothing = np.full((5, 3), np.nan)
    # Values mirrored at the ends of the seen range are mapped there and back: the last bit rounds.
    np.testing.assert_allclose(gen.sample(given=nothing), gen.sample(5), rtol=1e-12, atol=1e-14)
    np.testing.assert_array_equal(gen.sample(given=X[:5]), X[:5])
    for wrong in ({"y": "a"}, {"guidance": -1.0}, {"random_state": "seed"}):
        with pytest.raises(ValueError, match="needs a model of labels|guidance=|seed"):
            gen.sample(given=X[:5], **wrong)
    # The same holds among rows that are guided, which may leave the range that was seen.
    partial = nothing.copy()
    partial[1, 0] = 1.0
    for conditioning in ("auto", "repaint"):
        settings = {"conditioning": conditioning, "schema": Schema(clip=False)}
        guided = small(basis="pca", max_iter=1, **settings).fit(X)
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
    one, both = (gen.sample(4, observation=(A[:m], [0.5, 7.0][:m], 0.1)) for m in (1, 2))
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
    A, z, values = (torch.randn(*shape, generator=generator) for shape in ((4, 6), (5, 6), (5, 4)))
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
