"""Categories by masking: with the exact denoiser of a known distribution the bound is its nll."""

import itertools

import numpy as np
import pytest
import torch

from gudlearn.diffusion.categories import Levels, corrupt, masked_fraction, reveal_weight
from gudlearn.diffusion.gates import NUMBER_FRACTION, GatedPath
from gudlearn.diffusion.losses import nll_integrand, noise_loss
from gudlearn.diffusion.paths import CosineGamma, VPGamma, WindowedGamma

SIZES = (2, 3, 4)


def levels_of(sizes=SIZES, unseen=1e-9):
    return Levels(sizes, torch.full((len(sizes),), np.log(unseen), dtype=torch.float64))


def windows(kind, n):
    """Start and width of the windows of n components."""
    if kind == "together":
        return np.zeros(n), np.ones(n)
    if kind == "in turn":
        return np.arange(n)[::-1] / n, np.full(n, 1 / n)
    return np.linspace(0, 0.5, n), np.full(n, 0.5)


def random_joint(seed=0):
    """Probabilities of all rows of three categories."""
    return np.random.default_rng(seed).dirichlet(np.full(int(np.prod(SIZES)), 0.5)).reshape(SIZES)


class ExactCategories:
    """The conditional probabilities of a joint table, as a denoiser."""

    def __init__(self, joint, levels):
        self.joint, self.levels = torch.from_numpy(joint), levels

    def __call__(self, x, gamma):
        rows = []
        for codes, masked in zip(x.long().tolist(), (gamma > 0).tolist(), strict=True):
            shown = tuple(
                slice(None) if m else slice(c, c + 1) for c, m in zip(codes, masked, strict=True)
            )
            part = torch.zeros_like(self.joint)
            part[shown] = self.joint[shown]
            marginals = [part.sum([a for a in range(3) if a != j]) for j in range(3)]
            rows.append(torch.cat([(m / m.sum()).clamp(min=1e-300).log() for m in marginals]))
        return torch.stack(rows)


@pytest.mark.parametrize("kind", ["together", "in turn", "overlapping"])
def test_the_bound_of_exact_conditionals_is_the_nll(kind):
    joint, levels = random_joint(), levels_of()
    path = WindowedGamma([-8.0] * 3, [8.0] * 3, *windows(kind, 3)).with_levels(levels)
    exact = ExactCategories(joint, levels)
    rows = torch.tensor(list(itertools.product(*map(range, SIZES))), dtype=torch.float64)
    n, generator = 100, torch.Generator().manual_seed(0)
    total = []
    for k in range(n):
        t = (k + torch.rand(len(rows), generator=generator, dtype=torch.float64)) / n
        eps = torch.randn(rows.shape, generator=generator, dtype=torch.float64)
        total.append(nll_integrand(exact, path, rows, t, eps).sum(1))
    total = torch.stack(total).numpy()
    nll = -np.log(joint.ravel())
    error = total.std(0) / np.sqrt(n)
    assert (abs(total.mean(0) - nll) < 5 * error + 0.02).all()
    # All rows together tell more than each.
    weight = joint.ravel()
    assert abs(weight @ (total.mean(0) - nll)) < 5 * np.sqrt(np.square(weight * error).sum())


@pytest.mark.parametrize("path", [
    WindowedGamma([-8.0] * 3, [8.0] * 3, [0.0, 0.3, 0.5], [1.0, 0.4, 0.5]),
    CosineGamma([-8.0] * 3, [7.0] * 3, [0.0] * 3),
    VPGamma([-8.0] * 3, [4.0] * 3, [0.0] * 3),
], ids=["windows", "cosine", "vp"])  # fmt: skip
def test_a_category_is_masked_as_often_as_its_path_says(path):
    path = path.with_levels(levels_of())
    generator, n = torch.Generator().manual_seed(1), 20_000
    eps = torch.randn(n, 3, generator=generator, dtype=torch.float64)
    gamma = path(torch.full((1,), 0.55, dtype=torch.float64))
    x, seen = corrupt(torch.ones(n, 3, dtype=torch.float64), eps, gamma, path)
    masked = (seen > 0).double()
    expected = masked_fraction(path, gamma)[0]
    error = (expected * (1 - expected) / n).sqrt()
    assert (abs(masked.mean(0) - expected) <= 5 * error).all()
    # What is masked is not shown.
    assert torch.equal(x, 1 - masked)


def test_weights_are_the_rate_of_reveals():
    path = CosineGamma([-8.0] * 3, [7.0] * 3, [0.0] * 3).with_levels(levels_of())
    t, h = torch.tensor([0.3, 0.8], dtype=torch.float64), 1e-6
    gamma, rate = path.gamma_and_rate(t)
    all_masked = path.gamma_1.expand(2, -1)
    derivative = (masked_fraction(path, path(t + h)) - masked_fraction(path, path(t - h))) / (2 * h)
    expected = derivative / masked_fraction(path, gamma)
    assert torch.allclose(reveal_weight(path, gamma, rate, all_masked), expected, rtol=1e-5)
    none_masked = path.gamma_0.expand(2, -1)
    assert not reveal_weight(path, gamma, rate, none_masked).any()


