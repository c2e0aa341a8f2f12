"""Models in files that run no code: ``save`` and ``load``."""

import os
import zipfile
from typing import Any

from gudlearn._versions import library_versions
from gudlearn.files.checks import check_parts
from gudlearn.files.registry import TYPES
from gudlearn.files.tree import Reader, Writer
from gudlearn.storage import archive, arrays
from gudlearn.storage.errors import ModelFileError

__all__ = ["ModelFileError", "load", "save"]


def save(model: Any, path: str | os.PathLike[str]) -> None:
    """Write a model to a file that runs no code when it is loaded.

    Parameters
    ----------
    model : estimator, basis, schedule, network, sampler, ``Schema`` or pipeline of gudlearn
        Fitted or not. Steps of scikit-learn inside a ``GenerativePipeline`` are written by skops:
        ``pip install 'gudlearn[files]'``.
    path : str or Path
        The file, which is replaced in one step: if writing fails, an old file stays as it was.

    Raises
    ------
    TypeError
        If the model is not one of gudlearn, or holds what a file without code cannot hold, such as
        a function, or a basis of your own. Use pickle or joblib for it.
    ImportError
        If a step needs skops, and it is not installed.
    OSError
        If the file cannot be written.

    See Also
    --------
    load : Read the model.

    Notes
    -----
    The file is a zip of ``manifest.json`` (versions and SHA-256 hashes), ``model.json`` and
    ``arrays.safetensors``. Scores and samples of the loaded model are equal to the bit on the same
    machine. Callbacks are not part of a model and are left out. A model with ``retrieval``, and a
    ``GUDOutlierDetector``, contain training rows.

    Examples
    --------
    >>> import os, tempfile
    >>> import gudlearn
    >>> from sklearn.datasets import load_iris
    >>> X = load_iris().data
    >>> gen = gudlearn.GUDGenerator(max_iter=2, random_state=0).fit(X)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "iris.gud")
    ...     gudlearn.save(gen, path)
    ...     loaded = gudlearn.load(path)
    >>> bool((loaded.score_samples(X) == gen.score_samples(X)).all())
    True
    """
    _check_path(path)
    kind = type(model)
    if TYPES.get(kind.__name__) is not kind or not hasattr(model, "get_params"):
        raise TypeError(
            f"model is a {kind.__name__}, but a file without code holds estimators, pipelines and "
            "specifications of gudlearn. Use pickle or joblib for it."
        )
    writer = Writer()
    tree = {"root": writer.value(model), "objects": writer.objects}
    members = {
        archive.MODEL: archive.to_json(tree), archive.TENSORS: arrays.dumps(writer.tensors),
        **writer.steps,
    }  # fmt: skip
    archive.write(path, archive.pack(kind.__name__, library_versions(), members))


def load(path: str | os.PathLike[str], *, trusted: list[str] | None = None) -> Any:
    """Read a model that ``save`` has written.

    Nothing in the file is run: it can only become objects of gudlearn's own types and, by skops,
    estimators of scikit-learn that skops trusts.

    Parameters
    ----------
    path : str or Path
    trusted : list of str or None, default=None
        Names of other types that skops may make for steps of scikit-learn. The error of a file
        that needs them names them.

    Returns
    -------
    estimator, basis, schedule, network, sampler, ``Schema`` or pipeline of gudlearn
        A model that was fitted on a GPU computes on the CPU where there is none, unless
        its ``device`` says otherwise: ``set_params(device="auto")``.

    Raises
    ------
    ModelFileError
        A ValueError: if the file is no model, was truncated or altered, has a newer schema, needs
        a package that is not installed, or holds types that are not known or not trusted.
    OSError
        If the file cannot be read.

    See Also
    --------
    save : Write a model.

    Examples
    --------
    >>> import os, tempfile
    >>> import gudlearn
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "schedule.gud")
    ...     gudlearn.save(gudlearn.SoftConditioningSchedule(softness=0.5), path)
    ...     gudlearn.load(path)
    SoftConditioningSchedule(softness=0.5)
    """
    _check_path(path)
    if trusted is not None and (
        isinstance(trusted, str) or not all(isinstance(name, str) for name in trusted)
    ):
        raise TypeError(f"trusted={trusted!r} must be a list of names of types, or None.")
    with open(path, "rb") as file:
        try:
            return _read(file, trusted)
        except zipfile.BadZipFile as error:
            reason = f"it is no zip file, or damaged: {error}"
            raise ModelFileError(_refused(path, reason)) from error
        except ModelFileError as error:
            raise ModelFileError(_refused(path, error)) from error
        # Whatever is wrong inside is the file's fault, not that of the code that finds it.
        except Exception as error:
            reason = f"its parts do not make a model ({type(error).__name__}: {error})"
            raise ModelFileError(_refused(path, reason)) from error


def _read(file, trusted):
    manifest, members = archive.unpack(file)
    tree = archive.from_json(members.pop(archive.MODEL))
    tensors = arrays.loads(members.pop(archive.TENSORS))
    reader = Reader(tensors, members, trusted)
    model = reader.root(tree)
    kind = TYPES.get(manifest["kind"])
    if type(model) is not kind or not hasattr(model, "get_params"):
        raise ModelFileError(f"it holds a {type(model).__name__}, not a {manifest['kind']}")
    check_parts(reader.made)
    return model


def _check_path(path):
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"path={path!r} must be the name of a file. Pass a str or a Path.")


def _refused(path, reason):
    text = " ".join(str(reason).split())
    return f"{os.fspath(path)!r} cannot be loaded: {text[:500].rstrip('.')}."
