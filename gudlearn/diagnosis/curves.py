"""What the curves of training say: too short, overfitting, nothing learned, or fine."""

from dataclasses import dataclass

import numpy as np

# Fractions: of the whole gain, that counts; of the epochs, that are the end; before which the best
# weights are early; after which they are late.
_SOME, _END, _EARLY, _LATE = 0.15, 2 / 3, 0.7, 0.85
# Nats per dimension that count.
_LEAST = 0.005


@dataclass(frozen=True)
class Curves:
    """What the curves of training say.

    Parameters
    ----------
    verdict : str
        "untrained"; "unvalidated", if there are fewer than four evaluations; "start kept", if
        training did not improve on the closed-form start; "overfitting", if the best weights are
        early and the score fell afterwards; "too short", if the score still rose at the end; or
        "converged".
    n_epochs : int
    best_epoch : int or None
        Epochs before the weights that were kept.
    gain : float
        How far the kept weights are above the start, in nats per dimension; NaN without validation.
    late_gain : float
        How far the score rose in the last third of the epochs.
    fall : float
        How far the score fell from the kept weights to the end.
    final_loss : float
        Training loss at the end, the mean of a tenth of the epochs.
    final_loss_std_error : float
        Its standard error; NaN if a tenth is fewer than four epochs.
    """

    verdict: str
    n_epochs: int
    best_epoch: int | None = None
    gain: float = np.nan
    late_gain: float = np.nan
    fall: float = np.nan
    final_loss: float = np.nan
    final_loss_std_error: float = np.nan


def judge_curves(losses, scores, epochs, kept_score=None):
    """Judge the curves of a fit.

    Parameters
    ----------
    losses : list of float
        Training loss of each epoch, in nats per dimension.
    scores : list of float
        Log-likelihood of held-out rows at each evaluation, in nats per dimension; the first is the
        untrained model's.
    epochs : list of int
        Number of epochs before each evaluation.
    kept_score : float or None
        The score of the weights that were kept; None: the highest.

    Returns
    -------
    Curves
    """
    n, scores, epochs = len(losses), np.asarray(scores, float), np.asarray(epochs, float)
    if not n:
        return Curves("untrained", 0)
    last = np.asarray(losses[-max(1, n // 10) :], float)
    error = float(last.std(ddof=1) / np.sqrt(len(last))) if len(last) > 3 else np.nan
    final = {"final_loss": float(last.mean()), "final_loss_std_error": error}
    if len(scores) < 4 or not np.isfinite(scores).all():
        return Curves("unvalidated", n, **final)
    best = int(scores.argmax())
    if kept_score is not None and (scores == kept_score).any():
        best = int(np.flatnonzero(scores == kept_score)[-1])
    late = epochs > _END * epochs[-1]
    gain = float(scores[best] - scores[0])
    late_gain = float(scores[late].max() - scores[~late].max())
    fall = float(scores[best] - scores[-max(1, len(scores) // 10) :].mean())
    # Evaluations share their noise: what is left is seen in second differences, where the curve
    # has become flat.
    bends = np.abs(np.diff(scores, 2))[(len(scores) - 2) // 2 :]
    noise = 1.4826 * np.median(bends) / np.sqrt(6)
    least = max(_LEAST, 3 * noise, _SOME * gain)
    verdict = "converged"
    if epochs[best] == 0:
        verdict = "start kept"
    elif epochs[best] <= _EARLY * epochs[-1] and fall > least:
        verdict = "overfitting"
    elif epochs[best] >= _LATE * epochs[-1] and late_gain > least:
        verdict = "too short"
    return Curves(verdict, n, int(epochs[best]), gain, late_gain, fall, **final)
