"""Display of draws of missing values of a row, with the observed values and the truth."""

from dataclasses import replace
from typing import Any, Self

import numpy as np

from gudlearn._typing import RandomState
from gudlearn.data.frames import labels_of
from gudlearn.plotting.columns import drawn_columns, format_value, take
from gudlearn.plotting.common import (
    FAKE_COLOR,
    LINE_COLOR,
    check_count,
    estimator_name,
    grid_of_axes,
    import_pyplot,
    new_or_given_axes,
    tidy,
)
from gudlearn.plotting.completions import completions, is_mixed, values_of
from gudlearn.plotting.distributions import BAR_WIDTH, draw_distribution

# Largest number of features that are named on the axis, of draws that are drawn as lines, and of
# panels and of observed values that are shown.
_MAX_NAMES = 16
_MAX_LINES = 20
_MAX_PANELS = 16
_MAX_OBSERVED = 6


class ConditionalDisplay:
    """Completions of one partially observed row: draws, a band that contains most, and the truth.

    Rows whose columns share a unit are drawn as lines over the features. Rows of a frame with
    categories or times have a panel for each column that is not observed: a histogram of the
    draws, or a bar for each level.

    It is recommended to use :meth:`from_estimator`.

    Parameters
    ----------
    draws : ndarray of shape (n_draws, n_features), or frame
        Completed rows. A frame is drawn in panels.

    row : ndarray of shape (n_features,), or frame of one row
        The partially observed row; NaN is a missing value. A frame has the observed columns only.

    truth : ndarray of shape (n_features,), or frame of one row, default=None
        The complete row.

    coverage : float, default=0.9
        Fraction of the draws inside the band, for each feature separately.

    names : array-like of str of shape (n_features,), default=None
        Names of the features.

    name : str, default=None
        Title of the plot.

    Attributes
    ----------
    lines_ : list of matplotlib Line2D
        The first draws; in panels, the truth of each column.

    band_ : matplotlib artist
        The band; in panels, a list with the band of each column, None for categories.

    axes_ : ndarray of matplotlib Axes of shape (n_panels,)
        The panels; at most 16.

    ax_ : matplotlib Axes
        Axes with the draws, or the given axes whose place the panels take.

    figure_ : matplotlib Figure
        Figure containing the axes.

    Examples
    --------
    >>> import numpy as np
    >>> from gudlearn.plotting import ConditionalDisplay
    >>> draws = np.random.default_rng(0).normal(size=(50, 3))
    >>> display = ConditionalDisplay(draws=draws, row=np.array([0.0, np.nan, np.nan])).plot()
    >>> len(display.lines_)
    20
    """

    def __init__(self, *, draws, row, truth=None, coverage=0.9, names=None, name=None):
        self.draws = draws
        self.row = row
        self.truth = truth
        self.coverage = coverage
        self.names = names
        self.name = name

    @classmethod
    def from_estimator(
        cls, estimator: Any, row: Any, *, truth: Any = None, n_samples: int = 100,
        coverage: float = 0.9, panels: Any = "auto", random_state: RandomState = None,
        name: str | None = None, ax: Any = None, **kwargs: Any,
    ) -> Self:  # fmt: skip
        """Draw completions of one row.

        Parameters
        ----------
        estimator : GUDGenerator
            A fitted generator.

        row : array-like of shape (n_features,), one image, dict, Series or frame of one row
            NaN is a missing value. Pixels are drawn row by row. A dict, a Series and a frame may
            hold the observed columns only.

        truth : the same, default=None
            The complete row.

        n_samples : int, default=100
            Number of draws.

        coverage : float, default=0.9
            Fraction of the draws inside the band.

        panels : bool or "auto", default="auto"
            Whether each column that is not observed has a panel of its own, as columns of
            different units need. "auto": if the model was fitted to a frame with categories or
            times.

        random_state : int, RandomState instance or None, default=None
            As in ``sample``.

        name : str, default=None
            Title. None: the name of the estimator's class.

        ax : matplotlib Axes, default=None
            Axes to draw on. None: a new figure.

        **kwargs : dict
            Passed to matplotlib's ``plot`` for every draw, or to ``stairs`` in panels.

        Returns
        -------
        display : ConditionalDisplay
        """
        n_samples = check_count(n_samples, "n_samples")
        if is_mixed(estimator) if panels == "auto" else panels:
            draws, row, truth = completions(estimator, row, truth, n_samples, random_state)
            display = cls(
                draws=draws, row=row, truth=truth, coverage=coverage,
                name=estimator_name(estimator, name),
            )  # fmt: skip
            return display.plot(ax=ax, **kwargs)
        row, truth = (
            values_of(name, value, estimator) for name, value in (("row", row), ("truth", truth))
        )
        row = np.asarray(row, dtype=np.float64)
        shape = getattr(estimator, "sample_shape_", (row.size,))
        if row.shape != shape or not np.isnan(row).any():
            raise ValueError(
                f"row must be one row of shape {shape}, with NaN for missing values, got shape "
                f"{row.shape}."
            )
        if truth is not None and np.shape(truth) != row.shape:
            raise ValueError(f"truth has shape {np.shape(truth)}, but row has {row.shape}.")
        names = getattr(estimator, "feature_names_in_", None)
        partial = row[None]
        if names is not None:
            import pandas as pd

            partial = pd.DataFrame(partial, columns=names)
        draws = estimator.sample(n_samples, given=partial, random_state=random_state)
        display = cls(
            draws=np.asarray(draws, dtype=np.float64).reshape(n_samples, -1),
            row=row.ravel(),
            truth=None if truth is None else np.asarray(truth, dtype=np.float64).ravel(),
            coverage=coverage,
            names=names,
            name=estimator_name(estimator, name),
        )
        return display.plot(ax=ax, **kwargs)

    def plot(self, ax: Any = None, *, name: str | None = None, **kwargs: Any) -> Self:
        """Draw the completions.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on. None: a new figure.

        name : str, default=None
            Title. None: the ``name`` of the display.

        **kwargs : dict
            Passed to matplotlib's ``plot`` for every draw, or to ``stairs`` in panels.

        Returns
        -------
        display : ConditionalDisplay
        """
        if not 0 < self.coverage <= 1:
            raise ValueError(f"coverage={self.coverage!r} must be above 0 and at most 1.")
        title = self.name if name is None else name
        if labels_of(self.draws) is not None:
            self._plot_panels(ax, title, kwargs)
        else:
            self._plot_lines(ax, title, kwargs)
        return self

    def _plot_lines(self, ax, title, kwargs):
        ax = new_or_given_axes(self, ax, figsize=(6.4, 3.6))
        draws, row = np.asarray(self.draws), np.asarray(self.row)
        position = np.arange(len(row))
        tail = (1 - self.coverage) / 2
        low, high = np.quantile(draws, [tail, 1 - tail], axis=0)
        label = f"{100 * self.coverage:g} % of the draws"
        self.band_ = ax.fill_between(
            position, low, high, color=FAKE_COLOR, alpha=0.2, linewidth=0, label=label
        )
        style = {"color": FAKE_COLOR, "linewidth": 0.7, "alpha": 0.45} | kwargs
        self.lines_ = [ax.plot(position, draw, **style)[0] for draw in draws[:_MAX_LINES]]
        self.lines_[0].set_label("draws")
        if self.truth is not None:
            ax.plot(position, self.truth, color="black", linewidth=1.2, label="truth")
        observed = ~np.isnan(row)
        style = {"color": LINE_COLOR, "markersize": 4, "label": "observed"}
        ax.plot(position[observed], row[observed], "o", **style)
        ax.set(xlabel="feature", ylabel="value")
        if self.names is not None and len(position) <= _MAX_NAMES:
            ax.set_xticks(position, [str(n) for n in self.names], rotation=30, ha="right")
            ax.set_xlabel("")
        if title is not None:
            ax.set_title(title)
        ax.legend(frameon=False)
        tidy(ax)
        self.ax_, self.figure_ = ax, ax.figure

    def _plot_panels(self, ax, title, kwargs):
        import_pyplot(self)
        names = list(labels_of(self.draws))
        observed = [] if self.row is None else list(labels_of(self.row))
        targets = [j for j, name in enumerate(names) if name not in observed][:_MAX_PANELS]
        tables = [self.draws, *([] if self.truth is None else [self.truth])]
        columns = drawn_columns(*(take(X, _places(X, names, targets)) for X in tables))
        self.figure_, self.axes_ = grid_of_axes(ax, len(columns))
        style = {"fill": True, "color": FAKE_COLOR, "alpha": 0.45} | kwargs
        self.lines_, self.band_ = [], []
        for cell, column in zip(self.axes_, columns, strict=True):
            shown = replace(column, values=column.values[:1])
            draw_distribution(cell, shown, [style])
            self.band_.append(self._draw_band(cell, column))
            if len(column.values) > 1:
                self.lines_.append(_draw_truth(cell, column))
        heading = [*([] if title is None else [title]), *self._observed_lines()]
        place = {"fontsize": "medium"}
        handles = [next((part for part in parts if part is not None), None)
                   for parts in (self.band_, self.lines_)]  # fmt: skip
        labels = [f"{100 * self.coverage:g} % of the draws", "truth"]
        shown = [(h, text) for h, text in zip(handles, labels, strict=True) if h is not None]
        legend = {"handles": [h for h, _ in shown], "labels": [text for _, text in shown]}
        if ax is None:
            self.figure_.suptitle("\n".join(heading), **place)
            if shown:
                self.figure_.legend(**legend, loc="outside lower center", ncols=2, frameon=False)
        else:
            ax.set_title("\n".join(heading), **place)
            if shown:
                self.axes_[0].legend(**legend, frameon=False, fontsize="x-small")
        self.ax_ = ax

    def _draw_band(self, cell, column):
        """The middle of the draws of a column, a bar under the axis; None for categories."""
        known = column.values[0][~np.isnan(column.values[0])]
        if column.kind == "category" or not len(known):
            return None
        tail = (1 - self.coverage) / 2
        low, high = np.quantile(known, [tail, 1 - tail])
        return cell.axvspan(low, high, ymax=0.05, color=FAKE_COLOR, linewidth=0)

    def _observed_lines(self):
        """The observed values as text."""
        if self.row is None:
            return []
        columns = drawn_columns(self.row)
        texts = [f"{c.name} = {format_value(c, c.values[0][0])}" for c in columns[:_MAX_OBSERVED]]
        more = len(columns) - len(texts)
        return ["given " + ", ".join(texts) + (f" and {more} more" if more > 0 else "")]


def _places(X, names, targets):
    """Positions in X of the target columns."""
    own = list(labels_of(X))
    return [own.index(names[j]) for j in targets]


def _draw_truth(cell, column):
    """A line at the true value of a column; None where it is missing or no draw has it."""
    value = column.values[1][0]
    if column.kind != "category":
        return None if np.isnan(value) else cell.axvline(value, color="black", linewidth=1.4)
    place = len(column.levels) if np.isnan(value) else value
    reach = BAR_WIDTH / 2
    return cell.plot([0, 0], [place - reach, place + reach], color="black", linewidth=5.0)[0]
