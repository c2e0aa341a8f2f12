"""Paths: end points, derivatives, kinks and closed forms."""

import copy
import math
import pickle

import numpy as np
import pytest
import torch

from gudlearn.diffusion.paths import CosineGamma, VPGamma, WindowedGamma, active_fraction

GAMMA_0 = np.array([-9.0, -7.3, -4.1, -11.0])
GAMMA_1 = np.array([5.0, 6.1, 9.7, 3.3])
LOG_VARIANCES = np.array([0.0, 1.3, 3.7, -2.0])
PATHS = {
    "linear": WindowedGamma(GAMMA_0, GAMMA_1, 0.0, 1.0),
    "windowed": WindowedGamma(GAMMA_0, GAMMA_1, [0.0, 0.2, 0.7, 0.35], [0.3, 0.5, 0.3, 1e-3]),
    "cosine": CosineGamma(GAMMA_0, GAMMA_1, LOG_VARIANCES),
    "vp": VPGamma(GAMMA_0, GAMMA_1, LOG_VARIANCES),
    "vp of constant rate": VPGamma(GAMMA_0, GAMMA_1, LOG_VARIANCES, 10.0, 10.0),
    "vp from rate 0": VPGamma(GAMMA_0, GAMMA_1, LOG_VARIANCES, 0.0, 20.0),
    "vp too short": VPGamma(GAMMA_0, GAMMA_1 + 30, LOG_VARIANCES, 0.1, 0.2),
}
every_path = pytest.mark.parametrize("path", PATHS.values(), ids=PATHS.keys())
either_precision = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)


def grid(size=2001, dtype=torch.float64):
    return torch.linspace(0.0, 1.0, size, dtype=dtype)


@either_precision
def test_components_are_active_within_their_windows(dtype):
    assert active_fraction(PATHS["linear"].to("cpu", dtype)) == 1
    # The windows are 0.3, 0.5, 0.3 and 0.001 wide.
    assert active_fraction(PATHS["windowed"].to("cpu", dtype)) == pytest.approx(0.3, abs=0.01)
    assert active_fraction(PATHS["cosine"].to("cpu", dtype)) > 0.9


@either_precision
@every_path
def test_paths_meet_their_end_points_exactly(path, dtype):
    first, last = path(torch.tensor([0.0, 1.0], dtype=dtype))
    assert torch.equal(first, path.gamma_0.to(dtype))
    assert torch.equal(last, path.gamma_1.to(dtype))


@either_precision
@every_path
def test_paths_and_derivatives_are_finite_and_increase(path, dtype):
    gamma, rate = path.gamma_and_rate(grid(dtype=dtype))
    assert gamma.dtype == rate.dtype == dtype
    assert gamma.isfinite().all() and rate.isfinite().all()
    assert (rate >= 0).all()
    # Between nodes 5e-4 apart only the rounding of gamma can make it decrease.
    assert (gamma.diff(dim=0) >= -8 * torch.finfo(dtype).eps * 12).all()


@every_path
def test_derivative_equals_central_differences_away_from_kinks(path):
    # Not at 0 and 1, where the unclipped cosine and VP curves are infinite.
    t, step = grid(401)[1:-1] + 1e-4 / 3, 1e-6
    kinks = torch.tensor([*path.kinks, 2.0], dtype=torch.float64)
    t = t[((t[:, None] - kinks).abs() > 1e-5).all(dim=1) & (t < 1 - 1e-5)]
    differences = (path(t + step) - path(t - step)) / (2 * step)
    # The error is step^2/6 times the third derivative, plus 1e-15 * 10/step by rounding.
    torch.testing.assert_close(path.gamma_and_rate(t)[1], differences, rtol=1e-5, atol=1e-6)


@either_precision
@every_path
def test_forward_and_reverse_mode_agree_at_the_ends_too(path, dtype):
    t = grid(101, dtype=dtype).requires_grad_()
    (gradient,) = torch.autograd.grad(path(t).sum(), t)
    rate = path.gamma_and_rate(t.detach())[1].sum(dim=1)
    torch.testing.assert_close(gradient, rate, rtol=1e-5, atol=1e-5)


@every_path
def test_the_derivative_jumps_at_the_kinks_and_nowhere_else(path):
    assert list(path.kinks) == sorted(set(path.kinks))
    assert all(0 < kink < 1 for kink in path.kinks)
    if path.kinks:
        kinks = torch.tensor(path.kinks, dtype=torch.float64)
        before, after = path.gamma_and_rate(kinks - 1e-9)[1], path.gamma_and_rate(kinks + 1e-9)[1]
        assert ((before - after).abs().amax(dim=1) > 0.1).all()
    edges = torch.tensor([0.0, *path.kinks, 1.0], dtype=torch.float64)
    for begin, end in zip(edges[:-1], edges[1:], strict=True):
        inside = begin + (end - begin) * (0.01 + 0.98 * grid(20001))
        is_active = path.gamma_and_rate(inside)[1] > 0
        assert (is_active == is_active[0]).all()


