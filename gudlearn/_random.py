r"""Random numbers keyed by row, independent of batching.

Noise is a pure function of (key, stream, counter): bits = splitmix64(key' + counter * golden),
where key' mixes the key with the stream. The noise of a row therefore does not depend on other
rows, on their order or on the batch size, and drawing it advances no generator.

A key must be an int64 whose 64 bits are well mixed. `row_keys`, `seed_keys` and `mix` make such
keys.

References
----------
Steele, Lea, Flood (2014), Fast splittable pseudorandom number generators (SplitMix64).
Salmon, Moraes, Dror, Shaw (2011), Parallel random numbers: as easy as 1, 2, 3.
"""

import math
import threading
from contextlib import contextmanager
from functools import cache
from itertools import permutations

import numpy as np
import torch
from sklearn.utils import check_random_state

__all__ = [
    "derive_seed",
    "distinct_keys",
    "keyed_normal",
    "keyed_stratified_normal",
    "keyed_uniform",
    "mix",
    "row_keys",
    "seed_keys",
    "seeded_global_state",
    "torch_generator",
]


def _signed(bits):
    """Return the int64 with the same 64 low bits as a Python integer."""
    return (bits + (1 << 63)) % (1 << 64) - (1 << 63)


_GOLDEN = _signed(0x9E3779B97F4A7C15)
_MULTIPLIER_1 = _signed(0xBF58476D1CE4E5B9)
_MULTIPLIER_2 = _signed(0x94D049BB133111EB)
_LOW_BITS = (1 << 64) - 1
# Salt of the normals, so that they share no bits with the uniforms of the same stream.
_NORMAL = 0x6E6F726D
# Mixed into every key and seed where it is not 0; tests change it to see that no result depends on
# one draw.
SALT = 0
# Strata of a group of normals.
STRATA = 8
# Held while torch's global state is changed.
_GLOBAL_STATE = threading.RLock()
# Entries hashed at once. It bounds the memory of `row_keys`, and fits into the cache.
_CHUNK = 1 << 18


def _xor_shift_(bits, shift):
    """Compute bits ^ (bits >>> shift) in place."""
    # Shifting an int64 copies its sign bit; the mask clears the copies.
    return bits.bitwise_xor_((bits >> shift).bitwise_and_((1 << (64 - shift)) - 1))


def _splitmix_(bits):
    """Apply the finaliser of SplitMix64, a bijection of int64, in place."""
    _xor_shift_(bits, 30).mul_(_MULTIPLIER_1)
    _xor_shift_(bits, 27).mul_(_MULTIPLIER_2)
    return _xor_shift_(bits, 31)


def _splitmix_int(value):
    """Apply the finaliser of SplitMix64 to the low 64 bits of a Python integer."""
    bits = (value ^ _GOLDEN) & _LOW_BITS
    bits = (bits ^ (bits >> 30)) * _MULTIPLIER_1 & _LOW_BITS
    bits = (bits ^ (bits >> 27)) * _MULTIPLIER_2 & _LOW_BITS
    return _signed(bits ^ (bits >> 31))


