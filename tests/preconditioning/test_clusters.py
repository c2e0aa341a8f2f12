"""Clusters of rows, and the untrained model of them."""

import pickle

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.special import logsumexp
from sklearn.metrics import adjusted_rand_score

from gudlearn import Schema, UNet
from gudlearn.preconditioning.clusters import (
    denoising_nll,
    find_clusters,
    with_every_column_observed,
    with_least_std,
)
from gudlearn.preconditioning.distributions import JointDistribution
from gudlearn.preconditioning.marginals import GaussianMarginals
from small import small

WEIGHTS, MEANS = np.array([0.5, 0.3, 0.2]), np.array([[0.0, 0, 0], [5, 0, -3], [-4, 4, 0]])
COVARIANCES = np.array([[[1.0, 0.8, 0.0], [0.8, 1.0, 0.0], [0.0, 0.0, 1.0]],
                        [[1.0, -0.9, 0.3], [-0.9, 2.0, 0.0], [0.3, 0.0, 0.5]],
                        [[0.3, 0.0, 0.0], [0.0, 0.3, 0.2], [0.0, 0.2, 1.0]]])  # fmt: skip


def untrained_on(X, preconditioning="mixture", **parameters):
    return small(max_iter=0, preconditioning=preconditioning, **parameters).fit(X)


def clusters_of(generator):
    return generator.state_.preconditioner.clusters


def mixture_rows(n, seed=0):
    rng = np.random.default_rng(seed)
    label = rng.choice(3, size=n, p=WEIGHTS)
    roots = np.linalg.cholesky(COVARIANCES)
    return MEANS[label] + np.einsum("nij,nj->ni", roots[label], rng.normal(size=(n, 3))), label


def log_density(X, columns=(0, 1, 2)):
    own = np.array(columns)
    parts = [
        np.log(weight) + stats.multivariate_normal(m[own], c[np.ix_(own, own)]).logpdf(X[:, own])
        for weight, m, c in zip(WEIGHTS, MEANS, COVARIANCES, strict=True)
    ]
    return logsumexp(parts, axis=0)


# Parts of the fit


def test_a_few_rows_are_no_cluster():
    X, _ = mixture_rows(400)
    X[:5] += 50
    assert min(len(cluster.rows) for cluster in find_clusters(X, 4)) >= 15


def test_planted_clusters_are_found():
    X, label = mixture_rows(1000)
    scale, found = np.array([1, 100, 1e-3]), np.zeros(1000, int)
    clusters = find_clusters(X * scale, 3)
    for k, cluster in enumerate(clusters):
        found[cluster.rows] = k
        # Five standard errors of the mean and of a covariance of 200 rows or more, and more for
        # the pseudo-rows of the common covariance.
        true = np.argmin(np.square(MEANS - cluster.mean / scale).sum(1))
        np.testing.assert_allclose(cluster.mean / scale, MEANS[true], atol=0.5)
        np.testing.assert_allclose(
            cluster.covariance / np.outer(scale, scale), COVARIANCES[true], atol=0.7
        )
        assert cluster.weight == pytest.approx(WEIGHTS[true], abs=5 * 0.5 / 1000**0.5)
    assert adjusted_rand_score(label, found) > 0.95


def test_nll_of_a_gaussian_is_that_of_the_closed_form():
    variances = torch.tensor([1.0, 4.0, 0.25], dtype=torch.float64)
    distribution = JointDistribution(GaussianMarginals(torch.zeros(3).double(), variances))
    generator = torch.Generator().manual_seed(0)
    Z = variances.sqrt() * torch.randn(20_000, 3, generator=generator, dtype=torch.float64)
    levels = (variances.log() - 6, variances.log() + 6, variances.log())
    found = denoising_nll(distribution, Z, None, *levels)
    # Half the integral of V / (V + e^gamma) over gamma, for each component.
    exact = 0.5 * (torch.log1p(variances * (-levels[0]).exp()) - np.log1p(np.exp(-6))).sum()
    # The standard error is 0.7 %.
    assert found.mean().item() == pytest.approx(exact.item(), rel=0.05)
    missing = torch.zeros(Z.shape, dtype=torch.bool)
    missing[:, 1] = True
    part = denoising_nll(distribution, Z, missing, *levels)
    assert part.mean().item() == pytest.approx(exact.item() * 2 / 3, rel=0.05)
    moved = Z.clone()
    moved[:, 1] += 5
    again = denoising_nll(distribution, moved, missing, *levels)
    torch.testing.assert_close(again, part)


