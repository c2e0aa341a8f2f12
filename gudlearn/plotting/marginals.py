"""Display of the distribution of each column."""

from collections.abc import Sequence
from dataclasses import replace
from numbers import Integral
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from gudlearn._typing import RandomState
from gudlearn.data.frames import is_frame, labels_of
from gudlearn.plotting.columns import checked, drawn_columns, take
from gudlearn.plotting.common import (
    FAKE_COLOR,
    REAL_COLOR,
    check_count,
    check_rows,
    estimator_name,
    grid_of_axes,
    import_pyplot,
)
from gudlearn.plotting.distributions import draw_distribution


class MarginalsDisplay:
    """The distribution of each column, of real and of generated rows.

    It is recommended to use :meth:`from_estimator` or :meth:`from_samples`.

    Parameters
    ----------
    real : ndarray of shape (n_real, n_columns), or frame
        Real rows.

    fake : ndarray of shape (n_fake, n_columns), or frame
        Generated rows.

    names : array-like of str of shape (n_columns,), default=None
        Names of the columns.

    name : str, default=None
        Name of the generated rows in the legend. None: "generated".

    Attributes
    ----------
    axes_ : ndarray of matplotlib Axes of shape (n_columns,)
        One axes for each column.

    real_ : list of matplotlib StepPatch
        The histograms of the real rows, or the bars of their categories.

    fake_ : list of matplotlib StepPatch
        The histograms of the generated rows, or the bars of their categories.

    spikes_ : list of (list of Line2D, list of Line2D)
        For each column, the point masses of the real and of the generated rows.

    ax_ : matplotlib Axes or None
        The given axes, whose place the grid takes.

    figure_ : matplotlib Figure
        Figure containing the axes.

    Notes
    -----
    Both histograms of a column are densities over the same bins. A column of integers with few
    values has one bin for each value. For other columns, the bins cover the central 99 % of the
    real rows and a margin. Rows outside are not drawn, but are part of the total.

    Values that repeat far more often than their neighbours in the real rows (point masses) are
    drawn as spikes beside the histogram of the others. A spike is as high as the fraction of the
    values that it stands for, and the axes are as high as all of them.

    A category has a bar for each level, as long as the fraction of the rows: its levels in their
    order, or the most frequent first. From 13 levels on the rare ones share a bar. Missing values
    are a bar of their own, and a line below the name of columns of numbers and times: first of the
    real, then of the generated rows.

    Examples
    --------
    >>> import numpy as np
    >>> from gudlearn.plotting import MarginalsDisplay
    >>> rng = np.random.default_rng(0)
    >>> real, fake = rng.normal(size=(100, 3)), rng.normal(size=(80, 3))
    >>> MarginalsDisplay.from_samples(real, fake, max_columns=2).axes_.shape
    (2,)
    """

    def __init__(self, *, real, fake, names=None, name=None):
        self.real = real
        self.fake = fake
        self.names = names
        self.name = name

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: ArrayLike, *, n_samples: int | None = None,
        columns: Sequence[str] | Sequence[int] | None = None, max_columns: int = 12,
        random_state: RandomState = None, name: str | None = None, ax: Any = None, **kwargs: Any,
    ) -> Self:  # fmt: skip
        """Draw the columns of ``X`` and of samples of a fitted generator.

        Parameters
        ----------
        estimator : estimator with ``sample``
            A fitted generator.

        X : array-like of shape (n_rows, n_features), or frame
            Real rows.

        n_samples : int, default=None
            Number of rows to sample. None: the number of rows of ``X``.

        columns : list of int or str, default=None
            The columns to draw, by index or by name. None: the first ``max_columns``.

        max_columns : int, default=12
            The largest number of columns to draw.

        random_state : int, RandomState instance or None, default=None
            Passed to ``estimator.sample``.

        name : str, default=None
            Name of the generated rows in the legend. None: the name of the estimator's class.

        ax : matplotlib Axes, default=None
            Axes whose place the grid takes. None: a new figure.

        **kwargs : dict
            Passed to matplotlib's ``stairs`` for the generated rows.

        Returns
        -------
        display : MarginalsDisplay
        """
        if n_samples is None:
            n_samples = X.shape[0] if is_frame(X) else check_rows(X, "X").shape[0]
        fake = estimator.sample(check_count(n_samples, "n_samples"), random_state=random_state)
        return cls.from_samples(
            X,
            fake,
            columns=columns,
            max_columns=max_columns,
            name=estimator_name(estimator, name),
            ax=ax,
            **kwargs,
        )

    @classmethod
    def from_samples(
        cls, real: ArrayLike, fake: ArrayLike, *,
        columns: Sequence[str] | Sequence[int] | None = None, max_columns: int = 12,
        name: str | None = None, ax: Any = None, **kwargs: Any,
    ) -> Self:  # fmt: skip
        """Draw the columns of real and of generated rows.

        Parameters
        ----------
        real : array-like of shape (n_real, n_features), or frame of pandas, polars or pyarrow
            Real rows.

        fake : array-like of shape (n_fake, n_features), or frame
            Generated rows, with the same columns.

        columns : list of int or str, default=None
            The columns to draw, by index or by name. None: the first ``max_columns``.

        max_columns : int, default=12
            The largest number of columns to draw.

        name : str, default=None
            Name of the generated rows in the legend. None: "generated".

        ax : matplotlib Axes, default=None
            Axes whose place the grid takes. None: a new figure.

        **kwargs : dict
            Passed to matplotlib's ``stairs`` for the generated rows.

        Returns
        -------
        display : MarginalsDisplay
        """
        max_columns = check_count(max_columns, "max_columns")
        real, fake = checked(real, fake)
        names = _feature_names(real, fake)
        chosen = _column_indices(columns, names)[:max_columns]
        places = [_places(X, names)[chosen] for X in (real, fake)]
        display = cls(
            real=take(real, places[0]), fake=take(fake, places[1]), names=names[chosen], name=name
        )
        return display.plot(ax=ax, **kwargs)

    def plot(self, ax: Any = None, *, name: str | None = None, **kwargs: Any) -> Self:
        """Draw the histograms.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes whose place the grid takes. None: a new figure.

        name : str, default=None
            Name of the generated rows in the legend. None: the ``name`` of the display.

        **kwargs : dict
            Passed to matplotlib's ``stairs`` for the generated rows.

        Returns
        -------
        display : MarginalsDisplay
        """
        import_pyplot(self)
        columns = drawn_columns(self.real, self.fake)
        self.figure_, self.axes_ = grid_of_axes(ax, len(columns))
        generated = ("generated" if self.name is None else self.name) if name is None else name
        styles = [
            {"fill": True, "color": REAL_COLOR, "label": "real"},
            {"color": FAKE_COLOR, "linewidth": 1.4, "label": generated} | kwargs,
        ]
        self.real_, self.fake_, self.spikes_ = [], [], []
        for j, (cell, column) in enumerate(zip(self.axes_, columns, strict=True)):
            if self.names is not None:
                column = replace(column, name=str(self.names[j]))
            (real, fake), spikes = draw_distribution(cell, column, styles)
            self.real_.append(real)
            self.fake_.append(fake)
            self.spikes_.append(tuple(spikes))
        handles = [self.real_[0], self.fake_[0]]
        if ax is None:
            self.figure_.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False)
        else:
            self.axes_[0].legend(handles=handles, frameon=False, fontsize="x-small")
        self.ax_ = ax
        return self


