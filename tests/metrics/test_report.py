"""Reports: oracles at their places, seeds, failures that stay alone, and the page in a browser."""

import html.parser
import json
import pickle
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest

import gudlearn
from gudlearn.metrics import report
from gudlearn.metrics.reporting.grades import GRADES, grade
from gudlearn.metrics.reporting.metrics import Metric
from gudlearn.metrics.reporting.samples import SAMPLES

HOSTILE = "<b>$x$ & 'y'</b>"
VOID = {"meta", "link", "input", "br"}


def mixed(n, seed):
    """Columns of every kind that depend on each other, with missing values and rare levels."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    words = np.where(x + 0.5 * rng.normal(size=n) > 0, "high", "low")
    frame = pd.DataFrame(
        {
            HOSTILE: x,
            "count": rng.poisson(np.exp(x)).astype(float),
            "word": np.where(np.arange(n) % 60 == 0, f"rare {seed % 2}", words),
            "day": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 99, n), unit="D"),
            "lasts": pd.to_timedelta(rng.integers(1, 9, n), unit="h"),
            "constant": 1.0,
        }
    )
    frame["day"] = frame["day"].mask(rng.random(n) < 0.1)
    return frame


class Density:
    """A stand-in of a model: the log-density of a standard normal first column."""

    def score_samples(self, X):
        return -0.5 * X[HOSTILE].to_numpy() ** 2 - 0.5 * np.log(2 * np.pi)


@pytest.fixture(scope="module")
def found():
    frames = [mixed(120, seed) for seed in (1, 2, 3)]
    frames[2]["count"] += 4
    return report(*frames, target="word", model=Density())


@pytest.fixture(scope="module")
def page(found):
    return found.to_html(title="A & B")


def numbers(n, seed):
    """Two columns of numbers that are nearly equal."""
    x = np.random.default_rng(seed).normal(size=(n, 1))
    return x + 0.2 * np.random.default_rng(seed + 100).normal(size=(n, 2))


# What is measured


def test_the_oracles_take_the_places_that_they_must(found):
    values = found.values
    assert list(values.columns) == list(SAMPLES)
    # Shuffled columns keep their margins.
    shapes = values.loc["shape_error"]
    assert shapes["independent columns"] == pytest.approx(shapes["training rows"], abs=1e-12)
    assert values.loc["global_utility", "training rows"] == 1.0
    assert values.loc["copies", "training rows"] == 1.0 and values.loc["copies", "fake rows"] == 0
    assert values.loc["memorization", "training rows"] > 0.9
    # Half of the copies are among the training rows that are compared with, 60 of 120.
    errors = found.standard_errors
    share, error = (frame.loc["closest_share", "training rows"] for frame in (values, errors))
    assert abs(share - 0.75) < 5 * error
    # A count that is four too large is told from real ones, at the place of its column.
    aucs, errors = values.loc["two_sample_auc"], errors.loc["two_sample_auc"]
    assert aucs["fake rows"] > 0.8
    assert abs(aucs["held-out rows"] - 0.5) < 5 * errors["held-out rows"]
    assert found.grades["two_sample_auc"] in GRADES[2:]
    assert found.columns.index[0] == "count" and "“count”" in found.verdict[1]
    assert found.columns.loc["count", "auc_fall"] == found.columns["auc_fall"].max()
    assert found.columns.loc["day", "kind"] == "time"
    assert (found.columns["excess"].diff().dropna() <= 0).all()
    pairs = found.pairs
    assert (pairs["excess"].diff().dropna() <= 0).all()
    np.testing.assert_allclose(pairs["excess"], pairs.trend_error - pairs.trend_error_held_out)
    assert "count" in set(pairs.loc[0, ["first", "second"]])


def test_likelihood_is_that_of_rows_that_were_passed(found):
    scores = found.values.loc["log_likelihood"]
    train = mixed(120, 1)
    assert scores["training rows"] == pytest.approx(Density().score_samples(train).mean())
    error = Density().score_samples(train).std(ddof=1) / np.sqrt(120)
    assert found.standard_errors.loc["log_likelihood", "training rows"] == pytest.approx(error)
    assert scores[["independent columns", "shallow mixture"]].isna().all()
    assert any("Only rows that were passed" in sentence for sentence in found.failures())


def test_every_value_has_an_error_or_a_reason(found):
    frame = found.to_frame()
    assert len(frame) == found.values.size
    assert (frame["value"].notna() | (frame["note"] != "")).all()
    # Training on the training rows twice has no error.
    assert (frame["standard_error"] >= 0)[frame["value"].notna()].all()
    assert found.samples.n == 60
    assert found.samples.n_rows == {"train": 120, "test": 120, "fake": 120}


def test_copies_are_called_copies(found):
    train, test = numbers(120, 0), numbers(120, 1)
    copied = report(train, test, train[::2])
    assert copied.verdict[2].startswith("Training rows seem to be copied: of the fake rows 100.0%")
    assert found.verdict[2].startswith("Nothing suggests that training rows were copied")


def test_independent_columns_lose_dependences():
    found = report(numbers(120, 0), numbers(120, 1), numbers(120, 2))
    assert "“0” with “1” (trend error" in found.verdict[1]
    # Half of a correlation of 60 rows, near 1 before, has an error of 0.065 around 0.
    trends = found.values.loc["trend_error"]
    assert trends["independent columns"] > 0.15
    assert max(trends[["fake rows", "held-out rows", "training rows"]]) < 0.05


def test_a_report_is_seeded_and_changes_no_data_whatever_its_container():
    frames = [mixed(30, seed) for seed in (1, 2, 3)]
    before = [frame.copy() for frame in frames]
    first = report(*frames, max_rows=12, random_state=4)
    assert first.samples.n == 12
    for frame, copy in zip(frames, before, strict=True):
        pd.testing.assert_frame_equal(frame, copy)
    polars = [pl.from_dict({c: list(f[c].astype(object).where(f[c].notna(), None)) for c in f})
              for f in frames]  # fmt: skip
    again = report(*polars, max_rows=12, random_state=4)
    pd.testing.assert_frame_equal(again.to_frame(), first.to_frame())
    assert again.verdict == first.verdict
    assert not report(*frames, max_rows=12, random_state=5).values.equals(first.values)


def test_one_failure_does_not_end_the_report(monkeypatch):
    def fails(context, name):
        raise MemoryError("no\n memory")

    monkeypatch.setattr("gudlearn.metrics.reporting.table_metrics._energy", fails)
    monkeypatch.setattr("gudlearn.metrics.reporting.samples.mixture_rows", fails)
    found = report(numbers(40, 0), numbers(40, 1), numbers(40, 2))
    assert found.values.loc["energy_distance"].isna().all()
    assert found.values["shallow mixture"].isna().all()
    assert found.values.drop(index="energy_distance").iloc[0, :4].notna().all()
    assert "Energy distance: no memory" in str(found)
    assert "There is no shallow mixture: " in str(found)
    assert found.to_frame().query("metric == 'energy_distance'")["note"].iloc[0] == "no memory"
    assert "no memory" in found.to_html()


def test_images_are_judged_by_their_features():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 200, size=(120, 5, 4, 1)).astype(np.uint8)
    train, test = images[:40], images[40:100]

    def features(X):
        return X.reshape(len(X), -1).astype(float)

    found = report(train, test, train[:30], features=features)
    assert found.values.loc["memorization", ["fake rows", "training rows"]].tolist() == [1.0, 1.0]
    assert found.values.loc["frechet_distance"].notna().all()
    fake, nearest = found.nearest
    np.testing.assert_array_equal(
        found.samples.judged["fake rows"][fake], found.samples.train[nearest]
    )
    page = found.to_html()
    assert "The training images nearest to them" in page and found.columns is None
    assert "copied" in found.verdict[2] and len(found.verdict) == 3
    for given in (train, train.tolist()):
        with pytest.raises(ValueError, match=r"shape \(40, 5, 4, 1\): images need features"):
            report(given, test, train)
    with pytest.raises(ValueError, match=r"different shapes: \[\(5, 4, 1\), .*\(4, 5, 1\)"):
        report(train, test, train.transpose(0, 2, 1, 3), features=features)
    with pytest.raises(TypeError, match="must be a callable"):
        report(train, test, train, features="inception")
    with pytest.raises(ValueError, match="Frames are compared column by column"):
        report(*[mixed(20, seed) for seed in range(3)], features=features)


# Grades


@pytest.mark.parametrize(
    "best, held_out, values, poor",
    [
        ("low", 0.1, (0.10, 0.12, 0.18, 0.3), 0.1),
        ("high", 0.9, (0.95, 0.88, 0.83, 0.7), 0.1),
        (1.0, 1.0, (1.0, 0.98, 1.09, 1.2), 0.1),
        ("low", 0.1, (0.05, 0.12, 0.18, 0.9), None),
    ],
)
def test_grades_grow_with_the_distance_from_held_out_rows(best, held_out, values, poor):
    metric = Metric("m", "M", best, "", poor, "", None)
    found = [grade(metric, value, 0.001, held_out, 0.001, 0.3) for value in values]
    assert tuple(found) == GRADES
    assert grade(metric, values[-1], 1.0, held_out, 0.0, 0.3) == GRADES[0]
    assert grade(metric, np.nan, 1.0, held_out, 0.0, 0.3) == ""


# Bad input


def test_input_that_makes_no_report_is_refused():
    frame = mixed(20, 0)
    with pytest.raises(ValueError, match=r"test lacks the columns \['word'\] of train"):
        report(frame, frame.drop(columns="word"), frame)
    for k, name in enumerate(("train", "test", "fake")):
        parts = [frame.iloc[:1] if k == j else frame for j in range(3)]
        with pytest.raises(ValueError, match=f"{name} has 1 rows, but a report needs at least 10"):
            report(*parts)
    with pytest.raises(ValueError, match="target='colour' is not a column.*'count'"):
        report(frame, frame, frame, target="colour")
    with pytest.raises(TypeError, match="model=3 has no score_samples"):
        report(frame, frame, frame, model=3)
    with pytest.raises(ValueError, match="max_rows=2 must be a whole number of at least 10"):
        report(frame, frame, frame, max_rows=2)
    with pytest.raises(ValueError, match="target='word' is for tables"):
        report(frame, frame, frame, target="word", features=len)


def test_constant_columns_make_a_report_of_what_can_be_said():
    frame = pd.DataFrame({"a": [1.0] * 20, "b": ["x"] * 20})
    found = report(frame, frame, frame)
    assert found.values.loc["shape_error", "fake rows"] == 0
    assert found.values.loc["two_sample_auc", "fake rows"] == 0.5
    assert "Global utility: No column varies" in str(found)
    assert "<svg" in found.to_html()


# The page


class Page(html.parser.HTMLParser):
    """Tags that are open, and what a page contains."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.attributes = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.attributes.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_one_file_with_all_that_was_measured(found, page, tmp_path):
    path = tmp_path / "report.html"
    found.save(path, title="A & B")
    text = path.read_text(encoding="utf-8")
    assert text == page and "<title>A &amp; B</title>" in text
    page = Page(text)
    assert not page.open and len(text) < 3e6
    assert not re.search(r"https?:|//[a-z]|@import", text)
    assert page.tags.count("script") == 1
    for metric in found.metrics:
        assert metric.label in text
    for name in found.values.columns:
        assert name in text
    for sentence in found.verdict:
        assert html.escape(sentence, quote=False).split("“")[0] in text
    # Nothing of a name is markup, and every picture says what it shows.
    assert HOSTILE not in text and html.escape(HOSTILE, quote=False)[:15] in text
    pictures = [a for tag, a in page.attributes if tag == "svg"]
    assert len(pictures) > 10 and all(a["role"] == "img" and a["aria-label"] for a in pictures)
    names = [a["id"] for _, a in page.attributes if "id" in a]
    assert len(set(names)) == len(names)
    assert all(a.get("scope") in ("col", "row") for tag, a in page.attributes if tag == "th")


