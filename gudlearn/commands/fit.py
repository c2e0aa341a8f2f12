"""``gudlearn fit``: a model of a table, in a file."""

import argparse
import re

import pandas as pd

from gudlearn.commands.console import note, progress
from gudlearn.commands.errors import CommandError
from gudlearn.commands.files import check_columns, check_output, read_table, unknown_column
from gudlearn.commands.models import JOBS
from gudlearn.data.schema import Schema
from gudlearn.execution import Training
from gudlearn.generator import GUDGenerator
from gudlearn.io import save

# A target of at most this many whole numbers is a class.
_MOST_CLASSES = 20
_UNITS = {"": 1, "s": 1, "m": 60, "min": 60, "h": 3600}


def seconds(text):
    """Parse a time such as "90", "90s", "5m" or "1h" for argparse."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|m|min|h|)", text.strip())
    if match is None or not float(match[1]) > 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no time: pass 90, 90s, 5m or 1h")
    return float(match[1]) * _UNITS[match[2]]


def add_parser(commands, parents):
    """Add the command to a parser."""
    parser = commands.add_parser(
        "fit", parents=parents, help="fit a model to a table",
        description="Fit a model to a table, and write it to a file. Types of the columns are "
        "found and shown before training starts.",
    )  # fmt: skip
    parser.add_argument("data", help="CSV, Parquet or Arrow; - is CSV from standard input")
    parser.add_argument("-o", "--output", required=True, metavar="MODEL", help="file of the model")
    parser.add_argument(
        "--job", choices=["generate", "predict", "impute", "outliers"],
        help="what the model is for (default: generate, or predict with --target)",
    )  # fmt: skip
    parser.add_argument("--target", metavar="COLUMN", help="the column to predict")
    parser.add_argument(
        "--task", choices=["classify", "regress"],
        help="how to predict (default: numbers of more than 20 values are regressed)",
    )  # fmt: skip
    parser.add_argument("--time", type=seconds, metavar="T", help="at most, such as 90s, 5m or 1h")
    parser.add_argument(
        "--drop", nargs="+", action="extend", default=[], metavar="COLUMN",
        help="leave columns out",
    )  # fmt: skip
    parser.add_argument(
        "--category", nargs="+", action="extend", default=[], metavar="COLUMN",
        help="columns of categories, whatever their values look like",
    )  # fmt: skip
    parser.add_argument(
        "--missing", choices=["ignore", "model"], default="ignore",
        help="whether samples have missing values as the data do (model), or none",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=None, help="for a fit that can be repeated")
    parser.add_argument(
        "--checkpoint", metavar="FILE", help="written every 30 s; the same command goes on from it"
    )
    parser.set_defaults(run=run)


def run(options):
    """Fit a model, and write it."""
    job = options.job or ("predict" if options.target else "generate")
    if (job == "predict") != bool(options.target):
        raise CommandError("--job predict and --target COLUMN belong together.")
    if options.output == "-":
        raise CommandError("A model is no text: pass the name of its file with -o.")
    check_output(options.output, options.force)
    frame = _read(options)
    X, y = frame, None
    if job == "predict":
        X, y = _target(frame, options)
        job = _task(y, options)
    model = _model(job, options)
    _show_types(frame, options, None if y is None else (y.name, job))
    with progress():
        model.fit(X, y)
    save(model, options.output)
    _tell(model, len(X), options)


def _read(options):
    frame = read_table(options.data, options, as_text=options.category)
    for name in options.drop:
        if name not in frame.columns:
            raise CommandError(unknown_column(options.data, name, frame.columns))
    frame = frame.drop(columns=options.drop)
    empty = [name for name in frame.columns if frame[name].isna().all()]
    if empty:
        names = ", ".join(map(str, empty))
        note(options, f"Left out, because all values are missing: {names}.")
        frame = frame.drop(columns=empty)
    if not len(frame.columns):
        raise CommandError(f"{options.data} has no column with values.")
    check_columns(frame, [*options.category, options.target])
    return frame


def _target(frame, options):
    if options.target not in frame.columns:
        raise CommandError(unknown_column(options.data, options.target, frame.columns))
    known = frame[options.target].notna()
    if not known.all():
        note(options, f"{int((~known).sum())} rows without {options.target} are left out.")
        frame = frame[known].reset_index(drop=True)
    if len(frame.columns) == 1:
        raise CommandError(f"{options.data} has no other column than {options.target!r}.")
    y = frame[options.target]
    y = y.infer_objects()
    if pd.api.types.is_extension_array_dtype(y.dtype) and pd.api.types.is_numeric_dtype(y.dtype):
        # Nothing is missing: Int64 is int64.
        y = y.astype(y.dtype.numpy_dtype)
    return frame.drop(columns=options.target), y


def _task(y, options):
    if y.dtype.kind in "mM" and options.target not in options.category:
        raise CommandError(
            f"{options.target!r} holds dates, which are not predicted. Make a number of them, or "
            f"pass --category {options.target} to classify them."
        )
    is_number = pd.api.types.is_numeric_dtype(y.dtype) and y.dtype.kind != "b"
    if options.task == "regress" and not is_number:
        raise CommandError(
            f"--task regress needs numbers, but {options.target!r} holds {y.iloc[0]!r}."
        )
    if options.task is not None or not is_number:
        return options.task or "classify"
    few = y.nunique() <= _MOST_CLASSES and bool((y == y.round()).all())
    return "classify" if few else "regress"


def _model(job, options):
    kind, seed = JOBS[job], options.seed
    if job == "outliers":
        unused = [name for name in ("time", "checkpoint") if getattr(options, name) is not None]
        if unused:
            raise CommandError(
                f"--{unused[0]} has no effect with --job outliers: nothing is trained."
            )
        return kind(random_state=seed)
    parameters = {"verbose": 0 if options.quiet else 1, "max_time": options.time}
    if options.checkpoint:
        parameters["training"] = Training(checkpoint=options.checkpoint)
    schema = {} if job == "impute" else {"missing": options.missing}
    if options.category:
        schema["feature_types"] = dict.fromkeys(
            (name for name in options.category if name != options.target), "category"
        )
    if job == "generate":
        # Samples given known values are exact.
        return GUDGenerator(
            schema=Schema(**schema), conditional_rate=0.3, random_state=seed, **parameters
        )
    model = kind(random_state=seed)
    nested = {f"generator__{name}": value for name, value in parameters.items()}
    nested |= {f"generator__schema__{name}": value for name, value in schema.items()}
    return model.set_params(**nested)


def _show_types(frame, options, target):
    """Types of the columns, as they are found before training."""
    types = {name: "category" for name in options.category}
    schema = Schema(missing=options.missing, feature_types=types or None)
    note(options, str(schema.build(frame, [str(name) for name in frame.columns])))
    if target is not None:
        note(options, f"To {target[1]}: {target[0]}")


def _tell(model, n_rows, options):
    generator = getattr(model, "generator_", None) or model
    text = f"{type(model).__name__} of {n_rows} rows"
    curve = getattr(generator, "loss_curve_", [])
    if len(curve):
        text += f", {len(curve)} epochs"
    best = getattr(generator, "best_validation_score_", None)
    if best is not None:
        text += f", {best:.4g} nats per dimension on held-out rows"
    note(options, f"{text}: {options.output}")
