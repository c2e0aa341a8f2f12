"""Parameters that name columns, and parameters that are counts."""

import difflib
from numbers import Integral

import numpy as np


def column_names(estimator):
    """Names of an estimator's columns; x0, x1, ... where they had no names."""
    if hasattr(estimator, "feature_names_in_"):
        return list(estimator.feature_names_in_)
    return [f"x{j}" for j in range(estimator.n_features_in_)]


def nearest_name(name, known):
    """A question that offers the most similar of the known names; empty if none is similar."""
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.3)
    return f"Did you mean {near[0]!r}? " if near else ""


def as_mask(parameter, columns, names, shape):
    """Boolean mask of columns, (F,), from names, indices or a mask.

    Parameters
    ----------
    parameter : str
        Name of the parameter, for messages.
    columns : list of str, list of int, or bool array
        A mask has the shape of one row, of one image, or of an image without its channels.
    names : list of str
    shape : tuple of int
        Shape of one image; (F,) of a row.

    Raises
    ------
    ValueError
        If a name is unknown, an index is out of range or a mask has another shape.
    TypeError
        If columns holds anything else.
    """
    n_columns, entries = len(names), np.atleast_1d(np.asarray(columns))
    if entries.dtype == bool:
        if entries.shape == shape[:2] and len(shape) == 3:
            entries = np.broadcast_to(entries[..., None], shape)
        if entries.shape not in (shape, (n_columns,)):
            raise ValueError(
                f"{parameter} is a mask of shape {entries.shape}, but one sample of X has shape "
                f"{shape}. Pass a mask of that shape."
            )
        return entries.reshape(-1)
    mask = np.zeros(n_columns, dtype=bool)
    if entries.size == 0:
        return mask
    if entries.dtype.kind in "UO" and all(isinstance(e, str) for e in entries.ravel()):
        places = {name: j for j, name in enumerate(names)}
        unknown = [e for e in entries.ravel() if e not in places]
        if unknown:
            raise ValueError(
                f"{parameter} names column {str(unknown[0])!r}, which X does not have. Its "
                f"columns are {', '.join(map(repr, names[:10]))}."
            )
        mask[[places[e] for e in entries.ravel()]] = True
        return mask
    if entries.dtype.kind not in "iu" or entries.ndim != 1:
        raise TypeError(
            f"{parameter}={columns!r} must hold names of columns, their indices, or be a mask of "
            "booleans."
        )
    outside = (entries < -n_columns) | (entries >= n_columns)
    if outside.any():
        raise ValueError(
            f"{parameter} holds the index {entries[outside][0]}, but X has the columns 0 to "
            f"{n_columns - 1}."
        )
    mask[entries] = True
    return mask


def masks_of_groups(groups, names, shape):
    """Masks (n_groups, F) of groups of columns; None stands for every column by itself.

    Raises
    ------
    ValueError
        If a group is empty, or `as_mask` refuses it.
    TypeError
        If groups are neither a list nor a dict.
    """
    if groups is None:
        return np.eye(len(names), dtype=bool)
    if not isinstance(groups, list | tuple | dict):
        raise TypeError(
            f"groups={groups!r} must be a list, or a dict, of groups of columns, or None."
        )
    groups = list(groups.values()) if isinstance(groups, dict) else list(groups)
    masks = [as_mask("groups", group, names, shape) for group in groups]
    empty = [k for k, mask in enumerate(masks) if not mask.any()]
    if empty or not masks:
        subject = f"group {empty[0]} of groups is" if empty else "groups is"
        raise ValueError(f"{subject} empty. Pass at least one column in each, or None.")
    return np.stack(masks)


def check_n_samples(n_samples, name="n_samples"):
    """Raise if a count is not a positive whole number.

    Raises
    ------
    ValueError
    """
    if isinstance(n_samples, bool) or not isinstance(n_samples, Integral) or n_samples < 1:
        raise ValueError(
            f"{name}={n_samples!r} must be a whole number of at least 1. Pass how many you want."
        )
