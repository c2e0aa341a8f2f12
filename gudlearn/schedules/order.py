"""Order in which components are generated, given as numbers or as names of components or groups."""

import difflib
from collections import Counter

import numpy as np


def order_values(order, components):
    """Turn the parameter `order` of a schedule into one number per component.

    Parameters
    ----------
    order : str, array-like or list of str
        See `SoftConditioningSchedule`.
    components : Components
        Components that diffuse.

    Returns
    -------
    ndarray of shape (n_components,)
        A higher component is noised first and generated last.

    Raises
    ------
    ValueError
        If names are unknown, or the order does not cover each component once.
    TypeError
        If the order holds something else than numbers or names.
    """
    if isinstance(order, str):
        return _named_order(order, components)
    if not isinstance(order, list | tuple):
        order = np.asarray(order)
    if _is_list_of_names(order):
        return _listed_order([[e] if isinstance(e, str) else list(e) for e in order], components)
    try:
        entries = np.asarray(order)
    except ValueError as error:
        raise TypeError(
            "order must hold numbers only, or names and lists of names only."
        ) from error
    if entries.ndim != 1 or entries.size == 0:
        raise ValueError(
            f"order must be one-dimensional and not empty, got shape {entries.shape}. Pass one "
            "number per component, or a list of names."
        )
    if entries.dtype.kind not in "iuf":
        raise TypeError("order must hold numbers only, or names and lists of names only.")
    return _array_order(entries.astype(np.float64), components)


def _named_order(order, components):
    if order == "variance":
        return -np.log(components.variances)
    if order == "natural":
        return np.asarray(components.order, dtype=np.float64)
    raise ValueError(
        f"order={order!r} is unknown.{_nearest(order, ['variance', 'natural'])} Use 'variance', "
        "'natural', one number per component, or a list of names."
    )


def _array_order(entries, components):
    n_components = len(components.variances)
    positions = getattr(components, "positions", None)
    n_total = getattr(components, "n_total", None) or n_components
    if positions is not None and len(entries) == n_total:
        entries = entries[positions]
    if len(entries) != n_components:
        raise ValueError(
            f"order has {len(entries)} entries but the basis has {n_total} components. Pass one "
            "number per component."
        )
    if not np.isfinite(entries).all():
        raise ValueError("order must be finite, but holds NaN or infinity.")
    return entries


def _is_list_of_names(order):
    """Return whether the order is a list of names, or of names and lists of names."""

    def is_name(entry):
        return isinstance(entry, str)

    def is_names(entry):
        return is_name(entry) or (
            isinstance(entry, list | tuple | np.ndarray) and len(entry) and all(map(is_name, entry))
        )

    is_scalar = isinstance(order, np.ndarray) and order.ndim == 0
    return not is_scalar and len(order) > 0 and all(map(is_names, order))


def _listed_order(listed, components):
    """Positions in a list of lists of names; the name of a group stands for its components."""
    position = [k for k, together in enumerate(listed) for _ in together]
    listed = [name for together in listed for name in together]
    repeated = [name for name, count in Counter(listed).items() if count > 1]
    if repeated:
        raise ValueError(f"order lists {repeated[0]!r} twice. List every name once.")
    names = np.asarray(components.names).astype(str)
    groups = np.asarray(components.groups).astype(str)
    covers = np.array([(names == name) | (groups == name) for name in listed])
    valid_names = [*dict.fromkeys([*names.tolist(), *groups.tolist()])]
    # If these are not all components of the basis, a listed name may be that of another one.
    is_full_basis = getattr(components, "n_total", None) in (None, len(names))
    if is_full_basis and not covers.any(axis=1).all():
        name = listed[int(np.argmin(covers.any(axis=1)))]
        raise ValueError(
            f"order lists {name!r}, which is neither a component nor a group."
            f"{_nearest(name, valid_names)}"
        )
    times_covered = covers.sum(axis=0)
    if not (times_covered == 1).all():
        i = int(np.argmax(times_covered != 1))
        never = times_covered[i] == 0
        raise ValueError(
            f"order must cover every component once, but covers '{names[i]}' (group "
            f"'{groups[i]}') {'never' if never else f'{times_covered[i]} times'}."
            f"{_nearest(names[i], listed) if never else ''}"
        )
    return np.array(position, dtype=np.float64)[covers.argmax(axis=0)]


def _nearest(name, candidates):
    close = difflib.get_close_matches(str(name), candidates, n=1)
    return f" Did you mean {close[0]!r}?" if close else ""