def test_a_column_hardly_observed_in_a_cluster_has_the_distribution_of_all_rows():
    Z = np.random.default_rng(0).normal(size=(100, 3))
    missing = np.zeros(Z.shape, bool)
    missing[:50, 1:] = True
    some, absent = with_every_column_observed(Z, missing, np.arange(50))
    np.testing.assert_array_equal(some[:, 0], Z[:50, 0])
    assert not absent.any()
    assert set(some[:, 1]) <= set(Z[50:, 1])
    assert some[:, 1].std() == pytest.approx(Z[50:, 1].std(), rel=0.1)
    # Two such columns are independent.
    assert abs(np.corrcoef(some[:, 1], some[:, 2])[0, 1]) < 0.4
    some, absent = with_every_column_observed(Z, missing, np.arange(30, 80))
    np.testing.assert_array_equal(absent, missing[30:80])
    np.testing.assert_array_equal(some, Z[30:80])


def test_a_cluster_has_a_least_standard_deviation():
    Z = np.random.default_rng(0).normal(size=(50, 3)) * [1, 1, 1e-4]
    missing = np.zeros(Z.shape, bool)
    missing[::2, 0] = True
    Z[::2, 0] = 1e6
    mean, std, loadings = with_least_std(None, Z, missing, np.ones(3))
    assert abs(mean[0]) < 1 and 0.5 < std[0] < 2
    assert std[2] == pytest.approx(0.03)
    assert not loadings.any()
    factors = (mean, np.ones(3), np.full((3, 1), 0.5))
    _, std, loadings = with_least_std(factors, Z, missing, np.ones(3))
    np.testing.assert_allclose(std, [1, 1, 0.03])
    np.testing.assert_array_equal(loadings[:, 0], [0.5, 0.5, 0])


# The untrained generator


def test_tables_of_wide_images_are_those_of_their_rows(monkeypatch):
    monkeypatch.setattr("gudlearn.encoding.encoding._MOST_TABLES", 3)
    monkeypatch.setattr("gudlearn.encoding.encoding._WIDE_ROWS", 400)
    bright = np.random.default_rng(0).integers(2, size=(900, 1, 1))
    X = (10 * bright + np.random.default_rng(1).integers(0, 3, size=(900, 2, 2))).astype(np.uint8)
    clusters = clusters_of(untrained_on(X, network=UNet(width=8), bin_range=(0, 15)))
    assert len(clusters) > 1
    for cluster in clusters:
        high = np.exp(cluster.tables[0].log_pmf)[8:].sum()
        assert min(high, 1 - high) < 0.1


def test_constant_rows_have_no_clusters():
    for X in (np.ones((300, 2)), np.ones((300, 2), dtype=int)):
        gen = untrained_on(X)
        np.testing.assert_array_equal(gen.sample(3), X[:3])


@pytest.fixture(scope="module")
def untrained():
    # A map of a column to a normal one would bend the clusters.
    schema = Schema(gaussianize=False)
    return untrained_on(mixture_rows(3000)[0], sampler="auto", schema=schema)


@pytest.mark.filterwarnings("ignore:This model was fitted with conditional_rate=0")
def test_untrained_clusters_have_the_density_of_the_mixture_and_its_conditionals(untrained):
    rows = mixture_rows(400, seed=1)[0]
    found, exact = untrained.score_samples(rows), log_density(rows)
    # The standard error is 0.02; the fit, and the noise of the bound, cost 0.03.
    assert abs(np.mean(found - exact)) < 0.15
    given = untrained.score_samples(rows, given_columns=[1, 2])
    assert abs(np.mean(given - (exact - log_density(rows, (1, 2))))) < 0.15
    apart = untrained_on(mixture_rows(3000)[0], "joint")
    assert np.mean(found) > apart.score(rows) + 0.5


def test_untrained_samples_have_the_clusters(untrained):
    drawn = untrained.sample(2000)
    near = np.argmin(((drawn[:, None] - MEANS) ** 2).sum(-1), axis=1)
    np.testing.assert_allclose(np.bincount(near) / 2000, WEIGHTS, atol=0.1)
    assert np.corrcoef(drawn[near == 1].T)[0, 1] == pytest.approx(-0.64, abs=0.2)


