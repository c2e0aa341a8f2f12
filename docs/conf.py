"""Sphinx configuration."""

import os
import warnings
from importlib.metadata import version as installed_version

# Read when the numerical libraries are imported. A second thread slows examples on a busy machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")

project = "gudlearn"
author = "The gudlearn developers"
copyright = "2026, The gudlearn developers"
release = version = installed_version("gudlearn")

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "numpydoc",
    "myst_parser",
    "sphinx_gallery.gen_gallery",
]
source_suffix = {".rst": "restructuredtext", ".md": "markdown"}
exclude_patterns = ["_build", "auto_examples/**/*.md5"]
templates_path = ["_templates"]

autosummary_generate = True
autodoc_typehints = "none"
# The template of classes lists the members.
numpydoc_show_class_members = False
myst_heading_anchors = 2

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"plot_",
    "abort_on_example_error": True,
    # Processes that run examples.
    "parallel": 2,
    "download_all_examples": False,
    # Scripts can be downloaded. Notebooks would need what they import, and nobody tests them.
    "notebook_extensions": set(),
    "write_computation_times": False,
    "show_memory": False,
    "within_subsection_order": "ExampleTitleSortKey",
    # No text such as <SampleGridDisplay object at 0x...> below a figure.
    "capture_repr": ("_repr_html_",),
}
suppress_warnings = ["config.cache"]

html_theme = "pydata_sphinx_theme"
html_title = "gudlearn"
html_static_path = ["_static"]
html_css_files = ["gudlearn.css"]
html_theme_options = {
    "show_prev_next": False,
    "navigation_with_keys": False,
    # The field that looks like a button has a name that is not its text.
    "navbar_persistent": ["search-button"],
    "header_links_before_dropdown": 6,
}
html_sidebars = {"index": [], "getting_started": [], "faq": []}

# Examples draw with Agg, which cannot show.
warnings.filterwarnings("ignore", message=".*non-interactive.*", category=UserWarning)


def skip_methods_of_others(app, what, name, obj, skip, options):
    """Leave out what classes inherit from scikit-learn, and its ``set_..._request`` methods."""
    module = getattr(getattr(obj, "fget", obj), "__module__", None) or ""
    request = name.startswith("set_") and name.endswith("_request")
    return skip or request or module.partition(".")[0] == "sklearn"


def only_rst_heads_a_gallery(app, config):
    """Keep folders with a ``README.md``, such as the benchmarks, out of the gallery."""
    config.sphinx_gallery_conf["source_suffix"] = {".rst": "restructuredtext"}


def name_corners_of_tables(app, page, template, context, doctree):
    """Make the empty corners of printed frames cells: a header must have a text."""
    if "body" in context:
        context["body"] = context["body"].replace("<th></th>", "<td></td>")


def setup(app):
    """Connect the hooks of this file."""
    # sphinx-gallery looks up the names that an example imports even if it does not run it, and
    # scikit-learn provides IterativeImputer only after this import.
    from sklearn.experimental import enable_iterative_imputer  # noqa: F401

    # After sphinx-gallery has filled in its defaults.
    app.connect("config-inited", only_rst_heads_a_gallery, priority=900)
    app.connect("autodoc-skip-member", skip_methods_of_others)
    app.connect("html-page-context", name_corners_of_tables)
