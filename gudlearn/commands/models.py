"""Models in files, and what each can be asked."""

from pathlib import Path

from gudlearn.classifier import GUDClassifier
from gudlearn.commands.errors import CommandError
from gudlearn.generator import GUDGenerator
from gudlearn.imputer import GUDImputer
from gudlearn.io import load
from gudlearn.outliers import GUDOutlierDetector
from gudlearn.pipeline import GenerativePipeline
from gudlearn.regressor import GUDRegressor

JOBS = {
    "generate": GUDGenerator, "classify": GUDClassifier, "regress": GUDRegressor,
    "impute": GUDImputer, "outliers": GUDOutlierDetector,
}  # fmt: skip


def read_model(path):
    """Read a fitted model.

    Raises
    ------
    CommandError
        If it does not exist, or is none.
    """
    if not Path(path).is_file():
        raise CommandError(f"{path} does not exist, or is no file.")
    model = load(path)
    if not isinstance(model, (*JOBS.values(), GenerativePipeline)):
        raise CommandError(f"{path} holds a {type(model).__name__}, but no model of rows.")
    if not hasattr(model, "n_features_in_"):
        raise CommandError(f"{path} holds a {type(model).__name__} that is not fitted.")
    return model


def require(model, kinds, command):
    """Raise a `CommandError` if a model cannot be asked what a command asks.

    Parameters
    ----------
    model : estimator
    kinds : tuple of types
    command : str
    """
    if not isinstance(model, kinds):
        jobs = [job for job, kind in JOBS.items() if issubclass(kind, kinds)]
        raise CommandError(
            f"The model is a {type(model).__name__}, which cannot {command}. Fit one with --job "
            f"{' or '.join(jobs)}."
        )


def generator_of(model, command):
    """The generator of whole rows inside a model."""
    require(
        model, (GUDGenerator, GenerativePipeline, GUDClassifier, GUDRegressor), command
    )  # fmt: skip
    return model.generator_ if isinstance(model, GUDClassifier | GUDRegressor) else model


def target_of(model):
    """Name of the column that a model predicts, or None."""
    if isinstance(model, GUDClassifier | GUDRegressor):
        return str(model.generator_.feature_names_in_[-1])
    return None
