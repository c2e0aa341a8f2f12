"""Preparation of training: validation, and the fits of encoding and preconditioner."""

from dataclasses import replace

import numpy as np

from gudlearn._random import derive_seed
from gudlearn._specs import resolve, same, snapshot
from gudlearn.bases import IdentityBasis
from gudlearn.data.bins import make_bins
from gudlearn.data.columns import column_names
from gudlearn.data.images import image_basis
from gudlearn.data.labels import fit_labels, label_indices
from gudlearn.data.missing import check_no_empty_column
from gudlearn.data.reading import read_first, read_more
from gudlearn.data.rows import Rows
from gudlearn.data.streams import Stream, opened
from gudlearn.encoding.encoding import Encoding
from gudlearn.model.build import new_network
from gudlearn.model.device import resolve_device, to_arrays
from gudlearn.model.schedule_family import ScheduleFamily
from gudlearn.model.state import UNIFORM_TIMES, Classes, ModelState
from gudlearn.networks import ImageNetwork
from gudlearn.preconditioning.fit import fit_preconditioner, make_reference_set
from gudlearn.training.checkpoints import starting_seed
from gudlearn.training.options import (
    asks_for_all,
    conditional_rate,
    n_reference,
    resolve_network,
    target_mask,
)
from gudlearn.training.split import hold_out, n_held_out
from gudlearn.training.streamed_rows import StreamedRows, check_streamable, with_all_gaps

# Parameters on which weights and marginals depend: they may not change in continued fits.
_LASTING = (
    "basis", "network", "preconditioning", "bin_width", "bin_range", "shape", "class_conditional",
    "retrieval", "schema",
)  # fmt: skip


def check_specs(estimator):
    """Validate specifications and device as far as no data are needed."""
    schedule = resolve("schedule", estimator.schedule)
    resolve("sampler", estimator.sampler).build()
    resolve("network", estimator.network)
    resolve("basis", estimator.basis)
    resolve("schema", estimator.schema).check_params()
    resolve("training", estimator.training).check_params()
    resolve_device(estimator.device)
    if hasattr(schedule, "check_params"):
        schedule.check_params()


def first_state(estimator, X, y, whole):
    """Read the data of a first fit, and fit everything but the network to them.

    Parameters
    ----------
    estimator : GUDGenerator
        Its public parameters are read, and ``n_features_in_`` and ``feature_names_in_`` are set.
    X, y : as in ``fit``
    whole : bool
        False for ``partial_fit``, which holds no rows out.

    Returns
    -------
    state : ModelState
        Untrained.
    rows : Rows
    seed : int
    """
    check_specs(estimator)
    basis = resolve("basis", estimator.basis)
    seed = starting_seed(estimator) if whole else derive_seed(estimator.random_state)
    rows, container = _read(estimator, X, basis, whole, seed)
    shape = getattr(container, "shape", None)
    if whole:
        check_held_out(estimator, len(rows), container)
    if shape is not None:
        check_no_empty_column(rows.missing, column_names(estimator))
    network = resolve_network(estimator.network, len(rows), shape, estimator.targets is not None)
    _check_for_images(estimator, network, shape)
    classes = None
    if estimator.class_conditional:
        labels, prior, indices = fit_labels(y, len(rows))
        classes, rows = Classes(labels, prior), rows.with_labels(indices)
    encoding = _encoding(estimator, container, rows, basis)
    target_mask(estimator.targets, estimator.conditional_rate, encoding, container)
    schedule = resolve("schedule", estimator.schedule)
    preconditioner = fit_preconditioner(encoding, rows.in_memory, estimator.preconditioning)
    if encoding.ends.active.any():
        encoding.path(schedule)
    reference = _reference_set(estimator, encoding, rows, container, seed)
    preconditioner = preconditioner.with_reference(reference)
    n_classes = 0 if classes is None else len(classes.labels)
    module = new_network(encoding, preconditioner, network, seed, n_classes)
    state = ModelState(
        container=container,
        encoding=encoding,
        preconditioner=preconditioner,
        network=network,
        schedule=schedule,
        weights={} if module is None else to_arrays(module.state_dict()),
        n_parameters=0 if module is None else sum(p.numel() for p in module.parameters()),
        time_weights=UNIFORM_TIMES,
        conditional_rate=conditional_rate(
            estimator.conditional_rate, encoding, with_all_gaps(rows), estimator.targets
        ),
        parameters=_lasting_parameters(estimator),
        classes=classes,
        at_once=asks_for_all(estimator.targets),
        schedule_family=_schedule_family(estimator, schedule),
    )
    return state, rows, seed


