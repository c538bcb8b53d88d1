"""Writes the manual pages, from the same parsers as `--help`: ``make schema``.

python -m shmring_cli.manual FOLDER
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from shmring_cli.parsers import CommandLine, Option, children, command_lines

_WIDTH = "80"


def pages() -> dict[str, str]:
    """Return the manual pages by the names of their files."""
    os.environ["COLUMNS"] = _WIDTH  # argparse wraps to the terminal
    lines = command_lines()
    return {f"{'-'.join(line.words)}.1": _page(line, lines) for line in lines}


def _page(line: CommandLine, lines: list[CommandLine]) -> str:
    name = "-".join(line.words)
    below = children(lines, line)
    parts = [
        f'.TH {name.upper()} 1 "" shmring "shmring"',
        f".SH NAME\n{_escape(name)} \\- {_escape(line.help)}",
        f".SH SYNOPSIS\n.nf\n{_escape(_usage(line))}\n.fi",
        f".SH DESCRIPTION\n{_prose(line.parser.description or '')}",
        _section("OPTIONS", [_entry(_head(o), o.help) for o in line.options]),
        _section("COMMANDS", [_entry(child.words[-1], child.help) for child in below]),
        _prose(line.parser.epilog or ""),
        _section("SEE ALSO", [_see_also(line, lines)]),
    ]
    return "\n".join(part for part in parts if part) + "\n"


def _usage(line: CommandLine) -> str:
    return line.parser.format_usage().removeprefix("usage: ").rstrip()


def _head(option: Option) -> str:
    flags = ", ".join(option.flags)
    return " ".join(part for part in (flags, option.metavar) if part)


def _see_also(line: CommandLine, lines: list[CommandLine]) -> str:
    related = {other.words[:1] for other in lines} | {c.words for c in children(lines, line)}
    if len(line.words) > 2:
        related.add(line.words[:-1])
    names = sorted("-".join(words) for words in related - {line.words})
    return ", ".join(f"{_escape(name)}(1)" for name in names)


def _section(title: str, entries: list[str]) -> str:
    return "\n".join([f".SH {title}", *entries]) if any(entries) else ""


def _entry(head: str, text: str) -> str:
    return f".TP\n.B {_escape(head)}\n{_escape(' '.join(text.split()))}"


def _prose(text: str) -> str:
    """Blocks of help text. Indented lines stay as they are. `examples:` begins a section."""
    parts = []
    for block in text.strip("\n").split("\n\n"):
        lines = block.splitlines()
        if lines and lines[0].endswith(":") and not lines[0].startswith(" "):
            parts.append(f".SH {_escape(lines[0].rstrip(':').upper())}")
            lines = lines[1:]
        if lines:
            indented = any(line.startswith("  ") for line in lines)
            body = _escape("\n".join(lines))
            parts.append(f".PP\n.nf\n{body}\n.fi" if indented else f".PP\n{body}")
    return "\n".join(parts)


def _escape(text: str) -> str:
    """Text for roff: a hyphen of an option can be copied, and no line is a request."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return "\n".join(f"\\&{line}" if line[:1] in ".'" else line for line in escaped.splitlines())


def write(folder: Path) -> None:
    """Write the pages into `folder`, and remove those of commands that are gone."""
    folder.mkdir(parents=True, exist_ok=True)
    made = pages()
    for old in set(folder.glob("*.1")) - {folder / name for name in made}:
        old.unlink()
    for name, text in made.items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
