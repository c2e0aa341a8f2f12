"""Random numbers by row: independent of batches, of each other, and of global state."""

import threading

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from gudlearn._random import (
    derive_seed,
    distinct_keys,
    keyed_normal,
    keyed_uniform,
    mix,
    row_keys,
    seed_keys,
    seeded_global_state,
    torch_generator,
)

# The probability of five standard errors in a normal distribution, on both sides.
FIVE_SIGMA = 5.7e-7
DRAWS = [keyed_uniform, keyed_normal]
DTYPES = [torch.float32, torch.float64]


@pytest.fixture
def keys():
    return seed_keys(7, 501)


def by_name(function):
    return getattr(function, "__name__", str(function))


@pytest.mark.parametrize("dtype", DTYPES, ids=by_name)
@pytest.mark.parametrize("draw", DRAWS, ids=by_name)
@pytest.mark.parametrize("size", [1, 2, 7, 33])
def test_noise_of_a_row_does_not_depend_on_the_other_rows(draw, dtype, size, keys):
    whole = draw(keys, size, 3, dtype)
    assert whole.shape == (501, size) and whole.dtype == dtype and whole.is_contiguous()
    order = torch.from_numpy(np.random.default_rng(0).permutation(501))
    assert torch.equal(draw(keys[order], size, 3, dtype), whole[order])
    for start, stop in [(0, 1), (0, 17), (100, 500), (499, 501)]:
        assert torch.equal(draw(keys[start:stop], size, 3, dtype), whole[start:stop])


@pytest.mark.parametrize("draw", DRAWS, ids=by_name)
def test_first_numbers_do_not_depend_on_how_many_are_drawn(draw, keys):
    whole = draw(keys, 9, 0)
    for size in range(10):
        assert torch.equal(draw(keys, size, 0), whole[:, :size])


@pytest.mark.parametrize("draw", DRAWS, ids=by_name)
@pytest.mark.parametrize("size", [1, 4, 5])
def test_streams_together_are_those_one_by_one(draw, keys, size):
    streams = [3, 0, -1, 2**63, 11]
    expected = torch.stack([draw(keys, size, stream) for stream in streams])
    assert torch.equal(draw(keys, size, streams), expected)
    assert draw(keys, size, []).shape == (0, len(keys), size)


@pytest.mark.parametrize("draw", DRAWS, ids=by_name)
def test_float32_is_float64_with_fewer_digits(draw, keys):
    # keyed_uniform keeps the leading 23 bits: half a unit of 2**-23 apart at most, and rounding.
    torch.testing.assert_close(
        draw(keys, 8, 1, torch.float32).double(), draw(keys, 8, 1), rtol=2**-23, atol=2**-23
    )


def test_equal_rows_have_keys_of_their_own():
    X = np.array([[1.0, 2.0], [3.0, 4.0], [1.0, 2.0], [1.0, 2.0], [3.0, 4.0]])
    keys, plain = distinct_keys(X), row_keys(X)
    assert len(keys.unique()) == 5
    # The first of equal rows has the key of its values.
    assert torch.equal(keys[:2], plain[:2])
    assert torch.equal(distinct_keys(X[[0, 1, 4]])[:2], keys[[0, 1]])
    assert distinct_keys(X[:0]).shape == (0,)


@pytest.mark.parametrize("dtype", DTYPES, ids=by_name)
def test_uniform_distribution(dtype):
    u = keyed_uniform(seed_keys(0, 2000), 50, 0, dtype)
    assert 0 < u.min() and u.max() < 1
    assert stats.kstest(u.double().flatten().numpy(), "uniform").pvalue > FIVE_SIGMA
    # Five standard errors of 1e5 draws: 5 * 9.1e-4 and, for the variance, 5 * 2.4e-4.
    assert u.mean().item() == pytest.approx(0.5, abs=4.6e-3)
    assert u.var().item() == pytest.approx(1 / 12, abs=1.2e-3)


