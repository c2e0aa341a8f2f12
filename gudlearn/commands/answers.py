"""Commands that ask a fitted model: sample, score, impute, outliers and predict."""

import csv
import io
from functools import partial

import numpy as np
import pandas as pd

from gudlearn.classifier import GUDClassifier
from gudlearn.commands.console import note, progress, say
from gudlearn.commands.errors import CommandError
from gudlearn.commands.files import (
    check_output,
    format_of,
    read_both,
    read_table,
    unknown_column,
    write_table,
)
from gudlearn.commands.models import generator_of, read_model, require, target_of
from gudlearn.generator import GUDGenerator
from gudlearn.imputer import GUDImputer
from gudlearn.outliers import GUDOutlierDetector
from gudlearn.pipeline import GenerativePipeline
from gudlearn.regressor import GUDRegressor

_QUANTILES = (0.05, 0.95)


def add_parsers(commands, parents):
    """Add the commands to a parser."""
    sample = _parser(commands, parents, "sample", _sample, "draw rows from a model", data=False)
    sample.add_argument(
        "-n", "--rows", type=int, metavar="N",
        help="number of rows, or of draws for each row of --given (default: 1)",
    )  # fmt: skip
    sample.add_argument(
        "--given", metavar="DATA", help="rows of which some values, or columns, are known"
    )
    sample.add_argument(
        "--where", nargs="+", action="extend", default=[], metavar="COLUMN=VALUES",
        help="conditions: sex=F, job=cook,driver or age=30..40; one end of a range may be left out",
    )  # fmt: skip
    sample.add_argument("--seed", type=int, help="for rows that can be drawn again")

    score = _parser(
        commands, parents, "score", _score, "log-likelihoods of rows", needs_output=False
    )
    score.add_argument("--coarse", action="store_true", help="a tenth of the time, more noise")

    impute = _parser(commands, parents, "impute", _impute, "fill missing values")
    impute.add_argument(
        "--draw", action="store_true",
        help="draw values by their distribution in place of means and most probable levels",
    )  # fmt: skip
    impute.add_argument("--seed", type=int, help="for draws that can be repeated")

    _parser(commands, parents, "outliers", _outliers, "find unusual rows")
    _parser(commands, parents, "predict", _predict, "predict the target")


def _parser(commands, parents, name, run, what, data=True, needs_output=True):
    parser = commands.add_parser(
        name, parents=parents, help=what, description=f"{what.capitalize()}.".replace("..", ".")
    )
    parser.add_argument("model", help="file that fit has written")
    if data:
        parser.add_argument("data", help="CSV, Parquet or Arrow; - is CSV from standard input")
    parser.add_argument(
        "-o", "--output", required=needs_output, metavar="DATA",
        help="file of the rows; - is CSV to standard output",
    )  # fmt: skip
    parser.set_defaults(run=run)
    return parser


def _open(options):
    """The model, after a check of the output."""
    if options.output is not None:
        check_output(options.output, options.force)
    return read_model(options.model)


def _rows(model, options, path):
    """Rows of a file, in which columns that the model knows as text are text."""
    return read_table(path, options, as_text=_texts_of(model), all_of_them=False)


def _texts_of(model):
    schema = getattr(getattr(model, "generator_", None) or model, "schema_", None)
    return [] if schema is None else [c.name for c in schema.columns if _holds_text(c)]


def _known(model, rows, options):
    """The columns that a model was fitted to, of those that rows have."""
    names = getattr(model, "feature_names_in_", rows.columns)
    others = [str(name) for name in rows.columns if name not in set(names)]
    if others:
        note(options, f"Not known to the model, and not looked at: {', '.join(others)}.")
    return rows.drop(columns=others)


def _holds_text(column):
    return column.levels is not None and len(column.levels) and isinstance(column.levels[0], str)


def _told(options, text):
    """Tell what was written, and where if it is a file."""
    note(options, text if options.output == "-" else f"{text}: {options.output}")


