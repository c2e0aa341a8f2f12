"""An estimator under test: what it offers, its data and its fits."""

import inspect
import random
import sys
import warnings
from dataclasses import dataclass
from numbers import Integral
from unittest import SkipTest

import numpy as np
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import get_tags

from gudlearn.testing.datasets import DATASETS
from gudlearn.testing.running import require

# NumPy's RandomState takes no larger seed, and checks use the next one, too.
_SEEDS = 2**32 - 1
# Rounding errors of two ways to compute the same row, relative to its size.
_ROW_RTOL = 1e-9

#: What an estimator may offer, and what is said if it does not.
CAPABILITIES = {
    "density": "the estimator has no method score_samples",
    "frames": "the tags of the estimator say that it takes neither categories nor strings",
    "missing": "the tags of the estimator say that it takes no missing values",
    "prefix": "the estimator does not promise that shorter samples are prefixes of longer ones",
}


def capabilities_of(estimator):
    """Read from an estimator's methods and scikit-learn tags what it offers.

    Parameters
    ----------
    estimator : estimator
        Fitted or not.

    Returns
    -------
    capabilities : dict of str to bool
        ``density``: it has ``score_samples``. ``frames``: the input tags have ``categorical`` or
        ``string``, so samples of a frame are frames. ``missing``: the input tags have
        ``allow_nan``. ``prefix``: False, since no tag says it.
    """
    tags = get_tags(estimator).input_tags
    return {
        "density": hasattr(estimator, "score_samples"),
        "frames": bool(tags.categorical or tags.string),
        "missing": bool(tags.allow_nan),
        "prefix": False,
    }


def check_subject(estimator, capabilities=None):
    """Raise if this is no estimator that can be checked, or capabilities have other names."""
    if isinstance(estimator, type):
        raise TypeError(f"Pass an instance, such as {estimator.__name__}(), and not the class.")
    for method in ("fit", "sample", "get_params"):
        if not callable(getattr(estimator, method, None)):
            raise TypeError(
                f"{type(estimator).__name__} has no method {method!r}, so it is no generative "
                "estimator. Wrap it in an object with get_params, fit and sample."
            )
    unknown = set(capabilities or {}) - set(CAPABILITIES)
    if unknown:
        raise ValueError(
            f"capabilities has the names {sorted(unknown)}, but the capabilities are "
            f"{sorted(CAPABILITIES)}."
        )


def equal_rows(first, second):
    """Whether two samples have the same rows up to rounding errors.

    Parameters
    ----------
    first, second : arrays or frames of shape (n_samples, n_features)
        The samples.

    Returns
    -------
    equal : bool
    """
    first, second = np.asarray(first), np.asarray(second)
    if first.shape != second.shape:
        return False
    if first.dtype.kind in "fiu":
        return np.allclose(first, second, rtol=_ROW_RTOL, atol=_ROW_RTOL, equal_nan=True)
    return bool((first == second).all())


def global_states():
    """Return the states of the global random generators, as values that can be compared.

    Returns
    -------
    states : dict of str to tuple or bytes
        Of NumPy, of Python's ``random``, and of torch where something has imported it.
    """
    name, keys, *place = np.random.get_state()  # noqa: NPY002
    found = {"numpy": (name, keys.tobytes(), *place), "random": random.getstate()}
    if "torch" in sys.modules:
        found["torch"] = sys.modules["torch"].get_rng_state().numpy().tobytes()
    return found


@dataclass(frozen=True)
class ObservedFit:
    """A fit, and what was seen before and after it.

    Parameters
    ----------
    model : estimator
        The fitted one.
    returned : object
        What fit returned.
    parameters : tuple of two dicts of str to str
        Representations of the parameters before and after.
    states : tuple of two dicts
        `global_states` before and after.
    X : array or frame
        What was passed to fit, after it.
    """

    model: object
    returned: object
    parameters: tuple
    states: tuple
    X: object


def _parameters(estimator):
    return {name: repr(value) for name, value in estimator.get_params().items()}


class Case:
    """An estimator, what it offers, and its fits, of which each is made once.

    Parameters
    ----------
    estimator : estimator
        Never fitted itself: checks fit clones.
    random_state : int, default=0
        Seed of the data, of fits and of samples.
    capabilities : dict of str to bool or None, default=None
        Overrides what `capabilities_of` finds.
    """

    def __init__(self, estimator, random_state=0, capabilities=None):
        check_subject(estimator, capabilities)
        if isinstance(random_state, bool) or not isinstance(random_state, Integral):
            raise TypeError(f"random_state={random_state!r} must be an int.")
        if not 0 <= random_state < _SEEDS:
            raise ValueError(f"random_state={random_state} must be from 0 to {_SEEDS - 1}.")
        self.estimator = estimator
        self.seed = int(random_state)
        self.capabilities = {**capabilities_of(estimator), **(capabilities or {})}
        self.datasets, self.fits = {}, {}
        self._is_seeded = None

    def needs(self, capability):
        """Skip the check unless the estimator offers this."""
        if not self.capabilities[capability]:
            raise SkipTest(CAPABILITIES[capability])

    def data(self, name):
        """Return a new copy of the data set of this name, see `gudlearn.testing.datasets`."""
        if name not in self.datasets:
            self.datasets[name] = DATASETS[name](self.seed)
        return self.datasets[name].copy()

    def new(self):
        """Clone the estimator; a random_state of None becomes the seed."""
        estimator = clone(self.estimator)
        if estimator.get_params(deep=False).get("random_state", 0) is None:
            estimator.set_params(random_state=self.seed)
        return estimator

    def fit(self, X, estimator=None):
        """Fit a new clone, or the given estimator, without warnings of convergence."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            estimator = self.new() if estimator is None else estimator
            estimator.fit(X)
        return estimator

    def observed_fit(self, name):
        """Fit to the data set of this name, once, and return the `ObservedFit`."""
        if name not in self.fits:
            X, estimator = self.data(name), self.new()
            before = _parameters(estimator), global_states()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                returned = estimator.fit(X)
            after = _parameters(estimator), global_states()
            self.fits[name] = ObservedFit(
                estimator, returned, (before[0], after[0]), (before[1], after[1]), X
            )
        return self.fits[name]

    def fitted(self, name):
        """Return the estimator fitted to the data set of this name, shared by all checks."""
        return self.observed_fit(name).model

    def forget(self, name):
        """Drop the shared fit to the data set of this name: the next check makes another."""
        self.fits.pop(name, None)

    @property
    def is_seeded(self):
        """Whether two samples with the same seed are equal: only then can samples be compared."""
        if self._is_seeded is None:
            model = self.fitted("gaussian")
            self._is_seeded = equal_rows(self.draw(model, 20).copy(), self.draw(model, 20))
        return self._is_seeded

    def draw(self, model, n_samples, seed=None):
        """Sample rows with a seed, given to sample or set as the parameter random_state."""
        seed = self.seed if seed is None else seed
        if "random_state" in inspect.signature(model.sample).parameters:
            rows = model.sample(n_samples, random_state=seed)
        else:
            if "random_state" in model.get_params(deep=False):
                model.set_params(random_state=seed)
            rows = model.sample(n_samples)
        require(
            hasattr(rows, "shape"),
            f"sample must return rows, an array or a frame, but returned a {type(rows).__name__}. "
            "Wrap the estimator in one whose sample returns the rows alone, see "
            "gudlearn.testing.adapters.",
        )
        return rows
