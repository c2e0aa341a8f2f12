"""Schedules: the noise path of each component from data to noise."""

from gudlearn.schedules.schedules import (
    CosineSchedule,
    EndPoints,
    LinearSchedule,
    Schedule,
    SequentialSchedule,
    SoftConditioningSchedule,
    VPSchedule,
)

__all__ = [
    "CosineSchedule",
    "EndPoints",
    "LinearSchedule",
    "Schedule",
    "SequentialSchedule",
    "SoftConditioningSchedule",
    "VPSchedule",
]
