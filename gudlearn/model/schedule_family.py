"""Families of schedules: those that one network is trained for, and those of a sweep."""

import difflib
from dataclasses import dataclass

import numpy as np
from sklearn.base import clone
from sklearn.model_selection import ParameterGrid

from gudlearn._specs import resolve, same, snapshot
from gudlearn.execution import is_range
from gudlearn.schedules import SequentialSchedule, SoftConditioningSchedule, VPSchedule

# Members of a family that training takes, about.
_MEMBERS = 64
# The ratio by which values of one range follow those of another, modulo 1.
_PLASTIC = 0.7548776662466927
_CURE = (
    "Fit with training=Training(schedule_family=...) that covers it, see gudlearn.Training, or "
    "leave it out."
)


@dataclass(frozen=True, eq=False)
class ScheduleFamily:
    """Grids of schedules; one grid is a schedule and the values that some of its parameters take.

    Parameters
    ----------
    schedules : list of Schedule
    values : list of dict
        For each schedule, a range, tuple (low, high), or a list of values by parameter.
    """

    schedules: list
    values: list

    @classmethod
    def trained(cls, definition, schedule):
        """The family of ``Training(schedule_family=definition)`` and the schedule of a fit.

        Parameters
        ----------
        definition : dict or list of dict
        schedule : Schedule
        """
        grids = definition if isinstance(definition, list | tuple) else [definition]
        family = cls([], [])
        for grid in grids:
            for base, values in _by_kind(grid, schedule, "schedule_family"):
                lists = {k: v if is_range(v) else list(v) for k, v in values.items()}
                family.schedules.append(clone(base, safe=False))
                family.values.append(lists)
        if family.problem(schedule) is not None:
            family.schedules.append(schedule)
            family.values.append({})
        return family

    def members(self):
        """Schedules of the family: all of its lists, and about 64 together of its ranges."""
        n = -(-_MEMBERS // len(self.schedules))
        members = []
        for base, values in zip(self.schedules, self.values, strict=True):
            ranges = {k: v for k, v in values.items() if is_range(v)}
            lists = ParameterGrid({k: v for k, v in values.items() if k not in ranges})
            for listed in lists:
                for point in _points(ranges, -(-n // len(lists))):
                    members.append(clone(base, safe=False).set_params(**listed, **point))
        return members

    def problem(self, schedule):
        """Why a schedule is outside the family, as text; None if it is inside."""
        problems = [
            _difference(base, values, schedule)
            for base, values in zip(self.schedules, self.values, strict=True)
            if type(base) is type(schedule)
        ]
        if None in problems:
            return None
        if problems:
            return problems[0]
        kinds = dict.fromkeys(type(base).__name__ for base in self.schedules)
        return f"schedule={schedule!r} is none of {', '.join(kinds)}"


def schedules_of(param_grid, schedule):
    """Schedules of the grid of a sweep, and the values of its parameters.

    Parameters
    ----------
    param_grid : dict of str to sequence, or list of these
        By "schedule", and "schedule__" and a name, as of an estimator.
    schedule : Schedule
        What is not in the grid is as in this one.

    Returns
    -------
    schedules : list of Schedule
    values : list of dict
        For each schedule, its values by the keys of the grid.
    """
    grids = param_grid if isinstance(param_grid, list | tuple) else [param_grid]
    schedules, values = [], []
    for grid in grids:
        if not isinstance(grid, dict):
            raise TypeError(
                f"param_grid={param_grid!r} must be a dict of lists, or a list of dicts. Pass "
                "{'schedule__softness': [0.1, 1.0]}, for example."
            )
        named = {_name(key): _listed(key, listed) for key, listed in grid.items()}
        for base, lists in _by_kind(named, schedule, "param_grid"):
            for point in ParameterGrid(lists):
                schedules.append(clone(base, safe=False).set_params(**point))
                values.append({f"schedule__{name}": value for name, value in point.items()})
    return schedules, values


def check_inside(family, schedule, own):
    """Raise if a network was not trained for a schedule.

    Parameters
    ----------
    family : ScheduleFamily or None
    schedule : Schedule
    own : Schedule
        The one of the fit.
    """
    family = ScheduleFamily([own], [{}]) if family is None else family
    problem = family.problem(schedule)
    if problem is not None:
        raise ValueError(f"{problem}, for which this generator was trained. {_CURE}")


def _name(key):
    prefix, _, name = key.partition("__")
    if prefix != "schedule":
        raise ValueError(
            f"param_grid has the key {key!r}, but a sweep takes one fit and can change only its "
            "schedule: 'schedule', or 'schedule__' and a parameter. Search over others with "
            "GridSearchCV."
        )
    return name or "schedule"


def _listed(key, listed):
    if key == "schedule" and (isinstance(listed, str) or hasattr(listed, "build")):
        return listed
    if isinstance(listed, str) or not hasattr(listed, "__len__") or len(listed) == 0:
        raise TypeError(f"param_grid[{key!r}]={listed!r} must be a list of values. Pass one.")
    return listed


def _by_kind(grid, schedule, parameter):
    """Divide the parameters of a grid among the kinds of schedules that have them.

    Yields
    ------
    base : Schedule
    values : dict
    """
    values = {name: listed for name, listed in grid.items() if name != "schedule"}
    if "schedule" in grid:
        named = grid["schedule"]
        named = named if isinstance(named, list | tuple) else [named]
        bases = [resolve("schedule", base) for base in named]
    else:
        others = (SoftConditioningSchedule(), SequentialSchedule(), VPSchedule())
        bases = [schedule, *(o for o in others if type(o) is not type(schedule))]
    parameters = [_parameters(base) for base in bases]
    left = set(values)
    for base, own in zip(bases, parameters, strict=True):
        first = not values and base is bases[0]
        if "schedule" in grid or first or left & own:
            yield base, {name: listed for name, listed in values.items() if name in own}
            left -= own
    if left:
        name, known = min(left), sorted(set().union(*parameters))
        close = difflib.get_close_matches(name, known, n=1)
        cure = f"Did you mean {close[0]!r}?" if close else f"Known parameters: {known}."
        kinds = ", ".join(type(base).__name__ for base in bases)
        raise ValueError(f"{parameter} names {name!r}, no parameter of {kinds}. {cure}")


def _parameters(schedule):
    return set(schedule.get_params(deep=False)) if hasattr(schedule, "get_params") else set()


def _points(ranges, n):
    """Values of parameters by name: n points, or one if there is no range."""
    if not ranges:
        return [{}]
    # Evenly spaced in the first range; the order of the same places differs between ranges.
    index = np.arange(n)
    points = {}
    for k, (name, (low, high)) in enumerate(ranges.items()):
        place = index if k == 0 else np.argsort(np.argsort(index * _PLASTIC**k % 1))
        points[name] = _between(low, high, place / max(n - 1, 1))
    return [{name: float(values[j]) for name, values in points.items()} for j in range(n)]


def _between(low, high, fraction):
    """Numbers from low to high, evenly spaced in x/(1 + x); the ends are exact."""
    first, last = low / (1 + low), 1.0 if np.isinf(high) else high / (1 + high)
    even = first + (last - first) * fraction
    with np.errstate(divide="ignore"):
        values = even / (1 - even)
    return np.where(fraction == 0, low, np.where(fraction == 1, high, values))


def _difference(base, values, schedule):
    """What keeps a schedule out of a grid, as text; None if nothing does."""
    for name, value in schedule.get_params(deep=False).items():
        came = f"schedule__{name}={value!r}"
        if name not in values:
            own = getattr(base, name)
            if not same(snapshot(own), snapshot(value)):
                return f"{came} is not {own!r}"
        elif is_range(values[name]):
            low, high = values[name]
            if not (np.isscalar(value) and low <= value <= high):
                return f"{came} is outside the range from {low!r} to {high!r}"
        elif not any(same(snapshot(v), snapshot(value)) for v in values[name]):
            return f"{came} is none of {values[name]!r}"
    return None
