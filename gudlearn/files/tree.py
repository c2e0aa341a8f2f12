"""Objects as JSON and tensors, and back.

JSON knows null, booleans, whole numbers, finite floats, texts and lists as they are. Everything
else is a dict of one key, its tag. Objects and arrays stand in one list, in which each refers to
earlier ones only: what two objects share is one object again after reading, and nothing can hold
itself.
"""

import math

import numpy as np
from sklearn.base import BaseEstimator

from gudlearn.files import steps, values
from gudlearn.files.frames import FrameCodec, same
from gudlearn.files.registry import (
    ESTIMATORS,
    OBJECTS,
    TRANSIENT,
    TYPES,
    attributes,
    defaults,
    is_known,
    required,
    stored,
)
from gudlearn.storage import arrays
from gudlearn.storage.errors import ModelFileError

# Objects in a model, with those that are shared counted each time.
_LARGEST = 10**7
_CURE = "Models with parts of your own are saved by pickle or joblib."


class Writer:
    """Turns an object into JSON, tensors and parts of scikit-learn.

    Attributes
    ----------
    objects : list
        JSON of the objects and arrays, each after those that it refers to.
    tensors : dict of str to ndarray
    steps : dict of str to bytes
        Estimators of scikit-learn by the name of their member.
    """

    def __init__(self):
        self.objects, self.tensors, self.steps = [], {}, {}
        self._index, self._open, self._alive = {}, set(), []

    def value(self, value, path=""):
        """JSON of a value.

        Parameters
        ----------
        value : object
        path : str
            Where it stands, for messages and names of tensors.

        Raises
        ------
        TypeError
            If a file cannot hold it.
        """
        if value is None or type(value) in (bool, int, str):
            return value
        if type(value) is float and math.isfinite(value):
            return value
        if type(value) is list:
            return self._items(value, path)
        if type(value) is tuple:
            return {"tuple": self._items(value, path)}
        if type(value) in (set, frozenset):
            return {type(value).__name__: self._items(sorted(value, key=repr), path)}
        if type(value) is dict:
            return {"dict": [
                [self.value(k, path), self.value(v, f"{path}/{k}")] for k, v in value.items()
            ]}  # fmt: skip
        if isinstance(value, type):
            return self._type(value, path)
        if type(value) is np.ndarray or is_known(value) or _is_step(value):
            return self._shared(value, path)
        return self._single(value, path)

    def _items(self, items, path):
        return [self.value(item, f"{path}/{k}") for k, item in enumerate(items)]

    def _type(self, cls, path):
        if TYPES.get(cls.__name__) is not cls:
            raise TypeError(_refusal(path, f"the class {cls.__name__}"))
        return {"type": cls.__name__}

    def _single(self, value, path):
        codec = FrameCodec(lambda part: self.value(part, path))
        try:
            found = values.encode(value)
            found = codec.encode(value) if found is None else found
        except TypeError as error:
            raise TypeError(_refusal(path, error)) from error
        if found is None:
            raise TypeError(_refusal(path, f"a {type(value).__name__}"))
        if "random_state" not in found and not _comes_back(found, value):
            raise TypeError(_refusal(path, f"the {type(value).__name__} {value!r}"))
        return found

    def _shared(self, value, path):
        if id(value) not in self._index:
            if id(value) in self._open:
                raise TypeError(_refusal(path, f"a {type(value).__name__} that holds itself"))
            self._open.add(id(value))
            node = self._node(value, path)
            self._open.discard(id(value))
            self._index[id(value)] = len(self.objects)
            # An address is only taken by another object when this one is gone.
            self._alive.append(value)
            self.objects.append(node)
        return {"ref": self._index[id(value)]}

    def _node(self, value, path):
        if isinstance(value, np.ndarray):
            return self._array(value, path)
        if not is_known(value):
            name = f"sklearn/{len(self.steps)}.skops"
            self.steps[name] = steps.dumps(value)
            return {"step": name}
        cls, held = type(value), vars(value)
        if cls not in ESTIMATORS and cls not in OBJECTS:
            held = {name: getattr(value, name) for name in stored(cls)}
        known = attributes(cls)
        unknown = [name for name in held if name not in known and name not in TRANSIENT]
        if unknown:
            what = f"a {cls.__name__} with {unknown[0]!r}, which is no attribute of its own"
            raise TypeError(_refusal(path, what))
        # In the order of the registry: equal models have equal files.
        fields = {n: self.value(held[n], f"{path}/{n}" if path else n) for n in known if n in held}
        return {"object": cls.__name__, "fields": fields}

    def _array(self, array, path):
        if array.dtype.kind == "O":
            content = [self.value(item, path) for item in array.ravel()]
            return {"objects": content, "shape": list(array.shape)}
        try:
            tensor, facts = arrays.pack(array)
        except TypeError as error:
            raise TypeError(_refusal(path, error)) from error
        name, n = path, 1
        while name in self.tensors:
            name, n = f"{path}#{n}", n + 1
        self.tensors[name] = tensor
        return {"array": name, **facts}


