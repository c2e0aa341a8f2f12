"""Zip files of models and checkpoints: members, their hashes, and how they reach the disk.

Members are stored and not compressed. What the directory of a file declares can therefore be
compared with its length before anything is read: a file needs no more memory than its length, and
the objects made of it a small multiple.
"""

import contextlib
import hashlib
import io
import json
import math
import os
import re
import secrets
import zipfile
from pathlib import Path
from typing import NamedTuple

from gudlearn.storage.errors import ModelFileError

#: Number of the layout of models. A reader refuses higher numbers, and reads all lower ones.
SCHEMA = 1
MANIFEST, MODEL, TENSORS = "manifest.json", "model.json", "arrays.safetensors"


class Layout(NamedTuple):
    """What kind of file it is, as the manifest says, and the highest number of its layout."""

    noun: str
    schema: int

    @property
    def format(self):
        """Text in the manifest."""
        return f"gudlearn {self.noun}"


MODELS = Layout("model", SCHEMA)

_MOST_MEMBERS, _LONGEST_MANIFEST = 1000, 1 << 20
# Of every member: equal models have equal files.
_DATE = (1980, 1, 1, 0, 0, 0)


def to_json(value):
    """Bytes of JSON, without NaN and infinity."""
    text = json.dumps(value, allow_nan=False, ensure_ascii=True, separators=(",", ":"))
    return text.encode("ascii")


def from_json(data):
    """The value of bytes of JSON, in which no key of a dict stands twice and floats are finite."""
    return json.loads(
        data.decode("utf-8"), object_pairs_hook=_without_repeats, parse_constant=_no_constant,
        parse_float=_finite,
    )  # fmt: skip


def pack(kind, versions, members, layout=MODELS):
    """Bytes of the file of some members.

    Parameters
    ----------
    kind : str
        Name of the model's type.
    versions : dict of str to str
        Versions of the libraries that it was made with.
    members : dict of str to bytes
    layout : Layout
    """
    buffer = io.BytesIO()
    pack_into(buffer, kind, versions, members, layout)
    return buffer.getbuffer()


def pack_into(file, kind, versions, members, layout=MODELS):
    """Write some members to a binary file object; the other parameters are those of `pack`."""
    manifest = {
        "format": layout.format, "schema": layout.schema, "kind": kind, "versions": versions,
        "members": {
            name: {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            for name, data in members.items()
        },
    }  # fmt: skip
    text = json.dumps(manifest, indent=1).encode("ascii")
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, data in {MANIFEST: text, **members}.items():
            archive.writestr(zipfile.ZipInfo(name, _DATE), data)


def unpack(file, layout=MODELS):
    """The manifest and the members of a file, checked.

    Parameters
    ----------
    file : binary file object
    layout : Layout

    Returns
    -------
    manifest : dict
    members : dict of str to bytes

    Raises
    ------
    ModelFileError
    """
    length = file.seek(0, os.SEEK_END)
    with zipfile.ZipFile(file) as archive:
        infos = {info.filename: info for info in archive.infolist()}
        _check_sizes(archive, infos, length, layout)
        manifest = _checked_manifest(from_json(archive.read(MANIFEST)), layout)
        declared = manifest["members"]
        if set(declared) | {MANIFEST} != set(infos):
            raise ModelFileError("its members are not those that its manifest names")
        members = {}
        for name, facts in declared.items():
            data = archive.read(infos[name])
            if facts != {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}:
                raise ModelFileError(f"its member {name} was altered")
            members[name] = data
    return manifest, members


def write(path, data):
    """Write bytes to a file: all of them, or the old file stays.

    Parameters
    ----------
    path : str or Path
    data : bytes-like
    """
    with replaced(path) as file:
        file.write(data)


@contextlib.contextmanager
def replaced(path):
    """A binary file object that takes the place of a file when the block ends, or of none.

    If the block raises, or the process dies, the old file stays as it was.

    Parameters
    ----------
    path : str or Path
    """
    path = _place(path)
    temporary = _temporary(path)
    try:
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            os.chmod(temporary, path.stat().st_mode & 0o7777)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    _sync_folder(path.parent)


def check_writable(path):
    """Raise an OSError if a file cannot be written; none is written, and none is changed.

    Parameters
    ----------
    path : str or Path
    """
    path = _place(path)
    if path.exists() and not os.access(path, os.W_OK):
        raise PermissionError(f"{str(path)!r} may not be written")
    temporary = _temporary(path)
    open(temporary, "xb").close()
    os.unlink(temporary)


def remove_leftovers(path):
    """Remove what processes that were killed while they wrote a file have left next to it.

    Parameters
    ----------
    path : str or Path
    """
    path = _place(path)
    pattern = re.compile(re.escape(_stem(path)) + r"[0-9a-f]{16}")
    with contextlib.suppress(OSError):
        for name in os.listdir(path.parent):
            if pattern.fullmatch(name):
                os.unlink(path.with_name(name))


def _place(path):
    path = Path(os.path.realpath(path))
    if path.is_dir():
        raise IsADirectoryError(f"path={str(path)!r} is a folder. Pass the name of a file.")
    return path


def _stem(path):
    return f".{path.name[:100]}."


def _temporary(path):
    # In the same folder, since a file cannot be moved to another disk in one step.
    return path.with_name(_stem(path) + secrets.token_hex(8))


def _sync_folder(folder):
    # Windows cannot open a folder, and needs not.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _check_sizes(archive, infos, length, layout):
    """Refuse a file that is of another kind, or would need more memory than its length."""
    if len(infos) != len(archive.infolist()) or len(infos) > _MOST_MEMBERS:
        raise ModelFileError("it has too many members, or two of one name")
    if MANIFEST not in infos:
        raise ModelFileError(f"it holds no manifest, so it is no {layout.noun} of gudlearn")
    stored = all(
        info.compress_type == zipfile.ZIP_STORED and info.compress_size == info.file_size
        for info in infos.values()
    )
    # Members that lie over each other are longer together than the file.
    if not stored or sum(info.file_size for info in infos.values()) > length:
        raise ModelFileError("its members are compressed, or longer than the file")
    if infos[MANIFEST].file_size > _LONGEST_MANIFEST:
        raise ModelFileError("its manifest is too long")


def _checked_manifest(manifest, layout):
    found = manifest.get("format") if isinstance(manifest, dict) else None
    if found != layout.format:
        what = f"a {found[:50]}" if isinstance(found, str) else "something else"
        raise ModelFileError(
            f"its manifest is not that of a {layout.noun} of gudlearn, but of {what}"
        )
    schema = manifest.get("schema")
    if type(schema) is not int or schema < 1:
        raise ModelFileError(f"its schema {schema!r} is no number of one")
    if schema > layout.schema:
        version = manifest.get("versions", {}).get("gudlearn")
        raise ModelFileError(
            f"its schema {schema} is newer than {layout.schema}, the newest that this version of "
            f"gudlearn reads: install gudlearn {version} or later"
        )
    return manifest


def _without_repeats(pairs):
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ModelFileError("a key stands twice")
    return made


def _no_constant(text):
    raise ModelFileError(f"{text} is no number of JSON")


def _finite(text):
    value = float(text)
    if not math.isfinite(value):
        raise ModelFileError(f"{text} is no finite number")
    return value
