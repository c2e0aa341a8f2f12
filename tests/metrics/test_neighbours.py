"""Neighbourhoods against brute force, and detection of planted copies."""

import numpy as np
import pytest

from gudlearn.metrics import memorization, neighbourhoods


def normal(n, d=4, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d))


# Neighbourhoods


def brute_force(real, fake, k):
    def distances(A, B):
        return np.sqrt(np.square(A[:, None] - B[None]).sum(-1))

    def radius(A):
        return np.sort(distances(A, A), axis=1)[:, k]

    in_real = distances(fake, real) <= radius(real) + 1e-9
    in_fake = distances(real, fake) <= radius(fake) + 1e-9
    return (
        in_real.any(1).mean(), in_fake.any(1).mean(), in_real.sum(1).mean() / k,
        in_real.any(0).mean(),
    )  # fmt: skip


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("entries", [2**22, 50])
def test_neighbourhoods_agree_with_their_definition(k, entries, monkeypatch):
    monkeypatch.setattr("gudlearn.metrics.neighbours.MAX_ENTRIES", entries)
    real, fake = normal(40, 3), 0.7 * normal(30, 3, seed=1) + 0.4
    found = neighbourhoods(real, fake, k=k)
    values = (found.precision, found.recall, found.density, found.coverage)
    np.testing.assert_allclose(values, brute_force(real, fake, k))


def test_what_each_value_measures():
    real = np.vstack([normal(300), normal(300, seed=1) + 20])
    one_mode = normal(600, seed=2)
    found = neighbourhoods(real, one_mode)
    assert found.precision > 0.9 and found.density > 0.9
    assert found.recall < 0.6 and found.coverage < 0.6
    outliers = np.vstack([normal(300, seed=2), normal(300, seed=3) + 20])
    outliers[::2] += 100
    found = neighbourhoods(real, outliers)
    assert found.precision < 0.55 and found.density < 0.6
    equal = np.vstack([normal(300, seed=4), normal(300, seed=5) + 20])
    found = neighbourhoods(real, equal)
    assert found.density == pytest.approx(1, abs=0.1) and found.coverage > 0.9


# Copies


@pytest.mark.parametrize("d", [3, 10])
@pytest.mark.parametrize("n_held_out", [200, 1000])
def test_five_percent_of_planted_copies_are_detected(d, n_held_out):
    train, held_out, generated = normal(1000, d), normal(n_held_out, d, 1), normal(1000, d, 2)
    honest = memorization(train, held_out, generated)
    assert honest.p_value > 0.01
    planted = generated.copy()
    planted[:50] = train[:50] + 1e-6
    caught = memorization(train, held_out, planted)
    assert caught.p_value < 0.01
    assert caught.share - honest.share == pytest.approx(0.05, abs=0.01)
    assert (caught.ratios[:50] < 1e-3).all()
    assert caught.baseline == honest.baseline


def test_fewer_copies_than_among_held_out_rows_are_not_significant():
    train, generated = normal(1000), normal(1000, seed=2)
    assert memorization(train, train[:500] + 1e-6, generated).p_value > 0.99


def test_rows_that_are_common_in_the_data_are_no_copies():
    rng = np.random.default_rng(0)
    train, held_out, generated = rng.integers(0, 3, size=(3, 500, 2))
    assert memorization(train, held_out, generated).p_value > 0.01


def test_copies_are_detected_in_features():
    three = [normal(40, 12, seed=k).reshape(40, 2, 3, 2) for k in range(3)]

    def features(images):
        return images.mean((1, 2))

    found, expected = memorization(*three, features=features), memorization(*map(features, three))
    assert (found.share, found.p_value) == (expected.share, expected.p_value)
    np.testing.assert_array_equal(found.ratios, expected.ratios)
    flat = memorization(*(X.reshape(40, 12) for X in three))
    np.testing.assert_array_equal(memorization(*three).ratios, flat.ratios)


@pytest.mark.parametrize("d", [3, 20])
@pytest.mark.parametrize("shift", [1e8, -3e5])
def test_copies_do_not_change_if_all_samples_are_shifted(d, shift):
    train, held_out, generated = (normal(300, d, seed) for seed in range(3))
    generated[:30] = train[:30] + 1e-3
    near = memorization(train, held_out, generated)
    far = memorization(train + shift, held_out + shift, generated + shift)
    assert (far.share, far.baseline, far.p_value) == (near.share, near.baseline, near.p_value)
    assert near.share >= 0.1
    # Copies are 1e-3 apart, which float64 resolves to 1.5e-5 of that near 1e8.
    np.testing.assert_allclose(far.ratios, near.ratios, rtol=1e-3)


def test_rows_too_close_to_be_resolved_are_no_copies():
    # Of distances this small the squares are zero.
    train = np.array([[-1.0], [0.0], [1e-170], [1.0]])
    with np.errstate(all="raise"):
        found = memorization(train, normal(3, 1), np.array([[0.0], [1.0]]))
    assert found.ratios.tolist() == [1.0, 0.0]


@pytest.mark.parametrize("d", [3, 20])
def test_strict_floating_point_errors_raise_nothing(d):
    train, held_out, generated = (normal(300, d, seed) for seed in range(3))
    generated[:100] = train[:100]
    for scale in (1.0, 1e-200):
        with np.errstate(all="raise"):
            memorization(scale * train, scale * held_out, scale * generated)
