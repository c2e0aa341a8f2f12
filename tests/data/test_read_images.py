"""Images: how they are read, and what is refused."""

import copy

import numpy as np
import pandas as pd
import pytest

from gudlearn import (
    FourierBasis,
    IdentityBasis,
    PCABasis,
    SoftConditioningSchedule,
    Transformer,
    UNet,
    WaveletBasis,
)
from gudlearn.data.images import ImageContainer, read_images
from gudlearn.encoding.encoding import Encoding
from small import random_images, tiny


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ((6, 5), np.uint8),
        ((6, 5, 1), np.float32),
        ((6, 5, 3), np.uint8),
        ((6, 5, 3), np.int32),
        ((6, 5, 3), np.float64),
    ],
)
def test_images_come_back_in_their_shape_and_dtype(shape, dtype):
    X = random_images(30, (*shape, 1)[:3]).reshape(30, *shape).astype(dtype)
    gen = tiny(max_iter=1).fit(X)
    drawn = gen.sample(3)
    assert drawn.shape == (3, *shape) and drawn.dtype == dtype
    assert gen.score_samples(X[:4]).shape == (4,)
    assert gen.n_features_in_ == np.prod(shape)
    assert (gen.bin_width_ is None) == (np.dtype(dtype).kind == "f")


def test_integers_without_bins_come_back_as_integers():
    drawn = tiny(max_iter=0, bin_width=None).fit(random_images(30)).sample(3)
    assert drawn.dtype == np.uint8 and drawn.std() > 10


def test_flat_rows_with_a_shape_are_the_same_images():
    X = random_images(20)
    flat = X.reshape(len(X), -1)
    as_images = tiny(max_iter=1).fit(X)
    as_rows = tiny(max_iter=1, shape=(6, 5, 3)).fit(flat)
    np.testing.assert_array_equal(as_images.score_samples(X), as_rows.score_samples(flat))
    np.testing.assert_array_equal(as_images.sample(4).reshape(4, -1), as_rows.sample(4))


def test_frames_of_flat_images_come_back_as_frames():
    X = random_images(20).reshape(20, -1)
    frame = pd.DataFrame(X, columns=[f"pixel{k}" for k in range(90)])
    gen = tiny(max_iter=0, shape=(6, 5, 3)).fit(frame)
    drawn = gen.sample(2)
    assert drawn.columns.tolist() == frame.columns.tolist()
    assert (drawn.dtypes == np.uint8).all()
    np.testing.assert_array_equal(drawn, tiny(max_iter=0, shape=(6, 5, 3)).fit(X).sample(2))
    np.testing.assert_array_equal(gen.score_samples(frame[:2]), gen.score_samples(X[:2]))
    assert gen.feature_names_in_.tolist() == frame.columns.tolist()
    assert gen.conditioning_method(["pixel0"]) == "posterior"
    # Column labels that are not strings are not compared, as everywhere in scikit-learn.
    numbered = pd.DataFrame(X, columns=range(1, 91))
    again = tiny(max_iter=0, shape=(6, 5, 3)).fit(numbered)
    found = again.score_samples(pd.DataFrame(X[:2]))
    np.testing.assert_array_equal(found, again.score_samples(X[:2]))
    with pytest.raises(ValueError, match="feature names should match"):
        gen.score_samples(frame[frame.columns[::-1]])
    partial = frame[5:7].astype(float)
    partial.iloc[:, 45:] = np.nan
    gen.set_params(conditioning="posterior")
    assert gen.sample(given=partial).index.tolist() == [5, 6]


def test_lists_of_images_differ_from_lists_of_rows():
    X = random_images(4)
    rows, container = read_images(X.tolist(), None)
    np.testing.assert_array_equal(rows, X.reshape(4, -1))
    assert container.shape == (6, 5, 3)
    assert read_images([[1.0, 2.0], [3.0, 4.0]], None) is None
    assert read_images(3.0, None) is None


def ragged():
    """An array of objects, which are images of two sizes."""
    X = np.empty(2, dtype=object)
    X[0], X[1] = random_images(1)[0], random_images(1, (4, 4, 3))[0]
    return X


