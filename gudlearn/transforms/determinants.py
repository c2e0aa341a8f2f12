r"""Log-determinants of fitted transformers: log|det dT/dx| for every row x.

There is one function per kind of step, found by its exact class. It takes the step, X and
Z = T(X), and returns one number per row, or one number for all rows.
"""

import inspect

import numpy as np
from scipy import special
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    LabelBinarizer,
    LabelEncoder,
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
    TargetEncoder,
)

from gudlearn.bases import Basis, IdentityBasis
from gudlearn.transforms.gaussianizer import MarginalGaussianizer

__all__ = [
    "check_by_column", "check_step", "column_name", "flatten_steps", "in_image", "step_log_det",
]  # fmt: skip

# QuantileTransformer clips its normal output at the quantiles of 1e-7 and 1 - 1e-7.
_NORMAL_CLIP = -special.ndtri(1e-7)


def _zero(step, X, Z):
    return 0.0


def _divided(step, X, Z):
    return 0.0 if step.scale_ is None else -_log_sum(step.scale_)


def _multiplied(step, X, Z):
    return _log_sum(step.scale_)


def _log_sum(scale):
    # Steps that were fitted to float32 have float32 scales.
    return np.log(np.asarray(scale, dtype=np.float64)).sum()


def _pca(step, X, Z):
    if not step.whiten:
        return 0.0
    variances = step.explained_variance_
    if variances.min() <= len(variances) * np.finfo(variances.dtype).eps * variances.max():
        raise ValueError(
            "PCA(whiten=True) divides by the variance of components that have none, as constant "
            "or linearly dependent columns make them. Use gudlearn's PCABasis, or whiten=False."
        )
    return -0.5 * _log_sum(variances)


def _power(step, X, Z):
    log_slope = np.log(X) if step.method == "box-cox" else np.sign(X) * np.log1p(np.abs(X))
    standardized = _divided(step._scaler, X, Z) if step.standardize else 0.0
    return log_slope @ (np.asarray(step.lambdas_, dtype=np.float64) - 1) + standardized


def _quantile(step, X, Z):
    log_det = np.zeros(len(X))
    for column, quantiles in enumerate(step.quantiles_.T):
        gaps = np.diff(quantiles)
        # Interpolation between equal values can miss them by a rounding.
        plateaus = np.flatnonzero(gaps <= 8 * np.spacing(np.abs(quantiles[1:])))
        if len(plateaus) or len(gaps) == 0:
            value = quantiles[plateaus[0]] if len(plateaus) else quantiles[0]
            raise ValueError(
                f"QuantileTransformer has a plateau in column {column_name(step, column)}: the "
                f"value {value:g} fills more than one quantile, so there is no density. Use "
                "another scaler, fewer n_quantiles, or give bin_width to the GenerativePipeline if "
                "the column is discrete."
            )
        x = X[:, column]
        cell = np.clip(np.searchsorted(quantiles, x, side="right") - 1, 0, len(gaps) - 1)
        log_det += np.log(np.diff(step.references_)[cell] / gaps[cell])
        log_det[(x < quantiles[0]) | (x > quantiles[-1])] = -np.inf
    if step.output_distribution == "normal":
        log_det += 0.5 * (Z**2 + np.log(2 * np.pi)).sum(axis=1)
    return log_det


# Steps that prepare the columns of a mixed table for models of numbers.
_ENCODERS = (
    ColumnTransformer, KBinsDiscretizer, LabelBinarizer, LabelEncoder, OneHotEncoder,
    OrdinalEncoder, TargetEncoder,
)  # fmt: skip
_BY_COLUMN = (
    StandardScaler, MinMaxScaler, MaxAbsScaler, RobustScaler, PowerTransformer,
    QuantileTransformer, FunctionTransformer, IdentityBasis, MarginalGaussianizer,
)  # fmt: skip

# Exact classes only: a subclass may transform otherwise.
_LOG_DETS = {
    StandardScaler: _divided,
    MinMaxScaler: _multiplied,
    MaxAbsScaler: _divided,
    RobustScaler: _divided,
    PowerTransformer: _power,
    QuantileTransformer: _quantile,
    PCA: _pca,
    FunctionTransformer: _zero,
}


def _refuse_clip(step, n_rows, n_features):
    return "clip=True is not invertible; use clip=False" if step.clip else None


def _refuse_truncation(step, n_rows, n_features):
    if step.n_components not in (None, n_features):
        return f"n_components={step.n_components!r} drops some of the {n_features} components"
    if n_rows < n_features:
        return f"{n_rows} rows give fewer than {n_features} components; use gudlearn's PCABasis"
    return None


