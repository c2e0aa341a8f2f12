"""Samples of categories and numbers from exact denoisers have the distribution of the data."""

import numpy as np
import pytest
import torch
from scipy import stats

from gudlearn.diffusion.categories import Levels
from gudlearn.diffusion.paths import WindowedGamma
from gudlearn.diffusion.solvers import DPMSolverStep, HeunStep, integrate, time_grid
from gudlearn.model.reveal import NumericPath, RevealingDenoiser

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
