"""Check the built documentation, offline: links, anchors, search, pictures, accessibility.

Run ``make docs``, then ``python docs/development/check_site.py``. It needs nothing but Python, and
checks that every internal link and anchor resolves, that every page can be reached from the first
one, that the search knows what it should, that every example has a picture of its own, and that
there is no button for notebooks.

With ``--axe FOLDER`` pages are opened in a browser without a window and checked by axe-core, narrow
and wide, light and dark. It needs Node and Chromium, and in ``FOLDER`` two packages::

    npm install --prefix FOLDER axe-core puppeteer-core

The exit status is 1 if anything was found.
"""

import argparse
import json
import os
import posixpath
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

HERE = Path(__file__).parent
BUILT = HERE.parent / "_build" / "html"
# Pages that somebody looks for, as the search stems words.
TERMS = ("changelog", "categori", "cite", "imput", "outlier", "privaci", "quantil", "soft")
# Made by Sphinx for its own use.
UNLINKED = {"search.html", "genindex.html", "py-modindex.html"}
FOR_AXE = (
    "index.html", "getting_started.html", "guide.html", "tables.html", "user_guide.html",
    "coming_from.html", "faq.html", "benchmarks.html", "contract.html", "citation.html",
    "changelog.html", "api.html", "generated/gudlearn.GUDGenerator.html", "search.html",
    "auto_examples/index.html", "auto_examples/plot_mixed_table.html",
)  # fmt: skip


class Page(HTMLParser):
    """The anchors of a page, its links, and the sources of its images."""

    def __init__(self, text):
        super().__init__()
        self.anchors, self.links, self.images, self.without_alt = {"", "top"}, [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        """Take what a tag has; called by the parser."""
        found = dict(attributes)
        self.anchors |= {found[name] for name in ("id", "name") if found.get(name)}
        self.links += [found[name] for name in ("href", "src") if found.get(name)]
        if tag == "img":
            self.images.append(found.get("src") or "")
            if "alt" not in found:
                self.without_alt.append(found.get("src") or "")


def read(root):
    """Every page below a folder: a dict of `Page` by the page's path, relative to the folder."""
    return {
        path.relative_to(root).as_posix(): Page(path.read_text(encoding="utf-8"))
        for path in sorted(root.rglob("*.html"))
        if "_static" not in path.relative_to(root).parts
    }


def target(page, link):
    """Path, relative to the site's root, and anchor of an internal link; None for others."""
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return None
    file = unquote(parts.path) + ("index.html" if parts.path.endswith("/") else "")
    path = posixpath.normpath(posixpath.join(posixpath.dirname(page), file)) if file else page
    return path, unquote(parts.fragment)


def broken_links(root, pages):
    """Sentences on links whose file or anchor does not exist."""
    for page, content in pages.items():
        for link in dict.fromkeys(content.links):
            found = target(page, link)
            if found is None:
                continue
            path, anchor = found
            if not (root / path).is_file():
                yield f"{page} links to {link}, which does not exist."
            elif path in pages and anchor not in pages[path].anchors:
                yield f"{page} links to {link}, but {path} has no such anchor."


def unreachable(pages, start="index.html"):
    """Sentences on pages that no chain of links from the first page reaches."""
    reached, waiting = {start}, [start]
    while waiting:
        page = waiting.pop()
        for link in pages[page].links:
            path, _ = target(page, link) or (None, None)
            if path in pages and path not in reached:
                reached.add(path)
                waiting.append(path)
    for page in pages:
        if page not in reached | UNLINKED and not page.startswith("_modules/"):
            yield f"{page} cannot be reached from {start}."


def unknown_terms(root, terms=TERMS):
    """Sentences on words that the search does not know."""
    path = root / "searchindex.js"
    if not path.is_file():
        yield "There is no searchindex.js: the search finds nothing."
        return
    text = path.read_text(encoding="utf-8")
    index = json.loads(text[text.index("(") + 1 : text.rindex(")")])
    known = set(index["terms"]) | set(index["titleterms"])
    for term in terms:
        if term not in known:
            yield f"The search does not know {term!r}."


def poor_examples(pages, fewest=16):
    """Sentences on examples without a picture, and on buttons for notebooks."""
    gallery = pages.get("auto_examples/index.html")
    if gallery is None:
        yield "There is no gallery."
        return
    thumbs = [image for image in gallery.images if "_thumb" in image]
    if len(thumbs) < fewest:
        yield f"The gallery has {len(thumbs)} examples, fewer than {fewest}."
    for page, content in pages.items():
        if re.fullmatch(r"auto_examples/plot_\w+\.html", page):
            own = page.removeprefix("auto_examples/").removesuffix(".html")
            if not any(f"sphx_glr_{own}_" in image for image in content.images):
                yield f"{page} has no picture."
        for link in content.links:
            if re.search(r"\.ipynb$|mybinder|/lite/", link):
                yield f"{page} has a button for notebooks: {link}"


def without_alt(pages):
    """Sentences on images without a text for those who do not see them."""
    for page, content in pages.items():
        yield from (f"{page} has an image without alt: {source}" for source in content.without_alt)


def by_axe(root, folder, browser, names):
    """Sentences on what axe-core finds; the browser opens each page four times."""
    command = ["node", str(HERE / "axe.cjs"), browser, str(root), *names]
    environment = {**os.environ, "NODE_PATH": str(Path(folder).resolve() / "node_modules")}
    done = subprocess.run(command, env=environment, text=True, stdout=subprocess.PIPE, check=True)
    for line in done.stdout.splitlines():
        found = json.loads(line)
        where = f"{found['page']} ({found['width']} pixels, {found['scheme']})"
        yield f"{where}: {found['count']} times {found['rule']}, such as {found['first']}"


def main(argv=None):
    """Print what is wrong; the number of findings."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("site", nargs="?", type=Path, default=BUILT, help="folder of index.html")
    parser.add_argument("--axe", metavar="FOLDER", help="where npm has put axe-core")
    parser.add_argument("--pages", nargs="+", default=FOR_AXE, help="pages for axe-core")
    options = parser.parse_args(argv)
    if not (options.site / "index.html").is_file():
        parser.error(f"{options.site} has no index.html. Run `make docs` first.")
    pages = read(options.site)
    findings = [
        *broken_links(options.site, pages), *unreachable(pages), *unknown_terms(options.site),
        *poor_examples(pages), *without_alt(pages),
    ]  # fmt: skip
    if options.axe:
        browser = shutil.which("chromium") or shutil.which("google-chrome")
        if browser is None or shutil.which("node") is None:
            parser.error("--axe needs node and chromium on the path.")
        findings += by_axe(options.site, options.axe, browser, options.pages)
    print("\n".join(findings) or f"{len(pages)} pages: nothing found.")
    return int(bool(findings))


if __name__ == "__main__":
    sys.exit(main())
