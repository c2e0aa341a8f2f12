"""How far a value is from that of held-out rows, in a word."""

import numpy as np

#: The words, from good to poor.
GRADES = ("as held-out rows", "close", "visible", "far")
# A difference of fewer standard errors than this is none.
_N_ERRORS = 2.0


def grade(metric, value, error, held_out, held_out_error, independent):
    """The grade of a value, an entry of `GRADES`, or "" if it cannot be told.

    A value within two standard errors of that of held-out rows, or better, is as good as theirs.
    Up to a quarter of the way to a poor value it is close, up to a poor value visible.

    Parameters
    ----------
    metric : Metric
    value, error : float
        Of the rows that are graded, with its standard error.
    held_out, held_out_error : float
        Of held-out rows.
    independent : float
        Of independent columns; used if the metric has no poor value of its own.

    Returns
    -------
    str
    """
    if not metric.graded or np.isnan(value) or np.isnan(held_out):
        return ""
    excess = metric.badness(value) - metric.badness(held_out)
    noise = np.hypot(*np.nan_to_num([error, held_out_error]))
    if excess <= max(_N_ERRORS * noise, 1e-9):
        return GRADES[0]
    poor = metric.poor
    if poor is None:
        poor = (metric.badness(independent) - metric.badness(held_out)) / 2
    if np.isnan(poor) or poor <= 0:
        return ""
    return GRADES[1 + min(int(np.searchsorted([poor / 4, poor], excess)), 2)]
