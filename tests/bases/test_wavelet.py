"""Wavelet basis: Haar written out, odd lengths, agreement with PyWavelets."""

import sys

import numpy as np
import pytest
import pywt

from gudlearn.bases import WaveletBasis


def matrix(n_features, **parameters):
    """The fitted basis and its matrix U, one row per component."""
    basis = WaveletBasis(whiten=False, **parameters)
    basis.fit(np.random.default_rng(0).normal(size=(3, n_features)))
    return basis, basis.rotate(np.eye(n_features)).T


def test_haar_of_four_samples_written_out():
    _, U = matrix(4)
    r = np.sqrt(0.5)
    expected = [[0.5, 0.5, 0.5, 0.5], [0.5, 0.5, -0.5, -0.5], [r, -r, 0, 0], [0, 0, r, -r]]
    np.testing.assert_allclose(U, expected, atol=1e-15)


def test_haar_of_three_samples_written_out():
    _, U = matrix(3)
    rows = np.array([[1, 1, 1], [1, 1, -2], [1, -1, 0]])
    np.testing.assert_allclose(U, rows / np.linalg.norm(rows, axis=1)[:, None], atol=1e-15)


@pytest.mark.parametrize(
    "shape", [(1,), (2,), (3,), (5,), (13,), (31,), (3, 5), (1, 6), (7, 2, 3), (5, 1, 9)]
)
def test_haar_is_orthonormal_without_details_of_constants_at_every_shape(shape):
    size = int(np.prod(shape))
    basis, U = matrix(size, shape=shape)
    np.testing.assert_allclose(U @ U.T, np.eye(size), atol=1e-12)
    coefficients = basis.rotate(np.ones((1, size)))
    np.testing.assert_allclose(coefficients[0], [np.sqrt(size)] + [0] * (size - 1), atol=1e-12)
    np.testing.assert_allclose(basis.rotate_back(coefficients), 1)


