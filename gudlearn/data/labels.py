"""Class labels: validation, and conversion to indices."""

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
        Frequencies of the classes.
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
        If y is None, has another length than the rows, or a label is missing.
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
        If a label is missing, or is not one of the classes.

    Returns
    -------
    LongTensor of shape (n_rows,)
    """
    if y is not None and np.ndim(y) == 0:
        y = np.full(n_rows, y)
    y = check_labels(y, n_rows)
    is_known = np.isin(y, classes)
    if not is_known.all():
        unknown = np.unique(y[~is_known]).tolist()
        raise ValueError(
            f"y holds {unknown[0]!r}, but the classes that were fitted are {classes.tolist()}. "
            "Pass one of them for each row."
        )
    return torch.from_numpy(np.searchsorted(classes, y))


def no_labels(n_rows, n_classes):
    """Null labels, which stand for no class, (n_rows,); None if the model has no classes."""
    return torch.full((n_rows,), n_classes) if n_classes else None
