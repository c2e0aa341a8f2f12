"""Metrics: distances between samples, how faithful a mixed table is, and tests for copies."""

from gudlearn.metrics.closest import ClosestRecord, closest_record
from gudlearn.metrics.distances import frechet_distance, kernel_distance
from gudlearn.metrics.neighbours import (
    Memorization,
    Neighbourhoods,
    memorization,
    neighbourhoods,
)
from gudlearn.metrics.quality import ShapeError, TrendError, shape_error, trend_error
from gudlearn.metrics.reporting import Report, report
from gudlearn.metrics.structure import GlobalUtility, global_utility
from gudlearn.metrics.two_sample import TwoSampleAUC, two_sample_auc
from gudlearn.metrics.utility import TrainOnSynthetic, train_on_synthetic

__all__ = [
    "ClosestRecord",
    "GlobalUtility",
    "Memorization",
    "Neighbourhoods",
    "Report",
    "ShapeError",
    "TrainOnSynthetic",
    "TrendError",
    "TwoSampleAUC",
    "closest_record",
    "frechet_distance",
    "global_utility",
    "kernel_distance",
    "memorization",
    "neighbourhoods",
    "report",
    "shape_error",
    "train_on_synthetic",
    "trend_error",
    "two_sample_auc",
]
