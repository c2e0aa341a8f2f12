"""Strips that roll along: the distribution of new columns, against known Gaussians."""

from contextlib import nullcontext
from itertools import islice, pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import stats

from gudlearn import BlockBasis, DPMSolver, IdentityBasis, WaveletBasis
from gudlearn._random import seed_keys
from gudlearn.diffusion.noise import alpha, sigma
from gudlearn.diffusion.paths import WindowedGamma
from gudlearn.diffusion.solvers import integrate
from gudlearn.model.extension import local_components
from gudlearn.model.rolling import Strip, roll
from gudlearn.preconditioning.marginals import GaussianMarginals
from small import small
from strips import HAAR, RHO, STDS, ar_covariance, ar_rows, by_column, haar_strips

WIDTH = 8
PLACES = np.arange(WIDTH)


def exact_model():
    """A fitted model whose denoiser is that of an autoregressive process of variance 1."""
    covariance = torch.from_numpy(ar_covariance(WIDTH))

    def denoise(x, gamma):
        # All rows are at one noise level.
        a, s = alpha(gamma[0]), sigma(gamma[0])
        total = a[:, None] * covariance * a + torch.diag(s**2)
        return x @ torch.linalg.solve(total, a[:, None] * covariance)

    ones = torch.ones(WIDTH).double()
    components = SimpleNamespace(
        path=WindowedGamma(np.full(WIDTH, -9.0), np.full(WIDTH, 7.0), 0.0, 1.0),
        n_components=WIDTH,
        device=torch.device("cpu"),
        dtype=torch.float64,
        denoiser=SimpleNamespace(marginals=GaussianMarginals(0 * ones, ones)),
        labelled=lambda labels: denoise,
        null=0,
        arithmetic=nullcontext,
    )
    encoding = SimpleNamespace(
        fill_values=np.zeros(WIDTH),
        decode=lambda z, keys, within: z,
        basis=IdentityBasis(whiten=False).fit(np.zeros((2, WIDTH))),
    )
    return SimpleNamespace(
        components=components, encoding=encoding, encode=lambda rows: torch.from_numpy(rows.values)
    )


@pytest.mark.parametrize("n_active", [1, 4])
def test_an_autoregressive_process_is_continued_with_its_autocorrelation(n_active):
    n = 3000
    start = np.random.default_rng(0).normal(size=(n, 1, 1))
    strip = Strip(PLACES[:, None], PLACES[:, None], 1, n_active)
    columns = roll(exact_model(), strip, start, None, seed_keys(0, n), DPMSolver(), 24)
    found = np.concatenate([start[:, 0], *islice(columns, 40)], axis=1)
    late = found[:, 20:]
    # The standard errors are 0.02 and 0.008, and 0.02 for the first new column.
    assert late.var() == pytest.approx(1, abs=0.15)
    for lag in (1, 2, 4, 8):
        correlation = (late[:, :-lag] * late[:, lag:]).mean() / late.var()
        assert correlation == pytest.approx(RHO**lag, abs=0.06)
    assert (found[:, 0] * found[:, 1]).mean() == pytest.approx(RHO, abs=0.15)


def untrained_on(X, **parameters):
    """The untrained model of Gaussian rows: their Gaussian."""
    settings = {"conditional_rate": 0.5, "preconditioning": "joint", **parameters}
    return small(max_iter=0, **settings).fit(X)


def test_sequential_columns_have_as_many_steps_each():
    X = ar_rows(4000, WIDTH)
    longer = untrained_on(X, schedule="sequential").extend(X[:400], 12, context=2, active=1)
    late = longer[:, -8:]
    # The standard errors are 0.04 and 0.007; the steps of the sampler cost as much.
    assert late.var() == pytest.approx(1, abs=0.3)
    assert np.mean(late[:, 1:] * late[:, :-1]) / late.var() == pytest.approx(RHO, abs=0.06)


HALVES = [("a", IdentityBasis(), [0, 1, 2]), ("b", IdentityBasis(whiten=False), [3, 4, 5])]
# Each with the height of the columns.
BASES = [
    (IdentityBasis(), 1),
    (IdentityBasis(whiten=False), 1),
    (BlockBasis(HALVES), 1),
    (IdentityBasis(), 2),
    (BlockBasis([("a", IdentityBasis(), [0, 7, 6, 1, 2, 8, 9, 3, 4, 5, 10, 11])]), 2),
    (by_column(WaveletBasis(), 2, 6), 2),
    (by_column(WaveletBasis(whiten=False), 2, 6), 2),
]