def test_a_report_is_shown_as_text_and_in_notebooks_and_can_be_pickled(found):
    text = str(found)
    assert text.startswith(found.verdict[0]) and repr(found) == text
    assert "Two-sample AUC" in text and "60 rows of each sample" in text
    table = Page(found._repr_html_())
    assert not table.open and table.tags.count("tr") == len(found.metrics) + 1
    assert str(pickle.loads(pickle.dumps(found))) == text


def test_a_page_without_its_packages_says_what_to_install(found, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "jinja2", None)
    with pytest.raises(ImportError, match=r"pip install 'gudlearn\[report\]'"):
        found.to_html()


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
PROBE = """
<script>
const seen = {errors: []};
window.addEventListener("error", event => seen.errors.push(event.message));
window.addEventListener("load", () => {
  const light = text => {
    const [r, g, b] = text.match(/[\\d.]+/g).map(v => v / 255)
      .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = node => {
    const colour = getComputedStyle(node).backgroundColor;
    return colour === "rgba(0, 0, 0, 0)" ? behind(node.parentElement) : colour;
  };
  const contrast = node => {
    const [a, b] = [light(getComputedStyle(node).color), light(behind(node))];
    return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  };
  const texts = [...document.querySelectorAll("p, td, th, span.grade, span.error, h1, h2, h3, dd")];
  const table = document.querySelectorAll("table.sortable")[1];
  const column = () => [...table.tBodies[0].rows].map(row => row.cells[3].dataset.key);
  const button = table.tHead.rows[0].cells[3].querySelector("button");
  button.click(); seen.up = column(); button.click(); seen.down = column();
  seen.sorted = table.tHead.rows[0].cells[3].getAttribute("aria-sort");
  seen.width = innerWidth; seen.scroll = document.documentElement.scrollWidth;
  seen.contrast = Math.min(...texts.filter(t => t.textContent.trim()).map(contrast));
  seen.dark = light(behind(document.querySelector("main"))) < 0.2;
  seen.pictures = [...document.querySelectorAll("svg")].map(s => s.getBoundingClientRect())
    .filter(box => box.width > 100 && box.height > 20 && box.right <= innerWidth).length;
  const probe = parent.document.createElement("pre");
  probe.id = "probe"; probe.textContent = JSON.stringify(seen);
  parent.document.body.append(probe);
});
</script>
</head>
"""


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
@pytest.mark.parametrize("width, scheme", [(400, "light"), (1400, "dark"), (400, "dark"),
                                           (1400, "light")])  # fmt: skip
