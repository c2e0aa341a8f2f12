"""The types that a file may hold, and their attributes: the only place where they are named.

A type that is not listed here can be neither written nor read. Names of attributes are followed by
what they hold: a name of `KINDS` or of a type, with "?" if it may be None.
"""

import dataclasses
import inspect
import types
import typing
from numbers import Integral, Real

import numpy as np
from sklearn.impute import MissingIndicator
from sklearn.pipeline import Pipeline

from gudlearn.bases import BlockBasis, FourierBasis, IdentityBasis, PCABasis, WaveletBasis
from gudlearn.bases.base import Components
from gudlearn.classifier import ByColumn, ByDensity, GUDClassifier
from gudlearn.data.bins import Bins
from gudlearn.data.codes import ColumnCodes
from gudlearn.data.column_types import Column
from gudlearn.data.combinations import Seen
from gudlearn.data.constraints import Constraints
from gudlearn.data.fields import Field
from gudlearn.data.frames import TableKind
from gudlearn.data.images import ImageContainer
from gudlearn.data.linear import Linear
from gudlearn.data.schema import Schema
from gudlearn.data.table_schema import TableSchema
from gudlearn.data.ties import SpreadTies
from gudlearn.encoding.bin_tables import BinTable
from gudlearn.encoding.categories import Categories
from gudlearn.encoding.encoding import Encoding
from gudlearn.encoding.end_points import Ends
from gudlearn.encoding.kinds import ColumnKinds
from gudlearn.encoding.mixed_basis import MixedBasis
from gudlearn.encoding.splines import IncreasingSpline
from gudlearn.encoding.tails import Tail
from gudlearn.encoding.warp import Curve, MarginalWarp
from gudlearn.execution import Training
from gudlearn.generator import GUDGenerator
from gudlearn.imputer import GUDImputer
from gudlearn.model.schedule_family import ScheduleFamily
from gudlearn.model.state import Classes, History, ModelState, TimeWeights
from gudlearn.model.target_table import TargetTable
from gudlearn.networks import MLP, Transformer, UNet
from gudlearn.outliers import GUDOutlierDetector
from gudlearn.pipeline import GenerativePipeline
from gudlearn.preconditioning.latent_classes import FittedClasses
from gudlearn.preconditioning.noisy_densities import (
    NoisyDensities,
    NormalScores,
    StandardColumns,
    WhiteComponents,
)
from gudlearn.preconditioning.preconditioner import (
    BinGrid,
    FittedDistribution,
    Preconditioner,
    ReferenceSet,
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
from gudlearn.transforms.gaussianizer import MarginalGaussianizer

KINDS = {
    "any": object, "array": np.ndarray, "bool": (bool, np.bool_), "dict": dict, "float": Real,
    "int": Integral, "list": list, "str": str, "tuple": tuple,
}  # fmt: skip

# Of every fitted estimator, and of every fitted basis.
_INPUT = "n_features_in_:int feature_names_in_:array? "
_BASIS = _INPUT + (
    "mean_:array scale_:array dead_:array component_variances_:array n_components_:int "
    "log_abs_det_jacobian_:float "
)
# Of images; shapes are tuples of int.
_GRID = _BASIS + "shape_:tuple n_channels_:int channel_axes_:array "

# Estimators and specifications: their parameters, and these attributes if they are fitted.
ESTIMATORS = {
    GUDGenerator: _INPUT + "state_:ModelState",
    GUDClassifier: _INPUT
    + "_model:any generator_:any method_:str classes_:array class_prior_:array temperature_:float",
    GUDRegressor: _INPUT
    + "_table:TargetTable generator_:GUDGenerator factor_:float is_whole_:bool",
    GUDImputer: _INPUT + "_kept:array _mixed:bool _schema:TableSchema? _seed:int generator_:any "
    "indicator_:MissingIndicator?",
    GUDOutlierDetector: _INPUT
    + "_codes:ColumnCodes _densities:NoisyDensities _first:array _keys:array _ties:SpreadTies? "
    "generator_:any method_:str offset_:float",
    GenerativePipeline: _INPUT
    + "_mixed:bool _no_rows:any _trained_on:any _typical:array bin_width_:array?",
    MarginalGaussianizer: _INPUT
    + "constant_:array weights_:array means_:array variances_:array _grid:array _images:array",
    IdentityBasis: _BASIS,
    PCABasis: _BASIS + "channel_components_:array shrinkage_:any n_channels_:int",
    FourierBasis: _GRID,
    WaveletBasis: _GRID + "n_levels_:int",
    BlockBasis: _BASIS + "blocks_:list",
    Pipeline: "",
    MissingIndicator: _INPUT + "features_:array _n_features:int _precomputed:bool",
    **dict.fromkeys([Schema, Training, MLP, UNet, Transformer], ""),
    **dict.fromkeys([DDIM, Ancestral, Heun, DPMSolver, EulerMaruyama], ""),
    **dict.fromkeys(
        [LinearSchedule, CosineSchedule, VPSchedule, SoftConditioningSchedule, SequentialSchedule],
        "",
    ),
}

# Dataclasses, which are their fields.
RECORDS = [
    Bins, BinGrid, BinTable, Categories, Classes, Column, Components, Constraints, Ends, Field,
    FittedClasses, FittedDistribution, History, ImageContainer, Linear, ModelState, Preconditioner,
    ReferenceSet, ScheduleFamily, Seen, TableKind, TableSchema, Tail, TimeWeights,
]  # fmt: skip
# What their annotations do not say.
_FIELDS = {
    ModelState: "encoding:Encoding preconditioner:Preconditioner time_weights:TimeWeights",
    TableSchema: "constraints:Constraints?",
}

# Other objects, which are these attributes.
OBJECTS = {
    ByColumn: "_table:TargetTable _values:array classes:array frequencies:array temperature:float",
    ByDensity: "_generator:any classes:array frequencies:array",
    TargetTable: "generator:GUDGenerator label:any",
    ColumnCodes: "is_category:array levels:list names:list",
    SpreadTies: "_sorted:dict columns:array n_features:int",
    NoisyDensities: "bases:any by_range:StandardColumns columns:StandardColumns "
    "components:WhiteComponents? n_reference:int normal:list normal_of_pairs:list numbers:array "
    "pairs:list rows:array",
    NormalScores: "scale:any sorted:array",
    StandardColumns: "is_category:array mean:array observed:any scale:array varies:array",
    WhiteComponents: "covariance:array whitening:array",
    Encoding: "_n_rows:int basis:any binned:array bins:Bins categories:Categories? "
    "column_block:array column_mean:array column_std:array columns:array component_block:array "
    "components:Components constant:array constant_values:array dequantised:array ends:Ends "
    "fill_values:array gates:array kinds:ColumnKinds log_scale:any may_have_maps:bool "
    "may_have_point_masses:bool names:any noise:array point_masses:any rotated:array seen:tuple "
    "seen_components:tuple shape:tuple? tables:dict tau:any warp:MarginalWarp?",
    ColumnKinds: "clip:bool gate:array gaussianize:bool log_unit:array masked:array n_levels:array "
    "position:array",
    MixedBasis: "_variances:array columns:array component_variances_:array dead_:array mean_:array "
    "names:array numbers:array numeric:any position:array scale_:array",
    MarginalWarp: "columns:array low:array high:array _curves:any",
    Curve: "center:float scale:float spline:IncreasingSpline tails:tuple",
    IncreasingSpline: "z_first:float z_last:float knots:array _step:float _width:array "
    "_log_chord:array _left:array _right:array",
}

#: The types of a file, by the name that stands for them.
TYPES = {cls.__name__: cls for cls in (*ESTIMATORS, *RECORDS, *OBJECTS)}

#: Attributes that scikit-learn gives to estimators while they run; no part of a model.
TRANSIENT = (
    "_callback_fit_ctx", "_parent_callback_ctx", "_skl_callbacks", "_skl_callbacks_to_teardown",
)  # fmt: skip


def is_known(value):
    """Whether the type of a value is one of ours; a subclass is not."""
    return TYPES.get(type(value).__name__) is type(value)


def attributes(cls):
    """Attributes of a type, a dict of name to the types that each may hold."""
    if cls in OBJECTS:
        return _parsed(OBJECTS[cls])
    if cls in ESTIMATORS:
        anything = dict.fromkeys(parameters(cls), (object,))
        return {**anything, **_parsed(ESTIMATORS[cls]), "_sklearn_output_config": (dict,)}
    hints = typing.get_type_hints(cls)
    fields = {name: _of_annotation(hints[name]) for name in stored(cls)}
    return {**fields, **_parsed(_FIELDS.get(cls, ""))}


def parameters(cls):
    """Parameters of an estimator or a specification, a dict of name to `inspect.Parameter`."""
    if cls.__init__ is object.__init__:
        return {}
    found = dict(inspect.signature(cls.__init__).parameters)
    del found["self"]
    return found


def stored(cls):
    """Names of the attributes that a record consists of."""
    return [f.name for f in dataclasses.fields(cls) if f.init]


def defaults(cls):
    """Values of the parameters of an estimator that a file of an earlier version does not know."""
    if cls not in ESTIMATORS:
        return {}
    found = {name: parameter.default for name, parameter in parameters(cls).items()}
    return {name: value for name, value in found.items() if value is not inspect.Parameter.empty}


def required(cls):
    """Names of the attributes without which an object of a type cannot be."""
    if cls in ESTIMATORS:
        return set(parameters(cls)) - set(defaults(cls))
    if cls in OBJECTS:
        return set(_parsed(OBJECTS[cls]))
    missing = dataclasses.MISSING
    return {
        f.name for f in dataclasses.fields(cls)
        if f.init and f.default is missing and f.default_factory is missing
    }  # fmt: skip


def _parsed(text):
    pairs = [part.split(":") for part in text.split()]
    return {name: _of_kind(kind) for name, kind in pairs}


def _of_kind(kind):
    allowed = KINDS[kind.rstrip("?")] if kind.rstrip("?") in KINDS else TYPES[kind.rstrip("?")]
    allowed = allowed if isinstance(allowed, tuple) else (allowed,)
    return (*allowed, type(None)) if kind.endswith("?") else allowed


def _of_annotation(hint):
    if isinstance(hint, types.UnionType):
        return tuple(part for one in hint.__args__ for part in _of_annotation(one))
    cls = typing.get_origin(hint) or hint
    numbers = {int: (Integral,), float: (Real,), bool: (bool, np.bool_)}
    return numbers.get(cls, (cls,))
