"""Families of schedules: their members, what belongs to them, and how others are refused."""

import re

import numpy as np
import pytest
from sklearn.base import BaseEstimator

from gudlearn import (
    CosineSchedule,
    LinearSchedule,
    SequentialSchedule,
    SoftConditioningSchedule,
    VPSchedule,
)
from gudlearn.model.schedule_family import ScheduleFamily, schedules_of
from gudlearn.schedules import Schedule

SOFT = SoftConditioningSchedule(softness=0.3)


def test_a_range_is_covered_evenly_with_both_ends():
    members = ScheduleFamily.trained({"softness": (0.1, np.inf)}, SOFT).members()
    softness = np.array([member.softness for member in members])
    assert len(members) == 64 and softness[0] == 0.1 and softness[-1] == np.inf
    even = 1 / (1 + 1 / softness)
    np.testing.assert_allclose(np.diff(even), (1 - 0.1 / 1.1) / 63)


def test_two_ranges_are_covered_together():
    family = ScheduleFamily.trained({"b_min": (0.0, 1.0), "b_max": (5.0, 20.0)}, VPSchedule())
    points = np.array([(m.b_min, m.b_max) for m in family.members()])
    even = points / (1 + points)
    scaled = (even - even.min(0)) / np.ptp(even, axis=0)
    np.testing.assert_allclose(points.min(0), [0, 5])
    np.testing.assert_allclose(points.max(0), [1, 20])
    # Each quarter of one is met by each quarter of the other.
    counts = np.histogram2d(*scaled.T, bins=4)[0]
    assert counts.min() >= 2 and abs(np.corrcoef(scaled.T)[0, 1]) < 0.1


def test_lists_are_taken_in_all_combinations():
    orders = ["natural", [2, 1, 0]]
    family = ScheduleFamily.trained({"softness": [0.3, 1.0, 2.0], "order": orders}, SOFT)
    members = family.members()
    # And the schedule of the fit.
    assert len(members) == 7 and members[-1].get_params() == SOFT.get_params()
    pairs = {(m.softness, str(m.order)) for m in members[:-1]}
    assert pairs == {(s, str(o)) for s in (0.3, 1.0, 2.0) for o in orders}


def test_a_schedule_inside_the_family_is_no_member_of_its_own():
    for definition in ({"softness": [0.3]}, {"softness": (0.1, 1.0)}):
        family = ScheduleFamily.trained(definition, SOFT)
        assert len(family.schedules) == 1
    (member,) = ScheduleFamily.trained({"softness": [0.3]}, SOFT).members()
    assert member.softness == 0.3


def test_names_that_no_kind_has_together_are_families_of_each_kind():
    definition = {"softness": (0.1, 1.0), "window": (1, 4), "order": ["natural"]}
    family = ScheduleFamily.trained(definition, LinearSchedule())
    kinds = [type(schedule) for schedule in family.schedules]
    assert kinds == [SoftConditioningSchedule, SequentialSchedule, LinearSchedule]
    assert [sorted(v) for v in family.values] == [["order", "softness"], ["order", "window"], []]
    # A third of the members each, but one of the schedule without parameters.
    assert len(family.members()) == 22 + 22 + 1


def test_entries_that_are_not_listed_are_those_of_the_schedule_of_the_fit():
    own = SoftConditioningSchedule(softness=0.3, order="natural")
    family = ScheduleFamily.trained({"softness": (0.1, 1.0)}, own)
    assert {member.order for member in family.members()} == {"natural"}
    named = ScheduleFamily.trained({"schedule": "soft", "softness": (0.1, 1.0)}, own)
    assert [schedule.order for schedule in named.schedules] == ["variance", "natural"]


class Bent(Schedule, BaseEstimator):
    """A schedule of the user's."""

    def __init__(self, bend=1.0):
        self.bend = bend

    def build(self, components, end_points):
        return LinearSchedule().build(components, end_points)


def test_a_schedule_of_the_user_has_a_family():
    family = ScheduleFamily.trained({"bend": (0.5, 2)}, Bent())
    assert family.problem(Bent(0.5)) is None
    assert "bend=2.5 is outside the range from 0.5 to 2" in family.problem(Bent(2.5))


def test_grids_are_those_of_scikit_learn():
    grid = {"schedule__softness": [0.1, 0.2], "schedule__order": ["natural", "variance"]}
    schedules, values = schedules_of(grid, LinearSchedule())
    assert [(s.order, s.softness) for s in schedules] == [
        ("natural", 0.1), ("natural", 0.2), ("variance", 0.1), ("variance", 0.2),
    ]  # fmt: skip
    assert values[1] == {"schedule__order": "natural", "schedule__softness": 0.2}
    schedules, _ = schedules_of([{"schedule": ["cosine", "vp"]}, {}], LinearSchedule())
    assert [type(s) for s in schedules] == [CosineSchedule, VPSchedule, LinearSchedule]


@pytest.mark.parametrize(
    ("definition", "schedule", "problem"),
    [
        ({"softness": (0.1, 1)}, SoftConditioningSchedule(2.0),
         r"schedule__softness=2.0 is outside the range from 0.1 to 1"),
        ({"softness": [0.1, 1]}, SoftConditioningSchedule(0.5),
         r"schedule__softness=0.5 is none of \[0.1, 1\]"),
        ({"softness": (0.1, 1)}, SoftConditioningSchedule(0.5, order="natural"),
         r"schedule__order='natural' is not 'variance'"),
        ({"softness": (0.1, 1)}, SequentialSchedule(),
         r"schedule=SequentialSchedule\(\) is none of SoftConditioningSchedule"),
    ],
)  # fmt: skip
def test_what_is_outside_is_told(definition, schedule, problem):
    assert re.match(problem, ScheduleFamily.trained(definition, SOFT).problem(schedule))


@pytest.mark.parametrize(
    ("definition", "error", "message"),
    [
        ({"sofness": (0.1, 1)}, ValueError, "names 'sofness', no parameter of .* mean 'softness'"),
        ({"schedule": "soft", "window": (1, 2)}, ValueError, "names 'window', no parameter of S"),
        ({"schedule": "soff"}, ValueError, "schedule='soff' is not a known name"),
    ],
)
def test_wrong_families_are_refused(definition, error, message):
    with pytest.raises(error, match=message):
        ScheduleFamily.trained(definition, SOFT)


@pytest.mark.parametrize(
    ("grid", "error", "message"),
    [
        ({"basis": ["pca"]}, ValueError, "the key 'basis', but a sweep .* GridSearchCV"),
        ({"schedule__softness": 0.3}, TypeError, r"\['schedule__softness'\]=0.3 must be a list"),
        ({"schedule__softness": []}, TypeError, r"=\[\] must be a list of values"),
        ({"schedule__order": "natural"}, TypeError, "='natural' must be a list of values"),
        ([0.3], TypeError, r"param_grid=\[0.3\] must be a dict of lists"),
        ({"schedule__windw": [1]}, ValueError, "names 'windw', no parameter .* mean 'window'"),
    ],
)
def test_wrong_grids_are_refused(grid, error, message):
    with pytest.raises(error, match=message):
        schedules_of(grid, SOFT)