def test_cosine_and_vp_have_their_published_signal_and_noise():
    t = grid(99)[1:-1]
    wide = [np.full(1, -60.0), np.full(1, 60.0), np.zeros(1)]
    c = 0.008
    angle = (t + c) / (1 + c) * math.pi / 2
    signal = angle.cos() ** 2 / math.cos(c / (1 + c) * math.pi / 2) ** 2
    torch.testing.assert_close(torch.sigmoid(-CosineGamma(*wide)(t)[:, 0]), signal)
    path = VPGamma([-60.0], [9.0], [0.0])
    noise = -torch.expm1(-(0.1 * t + 0.5 * 19.9 * t**2))
    before_clip = noise < torch.sigmoid(torch.tensor(9.0, dtype=torch.float64))
    torch.testing.assert_close(torch.sigmoid(path(t)[:, 0])[before_clip], noise[before_clip])


def test_a_vp_curve_that_ends_too_early_is_continued_at_its_rate():
    path = VPGamma([-9.0], [14.0], [0.0])
    assert path.duration > 1
    t = grid(50)[5:-1]
    time = t * path.duration
    noised = 0.1 * time + 0.5 * 19.9 * time**2
    torch.testing.assert_close(path(t)[:, 0], noised.expm1().log())
    assert VPGamma([-9.0], [10.0], [0.0]).duration == 1


@pytest.mark.parametrize("kind", [CosineGamma, VPGamma])
def test_common_curves_have_one_effective_snr_where_unclipped(kind):
    path = kind([-8.0] * 4, [6.0] * 4, LOG_VARIANCES)
    gamma = path(grid())
    level = gamma - torch.tensor(LOG_VARIANCES)
    free = (gamma > path.gamma_0) & (gamma < path.gamma_1)
    for i in range(3):
        both = free[:, i] & free[:, 3]
        assert both.sum() > 100
        torch.testing.assert_close(level[both, i], level[both, 3])


def test_windows_are_linear_and_the_linear_path_is_one_window():
    t = grid(11)
    path = WindowedGamma([-5.0], [5.0], [0.25], [0.5])
    expected = -5 + 10 * ((t - 0.25) / 0.5).clamp(0, 1)
    torch.testing.assert_close(path(t)[:, 0], expected)
    assert path.kinks == (0.25, 0.75)
    torch.testing.assert_close(
        PATHS["linear"](t), torch.lerp(*PATHS["linear"](t[[0, -1]]), t[:, None])
    )
    assert PATHS["linear"].kinks == ()


def test_windows_that_touch_share_one_kink():
    assert 0.1 + 0.2 != 0.3
    path = WindowedGamma([-5.0] * 3, [5.0] * 3, [0.0, 0.1, 0.3], [0.1, 0.2, 0.7])
    assert len(path.kinks) == 2
    rate = path.gamma_and_rate(grid(3001)[1:])[1]
    gamma = path(torch.tensor(path.kinks, dtype=torch.float64))
    assert torch.isin(gamma, torch.tensor([-5.0, 5.0], dtype=torch.float64)).all()
    assert ((rate > 0).sum(dim=1) >= 1).all()


@either_precision
@pytest.mark.parametrize("start", [0.0, 0.3, 1 - 1e-13])
def test_a_window_shorter_than_the_dtype_resolves_is_a_finite_jump(dtype, start):
    path = WindowedGamma([-5.0], [5.0], [start], [1e-13])
    gamma, rate = path.gamma_and_rate(
        torch.cat([grid(dtype=dtype), torch.tensor([start]).to(dtype)])
    )
    assert gamma[0] == -5 and gamma[-2] == 5
    assert gamma.isfinite().all() and rate.isfinite().all()


def test_paths_move_between_dtypes_and_stay_the_same_path():
    path = PATHS["windowed"]
    moved = path.to("cpu", torch.float32)
    assert moved.gamma_0.dtype == moved.start.dtype == torch.float32
    assert path.gamma_0.dtype == torch.float64
    torch.testing.assert_close(moved(grid().float()), path(grid().float()), rtol=0, atol=0)


@every_path
def test_paths_pickle_and_copy(path):
    for twin in (pickle.loads(pickle.dumps(path)), copy.deepcopy(path)):
        assert torch.equal(twin(grid()), path(grid()))


@pytest.mark.parametrize(
    ("start", "width"), [(-0.1, 0.5), (0.5, 0.6), (0.2, 0.0), (0.2, -0.1), (np.nan, 0.5)]
)
def test_windows_outside_the_unit_interval_are_refused(start, width):
    with pytest.raises(ValueError, match=r"inside \[0, 1\]"):
        WindowedGamma([-5.0], [5.0], start, width)


def test_end_points_in_the_wrong_order_are_refused():
    with pytest.raises(ValueError, match="gamma_0 must be smaller"):
        WindowedGamma([5.0], [-5.0], 0.0, 1.0)
