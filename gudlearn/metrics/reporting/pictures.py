"""The pictures of a report as SVG that can stand in a page, light or dark."""

import io
import re
from dataclasses import replace

import numpy as np
import pandas as pd

from gudlearn.metrics.association import associations_of
from gudlearn.metrics.reporting.samples import FAKE

#: Columns and pairs with pictures of their own.
MOST_MARGINS, MOST_PAIRS, MOST_IN_MATRIX = 24, 6, 30
_MOST_LEVELS, _N_BINS, _N_CELLS = 8, 24, 8
# Colours that stand for the page's, which change with its theme.
_THEME = {
    "#010101": "var(--ink)", "#020202": "var(--line)", "#030303": "var(--real)",
    "#040404": "var(--fake)",
}  # fmt: skip
_INK, _LINE, _REAL, _FAKE = _THEME


class Pictures:
    """Draws the pictures of one report.

    Parameters
    ----------
    report : Report
        Of a table.
    """

    def __init__(self, report):
        self.columns, self.pairs = report.columns, report.pairs
        self.real, self.fake = report.samples.reference, report.samples.judged[FAKE]
        self.place = {name: j for j, name in enumerate(self.real.names)}
        self.n_drawn = 0

    def errors(self):
        """Shape errors of the worst columns beside those of held-out rows."""
        worst = self.columns.iloc[:MOST_MARGINS][::-1]
        figure, ax = _figure(4.6, 0.5 + 0.24 * len(worst))
        y = np.arange(len(worst))
        ax.barh(y, worst["shape_error"], 0.55, color=_FAKE)
        ax.plot(worst["shape_error_held_out"], y, "|", color=_INK, markersize=10, mew=2)
        ax.set_yticks(y, [_short(name, 22) for name in worst.index])
        ax.set_xlim(left=0)
        ax.margins(y=0.02)
        ax.xaxis.grid(True, color=_LINE)
        return self._svg(figure, "Shape errors of the worst columns; a mark is that of held-out "
                                 "rows")  # fmt: skip

    def margins(self):
        """(name, SVG) of the distribution of each of the worst columns."""
        for name in self.columns.index[:MOST_MARGINS]:
            j = self.place[name]
            figure, ax = _figure(3.0, 1.9)
            draw = self._levels if self.real.is_category[j] else self._numbers
            draw(ax, j)
            yield str(name), self._svg(figure, f"Distribution of {name} in real and fake rows")

    def _levels(self, ax, j):
        labels, real, fake = _frequencies(self.real, self.fake, j)
        y = np.arange(len(labels))[::-1]
        ax.barh(y + 0.2, real, 0.38, color=_REAL)
        ax.barh(y - 0.2, fake, 0.38, color=_FAKE)
        ax.set_yticks(y, labels)

    def _numbers(self, ax, j):
        real, fake = (t.X[:, j][~np.isnan(t.X[:, j])] for t in (self.real, self.fake))
        if not len(real) or not len(fake):
            ax.text(0.5, 0.5, "all missing", ha="center", transform=ax.transAxes, color=_INK)
            return
        low, high = np.quantile(real, [0.005, 0.995])
        width = (high - low) or 1.0
        edges = np.linspace(low - 0.05 * width, high + 0.05 * width, _N_BINS + 1)
        for x, color, fill in ((real, _REAL, True), (fake, _FAKE, False)):
            heights = np.histogram(x, edges)[0] / len(x)
            ax.stairs(heights, edges, color=color, fill=fill, linewidth=1.8)
        ax.set_yticks([])
        ax.set_ylim(bottom=0)
        kind = self.real.kinds[j]
        if kind == "numbers":
            ax.locator_params(axis="x", nbins=4)
        else:
            ticks = edges[[2, _N_BINS // 2, -3]]
            ax.set_xticks(ticks, [_number_text(tick, kind) for tick in ticks])

    def associations(self):
        """(title, SVG) of the associations of pairs: real, fake, and the difference."""
        order = [self.place[name] for name in self.columns.index[:MOST_IN_MATRIX]]
        tables = [_with_columns(table, sorted(order)) for table in (self.real, self.fake)]
        if len(order) < 2:
            return
        real, fake = (frame.to_numpy() for frame in associations_of(tables))
        names = tables[0].names
        for title, values in (("Real", real), ("Fake", fake), ("Fake minus real", fake - real)):
            figure, ax = _figure(3.4, 3.4)
            _matrix(ax, values, 1.0)
            places = np.arange(len(names))
            ax.set_xticks(places, [_short(n, 12) for n in names], rotation=90)
            ax.set_yticks(places, [_short(n, 12) for n in names])
            ax.set_aspect("equal")
            yield title, self._svg(figure, f"Associations of pairs of columns: {title.lower()}")

    def worst_pairs(self):
        """(title, SVG) of the difference of the frequencies of the cells of the worst pairs."""
        for _, pair in self.pairs.iloc[:MOST_PAIRS].iterrows():
            j, k = (self.place[pair[side]] for side in ("first", "second"))
            cells = [_cells(self.real, self.fake, column) for column in (j, k)]
            (x_labels, x_codes), (y_labels, y_codes) = cells
            counts = []
            for side in (0, 1):
                table = np.zeros((len(y_labels), len(x_labels)))
                np.add.at(table, (y_codes[side], x_codes[side]), 1.0)
                counts.append(table / table.sum())
            figure, ax = _figure(3.2, 2.8)
            difference = counts[1] - counts[0]
            _matrix(ax, difference, np.abs(difference).max() or 1.0)
            ax.set_xticks(np.arange(len(x_labels)), x_labels, rotation=90)
            ax.set_yticks(np.arange(len(y_labels)), y_labels)
            title = f"{pair['first']} × {pair['second']}"
            ax.set_xlabel(_short(pair["first"], 30))
            ax.set_ylabel(_short(pair["second"], 30))
            largest = f"largest difference {np.abs(difference).max():.1%} of the rows"
            yield (
                f"{title}: {largest}",
                self._svg(figure, f"Difference of the joint frequencies of {title}, {largest}"),
            )

    def _svg(self, figure, title):
        self.n_drawn += 1
        return svg_of(figure, title, f"g{self.n_drawn}")


def image_strip(images, title, key):
    """A row of images as SVG.

    Parameters
    ----------
    images : ndarray of shape (n, height, width) or (n, height, width, channels)
    title : str
    key : str
        Beginning of the names inside the SVG.

    Returns
    -------
    str
    """
    figure, _ = _figure(0.9 * len(images), 0.95)
    figure.clear()
    images = np.asarray(images, dtype=float)
    low, high = images.min(), images.max()
    scaled = (images - low) / ((high - low) or 1.0)
    if scaled.ndim == 4 and scaled.shape[-1] not in (3, 4):
        scaled = scaled[..., 0]
    for k, image in enumerate(scaled):
        ax = figure.add_subplot(1, len(scaled), k + 1)
        ax.imshow(image, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        ax.set_axis_off()
    return svg_of(figure, title, key)


def svg_of(figure, title, key):
    """A figure as SVG inside a page: its colours follow the page, its names are its own.

    Parameters
    ----------
    figure : matplotlib Figure
    title : str
        What the picture shows, for readers who do not see it.
    key : str
        Beginning of the names inside the SVG, which are unique in the page then.

    Returns
    -------
    str
    """
    import matplotlib

    text = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "report"}):
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", svg, flags=re.S)
    used = set(re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', svg))
    used = {name for pair in used for name in pair if name}
    svg = re.sub(r' id="([^"]+)"', lambda m: f' id="{key}-{m[1]}"' if m[1] in used else "", svg)
    svg = svg.replace("url(#", f"url(#{key}-").replace('href="#', f'href="#{key}-')
    svg = re.sub(r'xmlns(:xlink)?="[^"]*" ?|xlink:', "", svg)
    for colour, variable in _THEME.items():
        svg = svg.replace(colour, variable)
    svg = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font: \1px system-ui, sans-serif", svg)
    svg = re.sub(r">\s+<", "><", re.sub(r"(\d\.\d{2})\d+", r"\1", svg))
    safe = title.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
    return svg.replace("<svg ", f'<svg role="img" aria-label="{safe}" ', 1)


def _figure(width, height):
    """A figure with one pair of axes in the colours of the page."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    ax = figure.add_subplot()
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(_LINE)
    ax.tick_params(colors=_INK, labelsize=8, length=2, color=_LINE)
    ax.xaxis.label.set(color=_INK, size=9)
    ax.yaxis.label.set(color=_INK, size=9)
    ax.set_axisbelow(True)
    return figure, ax


def _matrix(ax, values, largest):
    """Draw cells as strong as a magnitude, blue below zero, orange above, a cross if undefined."""
    colours = np.zeros((*values.shape, 4))
    known = ~np.isnan(values)
    positive = known & (values >= 0)
    colours[..., :3] = np.where(positive[..., None], (0.84, 0.37, 0.0), (0.0, 0.45, 0.70))
    colours[..., 3] = np.where(known, np.minimum(np.abs(np.nan_to_num(values)) / largest, 1), 0)
    n_rows, n_columns = values.shape
    ax.pcolormesh(
        np.arange(n_columns + 1) - 0.5, np.arange(n_rows + 1) - 0.5, colours, linewidth=0.3,
        edgecolor=_LINE,
    )  # fmt: skip
    ax.plot(*np.nonzero(~known)[::-1], "x", color=_LINE, markersize=3)
    ax.invert_yaxis()


def _with_columns(table, columns):
    return replace(
        table, names=[table.names[j] for j in columns], is_category=table.is_category[columns],
        levels=[table.levels[j] for j in columns], X=table.X[:, columns],
        kinds=tuple(table.kinds[j] for j in columns),
    )  # fmt: skip


def _frequencies(real, fake, j):
    """Labels of the most frequent levels, and their frequencies in both tables."""
    labels, codes = _cells(real, fake, j)
    return labels, *(np.bincount(c, minlength=len(labels)) / len(c) for c in codes)


def _cells(real, fake, j):
    """Labels of a column's cells, and the cell of each row of both tables.

    Cells are the most frequent levels and one for all others, or quantiles of the real numbers, and
    missing values if there are some.
    """
    columns = [table.X[:, j] for table in (real, fake)]
    missing = [np.isnan(column) for column in columns]
    if real.is_category[j]:
        n_levels = len(real.levels[j])
        counts = sum(np.bincount(c[~m].astype(int), minlength=n_levels) / max(len(c), 1)
                     for c, m in zip(columns, missing, strict=True))  # fmt: skip
        kept = np.argsort(-counts, kind="stable")[:_MOST_LEVELS]
        place = np.full(n_levels + 1, len(kept))
        place[kept] = np.arange(len(kept))
        codes = [place[np.where(m, n_levels, c).astype(int)]
                 for c, m in zip(columns, missing, strict=True)]  # fmt: skip
        labels = [_short(real.levels[j][k], 16) for k in kept]
        labels += ["others"] if n_levels > len(kept) else []
    else:
        known = columns[0][~missing[0]]
        places = np.linspace(0, 1, _N_CELLS + 1)[1:-1]
        edges = np.unique(np.quantile(known, places)) if len(known) else np.zeros(1)
        codes = [np.digitize(np.nan_to_num(column), edges) for column in columns]
        texts = [_number_text(edge, real.kinds[j]) for edge in edges]
        labels = [f"to {text}" for text in texts] + [f"from {texts[-1]}"]
    if any(m.any() for m in missing):
        codes = [np.where(m, len(labels), c) for c, m in zip(codes, missing, strict=True)]
        labels = [*labels, "missing"]
    return labels, codes


def _number_text(value, kind):
    """A number, a date, or a duration of which X has the microseconds."""
    if kind == "numbers":
        return f"{value:.4g}"
    if kind == "durations":
        return f"{value / 3.6e9:.4g} h"
    return str(pd.Timestamp(int(value), unit="us").date())


def _short(name, length):
    text = str(name).replace("$", r"\$")
    return text if len(text) <= length else f"{text[: length - 1]}…"
