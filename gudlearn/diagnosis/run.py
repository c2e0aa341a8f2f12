"""A diagnosis: what is measured, in which order, and within which limits."""

from numbers import Integral

import numpy as np
import torch

from gudlearn.diagnosis import findings
from gudlearn.diagnosis.advice import Advice
from gudlearn.diagnosis.calibration import Conditionals, of_draws, parts_of
from gudlearn.diagnosis.curves import judge_curves
from gudlearn.diagnosis.likelihoods import (
    along_paths,
    flow_against_bound,
    labels_of,
    like,
    mean_and_error,
)
from gudlearn.diagnosis.result import Diagnosis
from gudlearn.diagnosis.tables import columns_of, component_columns, costliest
from gudlearn.model.scoring import Scoring
from gudlearn.training.options import targets_of

# Fewest rows that say anything; most columns that are judged; draws of the model for each row.
_FEWEST, _MOST_COLUMNS, _DRAWS = 20, 12, 2
# Fraction of the rows that are left out of means if they are unusual.
_FEW = 0.05
# Rows of images, which take long to draw and to score.
_IMAGES = 64


def run_diagnosis(estimator, rows, train, n_rows, random_state, index):
    """Diagnose a fitted generator.

    Parameters
    ----------
    estimator : GUDGenerator
    rows, train : Rows
        Test rows, and the rows of the fit or None.
    n_rows : int or None
    random_state : int, RandomState instance or None
    index : pandas.Index or None
        Labels of the test rows.

    Returns
    -------
    Diagnosis
    """
    run = _Run(estimator, rows, train, n_rows, random_state)
    return run.diagnosis(index)


