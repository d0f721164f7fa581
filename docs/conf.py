"""Settings of Sphinx for `make docs`."""

import re
import tomllib
from pathlib import Path

from serve_app import __version__

PYPROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())
REPOSITORY = PYPROJECT["project"]["urls"]["Homepage"]

project = "serve-app"
author = "The serve-app authors"
copyright = f"2026, {author}"  # noqa: A001 Sphinx's name
version = release = __version__

extensions = ["myst_parser"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3  # the slugs that GitHub makes
exclude_patterns = ["scenarios", "examples"]
nitpicky = True

html_theme = "furo"
html_title = "serve-app"
html_static_path = ["_static"]


def _link_outside(app, docname, source):  # noqa: ARG001 Sphinx's interface
    """Point relative links that leave docs/ to the repository: the site has no such pages."""
    up = r"\.\./" * (docname.count("/") + 1)
    source[0] = re.sub(rf"\]\({up}(?=\w)", f"]({REPOSITORY}/blob/main/", source[0])


def setup(app):
    """Called by Sphinx."""
    app.connect("source-read", _link_outside)
