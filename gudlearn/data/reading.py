"""Validation: the user's data become a numeric array and a container."""

import numpy as np
import pandas as pd
from scipy.sparse import issparse
from sklearn.utils.validation import validate_data

from gudlearn._constraints import _check_feature_names, _check_n_features
from gudlearn.data.column_types import infinite_message
from gudlearn.data.columns import column_names
from gudlearn.data.frames import in_order, is_frame, labels_of, read_table
from gudlearn.data.images import ImageContainer, are_names, read_images


def read_first(estimator, X, shape, schema, *, bin_width="auto", bin_range=None, on_line=False):
    """Validate the X of a first fit; return its numbers and its container.

    Sets ``n_features_in_`` and ``feature_names_in_`` of the estimator.

    Parameters
    ----------
    estimator : estimator to which X was passed
    X : array-like, DataFrame or images
    shape : tuple of int or None
        Shape of one image where X holds flat rows of images.
    schema : Schema
        Specification of a table's types.
    bin_width, bin_range, on_line : as in ``Schema.build``

    Returns
    -------
    values : ndarray of shape (n, n_fields)
        float64 for a table, the images' own dtype for images.
    container : TableSchema or ImageContainer
    """
    images = read_images(X, shape)
    if images is None:
        table = first_table(estimator, X)
        container = schema.build(
            table, column_names(estimator), bin_width=bin_width, bin_range=bin_range,
            on_line=on_line,
        )  # fmt: skip
        return container.read(table), container
    X, container = images
    X = _validated(estimator, X, reset=True, dtype=None)
    if are_names(container.names):
        estimator.feature_names_in_ = np.asarray(container.names, dtype=object)
    return X, container


def read_more(estimator, X, container, *, partial=False, unseen="code"):
    """Validate new data of the kind that was fitted; errors name the column.

    Parameters
    ----------
    estimator : estimator to which X was passed
    X : array-like, DataFrame or images
    container : TableSchema or ImageContainer
    partial, unseen : as in ``TableSchema.read``

    Returns
    -------
    ndarray of shape (n, n_fields)
    """
    if not isinstance(container, ImageContainer):
        table = _more_table(estimator, X, container, partial)
        return container.read(table, partial=partial, unseen=unseen)
    rows = container.rows(X)
    if hasattr(estimator, "feature_names_in_"):
        # The container has compared the names.
        rows = pd.DataFrame(rows, columns=estimator.feature_names_in_)
    return _validated(estimator, rows, reset=False, dtype=None)


# Tables


def read_checked(estimator, X, *, reset):
    """The `Table` of an estimator's X, its columns in the order of the first fit.

    Sets or compares ``n_features_in_`` and ``feature_names_in_`` of the estimator.

    Parameters
    ----------
    estimator : estimator to which X was passed
    X : array-like or frame
    reset : bool
        Whether X is that of a first fit.

    Returns
    -------
    Table

    Raises
    ------
    ValueError
        If X has other columns, or holds infinity.
    """
    if reset:
        table = first_table(estimator, X)
    elif not is_frame(X):
        table = read_table(_numbers_or_objects(estimator, X, reset=False))
    else:
        if hasattr(estimator, "feature_names_in_"):
            X = in_order(X, estimator.feature_names_in_)
        _check_feature_names(estimator, X, reset=False)
        _check_n_features(estimator, X, reset=False)
        _check_size(estimator, X)
        table = read_table(X)
    _check_finite_columns(table, column_names(estimator))
    return table


def first_table(estimator, X):
    """The `Table` of a first fit; sets the estimator's number and names of columns."""
    if not is_frame(X):
        return read_table(_numbers_or_objects(estimator, X, reset=True))
    labels_of(X)
    _check_feature_names(estimator, X, reset=True)
    _check_n_features(estimator, X, reset=True)
    _check_size(estimator, X)
    return read_table(X, column_names(estimator))


def next_table(estimator, X):
    """The `Table` of a block of rows with the columns of the first one."""
    X = X if is_frame(X) else _numbers_or_objects(estimator, X, reset=False)
    return read_table(X, column_names(estimator))


def _more_table(estimator, X, schema, partial):
    """The `Table` of new data, its columns in any order if they have names."""
    if not is_frame(X):
        table = read_table(_numbers_or_objects(estimator, X, reset=False), schema.names)
        _check_finite_columns(table, schema.names)
        return table
    labels = labels_of(X)
    named = hasattr(estimator, "feature_names_in_")
    if named != are_names(list(labels)):
        # scikit-learn warns: the columns are taken by position.
        _check_feature_names(estimator, X, reset=False)
    elif named:
        schema.places(X, partial)
    if not partial:
        _check_n_features(estimator, X, reset=False)
    _check_size(estimator, X)
    table = read_table(X)
    _check_finite_columns(table, table.kind.labels)
    return table


def _numbers_or_objects(estimator, X, reset):
    """A validated array: of numbers in their own dtype, or of objects."""
    return validate_data(
        estimator, X, dtype=object if holds_objects(X) else "numeric", reset=reset,
        ensure_all_finite=False,
    )  # fmt: skip


def holds_objects(X):
    """Whether an array or list holds text or other objects beside numbers."""
    if issparse(X) or hasattr(X, "columns"):
        return False
    try:
        return np.asarray(X).dtype.kind in "OUSMm"
    except ValueError:
        return False


def _check_size(estimator, X):
    """Raise as scikit-learn does if a frame has no rows or no columns."""
    for count, what in zip(X.shape, ("sample", "feature"), strict=True):
        if count == 0:
            raise ValueError(
                f"Found array with 0 {what}(s) (shape={tuple(X.shape)}) while a minimum of 1 is "
                f"required by {type(estimator).__name__}."
            )


def _check_finite_columns(table, names):
    """Raise if a column of floats holds infinity."""
    for raw, name in zip(table.columns, names, strict=True):
        if raw.kind == "float" and np.isinf(raw.values).any():
            raise ValueError(infinite_message(name, raw.values))


def _validated(estimator, X, reset, dtype):
    X = validate_data(estimator, X, dtype=dtype, reset=reset, ensure_all_finite=False)
    check_finite(X, estimator)
    return X


def check_finite(X, estimator):
    """Raise if X (n, F) holds infinity.

    Raises
    ------
    ValueError
    """
    # The sum of finite numbers may overflow, but with an infinite one it is never finite.
    with np.errstate(over="ignore", invalid="ignore"):
        if X.dtype.kind in "iub" or np.isfinite(X.sum(dtype=np.float64)):
            return
    infinite = np.isinf(X)
    if infinite.any():
        row, j = np.argwhere(infinite)[0]
        raise ValueError(
            f"Input X contains infinity: column {column_names(estimator)[j]!r}, row {row}; "
            f"{int(infinite.sum())} entries are not finite. Drop these rows or fill them in, for "
            "instance with SimpleImputer."
        )
