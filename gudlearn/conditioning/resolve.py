"""Validation of the conditions that a user passes, and the choice of a method."""

import numpy as np

from gudlearn.conditioning.conditions import LinearObservation


def resolve_method(conditioning, splits_block, conditional_rate, basis):
    """The method by which partially observed rows are completed.

    Parameters
    ----------
    conditioning : {"auto", "exact", "posterior", "repaint"}
        Parameter of the estimator.
    splits_block : bool
        Whether observed columns are part of a block that the basis mixes.
    conditional_rate : float
        Fraction of the training rows that were partially observed.
    basis : Basis
        Basis in use, for the message.

    Raises
    ------
    ValueError
        If conditioning is "exact" and observed columns do not make whole components.
    """
    if conditioning == "exact" and splits_block:
        raise ValueError(
            "conditioning='exact' needs observed columns that make whole components, but "
            f"basis={basis!r} mixes them with others. Use conditioning='auto', or fit with "
            "basis='identity'."
        )
    if conditioning == "auto":
        return "posterior" if splits_block or conditional_rate == 0 else "exact"
    return conditioning


def method_with_categories(conditioning, splits_block, conditional_rate, basis, any_order):
    """The method by which rows with categories are completed: always "exact".

    Parameters
    ----------
    conditioning, splits_block, conditional_rate, basis : see `resolve_method`
    any_order : bool
        Whether all columns are categories: training by masks then serves all conditionals.

    Raises
    ------
    ValueError
        If another method is asked for, or would be needed.
    """
    if conditioning not in ("auto", "exact"):
        raise ValueError(
            f"conditioning={conditioning!r} guides numbers, but X has columns of categories, which "
            "are masked. Use conditioning='auto', which observes whole columns."
        )
    if splits_block:
        raise ValueError(
            "Columns are observed that make no whole components: "
            f"basis={basis!r} mixes them with others, and X has categories. Fit with "
            "basis='identity', or a BlockBasis whose blocks are not parted."
        )
    if conditional_rate == 0 and not any_order and conditioning == "auto":
        raise ValueError(
            "conditional_rate=0: the network never saw partially observed numbers, and rows with "
            "categories cannot be guided. Fit with conditional_rate=0.3."
        )
    return "exact"


def resolve_observation(observation, n_columns, conditioning):
    """The condition of a user's (A, y, noise_std).

    Parameters
    ----------
    observation : tuple (A, y, noise_std)
    n_columns : int
    conditioning : {"auto", "exact", "posterior", "repaint"}

    Returns
    -------
    condition : LinearObservation
    one_row : bool
        Whether y is for a single row.

    Raises
    ------
    TypeError, ValueError
        If shapes or values are wrong, or the method does not support the observation.
    """
    if not isinstance(observation, tuple | list) or len(observation) != 3:
        raise TypeError("observation must be a tuple (A, y, noise_std).")
    A, values, noise_std = (np.asarray(part, dtype=np.float64) for part in observation)
    if A.ndim != 2 or A.shape[1] != n_columns:
        raise ValueError(
            f"observation has A of shape {A.shape}, but it must be (m, {n_columns}): one "
            "column for each feature of X."
        )
    if not len(A) or values.ndim not in (1, 2) or values.shape[-1] != len(A) or not len(values):
        raise ValueError(
            f"observation has y of shape {values.shape}, but A has {len(A)} rows. Pass y of "
            f"shape ({len(A)},) or (n_rows, {len(A)})."
        )
    if noise_std.ndim > 1 or noise_std.size not in (1, len(A)) or not (noise_std >= 0).all():
        raise ValueError(
            f"observation has noise_std={observation[2]!r}: pass one number of at least 0, or "
            f"{len(A)} of them."
        )
    if not (np.isfinite(A).all() and np.isfinite(values).all() and noise_std.max() < np.inf):
        raise ValueError("observation must be finite, but holds NaN or infinity.")
    method = _method_for_observation(conditioning, noise_std, observation[2])
    noise_std = np.broadcast_to(noise_std, (len(A),))
    return LinearObservation(A, np.atleast_2d(values), noise_std, method), values.ndim == 1


def _method_for_observation(conditioning, noise_std, passed_noise_std):
    method = "posterior" if conditioning == "auto" else conditioning
    if method == "exact":
        raise ValueError(
            "conditioning='exact' takes whole observed components only, not linear observations. "
            "Use 'auto', 'posterior' or 'repaint'."
        )
    if method == "repaint" and noise_std.any():
        raise ValueError(
            "conditioning='repaint' replaces values by the observed ones, without noise, but the "
            f"observation has noise_std={passed_noise_std!r}. Use 'auto' or 'posterior', or pass "
            "noise_std=0."
        )
    return method
