"""A report as one page of HTML."""

from importlib.resources import files

import numpy as np

from gudlearn._versions import own_version
from gudlearn.metrics.reporting.grades import GRADES
from gudlearn.metrics.reporting.metrics import AS_HELD_OUT
from gudlearn.metrics.reporting.pictures import MOST_MARGINS, Pictures, image_strip
from gudlearn.metrics.reporting.samples import FAKE, MIXTURE, SAMPLES

_MOST_COLUMNS, _MOST_PAIRS = 200, 40
# Columns of a table of columns: key, header, explanation, and how a number is written.
_COLUMNS = (
    ("excess", "excess", "by how much both errors exceed those of held-out rows", ".3f"),
    ("shape_error", "shape error", "distance between the distributions", ".3f"),
    ("shape_error_held_out", "… held-out", "shape error of held-out rows", ".3f"),
    ("trend_error", "trend error", "mean over the pairs of the column", ".3f"),
    ("trend_error_held_out", "… held-out", "trend error of held-out rows", ".3f"),
    ("auc_fall", "AUC fall", "fall of the two-sample AUC if the column is shuffled", ".3f"),
    ("utility", "utility", "how well the others predict it, relative to real rows", ".3f"),
    ("wasserstein", "Wasserstein", "shift of quantiles in units of the range", ".3f"),
    ("low_tail", "low tail", "mass below the 1 % quantile, relative to real rows", ".2f"),
    ("high_tail", "high tail", "mass above the 99 % quantile, relative to real rows", ".2f"),
    ("rare_mass", "rare levels", "mass of levels below 2 %, relative to real rows", ".2f"),
    ("missing", "missing", "fraction of missing values", ".1%"),
    ("missing_real", "… real", "fraction of missing values of real rows", ".1%"),
)
_PAIRS = (
    ("excess", "excess", "by how much the trend error exceeds that of held-out rows", ".3f"),
    ("trend_error", "trend error", "", ".3f"),
    ("trend_error_held_out", "… held-out", "", ".3f"),
    ("real", "association, real", "correlation, or Cramér's V of categories", ".2f"),
    ("fake", "association, fake", "", ".2f"),
)


def page(report, title):
    """The page of a report; see `Report.to_html`."""
    try:
        import jinja2
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "A page of a report needs jinja2 and matplotlib. "
            "Install them with: pip install 'gudlearn[report]'"
        ) from error
    source = files(__package__).joinpath("template.html").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    return environment.from_string(source).render(
        title=title, report=report, lines=_lines(report), samples=_samples(report),
        version=own_version(), grades=GRADES, **_parts(report),
    )  # fmt: skip


def _samples(report):
    return {name: about for name, about in SAMPLES.items() if report.values[name].notna().any()}


def _lines(report):
    """The metrics with the cells of their samples."""
    return [
        {
            "metric": metric,
            "ideal": metric.ideal if metric.ideal != AS_HELD_OUT else "",
            "grade": report.grades[metric.key],
            "word": GRADES.index(report.grades[metric.key]) if report.grades[metric.key] else "",
            "cells": [_cell(report, metric, name) for name in _samples(report)],
        }
        for metric in report.metrics
    ]  # fmt: skip


def _cell(report, metric, name):
    value, _, error = report.cell(metric, name).partition(" ")
    return {"text": value, "error": error, "sort": _key(report.values.loc[metric.key, name])}


def _parts(report):
    """Tables and pictures: of columns and pairs, or of images."""
    empty = dict.fromkeys(("columns", "pairs", "margins", "associations", "worst_pairs", "strips"))
    if report.columns is None:
        return {**empty, "errors": None, "more": 0, "strips": _strips(report)}
    pictures = Pictures(report)
    return {
        **empty,
        "errors": pictures.errors(),
        "columns": _table(report.columns.iloc[:_MOST_COLUMNS], _COLUMNS, ["column", "kind"]),
        "pairs": _table(report.pairs.iloc[:_MOST_PAIRS], _PAIRS, ["first", "second"]),
        "margins": list(pictures.margins()),
        "associations": list(pictures.associations()),
        "worst_pairs": list(pictures.worst_pairs()),
        "more": max(len(report.columns) - MOST_MARGINS, 0),
    }


def _table(frame, described, names):
    """Header (text, explanation) and rows of cells (text, key to sort by) of a frame."""
    frame = frame.reset_index()
    kept = [part for part in described if frame[part[0]].notna().any()]
    header = [(name, "") for name in names] + [(text, about) for _, text, about, _ in kept]
    rows = []
    for _, line in frame.iterrows():
        cells = [{"text": str(line[name]), "sort": str(line[name])} for name in names]
        for key, _, _, form in kept:
            value = float(line[key])
            text = "–" if np.isnan(value) else f"{value:{form}}"
            cells.append({"text": text, "sort": _key(value)})
        rows.append(cells)
    return {"header": header, "rows": rows, "n_names": len(names)}


def _key(value):
    return "" if np.isnan(value) else f"{value:.6g}"


def _strips(report):
    """(title, SVG) of rows of images, if they can be drawn."""
    samples = report.samples
    if samples.reference.ndim < 3 or samples.reference.shape[-1] > 4 and samples.train.ndim == 4:
        return []
    shown = [("Held-out images", samples.reference[:8]), ("Fake images", samples.judged[FAKE][:8])]
    if MIXTURE in samples.judged:
        shown.append(("Images of a shallow mixture", samples.judged[MIXTURE][:8]))
    if report.nearest is not None:
        fake, train = report.nearest
        shown += [
            ("Fake images most like a copy", samples.judged[FAKE][fake]),
            ("The training images nearest to them", samples.train[train]),
        ]
    return [(title, image_strip(images, title, f"s{k}")) for k, (title, images) in enumerate(shown)]