@pytest.mark.parametrize("sizes", [(2, 2, 2), SIZES, (1, 40, 3, 2, 39)])
def test_levels_are_normalised_drawn_and_looked_up_column_by_column(sizes):
    levels = levels_of(sizes)
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(7, sum(sizes), generator=generator, dtype=torch.float64)
    parts = [torch.log_softmax(part, 1) for part in logits.split(list(sizes), 1)]
    log_prob = levels.log_softmax(logits)
    assert torch.allclose(log_prob, torch.cat(parts, 1))
    u = torch.rand(7, len(sizes), generator=generator, dtype=torch.float64)
    codes = levels.draw(logits, u)
    for j, part in enumerate(parts):
        drawn = (u[:, j : j + 1] > part.exp().cumsum(1)).sum(1).clamp(max=sizes[j] - 1)
        assert torch.equal(codes[:, j], drawn.double())
        picked = part.gather(1, drawn[:, None])[:, 0]
        assert torch.allclose(-levels.nll(log_prob, codes)[:, j], picked, atol=1e-8)
        assert torch.allclose(levels.change(log_prob, codes)[:, j], picked)
    hidden = torch.zeros_like(codes, dtype=torch.bool)
    hidden[:, 0] = True
    one_hot = levels.one_hot(codes, hidden)
    assert torch.equal(one_hot.sum(1), torch.full((7,), len(sizes) - 1.0, dtype=torch.float64))
    assert torch.equal(levels.one_hot_mask(hidden).sum(1), torch.full((7,), sizes[0]))


def test_a_value_that_was_never_seen_has_its_own_probability():
    levels = levels_of((2, 3), unseen=0.25)
    log_prob = levels.log_softmax(torch.zeros(1, 5, dtype=torch.float64))
    nll = levels.nll(log_prob, torch.tensor([[2.0, 3.0], [0.0, 1.0]], dtype=torch.float64))
    assert torch.allclose(nll[0].exp(), torch.full((2,), 4.0, dtype=torch.float64))
    assert torch.allclose((-nll[1]).exp(), torch.tensor([0.375, 0.25], dtype=torch.float64))
    assert not levels.change(log_prob, torch.tensor([[2.0, 3.0]])).any()


# A category and a number: x given k is N(MEANS[k], STD^2).
PRIOR, MEANS, STD = np.array([0.2, 0.5, 0.3]), np.array([-2.0, 0.5, 3.0]), 0.7


class ExactMixed:
    """The denoiser of a category and a number; with `gate` the number exists at the last level."""

    def __init__(self, levels, gate=False):
        self.levels, self.gate = levels, gate
        self.prior, self.means = torch.from_numpy(PRIOR), torch.from_numpy(MEANS)

    def log_joint(self, x, gamma):
        """log p(k) + log p(noisy x | k) for each level k, (B, K)."""
        a2, s2 = torch.sigmoid(-gamma), torch.sigmoid(gamma)
        variance = a2 * STD**2 + s2
        off = x[:, None] - a2.sqrt()[:, None] * self.means
        log_p = -0.5 * (off**2 / variance[:, None] + (2 * np.pi * variance[:, None]).log())
        return self.prior.log() + log_p

    def __call__(self, x, gamma):
        number, code, masked = x[:, 0], x[:, 1].long(), gamma[:, 1] > 0
        if self.gate:
            # The number is hidden while the gate is masked.
            log_k = self.prior.log().expand(len(x), -1)
        else:
            log_k = torch.log_softmax(self.log_joint(number, gamma[:, 0]), 1)
        weight = torch.where(masked[:, None], log_k.exp(), torch.eye(3, dtype=x.dtype)[code])
        a2, s2 = torch.sigmoid(-gamma[:, 0]), torch.sigmoid(gamma[:, 0])
        gain = a2.sqrt() * STD**2 / (a2 * STD**2 + s2)
        means = self.means + gain[:, None] * (number[:, None] - a2.sqrt()[:, None] * self.means)
        return torch.cat([(weight * means).sum(1, keepdim=True), log_k], 1)


def monte_carlo_nll(exact, path, row, n=20_000):
    """Integral of the bound over t, its standard error, and both ends' divergences."""
    generator = torch.Generator().manual_seed(3)
    t = (torch.arange(n) + torch.rand(n, generator=generator, dtype=torch.float64)) / n
    eps = torch.randn(n, 2, generator=generator, dtype=torch.float64)
    x0 = torch.tensor([row], dtype=torch.float64).expand(n, -1)
    terms = nll_integrand(exact, path, x0, t, eps).sum(1)
    return float(terms.mean()), float(terms.std()) / n**0.5


