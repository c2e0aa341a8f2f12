"""Generative diffusion models of tables, images and fields, in scikit-learn's manner."""

from gudlearn.bases import BlockBasis, FourierBasis, IdentityBasis, PCABasis, WaveletBasis
from gudlearn.generator import GUDGenerator
from gudlearn.networks import MLP
from gudlearn.samplers import DDIM, Ancestral, DPMSolver, EulerMaruyama, Heun
from gudlearn.schedules import (
    CosineSchedule,
    LinearSchedule,
    SequentialSchedule,
    SoftConditioningSchedule,
    VPSchedule,
)

__version__ = "0.1.0.dev0"

__all__ = [
    "DDIM",
    "MLP",
    "Ancestral",
    "BlockBasis",
    "CosineSchedule",
    "DPMSolver",
    "EulerMaruyama",
    "FourierBasis",
    "GUDGenerator",
    "Heun",
    "IdentityBasis",
    "LinearSchedule",
    "PCABasis",
    "SequentialSchedule",
    "SoftConditioningSchedule",
    "VPSchedule",
    "WaveletBasis",
]
