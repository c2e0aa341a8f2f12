"""The result of a diagnosis, as text and as HTML."""

from dataclasses import dataclass, field
from html import escape

import numpy as np
import pandas as pd

_SHOWN = ("given", "n", "z", "ks", "coverage_50", "coverage_90", "nats_lost")


@dataclass(frozen=True, eq=False, repr=False)
class Diagnosis:
    """Whether a fit is good: results of ``GUDGenerator.diagnose``.

    Parameters
    ----------
    findings : list of str
        What is wrong, each with which parameter to set to what next; the most expensive first, in
        nats per row. Empty if nothing was found.
    columns : DataFrame
        One row for each column that was judged, the worst first:

        - ``given``: "the others" for the conditional distribution, "nothing" for the column by
          itself; ``n``: number of observed values; ``n_effective``: the number of them that counts,
          less where draws of the model stand for its distribution;
        - ``ks``: the largest distance of the distribution of its PIT (probability integral
          transform) from the uniform one, ``p_value``, and ``z``, the same in standard errors;
        - ``coverage_50``, ``coverage_90``: fraction of the values inside the predicted intervals of
          these probabilities, of categories the most probable levels;
        - ``mean_pit``: 0.5 if values are neither larger nor smaller than predicted;
        - ``nats_lost``: what a recalibration of the column would gain, in nats per value.
    rows : DataFrame
        The ten least likely rows by their label in X: ``position`` in X, ``log_likelihood``, ``z``
        relative to the rows they are compared with, ``column`` that costs most, None if that is not
        known, and ``unusual``: less likely than every one of those rows, by far.
    bound : dict
        ``mean``: mean bound of the test rows, in nats per row, without a few unusual ones if
        ``notes`` say so; ``std_error``, over rows;
        ``noise``: standard error of the score of one row; ``n_entries``: entries of a row;
        ``held_out``, ``trained``: means of the rows of the fit that were held out and trained on,
        ``samples``: of rows that the model draws, each with its ``..._std_error``, or None.
    flow : dict or None
        ``flow`` and ``bound``, means over the same ``n_rows`` rows, their ``difference`` and its
        ``std_error`` over rows.
    path_spread : DataFrame or None
        By path: ``bound``, ``std_error``, ``difference`` to the best and its
        ``std_error_difference``, ``spread`` of single rows beyond noise, in nats per row.
    training : dict
        ``verdict`` of the curves and the figures it rests on, ``loss_curve``,
        ``validation_scores``, ``validation_iters``, ``kept_score``.
    notes : list of str
        What was not done, and why.
    pit : dict of str to ndarray
        The PIT of the values of each column that was judged.
    log_likelihood : dict of str to ndarray
        Bounds of "test" rows, and of "held-out" and "training" rows or "samples".
    """

    findings: list
    columns: pd.DataFrame
    rows: pd.DataFrame
    bound: dict
    flow: dict | None
    path_spread: pd.DataFrame | None
    training: dict
    notes: list = field(default_factory=list)
    pit: dict = field(default_factory=dict)
    log_likelihood: dict = field(default_factory=dict)

    @property
    def summary(self):
        """One sentence on the whole, and one on the likelihood."""
        n, bound = len(self.log_likelihood["test"]), self.bound
        head = (
            f"Nothing wrong is visible in {n} test rows."
            if not self.findings
            else f"{len(self.findings)} finding{'s' * (len(self.findings) > 1)} in {n} test rows."
        )
        per_entry = bound["mean"] / bound["n_entries"]
        return (
            f"{head} Their mean log-likelihood is {bound['mean']:.2f} nats per row (standard error "
            f"{bound['std_error']:.2f}), {per_entry:.3f} per entry."
        )

    def measured(self):
        """What was measured beside columns and rows, in sentences."""
        said = []
        for name, what in (
            ("held_out", "held-out rows of the fit"), ("trained", "rows that were trained on"),
            ("samples", "rows that the model draws"),
        ):  # fmt: skip
            if self.bound.get(name) is not None:
                said.append(
                    f"Mean log-likelihood of {what}: {self.bound[name]:.2f} nats per row "
                    f"(standard error {self.bound[f'{name}_std_error']:.2f})."
                )
        if self.flow is not None:
            said.append(
                f"Flow minus bound: {self.flow['difference']:.2f} nats per row (standard error "
                f"{self.flow['std_error']:.2f}, {self.flow['n_rows']} rows)."
            )
        if self.path_spread is not None:
            largest = self.path_spread["spread"].max()
            said.append(
                f"Spread over {len(self.path_spread)} paths: {largest:.2f} nats per row beyond "
                "noise."
            )
        said.append(f"Training: {_VERDICTS[self.training['verdict']]}.")
        return said

    def _tables(self):
        """Titles and the frames that are shown."""
        if len(self.columns):
            yield "Columns, the worst first", self.columns.iloc[:8][list(_SHOWN)]
        yield "Rows, the least likely first", self.rows.iloc[:5].drop(columns="unusual")

    def __str__(self):
        parts = [self.summary]
        if self.findings:
            parts.append("\n".join(f"{k}. {text}" for k, text in enumerate(self.findings, 1)))
        parts.append("\n".join(self.measured()))
        for title, frame in self._tables():
            parts.append(f"{title}\n{frame.to_string(float_format=_number)}")
        return "\n\n".join(parts + (["\n".join(self.notes)] if self.notes else []))

    __repr__ = __str__

    def _repr_html_(self):
        def paragraphs(texts):
            return "".join(f"<p>{escape(text)}</p>" for text in texts)

        items = "".join(f"<li>{escape(text)}</li>" for text in self.findings)
        tables = "".join(
            f"<p>{title}</p>{frame.to_html(float_format=_number, border=0)}"
            for title, frame in self._tables()
        )
        findings = f"<ol>{items}</ol>" if items else ""
        measured, notes = paragraphs(self.measured()), paragraphs(self.notes)
        return f"<p>{escape(self.summary)}</p>{findings}{measured}{tables}{notes}"


_VERDICTS = {
    "untrained": "none, the model is the closed-form start",
    "unvalidated": "there are too few evaluations of held-out rows to judge it by",
    "start kept": "did not improve on the closed-form start, which was kept",
    "overfitting": "the held-out score fell after its best weights, which were kept",
    "too short": "the held-out score still rose at the end",
    "converged": "the held-out score has converged",
}


def _number(value):
    return "–" if np.isnan(value) else f"{value:.2f}"
