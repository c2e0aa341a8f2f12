"""Validation: the user's data become a numeric array and a container."""

import numpy as np
import pandas as pd
from sklearn.utils.validation import validate_data

from gudlearn.data.columns import column_names
from gudlearn.data.containers import Container
from gudlearn.data.images import ImageContainer, are_names, read_images


def read_first(estimator, X, shape):
    """Validate the X of a first fit; return its numbers and its container.

    Sets ``n_features_in_`` and ``feature_names_in_`` of the estimator.

    Parameters
    ----------
    estimator : estimator to which X was passed
    X : array-like, DataFrame or images
    shape : tuple of int or None
        Shape of one image where X holds flat rows of images.

    Returns
    -------
    values : ndarray of shape (n, F)
        float64 for a table, the images' own dtype for images.
    container : Container or ImageContainer
    """
    images = read_images(X, shape)
    if images is None:
        container = Container.of(X)
        return _validated(estimator, X, reset=True, dtype=np.float64), container
    X, container = images
    X = _validated(estimator, X, reset=True, dtype=None)
    if are_names(container.names):
        estimator.feature_names_in_ = np.asarray(container.names, dtype=object)
    return X, container


def read_more(estimator, X, container):
    """Validate new data of the kind that was fitted; errors name the column.

    Parameters
    ----------
    estimator : estimator to which X was passed
    X : array-like, DataFrame or images
    container : Container or ImageContainer

    Returns
    -------
    ndarray of shape (n, F)
    """
    if not isinstance(container, ImageContainer):
        return _validated(estimator, X, reset=False, dtype=np.float64)
    rows = container.rows(X)
    if hasattr(estimator, "feature_names_in_"):
        # The container has compared the names.
        rows = pd.DataFrame(rows, columns=estimator.feature_names_in_)
    return _validated(estimator, rows, reset=False, dtype=None)


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
