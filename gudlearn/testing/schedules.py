"""The contract of schedules: noise of each component grows from one end point to the other.

End points belong to the data. A schedule decides when each component moves, by effective
signal-to-noise ratios, which do not depend on the scaling of components.
"""

import pickle
from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
import torch
from sklearn.base import clone

from gudlearn.bases.base import Components
from gudlearn.schedules import EndPoints, Schedule
from gudlearn.testing.running import bind, refused, require, run_checks

N_COMPONENTS = 6
# log-SNR of each component before scaling at t = 0 and t = 1.
LOG_SNR = (11.0, -6.0)
# Components of different variances, of which two are equal.
VARIANCES = np.array([8.0, 0.003, 1.0, 60.0, 0.2, 1.0])


def components_of(scale):
    """Describe six components with this divisor of each."""
    return Components(
        variances=VARIANCES.copy(),
        scale=np.broadcast_to(scale, VARIANCES.shape).astype(float),
        order=np.array([2.0, 0.0, 1.0, 1.0, 3.0, 3.0]),
        names=np.array([f"component{i}" for i in range(N_COMPONENTS)]),
        groups=np.array(["left", "left", "middle", "right", "right", "right"]),
        columns=None,
        dead=np.zeros(N_COMPONENTS, dtype=bool),
    )


def _log_scaled(components):
    return np.log(components.variances) - 2 * np.log(components.scale)


def common_ends(components):
    """Equal effective signal-to-noise ratios at both ends: continuous data."""
    log_scaled = _log_scaled(components)
    return EndPoints(log_scaled - LOG_SNR[0], log_scaled - LOG_SNR[1])


def white_ends(components):
    """A floor of white noise in the units of the data at t = 0: discrete data."""
    return EndPoints(-7 - 2 * np.log(components.scale), _log_scaled(components) - LOG_SNR[1])


class ScheduleCase:
    """A schedule under test, and its paths.

    Parameters
    ----------
    schedule : Schedule
        The specification.
    """

    def __init__(self, schedule):
        if not isinstance(schedule, Schedule):
            raise TypeError(
                "schedule must be an instance of a subclass of gudlearn.schedules.Schedule, got "
                f"{schedule!r}."
            )
        self.schedule = schedule
        self.t = torch.linspace(0, 1, 1001, dtype=torch.float64)

    def paths(self):
        """End points and path, for continuous and discrete data."""
        for name, ends in (("continuous", common_ends), ("discrete", white_ends)):
            components = components_of(1.0)
            end_points = ends(components)
            yield name, end_points, self.schedule.build(components, end_points)


def check_schedule_end_points(case):
    """gamma(0) and gamma(1) are the given end points exactly, in float32 and float64."""
    for name, ends, path in case.paths():
        for dtype in (torch.float32, torch.float64):
            gamma = path(torch.tensor([0.0, 1.0], dtype=dtype))
            expected = torch.tensor(np.stack([ends.gamma_0, ends.gamma_1])).to(dtype)
            require(
                torch.equal(gamma, expected),
                f"gamma at t = 0 and 1 must be the end points exactly ({name} data, {dtype}), but "
                f"is off by up to {float((gamma - expected).abs().max()):g}.",
            )


def check_schedule_increases(case):
    """gamma of every component is finite and never falls with t."""
    for name, _, path in case.paths():
        gamma = path(case.t)
        require(bool(gamma.isfinite().all()), f"gamma is not finite everywhere ({name} data).")
        # Rounding errors of gamma, which is below 20.
        fall = float(-gamma.diff(dim=0).min())
        require(
            fall <= 40 * torch.finfo(gamma.dtype).eps,
            f"gamma falls by {fall:g} between two times ({name} data): noise may only grow with t.",
        )


def check_schedule_shape(case):
    """gamma is of shape (B, D) in the dtype of t, for times of shape (B,) and of shape (B, D)."""
    for _, _, path in case.paths():
        for dtype in (torch.float32, torch.float64):
            t = torch.linspace(0, 1, 9, dtype=dtype)
            gamma = path(t)
            require(
                gamma.shape == (9, N_COMPONENTS) and gamma.dtype == dtype,
                f"For 9 times of {dtype} gamma must be of shape (9, {N_COMPONENTS}) and {dtype}, "
                f"but is of shape {tuple(gamma.shape)} and {gamma.dtype}.",
            )
            own = path(t[:, None].expand(9, N_COMPONENTS))
            require(
                own.shape == gamma.shape and torch.allclose(own, gamma),
                "With times of shape (B, D) each component must be at its own time, but equal "
                "times give another gamma than times of shape (B,).",
            )
            mixed = path(torch.stack([t.flip(0), *[t] * (N_COMPONENTS - 1)], dim=1))
            require(
                torch.allclose(mixed[:, 1:], gamma[:, 1:])
                and torch.allclose(mixed[:, 0], gamma[:, 0].flip(0)),
                "With times of shape (B, D) a component is at the time of another one.",
            )