class _Run:
    """One diagnosis; notes of what was left out are gathered on the way."""

    def __init__(self, estimator, rows, train, n_rows, random_state):
        self.estimator, self.state, self.notes = estimator, estimator.state_, []
        self.sampling = estimator.sampling()
        self.seed = self.sampling.seed(random_state)
        self.rng = np.random.default_rng(self.seed)
        self.positions = self._chosen(len(rows), n_rows)
        self.rows, self.train = rows.take(self.positions), train
        other = estimator.scoring()
        self.scoring = Scoring(self.state, other.fitted, "bound", other.n_draws)
        self.n_entries = max(self.scoring.n_scored(self.rows), 1) / len(self.rows)
        self.advice = Advice(estimator)

    def _chosen(self, n, n_rows):
        """Sorted positions of the rows that are used."""
        whole = isinstance(n_rows, Integral) and not isinstance(n_rows, bool)
        if n_rows is not None and not (whole and n_rows >= _FEWEST):
            raise ValueError(
                f"n_rows={n_rows!r} must be None, for all rows, or a whole number of at least "
                f"{_FEWEST}. Pass how many rows to look at."
            )
        if n < _FEWEST:
            raise ValueError(
                f"X has {n} rows, but a diagnosis needs at least {_FEWEST}: fewer say nothing. "
                "Pass more rows that were not used in fit."
            )
        most = n if n_rows is None else min(n, int(n_rows))
        if self.state.has_images:
            most = min(most, _IMAGES)
        if most < n:
            self.notes.append(f"Looked at {most} of {n} rows, drawn at random.")
        return np.sort(self.rng.permutation(n)[:most])

    def diagnosis(self, index):
        """The `Diagnosis`; index holds labels of the test rows, or is None."""
        state, history = self.state, self.state.history
        curves = judge_curves(
            history.losses, history.validation_scores, history.validation_epochs,
            history.best_score,
        )  # fmt: skip
        scores, errors = self._scores(self.rows)
        draws = None if state.has_images else self._draws()
        likelihoods = {"test": scores, **self._references(draws)}
        name, reference = self._reference(likelihoods)
        usual = self._usual(scores, reference)
        bound = self._bound({**likelihoods, "test": scores[usual]}, errors[usual], curves)
        parts, calibrations = self._calibrations(draws)
        columns = columns_of(parts, calibrations)
        flow = paths = None
        if targets_of(self.estimator, state) is None:
            some = self.rows.take(usual)
            flow = self._flow(some, scores[usual])
            paths = self._paths(some, (scores[usual], errors[usual]))
        costly = self._costly(columns, calibrations)
        rows = findings.worst_rows(scores, reference, self.positions, index, costly)
        advice, n = self.advice, self.n_entries
        found = [
            *findings.of_training(curves, n, advice),
            *self._of_likelihoods(bound, flow, paths, curves.verdict),
            *findings.of_columns(columns, calibrations, advice, curves.verdict),
            *findings.of_rows(rows, scores, reference, name),
        ]
        found.sort(key=lambda finding: -finding.nats)
        training = {
            **vars(curves), "loss_curve": history.losses, "kept_score": history.best_score,
            "validation_scores": history.validation_scores,
            "validation_iters": history.validation_epochs,
        }  # fmt: skip
        return Diagnosis(
            [finding.text for finding in found], columns, rows, bound, flow, paths, training,
            self.notes, {label: c.pit for label, c in calibrations.items()}, likelihoods,
        )  # fmt: skip

    def _of_likelihoods(self, bound, flow, paths, verdict):
        """Findings from the likelihoods of all test rows."""
        found, is_shifted = findings.of_test_rows(bound, self.advice)
        if is_shifted or targets_of(self.estimator, self.state) is not None:
            # No network is exact where it has seen no rows, nor one of targets for whole rows.
            return found
        return [
            *found,
            *findings.of_samples(bound, self.advice, verdict, self.judges_conditionals),
            *findings.of_flow(flow, self.n_entries, self.advice),
            *findings.of_paths(paths, self.n_entries, self.advice),
        ]

    # Likelihoods

    def _scores(self, rows):
        """Bounds of rows as if they were in no reference set, and their errors."""
        excluded = rows.keys if self.estimator.uses_reference_set else None
        return self.scoring.rows_and_errors(rows, None, excluded)

    def _draws(self):
        """Rows that the model draws, with the missing values of the test rows."""
        n = _DRAWS * len(self.rows)
        drawn, labels = self.sampling.answer(n, None, None, None, 1.0, self.seed % 2**32)
        # Scores without labels are those of all classes together.
        of_rows = self.rows.labels
        known = of_rows is not None and bool((of_rows < self.state.n_classes).all())
        labels = labels_of(labels)
        if not known and labels is not None:
            labels = labels.new_full(labels.shape, self.state.n_classes)
        return like(self.rows, drawn, self.state.encoding, labels)

    def _references(self, draws):
        """Bounds of the rows that test rows are compared with, by name."""
        if self.train is None:
            if draws is None:
                return {}
            return {"samples": self._scores(draws.take(np.arange(len(self.rows))))[0]}
        held_out, n = self.state.held_out, len(self.train)
        if held_out is not None and len(held_out) and held_out.max() >= n:
            raise ValueError(
                f"X_train has {n} rows, but row {held_out.max()} was held out in fit. Pass the "
                "rows that were fitted, all of them and in the same order."
            )
        held_out = np.arange(0) if held_out is None else held_out
        trained = np.setdiff1d(np.arange(n), held_out)
        found = {}
        for name, index in (("held-out", held_out), ("training", trained)):
            index = self.rng.permutation(index)[: len(self.rows)]
            if len(index) > 1:
                found[name] = self._scores(self.train.take(np.sort(index)))[0]
        return found

    def _reference(self, likelihoods):
        """The name and the bounds of the rows by which single rows are judged."""
        names = {
            "held-out": "held-out rows of the fit", "training": "rows of the fit",
            "samples": "rows that the model draws", "test": "the other test rows",
        }  # fmt: skip
        for name, text in names.items():
            if name == "test":
                self.notes.append(
                    "Rows are compared with each other; pass X_train to compare them with those "
                    "of the fit."
                )
            if len(likelihoods.get(name, ())) >= _FEWEST or name == "test":
                return text, likelihoods[name]

    def _usual(self, scores, reference):
        """Positions of the rows whose means are compared: all but a few that are far below.

        A single one of them would hide everything else in its standard error.
        """
        unusual = findings.is_unusual(scores, reference)
        if not 0 < unusual.mean() <= _FEW:
            return np.arange(len(scores))
        self.notes.append(f"Means leave out {unusual.sum()} of the rows, those far below.")
        return np.flatnonzero(~unusual)

    def _bound(self, likelihoods, errors, curves):
        """See `Diagnosis`; of likelihoods by name, and the errors of those of test rows."""
        mean, error = mean_and_error(likelihoods["test"])
        noise = float(np.sqrt(np.square(np.nan_to_num(errors)).mean()))
        bound = {"mean": mean, "std_error": error, "noise": noise, "n_entries": self.n_entries}
        for key, name in (("held_out", "held-out"), ("trained", "training"),
                          ("samples", "samples")):  # fmt: skip
            values = likelihoods.get(name)
            pair = (None, None) if values is None else mean_and_error(values)
            bound[key], bound[f"{key}_std_error"] = pair
        if self.train is None and self._is_comparable():
            n, std = self.rows.n_observed / len(self.rows), error * np.sqrt(len(errors))
            kept, held_out = self.state.history.best_score, self.state.held_out
            if kept is not None and held_out is not None and len(held_out):
                bound["held_out"] = kept * n
                bound["held_out_std_error"] = float(std / np.sqrt(len(held_out)))
            if np.isfinite(curves.final_loss_std_error) and not self.state.conditional_rate:
                bound["trained"] = -curves.final_loss * n
                bound["trained_std_error"] = curves.final_loss_std_error * n
        return bound

    def _is_comparable(self):
        """Whether curves of training hold log-likelihoods of rows such as these."""
        likelihood = self.estimator.loss_weighting == "likelihood"
        whole = self.state.encoding.imputable(self.rows) is None
        return likelihood and whole and self.estimator.targets is None

    def _flow(self, rows, scores):
        flow = flow_against_bound(self.scoring, rows, scores)
        if isinstance(flow, str):
            self.notes.append(f"The flow's density was not computed: {flow}.")
            return None
        return flow

    def _paths(self, rows, own):
        places = np.arange(0)
        if self.judges_conditionals and self.state.conditional_rate:
            places = self.rng.permutation(len(self.state.container.columns))
            half = places[: len(places) // 2]
            if self._splits(half):
                places = np.arange(0)
        table = along_paths(self.estimator, self.scoring, rows, own, places)
        if table is None:
            self.notes.append(
                "The network was trained for one path only: there is no other to compare it with. "
                "Fit with conditional_rate=0.3 or Training(schedule_family=...)."
            )
        return table

    # Columns

    @property
    def judges_conditionals(self):
        """Whether the network has learned the distribution of columns given others."""
        state = self.state
        if state.has_images or self.estimator.conditioning not in ("auto", "exact"):
            return False
        return state.conditional_rate > 0 or not state.encoding.ends.numeric.any()

    def _splits(self, places):
        """Whether the basis mixes some of the user's columns with others."""
        mask = np.isin(self.state.container.column_of, places)[None]
        return self.state.encoding.splits_block(mask)

    def _calibrations(self, draws):
        """Parts of columns, and the `Calibration` of each by its label."""
        state = self.state
        if state.has_images:
            self.notes.append("Calibration is that of columns of tables; X holds images.")
            return [], {}
        places = self._places()
        if len(places) > _MOST_COLUMNS:
            self.notes.append(
                f"Calibration of {_MOST_COLUMNS} of {len(places)} columns, drawn at random."
            )
            places = np.sort(self.rng.permutation(places)[:_MOST_COLUMNS])
        parts = parts_of(state, places)
        given = [self.judges_conditionals and self._is_component(part) for part in parts]
        if not all(given):
            self.notes.append(self._why_not(any(given)))
        conditionals = None
        if any(given):
            fitted = self.estimator.fitted_model(torch.float32)
            conditionals = Conditionals(state, fitted, self.rows, self.rng)
        found = {}
        for part, by_others in zip(parts, given, strict=True):
            found[part.label] = (
                conditionals.of(part)
                if by_others
                else of_draws(state, part, self.rows, draws, self.rng)
            )
        return parts, found

    def _places(self):
        """The user's columns that may be judged: the targets of the fit, or all."""
        targets = targets_of(self.estimator, self.state)
        if targets is None:
            return np.arange(len(self.state.container.columns))
        self.notes.append(
            "The fit favours its targets: these columns are judged, and the flow and other paths, "
            "which are those of whole rows, are not."
        )
        return np.unique(self.state.container.column_of[targets])

    def _is_component(self, part):
        encoding = self.state.encoding
        active = encoding.ends.active & (encoding.columns == part.field)
        return bool(active.any()) and not self._splits([part.place])

    def _why_not(self, some):
        if self.judges_conditionals:
            which = "Some columns" if some else "Columns"
            return (
                f"{which} are judged by themselves, not given the others: the basis mixes them. "
                "Fit with basis='identity' to judge conditional distributions."
            )
        if self.estimator.conditioning in ("auto", "exact"):
            why, cure = "the network never saw partially observed rows", "conditional_rate=0.3"
        else:
            why, cure = "samples are only guided by the others", "conditioning='auto'"
        return f"Columns are judged by themselves, not given the others: {why}. Fit with {cure}."

    def _costly(self, columns, calibrations):
        """The column that costs each row most, a list; None where it is not known."""
        by_others = [label for label, row in columns.iterrows() if row["given"] == "the others"]
        if by_others:
            return costliest({label: calibrations[label] for label in by_others}, len(self.rows))
        names = component_columns(self.state)
        if names is None:
            if not self.state.has_images:
                self.notes.append(
                    "The basis mixes columns: which one costs a row most is not known."
                )
            return [None] * len(self.rows)
        costs = -self.scoring.components(self.rows)
        costs = costs - np.median(costs, axis=0)
        return [names[j] for j in costs.argmax(1)]
