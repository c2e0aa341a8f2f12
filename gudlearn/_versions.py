"""Versions: of the libraries, and those that objects were pickled by."""

import importlib.metadata
import platform
import sys
import warnings

import torch

_LIBRARIES = ("gudlearn", "numpy", "scikit-learn", "torch")
_OTHERS = (
    "scipy", "pandas", "narwhals", "joblib", "threadpoolctl", "safetensors", "skops", "matplotlib",
    "PyWavelets", "polars", "pyarrow", "optuna",
)  # fmt: skip
# The key of the version among the attributes of a pickled object.
_KEY = "_gudlearn_version"


def own_version():
    """The version of gudlearn."""
    # The package defines it after it has imported this file.
    from gudlearn import __version__

    return __version__


def installed_version(name):
    """The version of an installed package; None if it is not installed."""
    if name == "gudlearn":
        return own_version()
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def library_versions():
    """Versions of the libraries that a model depends on, a dict of str."""
    found = {name: installed_version(name) for name in _LIBRARIES}
    return {"python": platform.python_version(), **found}


def show_versions() -> None:
    """Print versions of the system, of Python and of the libraries, for a report of a bug.

    Examples
    --------
    >>> import gudlearn
    >>> gudlearn.show_versions()  # doctest: +SKIP
    """
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    system = {
        "python": sys.version.replace("\n", " "), "executable": sys.executable,
        "machine": platform.platform(), "GPU": device, "torch threads": torch.get_num_threads(),
    }  # fmt: skip
    versions = {name: installed_version(name) for name in (*_LIBRARIES, *_OTHERS)}
    for title, entries in (("System", system), ("Python dependencies", versions)):
        print(f"\n{title}:")
        for name, value in entries.items():
            print(f"{name:>15}: {value}")


class Versioned:
    """Mixin, before scikit-learn's base: unpickling under another version of gudlearn warns."""

    def __getstate__(self):
        """The attributes, and the version of gudlearn; what is pickled."""
        return {**super().__getstate__(), _KEY: own_version()}

    def __setstate__(self, state):
        """Take what was pickled.

        Warns
        -----
        UserWarning
            If another version of gudlearn has pickled it.
        """
        state = dict(state)
        version = state.pop(_KEY, "an older version")
        if version != own_version():
            warnings.warn(
                f"This {type(self).__name__} was pickled by gudlearn {version} and is loaded by "
                f"{own_version()}: it may not work, or compute something else. gudlearn.save "
                "writes files that later versions read.",
                stacklevel=2,
            )
        super().__setstate__(state)