def check_schedule_rate(case):
    """gamma_and_rate returns gamma and its derivative in t."""
    for name, _, path in case.paths():
        gamma, rate = path.gamma_and_rate(case.t)
        require(
            gamma.shape == rate.shape == (len(case.t), N_COMPONENTS)
            and torch.allclose(gamma, path(case.t)),
            "gamma_and_rate must return gamma(t), as the path does, and a rate of its shape.",
        )
        require(
            bool(rate.isfinite().all() and (rate >= 0).all()),
            f"A rate is negative or not finite ({name} data).",
        )
        # A midpoint rule with nodes on every kink, denser at 0 and 1: exact for lines, second order
        # for curves.
        grid = np.linspace(0, 1, 4001)
        edges = np.unique(np.concatenate([grid**2 * (3 - 2 * grid), path.kinks]))
        rates = path.gamma_and_rate(torch.tensor((edges[1:] + edges[:-1]) / 2))[1]
        increase = path(torch.tensor(edges)).diff(dim=0)
        width = torch.tensor(np.diff(edges))[:, None]
        error = (rates * width - increase).abs().sum(dim=0) / increase.sum(dim=0)
        require(
            float(error.max()) < 1e-3,
            f"The rate differs from the derivative of gamma in t by {float(error.max()):.3g} of "
            f"gamma's range ({name} data). Return the derivative, and list its jumps in kinks.",
        )


def check_schedule_kinks(case):
    """kinks are increasing times strictly between 0 and 1."""
    for _, _, path in case.paths():
        kinks = np.asarray(path.kinks, dtype=float)
        require(
            bool((kinks > 0).all() and (kinks < 1).all() and (np.diff(kinks) > 0).all()),
            f"kinks must be increasing and between 0 and 1, but are {kinks.tolist()}.",
        )


def check_schedule_scaling(case):
    """Effective signal-to-noise ratios do not depend on the scaling of the components."""
    for ends in (common_ends, white_ends):
        curves = []
        for scale in (1.0, np.sqrt(VARIANCES), np.array([0.1, 3.0, 7.0, 1.0, 2.0, 0.5])):
            components = components_of(scale)
            gamma = case.schedule.build(components, ends(components))(case.t)
            curves.append(torch.tensor(_log_scaled(components)) - gamma)
        difference = max(float((curve - curves[0]).abs().max()) for curve in curves[1:])
        # Short windows magnify rounding errors of time.
        require(
            difference < 1e-6,
            f"log-SNRs change by {difference:g} with components.scale. Compute with the variances "
            "after scaling, components.variances / components.scale ** 2.",
        )


def check_schedule_sizes(case):
    """End points of another number of components are refused with ValueError."""
    error = refused(
        lambda: case.schedule.build(components_of(1.0), EndPoints([-1.0, -1.0], [1.0, 1.0])),
        (Exception,),
    )
    require(
        isinstance(error, ValueError),
        f"build with 6 components and 2 end points must raise ValueError, not {error!r}.",
    )


def check_schedule_parameters(case):
    """build changes no parameter, a clone has the same, and valid parameters need no data."""
    before = repr(case.schedule.get_params())
    list(case.paths())
    require(repr(case.schedule.get_params()) == before, "build changes a parameter.")
    require(
        repr(clone(case.schedule).get_params()) == before,
        "clone() changes a parameter: store the arguments of __init__ as they are.",
    )
    found = case.schedule.check_params()
    require(found is None, f"check_params must return None or raise, but returned {found!r}.")


def check_schedule_copies(case):
    """Building twice, or from a pickled schedule, makes the same path."""
    others = (case.schedule, pickle.loads(pickle.dumps(case.schedule)))
    for what, schedule in zip(("Building twice", "A pickled schedule"), others, strict=True):
        for (_, _, path), (_, _, other) in zip(
            case.paths(), ScheduleCase(schedule).paths(), strict=True
        ):
            require(
                torch.equal(path(case.t), other(case.t)), f"{what} gives another path: no random "
                "numbers, and no state but the parameters.",
            )  # fmt: skip


#: The checks, in the order in which they run.
CHECKS = [
    check_schedule_end_points,
    check_schedule_increases,
    check_schedule_shape,
    check_schedule_rate,
    check_schedule_kinks,
    check_schedule_scaling,
    check_schedule_sizes,
    check_schedule_parameters,
    check_schedule_copies,
]


def schedule_checks(schedule: Schedule):
    """Yield every check of the contract of schedules, bound to a schedule.

    Parameters
    ----------
    schedule : Schedule
        An instance whose parameters need no particular data. The checks have six components, in
        groups named left, middle and right.

    Yields
    ------
    schedule : Schedule
        The same at every time.
    check : callable
        Takes the schedule, and raises if it does not keep the contract.
    """
    for check in bind(CHECKS, ScheduleCase, schedule):
        yield schedule, check


def check_schedule(
    schedule: Schedule, *,
    expected_failed_checks: Mapping[str, str] | Callable[[Any], Mapping[str, str]] | None = None,
    on_skip: Literal["warn"] | None = "warn", on_fail: Literal["raise", "warn"] | None = "raise",
    callback: Callable[..., Any] | None = None,
):  # fmt: skip
    """Check whether a schedule keeps the contract of schedules.

    Parameters
    ----------
    schedule : Schedule
        An instance of your subclass whose parameters need no particular data. The checks have six
        components, in groups named left, middle and right.
    expected_failed_checks, on_skip, on_fail, callback
        As in `check_generator`.

    Returns
    -------
    results : list of dict
        As of `check_generator`.

    Examples
    --------
    >>> from gudlearn import SoftConditioningSchedule
    >>> from gudlearn.testing import check_schedule
    >>> {result["status"] for result in check_schedule(SoftConditioningSchedule(softness=0.3))}
    {'passed'}
    """
    return run_checks(
        bind(CHECKS, ScheduleCase, schedule), schedule, on_fail=on_fail, on_skip=on_skip,
        expected_failed_checks=expected_failed_checks, callback=callback,
    )  # fmt: skip