# Samples


def _sample(options):
    n = 1 if options.rows is None else options.rows
    if n < 1:
        raise CommandError(f"-n {n}: pass at least 1.")
    model = _open(options)
    generator = generator_of(model, "sample")
    asked = {"random_state": options.seed}
    if options.given is not None:
        asked["given"] = _rows(model, options, options.given)
    if options.where:
        asked["where"] = _conditions(options.where, generator)
    with progress():
        rows = _as_frame(generator.sample(n, **asked))
    several = isinstance(rows.index, pd.MultiIndex)
    if several:
        _check_free(rows, rows.index.names, "draws are numbered")
    write_table(rows, options.output, index=several)
    _told(options, f"{len(rows)} rows")


def _as_frame(rows):
    """Rows as a DataFrame, whatever was fitted."""
    if isinstance(rows, pd.DataFrame):
        return rows
    if hasattr(rows, "to_pandas"):
        return rows.to_pandas()
    return pd.DataFrame(np.asarray(rows), columns=[f"x{j}" for j in range(rows.shape[1])])


def _conditions(texts, generator):
    """Conditions such as age=30..40 as the dict that ``sample`` takes."""
    columns = {c.name: c for c in generator.schema_.columns}
    where = {}
    for text in texts:
        # Names of columns may contain "=".
        known = [name for name in columns if text.startswith(f"{name}=")]
        column = max(known, key=len) if known else text.partition("=")[0]
        values = text[len(column) + 1 :]
        if not column or not values:
            raise CommandError(
                f"--where {text!r}: pass COLUMN=VALUE, COLUMN=VALUE,VALUE or COLUMN=LOW..HIGH."
            )
        if not known:
            raise CommandError(unknown_column("The model", column, columns))
        if column in where:
            raise CommandError(f"--where names column {column!r} twice. Pass one condition.")
        where[column] = _values_of(values, columns[column])
    return where


def _values_of(text, column):
    """A range, or a list of values, of a column's type."""
    if _holds_text(column):
        return [text] if text in column.levels else text.split(",")
    if ".." in text:
        low, _, high = text.partition("..")
        return tuple(None if not end else _value(end, column) for end in (low, high))
    values = [_value(value, column) for value in text.split(",")]
    numbers = column.kind in ("integer", "float") and column.low is not None
    if numbers and not any(column.low <= value <= column.high for value in values):
        raise CommandError(
            f"--where {column.name}={text} holds no value of the column, which goes from "
            f"{column.low:g} to {column.high:g}."
        )
    return values


def _value(text, column):
    if _holds_text(column):
        return text
    try:
        if column.is_time:
            return pd.Timestamp(text) if column.feature_type == "datetime" else pd.Timedelta(text)
        if column.kind == "level" and text.lower() in ("true", "false"):
            return text.lower() == "true"
        return float(text)
    except ValueError as error:
        raise CommandError(f"--where: {text!r} is no value of column {column.name!r}.") from error


# Scores


def _score(options):
    model = _open(options)
    generator = generator_of(model, "score")
    rows = _known(generator, _rows(model, options, options.data), options)
    extra = {"n_draws": "coarse"} if options.coarse else {}
    with progress():
        if isinstance(generator, GenerativePipeline):
            scores, errors = generator.score_samples(rows), None
        else:
            scores, errors = generator.score_samples(rows, return_std=True, **extra)
    standard_error = scores.std(ddof=1) / np.sqrt(len(scores)) if len(scores) > 1 else np.nan
    tell = say if options.output is None else partial(note, options)
    tell(
        f"{len(scores)} rows, mean log-likelihood {scores.mean():.5g} nats (standard error "
        f"{standard_error:.2g}), {-scores.mean() / (np.log(2) * rows.shape[1]):.5g} bits per column"
    )
    if options.output is not None:
        table = pd.DataFrame({"log_likelihood": scores})
        if errors is not None:
            table["standard_error"] = errors
        write_table(table, options.output)


