"""Histograms, bars of frequencies and spikes at point masses: the distribution of one column."""

import math

import numpy as np

from gudlearn.plotting.columns import set_scale

#: Columns of integers in a range of fewer values than this have one bar for each value.
N_BARS = 64
#: Width of the bar of a level; levels are at a distance of 1.
BAR_WIDTH = 0.76


def draw_distribution(cell, column, styles):
    """Draw the distribution of a column in each of its tables.

    Parameters
    ----------
    cell : matplotlib Axes
    column : DrawnColumn
    styles : list of dict
        For each table, arguments of matplotlib's ``stairs``.

    Returns
    -------
    patches : list of StepPatch
        For each table, a density of numbers and times, or the fractions of the rows that have each
        level, drawn from the top to the bottom.
    spikes : list of list of Line2D
        For each table, a line at each point mass. The axes are as high as all rows.
    """
    atoms = np.array([]) if column.kind == "category" else column.atoms
    if column.kind == "category":
        edges, heights = _frequencies(column)
        orientation = "horizontal"
    else:
        if len(atoms) and _has_bars(column.values):
            atoms = atoms[:0]
        edges, heights = _densities(column, atoms)
        orientation = "vertical"
    patches = [
        cell.stairs(part, edges, orientation=orientation, **style)
        for part, style in zip(heights, styles, strict=True)
    ]
    spikes = [
        _draw_spikes(cell, values, atoms, patch)
        for values, patch in zip(column.values, patches, strict=True)
    ]
    if column.kind == "category":
        texts = column.levels + (["missing"] if max(column.missing) else [])
        cell.set_yticks(np.arange(len(texts)), texts)
        cell.set_ylim(len(texts) - 0.5, -0.5)
        cell.set_xticks([])
    else:
        set_scale(cell, column)
        cell.set_yticks([])
    cell.tick_params(labelsize="x-small", left=False)
    cell.spines[["top", "right", "left"]].set_visible(False)
    cell.set_title(title_of(column), fontsize="small")
    return patches, spikes


def title_of(column):
    """The name of a column, and how many of its values are missing."""
    name = f"{column.name} ({column.unit})" if column.unit else column.name
    if column.kind == "category" or not max(column.missing):
        return name
    fractions = ", ".join(f"{100 * fraction:.3g} %" for fraction in column.missing)
    return f"{name}\n{fractions} missing"


def _frequencies(column):
    """Edges of bars and gaps, and the fraction of rows of each level, and of missing values."""
    n = len(column.levels) + (max(column.missing) > 0)
    centre, heights = np.arange(n)[:, None], []
    for values in column.values:
        codes = np.where(np.isnan(values), len(column.levels), values).astype(int)
        frequency = np.bincount(codes, minlength=n) / len(values)
        # Between two bars there is a gap.
        heights.append(np.stack([frequency, np.zeros(n)], axis=1).ravel()[:-1])
    return np.ravel(centre + [-BAR_WIDTH / 2, BAR_WIDTH / 2]), heights


def _densities(column, atoms):
    """Edges of bins, and densities of the values that are no atoms, of all that are known."""
    known = [values[~np.isnan(values)] for values in column.values]
    rest = [values[~np.isin(values, atoms)] for values in known]
    filled = [values for values in rest if len(values)] or [np.zeros(1)]
    edges = _bin_edges(filled[0], filled[-1])
    return edges, [
        np.histogram(part, edges)[0] / (max(len(values), 1) * np.diff(edges))
        for part, values in zip(rest, known, strict=True)
    ]


def _draw_spikes(cell, values, atoms, patch):
    """Lines at atoms, as high as their fraction of the known values; the axes are 1 high."""
    n, filled = max((~np.isnan(values)).sum(), 1), patch.get_fill()
    color = patch.get_facecolor() if filled else patch.get_edgecolor()
    style = {"color": color, "linewidth": 6.0 if filled else 2.0, "solid_capstyle": "butt"}
    return [
        cell.plot(
            [atom, atom], [0, (values == atom).sum() / n],
            transform=cell.get_xaxis_transform(), **style,
        )[0]
        for atom in atoms
    ]  # fmt: skip


def _has_bars(parts):
    """Whether there is one bar for each value."""
    known = np.concatenate([values[~np.isnan(values)] for values in parts])
    return len(known) > 0 and bool(
        np.all(known == np.round(known)) and known.max() - known.min() < N_BARS
    )


def _bin_edges(real, fake):
    low, high = np.quantile(real, [0.005, 0.995])
    if _has_bars([real, fake]):
        both_low, both_high = min(real.min(), fake.min()), max(real.max(), fake.max())
        return np.arange(both_low - 0.5, both_high + 1.0)
    if low == high:
        # Almost all rows have one value: use a bin around it, and a few next to it.
        width = max(abs(low) * 1e-2, 1e-6)
        return low + width * (np.arange(6) - 2.5)
    margin = 0.1 * (high - low)
    n_bins = int(np.clip(1.5 * math.sqrt(min(len(real), len(fake))), 12, 40))
    return np.linspace(low - margin, high + margin, n_bins + 1)
