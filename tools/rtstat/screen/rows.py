"""Textual's table, with rows of `rtstat.columns`. The mark follows the key of its row.

A thousand channels change every second, so no cell is kept: Textual asks for the cells of a row
when it draws it, which it does for visible rows only. It draws all columns of a row, also those
beside the screen, at a quarter of a millisecond for each cell. So the table has only the columns
that fit, and the arrow keys choose others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Generic, TypeVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.coordinate import Coordinate
from textual.widgets import DataTable

from rtstat.columns import Column, Mood
from rtstat.screen import ink

Row = TypeVar("Row")
_STYLES = {
    **{"": "", "dim": ink.DIM, "good": ink.GOOD},
    **{"warn": f"bold {ink.WARN}", "bad": f"bold {ink.BAD}"},
}


class RowsTable(DataTable[Text], Generic[Row]):
    """Rows under a fixed header line, with one row marked, and the first column always there."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "turn(-1)", "columns to the left", show=False),
        Binding("right", "turn(1)", "columns to the right", show=False),
        Binding("up,k", "cursor_up", "up", show=False),
        Binding("down,j", "cursor_down", "down", show=False),
        Binding("pageup", "page_up", "page up", show=False),
        Binding("pagedown", "page_down", "page down", show=False),
        Binding("home,g", "scroll_top", "first", show=False),
        Binding("end,G", "scroll_bottom", "last", show=False),
        Binding("enter", "select_cursor", "details"),
    ]

    def __init__(
        self,
        columns: Sequence[Column],
        key: Callable[[Row], Any],
        cell: Callable[[Column, Row], tuple[str, Mood]],
        *,
        id: str,
    ) -> None:
        """cell: returns what a row has in a column."""
        super().__init__(id=id, cursor_type="row", cursor_foreground_priority="renderable")
        self.all_columns = columns
        self.rows_shown: Sequence[Row] = ()
        self.sorted_by: str | None = None
        self.descending = False
        self._key = key
        self._cell = cell
        self._first = 1
        self._drawn: list[tuple[Column, int, str]] = []
        self._left_at = 0  # where the mark was put, unless the user moved it
        self._chosen = False

    # --- rows ---------------------------------------------------------------------------------

    def get_row_at(self, row_index: int) -> list[Text]:
        """Return the cells of a row. Textual calls this for each row that it draws."""
        row = self.rows_shown[row_index]
        return [self._text(c, width, *self._cell(c, row)) for c, width, _ in self._drawn]

    def _text(self, column: Column, width: int, text: str, mood: Mood) -> Text:
        text = text if len(text) <= width else f"{text[: width - 1]}…"
        return Text(text, _STYLES[mood], justify="left" if column.left else "right")

    def show(self, rows: Sequence[Row]) -> None:
        """Replace the rows. The mark follows the row that the user marked if that still exists.
        Before the user marks one, the mark is on the first row."""
        self._chosen |= self.cursor_row != self._left_at
        marked, at = self.marked_key if self._chosen else None, 0
        if marked is not None:
            keys = [self._key(row) for row in rows]
            at = keys.index(marked) if marked in keys else min(self.cursor_row, len(rows) - 1)
        self.rows_shown = rows
        self._fit()
        if len(rows) < self.row_count:
            self._clear()
        while self.row_count < len(rows):
            self.add_row()
        if rows:
            self.update_cell_at(Coordinate(0, 0), Text())  # so that all are drawn again
        self._left_at = max(0, at)
        self.move_cursor(row=self._left_at, scroll=False)

    def _clear(self, columns: bool = False) -> None:
        """Remove all rows, and stay at the place to which the user scrolled."""
        y = self.scroll_y
        self.clear(columns=columns)
        self.scroll_y = y

    # --- columns ------------------------------------------------------------------------------

    def _fit(self) -> None:
        """Have the first column, and as many others as fit. Names get the width they need, numbers
        a fixed one."""
        room = self.scrollable_content_region.width
        drawn = [self._place(self.all_columns[0], max(14, room // 4))]
        for column in self.all_columns[self._first :]:
            placed = self._place(column, 2 * column.width)
            room_taken = sum(width + 2 for _, width, _ in (*drawn, placed))
            if room_taken > room:
                break
            drawn.append(placed)
        self._drawn = [
            (column, width, self._head(column, width, i, len(drawn)))
            for i, (column, width, _) in enumerate(drawn)
        ]
        heads = [(width, head) for _, width, head in self._drawn]
        if heads != [(column.width, str(column.label)) for column in self.ordered_columns]:
            self._clear(columns=True)
            for column, width, head in self._drawn:
                self.add_column(self._text(column, width, head, ""), width=width)

    def _place(self, column: Column, most: int) -> tuple[Column, int, str]:
        width = column.width
        if column.left:
            texts = (len(self._cell(column, row)[0]) for row in self.rows_shown)
            width = max(width, min(most, max(texts, default=0)))
        return column, width, ""

    def _head(self, column: Column, width: int, place: int, count: int) -> str:
        """Return the head, with the arrow of the order, and signs for more columns."""
        arrow = ("▼" if self.descending else "▲") if column.name == self.sorted_by else ""
        if place == 0 and self._first > 1:
            arrow += " <"
        elif place == count - 1 and self._first + count - 1 < len(self.all_columns):
            arrow += " >"
        return column.head[: width - len(arrow)] + arrow

    def action_turn(self, by: int) -> None:
        """Show later or earlier columns. The first column stays."""
        if by < 0 or len(self._drawn) + self._first - 1 < len(self.all_columns):
            self._first = max(1, self._first + by)
            self.show(self.rows_shown)

    def on_resize(self) -> None:
        """Have the columns that fit now."""
        self.show(self.rows_shown)

    def make_room(self, rows: int) -> None:
        """Set the height for this number of rows, with the header."""
        self.styles.height = rows + 1

    # --- sorting and marking ------------------------------------------------------------------

    def sort_by(self, name: str | None) -> None:
        """Set the column by which rows are sorted, numbers the largest first. None: as given."""
        self.sorted_by = name
        self.descending = any(c.name == name and not c.left for c in self.all_columns)

    def invert(self) -> None:
        """Reverse the order."""
        self.descending = not self.descending

    def ordered(self, rows: Sequence[Row]) -> Sequence[Row]:
        """Return the rows sorted."""
        by = next((column for column in self.all_columns if column.name == self.sorted_by), None)
        return rows if by is None else sorted(rows, key=by.key, reverse=self.descending)

    def named(self, index: int) -> str:
        """Return the name of a column on the screen."""
        return self._drawn[index][0].name

    @property
    def marked_row(self) -> Row | None:
        """The row under the mark."""
        at = self.cursor_row
        return self.rows_shown[at] if at < len(self.rows_shown) else None

    @property
    def marked_key(self) -> Any:
        """The key of the marked row, or None without rows."""
        row = self.marked_row
        return None if row is None else self._key(row)

    def mark_first(self) -> None:
        """Mark the first row, also when another one becomes the first."""
        self.move_cursor(row=0)
        self._left_at, self._chosen = 0, False