def _refuse_function(step, n_rows, n_features):
    if step.func is None and step.inverse_func is None:
        return None
    return "the determinant of a function is unknown; write a class with log_abs_det_jacobian"


_REFUSALS = {
    MinMaxScaler: _refuse_clip,
    PCA: _refuse_truncation,
    FunctionTransformer: _refuse_function,
}


def column_name(estimator, column):
    """Name a column for an error message, by its index where it has no name."""
    names = getattr(estimator, "feature_names_in_", None)
    return repr(int(column) if names is None else names[column])


def _is_passthrough(step):
    return step is None or (isinstance(step, str) and step == "passthrough")


def flatten_steps(steps, prefix=""):
    """Yield (name, step) in order, with those of inner pipelines and without passthroughs."""
    for name, step in steps:
        if type(step) is Pipeline:
            yield from flatten_steps(step.steps, f"{prefix}{name}__")
        elif not _is_passthrough(step):
            yield prefix + name, step


def _declares(step):
    """Whether a step, fitted or not, declares its log-determinant."""
    attribute = "log_abs_det_jacobian_"
    return (
        isinstance(step, Basis)
        or hasattr(step, "log_abs_det_jacobian")
        or hasattr(step, attribute)
        or any(attribute in inspect.get_annotations(kind) for kind in type(step).__mro__)
    )


def check_step(name, step, n_rows, n_features):
    """Refuse a step whose log-determinant is unknown or infinite.

    Raises
    ------
    TypeError
        If it is unknown.
    ValueError
        If the parameters of the step, or the shape of the data, leave no density.
    """
    kind = type(step)
    if isinstance(step, _ENCODERS):
        raise TypeError(
            f"Step {name!r} is a {kind.__name__}, which has no density and is not needed: "
            "GUDGenerator takes frames of numbers, text, categories and times as they are. Leave "
            "the step out."
        )
    if kind not in _LOG_DETS and not _declares(step):
        known = ", ".join(known.__name__ for known in _LOG_DETS)
        raise TypeError(
            f"Step {name!r} is a {kind.__name__}, whose log-determinant is unknown. Supported are "
            f"{known} (these classes themselves), the bases of gudlearn, 'passthrough', a Pipeline "
            "of these, and any transformer with a method log_abs_det_jacobian(X) or, declared in "
            "its class, an attribute log_abs_det_jacobian_."
        )
    reason = _REFUSALS[kind](step, n_rows, n_features) if kind in _REFUSALS else None
    if reason is not None:
        raise ValueError(f"Step {name!r} ({kind.__name__}) has no density: {reason}.")


def check_by_column(steps):
    """Raise if one of some steps does not transform each column by itself.

    Raises
    ------
    ValueError
    """
    for name, step in flatten_steps(steps):
        if type(step) not in _BY_COLUMN:
            raise ValueError(
                f"given= needs steps that transform each column by itself, but {name!r} is a "
                f"{type(step).__name__}. Leave it out, or use it as the basis of the generator."
            )


def step_log_det(step, X, Z):
    """Log-determinant of a fitted step that maps X to Z, a number or one per row.

    Parameters
    ----------
    step : transformer, fitted
    X, Z : ndarray or DataFrame of shape (n, F)

    Returns
    -------
    float or ndarray of shape (n,)

    Raises
    ------
    ValueError
        If the step changes the number of columns, or has no density.
    """
    as_given = X
    X, Z = (np.asarray(values, dtype=np.float64) for values in (X, Z))
    if Z.shape != X.shape:
        raise ValueError(
            f"{type(step).__name__} turns {X.shape[1]} columns into {Z.shape[1]}: only a map to as "
            "many columns has a determinant."
        )
    if type(step) in _LOG_DETS:
        return _LOG_DETS[type(step)](step, X, Z)
    if hasattr(step, "log_abs_det_jacobian"):
        return np.asarray(step.log_abs_det_jacobian(as_given), dtype=np.float64)
    return step.log_abs_det_jacobian_


def in_image(step, Z):
    """Which rows of Z are in the image of a step, (n,), where its inverse does not tell by NaN."""
    if type(step) is not QuantileTransformer:
        return np.ones(len(Z), dtype=bool)
    Z = np.asarray(Z)
    if step.output_distribution == "normal":
        return (np.abs(Z) <= _NORMAL_CLIP).all(axis=1)
    return ((Z >= 0) & (Z <= 1)).all(axis=1)