def _feature_names(real, fake):
    """Names of the columns as text, (F,): of the first frame, or x0, x1, ..."""
    frame = next((X for X in (real, fake) if is_frame(X)), None)
    labels = range(real.shape[1]) if frame is None else labels_of(frame)
    names = [f"x{j}" if frame is None else str(label) for j, label in enumerate(labels)]
    return np.asarray(names, dtype=object)


def _places(X, names):
    """Position in X of each name, (F,)."""
    if not is_frame(X):
        return np.arange(len(names))
    places = {str(label): j for j, label in enumerate(labels_of(X))}
    lacking = [name for name in names if name not in places]
    if lacking:
        raise ValueError(f"fake lacks the columns {lacking} of real. Pass the same columns.")
    return np.array([places[name] for name in names])


def _column_indices(columns, names):
    if columns is None:
        return list(range(len(names)))
    index_of = {name: j for j, name in enumerate(names)}
    indices = []
    for column in columns:
        if isinstance(column, str) and column in index_of:
            indices.append(index_of[column])
        elif isinstance(column, Integral) and -len(names) <= column < len(names):
            indices.append(int(column))
        else:
            raise ValueError(
                f"columns has the entry {column!r}, which is no index or name of a column. "
                f"The names are: {', '.join(names)}."
            )
    if not indices:
        raise ValueError("columns is empty. Name at least one column, or pass None.")
    return indices
