"""Latent classes that categories start from."""

import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from scipy.special import logsumexp

from gudlearn.model.build import build_denoiser
from gudlearn.preconditioning.latent_classes import LatentClasses
from small import continuous, few_draws, small, whole

SIZES = (2, 3, 4, 3, 2, 5)
WEIGHTS = np.array([0.5, 0.3, 0.2])
MEANS, STDS = np.array([[0.0, 1.0], [4.0, 1.0], [0.0, -5.0]]), np.array([1.0, 0.5])


def frequencies():
    """Frequencies of the levels of each column in three classes, arrays (3, K)."""
    rng = np.random.default_rng(3)
    return [rng.dirichlet(np.full(size, 0.3), 3) * 0.97 + 0.03 / size for size in SIZES]


def mixture_codes(n, seed=0):
    """Codes (n, C) drawn from three classes, and the classes."""
    rng = np.random.default_rng(seed)
    label = rng.choice(3, size=n, p=WEIGHTS)
    codes = [(rng.random((n, 1)) > p.cumsum(1)[label]).sum(1) for p in frequencies()]
    return np.stack(codes, 1), label


def frame(codes):
    """Codes as a frame of text."""
    return pd.DataFrame(codes, columns=[f"c{j}" for j in range(codes.shape[1])]).astype(str)


def mixed_rows(n, seed=0):
    """A frame of two numbers and the codes of their classes."""
    codes, label = mixture_codes(n, seed)
    rng = np.random.default_rng(seed + 100)
    numbers = MEANS[label] + STDS * rng.normal(size=(n, 2))
    return frame(codes).assign(x=numbers[:, 0], y=numbers[:, 1])


def log_joint(codes, log_pmf):
    """Log-probabilities of codes (n, C) in each class, (n, M), without the weights."""
    return sum(p[:, code].T for p, code in zip(log_pmf, codes.T, strict=True))


def classes_of(generator):
    return generator.state_.preconditioner.classes


def untrained_on(X, **parameters):
    return small(max_iter=0, **{"preconditioning": "mixture", **parameters}).fit(X)


@pytest.fixture(scope="module")
def of_categories():
    """An untrained model of categories from three classes."""
    return untrained_on(frame(mixture_codes(4000)[0]))


@pytest.fixture(scope="module")
def of_mixed_rows():
    """An untrained model of mixed rows from three classes."""
    return untrained_on(mixed_rows(4000), conditional_rate=0.3)


def by_column(generator):
    """Log-frequencies of the levels of each column in the fitted classes, arrays (M, K)."""
    sizes = generator.state_.encoding.categories.sizes
    return np.split(classes_of(generator).log_pmf, sizes.cumsum()[:-1], 1)


# Categories alone


def test_the_untrained_bound_is_the_likelihood_of_the_classes(of_categories):
    # Equal rows would have equal noise.
    codes = np.unique(mixture_codes(3000, seed=1)[0], axis=0)
    weights = np.log(classes_of(of_categories).weights)
    exact = logsumexp(log_joint(codes, by_column(of_categories)) + weights, axis=1)
    # Part of each column is for levels that were never seen.
    exact += np.log1p(-np.exp(of_categories.state_.encoding.categories.log_unseen)).sum()
    error = of_categories.score_samples(frame(codes)) - exact
    assert error.std() > 0
    assert abs(error.mean()) <= 5 * error.std() / len(error) ** 0.5


def test_classes_are_found(of_categories):
    codes, _ = mixture_codes(4000, seed=2)
    weights = np.log(classes_of(of_categories).weights)
    fitted = logsumexp(log_joint(codes, by_column(of_categories)) + weights, axis=1)
    log_pmf = [np.log(p) for p in frequencies()]
    true = logsumexp(log_joint(codes, log_pmf) + np.log(WEIGHTS), axis=1)
    apart = sum(np.log(WEIGHTS @ p)[code] for p, code in zip(frequencies(), codes.T, strict=True))
    # Most of the dependence is explained, and nothing beyond the truth.
    assert 0 < (true - fitted).mean() < 0.15 * (true - apart).mean()


def test_the_probability_of_a_level_follows_from_the_known_ones(of_categories):
    codes, _ = mixture_codes(50, seed=4)
    X = frame(codes)
    X["c2"] = np.nan
    found = of_categories.conditional_proba(X, "c2")
    log_pmf = by_column(of_categories)
    others = [j for j in range(len(SIZES)) if j != 2]
    joint = log_joint(codes[:, others], [log_pmf[j] for j in others])
    joint += np.log(classes_of(of_categories).weights)
    expected = np.exp(joint - logsumexp(joint, axis=1, keepdims=True)) @ np.exp(log_pmf[2])
    assert np.allclose(found, expected, atol=1e-6)


def test_independent_categories_have_no_classes():
    codes = np.random.default_rng(0).integers(0, 3, size=(2000, 6))
    assert classes_of(untrained_on(frame(codes))) is None


