"""Strips that go on: against an autoregressive law whose denoiser is known, and what is refused."""

from contextlib import nullcontext
from itertools import islice, pairwise
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from gudlearn import BlockBasis, DPMSolver, IdentityBasis, PCABasis, UNet, WaveletBasis
from gudlearn._random import seed_keys
from gudlearn.diffusion.noise import alpha, sigma
from gudlearn.diffusion.paths import WindowedGamma
from gudlearn.diffusion.solvers import integrate
from gudlearn.model.extension import local_components
from gudlearn.model.rolling import Strip, roll
from gudlearn.preconditioning.marginals import GaussianMarginals
from small import small

RHO, WIDTH = 0.9, 8
PLACES = np.arange(WIDTH)
COVARIANCE = torch.tensor(RHO ** np.abs(PLACES[:, None] - PLACES))


def exact_engine():
    """An engine whose denoiser is that of a strip of an autoregressive process of variance 1."""

    def denoise(x, gamma):
        # All rows are at one level.
        a, s = alpha(gamma[0]), sigma(gamma[0])
        total = a[:, None] * COVARIANCE * a + torch.diag(s**2)
        return x @ torch.linalg.solve(total, a[:, None] * COVARIANCE)

    ones = torch.ones(WIDTH).double()
    model = SimpleNamespace(
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
        decode=lambda z, keys: z,
        basis=IdentityBasis(whiten=False).fit(np.zeros((2, WIDTH))),
    )
    return SimpleNamespace(
        components=model, encoding=encoding, encode=lambda rows: torch.from_numpy(rows.values)
    )


@pytest.mark.parametrize("n_active", [1, 4])
def test_an_autoregressive_law_goes_on_as_it_is(n_active):
    n = 3000
    start = np.random.default_rng(0).normal(size=(n, 1, 1))
    strip = Strip(PLACES[:, None], PLACES[:, None], 1, n_active)
    keys, sampler = seed_keys(0, n), DPMSolver()
    columns = islice(roll(exact_engine(), strip, start, None, keys, sampler, 24), 40)
    found = np.concatenate([start[:, 0], *columns], axis=1)
    late = found[:, 20:]
    assert late.var() == pytest.approx(1, abs=0.05)
    for lag in (1, 2, 4, 8):
        correlation = (late[:, :-lag] * late[:, lag:]).mean() / late.var()
        assert correlation == pytest.approx(RHO**lag, abs=0.025)
    # The first new column depends on what was known.
    assert (found[:, 0] * found[:, 1]).mean() == pytest.approx(RHO, abs=0.1)


RATE = {"conditional_rate": 0.5}


def crops(n=60, width=6, seed=0):
    rng = np.random.default_rng(seed)
    return np.cumsum(rng.normal(size=(n, width)), axis=1) / 3


def fitted_to(X, **parameters):
    settings = {"conditional_rate": 0.5, "max_iter": 1, **parameters}
    return small(**settings).fit(X)


def fitted(**parameters):
    return fitted_to(crops(), **parameters)


def test_series_are_continued_on_both_sides():
    gen, X = fitted(), crops(3, 9)
    right = gen.extend(X, 4)
    assert right.shape == (3, 13)
    np.testing.assert_array_equal(right[:, :9], X)
    left = gen.extend(X, 4, side="left")
    np.testing.assert_array_equal(left[:, 4:], X)
    assert np.isfinite(left).all()
    # A longer continuation begins as a shorter one does.
    np.testing.assert_array_equal(gen.extend(X, 7)[:, :13], right)
    steps = list(islice(gen.iter_extend(X), 4))
    np.testing.assert_array_equal(np.concatenate(steps, axis=1), right[:, 9:])


def test_bad_input_is_refused_before_the_first_column():
    with pytest.raises(ValueError, match="X_start must be finite"):
        fitted().iter_extend(np.full((1, 6), np.nan))


def test_columns_that_move_at_once_need_one_noise_curve():
    gen = fitted(schedule="sequential")
    with pytest.raises(ValueError, match="along one noise curve, but schedule_=Sequential"):
        gen.extend(crops(2), 2, active=2)


def test_columns_that_rest_for_most_of_the_time_have_as_many_steps():
    # Untrained, the model of Gaussian crops is their Gaussian.
    rng = np.random.default_rng(0)
    X = rng.multivariate_normal(np.zeros(8), COVARIANCE.numpy(), size=4000)
    gen = small(schedule="sequential", max_iter=0, preconditioning="joint", **RATE).fit(X)
    longer = gen.extend(X[:800], 12, context=2, active=1)
    late = longer[:, -8:]
    assert late.var() == pytest.approx(1, abs=0.08)
    assert np.mean(late[:, 1:] * late[:, :-1]) / late.var() == pytest.approx(RHO, abs=0.02)


