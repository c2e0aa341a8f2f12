"""The metrics of a report of mixed tables."""

import numpy as np
import pandas as pd

from gudlearn.metrics.closest import closest_record
from gudlearn.metrics.neighbours import memorization
from gudlearn.metrics.quality import mean_error, shape_errors, trend_errors
from gudlearn.metrics.reporting.coverage import Coverage
from gudlearn.metrics.reporting.errors import Estimate, bootstrap_error, share_error
from gudlearn.metrics.reporting.likelihood import LIKELIHOOD
from gudlearn.metrics.reporting.metrics import AS_HELD_OUT, Metric
from gudlearn.metrics.reporting.samples import FAKE, take_rows
from gudlearn.metrics.reporting.vectors import MOST_DISTANCES, Vectors, energy_distance
from gudlearn.metrics.structure import Structure
from gudlearn.metrics.two_sample import two_sample_auc
from gudlearn.metrics.utility import train_on_synthetic

# Rows of a sample from which distances to the closest record are taken.
_MOST_CLOSEST = 2500
# Rows that are looked for among training rows, and these training rows.
_MOST_SOUGHT, _MOST_TRAINING = 1000, 20_000


def table_metrics(target, model):
    """Metrics of a mixed table, in the order of a report."""
    chosen = [
        Metric("two_sample_auc", "Two-sample AUC", "low", "0.5", 0.25,
               "How well trees tell the rows from held-out ones.", _auc),
        Metric("shape_error", "Shape error", "low", AS_HELD_OUT, 0.1,
               "Distance between the distributions of a column, mean over columns.", _shape, ".4f"),
        Metric("trend_error", "Trend error", "low", AS_HELD_OUT, 0.1,
               "Difference of the dependence of two columns, mean over pairs.", _trend, ".4f"),
        Metric("global_utility", "Global utility", "high", "1", 0.3,
               "Each column predicted from the others after training on the rows, relative to "
               "training on real rows (TabStruct).", _structure),
        Metric("train_on_synthetic", "Train on synthetic", "high", AS_HELD_OUT, 0.1,
               f"Score on real rows of a model of {target} that is trained on the rows.", _target),
        Metric("log_likelihood", *LIKELIHOOD),
        Metric("wasserstein", "Wasserstein distance", "low", AS_HELD_OUT, 0.1,
               "Mean shift of quantiles, in units of the range of a column of numbers.", _shift,
               ".4f"),
        Metric("energy_distance", "Energy distance", "low", "0", None,
               "Distance between the joint distributions, between 0 and 1.", _energy, ".4f"),
        Metric("rare_levels", "Rare levels found", "high", AS_HELD_OUT, 0.3,
               "Fraction of the levels below 2 % that occur in the rows.", _rare),
        Metric("rare_mass", "Frequency of rare levels", 1.0, "1", 0.5,
               "How often rare levels occur, relative to the training rows.", _rare_mass),
        Metric("tail_coverage", "Tails covered", "high", AS_HELD_OUT, 0.3,
               "Mass beyond the 1 and 99 % quantiles of each number: the smaller of that of the "
               "rows and of the training rows, divided by the larger.", _tails),
        Metric("closest_share", "Closer to training rows", "low", "0.5", 0.1,
               "Fraction of the rows that are closer to a training row than to a held-out row; 0.5 "
               "if nothing is copied.", _closest),
        Metric("copies", "Equal to a training row", "low", AS_HELD_OUT, 0.05,
               "Fraction of the rows that equal a training row.", _copies, ".4f"),
        Metric("memorization", "Memorized", "low", AS_HELD_OUT, 0.05,
               "Fraction of the rows that are three times closer to one training row than to the "
               "next.", _memorized),
    ]  # fmt: skip
    left_out = {"train_on_synthetic": target is None, "log_likelihood": model is None}
    return [metric for metric in chosen if not left_out.get(metric.key, False)]


def as_frame(table):
    """The rows of a table as a frame of numbers and of categories of codes."""
    columns = {}
    for j, codes in enumerate(table.X.T):
        if table.is_category[j]:
            codes = pd.Categorical(pd.Series(codes).astype("Int64"))
        columns[j] = codes
    frame = pd.DataFrame(columns)
    frame.columns = pd.Index(table.names, tupleize_cols=False)
    return frame


def _pair(context, name):
    """The reference and a sample."""
    return [context.samples.reference, context.samples.judged[name]]


def _rng(context):
    return np.random.default_rng(context.seed)


