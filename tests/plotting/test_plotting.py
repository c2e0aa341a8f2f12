"""The artists of each display hold the data that was given."""

import copy
import sys
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import NotFittedError

from gudlearn.bases import IdentityBasis
from gudlearn.generator import GUDGenerator
from gudlearn.networks import MLP
from gudlearn.plotting import (
    LossCurveDisplay,
    MarginalsDisplay,
    PowerSpectrumDisplay,
    ReverseTrajectoryDisplay,
    SampleGridDisplay,
    ScheduleDisplay,
)
from gudlearn.plotting.power_spectrum import radial_power, shells
from gudlearn.plotting.trajectory import _of_components
from gudlearn.samplers import DDIM
from gudlearn.schedules import (
    CosineSchedule,
    LinearSchedule,
    SequentialSchedule,
    SoftConditioningSchedule,
)


class StandIn(BaseEstimator):
    """What a display asks of a generator, with a linear schedule in closed form."""

    def __init__(self, n_features=4):
        self.n_features = n_features

    def fit(self, X=None, y=None):
        self.variances_ = np.geomspace(1.0, 10.0, self.n_features)
        names = np.array([f"component{i}" for i in range(self.n_features)])
        self._encoding = SimpleNamespace(
            components=SimpleNamespace(variances=self.variances_, names=names)
        )
        self.schedule_ = LinearSchedule()
        self.loss_curve_ = [2.0, 1.5, 1.25, 1.2]
        self.validation_scores_ = [-1.75, -1.5]
        self.validation_iters_ = [2, 4]
        return self

    def log_snr(self, t):
        return np.log(self.variances_) + 9.0 - 18.0 * np.asarray(t)[:, None]

    def sample(self, n_samples=1, *, random_state=None):
        rng = np.random.default_rng(random_state)
        return rng.normal(size=(n_samples, self.n_features))


@pytest.fixture
def fitted():
    return StandIn().fit()


def rows(n_rows, n_features, seed=0):
    return np.random.default_rng(seed).normal(size=(n_rows, n_features))


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
        ReverseTrajectoryDisplay(t=np.linspace(1, 0, 9), denoised=real, noisy=real).plot(ax=ax),
        PowerSpectrumDisplay.from_samples(real, real, ax=ax),
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
        PowerSpectrumDisplay(frequencies=[0.5], real_power=[1.0], fake_power=[1.0]),
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
def test_unfitted_estimator_is_refused(from_estimator):
    with pytest.raises(NotFittedError):
        from_estimator(StandIn())


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


def test_many_components_get_a_colour_bar_over_their_variances():
    estimator = StandIn(n_features=30).fit()
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


def test_linear_schedule_is_drawn_as_its_closed_form():
    display = ScheduleDisplay.from_schedule(LinearSchedule(), [0.5, 4.0], n_times=7)
    expected = 9.0 - 18.0 * np.linspace(0, 1, 7)
    np.testing.assert_allclose(display.lines_[1].get_ydata(), expected, atol=1e-9)


def test_sequential_schedule_moves_the_last_generated_first():
    display = ScheduleDisplay.from_schedule(
        SequentialSchedule(), [1.0, 1.0], order=[0.0, 1.0], n_times=5
    )
    np.testing.assert_allclose(display.log_snr[:, 0], [9, 9, 9, 0, -9], atol=1e-9)
    np.testing.assert_allclose(display.log_snr[:, 1], [9, 0, -9, -9, -9], atol=1e-9)


@pytest.mark.parametrize("variances", [[1.0, 0.0], [np.nan, 1.0], [[1.0]]])
def test_impossible_variances_are_refused(variances):
    with pytest.raises(ValueError, match="variances must be a vector of finite numbers above 0"):
        ScheduleDisplay.from_schedule(LinearSchedule(), variances)


def test_no_times_are_refused(fitted):
    with pytest.raises(ValueError, match="n_times must be an integer of at least 1, got 0"):
        ScheduleDisplay.from_estimator(fitted, n_times=0)


# SampleGridDisplay


