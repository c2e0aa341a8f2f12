"""Banks of paths: every row is on one of them, and each has its turn equally often."""

import numpy as np
import torch

from gudlearn.conditioning.states import TARGET, MaskedPath
from gudlearn.diffusion.gates import GatedPath
from gudlearn.diffusion.path_bank import PathBank
from gudlearn.diffusion.paths import VPGamma, WindowedGamma

GAMMA_0, GAMMA_1 = np.array([-9.0, -7.3, -4.1]), np.array([5.0, 6.1, 9.7])
N, GROUP = 240, 4


def windowed(n=5, gated=False):
    """Paths with windows of different widths and orders."""
    rng, paths = np.random.default_rng(0), []
    for width in np.linspace(0.2, 1.0, n):
        start = rng.uniform(0, 1 - width, 3)
        path = WindowedGamma(GAMMA_0, GAMMA_1, start, np.full(3, width))
        if gated:
            path = GatedPath(path, torch.tensor([2]), torch.tensor([0]))
        paths.append(path)
    return paths


def of_rows(bank, batch=0):
    """The paths of N rows, whole and with masks."""
    path, windows = bank.of_batch(N, N // GROUP, batch)
    state = torch.full((N, 3), TARGET)
    return windows, MaskedPath(path, state, torch.zeros(3)).in_windows(*windows.of_rows())


def members(paths, path, t):
    """Which path each row is on: the only one with its noise levels and rates."""
    gamma, rate = path.gamma_and_rate(t)
    torch.testing.assert_close(gamma, path(t))
    same = []
    for one in paths:
        levels, rates = one.gamma_and_rate(t)
        close = torch.isclose(gamma, levels, rtol=0, atol=1e-9) & torch.isclose(rate, rates)
        same.append(close.all(1))
    same = torch.stack(same, 1)
    assert (same.sum(1) == 1).all()
    return same.long().argmax(1)


def test_each_group_of_rows_is_on_one_path_of_its_own():
    # All components are active at some time in the middle, where no two paths agree.
    t = torch.rand(N // GROUP, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    t = (0.45 + 0.1 * t).repeat_interleave(GROUP)
    for gated in (False, True):
        paths = windowed(gated=gated)
        counts = np.zeros(len(paths), int)
        for batch in range(10):
            whole, masked = of_rows(PathBank(paths), batch)
            index = members(paths, whole, t).view(-1, GROUP)
            assert (index == index[:, :1]).all()
            assert (index.flatten() == members(paths, masked, t)).all()
            torch.testing.assert_close(whole.speed(t), masked.speed(t).expand(N, 3))
            counts += np.bincount(index[:, 0], minlength=len(paths))
        # Additive sequences of 60 groups and 10 batches: 120 turns each, up to some.
        assert np.abs(counts - 10 * N / GROUP / len(paths)).max() < 8


def test_paths_without_windows_have_turns_by_batch():
    paths = [VPGamma(GAMMA_0, GAMMA_1, np.zeros(3), 0.1, high) for high in (5.0, 10.0, 20.0)]
    bank, turns = PathBank([*paths, windowed()[0]]), []
    for batch in range(100):
        path, windows = bank.of_batch(N, N // GROUP, batch)
        assert windows is None
        turns.append(bank.paths.index(path))
    assert np.abs(np.bincount(turns, minlength=4) - 25).max() <= 2


def test_a_single_path_is_used_as_it_is():
    path = windowed()[0]
    assert PathBank([path]).of_batch(N, N, 3) == (path, None)


def test_windows_of_a_row_of_its_own_are_kept():
    start, width = torch.zeros(N, 3), torch.ones(N, 3)
    start[0], width[0] = 0.25, 0.5
    path = WindowedGamma(GAMMA_0, GAMMA_1, 0.0, 1.0)
    path = MaskedPath(path, torch.full((N, 3), TARGET), torch.zeros(3), start, width)
    path = path.in_windows(torch.full((N, 3), 0.4), torch.full((N, 3), 0.1))
    assert path.start[0].tolist() == [0.25] * 3 and path.width[0].tolist() == [0.5] * 3
    assert (path.start[1:] == 0.4).all() and (path.width[1:] == 0.1).all()
