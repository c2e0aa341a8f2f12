"""The only file that imports private names of scikit-learn.

All code that validates parameters, names features or nests estimators imports them from here, so
that a rename in scikit-learn has to be followed in one file only.
"""

from sklearn.base import _fit_context
from sklearn.utils._param_validation import (
    HasMethods,
    Interval,
    StrOptions,
    validate_parameter_constraints,
)
from sklearn.utils.metaestimators import _BaseComposition, _safe_split
from sklearn.utils.validation import (
    _check_feature_names,
    _check_feature_names_in,
    _check_n_features,
)

__all__ = [
    "HasMethods",
    "Interval",
    "StrOptions",
    "_BaseComposition",
    "_check_feature_names",
    "_check_feature_names_in",
    "_check_n_features",
    "_fit_context",
    "_safe_split",
    "validate_set_later",
]


def validate_set_later(estimator, name, constraints, value=None):
    """Return a parameter that may be set after fit, validated as fit validates it.

    A value other than None, the argument of a method, stands in for the parameter.
    """
    value = getattr(estimator, name) if value is None else value
    validate_parameter_constraints(constraints, {name: value}, type(estimator).__name__)
    return value