@pytest.mark.parametrize("shape", [(2, 3), (3, 2), (1, 6), (2, 1, 3)])
def test_every_row_is_found_in_the_picture(shape):
    real, fake = rows(5, 6), rows(3, 6, seed=1)
    display = SampleGridDisplay.from_samples(real, fake, shape=shape)
    picture = np.asarray(display.image_.get_array())
    height, width = shape[:2]
    if len(shape) == 3:
        low, high = real.min(), real.max()
        real, fake = ((block - low) / (high - low) for block in (real, fake))
        real, fake = real.clip(0, 1), fake.clip(0, 1)
    else:
        assert display.image_.get_clim() == (real.min(), real.max())
    # Real rows stand in a 2 x 3 grid, generated ones in a 2 x 2 grid to its right.
    second = 3 * (width + 1) - 1 + width // 2 + 1
    for block, n_columns, start in ((real, 3, 0), (fake, 2, second)):
        for k, row in enumerate(block):
            top = (k // n_columns) * (height + 1)
            left = start + (k % n_columns) * (width + 1)
            tile = picture[top : top + height, left : left + width]
            np.testing.assert_allclose(tile, row.reshape(shape))


def test_sample_grid_titles_and_count(fitted):
    display = SampleGridDisplay.from_estimator(fitted, rows(20, 4), n_samples=9, random_state=3)
    assert [text.get_text() for text in display.ax_.texts] == ["real", "StandIn"]
    np.testing.assert_array_equal(display.fake, fitted.sample(9, random_state=3))
    assert len(display.real) == 9


def test_sample_grid_without_real_rows(fitted):
    display = SampleGridDisplay.from_estimator(fitted, n_samples=4, name="mine")
    assert [text.get_text() for text in display.ax_.texts] == ["mine"]
    assert display.image_.get_array().shape == (5, 5)


def test_colour_limits_are_obeyed():
    fake = np.array([[0.0, 127.5, 255.0]])
    display = SampleGridDisplay(fake=fake, shape=(1, 1, 3)).plot(vmin=0, vmax=255)
    np.testing.assert_allclose(display.image_.get_array(), [[[0.0, 0.5, 1.0]]])


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (None, r"6 features, which is not a square number. Pass shape=\(height, width\)"),
        ((4, 4), r"shape=\(4, 4\) has 16 entries but the rows have 6 features"),
        ((6,), r"shape must be \(height, width\) or"),
        ((1, 3, 2), "with 1 or 3 channels"),
    ],
)
def test_wrong_shapes_are_refused(shape, message):
    with pytest.raises(ValueError, match=message):
        SampleGridDisplay.from_samples(rows(4, 6), rows(4, 6), shape=shape)


def test_rows_of_other_columns_are_refused():
    for from_samples in (SampleGridDisplay.from_samples, MarginalsDisplay.from_samples):
        with pytest.raises(ValueError, match="real has 4 features but fake has 9"):
            from_samples(rows(4, 4), rows(4, 9))


# LossCurveDisplay


def test_loss_curves_are_those_of_the_estimator(fitted):
    display = LossCurveDisplay.from_estimator(fitted)
    np.testing.assert_array_equal(display.line_.get_xdata(), [1, 2, 3, 4])
    np.testing.assert_array_equal(display.line_.get_ydata(), fitted.loss_curve_)
    np.testing.assert_array_equal(display.validation_line_.get_xdata(), [2, 4])
    np.testing.assert_array_equal(display.validation_line_.get_ydata(), [1.75, 1.5])
    np.testing.assert_array_equal(display.best_.get_xydata(), [[4, 1.5]])


def test_loss_curve_without_validation():
    display = LossCurveDisplay(loss_curve=[3.0, 2.0], validation_scores=None).plot()
    assert display.validation_line_ is None
    assert display.ax_.get_legend() is None


def test_empty_loss_curve_is_refused():
    with pytest.raises(ValueError, match="no pass to draw.*max_iter=0"):
        LossCurveDisplay(loss_curve=[]).plot()


