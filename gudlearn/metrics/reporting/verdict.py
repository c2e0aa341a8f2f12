"""Three sentences on fake rows: are they told apart, where are they worst, are they copies."""

import numpy as np

from gudlearn.metrics.reporting.grades import GRADES
from gudlearn.metrics.reporting.samples import FAKE, HELD_OUT, INDEPENDENT, MIXTURE

_TOLD = {
    GRADES[0]: "Trees do not tell the fake rows from held-out ones",
    "close": "Trees hardly tell the fake rows from held-out ones",
    "visible": "Trees often tell the fake rows from held-out ones",
    "far": "Trees easily tell the fake rows from held-out ones",
}
# Copies are suspected if a fraction exceeds that of held-out rows by this many standard errors.
_N_ERRORS = 3.0
_COPIES = {
    "copies": "equal a training row",
    "closest_share": "are closer to training rows than to held-out rows",
    "memorization": "lie three times closer to one training row than to the next",
}


def verdict(metrics, values, errors, grades, columns, pairs):
    """Three sentences in plain English.

    Parameters
    ----------
    metrics : list of Metric
    values, errors : DataFrame
        Values of the metrics and their standard errors, by sample.
    grades : Series of str
        Of the fake rows, by metric.
    columns, pairs : DataFrame or None
        Of `column_errors` and `pair_errors`; None of images.

    Returns
    -------
    tuple of str
    """
    worst = _worst_metrics(metrics, grades) if columns is None else _worst(columns, pairs)
    return _told(values, errors, grades), worst, _copied(values, errors)


def _told(values, errors, grades):
    auc = values.loc["two_sample_auc"]
    if np.isnan(auc[FAKE]):
        return "Whether fake rows can be told from held-out ones is not known: the test failed."
    told = _TOLD.get(grades["two_sample_auc"], _TOLD["visible"])
    others = [
        f"{name} have" if name != MIXTURE else f"a {name} has"
        for name in (HELD_OUT, MIXTURE, INDEPENDENT)
    ]
    beside = [
        f"{who} {auc[name]:.2f}"
        for who, name in zip(others, (HELD_OUT, MIXTURE, INDEPENDENT), strict=True)
        if name in auc and not np.isnan(auc[name])
    ]
    error = errors.loc["two_sample_auc", FAKE]
    return (
        f"{told}: their AUC is {auc[FAKE]:.3f} ± {error:.3f}, where 0.5 is perfect; "
        f"{_listed(beside)}."
    )


def _worst(columns, pairs):
    """The worst column and the worst pair, or that there are none."""
    first = columns.iloc[0]
    if first.excess <= 0 or np.isnan(first.shape_error):
        sentence = "No column is further from the test rows than held-out rows are"
    else:
        sentence = (
            f"The worst column is {_quoted(columns.index[0])} (shape error "
            f"{first.shape_error:.3f}, of held-out rows {first.shape_error_held_out:.3f}; trend "
            f"error {_number(first.trend_error)}, of held-out rows "
            f"{_number(first.trend_error_held_out)})"
        )
    if not len(pairs):
        return f"{sentence}, and no pair of columns could be compared."
    pair = pairs.iloc[0]
    return (
        f"{sentence}, and the worst pair is {_quoted(pair['first'])} with {_quoted(pair['second'])}"
        f" (trend error {pair.trend_error:.3f}, of held-out rows "
        f"{_number(pair.trend_error_held_out)})."
    )


def _worst_metrics(metrics, grades):
    poor = [m.label for word in GRADES[:0:-1] for m in metrics if grades[m.key] == word]
    if not poor:
        return "No metric is worse than that of held-out images."
    verb = "is the metric" if len(poor) == 1 else "are the metrics"
    return f"Furthest from held-out images {verb} {_listed([_quoted(m) for m in poor[:3]])}."


def _copied(values, errors):
    """Whether training rows seem to be copied."""
    found, calm = [], []
    for key, what in _COPIES.items():
        if key not in values.index or values.loc[key, [FAKE, HELD_OUT]].isna().any():
            continue
        fake, held_out = values.loc[key, FAKE], values.loc[key, HELD_OUT]
        noise = np.hypot(errors.loc[key, FAKE], errors.loc[key, HELD_OUT])
        text = f"{fake:.1%} {what} (of held-out rows {held_out:.1%})"
        (found if fake - held_out > _N_ERRORS * noise else calm).append(text)
    if found:
        return f"Training rows seem to be copied: of the fake rows {_listed(found)}."
    if not calm:
        return "Whether training rows were copied is not known: no test of it succeeded."
    return (
        "Nothing suggests that training rows were copied, which is no proof: of the fake "
        f"rows {_listed(calm)}."
    )


def _listed(texts):
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}"


def _quoted(name):
    return f"“{name}”"


def _number(value):
    return "unknown" if np.isnan(value) else f"{value:.3f}"
