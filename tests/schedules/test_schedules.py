"""Schedules against their formulas and limits."""

import itertools
import math

import numpy as np
import pytest
import torch
from sklearn.base import clone

from gudlearn.bases.base import Components
from gudlearn.schedules import (
    CosineSchedule,
    EndPoints,
    LinearSchedule,
    SequentialSchedule,
    SoftConditioningSchedule,
    VPSchedule,
)

SCHEDULES = [
    LinearSchedule(),
    CosineSchedule(),
    VPSchedule(),
    VPSchedule(b_min=0.0, b_max=0.3),
    SoftConditioningSchedule(),
    SoftConditioningSchedule(softness=0.3, order="natural"),
    SoftConditioningSchedule(softness=math.inf),
    SoftConditioningSchedule(softness=1e-30),
    SequentialSchedule(),
    SequentialSchedule(window=2.5, order="variance"),
    SequentialSchedule(window=math.inf),
]
every_schedule = pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)

VARIANCES = np.array([8.0, 0.003, 1.0, 60.0, 0.2, 1.0])
DIM = len(VARIANCES)
G_DATA, G_NOISE = -11.0, 6.0
TIMES = torch.linspace(0.0, 1.0, 4001, dtype=torch.float64)


def describe(scale=1.0, variances=VARIANCES, order=(2, 0, 1, 1, 3, 3)):
    return Components(
        variances=variances,
        scale=np.broadcast_to(scale, variances.shape).astype(float),
        order=np.array(order[: len(variances)], dtype=float),
        names=np.array([f"column{i}" for i in range(len(variances))]),
        groups=np.array(["left", "left", "middle", "right", "right", "right"][: len(variances)]),
        columns=None,
    )


def common_ends(components):
    """The same effective end points for all: continuous data."""
    log_scaled = np.log(components.variances / components.scale**2)
    return EndPoints(log_scaled + G_DATA, log_scaled + G_NOISE)


def white_ends(components):
    """A floor of white noise in the units of the data: discrete data."""
    log_scaled = np.log(components.variances / components.scale**2)
    return EndPoints(-7 - 2 * np.log(components.scale), log_scaled + G_NOISE)


def log_snr(schedule, components, ends, t=TIMES):
    log_scaled = np.log(components.variances / components.scale**2)
    return torch.tensor(log_scaled) - schedule.build(components, ends)(t)


def active(schedule, components, ends, t=TIMES):
    """Which components are strictly between their end points at each time."""
    path = schedule.build(components, ends)
    gamma = path(t)
    return ((gamma > path.gamma_0) & (gamma < path.gamma_1)).numpy()


@pytest.mark.parametrize("ends", [common_ends, white_ends])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@every_schedule
def test_end_points_are_met_exactly_and_gamma_increases_between(schedule, dtype, ends):
    components = describe()
    end_points = ends(components)
    path = schedule.build(components, end_points)
    gamma, rate = path.gamma_and_rate(TIMES.to(dtype))
    assert torch.equal(gamma[0], torch.tensor(end_points.gamma_0).to(dtype))
    assert torch.equal(gamma[-1], torch.tensor(end_points.gamma_1).to(dtype))
    assert gamma.isfinite().all() and rate.isfinite().all() and (rate >= 0).all()
    # Rounding error of gamma, which is below 20.
    assert (gamma.diff(dim=0) >= -40 * torch.finfo(dtype).eps).all()


@pytest.mark.parametrize("ends", [common_ends, white_ends])
@every_schedule
def test_derivative_integrates_to_the_difference_of_the_end_points(schedule, ends):
    components = describe()
    path = schedule.build(components, ends(components))
    # Midpoint rule with nodes on every kink: exact for linear pieces, second order for curves. The
    # grid is denser at 0 and 1, where curves are steepest.
    grid = np.linspace(0, 1, 20001)
    edges = np.unique(np.concatenate([grid**2 * (3 - 2 * grid), path.kinks]))
    middle, width = torch.tensor((edges[1:] + edges[:-1]) / 2), torch.tensor(np.diff(edges))
    rate = path.gamma_and_rate(middle)[1]
    integral = (rate * width[:, None]).sum(dim=0)
    torch.testing.assert_close(integral, path.gamma_1 - path.gamma_0, rtol=1e-5, atol=0)


