"""Specifications by name: "pca" is PCABasis(), and a typo is answered with the nearest name."""

import difflib

import numpy as np
from sklearn.base import clone
from torch import nn

from gudlearn._atomic import unchanged_on_error
from gudlearn._versions import Versioned
from gudlearn.bases import BlockBasis, FourierBasis, IdentityBasis, PCABasis, WaveletBasis
from gudlearn.data.schema import Schema
from gudlearn.execution import Training
from gudlearn.networks import MLP, Transformer, UNet
from gudlearn.samplers import DDIM, Ancestral, DPMSolver, EulerMaruyama, Heun
from gudlearn.schedules import (
    CosineSchedule,
    LinearSchedule,
    SequentialSchedule,
    SoftConditioningSchedule,
    VPSchedule,
)

SPECS = {
    "basis": {
        "identity": IdentityBasis,
        "pca": PCABasis,
        "fourier": FourierBasis,
        "wavelet": WaveletBasis,
        "block": BlockBasis,
    },
    "schedule": {
        "linear": LinearSchedule,
        "cosine": CosineSchedule,
        "vp": VPSchedule,
        "soft": SoftConditioningSchedule,
        "sequential": SequentialSchedule,
    },
    "network": {"mlp": MLP, "unet": UNet, "transformer": Transformer},
    "sampler": {
        "dpm-solver": DPMSolver,
        "ddim": DDIM,
        "ancestral": Ancestral,
        "heun": Heun,
        "euler-maruyama": EulerMaruyama,
    },
    "schema": {"auto": Schema},
    "training": {"auto": Training},
}
# Meaning of "auto", without and with nested parameters.
_AUTO = {
    "basis": "identity", "schedule": "linear", "network": "mlp", "sampler": "dpm-solver",
    "schema": "auto", "training": "auto",
}  # fmt: skip
_AUTO_NESTED = {**_AUTO, "schedule": "soft"}
_METHODS = {
    "basis": "describe", "schedule": "build", "network": "build", "sampler": "build",
    "schema": "build", "training": "check_params",
}  # fmt: skip


def resolve(parameter, value, nested=False):
    """Turn the value of a parameter into a new specification.

    Parameters
    ----------
    parameter : {"basis", "schedule", "network", "sampler", "schema", "training"}
    value : str or specification
    nested : bool
        Whether nested parameters will be set on the specification.

    Returns
    -------
    object
        A new specification, or a clone of the given one.

    Raises
    ------
    ValueError
        For an unknown name.
    TypeError
        For an object without the required methods.
    """
    if isinstance(value, str):
        classes = SPECS[parameter]
        if value == "auto":
            value = (_AUTO_NESTED if nested else _AUTO)[parameter]
        if value not in classes:
            near = difflib.get_close_matches(value, classes, n=1, cutoff=0.3)
            hint = f"Did you mean {near[0]!r}? " if near else ""
            raise ValueError(
                f"{parameter}={value!r} is not a known name. {hint}"
                f"Known names: {', '.join(map(repr, dict.fromkeys(['auto', *classes])))}."
            )
        return classes[value]()
    if isinstance(value, nn.Module):
        raise TypeError(
            f"network={value!r} is a module, whose sizes cannot follow the data. Pass a callable "
            "of (n_components, n_channels) that builds it."
        )
    fits = hasattr(value, _METHODS[parameter]) or (parameter == "network" and callable(value))
    # A class of modules is a callable of the two sizes. A class of specifications must be called.
    wrong_class = isinstance(value, type) and not issubclass(value, nn.Module)
    if wrong_class or not fits or _is_of_another_kind(parameter, value):
        function = " or a callable," if parameter == "network" else ""
        raise TypeError(
            f"{parameter}={value!r} must be a name,{function} or an instance with the method "
            f"{_METHODS[parameter]!r} of its kind, such as "
            f"{next(iter(SPECS[parameter].values())).__name__}()."
        )
    return clone(value, safe=False)


def snapshot(value):
    """Copy the current value of a parameter into lists and dicts, for a later comparison.

    Objects without parameters, such as functions and modules, are not copied.
    """
    if hasattr(value, "get_params") and not isinstance(value, type):
        return type(value), snapshot(value.get_params(deep=False))
    if isinstance(value, dict):
        return {name: snapshot(v) for name, v in value.items()}
    if isinstance(value, list | tuple):
        return [snapshot(v) for v in value]
    if hasattr(value, "__array__"):
        return snapshot(np.asarray(value).tolist())
    return value


