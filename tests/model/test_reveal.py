"""Samples of categories and numbers from exact denoisers have the distribution of the data."""

import numpy as np
import pytest
import torch
from scipy import stats

from gudlearn.diffusion.categories import Levels
from gudlearn.diffusion.paths import WindowedGamma
from gudlearn.diffusion.solvers import DPMSolverStep, HeunStep, integrate, time_grid
from gudlearn.model.reveal import NumericPath, RevealingDenoiser, evenly_spaced, together

PRIOR, MEANS, STD = np.array([0.2, 0.5, 0.3]), np.array([-2.0, 0.5, 3.0]), 0.7
N = 4000


class Exact:
    """The denoiser of a number that is N(MEANS[k], STD^2) given a category k."""

    def __call__(self, x, gamma):
        number, code, masked = x[:, 0], x[:, 1].long(), gamma[:, 1] > 0
        a2, s2 = torch.sigmoid(-gamma[:, 0]), torch.sigmoid(gamma[:, 0])
        variance, means = (a2 * STD**2 + s2)[:, None], torch.from_numpy(MEANS)
        off = number[:, None] - a2.sqrt()[:, None] * means
        log_k = torch.log_softmax(torch.from_numpy(PRIOR).log() - 0.5 * off**2 / variance, 1)
        weight = torch.where(masked[:, None], log_k.exp(), torch.eye(3, dtype=x.dtype)[code])
        x0 = means + a2.sqrt()[:, None] * STD**2 / variance * off
        return torch.cat([(weight * x0).sum(1, keepdim=True), log_k], 1)


def drawn(start, width, step, steps=40, seed=0):
    levels = Levels((3,), torch.full((1,), -20.0, dtype=torch.float64))
    path = WindowedGamma([-9.0, -8.0], [7.0, 8.0], start, width).with_levels(levels)
    generator = torch.Generator().manual_seed(seed)
    u = torch.rand(N, 2, generator=generator, dtype=torch.float64)
    denoise = RevealingDenoiser(Exact(), path, u[:, :1], u[:, 1:])
    # The prior at t = 1 is the distribution of the data with noise.
    k = torch.multinomial(torch.from_numpy(PRIOR), N, True, generator=generator)
    x0 = torch.from_numpy(MEANS)[k] + STD * torch.randn(N, generator=generator).double()
    a, s = torch.sigmoid(-path.gamma_1[0]).sqrt(), torch.sigmoid(path.gamma_1[0]).sqrt()
    x = (a * x0 + s * torch.randn(N, generator=generator).double())[:, None]
    times = time_grid(path, steps)
    x = integrate(
        denoise, NumericPath(path, 1), x, times, step,
        record=lambda i, x, gamma: denoise.reveal(times[i : i + 1]),
    )  # fmt: skip
    assert not denoise.masked.any()
    return (x / torch.sigmoid(-path.gamma_0[0]).sqrt())[:, 0].numpy(), denoise.codes[:, 0].numpy()


@pytest.mark.parametrize("step", [DPMSolverStep(), HeunStep()], ids=repr)
@pytest.mark.parametrize("start, width", [
    (0.0, 1.0), ([0.0, 0.5], [0.5, 0.5]), ([0.5, 0.0], [0.5, 0.5]),
], ids=["together", "category first", "number first"])  # fmt: skip
def test_samples_have_the_joint_distribution(start, width, step):
    number, code = drawn(start, width, step)
    counts = np.bincount(code.astype(int), minlength=3)
    assert stats.chisquare(counts, N * PRIOR).pvalue > 1e-6
    for k in range(3):
        # Solvers of few steps are off by a few thousandths of the spread.
        off = stats.norm.cdf(number[code == k], MEANS[k], STD)
        assert stats.kstest(off, "uniform").statistic < 0.03 + 2.5 / counts[k] ** 0.5


def shared_path(n, start=0.0, width=1.0):
    """A path of n binary categories and no numbers."""
    levels = Levels((2,) * n, torch.full((n,), -20.0, dtype=torch.float64))
    return WindowedGamma([-8.0] * n, [8.0] * n, start, width).with_levels(levels)


def even_parity(x, gamma):
    """The exact denoiser of bits that are uniform but for their even sum."""
    masked = gamma > 0
    last = masked & (masked.sum(1, keepdim=True) == 1)
    parity = torch.where(masked, 0, x).sum(1, keepdim=True) % 2
    one = torch.where(last, parity, 0.5).clamp(1e-12, 1 - 1e-12)
    return torch.stack([(1 - one).log(), one.log()], 2).flatten(1)


@pytest.mark.parametrize("steps", [6, 9])
def test_categories_of_one_path_are_exact_in_as_many_steps(steps):
    path, generator = shared_path(6), torch.Generator().manual_seed(0)
    order, draws, shift = torch.rand(3, N, 6, generator=generator, dtype=torch.float64)
    odd = []
    for reveal_at in (evenly_spaced(order, shift, path), order):
        denoise = RevealingDenoiser(even_parity, path, reveal_at, draws)
        for t in time_grid(path, steps).split(1):
            denoise.reveal(t)
            denoise(draws[:, :0], draws[:, :0])
        odd.append(float((denoise.codes.sum(1) % 2).mean()))
        counts = denoise.codes.mean(0)
        # Five standard errors.
        assert (counts - 0.5).abs().max() < 5 * 0.5 / N**0.5
    # Two that are revealed at once are independent: half of those rows are odd.
    assert odd[0] == 0 and odd[1] > 0.05


def test_reveals_are_evenly_spaced_among_categories_of_one_path():
    path = shared_path(5, [0.0, 0.5, 0.0, 0.5, 0.0], [1.0, 0.5, 1.0, 0.5, 1.0])
    assert sorted(columns.tolist() for columns in together(path)) == [[0, 2, 4], [1, 3]]
    order, shift = torch.rand(2, N, 5, generator=torch.Generator().manual_seed(0)).double()
    found = evenly_spaced(order, shift, path)
    for columns in ([0, 2, 4], [1, 3]):
        gaps = found[:, columns].sort(1).values.diff(dim=1)
        np.testing.assert_allclose(gaps, 1 / len(columns), atol=1e-12)
        # Each is the first as often as the others, within five standard errors.
        first = np.bincount(found[:, columns].argmin(1), minlength=len(columns)) / N
        assert np.abs(first - 1 / len(columns)).max() < 5 * 0.5 / N**0.5
    for column in found.T:
        assert stats.kstest(column, "uniform").pvalue > 1e-6
    assert abs(np.corrcoef(found[:, 0], found[:, 1])[0, 1]) < 5 / N**0.5
