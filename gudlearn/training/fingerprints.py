"""What a fit depends on, as texts: a checkpoint of another fit is recognised by them."""

import functools
import hashlib
from numbers import Real

import numpy as np

from gudlearn._specs import resolve

# Parameters that training does not read, and those that are compared by what they lead to.
_IRRELEVANT = {"sampler", "likelihood", "n_draws", "conditioning", "verbose", "warm_start"}
_BY_CONSEQUENCE = {"random_state", "device", "training"}
_OF_THE_FILE = {"checkpoint", "checkpoint_interval"}
_LONGEST = 80


def fingerprint(estimator, state, rows, seed, device, continued):
    """What a fit depends on.

    Parameters
    ----------
    estimator : GUDGenerator
    state : ModelState
        From which training starts.
    rows : Rows or StreamedRows
        All rows, including held-out ones.
    seed : int
    device : torch.device
    continued : bool
        Whether training starts from the weights of an earlier fit.

    Returns
    -------
    dict of str to str
    """
    relevant = {
        name: value for name, value in estimator.get_params(deep=False).items()
        if name not in _IRRELEVANT | _BY_CONSEQUENCE
    }  # fmt: skip
    training = resolve("training", estimator.training).get_params(deep=False)
    relevant |= {
        f"training__{name}": value for name, value in training.items() if name not in _OF_THE_FILE
    }
    found = {name: _text(value) for name, value in sorted(relevant.items())}
    bins, kinds = state.encoding.bins, state.encoding.kinds
    types = (bins.width, bins.origin, bins.low, bins.high, kinds.masked, kinds.n_levels, kinds.gate)
    weights = list(state.weights.values()) if continued else []
    return found | {
        " shape": str((len(rows), *state.container.sample_shape)),
        " types": f"{rows.in_memory.values.dtype} {_digest(*types)}",
        " values": rows.digest,
        " labels": "none" if rows.labels is None else _digest(rows.labels.cpu().numpy()),
        " device": device.type,
        " seed": str(seed),
        " start": f"{state.history.n_epochs} {_digest(*weights)}" if continued else "none",
    }


_SENTENCES = {
    " types": "X has columns of other types", " values": "X has other values",
    " labels": "y has other values", " seed": "random_state gives another seed",
    " start": "training starts from other weights (warm_start)",
}  # fmt: skip


def differences(here, there):
    """What differs between two fingerprints, a list of str.

    Parameters
    ----------
    here, there : dict of str to str
        Of this fit, and of the one in the file.
    """
    found = []
    for name in [*here, *(set(there) - set(here))]:
        now, before = here.get(name, "nothing"), there.get(name, "nothing")
        if now == before:
            continue
        if name == " shape":
            return [f"X has shape {now}, and had {before}", *found]
        if name == " device":
            found.append(f"training runs on {now}, and ran on {before}")
        elif name in _SENTENCES:
            found.append(_SENTENCES[name])
        else:
            now, before = _shortened(now), _shortened(before)
            before = "another value of that kind" if now == before else before
            found.append(f"{name}={now}, and was {before}")
    return found


def _shortened(text):
    text = text.partition(" #")[0]
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


def _digest(*arrays):
    """Hash of arrays, with their dtypes and shapes."""
    found = hashlib.sha256()
    for array in map(np.asarray, arrays):
        found.update(f"{array.dtype.str} {array.shape}".encode())
        found.update(np.ascontiguousarray(array).data)
    return found.hexdigest()


def _text(value):
    """Text of a parameter, the same in every process."""
    if hasattr(value, "get_params") and not isinstance(value, type):
        parts = value.get_params(deep=False)
        return f"{type(value).__name__}({_pairs(parts)})"
    if isinstance(value, functools.partial):
        return f"partial({_text(value.func)}, {_text(value.args)}, {_pairs(value.keywords)})"
    if isinstance(value, dict):
        return f"dict({_pairs(value)})"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_text, value))}]"
    if hasattr(value, "__array__") and np.ndim(value):
        array = np.asarray(value)
        if array.dtype.kind == "O":
            return _text(array.tolist())
        return f"array of shape {array.shape} #{_digest(array)}"
    if isinstance(value, str | bool | None):
        return repr(value)
    if isinstance(value, Real | np.generic):
        number = value.item() if isinstance(value, np.generic) else value
        whole = isinstance(number, float) and number.is_integer()
        return repr(int(number) if whole else number)
    kind = value if hasattr(value, "__qualname__") else type(value)
    return f"{kind.__module__}.{kind.__qualname__}"


def _pairs(parts):
    return ", ".join(f"{name}={_text(part)}" for name, part in sorted(parts.items(), key=str))
