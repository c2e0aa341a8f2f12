"""Ways to damage the file of a model, by chance or by intent."""

import hashlib
import io
import json
import struct
import zipfile

import numpy as np

_DATE = (1980, 1, 1, 0, 0, 0)
_LONG = "x" * 2000
_PLAIN = [None, True, -1, 0, 1, 2, 3, 10**4, 2**40, 2**70, -0.5, 1e308, "", "auto", "F", _LONG]


def members_of(data):
    """Members of a file by name."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def file_of(members, compression=zipfile.ZIP_STORED):
    """The file of members as they are."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name, _DATE), data, compression)
    return buffer.getvalue()


def with_hashes(members):
    """The file of members whose manifest has their sizes and hashes, as an attacker makes it."""
    manifest = json.loads(members["manifest.json"])
    manifest["members"] = {
        name: {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        for name, data in members.items()
        if name != "manifest.json"
    }
    return file_of({**members, "manifest.json": json.dumps(manifest).encode()})


# By chance: what is loaded must then be the model that was saved


def flipped(data, rng, other):
    """Some bits are flipped."""
    out = bytearray(data)
    for place in rng.integers(len(out), size=rng.integers(1, 9)):
        out[place] ^= 1 << rng.integers(8)
    return bytes(out)


def flipped_in_directory(data, rng, other):
    """Bits are flipped in the zip's directory, at the end, which no hash covers."""
    start = data.rindex(b"PK\x05\x06")
    (first,) = struct.unpack("<I", data[start + 16 : start + 20])
    out = bytearray(data)
    for place in rng.integers(first, len(out), size=rng.integers(1, 4)):
        out[place] = rng.integers(256)
    return bytes(out)


def truncated(data, rng, other):
    """The end is missing."""
    return data[: rng.integers(len(data))]


def with_gap(data, rng, other):
    """A part is missing, is there twice, or is zero, as after a failed copy."""
    start, stop = np.sort(rng.integers(len(data), size=2))
    middle = (b"", data[start:stop] * 2, bytes(stop - start))[rng.integers(3)]
    return data[:start] + middle + data[stop:]


def swapped(data, rng, other):
    """Members have each other's names, or come from another model's file."""
    members, foreign = members_of(data), members_of(other)
    names = list(members)
    if rng.random() < 0.5:
        one, two = rng.choice(len(names), 2, replace=False)
        one, two = names[one], names[two]
        members[one], members[two] = members[two], members[one]
    else:
        name = names[rng.integers(len(names))]
        members[name] = foreign[name] if name in foreign else b""
    return file_of(members)


# By intent, with hashes that are right: what is loaded must be what the file says


def swapped_with_hashes(data, rng, other):
    """A member of another model's file, with its hash."""
    members, foreign = members_of(data), members_of(other)
    name = [name for name in members if name in foreign and name != "manifest.json"]
    members |= {name: foreign[name] for name in name[rng.integers(len(name)) :][:1]}
    return with_hashes(members)


def _places(tree, found):
    """Every (container, key) of a tree of JSON."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, value in items:
        found.append((tree, key))
        if isinstance(value, dict | list):
            _places(value, found)
    return found


def _hostile(rng, tree):
    """Values that no model has, and some that it may have."""
    choices = [
        None, True, -1, 0, 1, 2**31, 2**63, -(2**70), 10**300, 1e308, 0.5, "", _LONG, "os.system",
        "../../etc/passwd", [], {}, [[]], {"ref": 0}, {"ref": -1}, {"ref": 10**9}, {"ref": "0"},
        {"ref": True}, {"type": "os.system"}, {"type": "ModelState"}, {"type": []},
        {"object": "GUDGenerator", "fields": {}}, {"object": "Popen", "fields": {}},
        {"array": "state_/weights"}, {"step": "sklearn/0.skops"}, {"tuple": [1, 2]},
        {"dict": [[[], 1]]}, {"dict": [[1, 2], [1, 3]]}, {"dict": 3}, {"float": "nan"},
        {"float": "1e5"}, {"dtype": "O"}, {"dtype": "<U1000000000"}, {"dtype": "V8"},
        {"dtype": "f8,f8"}, {"numpy": ["<f8", "AAAA"]}, {"numpy": ["|O", "AAAAAAAAAAA="]},
        {"objects": [], "shape": [10**12]}, {"objects": [1], "shape": [-1, -1]},
        {"bytes": "x"}, {"decimal": "1e999999999"}, {"slice": [0, 1, 0]}, {"random_state": [1, 2]},
        {"pandas.Index": {"range": [0, 10**12, 1], "names": [None]}},
        {"pandas.Index": {"dtype": {"dtype": "<M8[ns]"}, "values": ["x"], "names": [None]}},
        {"pandas.dtype": ["category", None, True]}, {"pandas.dtype": ["period", "x"]},
        {"pandas.dtype": ["datetime", "ns", "../../etc/passwd"]}, {"polars": ["DataFrame"]},
        {"polars": ["Enum", [1]]}, {"pyarrow": ["int64"]}, {"time": ["date", "x", None, 0]},
        {"time": ["datetime", "2020-01-01", "/etc/passwd", 0]}, {"a": 1, "b": 2}, {"unknown": 1},
    ]  # fmt: skip
    k = rng.integers(len(choices) + 6)
    if k < len(choices):
        return choices[k]
    # A value of the same tree in another place.
    container, key = tree[rng.integers(len(tree))]
    return container[key]


def hostile_tree(data, rng, other):
    """Values of the tree of objects are replaced, removed or moved."""
    members = members_of(data)
    tree = json.loads(members["model.json"])
    for _ in range(rng.integers(1, 4)):
        places = _places(tree, [])
        # Plain values, which break what is built of them and not the tree.
        leaves = [(c, k) for c, k in places if not isinstance(c[k], dict | list) and k != "ref"]
        if not leaves:
            break
        if rng.random() < 0.5:
            container, key = leaves[rng.integers(len(leaves))]
            container[key] = _PLAIN[rng.integers(len(_PLAIN))]
            continue
        container, key = places[rng.integers(len(places))]
        if isinstance(container, dict) and rng.random() < 0.2:
            del container[key]
            continue
        if isinstance(container, dict) and rng.random() < 0.2:
            container[("fields", "__class__", "shape", "state_", _LONG)[rng.integers(5)]] = 1
            continue
        # A copy, so that nothing can hold itself.
        container[key] = json.loads(json.dumps(_hostile(rng, places)))
    members["model.json"] = json.dumps(tree).encode()
    return with_hashes(members)


def hostile_text(data, rng, other):
    """JSON that breaks parsers: NaN, infinity, repeated keys, depth, long numbers, no UTF-8."""
    members = members_of(data)
    text = members["model.json"]
    parts = [
        b"NaN", b"-Infinity", b"1e999", b"9" * 5000, b'{"ref":0,"ref":1}', b"[" * 100_000,
        b'{"tuple":[' * 50_000, b"\xff\xfe", b"", b'"\\ud800"', b"1.", b"{" * 10,
    ]  # fmt: skip
    new = parts[rng.integers(len(parts))]
    place = rng.integers(len(text))
    members["model.json"] = (
        new if rng.random() < 0.2 else text[:place] + new + text[place + rng.integers(3) :]
    )
    return with_hashes(members)


def hostile_manifest(data, rng, other):
    """A manifest with other values."""
    members = members_of(data)
    manifest = json.loads(members["manifest.json"])
    places = _places(manifest, [])
    container, key = places[rng.integers(len(places))]
    container[key] = json.loads(json.dumps(_hostile(rng, places)))
    return file_of({**members, "manifest.json": json.dumps(manifest).encode()})


def hostile_tensors(data, rng, other):
    """Shapes, types and places of tensors that are not those of the data."""
    members = members_of(data)
    tensors = members["arrays.safetensors"]
    (length,) = struct.unpack("<Q", tensors[:8])
    header, rest = json.loads(tensors[8 : 8 + length]), tensors[8 + length :]
    kind = rng.integers(4)
    if kind == 0 and header:
        entry = header[list(header)[rng.integers(len(header))]]
        entry["dtype"] = ("F64", "F32", "I64", "BOOL", "U8", "BF16", "F8_E4M3")[rng.integers(7)]
    elif kind == 1 and header:
        entry = header[list(header)[rng.integers(len(header))]]
        shapes = ([10**12], [-1], [], [0, 10**18], [2**40, 2**40], entry["shape"][::-1])
        entry["shape"] = shapes[rng.integers(len(shapes))]
    elif kind == 2 and header:
        entry = header[list(header)[rng.integers(len(header))]]
        entry["data_offsets"][rng.integers(2)] = int(rng.choice([0, 1, 10**15, len(rest)]))
    else:
        changed = bytearray(rest)
        for place in rng.integers(max(len(rest), 1), size=8):
            if rest:
                changed[place] = rng.integers(256)
        rest = bytes(changed)
    text = json.dumps(header).encode()
    size = len(text) if rng.random() < 0.9 else int(rng.choice([0, 2**40, 2**63]))
    members["arrays.safetensors"] = struct.pack("<Q", size) + text + rest
    return with_hashes(members)


def bomb(data, rng, other):
    """Files that would fill the memory, or take for ever."""
    members = members_of(data)
    kind = rng.integers(6)
    if kind == 0:
        return file_of({**members, "model.json": bytes(20_000_000)}, zipfile.ZIP_DEFLATED)
    if kind == 1:
        return file_of({**members, **{f"sklearn/{k}.skops": b"" for k in range(3000)}})
    if kind == 2:
        # A directory that declares more than the file holds.
        out = bytearray(data)
        place = data.index(b"PK\x01\x02")
        out[place + 20 : place + 28] = struct.pack("<II", 0xFFFFFFF0, 0xFFFFFFF0)
        return bytes(out)
    if kind == 3:
        # All members are the same bytes.
        start = data.rindex(b"PK\x05\x06")
        (first,) = struct.unpack("<I", data[start + 16 : start + 20])
        out, place = bytearray(data), first
        while out[place : place + 4] == b"PK\x01\x02":
            sizes = struct.unpack("<HHH", out[place + 28 : place + 34])
            out[place + 42 : place + 46] = struct.pack("<I", 0)
            place += 46 + sum(sizes)
        return bytes(out)
    tree = json.loads(members["model.json"])
    if kind == 4:
        wide = {"array": "wide", "dtype": "<U250000000", "shape": [1]}
        tree["objects"].append(wide)
    else:
        # Each list holds the one before it twice.
        nodes = len(tree["objects"])
        for k in range(60):
            ref = {"ref": nodes + k - 1} if k else 1
            tree["objects"].append({"objects": [ref, ref], "shape": [2]})
    members["model.json"] = json.dumps(tree).encode()
    return with_hashes(members)


def random_bytes(data, rng, other):
    """No model at all."""
    start = (b"", b"PK\x03\x04", b"\x80\x04", b"{")[rng.integers(4)]
    return start + rng.bytes(rng.integers(2000))


BY_CHANCE = [flipped, flipped_in_directory, truncated, with_gap, swapped, random_bytes]
BY_INTENT = [
    hostile_tree, hostile_text, hostile_manifest, hostile_tensors, swapped_with_hashes, bomb,
]  # fmt: skip
