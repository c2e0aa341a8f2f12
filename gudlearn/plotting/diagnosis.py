"""Display of a diagnosis: calibration of columns, training, and likelihoods of rows."""

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from gudlearn._typing import RandomState
from gudlearn.diagnosis.result import Diagnosis
from gudlearn.plotting.common import (
    FAKE_COLOR,
    LINE_COLOR,
    REAL_COLOR,
    estimator_name,
    grid_of_axes,
    import_pyplot,
    tidy,
)
from gudlearn.plotting.loss_curve import LossCurveDisplay

# Standard errors of the band, columns that are named, bars of histograms.
_ERRORS, _NAMED, _BARS = 5, 3, 30
# Standard deviations below the mean of the reference that are drawn.
_FAR = 12
_COLORS = (FAKE_COLOR, LINE_COLOR, "#009e73")


class DiagnosisDisplay:
    """Calibration of columns, loss curves and likelihoods of rows, side by side.

    Left: how far the distribution of each column's PIT is above or below the uniform one, with a
    band of five standard errors around zero, and the worst columns in colour. A curve that falls
    and rises again, or the reverse, says that values are larger, or smaller, than predicted; one
    that crosses zero in the middle, that predictions are too narrow (first above) or too wide.
    Middle: the loss curves, with the weights that were kept. Right: log-likelihoods of test rows
    beside those that they are compared with, and triangles where single rows are far below.

    It is recommended to use :meth:`from_estimator` or :meth:`from_diagnosis`.

    Parameters
    ----------
    pit : dict of str to array-like
        PIT of the values of each column, the worst column first. Empty draws no curves.

    n_effective : list of float
        Number of values by which each column is judged.

    log_likelihood : dict of str to array-like
        Log-likelihoods of rows by name, in nats; "test" is among them.

    unusual : array-like, default=()
        Log-likelihoods of single rows that are marked.

    loss_curve, validation_scores, validation_iters, kept_score : default=None
        As in :class:`LossCurveDisplay`; an empty loss curve draws none.

    name : str, default=None
        Title of the plot.

    Attributes
    ----------
    lines_ : list of matplotlib Line2D
        One for each column, the worst first.

    band_ : matplotlib PolyCollection or None
        The band of the worst column.

    loss_curve_ : LossCurveDisplay or None
        The display of the loss curves.

    marks_ : matplotlib Line2D or None
        The marks of unusual rows.

    axes_ : ndarray of matplotlib Axes of shape (3,)
        The three panels.

    ax_ : matplotlib Axes
        The given axes, or the first panel.

    figure_ : matplotlib Figure
        Figure containing the axes.

    Examples
    --------
    >>> import numpy as np
    >>> from gudlearn.plotting import DiagnosisDisplay
    >>> u = np.linspace(0, 1, 101)
    >>> display = DiagnosisDisplay(pit={"a": u**2, "b": u}, n_effective=[101, 101],
    ...                            log_likelihood={"test": [-2.0, -1.0, -1.5]}).plot()
    >>> [line.get_label() for line in display.lines_]
    ['a', 'b']
    """

    def __init__(
        self, *, pit, n_effective, log_likelihood, unusual=(), loss_curve=(),
        validation_scores=None, validation_iters=None, kept_score=None, name=None,
    ):  # fmt: skip
        self.pit = pit
        self.n_effective = n_effective
        self.log_likelihood = log_likelihood
        self.unusual = unusual
        self.loss_curve = loss_curve
        self.validation_scores = validation_scores
        self.validation_iters = validation_iters
        self.kept_score = kept_score
        self.name = name

    @classmethod
    def from_diagnosis(
        cls, diagnosis: Diagnosis, *, name: str | None = None, ax: Any = None, **kwargs: Any,
    ) -> Self:  # fmt: skip
        """Draw a diagnosis.

        Parameters
        ----------
        diagnosis : Diagnosis
            What ``GUDGenerator.diagnose`` returned.

        name : str, default=None
            Title of the plot.

        ax : matplotlib Axes, default=None
            Axes in whose place the panels are drawn. None: a new figure.

        **kwargs : dict
            Passed to matplotlib's ``plot`` for the curves of the columns.

        Returns
        -------
        display : DiagnosisDisplay
        """
        if not hasattr(diagnosis, "findings"):
            raise TypeError(
                f"diagnosis is a {type(diagnosis).__name__}. Pass what GUDGenerator.diagnose "
                "returned."
            )
        columns, rows, training = diagnosis.columns, diagnosis.rows, diagnosis.training
        columns = columns[columns["n"] > 0]
        display = cls(
            pit={label: diagnosis.pit[label] for label in columns.index},
            n_effective=columns["n_effective"].tolist(),
            log_likelihood=diagnosis.log_likelihood,
            unusual=rows["log_likelihood"][rows["unusual"]].to_numpy(),
            loss_curve=training["loss_curve"],
            validation_scores=training["validation_scores"],
            validation_iters=training["validation_iters"],
            kept_score=training["kept_score"],
            name=name,
        )
        return display.plot(ax=ax, **kwargs)

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: ArrayLike, *, y: ArrayLike | None = None,
        X_train: ArrayLike | None = None, y_train: ArrayLike | None = None, n_rows: int = 200,
        random_state: RandomState = None, name: str | None = None, ax: Any = None, **kwargs: Any,
    ) -> Self:  # fmt: skip
        """Diagnose a fitted generator, and draw what was found.

        Parameters
        ----------
        estimator : GUDGenerator
            A fitted generator.

        X, y, X_train, y_train, n_rows, random_state
            As of ``diagnose``.

        name : str, default=None
            Title. None: the name of the estimator's class.

        ax : matplotlib Axes, default=None
            Axes in whose place the panels are drawn. None: a new figure.

        **kwargs : dict
            Passed to matplotlib's ``plot`` for the curves of the columns.

        Returns
        -------
        display : DiagnosisDisplay
        """
        diagnosis = estimator.diagnose(
            X, y, X_train=X_train, y_train=y_train, n_rows=n_rows, random_state=random_state
        )
        name = estimator_name(estimator, name)
        return cls.from_diagnosis(diagnosis, name=name, ax=ax, **kwargs)

    def plot(self, ax: Any = None, *, name: str | None = None, **kwargs: Any) -> Self:
        """Draw the panels.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes in whose place the panels are drawn. None: a new figure.

        name : str, default=None
            Title. None: the ``name`` of the display.

        **kwargs : dict
            Passed to matplotlib's ``plot`` for the curves of the columns.

        Returns
        -------
        display : DiagnosisDisplay
        """
        import_pyplot(self)
        figure, axes = grid_of_axes(ax, 3, cell_size=(4.0, 3.2), n_columns=3, wspace=0.35)
        self._plot_columns(axes[0], kwargs)
        self._plot_training(axes[1])
        self._plot_rows(axes[2])
        title = self.name if name is None else name
        if title is not None and ax is None:
            figure.suptitle(title)
        elif title is not None:
            ax.set_title(title, pad=18)
        self.axes_, self.ax_, self.figure_ = axes, axes[0] if ax is None else ax, figure
        return self

    def _plot_columns(self, ax, kwargs):
        self.lines_, self.band_ = [], None
        for k, (label, pit) in enumerate(self.pit.items()):
            u = np.sort(np.asarray(pit, dtype=float))
            x = np.concatenate([[0.0], u, [1.0]])
            above = np.concatenate([[0.0], np.arange(1, len(u) + 1) / len(u), [1.0]]) - x
            style = {"color": REAL_COLOR, "linewidth": 0.8, "zorder": 1}
            if k < _NAMED:
                style = {"color": _COLORS[k], "linewidth": 1.4, "zorder": 3 - k / 10}
            self.lines_ += ax.plot(x, above, **({**style, "label": label} | kwargs))
        ax.set(title="calibration of columns", xlabel="PIT", ylabel="distribution minus uniform")
        if self.lines_:
            u = np.linspace(0, 1, 101)
            half = _ERRORS * np.sqrt(u * (1 - u) / self.n_effective[0])
            band = {"color": REAL_COLOR, "alpha": 0.25, "linewidth": 0, "zorder": 0}
            self.band_ = ax.fill_between(u, -half, half, **band)
            ax.legend(handles=self.lines_[:_NAMED], frameon=False, fontsize="small")
            tidy(ax)
        else:
            _say(ax, "no column was judged")

    def _plot_training(self, ax):
        self.loss_curve_ = None
        if len(self.loss_curve):
            self.loss_curve_ = LossCurveDisplay(
                loss_curve=self.loss_curve, validation_scores=self.validation_scores,
                validation_iters=self.validation_iters, kept_score=self.kept_score,
            ).plot(ax)  # fmt: skip
        else:
            _say(ax, "the network is untrained")
        ax.set_title("training")

    def _plot_rows(self, ax):
        values = {name: np.asarray(v, dtype=float) for name, v in self.log_likelihood.items()}
        others = [name for name in values if name != "test"]
        low, high = _range(values, values[others[0] if others else "test"])
        edges = np.linspace(low, high, _BARS + 1)
        for name, color in zip([*others, "test"], [REAL_COLOR, "#cc79a7", "#009e73"], strict=False):
            style = {"label": f"{name} rows" if name != "samples" else "rows of the model"}
            if name == "test":
                style |= {"histtype": "step", "color": LINE_COLOR, "linewidth": 1.6}
            else:
                style |= {"color": color, "alpha": 0.6}
            ax.hist(np.clip(values[name], low, high), edges, density=True, **style)
        self.marks_, marked = None, np.asarray(self.unusual, dtype=float)
        if len(marked):
            # Rows beyond the range are marked at its end.
            place, label = np.maximum(marked, low), f"{len(marked)} of them far below"
            style = {"color": FAKE_COLOR, "clip_on": False, "label": label}
            (self.marks_,) = ax.plot(place, np.zeros(len(marked)), "^", **style)
        ax.set(title="rows", xlabel="log-likelihood (nats)", ylabel="density")
        ax.legend(frameon=False, fontsize="small")
        tidy(ax)


def _range(values, reference):
    """Range of likelihoods by name that are drawn, from far below those of a reference."""
    finite = np.concatenate([v[np.isfinite(v)] for v in values.values()])
    if not len(finite):
        return -1.0, 0.0
    reference = reference[np.isfinite(reference)]
    far = reference.mean() - _FAR * reference.std() if len(reference) else -np.inf
    low = max(finite.min(), far)
    return low, max(finite.max(), low + 1e-9)


def _say(ax, text):
    ax.text(0.5, 0.5, text, ha="center", va="center", transform=ax.transAxes)
    ax.set(xticks=[], yticks=[])