def test_uniform_never_reaches_its_ends(monkeypatch):
    for bits, end in [(0, 0.0), (-1, 1.0)]:
        monkeypatch.setattr(
            "gudlearn._random._keyed_bits",
            lambda keys, size, stream, bits=bits: torch.full((1, size), bits),
        )
        for dtype in DTYPES:
            u = keyed_uniform(torch.zeros(1, dtype=torch.int64), 1, 0, dtype).item()
            assert 0 < u < 1 and abs(u - end) < 1e-6
        assert torch.isfinite(keyed_normal(torch.zeros(1, dtype=torch.int64), 1, 0)).all()


def test_normal_distribution():
    z = keyed_normal(seed_keys(0, 2000), 50, 0)
    flat = z.flatten().numpy()
    assert stats.kstest(flat, "norm").pvalue > FIVE_SIGMA
    # Five standard errors of 1e5 draws.
    for power, moment, error in [(1, 0, 1), (2, 1, 2**0.5), (3, 0, 15**0.5), (4, 3, 96**0.5)]:
        assert (flat**power).mean() == pytest.approx(moment, abs=5 * error / 1e5**0.5)
    # Correlations between columns: the largest of 1225, each of standard error 2000**-0.5.
    off_diagonal = np.corrcoef(z.numpy().T) - np.eye(50)
    assert np.abs(off_diagonal).max() < 6 / 2000**0.5


@pytest.mark.parametrize("draw", DRAWS, ids=by_name)
def test_streams_salts_seeds_and_neighbouring_rows_are_uncorrelated(draw):
    keys = seed_keys(3, 5000)
    reference = draw(keys, 4, 0)
    others = [draw(keys, 4, stream) for stream in (1, 2, -1, 2**40)]
    others += [draw(mix(keys, salt), 4, 0) for salt in (0, 1, 2)]
    others += [draw(seed_keys(4, 5000), 4, 0), draw(seed_keys(3, 5000, start=1), 4, 0)]
    for other in others:
        correlation = np.corrcoef(reference.flatten(), other.flatten())[0, 1]
        assert abs(correlation) < 5 / 20000**0.5


def test_seed_keys_depend_on_seed_and_index_only():
    whole = seed_keys(11, 100)
    assert whole.dtype == torch.int64 and len(whole.unique()) == 100
    assert torch.equal(seed_keys(11, 30, start=20), whole[20:50])
    assert not torch.isin(seed_keys(12, 100), whole).any()


def test_normals_share_no_bits_with_uniforms_of_the_same_stream():
    keys = seed_keys(3, 5000)
    radius = keyed_normal(keys, 2, 0).square().sum(dim=1)
    u = keyed_uniform(keys, 2, 0)[:, 0]
    assert abs(stats.spearmanr(radius, u).statistic) < 5 / 5000**0.5


def test_mix_changes_every_key_and_not_its_input(keys):
    before = keys.clone()
    assert not torch.isin(mix(keys, 1), torch.cat([keys, mix(keys, 2)])).any()
    assert torch.equal(keys, before)


X = np.random.default_rng(0).integers(-4, 5, size=(40, 3)).astype(float) / 4


def read_only(X):
    X = X.copy()
    X.setflags(write=False)
    return X


@pytest.mark.parametrize(
    "container",
    [
        np.asfortranarray,
        np.float32,
        pd.DataFrame,
        np.ndarray.tolist,
        torch.from_numpy,
        read_only,
        lambda X: torch.from_numpy(X.T.copy()).T,
        lambda X: np.where(X == 0, -0.0, X),
        lambda X: X.astype(object),
        lambda X: X[:, ::-1].copy()[:, ::-1],
    ],
)
def test_equal_rows_have_equal_keys_in_every_container(container):
    assert torch.equal(row_keys(container(X)), row_keys(X))


