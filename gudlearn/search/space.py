"""The parameters that a search tries: the user's distributions as those of Optuna."""

import numpy as np
from scipy.stats import rv_discrete
from sklearn.base import clone

# Optuna knows values of these types by themselves. Others it knows by a label.
_SIMPLE = (type(None), bool, int, float, str)
# Probabilities at which distributions of scipy are cut off, so that every value is finite.
_TAIL = 2.0**-20


class Space:
    """Distributions of parameters, by name.

    Parameters
    ----------
    param_distributions : dict of str to distribution or list
        See ``OptunaSearchCV``.
    optuna : module
    """

    def __init__(self, param_distributions, optuna):
        if not isinstance(param_distributions, dict):
            raise TypeError(
                f"param_distributions={param_distributions!r} must be a dict of names of "
                "parameters to lists or distributions."
            )
        if not param_distributions:
            raise ValueError(
                "param_distributions is empty. Give at least one parameter, such as "
                '{"schedule__softness": [0.3, 1.0]}.'
            )
        self._distributions, self._value_of, self._example = {}, {}, {}
        for name, given in param_distributions.items():
            self._add(name, given, optuna.distributions)

    def _add(self, name, given, kinds):
        if isinstance(given, kinds.BaseDistribution):
            distribution, value_of = given, _unchanged
            some = given.choices[0] if hasattr(given, "choices") else given.low
        elif isinstance(given, list | tuple | np.ndarray):
            values = _checked_values(name, given)
            labels = _labels(values)
            distribution = kinds.CategoricalDistribution(labels)
            value_of, some = dict(zip(labels, values, strict=True)).__getitem__, labels[0]
        elif hasattr(given, "ppf") and hasattr(given, "rvs"):
            distribution = kinds.FloatDistribution(_TAIL, 1 - _TAIL)
            value_of, some = _quantile_function(given), 0.5
        else:
            raise TypeError(
                f"param_distributions[{name!r}]={given!r} must be a list of values, a distribution "
                "of optuna.distributions or one of scipy.stats."
            )
        self._distributions[name], self._value_of[name] = distribution, value_of
        self._example[name] = some

    def draw(self, trial):
        """Let Optuna choose the parameters of a trial.

        Parameters
        ----------
        trial : optuna.Trial

        Returns
        -------
        dict of str to object
            Values as the estimator takes them.
        """
        chosen = {name: _suggest(trial, name, d) for name, d in self._distributions.items()}
        return self._params(chosen)

    def _params(self, chosen):
        return {name: self._value_of[name](value) for name, value in chosen.items()}

    def check_names(self, estimator):
        """Raise scikit-learn's error if the estimator lacks a parameter.

        Parameters
        ----------
        estimator : estimator
        """
        # Parameters may be nested in what another name sets, so that all are set at once.
        new_candidate(estimator, self._params(self._example))


def new_candidate(estimator, params):
    """A clone of an estimator, with clones of parameters.

    Parameters
    ----------
    estimator : estimator
    params : dict of str to object

    Returns
    -------
    estimator
    """
    return clone(estimator).set_params(**clone(params, safe=False))


def _suggest(trial, name, distribution):
    """Choose a value of a distribution of Optuna."""
    if hasattr(distribution, "choices"):
        return trial.suggest_categorical(name, distribution.choices)
    whole = isinstance(distribution.low, int) and isinstance(distribution.high, int)
    suggest = trial.suggest_int if whole else trial.suggest_float
    low, high = distribution.low, distribution.high
    return suggest(name, low, high, step=distribution.step, log=distribution.log)


def _unchanged(value):
    return value


def _quantile_function(distribution):
    """A function from probabilities to the values of a frozen distribution of scipy."""
    if isinstance(getattr(distribution, "dist", distribution), rv_discrete):
        return lambda u: int(distribution.ppf(u))
    return lambda u: float(distribution.ppf(u))


def _checked_values(name, given):
    if isinstance(given, np.ndarray) and given.ndim > 1:
        raise ValueError(
            f"param_distributions[{name!r}] is an array of shape {given.shape}. Pass a list of "
            "values."
        )
    if len(given) == 0:
        raise ValueError(f"param_distributions[{name!r}] is empty. Give at least one value.")
    return list(given)


def _labels(values):
    """Names under which Optuna knows values: the values themselves if it can hold them."""
    # 1, 1.0 and True are equal, and equal choices would be one.
    if all(type(value) in _SIMPLE for value in values) and len(set(values)) == len(values):
        return values
    return [f"{index}: {' '.join(str(value).split())}" for index, value in enumerate(values)]
