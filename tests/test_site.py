"""The first page's lines run, and the check of the documentation finds what is wrong."""

import importlib
import re
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_the_ten_lines_of_the_first_page_run(capsys):
    page = (ROOT / "docs" / "index.rst").read_text(encoding="utf-8")
    block = page.split(".. code-block:: python\n")[1]
    code = textwrap.dedent(re.match(r"(?:\n|    .*\n)+", block).group())
    assert len(code.strip().splitlines()) == 10
    # In full the fit takes twenty seconds.
    short = code.replace("random_state=0).fit", "max_iter=2, random_state=0).fit")
    assert short != code
    short = short.replace("000", "00")
    exec(compile(short, "docs/index.rst", "exec"), {})
    printed = capsys.readouterr().out
    assert "TwoSampleAUC: " in printed and "moon" in printed


@pytest.fixture
def check(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "docs" / "development")
    return importlib.import_module("check_site")


THUMB = '<img src="../_images/sphx_glr_plot_{0}_thumb.png" alt=""><a href="plot_{0}.html">{0}</a>'
OWN = '<img src="../_images/sphx_glr_plot_{0}_001.png" alt="">'


def site(folder, **other):
    """A site of a first page, a guide and a gallery of two examples, in which nothing is wrong."""
    pages = {
        "index": '<a href="guide.html#start">x</a><a href="auto_examples/">y</a><a href="#top">z'
                 '</a><a href="https://example.org/nowhere">out</a><a href="mailto:a@b.c">mail</a>',
        "guide": '<h1 id="start"></h1><img src="_images/a%20b.png" alt="A"><a href="#start">s</a>',
        "search": "<p>",
        "auto_examples/index": THUMB.format("a") + THUMB.format("b"),
        "auto_examples/plot_a": OWN.format("a"),
        "auto_examples/plot_b": OWN.format("b"),
        **other,
    }  # fmt: skip
    for name, text in pages.items():
        path = folder / f"{name}.html"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    (folder / "_images").mkdir(exist_ok=True)
    images = [f"sphx_glr_plot_{k}_{end}.png" for k in "ab" for end in ("thumb", "001")]
    for name in ("a b.png", *images):
        (folder / "_images" / name).touch()
    (folder / "searchindex.js").write_text(
        'Search.setIndex({"terms": {"soft": 0}, "titleterms": {"imput": [1]}})'
    )
    return folder


def test_nothing_is_found_where_nothing_is_wrong(check, tmp_path, monkeypatch, capsys):
    root = site(tmp_path)
    monkeypatch.setattr(check.unknown_terms, "__defaults__", (("soft", "imput"),))
    monkeypatch.setattr(check.poor_examples, "__defaults__", (2,))
    assert check.main([str(root)]) == 0
    assert capsys.readouterr().out == "6 pages: nothing found.\n"


@pytest.mark.parametrize(
    "page, text, finding",
    [
        ("guide", '<a href="gone.html">', "guide links to gone.html, which does not exist"),
        ("guide", '<a id="start" href="index.html#no">', "index.html has no such anchor"),
        ("guide", '<a id="start" href="#no">', "guide links to #no, but guide.html has no such"),
        ("guide", '<i id="start"></i><img src="no.png" alt="">', "links to no.png, which does not"),
        ("guide", '<i id="start"></i><img src="_images/a%20b.png">', "an image without alt: _im"),
        ("lonely", "<p>", "lonely cannot be reached from index.html"),
        ("auto_examples/plot_a", "<p>", "plot_a has no picture"),
        ("auto_examples/plot_a", OWN.format("b"), "plot_a has no picture"),
        ("auto_examples/plot_a", '<a href="plot_a.ipynb">', "a button for notebooks: plot_a.ipynb"),
        ("auto_examples/index", THUMB.format("a"), "has 1 examples, fewer than 2"),
    ],
    ids=lambda value: value if value and "<" not in value else "",
)
def test_each_kind_of_fault_is_found(check, tmp_path, page, text, finding):
    root = site(tmp_path, **{page: text})
    pages = check.read(root)
    found = [
        *check.broken_links(root, pages), *check.unreachable(pages),
        *check.poor_examples(pages, 2), *check.without_alt(pages),
    ]  # fmt: skip
    assert any(finding in sentence.replace(f"{page}.html", page, 1) for sentence in found), found


def test_words_that_the_search_must_know(check, tmp_path):
    root = site(tmp_path)
    assert list(check.unknown_terms(root, ("soft", "imput"))) == []
    assert list(check.unknown_terms(root, ("soft", "hard"))) == ["The search does not know 'hard'."]
    (root / "searchindex.js").unlink()
    assert "the search finds nothing" in next(check.unknown_terms(root))


def test_a_folder_without_a_site_is_refused(check, tmp_path, capsys):
    with pytest.raises(SystemExit):
        check.main([str(tmp_path)])
    assert "Run `make docs` first" in capsys.readouterr().err


def test_every_file_that_names_the_version_names_the_same():
    named = {
        name: re.search(pattern, (ROOT / name).read_text(encoding="utf-8"), re.M).group(1)
        for name, pattern in {
            "pyproject.toml": r'^version = "(.+)"$',
            "gudlearn/__init__.py": r'^__version__ = "(.+)"$',
            "CITATION.cff": r"^version: (.+)$",
            "CHANGELOG.md": r"^## (\d\S+) - \d{4}-\d\d-\d\d$",
            "docs/citation.rst": r"^ +version = \{(.+)\},$",
        }.items()
    }
    assert len(set(named.values())) == 1, named