@pytest.mark.parametrize("active", [1, 3])
@pytest.mark.parametrize(("basis", "height"), BASES)
def test_columns_keep_their_values_when_they_move(basis, height, active, monkeypatch):
    # With so few rows the means and standard deviations of the columns differ, though their
    # distributions do not. In units of 1000 the noise floor is all there is of components that
    # are not whitened.
    shape = (6,) if height == 1 else (height, 6)
    X = 1000 * (5 + 2 * np.random.default_rng(0).normal(size=(20, *shape)))
    gen = small(basis=basis, conditional_rate=0.5, max_iter=0).fit(X)
    assert np.ptp(gen.basis_.mean_) > 500
    states = []

    def in_data_space(x, gamma):
        return gen.basis_.inverse_transform((x / alpha(gamma)[0]).numpy()).reshape(-1, *shape)

    def spy(denoise, path, x, times, *others):
        end = integrate(denoise, path, x, times, *others)
        pairs = ((x, times[:1]), (end, times[-1:]))
        states.append([in_data_space(state, path(t)) for state, t in pairs])
        return end

    monkeypatch.setattr("gudlearn.model.rolling.integrate", spy)
    longer = gen.extend(X[:3], 3, context=3, active=active)
    # The first column comes in as many parts as columns are active.
    states = states[active - 1 :]
    assert len(states) == 3
    for k, (begin, _) in enumerate(states):
        # Observed columns are at their noise floor, of some 0.4 % of 2000.
        np.testing.assert_allclose(begin[..., :3], longer[..., 3 + k : 6 + k], atol=80)
    for (_, end), (begin, _) in pairwise(states):
        np.testing.assert_allclose(begin[..., : 2 + active], end[..., 1 : 3 + active])


@pytest.fixture(scope="module")
def haar_model():
    """The Gaussian of strips whose columns have a basis of their own, and its rows."""
    X = haar_strips(4000)
    return untrained_on(X, basis=by_column(WaveletBasis(), 4, 4)), X


@pytest.mark.parametrize("side", ["right", "left"])
def test_columns_move_along_in_their_own_basis(haar_model, side):
    gen, X = haar_model
    longer = gen.extend(X[:1000], 8, side=side, random_state=0)
    new = longer[..., -8:] if side == "right" else longer[..., 7::-1]
    processes = np.einsum("ij,njc->nic", HAAR, new)
    variance = processes.var((0, 2))
    # Standard errors are 4 % and 0.007; sixteen steps for each column leave 7 % more variance.
    np.testing.assert_allclose(variance, STDS**2, rtol=0.3)
    lagged = (processes[..., 1:] * processes[..., :-1]).mean((0, 2))
    np.testing.assert_allclose(lagged / variance, RHO, atol=0.06)


def next_column_density(rows):
    """Log-density of each column of rows (..., n_columns) but the first, given the one before."""
    return stats.norm(RHO * rows[..., :-1], np.sqrt(1 - RHO**2)).logpdf(rows[..., 1:])


def test_steps_in_a_basis_of_columns_are_scored(haar_model):
    gen, X = haar_model
    longer, found = gen.extend(X[:40], 3, return_log_likelihood=True, random_state=0)
    processes = np.einsum("ij,njc->nic", HAAR, longer[..., 3:]) / STDS[:, None]
    expected = next_column_density(processes).sum(1) - np.log(STDS).sum()
    # The noise inside scores leaves a standard error of 0.04.
    assert found.mean() == pytest.approx(expected.mean(), abs=0.25)


@pytest.mark.filterwarnings("ignore:This model was fitted with conditional_rate=0")
@pytest.mark.parametrize("side", ["right", "left"])
def test_log_likelihoods_of_steps_are_those_of_the_process(side):
    gen, start = untrained_on(ar_rows(4000, 4), conditional_rate=0), ar_rows(80, 6, seed=1)
    longer, found = gen.extend(
        start, 5, context=2, active=2, side=side, return_log_likelihood=True, random_state=0
    )
    assert longer.shape == (80, 11) and found.shape == (80, 5)
    chain = longer if side == "right" else longer[:, ::-1]
    np.testing.assert_array_equal(chain[:, :6], start if side == "right" else start[:, ::-1])
    expected = next_column_density(chain[:, 5:])
    # The noise inside scores leaves a standard error of 0.014.
    assert found.mean() == pytest.approx(expected.mean(), abs=0.1)
    # What is left is the noise inside a single score.
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.8


def test_mixed_columns_have_no_components_of_their_own():
    for blocks, expected in ((np.zeros(4, int), None), (np.arange(4), PLACES[:4, None])):
        basis = SimpleNamespace(mixing=lambda v=blocks: (v, v))
        np.testing.assert_equal(local_components(basis, PLACES[:4, None]), expected)