@pytest.mark.parametrize("X", [continuous(200), whole(200)])
def test_numbers_alone_have_no_classes(X):
    assert classes_of(untrained_on(X)) is None


@pytest.mark.parametrize("preconditioning", ["auto", "joint", "marginal", "gaussian"])
def test_other_starts_have_no_classes(preconditioning):
    X = frame(mixture_codes(1000)[0])
    assert classes_of(untrained_on(X, preconditioning=preconditioning)) is None


# Categories and numbers


def test_numbers_tell_the_class(of_mixed_rows):
    X = mixed_rows(300, seed=5)
    codes, numbers = X.iloc[:, :-2].to_numpy().astype(int), X[["x", "y"]].to_numpy()
    X["c1"] = np.nan
    found = of_mixed_rows.conditional_proba(X, "c1").to_numpy()
    log_pmf = [np.log(p) for p in frequencies()]
    others = [j for j in range(len(SIZES)) if j != 1]
    joint = log_joint(codes[:, others], [log_pmf[j] for j in others]) + np.log(WEIGHTS)
    joint += stats.norm.logpdf(numbers[:, None], MEANS, STDS).sum(2)
    expected = np.exp(joint - logsumexp(joint, axis=1, keepdims=True)) @ frequencies()[1]
    assert abs(found - expected).mean() < 0.03


def test_noisy_numbers_weigh_less_and_missing_ones_nothing():
    rng = np.random.default_rng(0)
    tensor = torch.from_numpy
    weights, means = tensor(np.log(WEIGHTS)), tensor(rng.normal(size=(3, 2)))
    variances, pmf = tensor(rng.uniform(0.5, 2, (3, 2))), tensor(rng.dirichlet(np.ones(4), 3))
    classes = LatentClasses(weights, pmf.log(), means, variances, tensor(np.full(2, 12.0)))
    gamma = torch.tensor([[-1.0, 2.0], [-1.0, 15.0], [15.0, 15.0]], dtype=torch.float64)
    x, one_hot = tensor(rng.normal(size=(3, 2))), torch.zeros(3, 4, dtype=torch.float64)
    found = classes.log_prob(x, gamma, one_hot).exp().numpy()
    alpha, s2 = torch.sigmoid(-gamma).sqrt().numpy(), torch.sigmoid(gamma).numpy()
    for row, seen in enumerate(([0, 1], [0], [])):
        std = np.sqrt(alpha[row] ** 2 * variances.numpy() + s2[row])
        density = stats.norm.pdf(x[row].numpy(), alpha[row] * means.numpy(), std)[:, seen]
        r = WEIGHTS * density.prod(1)
        assert np.allclose(found[row], r / r.sum() @ pmf.numpy())


@pytest.mark.parametrize("fixture", ["of_categories", "of_mixed_rows"])
def test_both_terms_of_the_denoiser_sum_to_it(fixture, request):
    state = request.getfixturevalue(fixture).state_
    denoiser = build_denoiser(state).double()
    levels = denoiser.categories.levels
    d, n = len(state.preconditioner.smooth), levels.n_columns
    torch.manual_seed(0)
    torch.nn.init.normal_(denoiser.network.logits.weight, std=0.1)
    x = torch.cat([torch.randn(20, d), torch.zeros(20, n)], 1).double()
    gamma = torch.zeros(20, d + n).double()
    gamma[:, d:] = denoiser.categories.masked_above + torch.randn(20, n).sign()
    with torch.no_grad():
        marginal, rest = denoiser.split(x, gamma)
        whole = denoiser(x, gamma)
    assert torch.equal(marginal[:, d:], denoiser.categories.log_pmf.expand(20, -1))
    assert torch.allclose(marginal + rest, whole)
    sums = [part.exp().sum(1) for part in whole[:, d:].split(levels.sizes, 1)]
    assert torch.allclose(torch.stack(sums), torch.ones(n, 20, dtype=x.dtype))


def test_rows_with_point_masses_and_missing_values(monkeypatch):
    few_draws(monkeypatch)
    X = mixed_rows(1500)
    X.loc[::3, "x"] = 0.0
    X.loc[1::4, "y"] = np.nan
    X.loc[2::5, "c0"] = None
    generator = untrained_on(X)
    assert generator.state_.encoding.gates[0].size
    assert len(classes_of(generator).weights) > 1
    assert np.isfinite(generator.score_samples(X[:50])).all()
    assert generator.sample(20).notna().all(axis=None)


def test_training_goes_on_from_classes_and_pickles_give_the_same(monkeypatch):
    few_draws(monkeypatch)
    X = mixed_rows(600)
    generator = small(preconditioning="mixture").fit(X)
    assert classes_of(generator) is not None
    again = pickle.loads(pickle.dumps(generator))
    assert np.array_equal(generator.score_samples(X[:30]), again.score_samples(X[:30]))
    assert again.sample(10, random_state=0).equals(generator.sample(10, random_state=0))