def _errors_of_rows(context, name, statistic):
    """Bootstrap error of a statistic of the tables of reference and sample."""
    tables = _pair(context, name)

    def drawn(*places):
        return statistic([take_rows(t, rows) for t, rows in zip(tables, places, strict=True)])

    return bootstrap_error(drawn, *map(len, tables), _rng(context))


def _shape(context, name):
    errors = shape_errors(_pair(context, name))
    error = _errors_of_rows(context, name, lambda tables: mean_error(shape_errors(tables)))
    return Estimate(mean_error(errors), error, errors)


def _trend(context, name):
    def mean(errors):
        return mean_error(errors[np.triu_indices(len(errors), 1)])

    errors = trend_errors(_pair(context, name))
    error = _errors_of_rows(context, name, lambda tables: mean(trend_errors(tables)))
    return Estimate(mean(errors), error, errors)


def _frame(context, name):
    return context.once(("frame", name), lambda: as_frame(context.samples.judged[name]))


def _reference(context):
    return context.once("reference", lambda: as_frame(context.samples.reference))


def _auc(context, name):
    found = two_sample_auc(
        _reference(context), _frame(context, name), importance=name == FAKE, max_rows=None,
        random_state=context.seed,
    )  # fmt: skip
    return Estimate(found.auc, found.standard_error, found.importance)


def _structure(context, name):
    structure = context.once(
        "structure",
        lambda: Structure(context.samples.train_used, context.samples.reference, context.seed),
    )
    found = structure.utility(context.samples.judged[name])
    return Estimate(found.mean, found.standard_error, found.columns.to_numpy())


def _target(context, name):
    train = context.once("train", lambda: as_frame(context.samples.train_used))
    found = train_on_synthetic(
        train, _reference(context), _frame(context, name), context.options["target"],
        max_rows=None, random_state=context.seed,
    )  # fmt: skip
    return Estimate(found.synthetic, found.standard_error, found)


def _coverage(context):
    return context.once("coverage", lambda: Coverage(context.samples.train))


def _shift(context, name):
    coverage, (reference, table) = _coverage(context), _pair(context, name)
    distances = coverage.distances(reference, table)
    if np.isnan(distances).all():
        raise ValueError("There is no column of numbers.")
    error = bootstrap_error(
        lambda a, b: np.nanmean(coverage.distances(reference, table, a, b)), len(reference),
        len(table), _rng(context),
    )  # fmt: skip
    return Estimate(float(np.nanmean(distances)), error, distances)


def _of_sample(context, name, statistic, detail=None):
    """A statistic of a sample alone, with its bootstrap error."""
    table = context.samples.judged[name]
    value = statistic(table)
    error = bootstrap_error(lambda _, rows: statistic(table, rows), 1, len(table), _rng(context))
    return Estimate(value, error, detail)


def _rare(context, name):
    return _of_sample(context, name, _coverage(context).rare_levels)


def _rare_mass(context, name):
    return _of_sample(context, name, _coverage(context).rare_mass)


def _tails(context, name):
    coverage, table = _coverage(context), context.samples.judged[name]
    return _of_sample(context, name, coverage.tail_coverage, coverage.tail_ratios(table))


def _vectors(context):
    return context.once("vectors", lambda: Vectors(context.samples.train))


def _coordinates(context, name):
    def make():
        table = context.samples.judged.get(name, context.samples.reference)
        return _vectors(context)(take_rows(table, slice(MOST_DISTANCES)))

    return context.once(("coordinates", name), make)


def _energy(context, name):
    return energy_distance(_coordinates(context, None), _coordinates(context, name))


def _nearest(context, name):
    def find():
        train = context.once("every training row", lambda: as_frame(context.samples.train))
        return closest_record(
            train, _reference(context), _frame(context, name), max_rows=_MOST_CLOSEST,
            random_state=context.seed,
        )  # fmt: skip

    return context.once(("closest", name), find)


def _closest(context, name):
    found = _nearest(context, name)
    # All rows share the choice of training and held-out rows: twice the binomial error.
    return Estimate(found.share, 2 * share_error(found.share, found.n_used["fake"]), found)


def _copies(context, name):
    found = _nearest(context, name)
    return Estimate(found.fake_copies, share_error(found.fake_copies, found.n_rows["fake"]))


def _memorized(context, name):
    def coordinates():
        return _vectors(context)(take_rows(context.samples.train, slice(_MOST_TRAINING)))

    train = context.once("coordinates of training rows", coordinates)
    reference, rows = (_coordinates(context, key)[:_MOST_SOUGHT] for key in (None, name))
    found = memorization(train, reference, rows)
    return Estimate(found.share, share_error(found.share, len(found.ratios)), found.p_value)