def _read(estimator, X, basis, whole, seed):
    """The rows of a first fit, in memory or of a stream, and their container."""
    schema, X = resolve("schema", estimator.schema), opened(X)
    options = {
        "bin_width": estimator.bin_width, "bin_range": estimator.bin_range,
        "on_line": not isinstance(basis, IdentityBasis),
    }  # fmt: skip
    if not isinstance(X, Stream):
        values, container = read_first(estimator, X, estimator.shape, schema, **options)
        return Rows.of(values), container
    check_streamable(estimator, whole)
    rows = StreamedRows.first(estimator, X, schema, basis, seed, **options)
    return rows, rows.container


def continued_state(estimator, X, y, whole):
    """Read more data for a fit that continues an earlier one.

    Parameters
    ----------
    estimator : GUDGenerator
        Its public parameters are read, and ``state_`` of the earlier fit.
    X, y : as in ``fit``
    whole : bool
        False for ``partial_fit``, whose X may lack values of a column.

    Returns
    -------
    state : ModelState
    rows : Rows
    seed : None
        No seed was drawn.
    """
    check_specs(estimator)
    state = estimator.state_
    X = opened(X)
    if isinstance(X, Stream):
        check_streamable(estimator, whole)
        raise ValueError(
            "warm_start=True continues with rows in memory, but X is larger than memory. Pass "
            "blocks of it to partial_fit, or fit with warm_start=False."
        )
    rows = Rows.of(read_more(estimator, X, state.container))
    if whole:
        check_held_out(estimator, len(rows), state.container)
    _check_for_images(estimator, state.network, getattr(state.container, "shape", None))
    _refuse_changes(estimator, state)
    if whole:
        missing = rows.missing
        if missing is not None and not state.has_images:
            missing = state.container.column_mask_of(missing)
        check_no_empty_column(missing, column_names(estimator))
    encoding = state.encoding
    encoding.basis.check_missing(rows.values)
    encoding.bins.check(rows.values)
    if state.constraints is not None:
        state.constraints.check(rows.values, state.container)
    target_mask(estimator.targets, estimator.conditional_rate, encoding, state.container)
    # A network that has seen partially observed rows goes on seeing them.
    before = state.conditional_rate if estimator.conditional_rate == "auto" else 0.0
    asked = estimator.conditional_rate
    rate = max(before, conditional_rate(asked, encoding, rows, estimator.targets))
    schedule = resolve("schedule", estimator.schedule)
    if same(snapshot(schedule), snapshot(state.schedule)):
        schedule = state.schedule
    if encoding.ends.active.any():
        encoding.path(schedule)
    if state.classes is not None:
        rows = rows.with_labels(label_indices(y, len(rows), state.classes.labels))
    state = replace(
        state, schedule=schedule, conditional_rate=rate, at_once=asks_for_all(estimator.targets),
        schedule_family=_schedule_family(estimator, schedule),
    )  # fmt: skip
    return state, rows, None


def _schedule_family(estimator, schedule):
    """The `ScheduleFamily` that a network is trained for; None if it is one schedule."""
    definition = resolve("training", estimator.training).schedule_family
    return None if definition is None else ScheduleFamily.trained(definition, schedule)


