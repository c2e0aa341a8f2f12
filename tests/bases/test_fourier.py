"""Fourier basis: stationary distributions, wave numbers, shapes."""

import numpy as np
import pytest
from scipy.linalg import circulant

from gudlearn.bases import FourierBasis


def modes(shape, channels=None):
    """The matrix U of the basis, one row per component."""
    size = int(np.prod(shape)) * (channels or 1)
    basis = FourierBasis(shape=shape, channels=channels, whiten=False)
    basis.fit(np.random.default_rng(0).normal(size=(3, size)))
    return basis, basis.rotate(np.eye(size)).T


def wave_numbers(*shape):
    """Signed wave numbers of the modes, (D, n_dimensions), by their definition."""
    k = np.indices(shape).reshape(len(shape), -1).T
    return np.where(2 * k >= shape, k - shape, k)


def stationary_covariance(shape):
    """Covariance of a random stationary distribution on a torus, without any other symmetry."""
    noise = np.random.default_rng(1).normal(size=shape)
    spectrum = np.abs(np.fft.fftn(noise)) ** 2
    correlation = np.fft.ifftn(spectrum).real
    index = np.indices(shape).reshape(len(shape), -1)
    lags = (index[:, :, None] - index[:, None, :]) % np.array(shape)[:, None, None]
    return correlation[tuple(lags)], spectrum


@pytest.mark.parametrize("length", [1, 2, 7, 8])
def test_diagonalises_a_circulant_covariance(length):
    first = np.exp(-np.minimum(np.arange(length), length - np.arange(length)))
    _, U = modes((length,))
    rotated = U @ circulant(first) @ U.T
    np.testing.assert_allclose(rotated, np.diag(np.fft.fft(first).real), atol=1e-12)


@pytest.mark.parametrize("shape", [(9,), (4, 6), (5, 4), (3, 4, 2)])
def test_diagonalises_every_stationary_covariance(shape):
    covariance, spectrum = stationary_covariance(shape)
    _, U = modes(shape)
    np.testing.assert_allclose(U @ covariance @ U.T, np.diag(spectrum.ravel()), atol=1e-10)


def test_rows_are_cosine_plus_sine():
    _, U = modes((4, 6))
    x, y = np.indices((4, 6)).reshape(2, -1)
    for row, (k, m) in zip(U, wave_numbers(4, 6), strict=True):
        phase = 2 * np.pi * (k * x / 4 + m * y / 6)
        np.testing.assert_allclose(row, (np.cos(phase) + np.sin(phase)) / np.sqrt(24), atol=1e-14)


def test_order_is_the_wave_number_and_agrees_for_opposite_modes():
    basis, _ = modes((6,))
    assert basis.describe().order.tolist() == [0, 1, 2, 3, 2, 1]
    assert basis.describe().groups.tolist() == ["k0", "k1", "k2", "k3", "k2", "k1"]
    assert basis.get_feature_names_out()[[1, 5]].tolist() == ["fourier_k1", "fourier_k-1"]
    square, _ = modes((4, 4))
    k = wave_numbers(4, 4)
    np.testing.assert_allclose(square.describe().order, np.hypot(k[:, 0], k[:, 1]))
    # The order is the same for the same wavelength in samples on axes of different length.
    oblong, _ = modes((8, 4))
    order = oblong.describe().order.reshape(8, 4)
    assert order[2, 0] == order[0, 1] == 2


def test_channels_do_not_mix():
    basis, U = modes((2, 3), channels=2)
    _, single = modes((2, 3))
    np.testing.assert_allclose(U, np.kron(single, np.eye(2)), atol=1e-14)
    assert basis.get_feature_names_out()[:2].tolist() == ["fourier_k0_0_c0", "fourier_k0_0_c1"]
    order = basis.describe().order
    np.testing.assert_array_equal(order[::2], order[1::2])


def test_no_shape_is_one_dimension():
    X = np.random.default_rng(0).normal(size=(5, 12))
    np.testing.assert_array_equal(
        FourierBasis().fit_transform(X), FourierBasis(shape=(12,)).fit_transform(X)
    )
    assert FourierBasis(channels=3).fit(X).shape_ == (4,)


@pytest.mark.parametrize(
    "parameters, message",
    [
        (
            {"shape": (4, 4)},
            r"shape=\(4, 4\) has 16 entries but X has 10 features\. Pass the shape",
        ),
        ({"shape": (5,), "channels": 3}, r"shape=\(5,\) with channels=3 has 15 entries"),
        ({"shape": (5, 0)}, r"shape=\(5, 0\) must hold one to three whole numbers"),
        ({"shape": (2.0, 5)}, r"must hold one to three whole numbers"),
        ({"shape": (1, 1, 2, 5)}, r"must hold one to three whole numbers"),
        ({"shape": ()}, r"must hold one to three whole numbers"),
        ({"shape": 10}, r"The 'shape' parameter of FourierBasis"),
        ({"channels": 3}, r"channels=3 does not divide the 10 features of X"),
        ({"channels": 0}, r"The 'channels' parameter of FourierBasis"),
    ],
)
def test_shapes_that_do_not_match_are_refused(parameters, message):
    with pytest.raises(ValueError, match=message):
        FourierBasis(**parameters).fit(np.ones((3, 10)))
