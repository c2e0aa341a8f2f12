"""The contract of generative estimators, bases and schedules: checks that anybody can run.

`check_generator` is for estimators what scikit-learn's ``check_estimator`` is: a list of named
checks, with expected failures. `check_basis` and `check_schedule` check parts that somebody has
written for gudlearn's estimators.
"""

from gudlearn.testing.bases import basis_checks, check_basis
from gudlearn.testing.generators import (
    check_generator,
    generator_checks,
    parametrize_with_generator_checks,
)
from gudlearn.testing.schedules import check_schedule, schedule_checks

__all__ = [
    "basis_checks",
    "check_basis",
    "check_generator",
    "check_schedule",
    "generator_checks",
    "parametrize_with_generator_checks",
    "schedule_checks",
]
