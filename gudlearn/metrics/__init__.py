"""How close generated rows are to real ones, and whether they are copies."""

from gudlearn.metrics.metrics import (
    Memorization,
    Neighbourhoods,
    frechet_distance,
    kernel_distance,
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
