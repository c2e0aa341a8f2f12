"""Displays of conditionals and of softness hold the given data."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from gudlearn import ConditionalDisplay, LinearSchedule, SequentialSchedule, SoftnessDisplay
from small import continuous, small


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def test_hard_schedules_generate_one_component_after_another():
    display = SoftnessDisplay.from_schedule(
        SequentialSchedule(window=1), np.ones(4), order=np.arange(4), n_times=401
    )
    active = (display.decided > 1e-6) & (display.decided < 1 - 1e-6)
    assert active.sum(1).max() == 1
    # The first component of the order is generated first, at the largest times.
    first_time = [display.t[display.decided[:, i] > 0.5].max() for i in range(4)]
    assert first_time == sorted(first_time, reverse=True)
    soft = SoftnessDisplay.from_schedule(LinearSchedule(), np.ones(4), n_times=401)
    np.testing.assert_allclose(soft.decided, np.repeat(1 - soft.t[:, None], 4, 1), atol=1e-12)


def test_the_softness_of_an_estimator_is_drawn():
    gen = small(max_iter=0).fit(pd.DataFrame(continuous(), columns=["a", "b", "c"]))
    display = SoftnessDisplay.from_estimator(gen, n_times=11)
    np.testing.assert_array_equal(display.mesh_.get_array().reshape(3, 11), display.decided.T)
    assert [t.get_text() for t in display.ax_.get_yticklabels()] == ["a", "b", "c"]
    assert display.ax_.get_title() == "LinearSchedule"
    assert display.ax_.get_xlim() == (1, 0)
    ax = plt.figure().subplots()
    assert display.plot(ax=ax, name="own").ax_ is ax
    assert ax.get_title() == "own"
    with pytest.raises(ValueError, match="no component of the data varies"):
        SoftnessDisplay.from_estimator(small(max_iter=0).fit(np.ones((5, 2))))


def test_completions_are_drawn_with_their_band():
    gen = small(max_iter=0, conditional_rate=0.5).fit(continuous())
    row = np.array([0.5, np.nan, np.nan])
    display = ConditionalDisplay.from_estimator(
        gen, row, truth=[0.5, 0.0, 1.0], n_samples=30, random_state=3
    )
    np.testing.assert_array_equal(display.draws[:, 0], 0.5)
    np.testing.assert_array_equal(
        display.draws, gen.sample(30, given=row[None], random_state=3)[:, 0]
    )
    assert len(display.lines_) == 20
    np.testing.assert_array_equal(display.lines_[4].get_ydata(), display.draws[4])
    edges = display.band_.get_paths()[0].vertices[:, 1]
    low, high = np.quantile(display.draws, [0.05, 0.95], axis=0)
    assert edges.min() == pytest.approx(low.min())
    assert edges.max() == pytest.approx(high.max())
    labels = [t.get_text() for t in display.ax_.get_legend().get_texts()]
    assert set(labels) == {"90 % of the draws", "draws", "truth", "observed"}


def test_completions_of_a_frame_have_its_names():
    X = pd.DataFrame(continuous(), columns=["a", "b", "c"])
    gen = small(max_iter=0, conditional_rate=0.5).fit(X)
    display = ConditionalDisplay.from_estimator(gen, [0.5, np.nan, 1.0], n_samples=5)
    assert [t.get_text() for t in display.ax_.get_xticklabels()] == ["a", "b", "c"]


def test_completions_of_an_image_are_drawn_pixel_by_pixel():
    X = continuous(n_columns=6).reshape(40, 2, 3)
    gen = small(max_iter=0, conditional_rate=0.5).fit(X)
    partial = np.where(np.arange(3) > 0, np.nan, X[0])
    display = ConditionalDisplay.from_estimator(gen, partial, truth=X[0], n_samples=5)
    assert display.draws.shape == (5, 6)
    np.testing.assert_array_equal(display.draws[:, [0, 3]], np.tile(X[0, :, 0], (5, 1)))


@pytest.mark.parametrize(
    ("row", "arguments", "message"),
    [
        ([0.0, 1.0, 2.0], {}, "row must be one row"),
        ([[0.0, np.nan, 2.0]], {}, "row must be one row"),
        ([0.0, np.nan], {}, r"row must be one row of shape \(3,\)"),
        ([0.0, np.nan, 2.0], {"truth": [0.0]}, "truth has shape"),
        ([0.0, np.nan, 2.0], {"coverage": 0.0}, "coverage=0.0"),
        ([0.0, np.nan, 2.0], {"n_samples": 0}, "n_samples"),
    ],
)
def test_invalid_arguments_are_refused(row, arguments, message):
    gen = small(max_iter=0, conditional_rate=0.5).fit(continuous())
    with pytest.raises(ValueError, match=message):
        ConditionalDisplay.from_estimator(gen, row, **arguments)
