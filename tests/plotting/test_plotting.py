"""The artists of each display hold the given data."""

import sys
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError

from gudlearn.bases import IdentityBasis
from gudlearn.generator import GUDGenerator
from gudlearn.plotting import (
    LossCurveDisplay,
    MarginalsDisplay,
    PairDependenceDisplay,
    PowerSpectrumDisplay,
    ReverseTrajectoryDisplay,
    SampleGridDisplay,
    ScheduleDisplay,
    SweepDisplay,
)
from gudlearn.schedules import (
    CosineSchedule,
    LinearSchedule,
    SequentialSchedule,
    SoftConditioningSchedule,
)


def rows(n_rows, n_features, seed=0):
    return np.random.default_rng(seed).normal(size=(n_rows, n_features))


def swept(**columns):
    """Results of a sweep over three schedules."""
    return pd.DataFrame({
        "schedule": [LinearSchedule()] * 3, **columns,
        "bits_per_dim": [2.5, 1.25, 2.0], "std_error_difference": [0.5, 0.0, 0.25],
    })  # fmt: skip


# Every display


def all_displays(fitted, ax=None):
    real = rows(9, 4)
    return [
        ScheduleDisplay.from_estimator(fitted, ax=ax),
        ScheduleDisplay.from_schedule(LinearSchedule(), [1.0, 2.0], ax=ax),
        SampleGridDisplay.from_estimator(fitted, real, n_samples=4, ax=ax),
        SampleGridDisplay.from_samples(real, real, ax=ax),
        LossCurveDisplay.from_estimator(fitted, ax=ax),
        MarginalsDisplay.from_estimator(fitted, real, ax=ax),
        MarginalsDisplay.from_samples(real, real, ax=ax),
        PairDependenceDisplay.from_estimator(fitted, real, ax=ax),
        PairDependenceDisplay.from_samples(real, real, ax=ax),
        ReverseTrajectoryDisplay(t=np.linspace(1, 0, 9), denoised=real, noisy=real).plot(ax=ax),
        PowerSpectrumDisplay.from_samples(real, real, ax=ax),
        SweepDisplay.from_results(swept(), ax=ax),
    ]


def test_given_axes_are_used(fitted):
    figure, ax = plt.subplots()
    for display in all_displays(fitted, ax=ax):
        assert display.ax_ is ax
        assert display.figure_ is figure
    assert plt.get_fignums() == [figure.number]


def test_without_axes_each_display_makes_one_figure_that_can_be_drawn(fitted):
    displays = all_displays(fitted)
    assert len(plt.get_fignums()) == len(displays)
    for display in displays:
        display.figure_.canvas.draw()