def test_a_model_of_whole_rows_warns_of_what_it_is_to_continue():
    gen = fitted(conditional_rate=0)
    for extend in (lambda: gen.extend(crops(2), 2), lambda: next(gen.iter_extend(crops(2)))):
        with pytest.warns(UserWarning, match="conditional_rate=0.*may lead it astray"):
            extend()


def by_column(basis, height, width=6):
    """A basis for each column of images, in any order."""
    places = np.arange(height * width).reshape(height, width)
    order = np.random.default_rng(0).permutation(width)
    return BlockBasis([(f"c{c}", basis, places[:, c]) for c in order])


HALVES = [("a", IdentityBasis(), [0, 1, 2]), ("b", IdentityBasis(whiten=False), [3, 4, 5])]
# Each with the height of the columns.
BASES = [
    (IdentityBasis(), 1),
    (IdentityBasis(whiten=False), 1),
    (BlockBasis(HALVES), 1),
    (IdentityBasis(), 2),
    (BlockBasis([("a", IdentityBasis(), [0, 7, 6, 1, 2, 8, 9, 3, 4, 5, 10, 11])]), 2),
    (by_column(WaveletBasis(), 2), 2),
    (by_column(WaveletBasis(whiten=False), 2), 2),
]


@pytest.mark.parametrize("active", [1, 3])
@pytest.mark.parametrize(("basis", "height"), BASES)
def test_what_moves_along_stays_what_it_is(basis, height, active, monkeypatch):
    # So few that means and spreads of the columns are far apart, of one law though they are; in
    # units in which noise at the floor is all there is of components that are not whitened.
    shape = (6,) if height == 1 else (height, 6)
    X = 1000 * (5 + 2 * np.random.default_rng(0).normal(size=(20, *shape)))
    gen = small(basis=basis, conditional_rate=0.5, max_iter=0).fit(X)
    assert np.ptp(gen.basis_.mean_) > 500
    states = []

    def spy(denoise, path, x, times, *others):
        end = integrate(denoise, path, x, times, *others)
        states.append(
            [gen.basis_.inverse_transform((v / alpha(path(t))[0]).numpy()).reshape(-1, *shape)
             for v, t in ((x, times[:1]), (end, times[-1:]))]
        )  # fmt: skip
        return end

    monkeypatch.setattr("gudlearn.model.rolling.integrate", spy)
    longer = gen.extend(X[:3], 3, context=3, active=active)
    # The first column comes in as many parts as columns are active.
    states = states[active - 1 :]
    assert len(states) == 3
    for k, (begin, _) in enumerate(states):
        # Known columns are at their floor, of some 0.4 % of 2000.
        np.testing.assert_allclose(begin[..., :3], longer[..., 3 + k : 6 + k], atol=60)
    for (_, end), (begin, _) in pairwise(states):
        np.testing.assert_allclose(begin[..., : 2 + active], end[..., 1 : 3 + active])


def test_a_past_that_the_dtype_does_not_hold_is_refused():
    X = np.rint(4 * crops()).astype(int)
    gen = small(conditional_rate=0.5, max_iter=0).fit(X)
    past = np.c_[np.full((2, 1), 0.5), X[:2]]
    with pytest.raises(ValueError, match="X_start holds values that int64"):
        gen.extend(past, 2)
    assert gen.extend(past[:, 1:], 2).dtype == np.int64
    mixed = pd.DataFrame(X).astype({k: "Int64" if k % 2 else float for k in range(6)})
    several = small(conditional_rate=0.5, max_iter=0).fit(mixed)
    assert several.extend(X[:2], 2).dtype == np.float64
    with pytest.raises(TypeError, match="X_start has dtype <U"):
        gen.extend(past.astype(str), 2)


def test_only_the_context_counts():
    gen, X = fitted(), crops(2, 9)
    moved = X.copy()
    moved[:, :5] += 1
    given = {"context": 4, "active": 2}
    np.testing.assert_array_equal(
        gen.extend(X, 3, **given)[:, 9:], gen.extend(moved, 3, **given)[:, 9:]
    )
    assert (gen.extend(X, 3, context=5)[:, 9:] != gen.extend(moved, 3, context=5)[:, 9:]).any()


def test_a_model_of_classes_goes_on_with_none():
    X = crops()
    gen = small(class_conditional=True, conditional_rate=0.5).fit(X, np.arange(60) % 2)
    network = gen.fitted_model().components.denoiser.network
    told = []
    network.register_forward_pre_hook(lambda module, inputs: told.append(inputs[2:]))
    assert np.isfinite(gen.extend(X[:2], 2)).all()
    assert told
    assert all((labels == 2).all() for (labels,) in told)