# MarginalsDisplay


def test_whole_numbers_get_one_bar_for_each_value():
    real = np.array([[0.0], [0.0], [1.0], [3.0]])
    fake = np.array([[1.0], [2.0]])
    display = MarginalsDisplay.from_samples(real, fake)
    values, edges, _ = display.real_[0].get_data()
    np.testing.assert_allclose(edges, [-0.5, 0.5, 1.5, 2.5, 3.5])
    np.testing.assert_allclose(values, [0.5, 0.25, 0, 0.25])
    np.testing.assert_allclose(display.fake_[0].get_data().values, [0, 0.5, 0.5, 0])


def test_histograms_are_densities_that_count_the_rows_outside():
    real, fake = rows(2000, 1), np.concatenate([rows(900, 1, seed=1), np.full((100, 1), 50.0)])
    display = MarginalsDisplay.from_samples(real, fake)
    values, edges, _ = display.real_[0].get_data()
    inside = np.mean((real > edges[0]) & (real < edges[-1]))
    assert inside > 0.99
    np.testing.assert_allclose((values * np.diff(edges)).sum(), inside)
    values, edges, _ = display.fake_[0].get_data()
    np.testing.assert_allclose((values * np.diff(edges)).sum(), 0.9, atol=0.01)


def test_columns_are_chosen_by_name_or_index():
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


def test_marginals_fit_into_axes_placed_by_hand():
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


# Images


class ImageStandIn(StandIn):
    """Samples images of one shape, and remembers what it was asked."""

    def sample(self, n_samples=1, y=None, *, guidance=1.0, random_state=None):
        self.asked_ = (y, guidance)
        return images(n_samples, 4, 4, seed=1)


def images(n_images, *axes, seed=0):
    return np.random.default_rng(seed).integers(0, 256, size=(n_images, *axes)).astype(np.uint8)


@pytest.mark.parametrize("axes", [(2, 3), (2, 3, 1), (2, 3, 3)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float64])
def test_images_are_drawn_like_their_flat_rows(axes, dtype):
    real, fake = images(5, *axes).astype(dtype), images(3, *axes, seed=1).astype(dtype)
    display = SampleGridDisplay.from_samples(real, fake)
    flat = SampleGridDisplay.from_samples(real.reshape(5, -1), fake.reshape(3, -1), shape=axes)
    np.testing.assert_array_equal(display.image_.get_array(), flat.image_.get_array())
    mixed = SampleGridDisplay.from_samples(real.reshape(5, -1), fake, shape=axes)
    np.testing.assert_array_equal(mixed.image_.get_array(), flat.image_.get_array())


@pytest.mark.parametrize("display", [SampleGridDisplay, PowerSpectrumDisplay])
def test_labels_and_guidance_are_passed_on_only_where_given(display):
    generator = ImageStandIn().fit()
    display.from_estimator(generator, images(4, 4, 4), n_samples=2)
    assert generator.asked_ == (None, 1.0)
    display.from_estimator(generator, images(4, 4, 4), n_samples=2, y=3, guidance=2.0)
    assert generator.asked_ == (3, 2.0)
    # The stand-in for tables knows neither.
    display.from_estimator(StandIn().fit(), rows(4, 4), n_samples=2)


def test_rows_get_the_shape_that_the_estimator_was_given(fitted):
    fitted.shape = (1, 4)
    assert SampleGridDisplay.from_estimator(fitted, n_samples=1).image_.get_array().shape == (1, 4)


