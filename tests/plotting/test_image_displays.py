"""Displays of images hold the images that were given."""

import copy
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.base import clone

from gudlearn.bases import IdentityBasis
from gudlearn.generator import GUDGenerator
from gudlearn.networks import MLP
from gudlearn.plotting import (
    MarginalsDisplay,
    PowerSpectrumDisplay,
    ReverseTrajectoryDisplay,
    SampleGridDisplay,
)
from gudlearn.plotting.power_spectrum import radial_power, shells
from gudlearn.plotting.trajectory import _log_snr_and_components
from gudlearn.samplers import DDIM
from gudlearn.schedules import SequentialSchedule


def rows(n_rows, n_features, seed=0):
    return np.random.default_rng(seed).normal(size=(n_rows, n_features))


# SampleGridDisplay


@pytest.mark.parametrize("shape", [(2, 3), (3, 2), (1, 6), (2, 1, 3)])
def test_every_row_is_found_in_the_image(shape):
    real, fake = rows(5, 6), rows(3, 6, seed=1)
    display = SampleGridDisplay.from_samples(real, fake, shape=shape)
    grid = np.asarray(display.image_.get_array())
    height, width = shape[:2]
    if len(shape) == 3:
        low, high = real.min(), real.max()
        real, fake = ((block - low) / (high - low) for block in (real, fake))
        real, fake = real.clip(0, 1), fake.clip(0, 1)
    else:
        assert display.image_.get_clim() == (real.min(), real.max())
    # Real rows are in a 2 x 3 grid, and generated rows in a 2 x 2 grid to its right.
    second = 3 * (width + 1) - 1 + width // 2 + 1
    for block, n_columns, start in ((real, 3, 0), (fake, 2, second)):
        for k, row in enumerate(block):
            top = (k // n_columns) * (height + 1)
            left = start + (k % n_columns) * (width + 1)
            tile = grid[top : top + height, left : left + width]
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


def test_colour_limits_are_used():
    fake = np.array([[0.0, 127.5, 255.0]])
    display = SampleGridDisplay(fake=fake, shape=(1, 1, 3)).plot(vmin=0, vmax=255)
    np.testing.assert_allclose(display.image_.get_array(), [[[0.0, 0.5, 1.0]]])


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (None, r"6 features, which is not a square number. Pass shape=\(height, width\)"),
        ((4, 4), r"shape=\(4, 4\) has 16 entries but the rows have 6 features"),
        ((6,), r"shape must be \(height, width\) or"),
        ((1, 6, 1, 1), r"shape must be \(height, width\) or"),
    ],
)
def test_wrong_shapes_are_refused(shape, message):
    with pytest.raises(ValueError, match=message):
        SampleGridDisplay.from_samples(rows(4, 6), rows(4, 6), shape=shape)


def test_rows_of_other_columns_are_refused():
    for from_samples in (SampleGridDisplay.from_samples, MarginalsDisplay.from_samples):
        with pytest.raises(ValueError, match="real has 4 features but fake has 9"):
            from_samples(rows(4, 4), rows(4, 9))


# Images


class ImageStandIn:
    """Samples images of one shape, and records the arguments."""

    def sample(self, n_samples=1, y=None, *, guidance=1.0, random_state=None):
        self.arguments_ = (y, guidance)
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
def test_labels_and_guidance_are_passed_only_if_given(display, fitted):
    generator = ImageStandIn()
    display.from_estimator(generator, images(4, 4, 4), n_samples=2)
    assert generator.arguments_ == (None, 1.0)
    display.from_estimator(generator, images(4, 4, 4), n_samples=2, y=3, guidance=2.0)
    assert generator.arguments_ == (3, 2.0)
    # The other stand-in accepts neither.
    display.from_estimator(fitted, rows(4, 4), n_samples=2)


def test_rows_have_the_shape_of_the_estimator(fitted):
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
        ((2, 2, 4), (2, 2, 3), None, r"real has images of shape \(2, 2, 4\) but fake"),
        ((2, 2, 2, 1), (2, 2), None, r"real has shape \(3, 2, 2, 2, 1\)"),
        ((2, 3), (2, 3), (3, 2), r"shape=\(3, 2\) does not match real of shape \(3, 2, 3\)"),
    ],
)
def test_images_that_do_not_match_are_refused(display, real, fake, shape, message):
    with pytest.raises(ValueError, match=message):
        display.from_samples(images(3, *real), images(3, *fake), shape=shape)