@every_schedule
def test_effective_snr_does_not_depend_on_whitening(schedule):
    plain, whitened = describe(), describe(scale=np.sqrt(VARIANCES))
    odd = describe(scale=np.array([0.1, 3.0, 7.0, 1.0, 2.0, 0.5]))
    for ends in (common_ends, white_ends):
        expected = log_snr(schedule, plain, ends(plain))
        for other in (whitened, odd):
            # The shortest window, a millionth, magnifies rounding errors of time by 2e7.
            torch.testing.assert_close(
                log_snr(schedule, other, ends(other)), expected, rtol=0, atol=1e-8
            )


@pytest.mark.parametrize("schedule", [LinearSchedule(), CosineSchedule(), VPSchedule()], ids=repr)
def test_common_schedules_have_one_snr_curve_for_all(schedule):
    components = describe()
    curves = log_snr(schedule, components, common_ends(components))
    torch.testing.assert_close(curves, curves[:, :1].expand_as(curves))


def test_linear_schedule_is_linear_between_the_end_points():
    components = describe(scale=2.0)
    ends = white_ends(components)
    gamma = LinearSchedule().build(components, ends)(TIMES)
    expected = ends.gamma_0 + TIMES.numpy()[:, None] * (ends.gamma_1 - ends.gamma_0)
    np.testing.assert_allclose(gamma, expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("softness", [0.1, 0.7, 1.0, 5.0, math.inf])
@pytest.mark.parametrize("order", ["variance", "natural", [0.3, 0.1, -4.0, 2.0, 2.0, 0.0]], ids=str)
def test_soft_conditioning_is_the_formula_of_the_paper(softness, order):
    components = describe(scale=np.sqrt(VARIANCES))
    order_values = {"variance": -np.log(VARIANCES), "natural": components.order}
    values = order_values[order] if isinstance(order, str) else np.array(order)
    a = 1 / softness
    span = G_NOISE - G_DATA + a * (values.max() - values.min())
    raw = G_DATA + a * (values - values.max()) + TIMES.numpy()[:, None] * span
    expected = -np.clip(raw, G_DATA, G_NOISE)
    schedule = SoftConditioningSchedule(softness=softness, order=order)
    np.testing.assert_allclose(
        log_snr(schedule, components, common_ends(components)), expected, rtol=0, atol=1e-10
    )


@pytest.mark.parametrize("ends", [common_ends, white_ends])
def test_softness_1_is_white_noise_in_the_units_of_the_data(ends):
    components = describe(scale=np.array([0.1, 3.0, 7.0, 1.0, 2.0, 0.5]))
    schedule = SoftConditioningSchedule(softness=1.0, order="variance")
    gamma = schedule.build(components, ends(components))(TIMES).numpy()
    in_data_units = gamma + 2 * np.log(components.scale)
    is_active = active(schedule, components, ends(components))
    assert is_active.sum(axis=0).min() > 500
    for i, j in itertools.combinations(range(DIM), 2):
        both = is_active[:, i] & is_active[:, j]
        np.testing.assert_allclose(
            in_data_units[both, i], in_data_units[both, j], rtol=0, atol=1e-10
        )
    if ends is white_ends:
        # The end points at t = 0 are white noise, too: all components start together.
        np.testing.assert_allclose(in_data_units[0], -7.0, atol=1e-12)
        assert is_active[1].all()


def test_infinite_softness_is_one_snr_curve_for_all():
    components = describe()
    schedule = SoftConditioningSchedule(softness=math.inf)
    curves = log_snr(schedule, components, common_ends(components))
    torch.testing.assert_close(
        curves, -(G_DATA + TIMES[:, None] * (G_NOISE - G_DATA)).expand_as(curves)
    )
    linear = log_snr(LinearSchedule(), components, common_ends(components))
    torch.testing.assert_close(curves, linear)


@pytest.mark.parametrize("ends", [common_ends, white_ends])
@pytest.mark.parametrize("softness", [0.005, 1e-3, 1e-30, 5e-324])
def test_small_softness_separates_components_in_time(softness, ends):
    components = describe()
    path = SoftConditioningSchedule(softness=softness).build(components, ends(components))
    kinks = np.unique([0.0, *path.kinks, 1.0])
    between = torch.tensor((kinks[1:] + kinks[:-1]) / 2)
    is_active = (path.gamma_and_rate(between)[1] > 0).numpy()
    ties = VARIANCES == 1.0
    assert (is_active[:, ties][:, 0] == is_active[:, ties][:, 1]).all()
    assert (is_active[:, ~ties].sum(axis=1) + is_active[:, ties][:, 0]).max() == 1
    assert is_active.any(axis=0).all()
    # The weakest component is noised first.
    assert between[is_active.argmax(axis=0)].argmin() == VARIANCES.argmin()


def test_neighbours_are_disjoint_below_the_softness_of_the_formula():
    # a dl >= g_noise - g_data.
    components = describe(variances=np.array([1.0, math.exp(-3.0)]))
    ends = common_ends(components)
    limit = 3.0 / (G_NOISE - G_DATA)
    together = [
        active(SoftConditioningSchedule(factor * limit), components, ends).all(axis=1).any()
        for factor in (0.99, 1.01)
    ]
    assert together == [False, True]


@pytest.mark.parametrize("ends", [common_ends, white_ends])
@pytest.mark.parametrize("window", [1.0, 1.5, 2, 3.0, 7.3, math.inf])
def test_sequential_is_its_formula_and_has_window_active_groups(window, ends):
    components = describe()
    end_points = ends(components)
    schedule = SequentialSchedule(window=window)
    gamma = schedule.build(components, end_points)(TIMES)
    groups, n_groups = components.order, 4
    width = window / (n_groups - 1 + window) if math.isfinite(window) else 1.0
    start = (n_groups - 1 - groups) * (1 - width) / (n_groups - 1)
    fraction = np.clip((TIMES.numpy()[:, None] - start) / width, 0, 1)
    expected = end_points.gamma_0 + fraction * (end_points.gamma_1 - end_points.gamma_0)
    np.testing.assert_allclose(gamma, expected, rtol=0, atol=1e-12)

    is_active = active(schedule, components, end_points)
    one_of_each = [0, 1, 2, 4]
    assert (is_active[:, 2] == is_active[:, 3]).all() and (is_active[:, 4] == is_active[:, 5]).all()
    at_once = is_active[:, one_of_each].sum(axis=1).max()
    assert at_once == min(math.ceil(window) if math.isfinite(window) else n_groups, n_groups)


def test_a_window_of_one_generates_in_the_listed_order():
    components = describe()
    ends = common_ends(components)
    listed = ["column3", "left", "column5", "column4", "middle"]
    is_active = active(SequentialSchedule(order=listed), components, ends)
    # Generation goes from t = 1 to t = 0.
    last_time = np.array([TIMES[is_active[:, i]].max() for i in range(DIM)])
    positions = [listed.index(name) for name in ("left", "left", "middle")] + [0, 3, 2]
    expected = 1 - np.array(positions) / 5
    np.testing.assert_allclose(last_time, expected, atol=2 * float(TIMES[1]))
    assert is_active.sum(axis=1).max() == 2


def test_one_group_is_active_all_the_time():
    components = describe(order=(4,) * DIM)
    path = SequentialSchedule().build(components, common_ends(components))
    assert path.kinks == ()
    assert (
        SoftConditioningSchedule(order="natural")
        .build(components, common_ends(components))(TIMES)
        .equal(path(TIMES))
    )


@every_schedule
def test_schedules_clone_and_building_does_not_change_them(schedule):
    before = schedule.get_params()
    schedule.build(describe(), common_ends(describe()))
    assert vars(schedule) == before == clone(schedule).get_params()


@pytest.mark.parametrize("softness", [0, -1.0, math.nan, -math.inf])
def test_softness_must_be_positive(softness):
    with pytest.raises(ValueError, match="softness=.* must be above 0"):
        SoftConditioningSchedule(softness).build(describe(), common_ends(describe()))


@pytest.mark.parametrize("window", [0.99, 0, -3, math.nan])
def test_window_must_be_at_least_one(window):
    with pytest.raises(ValueError, match="window=.* must be at least 1"):
        SequentialSchedule(window).build(describe(), common_ends(describe()))


@pytest.mark.parametrize(
    "schedule", [SoftConditioningSchedule("1"), SequentialSchedule(None), VPSchedule(b_max=True)]
)
def test_numbers_must_be_numbers(schedule):
    with pytest.raises(TypeError, match="must be a number"):
        schedule.build(describe(), common_ends(describe()))


@pytest.mark.parametrize("rates", [(-0.1, 20), (3, 2), (0, 0), (0.1, math.inf), (math.nan, 1)])
def test_invalid_vp_rates_are_refused(rates):
    with pytest.raises(ValueError, match="0 <= b_min <= b_max"):
        VPSchedule(*rates).build(describe(), common_ends(describe()))


@every_schedule
def test_end_points_of_another_length_are_refused(schedule):
    with pytest.raises(ValueError, match="end_points has 2 entries but there are 6"):
        schedule.build(describe(), EndPoints([-1.0, -1.0], [1.0, 1.0]))


@pytest.mark.parametrize(
    ("gamma_0", "gamma_1", "match"),
    [
        ([0.0, 1.0], [1.0, 1.0], "component 1 goes from 1 to 1"),
        ([-math.inf], [1.0], "component 0 goes from -inf to 1"),
        ([0.0], [math.nan], "component 0 goes from 0 to nan"),
        ([0.0, 0.0], [1.0], "of one shape"),
        (0.0, 1.0, "one-dimensional"),
    ],
)
def test_end_points_that_do_not_increase_are_refused(gamma_0, gamma_1, match):
    with pytest.raises(ValueError, match=match):
        EndPoints(gamma_0, gamma_1)


def test_end_points_are_frozen_copies_in_float64():
    gamma_0 = np.array([-5.0], dtype=np.float32)
    ends = EndPoints(gamma_0, [5])
    gamma_0[0] = 0
    assert ends.gamma_0.dtype == ends.gamma_1.dtype == np.float64
    assert ends.gamma_0[0] == -5
    with pytest.raises(AttributeError):
        ends.gamma_0 = gamma_0


@every_schedule
def test_valid_parameters_need_no_data(schedule):
    assert schedule.check_params() is None


@pytest.mark.parametrize(
    ("schedule", "error", "match"),
    [
        (SoftConditioningSchedule(0), ValueError, "softness=0 must be above 0"),
        (SoftConditioningSchedule("1"), TypeError, "softness='1' must be a number"),
        (SequentialSchedule(0.5), ValueError, "window=0.5 must be at least 1"),
        (SequentialSchedule(None), TypeError, "window=None must be a number"),
        (VPSchedule(3, 2), ValueError, "0 <= b_min <= b_max"),
        (VPSchedule(b_max=True), TypeError, "b_max=True must be a number"),
    ],
    ids=repr,
)
def test_invalid_parameters_are_refused_without_data(schedule, error, match):
    with pytest.raises(error, match=match):
        schedule.check_params()


@pytest.mark.parametrize("ends", [common_ends, white_ends])
@every_schedule
def test_strict_floating_point_errors_raise_nothing(schedule, ends):
    components = describe(scale=np.sqrt(VARIANCES))
    with np.errstate(all="raise"):
        path = schedule.build(components, ends(components))
        path.gamma_and_rate(TIMES)
