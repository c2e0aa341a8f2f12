"""Arrays as tensors of a safetensors file, and the few facts that such a file does not say.

A tensor has a number type and a shape. Texts, times, complex numbers and numbers of another byte
order are stored as their bytes; arrays in Fortran's order are stored transposed, because sums over
them are rounded in another order.
"""

import math

import numpy as np
import safetensors.numpy

from gudlearn.storage.errors import ModelFileError

# Types that safetensors holds as they are, and kinds of those that are stored as bytes.
_DIRECT = {np.dtype(code) for code in ("?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8")}
_DIRECT |= {np.dtype(code) for code in ("f2", "f4", "f8")}
_KINDS_OF_BYTES = "iufcUSmM"
_LAST_CODE_POINT = 0x10FFFF


def pack(array):
    """The tensor of an array, C-contiguous, and what else there is to know, a dict.

    Raises
    ------
    TypeError
        If the dtype is none of numbers, texts or times.
    """
    facts = {}
    if array.flags.f_contiguous and not array.flags.c_contiguous:
        array, facts = array.T, {"order": "F"}
    # `ascontiguousarray` makes an array of no dimensions one of one.
    array = np.ascontiguousarray(array).reshape(array.shape)
    if array.dtype in _DIRECT and array.dtype.isnative:
        return array, facts
    if not is_stored(array.dtype):
        raise TypeError(f"an array of dtype {array.dtype}")
    facts |= {"dtype": array.dtype.str, "shape": list(array.shape)}
    return np.frombuffer(array.tobytes(), dtype=np.uint8), facts


def unpack(tensor, dtype=None, shape=None, order="C"):
    """The array of a tensor, writable, from what `pack` returned.

    Raises
    ------
    ValueError
        If they do not go together.
    """
    if order not in ("C", "F"):
        raise ModelFileError(f"the order {order!r} of an array is neither 'C' nor 'F'")
    # A copy: what safetensors returns may be neither aligned nor writable.
    array = np.array(tensor, order="C")
    if array.dtype.kind == "b" and array.size and array.view(np.uint8).max() > 1:
        raise ModelFileError("a boolean is neither 0 nor 1")
    if dtype is not None:
        array = _from_bytes(array, dtype, tuple(shape))
    return array.T if order == "F" else array


def dumps(tensors):
    """Bytes of a safetensors file of tensors by name."""
    return safetensors.numpy.save(tensors)


def loads(data):
    """Tensors by name of the bytes of a safetensors file."""
    return safetensors.numpy.load(data)


def checked_dtype(text):
    """A dtype from its text, one of those that arrays may have."""
    dtype = np.dtype(text) if isinstance(text, str) else None
    if dtype is None or not (dtype.kind == "O" or is_stored(dtype)):
        raise ModelFileError(f"{text!r} is not a dtype that a file may hold")
    return dtype


def is_stored(dtype):
    """Whether a file may hold values of a dtype: numbers, texts or times."""
    # Long floats differ between machines.
    longest = {"f": 8, "c": 16}.get(dtype.kind, math.inf)
    return dtype in _DIRECT or dtype.kind in _KINDS_OF_BYTES and 0 < dtype.itemsize <= longest


def _from_bytes(array, dtype, shape):
    dtype = checked_dtype(dtype)
    sizes = all(isinstance(n, int) and n >= 0 for n in shape)
    if dtype.kind == "O" or array.dtype != np.uint8 or array.ndim != 1 or not sizes:
        raise ModelFileError("an array of bytes is not described as such")
    if array.nbytes != math.prod(shape) * dtype.itemsize:
        raise ModelFileError(f"{array.nbytes} bytes are no array of {dtype} of shape {shape}")
    if dtype.kind == "U" and array.size:
        codes = array.view(np.dtype(np.uint32).newbyteorder(dtype.byteorder))
        if codes.max() > _LAST_CODE_POINT:
            raise ModelFileError("a text holds a code that is no character")
    return array.view(dtype).reshape(shape) if array.size else np.empty(shape, dtype)
