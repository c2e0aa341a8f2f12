"""The demo: three parts, their pictures and one page."""

import re

import numpy as np
import pytest

import gudlearn.commands.demo as demo
from gudlearn import GUDImputer
from gudlearn.commands.main import main
from small import small


@pytest.mark.parametrize("seconds", ["0", "-1", "inf", "nan", "soon"])
def test_seconds_must_be_a_positive_number(seconds, capsys):
    assert main(["demo", "--seconds", seconds]) == 2
    assert "--seconds" in capsys.readouterr().err


def test_missing_packages_are_named(monkeypatch, capsys):
    monkeypatch.setattr(demo, "find_spec", lambda name: None)
    assert main(["demo"]) == 1
    assert "it needs matplotlib. Install with: pip install" in capsys.readouterr().err


def test_the_demo_tells_what_came_out_and_writes_a_page(tmp_path, monkeypatch, capsys):
    limits = []

    def generator(*, max_time, **parameters):
        limits.append(max_time)
        return small(**(parameters | {"max_iter": 1}))

    def imputer(random_state):
        return GUDImputer(small(max_iter=0), random_state=random_state)

    monkeypatch.setattr(demo, "GUDGenerator", generator)
    monkeypatch.setattr(demo, "GUDImputer", imputer)
    # Without jinja2 there is no report; it has tests of its own.
    monkeypatch.setattr(demo, "find_spec", lambda name: None if name == "jinja2" else object())
    folder = tmp_path / "new"
    assert main(["demo", "--output", str(folder), "--seconds", "8"]) == 0
    assert limits == [2.0, 4.0]
    printed = capsys.readouterr().out
    auc, alone = re.search(r"AUC of (\d\.\d\d) .* columns with (\d\.\d\d)", printed).groups()
    assert 0.3 < float(auc) < 1 and float(alone) > 0.6
    bits = float(re.search(r"take (\d\.\d\d) bits", printed)[1])
    assert 0 < bits < np.log2(17)
    # Means of columns have an error of one standard deviation, of which 1182 values are known.
    means = float(re.search(r"column means (\d\.\d\d)", printed)[1])
    assert means == pytest.approx(1.0, abs=0.1)
    assert float(re.search(r"IterativeImputer (\d\.\d\d)", printed)[1]) < means
    page = (folder / "index.html").read_text(encoding="utf-8")
    for name in ("table.png", "digits.png", "missing.png"):
        assert (folder / name).read_bytes().startswith(b"\x89PNG")
    assert page.count('src="data:image/png;base64,') == page.count(' alt="') == 3
    assert "http" not in page and "report.html" not in page
    assert page.count("<h2>") == 3 and str(folder / "index.html") in printed
