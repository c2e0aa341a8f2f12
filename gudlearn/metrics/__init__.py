"""Metrics: distances between samples and reference rows, and a test for copies."""

from gudlearn.metrics.distances import frechet_distance, kernel_distance
from gudlearn.metrics.neighbours import (
    Memorization,
    Neighbourhoods,
    memorization,
    neighbourhoods,
)

__all__ = [
    "Memorization",
    "Neighbourhoods",
    "frechet_distance",
    "kernel_distance",
    "memorization",
    "neighbourhoods",
]