def test_the_page_works_in_a_browser(page, width, scheme, tmp_path):
    path = tmp_path / "page.html"
    # Windows are at least 500 pixels wide; a frame is not.
    inner = html.escape(page.replace("</head>", PROBE))
    frame = f"<iframe srcdoc='{inner}' style='width:{width}px; height:900px; border:0'></iframe>"
    path.write_text(f"<!DOCTYPE html><body style='margin:0'>{frame}</body>", encoding="utf-8")
    command = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1500,900",
        f"--blink-settings=preferredColorScheme={0 if scheme == 'dark' else 1}",
        "--enable-logging=stderr", "--virtual-time-budget=3000", "--dump-dom", f"file://{path}",
    ]  # fmt: skip
    run = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert "CONSOLE" not in run.stderr
    seen = json.loads(html.unescape(re.search(r'<pre id="probe">(.*?)</pre>', run.stdout)[1]))
    assert seen["errors"] == []
    assert seen["scroll"] <= seen["width"] == width
    assert seen["dark"] == (scheme == "dark")
    assert seen["contrast"] >= 4.5
    assert seen["pictures"] == page.count("<svg")
    up = [float(v) for v in seen["up"]]
    assert up == sorted(up) and seen["down"] == seen["up"][::-1] and seen["sorted"] == "descending"


def test_every_file_that_is_no_code_is_part_of_the_wheel():
    root = Path(gudlearn.__file__).parent
    project = tomllib.loads((root.parent / "pyproject.toml").read_text(encoding="utf-8"))
    data = project["tool"]["setuptools"]["package-data"]
    folders = {root.parent / package.replace(".", "/"): names for package, names in data.items()}
    declared = {path for folder, names in folders.items() for n in names for path in folder.glob(n)}
    files = {path for path in root.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    assert {path for path in files if path.suffix != ".py"} == declared
