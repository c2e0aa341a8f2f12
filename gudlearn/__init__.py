"""Generative diffusion models of tables, images and fields, in scikit-learn's manner."""

from gudlearn._versions import show_versions
from gudlearn.bases import BlockBasis, FourierBasis, IdentityBasis, PCABasis, WaveletBasis
from gudlearn.callbacks import LikelihoodMonitor
from gudlearn.classifier import GUDClassifier
from gudlearn.data.schema import Schema
from gudlearn.diagnosis.result import Diagnosis
from gudlearn.execution import Training
from gudlearn.generator import GUDGenerator
from gudlearn.imputer import GUDImputer
from gudlearn.io import load, save
from gudlearn.networks import MLP, Transformer, UNet
from gudlearn.outliers import GUDOutlierDetector
from gudlearn.pipeline import GenerativePipeline
from gudlearn.plotting import (
    ConditionalDisplay,
    DiagnosisDisplay,
    LossCurveDisplay,
    MarginalsDisplay,
    PairDependenceDisplay,
    PowerSpectrumDisplay,
    ReverseTrajectoryDisplay,
    SampleGridDisplay,
    ScheduleDisplay,
    SoftnessDisplay,
    SweepDisplay,
)
from gudlearn.regressor import GUDRegressor
from gudlearn.samplers import DDIM, Ancestral, DPMSolver, EulerMaruyama, Heun
from gudlearn.schedules import (
    CosineSchedule,
    LinearSchedule,
    SequentialSchedule,
    SoftConditioningSchedule,
    VPSchedule,
)
from gudlearn.search import OptunaSearchCV
from gudlearn.training.sweep import Sweep
from gudlearn.transformers import MarginalGaussianizer

__version__ = "0.2.0"

__all__ = [
    "DDIM",
    "MLP",
    "Ancestral",
    "BlockBasis",
    "ConditionalDisplay",
    "CosineSchedule",
    "DPMSolver",
    "Diagnosis",
    "DiagnosisDisplay",
    "EulerMaruyama",
    "FourierBasis",
    "GUDClassifier",
    "GUDGenerator",
    "GUDImputer",
    "GUDOutlierDetector",
    "GUDRegressor",
    "GenerativePipeline",
    "Heun",
    "IdentityBasis",
    "LikelihoodMonitor",
    "LinearSchedule",
    "LossCurveDisplay",
    "MarginalGaussianizer",
    "MarginalsDisplay",
    "OptunaSearchCV",
    "PCABasis",
    "PairDependenceDisplay",
    "PowerSpectrumDisplay",
    "ReverseTrajectoryDisplay",
    "SampleGridDisplay",
    "ScheduleDisplay",
    "Schema",
    "SequentialSchedule",
    "SoftConditioningSchedule",
    "SoftnessDisplay",
    "Sweep",
    "SweepDisplay",
    "Training",
    "Transformer",
    "UNet",
    "VPSchedule",
    "WaveletBasis",
    "load",
    "save",
    "show_versions",
]
