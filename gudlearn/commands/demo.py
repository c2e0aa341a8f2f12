"""``gudlearn demo``: a table, images and missing values in two minutes, on one page."""

import argparse
import base64
import contextlib
import html
import io
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from gudlearn._versions import own_version
from gudlearn.commands.console import say
from gudlearn.commands.errors import CommandError
from gudlearn.generator import GUDGenerator
from gudlearn.imputer import GUDImputer
from gudlearn.metrics import report, two_sample_auc
from gudlearn.plotting import MarginalsDisplay, SampleGridDisplay

# Fractions of the seconds of training.
_SHARES = {"table": 0.25, "images": 0.5, "missing": 0.25}
_HIDDEN = 0.2
_STYLE = """
:root { color-scheme: light dark }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1rem }
img { max-width: 100%; background: white; border-radius: .5rem }
pre { overflow-x: auto; font-size: .8rem; padding: .6rem; border: 1px solid #8886 }
"""


class Part(NamedTuple):
    """One part of the demo.

    Parameters
    ----------
    title, code : str
        What it shows, and the lines that a user writes for it.
    lines : list of str
        What came out.
    picture : matplotlib Figure
    name, alt : str
        Name of the picture's file, and what it shows.
    """

    title: str
    code: str
    lines: list
    picture: object
    name: str
    alt: str


def table_part(seconds, folder):
    """A mixed table: sampled, judged, and asked one question."""
    frame = load_diabetes(as_frame=True, scaled=False).frame.rename(
        columns={"bp": "pressure", "target": "progression"}
    )
    frame["sex"] = frame["sex"].map({1.0: "1", 2.0: "2"})
    train, test = train_test_split(frame, test_size=0.3, random_state=0)
    gen = GUDGenerator(conditional_rate=0.3, max_time=seconds, random_state=0).fit(train)
    rows = gen.sample(len(test))
    rng = np.random.default_rng(0)
    alone = train.apply(lambda column: rng.permutation(column.to_numpy()))[: len(test)]
    auc, of_alone = (two_sample_auc(test, other, random_state=0) for other in (rows, alone))
    drawn = gen.sample(200, given={"bmi": [20.0, 35.0]}, random_state=0)["progression"]
    asked = drawn.groupby(level="row").quantile([0.05, 0.5, 0.95])
    lines = [
        f"Trees tell {len(rows)} sampled rows from as many real ones, which were held out, with "
        f"an AUC of {auc.auc:.2f} ± {auc.standard_error:.2f} (0.5 is perfect), and rows of "
        f"independent columns with {of_alone.auc:.2f}.",
    ]
    for k, bmi in enumerate((20, 35)):
        low, middle, high = asked[k]
        lines.append(
            f"Progression of the disease given a body-mass index of {bmi}: {middle:.0f} in the "
            f"median, from {low:.0f} to {high:.0f} with a probability of 90 %."
        )
    if find_spec("jinja2") is not None:
        page = folder / "report.html"
        report(train, test, rows, target="progression", random_state=0).save(page)
        lines.append(f"Every metric beside rows whose quality is known: {page.name}.")
    code = (
        "gen = GUDGenerator(conditional_rate=0.3).fit(train)   # a DataFrame, as it is\n"
        "rows = gen.sample(len(test))\n"
        'gen.sample(200, given={"bmi": [20, 35]})              # rows given what is known'
    )
    picture = MarginalsDisplay.from_samples(test, rows, name="sampled").figure_
    return Part(
        "A table: patients with diabetes", code, lines, picture, "table.png",
        "Histograms of every column, of held-out and of sampled rows.",
    )  # fmt: skip


def image_part(seconds, folder):
    """Digits by class, by a convolutional network."""
    images, y = load_digits().images, load_digits().target
    train, test, y_train, y_test = train_test_split(
        images, y, test_size=0.2, stratify=y, random_state=0
    )
    gen = GUDGenerator(bin_width=1.0, class_conditional=True, max_time=seconds, random_state=0)
    gen.fit(train, y_train)
    classes = np.tile(np.arange(10), 10)
    drawn = gen.sample(100, y=classes)
    real = np.stack([train[y_train == c][:10] for c in range(10)], axis=1).reshape(-1, 8, 8)
    bits = gen.bits_per_dim(test[:100], y_test[:100])
    lines = [
        f"Held-out digits take {bits:.2f} bits per pixel (log2(17) = 4.09 without a model). "
        "The picture has ten columns of classes, real ones left."
    ]
    code = (
        "gen = GUDGenerator(bin_width=1.0, class_conditional=True).fit(images, y)\n"
        "gen.sample(100, y=classes)"
    )
    display = SampleGridDisplay.from_samples(real, drawn, n_samples=100, name="sampled")
    return Part(
        "Images: digits by class", code, lines, display.figure_, "digits.png",
        "A grid of real digits beside one of sampled digits, a column for each class.",
    )  # fmt: skip