def test_row_keys_of_integers_equal_those_of_floats():
    whole = np.arange(60).reshape(20, 3)
    expected = row_keys(whole.astype(float))
    for dtype in (np.int64, np.uint8, np.int16, np.float16):
        assert torch.equal(row_keys(whole.astype(dtype)), expected)


def test_row_keys_do_not_change_their_input():
    negative_zero = np.full((2, 2), -0.0)
    row_keys(negative_zero)
    tensor = torch.from_numpy(negative_zero)
    row_keys(tensor)
    assert np.signbit(negative_zero).all()


def test_equal_rows_have_equal_noise_and_different_rows_do_not():
    rows = np.concatenate([X, X[::-1]])
    z = keyed_normal(row_keys(rows), 5, 0)
    assert torch.equal(z[:40], z[40:].flip(0))
    assert len(z.unique(dim=0)) == len(np.unique(X, axis=0))


def test_row_keys_depend_on_the_position_of_a_value():
    permuted = [[1.0, 2.0, 3.0], [2.0, 1.0, 3.0], [3.0, 2.0, 1.0], [0.0, 0.0, 0.0]]
    assert len(row_keys(permuted).unique()) == 4
    assert len({row_keys(np.zeros((1, width))).item() for width in range(5)}) == 5


def test_row_keys_do_not_depend_on_chunks(monkeypatch):
    expected = row_keys(X)
    monkeypatch.setattr("gudlearn._random._CHUNK", 10)
    assert torch.equal(row_keys(X), expected)
    assert row_keys(X[:0]).shape == (0,)


def test_every_nan_is_the_same():
    negative = np.copysign(np.nan, -1.0)
    assert torch.equal(row_keys([[np.nan, 1.0]]), row_keys([[negative, 1.0]]))


def test_grid_of_rows_has_no_collisions():
    grid = np.stack(np.meshgrid(np.arange(300), np.arange(300)), axis=-1).reshape(-1, 2)
    assert len(row_keys(grid).unique()) == 90000


def test_no_global_state_advances():
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    seed = derive_seed(0)
    keyed_normal(row_keys(X), 3, 0), keyed_uniform(seed_keys(seed, 4), 3, 0)
    torch.rand(3, generator=torch_generator(seed))
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert np.array_equal(np.random.get_state()[1], numpy_state)  # noqa: NPY002


def test_derive_seed():
    assert derive_seed(5) == derive_seed(5) == derive_seed(np.int64(5))
    assert derive_seed(5) != derive_seed(6)
    assert derive_seed(np.random.RandomState(5)) == derive_seed(5)  # noqa: NPY002
    for stream in (np.random.RandomState(0), np.random.default_rng(0), None):  # noqa: NPY002
        first, second = derive_seed(stream), derive_seed(stream)
        assert first != second and 0 <= first < 2**63 and type(first) is int
    with pytest.raises(ValueError, match="cannot be used to seed"):
        derive_seed("seed")


def test_a_seeded_global_state_is_restored():
    before = torch.get_rng_state()
    with seeded_global_state(7):
        found = torch.rand(3)
    with pytest.raises(KeyError), seeded_global_state(7):
        assert torch.equal(torch.rand(3), found)
        raise KeyError
    assert torch.equal(found, torch.rand(3, generator=torch_generator(7)))
    assert torch.equal(torch.get_rng_state(), before)


def test_one_thread_at_a_time_has_a_seeded_global_state():
    entered = threading.Event()

    def enter():
        with seeded_global_state(1):
            entered.set()

    other = threading.Thread(target=enter)
    # A thread may enter again.
    with seeded_global_state(0), seeded_global_state(0):
        other.start()
        assert not entered.wait(0.05)
    other.join()
    assert entered.is_set()


def test_torch_generator_repeats_itself():
    seed = derive_seed(1)
    first, second = (torch.rand(3, generator=torch_generator(seed)) for _ in range(2))
    assert torch.equal(first, second)
