"""A table that draws only the visible rows.

Textual's own `DataTable` keeps a cell for each value and measures each one that changes. With a
thousand channels per second this alone takes a third of a core. Here a row is an object of the
snapshot, a column writes it, and only visible cells are written.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Literal, TypeVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

Row = TypeVar("Row")

Mood = Literal["", "dim", "good", "warn", "bad"]

_GAP = 2
_MARGIN = 1
_MORE = 2
"""Columns of the mark at the end of the head that says that there are more."""


@dataclass(frozen=True, slots=True)
class Cell:
    """The text of a cell, and whether it is highlighted."""

    text: str
    mood: Mood = ""


@dataclass(frozen=True, slots=True)
class Column(Generic[Row]):
    """A column: its header, how it writes a row and by what it sorts."""

    name: str
    """Its name for filters, sorting and tests."""
    head: str
    write: Callable[[Row], Cell]
    value: Callable[[Row], Any]
    """The sort key. All values of a column can be compared."""
    width: int
    left: bool = False


class RowsTable(ScrollView, Generic[Row], can_focus=True):
    """Rows under a fixed header line, with one row marked. The mark follows the key of its row."""

    DEFAULT_CSS = """
    RowsTable { height: 1fr; overflow-x: hidden; scrollbar-size-vertical: 1; background: $surface; }
    RowsTable:focus { background-tint: $foreground 4%; }
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "rows--head",
        "rows--mark",
        "rows--mark-away",
        "rows--dim",
        "rows--good",
        "rows--warn",
        "rows--bad",
    }

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "turn(-1)", "columns to the left", show=False),
        Binding("right", "turn(1)", "columns to the right", show=False),
        Binding("up,k", "move(-1)", "up", show=False),
        Binding("down,j", "move(1)", "down", show=False),
        Binding("pageup", "page(-1)", "page up", show=False),
        Binding("pagedown", "page(1)", "page down", show=False),
        Binding("home,g", "end(-1)", "first", show=False),
        Binding("end,G", "end(1)", "last", show=False),
        Binding("enter", "open", "details"),
    ]

    class Opened(Message):
        """A row was selected by Enter, or by a click on the marked row."""

        def __init__(self, table: RowsTable[Any], key: Any) -> None:
            super().__init__()
            self.table = table
            self.key = key

        @property
        def control(self) -> RowsTable[Any]:
            return self.table

    class Marked(Message):
        """Another row was marked."""

        def __init__(self, table: RowsTable[Any]) -> None:
            super().__init__()
            self.table = table

        @property
        def control(self) -> RowsTable[Any]:
            return self.table

    class HeadClicked(Message):
        """The header of a column was clicked."""

        def __init__(self, table: RowsTable[Any], column: str) -> None:
            super().__init__()
            self.table = table
            self.column = column

        @property
        def control(self) -> RowsTable[Any]:
            return self.table

    def __init__(
        self,
        columns: Sequence[Column[Row]],
        key: Callable[[Row], Any],
        *,
        id: str | None = None,
    ) -> None:
        super().__init__(id=id)
        self.columns = list(columns)
        self.sorted_by: str | None = None
        self.descending = False
        self._key = key
        self._rows: Sequence[Row] = ()
        self._marked = 0
        self._chosen = False  # the user marked a row
        self._widths = [column.width for column in columns]
        self._first = 1

    # --- what it shows ------------------------------------------------------------------------

    def show(self, rows: Sequence[Row]) -> None:
        """Replace the rows. The mark follows the row that the user marked if that still exists.
        Before the user marks one, the mark is on the first row."""
        marked = self.marked_key if self._chosen else None
        self._rows = rows
        if marked is not None:
            here = min(self._marked, len(rows) - 1)
            if here < 0 or self._key(rows[here]) != marked:
                here = next((i for i, row in enumerate(rows) if self._key(row) == marked), here)
            self._marked = max(0, here)
        self._fit()
        self.refresh()

    def make_room(self, rows: int) -> None:
        """Set the height for this number of rows, with the header."""
        height = rows + 1
        if self.styles.height is None or self.styles.height.cells != height:
            self.styles.height = height

    def _fit(self) -> None:
        """Set the column widths: names get the width they need, numbers a fixed width."""
        for i, column in enumerate(self.columns):
            if column.left:
                longest = max((len(column.write(row).text) for row in self._rows), default=0)
                most = 2 * column.width
                if i == 0:
                    most = max(column.width, min(most, self._width // 4))
                self._widths[i] = max(column.width, min(longest, most))
        self.virtual_size = Size(1, len(self._rows) + 1)

    @property
    def _width(self) -> int:
        """Columns beside the scroll bar."""
        return int(self.scrollable_content_region.width)

    def on_resize(self) -> None:
        self._fit()

    def shown(self) -> list[int]:
        """Return the columns that are drawn: the first one always, and as many others as fit."""
        rest = range(self._first, len(self.columns))
        used = _MARGIN + self._widths[0] + sum(_GAP + self._widths[i] for i in rest)
        if used <= self._width:
            return [0, *rest]
        found, used = [0], _MARGIN + self._widths[0] + _MORE
        for i in rest:
            used += _GAP + self._widths[i]
            if used > self._width:
                break
            found.append(i)
        return found

    def sort_by(self, name: str | None) -> None:
        """Set the column by which the rows given to `show` are sorted. Numbers begin with the
        largest."""
        self.sorted_by = name
        column = next((column for column in self.columns if column.name == name), None)
        self.descending = column is not None and not column.left

    @property
    def rows(self) -> Sequence[Row]:
        """The rows in the order on the screen."""
        return self._rows

    @property
    def marked_row(self) -> Row | None:
        """The row under the mark."""
        return self._rows[self._marked] if self._marked < len(self._rows) else None

    @property
    def marked_key(self) -> Any:
        """The key of the marked row, or None without rows."""
        row = self.marked_row
        return None if row is None else self._key(row)

    # --- drawing ------------------------------------------------------------------------------

    def render_line(self, y: int) -> Strip:
        scroll_y = self.scroll_offset.y
        width = self._width
        if y == 0:
            strip = self._head()
        elif scroll_y + y - 1 < len(self._rows):
            strip = self._row(scroll_y + y - 1)
        else:
            strip = Strip.blank(width, self.rich_style)
        return strip.crop_extend(0, width, self.rich_style)

    def _head(self) -> Strip:
        style = self.get_component_rich_style("rows--head")
        texts = []
        shown = self.shown()
        for i in shown:
            column = self.columns[i]
            arrow = ("▼" if self.descending else "▲") if column.name == self.sorted_by else ""
            texts.append(_fitted(column.head + arrow, self._widths[i], column.left))
        line = " " * _MARGIN + (" " * _GAP).join(texts)
        if self._first > 1:
            before = _MARGIN + self._widths[0]
            line = f"{line[:before]}<{line[before + 1 :]}"
        line = line.ljust(self._width)
        if shown[-1] < len(self.columns) - 1:
            line = f"{line[: self._width - 1]}>"
        return Strip([Segment(line, style)])

    def _row(self, index: int) -> Strip:
        row = self._rows[index]
        under = self._line_style(index == self._marked)
        gap = Segment(" " * _GAP, under)
        segments = [Segment(" " * _MARGIN, under)]
        for i in self.shown():
            column = self.columns[i]
            cell = column.write(row)
            style = under
            if cell.mood:
                style = under + self._ink(cell.mood)
            segments += [Segment(_fitted(cell.text, self._widths[i], column.left), style), gap]
        rest = self._width - sum(segment.cell_length for segment in segments)
        return Strip([*segments, Segment(" " * max(0, rest), under)])

    def _line_style(self, marked: bool) -> Style:
        if not marked:
            return self.rich_style
        return self.get_component_rich_style("rows--mark" if self.has_focus else "rows--mark-away")

    def _ink(self, mood: str) -> Style:
        """Return the style of a mood over the given background."""
        style = self.get_component_rich_style(f"rows--{mood}")
        return Style(color=style.color, bold=style.bold, dim=style.dim)

    # --- moving -------------------------------------------------------------------------------

    def action_move(self, by: int) -> None:
        self._mark(self._marked + by)

    def action_page(self, by: int) -> None:
        self._mark(self._marked + by * max(1, self.size.height - 2))

    def action_end(self, which: int) -> None:
        self._mark(0 if which < 0 else len(self._rows) - 1)

    def action_turn(self, by: int) -> None:
        """Show later or earlier columns. The first column stays."""
        last = self.shown()[-1] == len(self.columns) - 1
        if by < 0 or not last:
            self._first = max(1, self._first + by)
            self.refresh()

    def action_open(self) -> None:
        if self.marked_row is not None:
            self.post_message(self.Opened(self, self.marked_key))

    def mark_first(self) -> None:
        """Mark the first row, also when another one becomes the first."""
        self._mark(0)
        self._chosen = False

    def _mark(self, index: int) -> None:
        self._chosen = True
        self._marked = max(0, min(index, len(self._rows) - 1))
        self.scroll_to_region(
            # The header line is above the marked one.
            Region(0, self._marked, 1, 2),
            animate=False,
            force=True,
        )
        self.post_message(self.Marked(self))
        self.refresh()

    def on_click(self, event: events.Click) -> None:
        if event.y == 0:
            column = self._column_at(event.x)
            if column is not None:
                self.post_message(self.HeadClicked(self, column))
            return
        index = self.scroll_offset.y + event.y - 1
        if index >= len(self._rows):
            return
        if index == self._marked:
            self.action_open()
        else:
            self._mark(index)

    def _column_at(self, x: int) -> str | None:
        start = _MARGIN
        for i in self.shown():
            if start <= x < start + self._widths[i] + _GAP:
                return self.columns[i].name
            start += self._widths[i] + _GAP
        return None


def _fitted(text: str, width: int, left: bool) -> str:
    if len(text) > width:
        return text[: width - 1] + "…"
    return text.ljust(width) if left else text.rjust(width)
