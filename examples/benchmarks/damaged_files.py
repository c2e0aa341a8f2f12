"""Load damaged files of models: each must be a clear error, or the right model.

Files are damaged by chance (flipped bits, missing ends, swapped members) and by intent, with hashes
that are right (values of the tree, JSON that breaks parsers, shapes of tensors, zip bombs). Prints
a line of JSON for each way of damage, and one for all:

    python examples/benchmarks/damaged_files.py --files 10000
"""

import argparse
import json
import resource
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
from _damage import BY_CHANCE, BY_INTENT
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_random_state

import gudlearn
from gudlearn.io import ModelFileError

# A load that takes longer hangs.
_LONGEST = 20
# What code in a file would do. Modules that are imported when they are first needed are no code of
# the file: their names stand in gudlearn, skops and scikit-learn. Nor is "compile": NumPy reads the
# header of an array in a step of scikit-learn as a literal.
_EVENTS = (
    "exec", "os.system", "os.exec", "os.posix_spawn", "os.remove", "os.fork",
    "subprocess.Popen", "pickle.find_class", "socket.connect", "ctypes.dlopen",
)  # fmt: skip


class Checker:
    """Loads a damaged file, and says what came of it.

    Parameters
    ----------
    folder : Path
        Where files are written.
    """

    def __init__(self, folder):
        self._path, self._again = folder / "damaged.gud", folder / "again.gud"
        self._events, self._listening = [], False
        sys.addaudithook(self._hear)

    def _hear(self, event, arguments):
        if self._listening and event in _EVENTS:
            self._events.append(event)

    def __call__(self, way, data, other, rng):
        """Damage a file in one way and load it, a dict.

        Parameters
        ----------
        way : callable (data, rng, other) -> bytes
        data, other : bytes
            The file, and that of another model.
        rng : numpy.random.Generator
        """
        damaged = way(data, rng, other)
        self._path.write_bytes(damaged)
        outcome, start = self._load(), time.perf_counter()
        seconds = self._seconds
        if not isinstance(outcome, str):
            # By chance only what no hash covers may have changed; by intent the file is right.
            outcome = self._check(outcome, None if way in BY_INTENT else data)
        return {
            "way": way.__name__, "outcome": outcome, "seconds": seconds, "size": len(damaged),
            "check_seconds": time.perf_counter() - start,
        }  # fmt: skip

    def _load(self):
        """The model, or what happened instead."""
        self._events.clear()
        start = time.perf_counter()
        self._listening = True
        try:
            signal.alarm(_LONGEST)
            return gudlearn.load(self._path)
        except ModelFileError as error:
            text = str(error)
            return "refused" if "cannot be loaded: " in text and "\n" not in text else "unclear"
        except TimeoutError:
            return "hang"
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            return f"crash: {type(error).__name__}: {error}"
        finally:
            signal.alarm(0)
            self._listening = False
            self._seconds = time.perf_counter() - start

    def _check(self, model, data):
        """Whether a model that was loaded is the right one."""
        if self._events:
            return f"code: {self._events[0]}"
        gudlearn.save(model, self._again)
        once = _parts(self._again.read_bytes())
        if data is not None and once != _parts(data):
            return "wrong: it is another model"
        gudlearn.save(gudlearn.load(self._again), self._again)
        return "loaded" if once == _parts(self._again.read_bytes()) else "wrong: it changes"


def _parts(data):
    """The members that say what a model is; skops writes the time into its own."""
    from _damage import members_of

    members = members_of(data)
    return members["model.json"], members["arrays.safetensors"]


def run(files, n, folder, seed=0):
    """Load n damaged files, a list of dicts.

    Parameters
    ----------
    files : list of bytes
        Files of different models.
    n : int
    folder : Path
    seed : int
    """

    def too_long(number, frame):
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, too_long)
    rng, check, ways = np.random.default_rng(seed), Checker(folder), BY_CHANCE + BY_INTENT
    try:
        found = []
        for k in range(n):
            one, two = rng.choice(len(files), 2, replace=False)
            found.append(check(ways[k % len(ways)], files[one], files[two], rng))
        return found
    finally:
        signal.signal(signal.SIGALRM, before)


def models():
    """Small models of several kinds."""
    rng, n = np.random.default_rng(0), 60
    X = rng.normal(size=(n, 3))
    y = X[:, 0] > 0
    frame = pd.DataFrame({
        "age": rng.integers(18, 80, n), "income": np.where(rng.random(n) < 0.4, 0.0, X[:, 0]),
        "city": rng.choice(["a", "b"], n), "size": pd.Categorical(rng.choice(["s", "m"], n)),
        "day": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 99, n), "D"),
        "seen": pd.Timestamp("2024-01-01", tz="Europe/Paris"),
    })  # fmt: skip

    def generator(**parameters):
        network = gudlearn.MLP(width=16, n_blocks=1)
        return gudlearn.GUDGenerator(**{
            "network": network, "max_iter": 1, "random_state": 0, **parameters
        })  # fmt: skip

    images = np.clip(X[:, :, None] * X[:, None, :] * 50 + 128, 0, 255).astype(np.uint8)
    unet = gudlearn.UNet(width=8, multipliers=(1,))
    steps = [("scale", StandardScaler()), ("turn", gudlearn.PCABasis()), ("gud", generator())]
    return [
        generator().fit(X),
        generator(retrieval=20, conditional_rate=0.3, preconditioning="mixture").fit(X),
        generator(class_conditional=True, random_state=check_random_state(0)).fit(X, y),
        generator().fit(frame),
        generator(network=unet).fit(images),
        generator(network=gudlearn.Transformer(width=16, n_blocks=1), basis="fourier").fit(images),
        gudlearn.GUDClassifier(generator()).fit(frame, y),
        gudlearn.GUDRegressor(generator()).fit(X[:, :2], X[:, 2]),
        gudlearn.GUDImputer(generator()).fit(frame),
        gudlearn.GUDOutlierDetector().fit(frame),
        gudlearn.GenerativePipeline(steps).fit(X),
        gudlearn.MarginalGaussianizer().fit(X),
        gudlearn.WaveletBasis().fit(X),
        gudlearn.GUDGenerator(schedule=gudlearn.SequentialSchedule([[0], [1, 2]])),
    ]


def main():
    """Load damaged files of all models, and print what came of them."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        files = []
        for model in models():
            gudlearn.save(model, folder / "model.gud")
            gudlearn.load(folder / "model.gud")
            files.append((folder / "model.gud").read_bytes())
        before, start = _peak(), time.perf_counter()
        # A warning of a library in a load would be told as a crash.
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = run(files, arguments.files, folder, arguments.seed)
    for way in BY_CHANCE + BY_INTENT:
        lines = [line for line in found if line["way"] == way.__name__]
        outcomes = Counter(line["outcome"] for line in lines)
        slowest = max((line["seconds"] for line in lines), default=0.0)
        print(json.dumps({"way": way.__name__, **outcomes, "slowest": round(slowest, 3)}))
    outcomes = Counter(line["outcome"] for line in found)
    slowest = max(line["seconds"] for line in found)
    print(json.dumps({
        "files": len(found), **outcomes, "slowest": round(slowest, 3),
        "seconds": round(time.perf_counter() - start, 1), "largest_file": max(map(len, files)),
        "memory_growth_mb": round(_peak() - before, 1),
    }))  # fmt: skip
    return 0 if set(outcomes) <= {"refused", "loaded"} else 1


def _peak():
    """Peak resident memory of this process in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    sys.exit(main())
