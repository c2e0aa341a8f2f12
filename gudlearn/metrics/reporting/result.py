"""The result of a report, as text, as a frame and as a page."""

import os
from dataclasses import dataclass, field
from html import escape

import numpy as np
import pandas as pd

from gudlearn.metrics.reporting.samples import FAKE
from gudlearn.storage.archive import write


@dataclass(frozen=True, eq=False, repr=False)
class Report:
    """Results of :func:`report`.

    Parameters
    ----------
    verdict : tuple of str
        Three sentences: whether fake rows are told from held-out ones, where they are worst, and
        whether they are copies.
    values, standard_errors : DataFrame of shape (n_metrics, n_samples)
        By metric, for ``fake rows``, ``held-out rows``, ``training rows``, ``independent columns``
        and ``shallow mixture``; NaN where something could not be measured.
    grades : pandas.Series of str
        How far the fake rows are from held-out rows, by metric: "as held-out rows" (within two
        standard errors, or better), "close", "visible" or "far"; "" if it cannot be told.
    columns : DataFrame or None
        Errors of each column, the worst first; None for images.
    pairs : DataFrame or None
        Errors of each pair of columns, the worst first; None for images.
    notes : dict of (str, str) to str
        Why something is NaN, by metric and sample; of ("", sample) why there is no such sample.
    seconds : float
        How long the report took.
    metrics : list
        Names, ideals and explanations of the metrics.
    samples : object
        The rows that were used: ``n`` of each sample, of ``n_rows`` that were passed.
    nearest : tuple of ndarray or None
        Of images, places of fake images and of the training images nearest to them.
    """

    verdict: tuple
    values: pd.DataFrame
    standard_errors: pd.DataFrame
    grades: pd.Series
    columns: pd.DataFrame | None
    pairs: pd.DataFrame | None
    notes: dict
    seconds: float
    metrics: list = field(default_factory=list)
    samples: object = None
    nearest: tuple | None = None

    def to_frame(self) -> pd.DataFrame:
        """A line for each metric and sample.

        Returns
        -------
        DataFrame
            Columns ``metric``, ``sample``, ``value``, ``standard_error``, ``ideal``, ``grade`` (of
            the fake rows) and ``note``.
        """
        lines = []
        for metric in self.metrics:
            for name in self.values.columns:
                lines.append(
                    (
                        metric.key, name, self.values.loc[metric.key, name],
                        self.standard_errors.loc[metric.key, name], metric.ideal,
                        self.grades[metric.key] if name == FAKE else "",
                        self.notes.get((metric.key, name), self.notes.get(("", name), "")),
                    )
                )  # fmt: skip
        names = ("metric", "sample", "value", "standard_error", "ideal", "grade", "note")
        return pd.DataFrame(lines, columns=names)

    def table(self):
        """The values as text: a header and a line for each metric.

        Returns
        -------
        header : list of str
        lines : list of list of str
            The label, the cells of the samples, the ideal and the grade of the fake rows.
        """
        header = ["metric", *self.values.columns, "ideal", "the fake rows are"]
        lines = [
            [
                metric.label,
                *(self.cell(metric, name) for name in self.values.columns),
                metric.ideal,
                self.grades[metric.key],
            ]
            for metric in self.metrics
        ]
        return header, lines

    def cell(self, metric, name):
        """A value and its standard error as text; a dash where there is none."""
        value, error = (f.loc[metric.key, name] for f in (self.values, self.standard_errors))
        if np.isnan(value):
            return "–"
        return f"{value:{metric.form}}" + ("" if np.isnan(error) else f" ± {error:{metric.form}}")

    def rows_text(self):
        """Which rows were used, in a sentence."""
        passed = ", ".join(f"{n:,} {name}" for name, n in self.samples.n_rows.items())
        return (
            f"{self.samples.n:,} rows of each sample, drawn from {passed} rows. "
            f"Errors are one standard error."
        )

    def failures(self):
        """Why cells are empty: a sentence for each metric that failed or sample that is missing."""
        labels = {metric.key: metric.label for metric in self.metrics}
        reasons = {}
        for (key, name), why in self.notes.items():
            subject = labels.get(key) or f"There is no {name}"
            reasons.setdefault((subject, why), []).append(name)
        sentences = []
        for (subject, why), names in reasons.items():
            every = subject not in labels.values() or len(names) == len(self.samples.judged)
            sentences.append(f"{subject}{'' if every else ' of ' + ', '.join(names)}: {why}")
        return sentences

    def __str__(self):
        header, lines = self.table()
        widths = [max(map(len, column)) for column in zip(header, *lines, strict=True)]
        table = [
            "  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip()
            for line in [header, ["-" * w for w in widths], *lines]
        ]
        parts = ["\n".join(self.verdict), "\n".join(table), self.rows_text()]
        if self.columns is not None:
            shown = self.columns.iloc[:10].dropna(axis=1, how="all")
            parts.append("Worst columns\n" + shown.to_string(float_format="{:.3f}".format))
        return "\n\n".join(parts + (["\n".join(self.failures())] if self.notes else []))

    __repr__ = __str__

    def _repr_html_(self):
        header, lines = self.table()
        head = "".join(f"<th scope='col'>{escape(cell)}</th>" for cell in header)
        body = "".join(
            f"<tr><th scope='row'>{escape(line[0])}</th>"
            + "".join(f"<td>{escape(cell)}</td>" for cell in line[1:]) + "</tr>"
            for line in lines
        )  # fmt: skip
        sentences = "".join(
            f"<p>{escape(text)}</p>" for text in (*self.verdict, self.rows_text(), *self.failures())
        )
        return f"{sentences}<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"

    def to_html(self, *, title: str = "Report on fake rows") -> str:
        """The report as one page of HTML that needs no other file and no network.

        It needs jinja2 and matplotlib (``pip install 'gudlearn[report]'``).

        Parameters
        ----------
        title : str, default="Report on fake rows"

        Returns
        -------
        str
        """
        from gudlearn.metrics.reporting.page import page

        return page(self, title)

    def save(self, path: str | os.PathLike[str], *, title: str = "Report on fake rows") -> None:
        """Write the page of :meth:`to_html` to a file, which is replaced as a whole.

        Parameters
        ----------
        path : path-like
        title : str, default="Report on fake rows"
        """
        write(path, self.to_html(title=title).encode("utf-8"))
