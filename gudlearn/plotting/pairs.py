"""Display of the dependence of each pair of columns, in real and in generated rows."""

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from gudlearn._typing import RandomState
from gudlearn.metrics import trend_error
from gudlearn.metrics.association import associations
from gudlearn.plotting.common import check_count, estimator_name, grid_of_axes, import_pyplot

# Largest number of columns that are named on the axes.
_MAX_NAMES = 40


class PairDependenceDisplay:
    """How strongly each pair of columns depends on each other, and the error of generated rows.

    It is recommended to use :meth:`from_estimator` or :meth:`from_samples`.

    Parameters
    ----------
    real, fake : ndarray of shape (n_columns, n_columns)
        Dependence of each pair in the real and in the generated rows, between -1 and 1; NaN where
        it is undefined.

    error : ndarray of shape (n_columns, n_columns)
        Error of each pair, between 0 and 1; NaN where it is undefined.

    names : array-like of str of shape (n_columns,), default=None
        Names of the columns.

    name : str, default=None
        Name of the generated rows. None: "generated".

    Attributes
    ----------
    images_ : list of matplotlib AxesImage
        The three matrices.

    axes_ : ndarray of matplotlib Axes of shape (3,)
        Real rows, generated rows, error.

    ax_ : matplotlib Axes or None
        The given axes, whose place the three take.

    figure_ : matplotlib Figure
        Figure containing the axes.

    Notes
    -----
    The dependence of two columns of numbers or times is their Pearson correlation; that of a pair
    with a category is Cramér's V, from the frequencies of pairs of levels, where a missing value is
    a level and numbers are replaced by ten bins. The error is that of
    :func:`gudlearn.metrics.trend_error`: half of the difference of the correlations, or the total
    variation distance of these frequencies. In small samples both are above 0 by chance: compare
    with the error of held-out rows.

    Examples
    --------
    >>> import pandas as pd
    >>> from gudlearn.plotting import PairDependenceDisplay
    >>> real = pd.DataFrame({"x": [1.0, 2.0, 3.0, 4.0], "word": ["a", "a", "b", "b"]})
    >>> display = PairDependenceDisplay.from_samples(real, real)
    >>> display.real[0, 1], display.error[0, 1]
    (np.float64(1.0), np.float64(0.0))
    """

    def __init__(self, *, real, fake, error, names=None, name=None):
        self.real = real
        self.fake = fake
        self.error = error
        self.names = names
        self.name = name

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: ArrayLike, *, n_samples: int | None = None, max_rows: int = 100_000,
        random_state: RandomState = None, name: str | None = None, ax: Any = None, **kwargs: Any,
    ) -> Self:  # fmt: skip
        """Draw the dependences of ``X`` and of samples of a fitted generator.

        Parameters
        ----------
        estimator : estimator with ``sample``
            A fitted generator.

        X : array-like of shape (n_rows, n_features), or frame
            Real rows.

        n_samples : int, default=None
            Number of rows to sample. None: the number of rows of ``X``.

        max_rows : int or None, default=100000
            At most this many rows of each sample are used, drawn at random.

        random_state : int, RandomState instance or None, default=None
            Passed to ``estimator.sample``.

        name : str, default=None
            Name of the generated rows. None: the name of the estimator's class.

        ax : matplotlib Axes, default=None
            Axes whose place the matrices take. None: a new figure.

        **kwargs : dict
            Passed to matplotlib's ``imshow`` for all three matrices.

        Returns
        -------
        display : PairDependenceDisplay
        """
        if n_samples is None:
            n_samples = X.shape[0] if hasattr(X, "shape") else len(X)
        fake = estimator.sample(check_count(n_samples, "n_samples"), random_state=random_state)
        name = estimator_name(estimator, name)
        return cls.from_samples(X, fake, max_rows=max_rows, name=name, ax=ax, **kwargs)

    @classmethod
    def from_samples(
        cls, real: ArrayLike, fake: ArrayLike, *, max_rows: int = 100_000, name: str | None = None,
        ax: Any = None, **kwargs: Any,
    ) -> Self:  # fmt: skip
        """Draw the dependences of real and of generated rows.

        Parameters
        ----------
        real : array-like of shape (n_real, n_features), or frame of pandas, polars or pyarrow
            Real rows, with at least two columns.

        fake : array-like of shape (n_fake, n_features), or frame
            Generated rows, with the same columns.

        max_rows : int or None, default=100000
            At most this many rows of each sample are used, drawn at random.

        name : str, default=None
            Name of the generated rows. None: "generated".

        ax : matplotlib Axes, default=None
            Axes whose place the matrices take. None: a new figure.

        **kwargs : dict
            Passed to matplotlib's ``imshow`` for all three matrices.

        Returns
        -------
        display : PairDependenceDisplay
        """
        error = trend_error(real, fake, max_rows=max_rows).pairs
        found = [table.to_numpy() for table in associations(real, fake, max_rows=max_rows)]
        names = [f"x{c}" if isinstance(c, int) else str(c) for c in error.columns]
        display = cls(real=found[0], fake=found[1], error=error.to_numpy(), names=names, name=name)
        return display.plot(ax=ax, **kwargs)

    def plot(self, ax: Any = None, *, name: str | None = None, **kwargs: Any) -> Self:
        """Draw the three matrices.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes whose place the matrices take. None: a new figure.

        name : str, default=None
            Name of the generated rows. None: the ``name`` of the display.

        **kwargs : dict
            Passed to matplotlib's ``imshow`` for all three matrices.

        Returns
        -------
        display : PairDependenceDisplay
        """
        import_pyplot(self)
        generated = ("generated" if self.name is None else self.name) if name is None else name
        matrices = [np.asarray(part, dtype=float) for part in (self.real, self.fake, self.error)]
        error = matrices[2]
        known = error[np.triu_indices(len(error), 1)]
        known = known[~np.isnan(known)]
        mean = f" (mean {known.mean():.3f})" if len(known) else ""
        titles = ["real", generated, f"error{mean}"]
        largest = float(np.nanmax(error, initial=0.0))
        dependence = {"cmap": "RdBu_r", "vmin": -1, "vmax": 1}
        styles = [dependence, dependence, {"cmap": "Oranges", "vmin": 0, "vmax": largest or 1.0}]
        self.figure_, self.axes_ = grid_of_axes(ax, 3, (3.3, 2.9), n_columns=3)
        self.images_ = []
        for cell, matrix, title, style in zip(self.axes_, matrices, titles, styles, strict=True):
            cell.set_facecolor("#d9dde2")
            self.images_.append(cell.imshow(matrix, **(style | kwargs)))
            cell.set_title(title, fontsize="small")
            self._name_columns(cell)
        size = {"shrink": 0.7, "pad": 0.02}
        bars = [
            self.figure_.colorbar(self.images_[1], ax=self.axes_[:2], **size),
            self.figure_.colorbar(self.images_[2], ax=self.axes_[2], **size),
        ]
        for bar in bars:
            bar.ax.tick_params(labelsize="x-small")
        self.ax_ = ax
        return self

    def _name_columns(self, cell):
        names = self.names
        if names is None or len(names) > _MAX_NAMES:
            cell.set(xticks=[], yticks=[])
            return
        style = {"fontsize": "x-small"}
        cell.set_xticks(range(len(names)), names, rotation=90, **style)
        first = cell is not self.axes_[1]
        cell.set_yticks(range(len(names)), names if first else [""] * len(names), **style)
