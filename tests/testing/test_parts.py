"""The contracts of bases and schedules: on ours, and on planted faults."""

import pytest

from gudlearn import (
    CosineSchedule,
    FourierBasis,
    LinearSchedule,
    SequentialSchedule,
    SoftConditioningSchedule,
    VPSchedule,
    WaveletBasis,
)
from gudlearn.testing import bases as bases_contract
from gudlearn.testing import basis_checks, check_basis, check_schedule, schedule_checks
from gudlearn.testing import schedules as schedules_contract
from planted_parts import BASIS_FAULTS, SCHEDULE_FAULTS, PathSchedule, Truncated
from registry import BASES

SHAPED = [FourierBasis(shape=(2, 3), channels=2), WaveletBasis(shape=(4, 3), whiten=0.5)]
SCHEDULES = [
    LinearSchedule(),
    CosineSchedule(),
    VPSchedule(),
    VPSchedule(b_min=0.0, b_max=0.3),
    SoftConditioningSchedule(softness=0.3, order="natural"),
    SoftConditioningSchedule(softness=1e-30),
    SequentialSchedule(window=2.5, order="variance"),
    SequentialSchedule(order=["right", "middle", "left"]),
    PathSchedule(),
]


def by_status(results, status):
    return {r["check_name"] for r in results if r["status"] == status}


@pytest.mark.parametrize("basis", BASES + SHAPED, ids=repr)
def test_our_bases_keep_the_contract(basis):
    results = check_basis(basis, on_skip=None)
    skipped = {"check_basis_scale"} if basis.whiten is None else set()
    assert by_status(results, "skipped") == skipped
    assert len(by_status(results, "passed") | skipped) == len(bases_contract.CHECKS)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_our_schedules_keep_the_contract(schedule):
    results = check_schedule(schedule)
    assert len(by_status(results, "passed")) == len(schedules_contract.CHECKS)


@pytest.mark.parametrize(
    ("broken", "name", "related"), BASIS_FAULTS, ids=[f[0].__name__ for f in BASIS_FAULTS]
)
def test_a_planted_fault_of_a_basis_is_caught_by_the_right_check(broken, name, related):
    failed = by_status(check_basis(broken(), on_fail=None), "failed")
    assert name in failed and failed <= {name} | related


@pytest.mark.parametrize(
    ("broken", "name", "related"), SCHEDULE_FAULTS, ids=[f[0].__name__ for f in SCHEDULE_FAULTS]
)
def test_a_planted_fault_of_a_schedule_is_caught_by_the_right_check(broken, name, related):
    failed = by_status(check_schedule(broken(), on_fail=None), "failed")
    assert name in failed and failed <= {name} | related


@pytest.mark.parametrize(
    ("faults", "contract"),
    [(BASIS_FAULTS, bases_contract), (SCHEDULE_FAULTS, schedules_contract)],
    ids=["bases", "schedules"],
)
def test_every_check_catches_a_planted_fault_and_says_what_must_hold(faults, contract):
    assert {name for _, name, _ in faults} == {check.__name__ for check in contract.CHECKS}
    for check in contract.CHECKS:
        sentence = " ".join(check.__doc__.split())
        assert sentence.endswith(".") and ". " not in sentence, check.__name__


def test_checks_of_parts_can_be_run_one_by_one():
    basis, check = next(basis_checks(Truncated()))
    with pytest.raises(AssertionError, match="A basis is complete"):
        check(basis)
    schedule, check = next(schedule_checks(LinearSchedule()))
    assert check(schedule) is None and check.__name__ == "check_schedule_end_points"


def test_what_is_no_part_is_refused():
    with pytest.raises(TypeError, match="basis must be an instance of a subclass"):
        check_basis("pca")
    with pytest.raises(TypeError, match="schedule must be an instance of a subclass"):
        check_schedule(LinearSchedule)
    with pytest.raises(ValueError, match="n_features=1 must be a whole number of at least 2"):
        check_basis(BASES[0], n_features=1)
