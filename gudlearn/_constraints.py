"""The only import of what scikit-learn keeps private.

Everything else in gudlearn that validates a parameter, names a feature or nests estimators imports
it from here, so a rename in scikit-learn is answered in one file.
"""

from sklearn.base import _fit_context
from sklearn.utils._param_validation import (
    HasMethods,
    Interval,
    StrOptions,
    validate_parameter_constraints,
)
from sklearn.utils.metaestimators import _BaseComposition
from sklearn.utils.validation import _check_feature_names_in

__all__ = [
    "HasMethods",
    "Interval",
    "StrOptions",
    "_BaseComposition",
    "_check_feature_names_in",
    "_fit_context",
    "validate_set_later",
]


def validate_set_later(estimator, name):
    """The value of a parameter that may be set after fit, checked as in fit."""
    value, rules = getattr(estimator, name), estimator._parameter_constraints
    validate_parameter_constraints(rules, {name: value}, type(estimator).__name__)
    return value
