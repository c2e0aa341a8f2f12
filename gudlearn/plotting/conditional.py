"""Display of draws of missing values of a row, with the observed values and the truth."""

import numpy as np

from gudlearn.plotting.common import (
    FAKE_COLOR,
    LINE_COLOR,
    check_count,
    estimator_name,
    new_or_given_axes,
    tidy,
)

# Largest number of features that are named on the axis, and of draws that are drawn as lines.
_MAX_NAMES = 16
_MAX_LINES = 20


class ConditionalDisplay:
    """Completions of one partially observed row: draws, a band that contains most, and the truth.

    It is recommended to use :meth:`from_estimator`.

    Parameters
    ----------
    draws : ndarray of shape (n_draws, n_features)
        Completed rows.

    row : ndarray of shape (n_features,)
        The partially observed row; NaN is a missing value.

    truth : ndarray of shape (n_features,), default=None
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
        The first draws.

    band_ : matplotlib artist
        The band.

    ax_ : matplotlib Axes
        Axes with the draws.

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
        cls,
        estimator,
        row,
        *,
        truth=None,
        n_samples=100,
        coverage=0.9,
        random_state=None,
        name=None,
        ax=None,
        **kwargs,
    ):
        """Draw completions of one row.

        Parameters
        ----------
        estimator : GUDGenerator
            A fitted generator.

        row : array-like of shape (n_features,), or of one image
            NaN is a missing value. Pixels are drawn row by row.

        truth : array-like of the same shape, default=None
            The complete row.

        n_samples : int, default=100
            Number of draws.

        coverage : float, default=0.9
            Fraction of the draws inside the band.

        random_state : int, RandomState instance or None, default=None
            As in ``sample``.

        name : str, default=None
            Title. None: the name of the estimator's class.

        ax : matplotlib Axes, default=None
            Axes to draw on. None: a new figure.

        **kwargs : dict
            Passed to matplotlib's ``plot`` for every draw.

        Returns
        -------
        display : ConditionalDisplay
        """
        row = np.asarray(row, dtype=np.float64)
        shape = getattr(estimator, "sample_shape_", (row.size,))
        if row.shape != shape or not np.isnan(row).any():
            raise ValueError(
                f"row must be one row of shape {shape}, with NaN for missing values, got shape "
                f"{row.shape}."
            )
        if truth is not None and np.shape(truth) != row.shape:
            raise ValueError(f"truth has shape {np.shape(truth)}, but row has {row.shape}.")
        n_samples = check_count(n_samples, "n_samples")
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

    def plot(self, ax=None, *, name=None, **kwargs):
        """Draw the completions.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on. None: a new figure.

        name : str, default=None
            Title. None: the ``name`` of the display.

        **kwargs : dict
            Passed to matplotlib's ``plot`` for every draw.

        Returns
        -------
        display : ConditionalDisplay
        """
        if not 0 < self.coverage <= 1:
            raise ValueError(f"coverage={self.coverage!r} must be above 0 and at most 1.")
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
        title = self.name if name is None else name
        if title is not None:
            ax.set_title(title)
        ax.legend(frameon=False)
        tidy(ax)
        self.ax_, self.figure_ = ax, ax.figure
        return self
