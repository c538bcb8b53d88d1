"""Sphinx's settings for the site. `make docs` builds it in build/site, without a network.

The source folder is the repository, so that pages link to README.md or csrc/shm/LAYOUT.md in the
same way on the site and in the repository. Sphinx reads only the files of `include_patterns`.
"""

import re
from importlib.metadata import version as installed

project = "shmring"
version = release = installed("shmring")
root_doc = "docs/index"
include_patterns = [
    "docs/**",
    "*.md",
    "api/*/*.md",
    "csrc/shm/LAYOUT.md",
    "workers/README.md",
]
exclude_patterns = ["docs/examples", "docs/pictures", ".*", "build"]

extensions = ["myst_parser", "sphinx.ext.autodoc"]
myst_heading_anchors = 4
default_role = "py:obj"
suppress_warnings = ["ref.python"]  # a name such as Channel stands in several rooms
highlight_language = "text"  # of blocks without a language, drawings mostly
autodoc_member_order = "bysource"
autodoc_preserve_defaults = False  # it reads the source, which lacks options that are passed on

html_theme = "furo"
html_title = f"shmring {version}"
html_extra_path = ["site"]  # index.html leads to docs/index.html
html_copy_source = False
html_show_copyright = False

_PARAMETER = re.compile(r"`{0,2}([\w*]+)`{0,2}: (\S.*)")


def as_list(_app, _what, _name, _object, _options, lines):
    """Make a list of the lines ``name: text`` of a docstring, and code of what is indented."""
    made, above = [], ""  # above: what the lines before are: "list", "code" or ""
    for line in lines:
        parameter = _PARAMETER.fullmatch(line)
        indented = line.startswith("    ")
        if parameter:
            made += [*([""] if above != "list" else []), f"* **{parameter[1]}**: {parameter[2]}"]
            above = "list"
        elif above == "list" and indented:
            made.append(line[2:])
        elif indented and above != "code" and made and not made[-1]:
            made += [".. code-block:: python", "", line]
            above = "code"
        else:
            made += [*([""] if above == "list" and line else []), line]
            above = above if indented or not line else ""
    lines[:] = made


def setup(app):
    app.connect("autodoc-process-docstring", as_list)
