"""Display of histograms of each column."""

import math
from numbers import Integral

import numpy as np

from gudlearn.plotting.common import (
    FAKE_COLOR,
    REAL_COLOR,
    check_count,
    check_real_and_fake,
    check_rows,
    estimator_name,
    import_pyplot,
)

#: Columns of integers in a range of fewer values than this have one bar for each value.
N_BARS = 64


class MarginalsDisplay:
    """Histograms of each column, of real and of generated rows.

    It is recommended to use :meth:`from_estimator` or :meth:`from_samples`.

    Parameters
    ----------
    real : ndarray of shape (n_real, n_columns)
        Real rows.

    fake : ndarray of shape (n_fake, n_columns)
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
        The histograms of the real rows.

    fake_ : list of matplotlib StepPatch
        The histograms of the generated rows.

    ax_ : matplotlib Axes or None
        The given axes, whose place the grid takes.

    figure_ : matplotlib Figure
        Figure containing the axes.

    Notes
    -----
    Both histograms of a column are densities over the same bins. A column of integers with few
    values has one bin for each value. For other columns, the bins cover the central 99 % of the
    real rows and a margin. Rows outside are not drawn, but are part of the total.

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
        cls,
        estimator,
        X,
        *,
        n_samples=None,
        columns=None,
        max_columns=12,
        random_state=None,
        name=None,
        ax=None,
        **kwargs,
    ):
        """Draw the columns of ``X`` and of samples of a fitted generator.

        Parameters
        ----------
        estimator : estimator with ``sample``
            A fitted generator.

        X : array-like of shape (n_rows, n_features)
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
            n_samples = check_rows(X, "X").shape[0]
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
        cls, real, fake, *, columns=None, max_columns=12, name=None, ax=None, **kwargs
    ):
        """Draw the columns of real and of generated rows.

        Parameters
        ----------
        real : array-like of shape (n_real, n_features)
            Real rows.

        fake : array-like of shape (n_fake, n_features)
            Generated rows.

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
        frame = real
        real, fake = check_real_and_fake(real, fake)
        names = _feature_names(frame, real.shape[1])
        chosen = _column_indices(columns, names)[:max_columns]
        display = cls(real=real[:, chosen], fake=fake[:, chosen], names=names[chosen], name=name)
        return display.plot(ax=ax, **kwargs)

    def plot(self, ax=None, *, name=None, **kwargs):
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
        plt = import_pyplot(self)
        real, fake = np.asarray(self.real, dtype=float), np.asarray(self.fake, dtype=float)
        n_grid_columns = math.ceil(math.sqrt(real.shape[1]))
        n_grid_rows = math.ceil(real.shape[1] / n_grid_columns)
        if ax is None:
            size = (2.3 * n_grid_columns + 0.4, 1.8 * n_grid_rows + 0.5)
            self.figure_ = plt.figure(figsize=size, layout="constrained")
            grid = self.figure_.add_gridspec(n_grid_rows, n_grid_columns)
        else:
            self.figure_ = ax.figure
            ax.set_axis_off()
            # Axes of `add_axes` have no subplotspec; the grid then covers the same rectangle.
            box, spec = ax.get_position(), ax.get_subplotspec()
            if spec is None:
                outer = self.figure_.add_gridspec(
                    1, 1, left=box.x0, right=box.x1, bottom=box.y0, top=box.y1
                )
                spec = outer[0]
            grid = spec.subgridspec(n_grid_rows, n_grid_columns, hspace=0.45, wspace=0.15)
        generated = ("generated" if self.name is None else self.name) if name is None else name

        self.axes_, self.real_, self.fake_ = np.empty(real.shape[1], dtype=object), [], []
        style = {"color": FAKE_COLOR, "linewidth": 1.4, "label": generated} | kwargs
        for j in range(real.shape[1]):
            cell = self.figure_.add_subplot(grid[divmod(j, n_grid_columns)])
            edges = _bin_edges(real[:, j], fake[:, j])
            self.real_.append(
                cell.stairs(
                    _density(real[:, j], edges), edges, fill=True, color=REAL_COLOR, label="real"
                )
            )
            self.fake_.append(cell.stairs(_density(fake[:, j], edges), edges, **style))
            if self.names is not None:
                cell.set_title(str(self.names[j]), fontsize="small")
            cell.set_yticks([])
            cell.tick_params(labelsize="x-small")
            cell.spines[["top", "right", "left"]].set_visible(False)
            self.axes_[j] = cell
        handles = [self.real_[0], self.fake_[0]]
        if ax is None:
            self.figure_.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False)
        else:
            self.axes_[0].legend(handles=handles, frameon=False, fontsize="x-small")
        self.ax_ = ax
        return self


def _feature_names(X, n_features):
    if hasattr(X, "columns"):
        return np.asarray([str(column) for column in X.columns], dtype=object)
    return np.asarray([f"x{j}" for j in range(n_features)], dtype=object)


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


def _bin_edges(real, fake):
    low, high = np.quantile(real, [0.005, 0.995])
    integers = np.all(real == np.round(real)) and np.all(fake == np.round(fake))
    both_low, both_high = min(real.min(), fake.min()), max(real.max(), fake.max())
    if integers and both_high - both_low < N_BARS:
        return np.arange(both_low - 0.5, both_high + 1.0)
    if low == high:
        # Almost all rows have one value: use a bin around it, and a few next to it.
        width = max(abs(low) * 1e-2, 1e-6)
        return low + width * (np.arange(6) - 2.5)
    margin = 0.1 * (high - low)
    n_bins = int(np.clip(1.5 * math.sqrt(min(len(real), len(fake))), 12, 40))
    return np.linspace(low - margin, high + margin, n_bins + 1)


def _density(values, edges):
    counts, _ = np.histogram(values, edges)
    return counts / (len(values) * np.diff(edges))
