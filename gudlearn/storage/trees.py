"""Trees of dicts and lists as JSON and arrays: what a ``state_dict`` holds, and no objects.

None, booleans, whole numbers, finite floats, texts and lists are JSON as they are. Everything else
is a dict of one key, its tag.
"""

import math

import numpy as np
import torch

from gudlearn.storage import arrays
from gudlearn.storage.errors import ModelFileError


def pack(tree):
    """JSON and arrays of a tree.

    Parameters
    ----------
    tree : None, bool, int, float, str, Tensor or ndarray, or dict with keys of str, list or tuple \
            of such
        A tensor or array that stands in several places is stored once.

    Returns
    -------
    content : object
        For `archive.to_json`.
    tensors : dict of str to ndarray
        For `arrays.dumps`.

    Raises
    ------
    TypeError
        If it holds anything else.
    """
    tensors, places = {}, {}
    return _packed(tree, "", tensors, places), tensors


def unpack(content, tensors):
    """The tree of JSON and arrays; what was a tensor is one on the CPU.

    Raises
    ------
    ModelFileError
        If they are not what `pack` returns.
    """
    if isinstance(content, list):
        return [unpack(part, tensors) for part in content]
    if not isinstance(content, dict):
        return content
    if len(content) != 1:
        raise ModelFileError(f"a value is described by {sorted(content)[:3]}")
    ((tag, part),) = content.items()
    if tag == "dict":
        return {key: unpack(value, tensors) for key, value in part.items()}
    if tag == "tuple":
        return tuple(unpack(value, tensors) for value in part)
    if tag == "float":
        return float(part)
    if tag not in ("array", "tensor"):
        raise ModelFileError(f"{tag!r} is no kind of value")
    name, facts = part
    if name not in tensors:
        raise ModelFileError(f"the array {name!r} is missing")
    array = arrays.unpack(tensors[name], **facts)
    return array if tag == "array" else torch.from_numpy(array)


def _packed(value, path, tensors, places):
    if value is None or type(value) in (bool, int, str):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {"float": repr(float(value))}
    if isinstance(value, dict):
        parts = {
            key: _packed(part, f"{path}/{key}", tensors, places) for key, part in value.items()
        }
        return {"dict": parts}
    if isinstance(value, list | tuple):
        parts = [_packed(part, f"{path}/{k}", tensors, places) for k, part in enumerate(value)]
        return parts if isinstance(value, list) else {"tuple": parts}
    if not isinstance(value, torch.Tensor | np.ndarray):
        raise TypeError(f"{path} is a {type(value).__name__}, which a checkpoint cannot hold")
    if id(value) not in places:
        is_array = isinstance(value, np.ndarray)
        array = value if is_array else value.detach().cpu().numpy()
        tensors[path], facts = arrays.pack(array)
        places[id(value)] = {"array" if is_array else "tensor": [path, facts]}
    return places[id(value)]