def divergence(exact, gamma, row, k=None):
    """E[log q(x | x0) - log p(x, k)] at one noise level by quadrature; without k log p(x)."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    gamma = torch.full((len(nodes),), float(gamma), dtype=torch.float64)
    a, s = torch.sigmoid(-gamma).sqrt(), torch.sigmoid(gamma).sqrt()
    eps = torch.from_numpy(nodes)
    log_joint = exact.log_joint(a * row[0] + s * eps, gamma)
    log_p = torch.logsumexp(log_joint, 1) if k is None else log_joint[:, k]
    log_q = -0.5 * (eps**2 + (2 * np.pi * s**2).log())
    return float(((log_q - log_p) * torch.from_numpy(weights / weights.sum())).sum())


@pytest.mark.parametrize("kind", ["together", "in turn", "overlapping"])
@pytest.mark.parametrize("row", [(-1.5, 0.0), (3.5, 2.0), (1.0, 2.0)])
def test_the_bound_of_a_category_and_a_number_is_their_joint_nll(kind, row):
    levels = levels_of((3,))
    start, width = windows(kind, 2)
    path = WindowedGamma([-6.0, -8.0], [8.0, 8.0], start, width).with_levels(levels)
    exact = ExactMixed(levels)
    integral, error = monte_carlo_nll(exact, path, row)
    joint = divergence(exact, -6.0, row, int(row[1]))
    at_the_end = divergence(exact, 8.0, row)
    assert abs(integral + at_the_end - joint) < 5 * error


def test_the_bound_of_two_natures_is_that_of_the_gate_and_then_of_the_number():
    levels = levels_of((3,))
    path = WindowedGamma([-6.0, -8.0], [8.0, 8.0], 0.0, 1.0).with_levels(levels)
    path = GatedPath(path, torch.tensor([1]), torch.tensor([0]))
    exact, row = ExactMixed(levels, gate=True), (3.5, 2.0)
    integral, error = monte_carlo_nll(exact, path, row)
    # Given the gate the number is one Gaussian; at the end of its path it is known by the gate.
    at_the_end = divergence(exact, 8.0, row, 2) + np.log(PRIOR[2])
    assert abs(integral + at_the_end - divergence(exact, -6.0, row, 2)) < 5 * error


@pytest.mark.parametrize("base", [
    WindowedGamma([-6.0, -8.0, -7.0], [8.0, 8.0, 6.0], [0.2, 0.2, 0.0], [0.6, 0.6, 1.0]),
    CosineGamma([-6.0, -6.0, -7.0], [8.0, 8.0, 6.0], [0.0] * 3),
], ids=["windows", "cosine"])  # fmt: skip
def test_gates_are_revealed_before_their_numbers_move(base):
    path = GatedPath(base.with_levels(levels_of((2,))), torch.tensor([1]), torch.tensor([0]))
    t = torch.linspace(0, 1, 401, dtype=torch.float64)
    gamma, rate = path.gamma_and_rate(t)
    assert torch.equal(gamma[:, 2], base(t)[:, 2])
    for end, at in ((path.gamma_0, 0), (path.gamma_1, -1)):
        assert torch.allclose(gamma[at], end)
    number_moves = gamma[:, 0] < path.gamma_1[0] - 1e-9
    gate_moves = gamma[:, 1] > path.gamma_0[1] + 1e-9
    assert not (number_moves & gate_moves).any() and number_moves.any() and gate_moves.any()
    # A kink where the column passes from one to the other.
    covered = (base(t) - base.gamma_0)[:, 0] / (base.gamma_1 - base.gamma_0)[0]
    change = float(t[(covered < NUMBER_FRACTION).nonzero().max()])
    assert min(abs(kink - change) for kink in path.kinks) < 0.005
    inner = (t > 0.01) & (t < 0.99)
    h = 1e-6
    numeric = (path(t[inner] + h) - path(t[inner] - h)) / (2 * h)
    close = abs(numeric - rate[inner]) < 1e-4 * (1 + abs(rate[inner]))
    # Differences across a kink agree with neither side.
    assert (~close).sum() <= 6


def test_uniform_weights_do_not_change_the_cross_entropy():
    levels = levels_of((3,))
    path = WindowedGamma([-6.0, -8.0], [8.0, 8.0], 0.0, 1.0).with_levels(levels)
    exact = ExactMixed(levels)
    x0 = torch.tensor([[0.3, 1.0]], dtype=torch.float64).expand(50, -1)
    t = torch.linspace(0.01, 0.99, 50, dtype=torch.float64)
    eps = torch.randn(50, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    nll, squares = (f(exact, path, x0, t, eps) for f in (nll_integrand, noise_loss))
    assert torch.equal(nll[:, 1], squares[:, 1]) and not torch.equal(nll[:, 0], squares[:, 0])
