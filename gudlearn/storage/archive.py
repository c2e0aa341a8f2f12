"""The zip file of a model: its members, their hashes, and how it reaches the disk.

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
import secrets
import zipfile
from pathlib import Path

from gudlearn.storage.errors import ModelFileError

#: Number of this layout. A reader refuses higher numbers, and reads all lower ones.
SCHEMA = 1
FORMAT = "gudlearn model"
MANIFEST, MODEL, TENSORS = "manifest.json", "model.json", "arrays.safetensors"

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


def pack(kind, versions, members):
    """Bytes of the file of some members.

    Parameters
    ----------
    kind : str
        Name of the model's type.
    versions : dict of str to str
        Versions of the libraries that it was made with.
    members : dict of str to bytes
    """
    manifest = {
        "format": FORMAT, "schema": SCHEMA, "kind": kind, "versions": versions,
        "members": {
            name: {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            for name, data in members.items()
        },
    }  # fmt: skip
    text = json.dumps(manifest, indent=1).encode("ascii")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, data in {MANIFEST: text, **members}.items():
            archive.writestr(zipfile.ZipInfo(name, _DATE), data)
    return buffer.getbuffer()


def unpack(file):
    """The manifest and the members of a file, checked.

    Parameters
    ----------
    file : binary file object

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
        _check_sizes(archive, infos, length)
        manifest = _checked_manifest(from_json(archive.read(MANIFEST)))
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
    path = Path(os.path.realpath(path))
    if path.is_dir():
        raise IsADirectoryError(f"path={str(path)!r} is a folder. Pass the name of a file.")
    # In the same folder, since a file cannot be moved to another disk in one step.
    temporary = path.with_name(f".{path.name[:100]}.{secrets.token_hex(8)}")
    try:
        with open(temporary, "xb") as file:
            file.write(data)
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


def _sync_folder(folder):
    # Windows cannot open a folder, and needs not.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _check_sizes(archive, infos, length):
    """Refuse a file that is not a model's, or would need more memory than its length."""
    if len(infos) != len(archive.infolist()) or len(infos) > _MOST_MEMBERS:
        raise ModelFileError("it has too many members, or two of one name")
    if MANIFEST not in infos:
        raise ModelFileError("it holds no manifest, so it is no model of gudlearn")
    stored = all(
        info.compress_type == zipfile.ZIP_STORED and info.compress_size == info.file_size
        for info in infos.values()
    )
    # Members that lie over each other are longer together than the file.
    if not stored or sum(info.file_size for info in infos.values()) > length:
        raise ModelFileError("its members are compressed, or longer than the file")
    if infos[MANIFEST].file_size > _LONGEST_MANIFEST:
        raise ModelFileError("its manifest is too long")


def _checked_manifest(manifest):
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise ModelFileError("its manifest is not that of a model of gudlearn")
    schema = manifest.get("schema")
    if type(schema) is not int or schema < 1:
        raise ModelFileError(f"its schema {schema!r} is no number of one")
    if schema > SCHEMA:
        version = manifest.get("versions", {}).get("gudlearn")
        raise ModelFileError(
            f"its schema {schema} is newer than {SCHEMA}, the newest that this version of gudlearn "
            f"reads: install gudlearn {version} or later"
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
