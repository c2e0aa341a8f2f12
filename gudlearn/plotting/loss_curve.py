"""Display of training loss and validation loss."""

from typing import Any, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from gudlearn.plotting.common import (
    FAKE_COLOR,
    LINE_COLOR,
    REAL_COLOR,
    estimator_name,
    new_or_given_axes,
    tidy,
)


class LossCurveDisplay:
    """Training loss and, if there is validation, validation loss by epoch.

    It is recommended to use :meth:`from_estimator`.

    Parameters
    ----------
    loss_curve : array-like of shape (n_epochs,)
        Training loss of each epoch in nats per dimension.

    validation_scores : array-like of shape (n_validations,), default=None
        Scores of the validation rows in nats per dimension; higher is better.

    validation_iters : array-like of shape (n_validations,), default=None
        Number of epochs before each validation. None: there is one after every epoch.

    kept_score : float, default=None
        Validation score of the weights that were kept. None: the highest.

    name : str, default=None
        Title of the plot.

    Attributes
    ----------
    line_ : matplotlib Line2D
        The training loss.

    validation_line_ : matplotlib Line2D or None
        The negative validation scores.

    kept_ : matplotlib Line2D or None
        Marker of the weights that were kept.

    ax_ : matplotlib Axes
        Axes with the curves.

    figure_ : matplotlib Figure
        Figure containing the axes.

    Examples
    --------
    >>> from gudlearn.plotting import LossCurveDisplay
    >>> display = LossCurveDisplay(
    ...     loss_curve=[2.0, 1.5, 1.4], validation_scores=[-2, -1.6, -1.7]
    ... )
    >>> display.plot().kept_.get_xdata()
    array([2])
    """

    def __init__(
        self, *, loss_curve, validation_scores=None, validation_iters=None, kept_score=None,
        name=None,
    ):  # fmt: skip
        self.loss_curve = loss_curve
        self.validation_scores = validation_scores
        self.validation_iters = validation_iters
        self.kept_score = kept_score
        self.name = name

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, name: str | None = None, ax: Any = None, **kwargs: Any,
    ) -> Self:  # fmt: skip
        """Draw the loss curves of a fitted generator.

        Parameters
        ----------
        estimator : GUDGenerator
            A fitted generator: its ``loss_curve_`` and ``validation_scores_`` are drawn.

        name : str, default=None
            Title. None: the name of the estimator's class.

        ax : matplotlib Axes, default=None
            Axes to draw on. None: a new figure.

        **kwargs : dict
            Passed to matplotlib's ``plot`` for every curve.

        Returns
        -------
        display : LossCurveDisplay
        """
        check_is_fitted(estimator, "loss_curve_")
        display = cls(
            loss_curve=estimator.loss_curve_,
            validation_scores=estimator.validation_scores_,
            validation_iters=estimator.validation_iters_,
            kept_score=estimator.best_validation_score_,
            name=estimator_name(estimator, name),
        )
        return display.plot(ax=ax, **kwargs)

    def plot(self, ax: Any = None, *, name: str | None = None, **kwargs: Any) -> Self:
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on. None: a new figure.

        name : str, default=None
            Title. None: the ``name`` of the display.

        **kwargs : dict
            Passed to matplotlib's ``plot`` for every curve.

        Returns
        -------
        display : LossCurveDisplay
        """
        loss_curve = np.asarray(self.loss_curve, dtype=float)
        if loss_curve.size == 0:
            raise ValueError(
                "There is no epoch to draw: the loss curve is empty, as it is with max_iter=0."
            )
        ax = new_or_given_axes(self, ax, figsize=(6.4, 4.2))
        epochs = np.arange(1.0, len(loss_curve) + 1)
        has_validation = self.validation_scores is not None and len(self.validation_scores) > 0
        style = {"color": REAL_COLOR if has_validation else LINE_COLOR, "label": "training"}
        (self.line_,) = ax.plot(epochs, loss_curve, **(style | kwargs))
        self.validation_line_ = self.kept_ = None
        if has_validation:
            loss = -np.asarray(self.validation_scores, dtype=float)
            if self.validation_iters is None:
                epochs = np.arange(1, len(loss) + 1)
            else:
                epochs = np.asarray(self.validation_iters)
            style = {"color": LINE_COLOR, "label": "validation"}
            (self.validation_line_,) = ax.plot(epochs, loss, **(style | kwargs))
            if self.kept_score is None:
                kept = [np.nanargmin(loss)]
            else:
                # The last one: a continued fit may have scored the same weights twice. None, if
                # the start was scored again after missing values had been imputed, and kept.
                kept = np.flatnonzero(loss == -self.kept_score)[-1:]
            if len(kept):
                label = f"kept: {loss[kept[0]]:.3f}"
                (self.kept_,) = ax.plot(
                    epochs[kept], loss[kept], "o", color=FAKE_COLOR, markersize=6, label=label
                )
            ax.legend(frameon=False)
        ax.set(xlabel="epochs", ylabel="loss (nats per dimension)")
        ax.locator_params(axis="x", integer=True)
        title = self.name if name is None else name
        if title is not None:
            ax.set_title(title)
        tidy(ax)
        self.ax_, self.figure_ = ax, ax.figure
        return self
