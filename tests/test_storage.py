"""Trees of plain values as JSON and arrays, and files that are replaced in one step."""

import math
import os

import numpy as np
import pytest
import torch

from gudlearn.io import ModelFileError
from gudlearn.storage import archive, arrays, trees


def came_back(tree):
    """A tree that was written to bytes and read."""
    content, tensors = trees.pack(tree)
    content = archive.from_json(archive.to_json(content))
    return trees.unpack(content, arrays.loads(arrays.dumps(tensors)))


def test_trees_come_back_to_the_bit():
    tree = {
        "plain": [None, True, 3, 2**62, "text", 0.1, -0.0], "pair": (1.5, ("a", None)),
        "empty": [{}, [], ()], "not finite": [math.inf, -math.inf],
        "tensors": [torch.arange(3), torch.tensor(2.5), torch.zeros(0, 2), torch.tensor([True])],
        "arrays": [np.float32([1e-45, np.nan]), np.arange(6.0).reshape(2, 3).T],
    }  # fmt: skip
    found = came_back(tree)
    assert list(found) == list(tree)
    for name in ("plain", "pair", "empty", "not finite"):
        assert found[name] == tree[name]
    assert math.copysign(1, found["plain"][-1]) == -1
    for one, other in zip(found["tensors"], tree["tensors"], strict=True):
        assert isinstance(one, torch.Tensor) and one.dtype == other.dtype
        assert torch.equal(one, other)
    for one, other in zip(found["arrays"], tree["arrays"], strict=True):
        assert isinstance(one, np.ndarray) and one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)
    assert math.isnan(came_back([math.nan])[0])


def test_a_tensor_in_two_places_is_stored_once():
    shared = torch.arange(5)
    _, tensors = trees.pack({"first": [shared], "best": shared})
    assert len(tensors) == 1


@pytest.mark.parametrize("value", [object(), {1, 2}, np.float32, b"bytes"])
def test_objects_are_refused(value):
    with pytest.raises(TypeError, match="/a/0 is a .*, which a checkpoint cannot hold"):
        trees.pack({"a": [value]})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"dict": {}, "tuple": []}, "a value is described by"),
        ({"object": "os.system"}, "'object' is no kind of value"),
        ({"tensor": ["/a", {}]}, "the array '/a' is missing"),
    ],
)
def test_other_trees_are_refused(content, message):
    with pytest.raises(ModelFileError, match=message):
        trees.unpack(content, {})


def test_a_file_is_replaced_as_a_whole_or_not_at_all(tmp_path):
    path = tmp_path / "file"
    archive.write(path, b"first")
    with pytest.raises(RuntimeError), archive.replaced(path) as file:
        file.write(b"second")
        raise RuntimeError
    assert path.read_bytes() == b"first" and os.listdir(tmp_path) == ["file"]
    with archive.replaced(path) as file:
        file.write(b"second")
        assert path.read_bytes() == b"first"
    assert path.read_bytes() == b"second" and os.listdir(tmp_path) == ["file"]


def test_looking_whether_a_file_can_be_written_changes_nothing(tmp_path):
    path = tmp_path / "file"
    archive.check_writable(path)
    assert not os.listdir(tmp_path)
    path.write_bytes(b"old")
    archive.check_writable(path)
    assert path.read_bytes() == b"old"
    with pytest.raises(IsADirectoryError):
        archive.check_writable(tmp_path)