HAAR = np.array(
    [[0.5, 0.5, 0.5, 0.5], [0.5, 0.5, -0.5, -0.5], [0.5**0.5, -(0.5**0.5), 0, 0],
     [0, 0, 0.5**0.5, -(0.5**0.5)]]
)  # fmt: skip
SPREADS = np.array([3.0, 1.0, 0.5, 0.5])


def strips(n):
    """Columns of four whose Haar components are processes of their own."""
    rng = np.random.default_rng(0)
    processes = rng.multivariate_normal(np.zeros(4), COVARIANCE[:4, :4].numpy(), size=(n, 4))
    return np.einsum("ji,njc->nic", HAAR, SPREADS[:, None] * processes)


@pytest.mark.parametrize("side", ["right", "left"])
def test_columns_move_along_in_a_basis_of_their_own(side):
    # Untrained, the model of Gaussian strips is their Gaussian.
    basis, X = by_column(WaveletBasis(), 4, 4), strips(4000)
    gen = small(basis=basis, max_iter=0, preconditioning="joint", **RATE).fit(X)
    longer = gen.extend(X[:2000], 8, side=side, random_state=0)
    new = longer[..., -8:] if side == "right" else longer[..., 7::-1]
    processes = np.einsum("ij,njc->nic", HAAR, new)
    variance = processes.var((0, 2))
    np.testing.assert_allclose(variance, SPREADS**2, rtol=0.1)
    lagged = (processes[..., 1:] * processes[..., :-1]).mean((0, 2))
    np.testing.assert_allclose(lagged / variance, RHO, atol=0.02)


def test_steps_in_a_basis_of_columns_are_scored():
    X = strips(4000)
    basis = by_column(WaveletBasis(), 4, 4)
    gen = small(basis=basis, max_iter=0, preconditioning="joint", **RATE).fit(X)
    _, found = gen.extend(X[:40], 3, return_log_likelihood=True, random_state=0)
    expected = stats.norm.entropy(scale=SPREADS * np.sqrt(1 - RHO**2)).sum()
    assert found.mean() == pytest.approx(-expected, abs=0.3)


def test_fields_of_bins_and_channels_go_on_in_a_basis_of_their_columns():
    X = np.random.default_rng(0).integers(0, 256, (30, 4, 6, 3)).astype(np.uint8)
    place = np.arange(72).reshape(4, 6, 3)
    whole = [(f"c{c}", WaveletBasis(channels=3), place[:, c].ravel()) for c in range(6)]
    each = [
        (f"c{c}_{k}", WaveletBasis(), place[:, c, k]) for c in range(6) for k in range(3)
    ]  # fmt: skip
    for blocks in (whole, each):
        network = UNet(width=8, multipliers=(1,))
        gen = small(basis=BlockBasis(blocks), network=network, max_iter=1, **RATE).fit(X)
        for side in ("right", "left"):
            longer, found = gen.extend(
                X[:2], 2, steps_per_column=2, side=side, return_log_likelihood=True
            )
            assert longer.shape == (2, 4, 8, 3) and longer.dtype == np.uint8
            known = longer[:, :, :6] if side == "right" else longer[:, :, 2:]
            np.testing.assert_array_equal(known, X[:2])
            assert np.isfinite(found).all()


def test_series_with_named_columns_go_on():
    X = pd.DataFrame(crops(), columns=list("abcdef"))
    gen, plain = fitted_to(X), fitted_to(crops())
    np.testing.assert_allclose(gen.extend(X[:2], 3), plain.extend(crops()[:2], 3), rtol=1e-9)


def test_columns_that_are_reflected_are_not_a_columns_own():
    # Of what is the same in all columns it leaves everything as it was.
    sign = np.array([1.0, -1.0, 1.0, -1.0])
    reflection = np.eye(4) - np.outer(sign, sign) / 2
    for mixed, found in ((reflection, None), (np.eye(4), PLACES[:4, None])):
        labels = np.arange(4) if found is not None else np.zeros(4, int)
        basis = SimpleNamespace(mixing=lambda v=labels: (v, v), _rotate=lambda X, v=mixed: X @ v)
        np.testing.assert_equal(local_components(basis, PLACES[:4, None]), found)