FIVE = random_images(5)
BAD_IMAGES = {
    "channels first": (FIVE.transpose(0, 3, 1, 2), {}, "as .*the channels came first"),
    "sizes differ": ([random_images(1)[0], random_images(1, (4, 4, 3))[0]], {}, "different sizes"),
    "objects": (ragged(), {}, "different sizes"),
    "five dimensions": (FIVE[None], {}, "5 dimensions"),
    "wrong shape": (FIVE.reshape(5, -1), {"shape": (6, 6)}, r"36 entries but X has 90"),
    "shape of others": (FIVE, {"shape": (5, 6, 3)}, "does not match X of shape"),
    "shape of one": (FIVE, {"shape": (5,)}, "must be .height, width"),
    "width per pixel": (FIVE, {"bin_width": np.ones(90)}, "share one width"),
    "basis": (FIVE, {"basis": FourierBasis(shape=(5, 6), channels=3)}, "does not match"),
    "basis channels": (FIVE, {"basis": WaveletBasis(shape=(6, 5))}, "does not match"),
    "principal components": (FIVE, {"basis": PCABasis(channels=2)}, "does not match images"),
    "range": (
        FIVE / 255, {"bin_width": 1 / 255, "bin_range": (0, 0.5)}, "outside bin_range"
    ),
    "attention": (
        FIVE, {"network": UNet(width=8, attention=(True,))}, "or False for each of the 2"
    ),
    "attention at": (
        FIVE, {"network": UNet(width=8, attention=(16, 8))}, "must have True or False"
    ),
    "multipliers": (FIVE, {"network": UNet(width=8, multipliers=(0, 1))}, "whole numbers"),
    "blocks": (FIVE, {"network": UNet(width=8, n_blocks=(1, 1, 1))}, "one for each"),
    "heads": (FIVE, {"network": Transformer(width=10, n_heads=3)}, "must divide width"),
    "width": (FIVE, {"network": UNet(width="8")}, "The 'width' parameter of UNet"),
    "softness": (FIVE, {"schedule": SoftConditioningSchedule(-1)}, "softness=-1 must be"),
    "flips": (FIVE, {"network": "mlp", "random_flips": True}, "random_flips=True mirrors"),
    "retrieval": (FIVE, {"retrieval": 10}, "retrieval=10 keeps rows of a table"),
    "judges": (FIVE, {"early_stopping": True}, "of 5 rows holds none out"),
}  # fmt: skip


@pytest.fixture(scope="module")
def fitted():
    """A model of ten images, for tests that change only copies of it."""
    return tiny(max_iter=1).fit(random_images(10))


@pytest.mark.parametrize("name", BAD_IMAGES)
def test_images_that_cannot_be_fitted_are_refused_first(name, monkeypatch, fitted):
    X, parameters, message = BAD_IMAGES[name]
    gen = copy.deepcopy(fitted)
    # It is refused before anything is fitted.
    monkeypatch.setattr(Encoding, "fit", None)
    before = dict(vars(gen))
    gen.set_params(**parameters)
    with pytest.raises(ValueError, match=message):
        gen.fit(X)
    assert all(vars(gen)[k] is before[k] for k in before if k.endswith("_"))


def test_flat_rows_with_channels_first_are_refused():
    X = np.moveaxis(random_images(20, (8, 8, 3)), -1, 1)
    with pytest.raises(ValueError, match=r"shape=\(3, 8, 8\) was understood as 3 x 8 pixels"):
        tiny(shape=(3, 8, 8)).fit(X.reshape(20, -1))
    assert tiny(shape=(3, 8, 8), max_iter=0).fit(X).sample(1).shape == (1, 3, 8, 8)


def test_a_shape_confirms_images_with_few_rows():
    X = random_images(5, (3, 8, 8))
    assert tiny(max_iter=0, shape=(3, 8, 8)).fit(X).sample(1).shape == (1, 3, 8, 8)


@pytest.mark.parametrize(
    ("X", "shape", "message"),
    [(np.array([["a"]]), (1, 1), "real numbers"), (FIVE, "6x5", "tuple of whole numbers")],
)
def test_arrays_that_hold_no_images_raise_type_errors(X, shape, message):
    with pytest.raises(TypeError, match=message):
        read_images(X, shape)


def test_images_of_another_size_cannot_be_scored(fitted):
    with pytest.raises(ValueError, match=r"fitted to samples of shape \(6, 5, 3\)"):
        fitted.score_samples(random_images(4, (5, 6, 3)))


def test_the_default_basis_is_the_identity():
    assert isinstance(tiny(max_iter=0).fit(random_images(30)).basis_, IdentityBasis)


def test_a_basis_by_name_mixes_the_channels():
    gen, X = tiny(max_iter=0, basis="wavelet"), random_images(30)
    assert gen.fit(X).basis_.joint_channels
    assert not gen.fit(X[..., 0]).basis_.joint_channels


@pytest.mark.parametrize(
    ("side", "patch_unet", "patch_transformer"), [(8, 1, 1), (32, 1, 4), (64, 1, 8), (65, 2, 16)]
)
def test_default_patches_limit_the_number_of_positions(side, patch_unet, patch_transformer):
    shape = (side, side)
    assert UNet(width=4).build(1, 1, 4, shape).patch == patch_unet
    assert Transformer(width=32, n_blocks=1).build(1, 1, 4, shape).patch == patch_transformer


def test_a_network_of_images_refuses_a_table():
    with pytest.raises(ValueError, match="needs images, but X is a table"):
        tiny().fit(random_images(5).reshape(5, -1))


def test_a_container_keeps_integers_in_their_range():
    container = ImageContainer((1, 2, 1), (1, 2), np.dtype(np.uint8))
    out = container.wrap(np.array([[-3.0, 255.6]]), np.ones(2, dtype=bool))
    assert out.tolist() == [[[0, 255]]]
