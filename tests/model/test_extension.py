"""Series and images beyond the width that was trained on: what is returned, and refused."""

from itertools import islice

import numpy as np
import pandas as pd
import pytest

from gudlearn import BlockBasis, PCABasis, Schema, UNet, WaveletBasis
from small import small
from strips import by_column, haar_strips, random_walks

RATE = {"conditional_rate": 0.5}


def fitted_to(X, **parameters):
    return small(**{**RATE, "max_iter": 1, **parameters}).fit(X)


@pytest.fixture(scope="module")
def fitted():
    return fitted_to(random_walks())


def test_series_are_continued_on_both_sides(fitted):
    gen, X = fitted, random_walks(3, 9)
    right = gen.extend(X, 4)
    assert right.shape == (3, 13)
    np.testing.assert_array_equal(right[:, :9], X)
    left = gen.extend(X, 4, side="left")
    np.testing.assert_array_equal(left[:, 4:], X)
    assert np.isfinite(left).all()
    # A longer continuation begins as a shorter one does.
    np.testing.assert_array_equal(gen.extend(X, 7)[:, :13], right)
    steps = list(islice(gen.iter_extend(X), 4))
    np.testing.assert_array_equal(np.concatenate(steps, axis=1), right[:, 9:])


def test_bad_input_is_refused_before_the_first_column(fitted):
    with pytest.raises(ValueError, match="X_start must be finite"):
        fitted.iter_extend(np.full((1, 6), np.nan))


def test_columns_active_at_once_need_one_noise_curve():
    gen = fitted_to(random_walks(), max_iter=0, schedule="sequential")
    with pytest.raises(ValueError, match="along one noise curve, but schedule_=Sequential"):
        gen.extend(random_walks(2), 2, active=2)


def test_a_model_that_never_saw_partial_rows_warns():
    gen, X = fitted_to(random_walks(), max_iter=0, conditional_rate=0), random_walks(2)
    for extend in (lambda: gen.extend(X, 2), lambda: next(gen.iter_extend(X))):
        with pytest.warns(UserWarning, match="conditional_rate=0.*may lead it astray"):
            extend()


def test_values_that_the_fitted_dtype_does_not_hold_are_refused():
    X = np.rint(4 * random_walks()).astype(int)
    gen = fitted_to(X, max_iter=0)
    past = np.c_[np.full((2, 1), 0.5), X[:2]]
    with pytest.raises(ValueError, match="X_start holds values that int64"):
        gen.extend(past, 2)
    assert gen.extend(past[:, 1:], 2).dtype == np.int64
    mixed = pd.DataFrame(X).astype({k: "Int64" if k % 2 else float for k in range(6)})
    several = fitted_to(mixed, max_iter=0)
    assert several.extend(X[:2], 2).dtype == np.float64
    with pytest.raises(TypeError, match="X_start has dtype <U"):
        gen.extend(past.astype(str), 2)


def test_only_the_context_counts(fitted):
    gen, X = fitted, random_walks(2, 9)
    moved = X.copy()
    moved[:, :5] += 1
    given = {"context": 4, "active": 2}
    np.testing.assert_array_equal(
        gen.extend(X, 3, **given)[:, 9:], gen.extend(moved, 3, **given)[:, 9:]
    )
    assert (gen.extend(X, 3, context=5)[:, 9:] != gen.extend(moved, 3, context=5)[:, 9:]).any()


def test_a_model_of_classes_is_extended_without_a_label():
    X = random_walks()
    gen = small(class_conditional=True, max_iter=0, **RATE).fit(X, np.arange(60) % 2)
    network = gen.fitted_model().components.denoiser.network
    labels_seen = []
    network.register_forward_pre_hook(lambda module, inputs: labels_seen.append(inputs[2:]))
    assert np.isfinite(gen.extend(X[:2], 2)).all()
    assert labels_seen
    assert all((labels == 2).all() for (labels,) in labels_seen)


def test_discrete_images_of_channels_are_continued_in_a_basis_of_their_columns():
    X = np.random.default_rng(0).integers(0, 256, (30, 4, 6, 3)).astype(np.uint8)
    place = np.arange(72).reshape(4, 6, 3)
    whole = [(f"c{c}", WaveletBasis(channels=3), place[:, c].ravel()) for c in range(6)]
    each = [
        (f"c{c}_{k}", WaveletBasis(), place[:, c, k]) for c in range(6) for k in range(3)
    ]  # fmt: skip
    for blocks in (whole, each):
        network = UNet(width=8, multipliers=(1,))
        gen = fitted_to(X, basis=BlockBasis(blocks), network=network)
        for side in ("right", "left"):
            longer, found = gen.extend(
                X[:2], 2, steps_per_column=2, side=side, return_log_likelihood=True
            )
            assert longer.shape == (2, 4, 8, 3) and longer.dtype == np.uint8
            observed = longer[:, :, :6] if side == "right" else longer[:, :, 2:]
            np.testing.assert_array_equal(observed, X[:2])
            assert np.isfinite(found).all()


