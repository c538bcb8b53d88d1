"""Labels with their values, which wrap beside the labels."""

from __future__ import annotations

from collections.abc import Iterable

from rich.table import Table

from rtstat.screen import ink


def facts_table(rows: Iterable[tuple[str, str]]) -> Table:
    """Return a table of labels and values. Values may have markup."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, style=ink.DIM)
    table.add_column(style=ink.TEXT)
    for label, value in rows:
        table.add_row(label, value)
    return table
