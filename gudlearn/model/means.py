"""Conditional means and probabilities of all that is missing in a row, from one evaluation.

Nothing is known of what is missing. The denoiser at the highest noise level is then the mean of
numbers, and the probabilities of levels, given the observed values: exactly, if the network has
learned it there, as one has that was fitted with ``targets="all"``.
"""

import numpy as np
import torch

from gudlearn.model.condition import each_condition


def learned_at_once(state, observed):
    """Whether a state's network has learned the means of what is not observed, (n, F) of bool.

    Of a column that is mapped to a normal one it has learned that of the normal one.
    """
    encoding = state.encoding
    if not state.at_once or not encoding.ends.active.any() or encoding.splits_block(observed):
        return False
    mapped = encoding.warp is not None and (~observed & encoding.warp.columns).any()
    return not mapped


def means_at_once(fitted, rows):
    """Means (n, F) of rows given their observed values, and probabilities (n, L) of levels.

    Parameters
    ----------
    fitted : FittedModel
    rows : Rows

    Returns
    -------
    means : ndarray of shape (n, F)
        Within the range that was seen, where samples are. Categories are 0.
    probabilities : ndarray of shape (n, L) or None
        Of the levels of all categories that vary, column by column; None without categories.
    """
    encoding, model = fitted.encoding, fitted.components
    n_numeric = len(model.numeric)

    def evaluate(condition):
        means, probabilities = condition.means()
        return means if probabilities is None else torch.cat([means, probabilities], 1)

    found = np.concatenate(list(each_condition(fitted, rows, evaluate)))
    z = np.zeros((len(rows), model.n_components))
    z[:, model.numeric.cpu().numpy()] = found[:, :n_numeric]
    means = encoding.decode_mean(z)
    within = np.clip(means, *encoding.seen)
    means = np.where(encoding.kinds.clip & ~encoding.masked, within, means)
    return means, None if model.levels is None else found[:, n_numeric:]