def colours_of(images, reference):
    """Colours of images of two or more channels, by the documented rule."""
    drawn = images[..., :3] if images.shape[-1] > 4 else images
    reference = reference[..., :3] if images.shape[-1] > 4 else reference
    scaled = (drawn - reference.min()) / (reference.max() - reference.min())
    if images.shape[-1] == 2:
        scaled = np.concatenate([scaled, np.zeros((*images.shape[:-1], 1))], axis=-1)
    return scaled.clip(0, 1)


@pytest.mark.parametrize("channels", [2, 3, 4, 5])
@pytest.mark.parametrize("dtype", [np.uint8, np.float64])
def test_images_of_any_number_of_channels_are_drawn(channels, dtype):
    real = (images(1, 3, 2, channels) // 2 + 20).astype(dtype)
    fake = images(1, 3, 2, channels, seed=1).astype(dtype)
    if channels > 4:
        # Channels that are not drawn do not change the scale.
        real[..., 3:] = 255
    reference = real.astype(float)
    expected = [colours_of(x.astype(float), reference)[0] for x in (real, fake)]
    display = SampleGridDisplay.from_samples(real, fake)
    grid = display.image_.get_array()
    assert grid.shape == (3, 6, 4 if channels == 4 else 3)
    np.testing.assert_allclose(grid[:, :2], expected[0])
    np.testing.assert_allclose(grid[:, 4:], expected[1])
    # The gap is white, and opaque.
    np.testing.assert_array_equal(grid[:, 2:4], 1)
    display.figure_.canvas.draw()
    flat = SampleGridDisplay.from_samples(
        real.reshape(1, -1), fake.reshape(1, -1), shape=(3, 2, channels)
    )
    np.testing.assert_array_equal(flat.image_.get_array(), grid)


def test_alpha_is_drawn_on_the_scale_of_the_colours():
    image = np.zeros((1, 1, 3, 4), dtype=np.uint8)
    image[0, 0, :, 3] = 0, 51, 255
    grid = SampleGridDisplay.from_samples(None, image).image_.get_array()
    np.testing.assert_allclose(grid[0, :, 3], [0, 0.2, 1])


# PowerSpectrumDisplay


@pytest.mark.parametrize("channels", [1, 2, 4, 5])
def test_the_spectrum_is_the_mean_over_any_number_of_channels(channels):
    X = rows(4, 30 * channels).reshape(4, 5, 6, channels)
    of_channels = [radial_power(X[..., [c]])[1] for c in range(channels)]
    display = PowerSpectrumDisplay.from_samples(X, X)
    np.testing.assert_allclose(display.real_power, np.mean(of_channels, axis=0))


def test_white_noise_has_a_flat_spectrum_at_its_variance():
    noise = 3.0 * np.random.default_rng(0).normal(size=(2000, 8, 6, 3))
    display = PowerSpectrumDisplay.from_samples(noise, noise)
    # Five standard errors of a mean of 2000 x 3 squares, which are at most sqrt(2/6000) = 1.8 %.
    np.testing.assert_allclose(display.real_power, 9.0, rtol=0.091)


@pytest.mark.parametrize("k", [1, 2, 3])
@pytest.mark.parametrize("axis", [1, 2])
def test_a_cosine_lies_in_its_own_shell(k, axis):
    wave = np.cos(2 * np.pi * k * np.arange(8) / 8)
    image = np.moveaxis(np.broadcast_to(wave, (1, 8, 8)), 2, axis)
    display = PowerSpectrumDisplay.from_samples(image, image)
    shell = np.flatnonzero(display.real_power > 1e-12)
    assert display.frequencies[shell].tolist() == [k / 8]
    # Two modes have the sum of the squares, 32; the other modes of the shell are zero.
    n_modes = (shells(8, 8) == k).sum()
    np.testing.assert_allclose(display.real_power[shell], 32 / n_modes)


@pytest.mark.parametrize("axes", [(8, 8), (5, 7), (1, 6), (3, 12)])
def test_the_power_of_all_modes_is_the_sum_of_the_squares(axes):
    X = rows(4, np.prod(axes))
    frequencies, power = radial_power(X.reshape(4, *axes, 1))
    n_modes = np.unique(shells(*axes), return_counts=True)[1]
    np.testing.assert_allclose(n_modes @ power, np.square(X).sum(1).mean())
    assert (np.diff(frequencies) > 0).all()


def test_shells_are_rounded_to_the_nearest_integer():
    assert shells(8, 8)[2, 3] == 4
    assert shells(8, 8)[4, 4] == 6
    # A cycle per shorter side is two cycles per longer side.
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
def image_generator():
    X = np.random.default_rng(0).normal(size=(30, 2, 3)) * [1, 3, 5]
    X[:, 0, 0] = 2.0
    network = MLP(width=8, n_blocks=1)
    return GUDGenerator(
        basis="identity", network=network, sampler=DDIM(steps=4), max_iter=0, random_state=0
    ).fit(X)


def test_states_and_log_snr_are_those_of_the_estimator(image_generator):
    display = ReverseTrajectoryDisplay.from_estimator(image_generator, n_states=3, random_state=5)
    (drawn,) = display.images_
    assert drawn.shape == (4, 3)
    log_snr = np.insert(image_generator.log_snr(display.t), 0, np.nan, axis=1).reshape(3, 2, 3)
    # Components are whitened columns here, of variance 1 at all times.
    states = image_generator.sample_trajectory(1, n_states=3, random_state=5).components[:, 0]
    sample = np.ravel(image_generator.sample(1, random_state=5))
    np.testing.assert_allclose(display.noisy[-1].ravel(), sample)
    states[:, 0] = np.nan
    components = states.reshape(3, 2, 3)
    for k in range(3):
        for image, expected in zip(
            drawn[:, k], (display.denoised, display.noisy, components, log_snr), strict=True
        ):
            found = np.ma.filled(image.get_array().astype(float), np.nan)
            np.testing.assert_allclose(found, expected[k])
    assert drawn[0, 0].get_clim() == (display.noisy[-1].min(), display.noisy[-1].max())
    assert display.colorbar_.ax.get_ylabel() == "log-SNR (nats)"
    texts = [text.get_text() for text in display.ax_.texts]
    times = ["t = 1.00", "t = 0.50", "t = 0.00"]
    assert texts == [*times, "denoised", "noisy", "components", "log-SNR"]


def test_two_schedules_are_drawn_from_the_same_noise(image_generator):
    other = copy.copy(image_generator)
    other.schedule_ = SequentialSchedule()
    display = ReverseTrajectoryDisplay.from_estimator(image_generator, other, n_states=3)
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


@pytest.mark.parametrize("channels", [2, 4, 5])
def test_states_of_any_number_of_channels_are_drawn(channels):
    noisy = rows(2, 6 * channels).reshape(2, 3, 2, channels)
    log_snr = np.arange(12.0 * channels).reshape(2, -1)
    display = ReverseTrajectoryDisplay(
        t=[1, 0], denoised=noisy, noisy=noisy, log_snr=log_snr, components=log_snr
    ).plot()
    (drawn,) = display.images_
    for k in range(2):
        expected = colours_of(noisy[[k]], noisy[[1]])[0]
        np.testing.assert_allclose(drawn[1, k].get_array(), expected)
        mean = log_snr[k].reshape(3, 2, channels).mean(axis=2)
        np.testing.assert_allclose(drawn[3, k].get_array(), mean)
    display.figure_.canvas.draw()


def test_states_that_do_not_match_are_refused():
    noisy = rows(3, 4)
    with pytest.raises(ValueError, match="t has 2 times, but noisy has images of shape"):
        ReverseTrajectoryDisplay(t=[1, 0], denoised=noisy, noisy=noisy).plot()
    with pytest.raises(ValueError, match=r"log_snr has shape \(3, 5\), but the states have 3"):
        ReverseTrajectoryDisplay(
            t=[1, 0.5, 0], denoised=noisy, noisy=noisy, log_snr=np.zeros((3, 5))
        ).plot()


def test_components_are_drawn_with_unit_variance(image_generator):
    X = np.random.default_rng(0).normal(size=(200, 2, 3)) * [1, 3, 5]
    settings = {"basis": IdentityBasis(whiten=False), "sampler": DDIM(steps=100)}
    gen = clone(image_generator).set_params(**settings).fit(X)
    found = gen.sample_trajectory(400, n_states=5)
    drawn = [
        _log_snr_and_components(
            gen, SimpleNamespace(t=found.t, components=found.components[:, [k]])
        )[1]
        for k in range(400)
    ]
    # The columns have standard deviations 1, 3 and 5. A wide mixture component adds a little.
    np.testing.assert_allclose(np.std(drawn, 0), 1, atol=0.3)


def test_one_name_for_two_estimators_is_refused(image_generator):
    with pytest.raises(ValueError, match="name='both' must be a pair of names"):
        ReverseTrajectoryDisplay.from_estimator(image_generator, image_generator, name="both")