# Completed and judged rows


def _impute(options):
    model = _open(options)
    require(model, (GUDImputer, GUDGenerator), "impute")
    rows, raw = read_both(options.data, options, as_text=_texts_of(model))
    known = _known(model, rows, options)
    with progress():
        filled = _filled(model, known, options).set_axis(rows.index)
    out = _passed_on(rows, raw, known, options)
    for name in known.columns.intersection(filled.columns):
        gap = known[name].isna()
        if _stays_text(rows, raw, options):
            out[name] = out[name].mask(gap, _texts(filled[name]))
        else:
            out[name] = filled[name]
    write_table(out, options.output)
    _told(options, f"{int(known.isna().to_numpy().sum())} missing values of {len(rows)} rows")


def _stays_text(rows, raw, options):
    """Whether fields of CSV go into CSV, as the texts that they are."""
    return raw is not rows and format_of(options.output) == "csv"


def _passed_on(rows, raw, known, options):
    """The rows as they were in the file; what a model knows has its type in other formats."""
    if _stays_text(rows, raw, options):
        return raw.copy()
    return pd.concat(
        {c: known[c] if c in known else raw[c] for c in rows.columns}, axis=1
    )  # fmt: skip


def _texts(column):
    """Values as they are in CSV."""
    records = csv.reader(io.StringIO(column.to_csv(index=False, header=False)))
    return pd.Series([record[0] if record else "" for record in records], index=column.index)


def _check_free(rows, names, what):
    """Raise a `CommandError` if columns have names that are needed for something else."""
    taken = sorted(set(map(str, rows.columns)) & set(names))
    if taken:
        raise CommandError(
            f"The rows have a column {taken[0]!r}, but this is where {what}. Rename it."
        )


def _filled(model, rows, options):
    if isinstance(model, GUDGenerator):
        if options.draw:
            return _as_frame(model.sample(given=rows, random_state=options.seed))
        return _as_frame(model.conditional_mean(rows, random_state=options.seed))
    if options.draw:
        model.set_params(strategy="sample")
        if options.seed is not None:
            model.set_params(random_state=options.seed)
    filled = model.transform(rows)
    if isinstance(filled, pd.DataFrame):
        return filled
    names = model.get_feature_names_out()
    return pd.DataFrame(filled, columns=names)


def _outliers(options):
    model = _open(options)
    require(model, (GUDOutlierDetector,), "find outliers")
    rows, raw = read_both(options.data, options, as_text=_texts_of(model))
    _check_free(rows, ("score", "outlier"), "scores and verdicts are written")
    known = _known(model, rows, options)
    with progress():
        scores = model.score_samples(known)
    table = _passed_on(rows, raw, known, options)
    table = table.assign(score=scores, outlier=scores < model.offset_)
    write_table(table, options.output)
    _told(options, f"{int(table['outlier'].sum())} outliers of {len(table)} rows")


def _predict(options):
    model = _open(options)
    require(model, (GUDClassifier, GUDRegressor), "predict")
    target = target_of(model)
    rows = _known(model, _rows(model, options, options.data), options)
    with progress():
        of_kind = _classes if isinstance(model, GUDClassifier) else _numbers
        table = of_kind(model, rows, target)
    write_table(table, options.output)
    _told(options, f"{len(table)} predictions of {target}")


def _classes(model, rows, target):
    p = model.predict_proba(rows)
    table = pd.DataFrame({target: model.classes_[p.argmax(1)]})
    return table.join(pd.DataFrame(p, columns=[f"p({label})" for label in model.classes_]))


def _numbers(model, rows, target):
    more = {"median": model.predict(rows, "median")}
    quantiles = model.predict_quantile(rows, _QUANTILES).T
    more |= {f"quantile {q}": values for q, values in zip(_QUANTILES, quantiles, strict=True)}
    return pd.DataFrame({target: model.predict(rows)} | {
        name if name != target else f"{name}_": values for name, values in more.items()
    })  # fmt: skip
