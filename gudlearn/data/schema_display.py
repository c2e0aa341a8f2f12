"""A schema as text and as HTML."""

from html import escape

import numpy as np

_HEADER = ("column", "type", "modelled as", "values", "atoms", "missing", "why")
_MOST_ROWS, _MOST_VALUES = 60, 4


def text_of(schema):
    """A table of the columns as text, one line for each."""
    rows = [_HEADER, *_rows(schema)]
    widths = [max(len(row[k]) for row in rows) for k in range(len(_HEADER) - 1)]
    lines = [
        "  ".join([*(cell.ljust(w) for cell, w in zip(row, widths, strict=False)), row[-1]])
        for row in rows
    ]
    return "\n".join([*(line.rstrip() for line in lines), *_rest(schema)])


def html_of(schema):
    """A table of the columns as HTML that needs nothing else."""
    head = "".join(f"<th style='text-align:left'>{escape(cell)}</th>" for cell in _HEADER)
    body = "".join(
        "<tr>" + "".join(f"<td style='text-align:left'>{escape(c)}</td>" for c in row) + "</tr>"
        for row in _rows(schema)
    )
    rest = "".join(f"<p>{escape(line)}</p>" for line in _rest(schema))
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{rest}"


def _rows(schema):
    for column in schema.columns[:_MOST_ROWS]:
        n = f"{column.n_missing}" + (" (a value)" if column.missing == "model" else "")
        atoms = "" if column.atoms is None else _listed(column.atoms)
        yield (
            column.name, column.feature_type, _model(column), _values(column), atoms,
            n if column.n_missing else "", column.evidence,
        )  # fmt: skip


def _rest(schema):
    more = len(schema.columns) - _MOST_ROWS
    lines = [f"... and {more} more columns"] if more > 0 else []
    return lines + ([] if schema.constraints is None else schema.constraints.sentences(schema))


def _model(column):
    if column.is_category:
        return f"{len(column.levels)} levels"
    if column.is_time:
        return "times"
    if column.feature_type == "ordered":
        return f"{len(column.levels)} levels in order"
    if not np.isnan(column.bin_width):
        return f"grid of {column.bin_width:g}"
    rounded = "" if np.isnan(column.rounded_to) else f", rounded to {column.rounded_to:g}"
    return f"a density{rounded}"


def _values(column):
    if column.levels is not None:
        return _listed(column.levels)
    return f"{_text(column.low)} to {_text(column.high)}"


def _listed(values):
    texts = [_text(v) for v in values[:_MOST_VALUES]]
    return ", ".join(texts + (["..."] if len(values) > _MOST_VALUES else []))


def _text(value):
    if isinstance(value, float | np.floating):
        return f"{value:g}"
    text = str(value)
    if isinstance(value, np.datetime64):
        # A midnight shows its date, a whole second no fractions.
        text = text.split(".")[0] if not text.partition(".")[2].strip("0") else text
        text = text.removesuffix("T00:00:00")
    return text if len(text) <= 24 else text[:21] + "..."