@pytest.mark.parametrize("length", range(1, 12))
@pytest.mark.parametrize("levels", [1, 2, 3])
def test_haar_levels(length, levels):
    most = int(np.ceil(np.log2(length)))
    if levels > most:
        with pytest.raises(ValueError, match=f"levels={levels} is more than the {most} that shape"):
            matrix(length, levels=levels)
        return
    basis, U = matrix(length, levels=levels)
    np.testing.assert_allclose(U @ U.T, np.eye(length), atol=1e-12)
    n_of_level = np.bincount(basis.natural_order())
    assert n_of_level[0] == -(-length // 2**levels)
    assert len(n_of_level) == levels + 1


@pytest.mark.parametrize(
    ("wavelet", "shape"),
    [("haar", (5,)), ("haar", (3, 8)), ("haar", (1, 6)), ("haar", (2, 3, 5)), ("db2", (8, 12))],
)
def test_split_matrices_are_orthonormal_and_compose_the_rotation(wavelet, shape):
    X = np.random.default_rng(1).normal(size=(4, int(np.prod(shape))))
    basis = WaveletBasis(shape=shape, wavelet=wavelet, whiten=False).fit(X)
    extents, matrices = basis.extents(), basis.split_matrices()
    assert len(matrices) == len(extents) - 1 == basis.n_levels_
    assert extents[0] == shape
    centred = X - basis.mean_
    coefficients = centred.reshape(-1, *shape).copy()
    for extent, of_axes in zip(extents, matrices, strict=False):
        region = (slice(None), *map(slice, extent))
        for axis, (length, matrix) in enumerate(zip(extent, of_axes, strict=True)):
            np.testing.assert_allclose(matrix @ matrix.T, np.eye(length), atol=1e-12)
            moved = np.moveaxis(coefficients[region], axis + 1, -1) @ matrix.T
            coefficients[region] = np.moveaxis(moved, -1, axis + 1)
    np.testing.assert_allclose(
        coefficients.reshape(X.shape), basis.rotate(centred), rtol=1e-12, atol=1e-12
    )


@pytest.mark.parametrize(
    "wavelet, length", [("haar", 16), ("db2", 24), ("sym4", 56), ("coif1", 40)]
)
@pytest.mark.parametrize("levels", [1, 2, 3])
def test_agrees_with_pywavelets(wavelet, length, levels):
    X = np.random.default_rng(2).normal(size=(5, length))
    basis = WaveletBasis(wavelet=wavelet, levels=levels, whiten=False).fit(X)
    coefficients = pywt.wavedec(X - X.mean(axis=0), wavelet, "periodization", level=levels)
    np.testing.assert_allclose(basis.transform(X), np.concatenate(coefficients, axis=1), atol=1e-12)
    expected = np.repeat(np.arange(levels + 1), [part.shape[1] for part in coefficients])
    np.testing.assert_array_equal(basis.describe().order, expected)


@pytest.mark.parametrize("wavelet, shape", [("haar", (8, 4)), ("db2", (12, 16))])
def test_agrees_with_pywavelets_on_images(wavelet, shape):
    image = np.random.default_rng(2).normal(size=shape)
    X = np.stack([image.ravel(), -image.ravel()])
    basis = WaveletBasis(shape=shape, wavelet=wavelet, levels=2, whiten=False).fit(X)
    expected = pywt.wavedec2(image, wavelet, "periodization", level=2)
    array, _ = pywt.coeffs_to_array(expected)
    np.testing.assert_allclose(basis.transform(X)[0].reshape(shape), array, atol=1e-12)


def test_groups_and_order_go_from_coarse_to_fine():
    basis, _ = matrix(16, shape=(4, 4))
    expected = [[0, 1, 2, 2], [1, 1, 2, 2], [2, 2, 2, 2], [2, 2, 2, 2]]
    assert basis.describe().order.reshape(4, 4).tolist() == expected
    assert basis.describe().groups[:3].tolist() == ["level0", "level1", "level2"]
    assert basis.get_feature_names_out()[[0, 1, 4]].tolist() == [
        "wavelet_level0_0",
        "wavelet_level1_0",
        "wavelet_level1_1",
    ]


def test_channels_do_not_mix():
    _, U = matrix(18, shape=(2, 3), channels=3)
    _, single = matrix(6, shape=(2, 3))
    np.testing.assert_allclose(U, np.kron(single, np.eye(3)), atol=1e-14)


@pytest.mark.parametrize(
    "wavelet, length, levels",
    [("db1", 12, 2), ("db2", 12, 2), ("db4", 8, 1), ("db4", 4, 1), ("db2", 64, 4), ("db2", 1, 0)],
)
def test_default_levels_of_filters(wavelet, length, levels):
    basis, U = matrix(length, wavelet=wavelet)
    assert basis.n_levels_ == levels
    np.testing.assert_allclose(U @ U.T, np.eye(length), atol=1e-10)


@pytest.mark.parametrize(
    "parameters, message",
    [
        ({"wavelet": "db2", "shape": (9,)}, "even length at each level: .* allows 0 levels, not 1"),
        ({"wavelet": "db2", "shape": (3, 3)}, "Use wavelet='haar', which works at every length"),
        ({"wavelet": "bior2.2"}, "wavelet='bior2.2' is not orthonormal"),
        ({"wavelet": "dmey"}, "wavelet='dmey' is not orthonormal"),
        ({"wavelet": "harr"}, "wavelet='harr' is not known. Use 'haar'"),
        ({"levels": 0}, "The 'levels' parameter of WaveletBasis"),
        ({"shape": (4, 4)}, r"shape=\(4, 4\) has 16 entries but X has 9 features"),
    ],
)
def test_wavelets_that_are_not_orthonormal_are_refused(parameters, message):
    with pytest.raises(ValueError, match=message):
        WaveletBasis(**parameters).fit(np.ones((3, 9)))


def test_too_many_levels_of_a_filter_are_refused():
    with pytest.raises(ValueError, match=r"shape=\(12,\) allows 2 levels, not 3"):
        WaveletBasis(wavelet="db2", levels=3).fit(np.ones((3, 12)))


def test_missing_pywavelets_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pywt", None)
    with pytest.raises(ImportError, match=r"needs PyWavelets. Install it with pip install"):
        WaveletBasis(wavelet="db2").fit(np.ones((3, 8)))
    WaveletBasis().fit(np.ones((3, 8)))
