"""What is observed of a row, and how a denoiser is conditioned on it."""

from gudlearn.conditioning.guidance import (
    Observation,
    PosteriorDenoiser,
    RepaintStep,
    ReplacementDenoiser,
    conjugate_gradients,
)

__all__ = [
    "Observation",
    "PosteriorDenoiser",
    "RepaintStep",
    "ReplacementDenoiser",
    "conjugate_gradients",
]
