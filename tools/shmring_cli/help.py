"""Show a page of the documentation, or list the pages.

The pages are installed with shmring, so they describe this version.

examples:
  shmring help                      the list
  shmring help permissions          one page
"""

from __future__ import annotations

import argparse
import importlib.resources
import pydoc
from pathlib import Path

from shmring_cli.common import FINE

FOLDERS = ("tutorials", "howto", "explanation", "moving", "reference")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "page", nargs="?", metavar="PAGE", choices=sorted(pages()), help="the page to show"
    )


def pages() -> dict[str, Path]:
    """The installed pages by name, in the order of the list."""
    folder = Path(str(importlib.resources.files("shmring_cli") / "pages"))
    return {page.stem: page for part in FOLDERS for page in sorted((folder / part).glob("*.md"))}


def title(page: Path) -> str:
    with page.open(encoding="utf-8") as lines:
        return next(lines).removeprefix("# ").strip()


def listing() -> str:
    lines, folder = [], ""
    for name, page in pages().items():
        if page.parent.name != folder:
            folder = page.parent.name
            lines.append(f"{folder}:")
        lines.append(f"  {name:<20} {title(page)}")
    return "\n".join(lines)


def run(arguments: argparse.Namespace) -> int:
    if arguments.page is None:
        print(listing())
        print("\nto begin: shmring help first-packet")
    else:
        pydoc.pager(pages()[arguments.page].read_text(encoding="utf-8"))
    return FINE