def missing_part(seconds, folder):
    """Missing values, filled by the imputer and by three of scikit-learn."""
    import matplotlib.pyplot as plt

    frame = load_breast_cancer(as_frame=True).data.iloc[:, :10]
    rng = np.random.default_rng(0)
    hidden = rng.random(frame.shape) < _HIDDEN
    partial, scale = frame.mask(hidden), frame.std().to_numpy()
    scaler = StandardScaler()
    neighbours = make_pipeline(scaler, KNNImputer()).fit_transform(partial)
    filled = {
        "GUDImputer": GUDImputer(
            random_state=0).set_params(generator__max_time=seconds).fit_transform(partial),
        "IterativeImputer": IterativeImputer(max_iter=20, tol=0.01, random_state=0)
        .fit_transform(partial),
        "KNNImputer": scaler.inverse_transform(neighbours),
        "column means": SimpleImputer().fit_transform(partial),
    }  # fmt: skip
    mean, true = frame.mean().to_numpy(), frame.to_numpy()[hidden]
    filled = {name: np.asarray(values)[hidden] for name, values in filled.items()}
    column = np.nonzero(hidden)[1]
    errors = {name: (values - true) / scale[column] for name, values in filled.items()}
    ranked = ", ".join(f"{k} {np.sqrt(np.square(v).mean()):.3f}" for k, v in errors.items())
    lines = [
        f"{hidden.sum()} of {hidden.size} values of a table of tumours were hidden and filled. "
        f"Root mean squared errors, in standard deviations: {ranked}."
    ]
    figure, axes = plt.subplots(
        1, 2, figsize=(8, 4), sharex=True, sharey=True, layout="constrained"
    )
    true = (true - mean[column]) / scale[column]
    for ax, name in zip(axes, ("GUDImputer", "KNNImputer"), strict=True):
        ax.plot([-2, 5], [-2, 5], color="0.7", zorder=0)
        ax.plot(true, true + errors[name], ".", markersize=3)
        ax.set(title=name, xlabel="true value (standard deviations)")
    axes[0].set_ylabel("filled value")
    return Part(
        "Missing values", "GUDImputer().fit_transform(frame)", lines, figure, "missing.png",
        "Filled against true values, for GUDImputer and KNNImputer.",
    )  # fmt: skip


PARTS = {"table": table_part, "images": image_part, "missing": missing_part}


def page_of(parts):
    """The page of all parts, a str of HTML that needs no other file."""
    sections = []
    for part, picture in parts:
        lines = "".join(f"<p>{html.escape(line)}</p>" for line in part.lines)
        if any("report.html" in line for line in part.lines):
            lines = lines.replace("report.html", '<a href="report.html">report.html</a>')
        data = base64.b64encode(picture).decode()
        sections.append(
            f"<h2>{html.escape(part.title)}</h2><pre>{html.escape(part.code)}</pre>{lines}"
            f'<img src="data:image/png;base64,{data}" alt="{html.escape(part.alt)}">'
        )
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>gudlearn: the demo</title><style>{_STYLE}</style></head><body>"
        f"<h1>gudlearn {own_version()}</h1><p>One model of all columns or pixels samples, scores, "
        f"and answers every question about the rest of a row.</p>{''.join(sections)}</body></html>"
    )


def positive_seconds(text):
    """Parse a number of seconds for argparse."""
    seconds = float(text)
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a positive number, got {text}")
    return seconds


def add_parser(commands, parents):
    """Add the command to a parser."""
    parser = commands.add_parser(
        "demo", parents=parents, help="a table, images and missing values in two minutes",
        description="Fit a table, images and a table with missing values that come with "
        "scikit-learn, show what comes out, and write a page of it.",
    )  # fmt: skip
    parser.add_argument(
        "--output", type=Path, default=Path("gud-demo"), metavar="DIR",
        help="folder of the page and its pictures (default: gud-demo)",
    )  # fmt: skip
    parser.add_argument(
        "--seconds", type=positive_seconds, default=75.0, metavar="S",
        help="of training, in all (default: 75)",
    )  # fmt: skip
    parser.set_defaults(run=run)


def run(options):
    """Run the demo."""
    if find_spec("matplotlib") is None:
        raise CommandError("it needs matplotlib. Install with: pip install 'gudlearn[report]'")
    import matplotlib

    matplotlib.use("Agg")
    folder = options.output
    folder.mkdir(parents=True, exist_ok=True)
    parts = []
    for number, (name, make) in enumerate(PARTS.items(), start=1):
        seconds = _SHARES[name] * options.seconds
        say(f"{number} of {len(PARTS)}: {make.__doc__} Training for {seconds:.0f} seconds ...")
        with contextlib.redirect_stdout(io.StringIO()):
            part = make(seconds, folder)
        say("\n".join(part.lines) + "\n")
        picture = io.BytesIO()
        part.picture.savefig(picture, dpi=120, format="png")
        (folder / part.name).write_bytes(picture.getvalue())
        parts.append((part, picture.getvalue()))
    page = folder / "index.html"
    page.write_text(page_of(parts), encoding="utf-8")
    say(f"The page with all pictures: {page}")