def row_keys(X):
    """Hash each row of X by its values.

    Equal rows have equal keys, whatever their container, dtype and memory order. -0.0 equals 0.0,
    and all NaN are equal.

    Parameters
    ----------
    X : array-like or Tensor of shape (n, F)
        Numbers that float64 can hold.

    Returns
    -------
    Tensor of shape (n,), dtype int64
        On the device of X if X is a tensor, else on the CPU.
    """
    X = X.detach() if isinstance(X, torch.Tensor) else np.asarray(X)
    n_rows, n_columns = X.shape
    rows = max(1, _CHUNK // max(1, n_columns))
    keys = [_hash_rows(X[start : start + rows]) for start in range(0, max(n_rows, 1), rows)]
    return torch.cat(keys)


def _hash_rows(X):
    if not isinstance(X, torch.Tensor):
        # A copy: torch warns about read-only memory, and `add_` must not change the user's array.
        X = torch.from_numpy(np.array(X, dtype=np.float64, order="C"))
    values = X.to(torch.float64, copy=True, memory_format=torch.contiguous_format).add_(0.0)
    bits = values.masked_fill_(values.isnan(), math.nan).view(torch.int64)
    column = torch.arange(1, bits.shape[1] + 1, device=bits.device)
    # Each column has its own offset. Without it, swapping two values would not change the sum.
    bits = _splitmix_(bits.add_(column * _GOLDEN))
    keys = _splitmix_(bits.sum(dim=1) + bits.shape[1])
    return mix(keys, SALT) if SALT else keys


def distinct_keys(X):
    """Hash each row of X by its values and by the number of equal rows before it.

    Parameters
    ----------
    X : array-like or Tensor of shape (n, F)
        As in `row_keys`. The first of equal rows has the key that `row_keys` gives it.

    Returns
    -------
    Tensor of shape (n,), dtype int64
    """
    keys = row_keys(X)
    order = keys.argsort(stable=True)
    position = torch.arange(len(keys), device=keys.device)
    group = torch.searchsorted(keys[order], keys[order])
    before = torch.empty_like(keys).scatter_(0, order, position - group)
    return torch.where(before == 0, keys, _splitmix_(keys + before * _GOLDEN))


def derive_seed(random_state):
    """Draw a 63-bit seed from a `random_state` of scikit-learn.

    Parameters
    ----------
    random_state : int, RandomState, numpy.random.Generator or None
        An integer always gives the same seed. A RandomState or a Generator advances by one draw.
        None draws from NumPy's global state, as in scikit-learn.

    Returns
    -------
    int
        In [0, 2**63 - 1).
    """
    bound = np.iinfo(np.int64).max
    if isinstance(random_state, np.random.Generator):
        seed = int(random_state.integers(bound, dtype=np.int64))
    else:
        seed = int(check_random_state(random_state).randint(bound, dtype=np.int64))
    return _splitmix_int(seed + SALT) % bound if SALT else seed


def seed_keys(seed, n, start=0, *, device=None):
    """Make the keys of rows start, ..., start + n - 1 of a sample.

    Parameters
    ----------
    seed : int
        As returned by `derive_seed`.
    n : int
        Number of keys.
    start : int, default=0
        Index of the first row. The key of row i depends on seed and i only.
    device : torch.device or str, default=None
        Device of the keys, and of what is drawn from them.

    Returns
    -------
    Tensor of shape (n,), dtype int64
    """
    index = torch.arange(start, start + n, dtype=torch.int64, device=device)
    return _splitmix_(index.mul_(_GOLDEN).add_(_splitmix_int(seed)))


def mix(keys, salt):
    """Make new keys, independent of `keys` and of the keys for any other salt.

    Parameters
    ----------
    keys : Tensor of shape (n,), dtype int64
    salt : int, or list of S ints

    Returns
    -------
    Tensor of shape (n,) or (S, n), dtype int64
    """
    if isinstance(salt, list):
        salts = torch.tensor(list(map(_splitmix_int, salt)), dtype=torch.int64, device=keys.device)
        return _splitmix_((keys + salts[:, None]).mul_(_GOLDEN))
    return _splitmix_((keys + _splitmix_int(salt)).mul_(_GOLDEN))


def _keyed_bits(keys, size, stream):
    """Draw 64 bits for each (key, counter), shape (n, size) or (S, n, size)."""
    counter = torch.arange(1, size + 1, dtype=torch.int64, device=keys.device).mul_(_GOLDEN)
    return _splitmix_(mix(keys, stream)[..., None] + counter)


def keyed_uniform(keys, size, stream, dtype=torch.float64):
    """Draw uniform numbers strictly between 0 and 1.

    Parameters
    ----------
    keys : Tensor of shape (n,), dtype int64
    size : int
        Numbers per key. The first k of them do not depend on `size`.
    stream : int, or list of S ints
        Different streams of one key are independent.
    dtype : torch.dtype, default=torch.float64
        float64 (52 random bits) or float32 (the leading 23 of these).

    Returns
    -------
    Tensor of shape (n, size), or (S, n, size)
        On the device of keys.
    """
    # One bit fewer than the significand has, so that k + 1/2 is exact and cannot round to 1.
    n_bits = {torch.float64: 52, torch.float32: 23}[dtype]
    bits = (_keyed_bits(keys, size, stream) >> (64 - n_bits)).bitwise_and_((1 << n_bits) - 1)
    return bits.to(dtype).add_(0.5).mul_(2.0**-n_bits)


def keyed_normal(keys, size, stream, dtype=torch.float64):
    """Draw standard normal numbers by the Box-Muller transform.

    Parameters
    ----------
    keys : Tensor of shape (n,), dtype int64
    size : int
        Numbers per key. The first k of them do not depend on `size`.
    stream : int, or list of S ints
        Different streams of one key are independent of each other and of `keyed_uniform`.
    dtype : torch.dtype, default=torch.float64
        float32 is the float64 draw rounded.

    Returns
    -------
    Tensor of shape (n, size), or (S, n, size)
        On the device of keys.
    """
    n_pairs = (size + 1) // 2
    u = keyed_uniform(mix(keys, _NORMAL), 2 * n_pairs, stream).unflatten(-1, (n_pairs, 2))
    radius = u[..., 0].log().mul_(-2.0).sqrt_()
    angle = u[..., 1].mul(2 * math.pi)
    normal = torch.stack((radius * angle.cos(), radius * angle.sin()), dim=-1)
    return normal.flatten(-2)[..., :size].to(dtype).contiguous()


def keyed_stratified_normal(keys, size, stream, dtype=torch.float64):
    """Draw groups of standard normal numbers, one in each of `STRATA` strata of equal probability.

    Each number of a group by itself is standard normal, and independent of the other numbers of
    its draw. A sum over the draws of a group has less noise than one over independent draws (Latin
    hypercube sampling, McKay, Beckman and Conover 1979, https://doi.org/10.2307/1268522).

    Parameters
    ----------
    keys : Tensor of shape (n,), dtype int64
    size : int
        Numbers per key and draw.
    stream : list of S ints
        Each is a group of `STRATA` draws. Streams are those of `keyed_uniform`.
    dtype : torch.dtype, default=torch.float64

    Returns
    -------
    Tensor of shape (STRATA S, n, size)
        On the device of keys.
    """
    u = keyed_uniform(keys, (1 + STRATA) * size, stream).unflatten(-1, (1 + STRATA, size))
    orders = _orders(keys.device)
    stratum = orders[(u[:, :, 0] * len(orders)).long()].movedim(-1, 1)
    u = (stratum + u[:, :, 1:].movedim(2, 1)) / STRATA
    return torch.special.ndtri(u).flatten(0, 1).to(dtype)


@cache
def _orders(device):
    """All orders of the strata, (STRATA!, STRATA)."""
    orders = list(permutations(range(STRATA)))
    return torch.tensor(orders, dtype=torch.float64, device=device)


def torch_generator(seed, device="cpu"):
    """Make a generator with its own state.

    Parameters
    ----------
    seed : int
        As returned by `derive_seed`.
    device : torch.device or str, default="cpu"

    Returns
    -------
    torch.Generator
    """
    return torch.Generator(device=device).manual_seed(seed)


@contextmanager
def seeded_global_state(seed, device="cpu"):
    """Seed torch's global generators in a block, and restore their states after it.

    One thread at a time: all threads share these generators.

    Parameters
    ----------
    seed : int
        As returned by `derive_seed`.
    device : torch.device or str, default="cpu"
        The generator of a CUDA device is seeded beside that of the CPU.

    Yields
    ------
    list of torch.Generator
        The generators that were seeded.
    """
    device = torch.device(device)
    cuda = [device] if device.type == "cuda" else []
    with _GLOBAL_STATE, torch.random.fork_rng(devices=cuda):
        generators = [torch.random.default_generator]
        generators += [torch.cuda.default_generators[device.index or 0] for device in cuda]
        for generator in generators:
            generator.manual_seed(seed)
        yield generators