def same(a, b):
    """Return whether two snapshots are equal."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    # NaN, which stands for columns without bins, is equal to NaN.
    return a is b or bool(a == b) or bool(a != a and b != b)


def _is_of_another_kind(parameter, value):
    """Return whether the value is a specification for another parameter."""
    # The method `build` does not tell them apart: schedules, networks and samplers have it.
    return any(
        isinstance(value, cls)
        for other, classes in SPECS.items()
        for cls in classes.values()
        if other != parameter
    )


def declare_target(generator, column, feature_type):
    """Let a generator that is not fitted model one more column, the last, and favour it.

    Parameters
    ----------
    generator : GUDGenerator
        Changed in place.
    column : str or int
        Label of the column; its index in an array.
    feature_type : {"category", "continuous"}
    """
    schema = resolve("schema", generator.schema)
    types = {**(schema.feature_types or {}), column: feature_type}
    widths = schema.bin_width
    if feature_type == "continuous":
        widths = {**(widths or {}), column: None}
    schema.set_params(feature_types=types, bin_width=widths)
    changed = {"schema": schema, "targets": [column], "class_conditional": False}
    for name, n_dimensions in (("bin_width", 1), ("bin_range", 2)):
        value = getattr(generator, name)
        if value is not None and not isinstance(value, str) and np.ndim(value) == n_dimensions:
            value = np.asarray(value, dtype=np.float64)
            # A single pair of bounds is one for all columns.
            changed[name] = np.concatenate([value, np.full((1, *value.shape[1:]), np.nan)])
    generator.set_params(**changed)


class NamedSpecs(Versioned):
    """Mixin: ``set_params(schedule__softness=0.3)`` works also if schedule is a name."""

    def set_params(self, **params):
        """Set parameters of the estimator and of its specifications.

        A name with nested parameters is first replaced by its specification: ``schedule="auto"``
        with ``schedule__softness=0.3`` is ``SoftConditioningSchedule(softness=0.3)``.

        Parameters
        ----------
        **params : dict

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            If a specification has no parameter of that name.
        """
        direct = {k: v for k, v in params.items() if "__" not in k}
        nested = {k: v for k, v in params.items() if "__" in k}
        super().set_params(**direct)
        for key in nested:
            parameter, _, rest = key.partition("__")
            if parameter not in SPECS:
                continue
            value = getattr(self, parameter)
            spec = resolve(parameter, value, nested=True) if isinstance(value, str) else value
            name = rest.partition("__")[0]
            if not hasattr(spec, "get_params"):
                raise ValueError(
                    f"{key}: {parameter}={spec!r} has no parameters. Pass a specification, such "
                    f"as {next(iter(SPECS[parameter].values())).__name__}()."
                )
            if name not in spec.get_params(deep=True):
                raise ValueError(_unknown_parameter(parameter, value, spec, name))
            setattr(self, parameter, spec)
        return super().set_params(**nested)


def _unknown_parameter(parameter, value, spec, name):
    """Message that names the parameters of a specification, and another that has this one."""
    known = sorted(spec.get_params(deep=False))
    others = [c.__name__ for c in SPECS[parameter].values() if name in c().get_params()]
    near = difflib.get_close_matches(name, known, n=1)
    cure = f"Did you mean {near[0]!r}?" if near else ""
    if others:
        cure = f"Pass {parameter}={others[0]}({name}=...), which has it."
    meaning = f"{parameter}={value!r} means" if isinstance(value, str) else f"{parameter} is"
    return (
        f"{parameter}__{name}: {meaning} {type(spec).__name__}, whose parameters are "
        f"{known or 'none'}. {cure}".rstrip()
    )


class NestedGenerator(Versioned):
    """Mixin of estimators whose parameter ``generator`` is a generator, or None for a default one.

    A subclass defines ``_default_generator()``, and may define ``_NEEDS``: the name of an attribute
    that the generator must have, and the message for one without it.
    """

    _NEEDS = None

    def set_params(self, **params):
        """Set parameters of the estimator and of its generator.

        If ``generator`` is None and one of its parameters is set, it first becomes the default
        generator.

        Parameters
        ----------
        **params : dict

        Returns
        -------
        self : object
        """
        nested = any(name.startswith("generator__") for name in params)
        if nested and params.get("generator", self.generator) is None:
            params = {**params, "generator": self._default_generator()}
        with unchanged_on_error(self):
            return super().set_params(**params)

    def _new_generator(self):
        """A clone of the generator, to be fitted, with the random state of this estimator."""
        generator = self._default_generator() if self.generator is None else clone(self.generator)
        if self._NEEDS is not None and not hasattr(generator, self._NEEDS[0]):
            raise TypeError(
                f"generator={generator!r} {self._NEEDS[1]}. Pass a GUDGenerator, or None."
            )
        if self.random_state is not None:
            # In a pipeline every step with a random state receives it.
            names = generator.get_params()
            names = [name for name in names if name.split("__")[-1] == "random_state"]
            generator.set_params(**dict.fromkeys(names, self.random_state))
        return generator
