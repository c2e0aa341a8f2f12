"""Display of a sweep over schedules."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from gudlearn.plotting.common import FAKE_COLOR, LINE_COLOR, estimator_name, new_or_given_axes, tidy

_COLUMNS = ("bits_per_dim", "std_error_difference")


class SweepDisplay:
    """Bound of one fit under each schedule of a sweep, with the best one marked.

    Error bars are standard errors of the difference to the best schedule, on the same rows with the
    same noise: where a bar reaches down to the line of the best, the two cannot be told apart.

    It is recommended to use :meth:`from_results` or :meth:`from_estimator`.

    Parameters
    ----------
    bits_per_dim : array-like of shape (n_schedules,)
        Bound on the negative log-likelihood of each schedule, in bits per dimension.

    std_error_difference : array-like of shape (n_schedules,), default=None
        Standard error of each difference to the best. None draws no error bars.

    labels : list of str, default=None
        Name of each schedule. None: their numbers.

    xlabel : str, default="schedule"
        What the names are.

    name : str, default=None
        Title of the plot.

    Attributes
    ----------
    errorbar_ : matplotlib ErrorbarContainer
        Points with error bars.

    best_ : matplotlib Line2D
        Marker of the best schedule.

    ax_ : matplotlib Axes
        Axes with the points.

    figure_ : matplotlib Figure
        Figure containing the axes.

    Examples
    --------
    >>> from gudlearn.plotting import SweepDisplay
    >>> display = SweepDisplay(bits_per_dim=[2.1, 1.9, 2.0], labels=["0.1", "1", "inf"])
    >>> display.plot().best_.get_xdata()
    array([1])
    """

    def __init__(
        self, *, bits_per_dim, std_error_difference=None, labels=None, xlabel="schedule", name=None
    ):
        self.bits_per_dim = bits_per_dim
        self.std_error_difference = std_error_difference
        self.labels = labels
        self.xlabel = xlabel
        self.name = name

    @classmethod
    def from_results(
        cls, results: Any, *, name: str | None = None, ax: Any = None, **kwargs: Any,
    ) -> Self:  # fmt: skip
        """Draw the results of a sweep.

        Parameters
        ----------
        results : Sweep or DataFrame
            What ``sweep`` of a generator returned, or its ``results``.

        name : str, default=None
            Title of the plot.

        ax : matplotlib Axes, default=None
            Axes to draw on. None: a new figure.

        **kwargs : dict
            Passed to matplotlib's ``errorbar``.

        Returns
        -------
        display : SweepDisplay
        """
        results = getattr(results, "results", results)
        missing = [c for c in _COLUMNS if c not in getattr(results, "columns", ())]
        if missing:
            raise ValueError(
                f"results has no column {missing[0]!r}. Pass what GUDGenerator.sweep returned."
            )
        labels, xlabel = _labels(results)
        display = cls(
            bits_per_dim=results[_COLUMNS[0]].to_numpy(),
            std_error_difference=results[_COLUMNS[1]].to_numpy(),
            labels=labels, xlabel=xlabel, name=name,
        )  # fmt: skip
        return display.plot(ax=ax, **kwargs)

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: ArrayLike,
        param_grid: Mapping[str, Any] | Sequence[Mapping[str, Any]], *, y: ArrayLike | None = None,
        n_draws: int | Literal["auto", "coarse"] = "coarse", name: str | None = None,
        ax: Any = None, **kwargs: Any,
    ) -> Self:  # fmt: skip
        """Sweep over a grid of schedules, and draw the results.

        Parameters
        ----------
        estimator : GUDGenerator
            A generator that was fitted with ``Training(schedule_family=...)``.

        X, param_grid, y, n_draws
            As of ``sweep``.

        name : str, default=None
            Title. None: the name of the estimator's class.

        ax : matplotlib Axes, default=None
            Axes to draw on. None: a new figure.

        **kwargs : dict
            Passed to matplotlib's ``errorbar``.

        Returns
        -------
        display : SweepDisplay
        """
        swept = estimator.sweep(X, param_grid, y, n_draws=n_draws)
        return cls.from_results(swept, name=estimator_name(estimator, name), ax=ax, **kwargs)

    def plot(self, ax: Any = None, *, name: str | None = None, **kwargs: Any) -> Self:
        """Draw the points.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on. None: a new figure.

        name : str, default=None
            Title. None: the ``name`` of the display.

        **kwargs : dict
            Passed to matplotlib's ``errorbar``.

        Returns
        -------
        display : SweepDisplay
        """
        bits = np.asarray(self.bits_per_dim, dtype=float)
        if bits.size == 0:
            raise ValueError("There is no schedule to draw: bits_per_dim is empty.")
        ax = new_or_given_axes(self, ax, figsize=(6.4, 4.2))
        place, best = np.arange(len(bits)), np.nanargmin(bits)
        style = {"color": LINE_COLOR, "fmt": "o", "capsize": 3} | kwargs
        self.errorbar_ = ax.errorbar(place, bits, self.std_error_difference, **style)
        ax.axhline(bits[best], color=FAKE_COLOR, linewidth=0.8, zorder=0)
        (self.best_,) = ax.plot(
            place[[best]], bits[[best]], "o", color=FAKE_COLOR, label=f"best: {bits[best]:.3f}"
        )
        labels = place.tolist() if self.labels is None else self.labels
        long = max(len(str(label)) for label in labels) * len(labels) > 60
        ax.set_xticks(place, labels, rotation=90 if long else 0)
        ax.set(xlabel=self.xlabel, ylabel="bound (bits per dimension)")
        ax.legend(frameon=False)
        title = self.name if name is None else name
        if title is not None:
            ax.set_title(title)
        tidy(ax)
        self.ax_, self.figure_ = ax, ax.figure
        return self


def _labels(results):
    """A name for each row of the results of a sweep, and what the names are."""
    columns = [c for c in results if c.startswith("schedule__")]
    if not columns:
        return [type(schedule).__name__ for schedule in results["schedule"]], "schedule"
    names = [c.removeprefix("schedule__") for c in columns]
    texts = np.array([_texts(results[c]) for c in columns], dtype=object).T
    if len(columns) == 1 and (texts != "").all():
        return texts[:, 0].tolist(), names[0]
    pairs = [zip(names, row, strict=True) for row in texts]
    return [", ".join(f"{n} {text}" for n, text in row if text) for row in pairs], "schedule"


def _texts(values):
    """Short texts of values; those that are arrays or lists are counted, missing ones empty."""
    lists, texts = [], []
    for value in values:
        if np.ndim(value):
            text = str(np.asarray(value).tolist())
            lists += [text] if text not in lists else []
            texts.append(f"no. {lists.index(text) + 1}")
        elif isinstance(value, str):
            texts.append(value)
        else:
            texts.append("" if pd.isna(value) else f"{value:g}")
    return texts
