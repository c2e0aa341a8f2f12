"""Class labels: checked, and turned into indices."""

import numpy as np
import pandas as pd
import torch
from sklearn.utils import column_or_1d
from sklearn.utils.multiclass import check_classification_targets


def fit_labels(y, n_rows):
    """Learn the classes.

    Parameters
    ----------
    y : array-like of shape (n_rows,)
    n_rows : int

    Returns
    -------
    classes : ndarray of shape (n_classes,)
        Sorted.
    prior : ndarray of shape (n_classes,)
        Their frequencies.
    labels : LongTensor of shape (n_rows,)
        Index of the class of each row.
    """
    y = check_labels(y, n_rows)
    check_classification_targets(y)
    classes, labels, counts = np.unique(y, return_inverse=True, return_counts=True)
    return classes, counts / len(y), torch.from_numpy(labels)


def check_labels(y, n_rows):
    """Labels as an array (n_rows,), one for each row.

    Raises
    ------
    ValueError
        If there are none, not as many as rows, or one is missing.
    """
    if y is None:
        raise ValueError(
            "class_conditional=True requires y to be passed, but the target y is None. Pass "
            "one label for each row."
        )
    check_no_missing_label(y)
    y = column_or_1d(y, warn=True)
    if len(y) != n_rows:
        raise ValueError(f"y has {len(y)} labels for {n_rows} rows. Pass one label for each row.")
    return y


def check_no_missing_label(y):
    """Raise where a label is missing: NaN, None or pandas' NA.

    Raises
    ------
    ValueError
    """
    missing = pd.isna(np.asarray(y, dtype=object)).ravel().tolist()
    if any(missing):
        raise ValueError(
            f"y holds no label for {sum(missing)} rows, the first of them row "
            f"{missing.index(True)}. Label them or drop them."
        )


def label_indices(y, n_rows, classes):
    """Class indices of labels y, one for each row or one for all.

    Parameters
    ----------
    y : array-like of shape (n_rows,), or one label
    n_rows : int
    classes : ndarray of shape (n_classes,)

    Raises
    ------
    ValueError
        If one is missing, or no class that was fitted.
    """
    if y is not None and np.ndim(y) == 0:
        y = np.full(n_rows, y)
    y = check_labels(y, n_rows)
    known = np.isin(y, classes)
    if not known.all():
        unknown = np.unique(y[~known]).tolist()
        raise ValueError(
            f"y holds {unknown[0]!r}, but the classes that were fitted are {classes.tolist()}. "
            "Pass one of them for each row."
        )
    return torch.from_numpy(np.searchsorted(classes, y))


def no_labels(n_rows, n_classes):
    """Label indices that stand for no label; None where the model has no labels."""
    return torch.full((n_rows,), n_classes) if n_classes else None