def test_missing_values_do_not_hide_clusters():
    X, _ = mixture_rows(2000)
    X[np.random.default_rng(0).random(X.shape) < 0.2] = np.nan
    gen = untrained_on(X)
    rows = mixture_rows(400, seed=1)[0]
    # The standard error is 0.02. Without clusters it would be 0.8 lower.
    assert abs(np.mean(gen.score_samples(rows) - log_density(rows))) < 0.4


def test_a_column_may_be_observed_in_held_out_rows_only():
    X, _ = mixture_rows(200)
    X[:, 2] = np.nan
    X[np.random.default_rng(0).permutation(200)[:3], 2] = [0.0, 1.0, 2.0]
    assert np.isfinite(untrained_on(X).score_samples(X)).all()


def test_bins_and_constant_columns_may_differ_by_cluster():
    rng = np.random.default_rng(0)
    kind = rng.integers(2, size=(1200, 1))
    X = np.hstack([kind, np.where(kind, rng.integers(0, 9, (1200, 2)), 3)]).astype(int)
    # As numbers: categories have no clusters.
    gen = untrained_on(X[:600], bin_width=1.0)
    bits = gen.bits_per_dim(X[600:])
    # One bit for the kind, and two draws out of nine in half of the rows. The noise inside scores
    # has a standard error of 0.04.
    assert bits < (1 + np.log2(9)) / 3 + 0.35
    assert len(clusters_of(gen)) > 1
    joint = untrained_on(X[:600], "joint", bin_width=1.0)
    assert joint.bits_per_dim(X[600:]) > bits + 0.15


@pytest.mark.parametrize("n", [120, 400, 3000])
def test_one_gaussian_is_not_divided(n):
    X = np.random.default_rng(0).multivariate_normal([0, 0, 0], COVARIANCES[0], n)
    assert not clusters_of(untrained_on(X))


def test_clusters_are_fitted_on_request_only():
    X, _ = mixture_rows(500)
    for preconditioning in ("auto", "joint", "marginal", "gaussian"):
        assert not clusters_of(untrained_on(X, preconditioning))
    assert clusters_of(untrained_on(X))
    wide = np.random.default_rng(0).normal(size=(20, 300))
    with pytest.raises(ValueError, match="'mixture' takes up to 256 components, but X has 300"):
        untrained_on(wide)


def test_images_may_have_clusters():
    rng = np.random.default_rng(0)
    bright = rng.integers(2, size=(300, 1, 1))
    X = 3 * bright * np.eye(4) + rng.normal(size=(300, 4, 4)) * np.where(bright, 0.3, 1.0)
    gen, apart = (untrained_on(X, kind, network=UNet(width=8)) for kind in ("mixture", "joint"))
    assert gen.bits_per_dim(X) < apart.bits_per_dim(X) - 0.2
    assert gen.sample(2).shape == (2, 4, 4)


def test_a_copy_of_the_fitted_model_has_the_clusters(untrained):
    again = pickle.loads(pickle.dumps(untrained))
    rows = mixture_rows(5)[0]
    np.testing.assert_array_equal(again.score_samples(rows), untrained.score_samples(rows))
    assert len(clusters_of(again)) == len(clusters_of(untrained)) > 1


def test_clusters_are_trained_and_scored_by_the_flow(monkeypatch):
    monkeypatch.setattr("gudlearn.model.fitted._FLOW_STEPS", 16)
    X, label = mixture_rows(400)
    gen = small(preconditioning="mixture", max_iter=2, conditional_rate=0.3).fit(X)
    assert len(clusters_of(gen)) > 1
    bound = gen.score(X[:40])
    assert abs(bound - log_density(X[:40]).mean()) < 0.5
    # The noise inside both scores of 20 rows has a standard error of 0.08.
    bound = gen.score(X[:20])
    assert gen.set_params(likelihood="flow").score(X[:20]) == pytest.approx(bound, abs=0.6)
    gen.set_params(likelihood="bound").partial_fit(X)
    assert np.isfinite(gen.score(X[:40]))
    labelled = small(preconditioning="mixture", class_conditional=True).fit(X, label)
    assert np.isfinite(labelled.score(X[:40], label[:40]))
