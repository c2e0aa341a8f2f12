"""The display of a diagnosis holds what it is given."""

import sys
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from gudlearn.plotting import DiagnosisDisplay

U = (np.arange(100) + 0.5) / 100


def diagnosis(**changes):
    """What a display reads from a diagnosis."""
    columns = pd.DataFrame(
        {"n": [100, 100, 0], "n_effective": [50.0, 100.0, 0.0]}, index=["bad", "good", "empty"]
    )
    rows = pd.DataFrame({"log_likelihood": [-90.0, -4.0], "unusual": [True, False]})
    training = {
        "loss_curve": [2.0, 1.5], "validation_scores": [-2.0, -1.5], "validation_iters": [0, 2],
        "kept_score": -1.5,
    }  # fmt: skip
    found = {
        "findings": [], "columns": columns, "rows": rows, "training": training,
        "pit": {"good": U, "empty": [], "bad": U**2},
        "log_likelihood": {"test": np.r_[-90.0, -5 + U], "samples": -4 + U},
    }  # fmt: skip
    return SimpleNamespace(**found | changes)


def test_curves_are_distributions_minus_the_uniform_one():
    display = DiagnosisDisplay.from_diagnosis(diagnosis(), name="a fit")
    assert [line.get_label() for line in display.lines_] == ["bad", "good"]
    bad, good = display.lines_
    np.testing.assert_allclose(good.get_ydata()[1:-1], 0.005)
    # The distribution function of a squared uniform number is the root.
    x = bad.get_xdata()
    np.testing.assert_allclose(bad.get_ydata(), np.sqrt(x) - x, atol=0.0051)
    band = display.band_.get_paths()[0].vertices[:, 1]
    assert band.max() == pytest.approx(5 * np.sqrt(0.25 / 50)) and band.min() == -band.max()
    assert display.figure_.get_suptitle() == "a fit" and display.ax_ is display.axes_[0]


def test_training_and_unusual_rows_are_drawn():
    display = DiagnosisDisplay.from_diagnosis(diagnosis())
    assert display.loss_curve_.kept_.get_xdata() == [2]
    assert display.loss_curve_.ax_ is display.axes_[1]
    right = display.axes_[2]
    # The row is beyond what is drawn, and is marked at the end.
    low = (-4 + U).mean() - 12 * U.std()
    assert display.marks_.get_xdata() == pytest.approx([low])
    labels = [text.get_text() for text in right.get_legend().get_texts()]
    assert set(labels) == {"rows of the model", "test rows", "1 of them far below"}
    display.figure_.canvas.draw()


def test_what_was_not_done_leaves_its_panel_empty():
    empty = diagnosis(
        columns=pd.DataFrame({"n": [], "n_effective": []}), pit={},
        training={"loss_curve": [], "validation_scores": [], "validation_iters": [],
                  "kept_score": None},
        rows=pd.DataFrame({"log_likelihood": [-5.0], "unusual": [False]}),
        log_likelihood={"test": -5 + U, "held-out": -5 + U, "training": -4 + U},
    )  # fmt: skip
    display = DiagnosisDisplay.from_diagnosis(empty)
    texts = [text.get_text() for ax in display.axes_ for text in ax.texts]
    assert texts == ["no column was judged", "the network is untrained"]
    assert display.lines_ == [] and display.band_ is display.loss_curve_ is display.marks_ is None
    legend = {text.get_text() for text in display.axes_[2].get_legend().get_texts()}
    assert legend == {"held-out rows", "training rows", "test rows"}
    one = DiagnosisDisplay(pit={}, n_effective=[], log_likelihood={"test": [-1.0, -1.0]}).plot()
    one.figure_.canvas.draw()


@pytest.mark.parametrize("scores", [[-1.0, -np.inf, -2.0], [-np.inf, -np.inf]])
def test_impossible_rows_are_beyond_the_range(scores):
    display = DiagnosisDisplay(
        pit={}, n_effective=[], log_likelihood={"test": scores, "held-out": scores}
    ).plot()
    display.figure_.canvas.draw()
    assert np.isfinite(display.axes_[2].get_xlim()).all()


def test_given_axes_are_replaced_by_the_panels():
    figure, ax = plt.subplots()
    display = DiagnosisDisplay.from_diagnosis(diagnosis(), ax=ax, name="x", color="k")
    assert display.ax_ is ax and display.figure_ is figure and ax.get_title() == "x"
    assert plt.get_fignums() == [figure.number] and display.lines_[0].get_color() == "k"


def test_an_estimator_is_diagnosed_first(stand_in):
    class Diagnosed(stand_in):
        def diagnose(self, X, y=None, **arguments):
            self.arguments = X, y, arguments
            return diagnosis()

    gen = Diagnosed()
    display = DiagnosisDisplay.from_estimator(gen, "X", y="y", X_train="T", n_rows=30)
    assert gen.arguments == (
        "X", "y", {"X_train": "T", "y_train": None, "n_rows": 30, "random_state": None}
    )  # fmt: skip
    assert display.figure_.get_suptitle() == "Diagnosed"


def test_bad_input_is_refused(monkeypatch):
    with pytest.raises(TypeError, match="diagnosis is a dict. Pass what GUDGenerator.diagnose"):
        DiagnosisDisplay.from_diagnosis({})
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"DiagnosisDisplay.*gudlearn\[plot\]"):
        DiagnosisDisplay(pit={}, n_effective=[], log_likelihood={"test": [1.0]}).plot()