class Reader:
    """Makes objects of what a `Writer` has made of them.

    Parameters
    ----------
    tensors : dict of str to ndarray
    steps : dict of str to bytes
    trusted : list of str or None
        Types that skops may make beside its own.

    Attributes
    ----------
    made : list
        The objects and arrays that were made so far.
    """

    def __init__(self, tensors, steps, trusted=None):
        self._tensors, self._steps, self._trusted = dict(tensors), dict(steps), trusted
        self.made = []
        # Of each object: how large it is if what is shared is counted each time, and whether it is
        # part of another.
        self._sizes, self._size, self._used = [], 0, set()
        self._codec = FrameCodec(self.value)

    def root(self, tree):
        """The object of a tree, of which nothing may be left over.

        Raises
        ------
        ModelFileError
            If the tree is not one that a `Writer` makes.
        """
        for node in tree["objects"]:
            self._size = 1
            self.made.append(self._object(node))
            self._sizes.append(self._size)
        root = self.value(tree["root"])
        left = [*self._tensors, *self._steps, *(set(range(len(self.made))) - self._used)]
        if left:
            raise ModelFileError(f"it holds {left[0]!r}, which is part of nothing")
        return root

    def value(self, content):
        """The value of some JSON."""
        if isinstance(content, list):
            return [self.value(item) for item in content]
        if not isinstance(content, dict):
            return content
        ((tag, part),) = content.items()
        if tag == "ref":
            return self._earlier(part)
        if tag == "dict":
            made = {self.value(key): self.value(value) for key, value in part}
            if len(made) != len(part):
                raise ModelFileError("a dict has a key twice")
            return made
        if tag in ("tuple", "set", "frozenset"):
            kinds = {"tuple": tuple, "set": set, "frozenset": frozenset}
            return kinds[tag](self.value(item) for item in part)
        if tag == "type":
            return _known_type(part)
        try:
            return values.decode(tag, part)
        except KeyError:
            return self._codec.decode(tag, part)

    def _earlier(self, index):
        if type(index) is not int or not 0 <= index < len(self.made):
            raise ModelFileError(f"a reference to object {index!r} leads nowhere")
        self._used.add(index)
        self._size += self._sizes[index]
        if self._size > _LARGEST:
            raise ModelFileError("its objects hold each other too often")
        return self.made[index]

    def _object(self, node):
        if "array" in node:
            tensor = self._tensors.pop(node["array"], None)
            if tensor is None:
                raise ModelFileError(f"the array {node['array']!r} is missing")
            facts = {key: value for key, value in node.items() if key != "array"}
            return arrays.unpack(tensor, **facts)
        if set(node) == {"objects", "shape"}:
            return self._object_array(**node)
        if set(node) == {"step"}:
            data = self._steps.pop(node["step"], None)
            if data is None:
                raise ModelFileError(f"the part {node['step']!r} is missing")
            return steps.loads(data, self._trusted)
        if set(node) != {"object", "fields"}:
            raise ModelFileError(f"an object is described by {sorted(node)[:3]}")
        return self._instance(**node)

    def _object_array(self, objects, shape):
        if math.prod(shape) != len(objects) or min(shape, default=0) < 0:
            raise ModelFileError(f"{len(objects)} values are no array of shape {shape}")
        made = np.empty(len(objects), dtype=object)
        for k, item in enumerate(objects):
            made[k] = self.value(item)
        return made.reshape(shape)

    def _instance(self, object, fields):
        cls = _known_type(object)
        allowed, missing = attributes(cls), required(cls) - set(fields)
        if missing:
            raise ModelFileError(f"a {object} has no {sorted(missing)[0]!r}")
        held = {}
        for name, content in fields.items():
            if name not in allowed:
                what = f"a {object} has no attribute {name!r} in this version of gudlearn"
                raise ModelFileError(what)
            held[name] = value = self.value(content)
            if not _fits(value, allowed[name]):
                raise ModelFileError(f"{object}.{name} is a {type(value).__name__}")
        if cls not in ESTIMATORS and cls not in OBJECTS:
            return cls(**held)
        made = cls.__new__(cls)
        vars(made).update({**defaults(cls), **held})
        return made


def _comes_back(content, value):
    """Whether a value is read as it was: pandas has more kinds of values than are known here."""
    try:
        return same(Reader({}, {}).value(content), value)
    except (ValueError, TypeError, KeyError):
        return False


def _known_type(name):
    if not isinstance(name, str) or name not in TYPES:
        raise ModelFileError(f"the type {name!r} is not one of this version of gudlearn")
    return TYPES[name]


def _fits(value, allowed):
    # A boolean is an int to Python.
    is_number = not isinstance(value, bool) or bool in allowed or object in allowed
    return is_number and isinstance(value, allowed)


def _is_step(value):
    of_sklearn = type(value).__module__.split(".")[0] == "sklearn"
    return of_sklearn and isinstance(value, BaseEstimator)


def _refusal(path, what):
    where = path or "the object itself"
    return f"{where} is {what}, which a file without code cannot hold. {_CURE}"
