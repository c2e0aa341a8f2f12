"""Estimators of scikit-learn in a file, by skops and its list of trusted types."""

import io
import zipfile
from importlib.util import find_spec

from gudlearn.storage.errors import ModelFileError

_INSTALL = "pip install 'gudlearn[files]'"


def dumps(step):
    """Bytes of an estimator of scikit-learn.

    Raises
    ------
    ImportError
        If skops is not installed.
    """
    if find_spec("skops") is None:
        raise ImportError(
            f"{type(step).__name__} is saved by skops, which is not installed. Install it with: "
            f"{_INSTALL}"
        )
    import skops.io

    return skops.io.dumps(step)


def loads(data, trusted):
    """An estimator of scikit-learn from its bytes.

    Parameters
    ----------
    data : bytes
    trusted : list of str or None
        Names of types that skops may make beside those that it trusts by itself.

    Raises
    ------
    ModelFileError
        If skops is not installed, or a type is not trusted.
    """
    if find_spec("skops") is None:
        raise ModelFileError(
            f"it holds estimators of scikit-learn, which need skops: install it with {_INSTALL}"
        )
    import skops.io

    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        infos = archive.infolist()
    # skops reads what the directory declares.
    size = sum(info.file_size for info in infos)
    if size > len(data) or any(info.compress_type != zipfile.ZIP_STORED for info in infos):
        raise ModelFileError("a part of scikit-learn is larger than its bytes")
    unknown = set(skops.io.get_untrusted_types(data=data)) - set(trusted or ())
    if unknown:
        raise ModelFileError(
            f"it holds types that are not trusted: {', '.join(sorted(unknown))}. Pass "
            "trusted=[...] with their names if you know them"
        )
    return skops.io.loads(data, trusted=list(trusted or ()))