@pytest.mark.parametrize("display", [SampleGridDisplay, PowerSpectrumDisplay])
@pytest.mark.parametrize(
    ("real", "fake", "shape", "message"),
    [
        ((2, 2), (2, 3), None, r"real has images of shape \(2, 2, 1\) but fake has \(2, 3, 1\)"),
        ((2, 2, 3), (2, 2), None, r"real has images of shape \(2, 2, 3\) but"),
        ((4,), (2, 3), None, r"real has images of shape \(2, 2, 1\) but"),
        ((4,), (9,), None, "real has 4 features but fake has 9"),
        ((2, 2, 2), (2, 2, 2), None, r"real has shape \(3, 2, 2, 2\).*with 1 or 3 channels"),
        ((2, 2, 2, 1), (2, 2), None, r"real has shape \(3, 2, 2, 2, 1\)"),
        ((2, 3), (2, 3), (3, 2), r"shape=\(3, 2\) does not match real of shape \(3, 2, 3\)"),
    ],
)
def test_images_that_do_not_match_are_refused(display, real, fake, shape, message):
    with pytest.raises(ValueError, match=message):
        display.from_samples(images(3, *real), images(3, *fake), shape=shape)


# PowerSpectrumDisplay


def test_white_noise_has_a_flat_spectrum_at_its_variance():
    noise = 3.0 * np.random.default_rng(0).normal(size=(2000, 8, 6, 3))
    display = PowerSpectrumDisplay.from_samples(noise, noise)
    # 2000 x 3 squares of complex or real normals: off by at most sqrt(2/6000) = 1.8 %, times 4.
    np.testing.assert_allclose(display.real_power, 9.0, rtol=0.075)


@pytest.mark.parametrize("k", [1, 2, 3])
@pytest.mark.parametrize("axis", [1, 2])
def test_a_cosine_lies_in_its_own_shell(k, axis):
    wave = np.cos(2 * np.pi * k * np.arange(8) / 8)
    picture = np.moveaxis(np.broadcast_to(wave, (1, 8, 8)), 2, axis)
    display = PowerSpectrumDisplay.from_samples(picture, picture)
    shell = np.flatnonzero(display.real_power > 1e-12)
    assert display.frequencies[shell].tolist() == [k / 8]
    # Two modes hold the sum of the squares, 32; the shell's other modes hold nothing.
    n_modes = (shells(8, 8) == k).sum()
    np.testing.assert_allclose(display.real_power[shell], 32 / n_modes)


@pytest.mark.parametrize("axes", [(8, 8), (5, 7), (1, 6), (3, 12)])
def test_the_power_of_all_modes_is_the_sum_of_the_squares(axes):
    X = rows(4, np.prod(axes))
    frequencies, power = radial_power(X.reshape(4, *axes, 1))
    n_modes = np.unique(shells(*axes), return_counts=True)[1]
    np.testing.assert_allclose(n_modes @ power, np.square(X).sum(1).mean())
    assert (np.diff(frequencies) > 0).all()


def test_shells_are_rounded_to_the_nearest():
    assert shells(8, 8)[2, 3] == 4
    assert shells(8, 8)[4, 4] == 6
    # A cycle over the shorter side is two over the longer one.
    assert shells(4, 8)[1, 0] == shells(4, 8)[0, 2] == 2


def test_spectra_are_drawn_without_the_mean():
    real, fake = images(5, 4, 4), images(5, 4, 4, seed=1)
    display = PowerSpectrumDisplay.from_samples(real, fake, name="mine")
    np.testing.assert_array_equal(display.real_line_.get_ydata(), display.real_power[1:])
    np.testing.assert_array_equal(display.fake_line_.get_xdata(), display.frequencies[1:])
    assert display.fake_line_.get_label() == "mine"
    assert (display.ax_.get_xscale(), display.ax_.get_yscale()) == ("log", "log")


def test_one_pixel_has_no_spectrum():
    with pytest.raises(ValueError, match="one pixel and no spectrum"):
        PowerSpectrumDisplay.from_samples(rows(3, 1), rows(3, 1))


# ReverseTrajectoryDisplay


@pytest.fixture(scope="module")
def picturing():
    X = np.random.default_rng(0).normal(size=(30, 2, 3)) * [1, 3, 5]
    X[:, 0, 0] = 2.0
    network = MLP(width=8, n_blocks=1)
    return GUDGenerator(
        basis="identity", network=network, sampler=DDIM(steps=4), max_iter=0, random_state=0
    ).fit(X)