def test_matplotlib_missing_names_the_extra(fitted, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    for display in (
        ScheduleDisplay(t=[0.0, 1.0], log_snr=np.zeros((2, 1))),
        SampleGridDisplay(fake=np.zeros((1, 4))),
        LossCurveDisplay(loss_curve=[1.0]),
        MarginalsDisplay(real=np.zeros((2, 1)), fake=np.zeros((2, 1))),
        PairDependenceDisplay(real=np.eye(2), fake=np.eye(2), error=np.zeros((2, 2))),
        PowerSpectrumDisplay(frequencies=[0.5], real_power=[1.0], fake_power=[1.0]),
        SweepDisplay(bits_per_dim=[1.0]),
        ReverseTrajectoryDisplay(t=[1.0], denoised=np.zeros((1, 4)), noisy=np.zeros((1, 4))),
    ):
        with pytest.raises(ImportError, match=rf"{type(display).__name__}.*gudlearn\[plot\]"):
            display.plot()


@pytest.mark.parametrize(
    "from_estimator",
    [
        ScheduleDisplay.from_estimator,
        LossCurveDisplay.from_estimator,
        ReverseTrajectoryDisplay.from_estimator,
    ],
)
def test_unfitted_estimator_is_refused(from_estimator, stand_in):
    with pytest.raises(NotFittedError):
        from_estimator(stand_in())


# ScheduleDisplay


def test_schedule_curves_are_the_log_snr_of_the_estimator(fitted):
    display = ScheduleDisplay.from_estimator(fitted, n_times=11)
    t = np.linspace(0, 1, 11)
    assert len(display.lines_) == 4
    for i, line in enumerate(display.lines_):
        np.testing.assert_array_equal(line.get_xdata(), t)
        np.testing.assert_array_equal(line.get_ydata(), fitted.log_snr(t)[:, i])
    labels = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert labels == [f"component{i}" for i in range(4)]
    assert display.colorbar_ is None
    assert display.ax_.get_title() == "LinearSchedule"


def test_many_components_get_a_colour_bar_over_their_variances(stand_in):
    estimator = stand_in(n_features=30).fit()
    display = ScheduleDisplay.from_estimator(estimator)
    assert display.colorbar_.mappable.get_clim() == (1.0, 10.0)
    assert display.ax_.get_legend() is None
    assert len({tuple(line.get_color()) for line in display.lines_}) == 30


def test_components_that_do_not_vary_are_left_out():
    X = np.column_stack([rows(40, 2), np.full(40, 3.0)])
    generator = GUDGenerator(basis=IdentityBasis(), max_iter=2, random_state=0).fit(X)
    display = ScheduleDisplay.from_estimator(generator)
    assert list(display.names) == ["x0", "x1"]
    np.testing.assert_allclose(display.variances, X[:, :2].var(axis=0), rtol=1e-6)
    np.testing.assert_array_equal(display.log_snr, generator.log_snr(display.t))
    assert LossCurveDisplay.from_estimator(generator).loss_curve == generator.loss_curve_


def test_constant_data_have_no_schedule_to_draw():
    generator = GUDGenerator(max_iter=0).fit(np.ones((5, 2)))
    with pytest.raises(ValueError, match="no component of the data varies"):
        ScheduleDisplay.from_estimator(generator)


def test_coinciding_curves_get_one_label():
    display = ScheduleDisplay.from_schedule(LinearSchedule(), np.geomspace(1, 100, 20))
    assert [text.get_text() for text in display.ax_.get_legend().get_texts()] == [
        "all 20 components"
    ]
    assert display.colorbar_ is None


@pytest.mark.parametrize(
    "schedule",
    [
        LinearSchedule(),
        CosineSchedule(),
        SoftConditioningSchedule(softness=0.3),
        SequentialSchedule(),
    ],
    ids=repr,
)
def test_every_schedule_goes_from_end_to_end(schedule):
    display = ScheduleDisplay.from_schedule(schedule, [0.1, 1.0, 7.0], log_snr_ends=(8.0, -6.0))
    np.testing.assert_allclose(display.log_snr[0], 8.0, atol=1e-6)
    np.testing.assert_allclose(display.log_snr[-1], -6.0, atol=1e-6)
    assert (np.diff(display.log_snr, axis=0) <= 1e-9).all()


def test_linear_schedule_is_drawn_by_its_closed_form():
    display = ScheduleDisplay.from_schedule(LinearSchedule(), [0.5, 4.0], n_times=7)
    expected = 9.0 - 18.0 * np.linspace(0, 1, 7)
    np.testing.assert_allclose(display.lines_[1].get_ydata(), expected, atol=1e-9)


def test_sequential_schedule_noises_the_last_generated_first():
    display = ScheduleDisplay.from_schedule(
        SequentialSchedule(), [1.0, 1.0], order=[0.0, 1.0], n_times=5
    )
    np.testing.assert_allclose(display.log_snr[:, 0], [9, 9, 9, 0, -9], atol=1e-9)
    np.testing.assert_allclose(display.log_snr[:, 1], [9, 0, -9, -9, -9], atol=1e-9)


@pytest.mark.parametrize("variances", [[1.0, 0.0], [np.nan, 1.0], [[1.0]]])
def test_invalid_variances_are_refused(variances):
    with pytest.raises(ValueError, match="variances must be a vector of finite numbers above 0"):
        ScheduleDisplay.from_schedule(LinearSchedule(), variances)


def test_no_times_are_refused(fitted):
    with pytest.raises(ValueError, match="n_times must be an integer of at least 1, got 0"):
        ScheduleDisplay.from_estimator(fitted, n_times=0)


# LossCurveDisplay


def test_loss_curves_are_those_of_the_estimator(fitted):
    display = LossCurveDisplay.from_estimator(fitted)
    np.testing.assert_array_equal(display.line_.get_xdata(), [1, 2, 3, 4])
    np.testing.assert_array_equal(display.line_.get_ydata(), fitted.loss_curve_)
    np.testing.assert_array_equal(display.validation_line_.get_xdata(), [2, 4])
    np.testing.assert_array_equal(display.validation_line_.get_ydata(), [1.75, 1.5])
    np.testing.assert_array_equal(display.kept_.get_xydata(), [[4, 1.5]])


def test_the_marker_is_at_the_weights_that_were_kept():
    curves = {"loss_curve": [3.0, 2.0, 1.0], "validation_scores": [-1.5, -1.75, -2.0]}
    assert LossCurveDisplay(**curves).plot().kept_.get_xdata() == [1]
    display = LossCurveDisplay(**curves, validation_iters=[0, 2, 3], kept_score=-1.75).plot()
    np.testing.assert_array_equal(display.kept_.get_xydata(), [[2, 1.75]])
    # The start, which was scored again after an imputation, is not among the scores.
    assert LossCurveDisplay(**curves, kept_score=-1.4).plot().kept_ is None


def test_loss_curve_without_validation():
    display = LossCurveDisplay(loss_curve=[3.0, 2.0], validation_scores=None).plot()
    assert display.validation_line_ is None
    assert display.ax_.get_legend() is None


def test_empty_loss_curve_is_refused():
    with pytest.raises(ValueError, match="no epoch to draw.*max_iter=0"):
        LossCurveDisplay(loss_curve=[]).plot()


# MarginalsDisplay


def test_integers_have_one_bar_for_each_value():
    real = np.array([[0.0], [0.0], [1.0], [3.0]])
    fake = np.array([[1.0], [2.0]])
    display = MarginalsDisplay.from_samples(real, fake)
    values, edges, _ = display.real_[0].get_data()
    np.testing.assert_allclose(edges, [-0.5, 0.5, 1.5, 2.5, 3.5])
    np.testing.assert_allclose(values, [0.5, 0.25, 0, 0.25])
    np.testing.assert_allclose(display.fake_[0].get_data().values, [0, 0.5, 0.5, 0])


def test_histograms_are_densities_that_include_the_rows_outside():
    real, fake = rows(2000, 1), np.concatenate([rows(900, 1, seed=1), np.full((100, 1), 50.0)])
    display = MarginalsDisplay.from_samples(real, fake)
    values, edges, _ = display.real_[0].get_data()
    inside = np.mean((real > edges[0]) & (real < edges[-1]))
    assert inside > 0.99
    np.testing.assert_allclose((values * np.diff(edges)).sum(), inside)
    values, edges, _ = display.fake_[0].get_data()
    np.testing.assert_allclose((values * np.diff(edges)).sum(), 0.9, atol=0.01)


def test_columns_are_selected_by_name_or_index():
    real = pd.DataFrame(rows(30, 3), columns=["a", "b", "c"])
    fake = pd.DataFrame(rows(20, 3, seed=1), columns=["a", "b", "c"])
    display = MarginalsDisplay.from_samples(real, fake, columns=["c", 0])
    np.testing.assert_array_equal(display.real, real[["c", "a"]])
    np.testing.assert_array_equal(display.fake, fake[["c", "a"]])
    assert [ax.get_title() for ax in display.axes_] == ["c", "a"]


def test_at_most_max_columns_are_drawn(fitted):
    display = MarginalsDisplay.from_estimator(fitted, rows(30, 4), max_columns=3)
    assert display.axes_.shape == (3,)
    assert len(display.fake) == 30


def test_constant_column_is_drawn():
    column = np.full((10, 1), 2.5)
    display = MarginalsDisplay.from_samples(column, column)
    values, edges, _ = display.real_[0].get_data()
    np.testing.assert_allclose((values * np.diff(edges)).sum(), 1.0)


def test_marginals_fit_into_axes_without_subplotspec():
    figure = plt.figure()
    ax = figure.add_axes([0.5, 0.5, 0.4, 0.4])
    display = MarginalsDisplay.from_samples(rows(9, 2), rows(9, 2), ax=ax)
    figure.canvas.draw()
    for cell in display.axes_:
        box = cell.get_position()
        assert 0.5 <= box.x0 < box.x1 <= 0.9 + 1e-9
        assert 0.5 <= box.y0 < box.y1 <= 0.9 + 1e-9


@pytest.mark.parametrize(
    ("columns", "message"),
    [(["z"], "'z', which is no index or name.*x0, x1"), ([2], "entry 2"), ([], "columns is empty")],
)
def test_unknown_columns_are_refused(columns, message):
    with pytest.raises(ValueError, match=message):
        MarginalsDisplay.from_samples(rows(4, 2), rows(4, 2), columns=columns)


# SweepDisplay


def names_of(display):
    return [text.get_text() for text in display.ax_.get_xticklabels()]


def test_sweep_display_draws_bounds_and_marks_the_best():
    display = SweepDisplay.from_results(swept(), name="a sweep")
    line, _, (bars,) = display.errorbar_
    np.testing.assert_array_equal(line.get_ydata(), [2.5, 1.25, 2.0])
    np.testing.assert_allclose([p[:, 1] for p in bars.get_segments()], [
        [2.0, 3.0], [1.25, 1.25], [1.75, 2.25]
    ])  # fmt: skip
    assert display.best_.get_xdata() == [1] and display.best_.get_ydata() == [1.25]
    assert display.ax_.get_title() == "a sweep"
    assert display.ax_.get_ylabel() == "bound (bits per dimension)"
    assert names_of(SweepDisplay(bits_per_dim=[1.0, 2.0]).plot()) == ["0", "1"]


def test_sweep_display_names_schedules_by_what_differs():
    one = {"schedule__softness": [0.1, 1.0, np.inf]}
    display = SweepDisplay.from_results(SimpleNamespace(results=swept(**one)))
    assert names_of(display) == ["0.1", "1", "inf"] and display.ax_.get_xlabel() == "softness"
    two = {"schedule__softness": [0.1, np.nan, 1.0], "schedule__window": [np.nan, 2, np.nan]}
    display = SweepDisplay.from_results(swept(**two))
    assert names_of(display) == ["softness 0.1", "window 2", "softness 1"]
    orders = {"schedule__order": [[1, 2], "natural", [2, 1]]}
    assert names_of(SweepDisplay.from_results(swept(**orders))) == ["no. 1", "natural", "no. 2"]
    assert names_of(SweepDisplay.from_results(swept())) == ["LinearSchedule"] * 3


def test_sweep_display_sweeps_an_estimator(stand_in):
    class Swept(stand_in):
        def sweep(self, X, param_grid, y=None, *, n_draws):
            self.arguments = X, param_grid, y, n_draws
            return SimpleNamespace(results=swept())

    gen = Swept()
    display = SweepDisplay.from_estimator(gen, "X", {}, y="y", n_draws=3, fmt="s", color="k")
    assert gen.arguments == ("X", {}, "y", 3) and display.ax_.get_title() == "Swept"
    assert display.errorbar_[0].get_marker() == "s"


def test_sweep_display_refuses_other_tables():
    with pytest.raises(ValueError, match="no column 'bits_per_dim'. Pass what GUDGenerator.sweep"):
        SweepDisplay.from_results(pd.DataFrame({"score": [1.0]}))
    with pytest.raises(ValueError, match="no schedule to draw"):
        SweepDisplay(bits_per_dim=[]).plot()