def test_series_with_named_columns_are_continued(fitted):
    X = pd.DataFrame(random_walks(), columns=list("abcdef"))
    expected = fitted.extend(random_walks()[:2], 3)
    np.testing.assert_allclose(fitted_to(X).extend(X[:2], 3), expected, rtol=1e-9)


def test_images_are_continued():
    X = np.random.default_rng(0).integers(0, 256, (20, 6, 6, 3)).astype(np.uint8)
    gen = fitted_to(X, network=UNet(width=8))
    given = {"steps_per_column": 2, "random_state": 1}
    longer = gen.extend(X[:2], 3, **given)
    assert longer.shape == (2, 6, 9, 3)
    assert longer.dtype == np.uint8
    np.testing.assert_array_equal(longer[:, :, :6], X[:2])
    left, found = gen.extend(X[:2], 3, side="left", return_log_likelihood=True, **given)
    np.testing.assert_array_equal(left[:, :, 3:], X[:2])
    assert found.shape == (2, 3) and np.isfinite(found).all()
    columns = list(islice(gen.iter_extend(X[:2], side="left", **given), 3))
    np.testing.assert_array_equal(np.concatenate(columns[::-1], axis=2), left[:, :, :3])
    # The score of the column that was added first, the last of the three, given its context.
    given_columns = np.zeros((6, 6), bool)
    given_columns[:, -3:] = True
    whole = np.full((2, 6, 6, 3), np.nan)
    whole[:, :, 2:] = left[:, :, 2:6]
    np.testing.assert_array_equal(
        gen.score_samples(whole, given_columns=given_columns), found[:, 0]
    )


def test_flat_images_cannot_be_continued():
    X = np.random.default_rng(0).integers(0, 256, (20, 36)).astype(np.uint8)
    gen = fitted_to(X, network=UNet(width=8), shape=(6, 6), max_iter=0)
    with pytest.raises(ValueError, match="fitted as flat rows with shape="):
        gen.extend(X[:1], 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"context": 4, "active": 3}, "strip of 6 columns.*context=4 and active=3, which take 7"),
        ({"context": 0}, "context=0 must be a whole number"),
        ({"active": 1.5}, "active=1.5 must be a whole number"),
        ({"steps_per_column": 0}, "steps_per_column=0"),
        ({"side": "up"}, "side='up' must be"),
        ({"n_steps": 0}, "n_steps=0"),
        ({"X_start": np.zeros((2, 2))}, r"X_start has shape \(2, 2\).*at least context=3"),
        ({"X_start": 5.0}, r"X_start has shape \(\)"),
        ({"X_start": np.zeros((0, 3))}, r"X_start has shape \(0, 3\).*at least one row"),
        ({"X_start": np.zeros(9)}, r"must be \(n_rows, width\)"),
        ({"X_start": np.full((1, 6), np.nan)}, "X_start must be finite"),
    ],
    ids=repr,
)
def test_bad_arguments_of_extend_are_refused(fitted, arguments, message):
    with pytest.raises(ValueError, match=message):
        fitted.extend(**{"X_start": random_walks(2, 9), "n_steps": 2, **arguments})


def test_bases_and_columns_that_cannot_be_extended():
    pairs = BlockBasis([(f"b{k}", WaveletBasis(), [2 * k, 2 * k + 1]) for k in range(3)])
    for basis in ("pca", pairs):
        with pytest.raises(ValueError, match="mixes columns of the strip"):
            fitted_to(random_walks(), basis=basis, max_iter=0).extend(random_walks(2), 2)
    # Columns of one shape, but each has axes of its own.
    gen = fitted_to(haar_strips(50), basis=by_column(PCABasis(), 4, 4), max_iter=0)
    with pytest.raises(ValueError, match="rotates one of them differently"):
        gen.extend(haar_strips(2), 2)
    twice = np.repeat(random_walks()[:, None], 2, axis=1)
    gen = fitted_to(twice, basis=by_column(WaveletBasis(), 2, 6), max_iter=0)
    with pytest.raises(ValueError, match=r"Components \['c\d__.*are functions of others"):
        gen.extend(twice[:2], 2)
    X = random_walks()
    X[:, 1] = 2.0
    with pytest.raises(ValueError, match=r"Columns \['x1'\] are constant"):
        fitted_to(X, max_iter=0).extend(random_walks(2), 2)


def test_columns_with_maps_of_their_own_are_refused():
    X = np.exp(random_walks(300))
    with pytest.raises(ValueError, match=r"'x\d' is mapped to a normal one.*gaussianize=False"):
        fitted_to(X, max_iter=0).extend(X[:2], 2)
    linear = fitted_to(X, max_iter=0, schema=Schema(gaussianize=False))
    assert np.isfinite(linear.extend(X[:2], 2)).all()