def test_images_are_continued():
    X = np.random.default_rng(0).integers(0, 256, (20, 6, 6, 3)).astype(np.uint8)
    gen = small(network=UNet(width=8), max_iter=1, conditional_rate=0.5).fit(X)
    given = {"steps_per_column": 2, "random_state": 1}
    longer = gen.extend(X[:2], 3, **given)
    assert longer.shape == (2, 6, 9, 3)
    assert longer.dtype == np.uint8
    np.testing.assert_array_equal(longer[:, :, :6], X[:2])
    left, found = gen.extend(X[:2], 3, side="left", return_log_likelihood=True, **given)
    np.testing.assert_array_equal(left[:, :, 3:], X[:2])
    assert found.shape == (2, 3) and np.isfinite(found).all()
    columns = list(islice(gen.iter_extend(X[:2], side="left", **given), 3))
    np.testing.assert_array_equal(np.concatenate(columns[::-1], axis=2), left[:, :, :3])
    # Of each added column, the first of which is the last of the three.
    given_columns = np.zeros((6, 6), bool)
    given_columns[:, -3:] = True
    whole = np.full((2, 6, 6, 3), np.nan)
    whole[:, :, 2:] = left[:, :, 2:6]
    np.testing.assert_array_equal(
        gen.score_samples(whole, given_columns=given_columns), found[:, 0]
    )


def test_flat_images_cannot_go_on():
    X = np.random.default_rng(0).integers(0, 256, (20, 36)).astype(np.uint8)
    gen = small(network=UNet(width=8), shape=(6, 6), max_iter=0, **RATE).fit(X)
    with pytest.raises(ValueError, match="fitted as flat rows with shape="):
        gen.extend(X[:1], 3)


@pytest.mark.filterwarnings("ignore:This model was fitted with conditional_rate=0")
@pytest.mark.parametrize("side", ["right", "left"])
def test_log_likelihood_of_each_step_is_that_of_the_law(side):
    # Untrained, the model of Gaussian crops is their Gaussian.
    rng = np.random.default_rng(0)
    X = rng.multivariate_normal(np.zeros(4), COVARIANCE[:4, :4].numpy(), size=4000)
    gen = small(max_iter=0, preconditioning="joint").fit(X)
    start = rng.multivariate_normal(np.zeros(6), COVARIANCE[:6, :6].numpy(), size=30)
    longer, found = gen.extend(
        start, 5, context=2, active=2, side=side, return_log_likelihood=True, random_state=0
    )
    assert longer.shape == (30, 11) and found.shape == (30, 5)
    chain = longer if side == "right" else longer[:, ::-1]
    np.testing.assert_array_equal(chain[:, :6], start if side == "right" else start[:, ::-1])
    expected = stats.norm(RHO * chain[:, 5:-1], np.sqrt(1 - RHO**2)).logpdf(chain[:, 6:])
    assert np.abs(found.mean() - expected.mean()) < 0.05
    # What is left is the noise inside a single score.
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.8


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"context": 4, "active": 3}, "strip of 6 columns.*context=4 and active=3, which take 7"),
        ({"context": 0}, "context=0 must be a whole number"),
        ({"active": 1.5}, "active=1.5 must be a whole number"),
        ({"steps_per_column": 0}, "steps_per_column=0"),
        ({"side": "up"}, "side='up' must be"),
        ({"n_steps": 0}, "n_steps=0"),
        ({"X_start": np.zeros((2, 2))}, r"X_start has shape \(2, 2\).*at least context=3"),
        ({"X_start": 5.0}, r"X_start has shape \(\)"),
        ({"X_start": np.zeros((0, 3))}, r"X_start has shape \(0, 3\).*at least one row"),
        ({"X_start": np.zeros(9)}, r"must be \(n_rows, width\)"),
        ({"X_start": np.full((1, 6), np.nan)}, "X_start must be finite"),
    ],
    ids=repr,
)
def test_extensions_that_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        fitted().extend(**{"X_start": crops(2, 9), "n_steps": 2, **arguments})


def test_bases_and_columns_that_cannot_roll():
    pairs = BlockBasis([(f"b{k}", WaveletBasis(), [2 * k, 2 * k + 1]) for k in range(3)])
    for basis in ("pca", pairs):
        with pytest.raises(ValueError, match="mixes columns of the strip"):
            fitted(basis=basis).extend(crops(2), 2)
    # Columns of one shape, but each has axes of its own.
    gen = small(basis=by_column(PCABasis(), 4, 4), max_iter=0, **RATE).fit(strips(50))
    with pytest.raises(ValueError, match="rotates one of them differently"):
        gen.extend(strips(2), 2)
    twice = np.repeat(crops()[:, None], 2, axis=1)
    gen = small(basis=by_column(WaveletBasis(), 2), max_iter=0, **RATE).fit(twice)
    with pytest.raises(ValueError, match=r"Components \['c\d__.*are functions of others"):
        gen.extend(twice[:2], 2)
    X = crops()
    X[:, 1] = 2.0
    with pytest.raises(ValueError, match=r"Columns \['x1'\] are constant"):
        small(max_iter=0, conditional_rate=0.5).fit(X).extend(crops(2), 2)
