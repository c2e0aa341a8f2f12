"""The bins of the columns of a pipeline: their widths, and values as bin indices."""

import numpy as np

from gudlearn.transforms.determinants import column_name


def resolve_bin_width(pipeline, dtypes):
    """Bin widths of the columns, (n_features,), or None for a density.

    Parameters
    ----------
    pipeline : GenerativePipeline
    dtypes : list of numpy dtypes
        One per column.

    Returns
    -------
    ndarray of shape (n_features,) or None

    Raises
    ------
    ValueError
        If the `bin_width` of the pipeline is invalid, or "auto" is ambiguous.
    """
    width, n_features = pipeline.bin_width, pipeline.n_features_in_
    if width is None:
        return None
    if isinstance(width, str):
        if width != "auto":
            raise ValueError(f"bin_width={width!r} must be 'auto', None, a number or an array.")
        is_integer = [dtype.kind in "iub" for dtype in dtypes]
        if all(is_integer):
            return np.ones(n_features)
        if not any(is_integer):
            return None
        names = [column_name(pipeline, column) for column in np.flatnonzero(is_integer)]
        raise ValueError(
            f"bin_width='auto' found integers in columns {', '.join(names)} and floats in the "
            "others: one score cannot be a probability and a density. Pass one width per "
            "column, or None for the density of all."
        )
    try:
        widths = np.asarray(width, dtype=np.float64)
    except (TypeError, ValueError):
        widths = np.array(np.nan)
    if widths.shape not in ((), (n_features,)):
        raise ValueError(
            f"bin_width has shape {widths.shape} but X has {n_features} columns. Pass a number "
            "or one number per column."
        )
    if not (np.isfinite(widths) & (widths > 0)).all():
        raise ValueError(
            f"bin_width={width!r} must be positive and finite in every column (None stands for "
            "all columns or for none)."
        )
    return np.full(n_features, widths)


def bin_indices(pipeline, X):
    """Bin indices of values, whole numbers; (n, n_features).

    Raises
    ------
    ValueError
        If a value is not a multiple of its column's bin width.
    """
    ratio = np.asarray(X, dtype=np.float64) / pipeline.bin_width_
    indices = np.rint(ratio)
    # Multiples that were rounded to float32 are still multiples.
    off = np.abs(ratio - indices) > 1e-6 + 4 * np.finfo(np.float32).eps * np.abs(ratio)
    if off.any():
        row, column = np.argwhere(off)[0]
        raise ValueError(
            f"X has the value {X[row, column]} in column {column_name(pipeline, column)}, which is "
            f"not a whole multiple of its bin_width {pipeline.bin_width_[column]}. Round the "
            "column, or pass another bin_width (None for a density)."
        )
    return indices