def test_states_and_levels_are_those_of_the_estimator(picturing):
    display = ReverseTrajectoryDisplay.from_estimator(picturing, n_states=3, random_state=5)
    (drawn,) = display.images_
    assert drawn.shape == (4, 3)
    log_snr = np.insert(picturing.log_snr(display.t), 0, np.nan, axis=1).reshape(3, 2, 3)
    # Columns are the components here, of variance 1 at every time once they are whitened.
    states = picturing.sample_trajectory(1, n_states=3, random_state=5).components[:, 0]
    sample = np.ravel(picturing.sample(1, random_state=5))
    np.testing.assert_allclose(display.noisy[-1].ravel(), sample)
    states[:, 0] = np.nan
    own = states.reshape(3, 2, 3)
    for k in range(3):
        for image, expected in zip(
            drawn[:, k], (display.denoised, display.noisy, own, log_snr), strict=True
        ):
            found = np.ma.filled(image.get_array().astype(float), np.nan)
            np.testing.assert_allclose(found, expected[k])
    assert drawn[0, 0].get_clim() == (display.noisy[-1].min(), display.noisy[-1].max())
    assert display.colorbar_.ax.get_ylabel() == "log-SNR (nats)"
    texts = [text.get_text() for text in display.ax_.texts]
    times = ["t = 1.00", "t = 0.50", "t = 0.00"]
    assert texts == [*times, "denoised", "noisy", "components", "log-SNR"]


def test_two_schedules_are_drawn_from_the_same_noise(picturing):
    other = copy.copy(picturing)
    other.schedule_ = SequentialSchedule()
    display = ReverseTrajectoryDisplay.from_estimator(picturing, other, n_states=3)
    assert [len(images) for images in display.images_] == [4, 4]
    np.testing.assert_allclose(display.noisy[0], display.other.noisy[0])
    assert np.abs(display.log_snr - display.other.log_snr)[1, 1:].max() > 1
    texts = [text.get_text() for text in display.ax_.texts]
    assert "LinearSchedule()" in texts
    assert "SequentialSchedule()" in texts


def test_colours_are_drawn_in_the_range_of_the_last_state():
    noisy = rows(2, 12).reshape(2, 2, 2, 3)
    display = ReverseTrajectoryDisplay(t=[1, 0], denoised=noisy, noisy=noisy).plot()
    low, high = noisy[-1].min(), noisy[-1].max()
    expected = ((noisy - low) / (high - low)).clip(0, 1)
    for k in range(2):
        np.testing.assert_allclose(display.images_[0][1, k].get_array(), expected[k])
    assert display.colorbar_ is None


def test_states_that_do_not_match_are_refused():
    noisy = rows(3, 4)
    with pytest.raises(ValueError, match="t has 2 times, but noisy has images of shape"):
        ReverseTrajectoryDisplay(t=[1, 0], denoised=noisy, noisy=noisy).plot()
    with pytest.raises(ValueError, match=r"log_snr has shape \(3, 5\), but the states have 3"):
        ReverseTrajectoryDisplay(
            t=[1, 0.5, 0], denoised=noisy, noisy=noisy, log_snr=np.zeros((3, 5))
        ).plot()


def test_components_are_drawn_in_their_own_units(picturing):
    X = np.random.default_rng(0).normal(size=(200, 2, 3)) * [1, 3, 5]
    settings = {"basis": IdentityBasis(whiten=False), "sampler": DDIM(steps=100)}
    gen = clone(picturing).set_params(**settings).fit(X)
    found = gen.sample_trajectory(400, n_states=5)
    drawn = [
        _of_components(gen, SimpleNamespace(t=found.t, components=found.components[:, [k]]))[1]
        for k in range(400)
    ]
    # Columns have 1, 3 and 5; a wide member of each marginal adds a little.
    np.testing.assert_allclose(np.std(drawn, 0), 1, atol=0.3)


def test_one_name_for_two_estimators_is_refused(picturing):
    with pytest.raises(ValueError, match="name='both' must be a pair of names"):
        ReverseTrajectoryDisplay.from_estimator(picturing, picturing, name="both")