def check_held_out(estimator, n_rows, container):
    """Raise if training is to stop early but no row is held out for validation."""
    images = container.is_image
    fraction = estimator.validation_fraction
    if estimator.early_stopping and not n_held_out(n_rows, fraction, images):
        raise ValueError(
            f"early_stopping=True needs rows to judge by, but validation_fraction={fraction} of "
            f"{n_rows} rows holds none out. Raise it, or pass early_stopping=False."
        )


def _check_for_images(estimator, network, shape):
    """Raise if a parameter for images is used with a table, or the other way round."""
    if estimator.random_flips and not isinstance(network, ImageNetwork):
        obstacle = "X is a table" if shape is None else f"network={network!r} sees components"
        raise ValueError(
            f"random_flips=True mirrors images, but {obstacle}. Pass random_flips=False, or images "
            "and network='unet' or 'transformer'."
        )
    if estimator.retrieval not in (0, "auto") and shape is not None:
        raise ValueError(
            f"retrieval={estimator.retrieval} keeps rows of a table, but X holds images. Pass 0 "
            "or 'auto'."
        )


def _encoding(estimator, container, rows, basis):
    """The encoding of a basis, fitted to rows."""
    point_masses = estimator.preconditioning != "gaussian"
    names = getattr(estimator, "feature_names_in_", None)
    if not container.is_image:
        if names is not None:
            names = names[container.column_of]
        # A mixture of Gaussians is one in the units of the data only.
        maps = estimator.preconditioning not in ("gaussian", "mixture")
        encoding = Encoding(container.bins, basis, point_masses, names, None, container, maps)
        encoding.fit(rows.in_memory, rows.facts)
        encoding.basis.check_missing(with_all_gaps(rows).values)
        return encoding
    shape = container.shape
    bins = _image_bins(estimator, container, rows.values)
    basis = image_basis(estimator.basis, basis, shape)
    return Encoding(bins, basis, point_masses, names, shape).fit(rows)


def _image_bins(estimator, container, X):
    width, bounds = estimator.bin_width, estimator.bin_range
    if np.ndim(width) > 0:
        raise ValueError(
            f"bin_width has {np.size(width)} entries, but the pixels of images share one width. "
            "Pass one number, None or 'auto'."
        )
    levels = isinstance(width, str) or width == 1
    if bounds is None and container.dtype == np.uint8 and levels:
        bounds = (0, 255)
    dtypes = [container.dtype] * X.shape[1]
    return make_bins(width, bounds, dtypes, X, column_names(estimator), alike=True)


def _reference_set(estimator, encoding, rows, container, seed):
    """A reference set of training rows that the network looks up, or None."""
    images = container.is_image
    most = n_reference(estimator.retrieval, images)
    # Distances are those of numbers: categories alone have none.
    if not most or not encoding.ends.numeric.any():
        return None
    if rows.in_memory is not rows:
        rows, held_out = rows.training_sample(), []
    else:
        n = n_held_out(len(rows), estimator.validation_fraction, images)
        held_out = hold_out(rows, n, seed)
    index = np.random.default_rng(seed).permutation(len(rows))
    index = index[np.isin(index, held_out, invert=True)][:most]
    # A single row would find only itself.
    return make_reference_set(encoding, rows.take(np.sort(index))) if len(index) > 1 else None


def _lasting_parameters(estimator):
    """Text and snapshot of each parameter on which weights depend."""
    return {
        name: (repr(getattr(estimator, name)), snapshot(getattr(estimator, name)))
        for name in _LASTING
    }


def _refuse_changes(estimator, state):
    for name, (now, value) in _lasting_parameters(estimator).items():
        before, earlier = state.parameters[name]
        if not same(value, earlier):
            before = "another object of that kind" if before == now else before
            raise ValueError(
                f"{name}={now} was {before} when this estimator was fitted, and the weights "
                "that are trained further depend on it. Restore it, or fit with warm_start=False."
            )
