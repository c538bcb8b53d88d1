"""The full screen, driven by Textual's own pilot over real pools and channels."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import re
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from contrast import contrast

import shmring

pytest.importorskip("textual")

from textual.css.query import NoMatches
from textual.screen import Screen

from rtstat.screen.acting import ActingScreen
from rtstat.screen.app import RtstatApp
from rtstat.screen.detail import ChannelScreen
from rtstat.screen.help import HelpScreen
from rtstat.screen.keys import KEYS, epilog
from rtstat.screen.overview import Overview
from rtstat.screen.rows import RowsTable
from rtstat.screen.text import TextScreen
from rtstat.selection import Selection, add_filters
from rtstat.snapshot import Watch

HERE = ("127.0.0.1", 0)
NOWHERE = ("127.0.0.1", 9)
PATIENCE_S = 20.0

Walk = Callable[[RtstatApp, Any], Awaitable[None]]


def drive(
    namespace: str, walk: Walk, *options: str, size: tuple[int, int] = (200, 50)
) -> RtstatApp:
    """Run the screen over a namespace while `walk` presses keys. Returns the app, ended."""
    parser = argparse.ArgumentParser()
    add_filters(parser)
    selection = Selection(parser.parse_args(options))

    async def run() -> RtstatApp:
        with Watch(namespace) as watch:
            app = RtstatApp(watch, selection, interval_s=0.2)
            async with app.run_test(size=size) as pilot:
                await walk(app, pilot)
            return app

    return asyncio.run(run())


async def until(pilot: Any, condition: Callable[[], Any]) -> None:
    """Wait for a condition. It is false while a widget that it asks for does not exist yet."""
    give_up = time.monotonic() + PATIENCE_S
    while True:
        with contextlib.suppress(NoMatches):
            if condition():
                return
        assert time.monotonic() < give_up, "it did not happen"
        await pilot.pause(0.02)


async def opened(app: RtstatApp, pilot: Any, kind: type[Screen[None]]) -> None:
    """Wait for a screen of this kind, with all its widgets."""
    await until(pilot, lambda: isinstance(app.screen, kind) and app.screen.is_mounted)


async def ready(app: RtstatApp, pilot: Any, channels: int) -> None:
    """The overview shows so many channels, and its table takes the keys."""
    await until(pilot, lambda: isinstance(app.screen, Overview) and table(app).has_focus)
    await until(pilot, lambda: len(rows(app)) == channels)


def table(app: RtstatApp, name: str = "channels") -> RowsTable[Any]:
    return app.query_one(f"#{name}", RowsTable)


def rows(app: RtstatApp) -> Any:
    return table(app).rows_shown


def names(app: RtstatApp) -> list[str]:
    return [channel.name for channel in rows(app)]


async def mark(app: RtstatApp, pilot: Any, name: str) -> None:
    """Mark a channel's row. Rows move when their severity changes, also between two keys."""
    give_up = time.monotonic() + PATIENCE_S
    while table(app).marked_row.name != name:
        assert time.monotonic() < give_up, "it was not marked"
        await pilot.press("home", *["down"] * names(app).index(name))
        await pilot.pause(0.02)


def text_of(widget: Any) -> str:
    """What a widget has drawn, as lines of text."""
    return "\n".join(
        "".join(segment.text for segment in widget.render_line(y))
        for y in range(widget.size.height)
    )


@pytest.fixture
def three(shmring_pool):
    channels = [
        shmring_pool.open(name, shmring.Udp(direction="duplex"), local=HERE, remote=NOWHERE)
        for name in ("axis-1", "axis-2", "camera")
    ]
    yield channels
    for channel in channels:
        channel.close()


def late(channel: Any, packets: int = 5) -> None:
    """Send packets that come too late for their deadline."""
    for _ in range(packets):
        channel.send(b"late", at=time.monotonic_ns() - 5_000_000)
    channel.flush(timeout=PATIENCE_S)


def test_the_overview_shows_workers_and_channels(shmring_namespace, shmring_pool, three):
    late(three[1])

    async def walk(app, pilot):
        await ready(app, pilot, 3)
        await until(pilot, lambda: ("axis-2", 5) in [(c.name, c.late) for c in rows(app)])
        drawn = text_of(table(app)).splitlines()
        assert drawn[0].split()[:4] == ["channel", "state", "late", "%"]
        cells = {line[3:].split()[0]: line.split() for line in drawn[1:4]}
        assert set(cells) == {"axis-1", "axis-2", "camera"}
        assert all("open" in words for words in cells.values())
        # The table gets its height at the next refresh after its rows.
        await until(pilot, lambda: table(app, "workers").size.height > 1)
        workers = text_of(table(app, "workers")).splitlines()
        assert workers[0].split()[:3] == ["worker", "state", "beat"]
        assert str(shmring_pool.workers()[0].pid) in workers[1]

    drive(shmring_namespace, walk)


@pytest.mark.check
def test_sorting_by_keys_and_by_a_click_on_the_head(shmring_namespace, three):
    late(three[2])

    async def walk(app, pilot):
        await ready(app, pilot, 3)
        columns = [None, *(column.name for column in table(app).all_columns)]
        await pilot.press(*"s" * columns.index("late"))
        await until(pilot, lambda: table(app).sorted_by == "late")
        await until(pilot, lambda: names(app)[0] == "camera")
        await pilot.press("i")
        await until(pilot, lambda: names(app)[-1] == "camera")
        await pilot.click("#channels", offset=(2, 0))
        await until(pilot, lambda: table(app).sorted_by == "channel")
        await until(pilot, lambda: names(app) == ["axis-1", "axis-2", "camera"])
        await pilot.click("#channels", offset=(2, 0))
        await until(pilot, lambda: names(app) == ["camera", "axis-2", "axis-1"])
        await pilot.press("S")
        await until(pilot, lambda: table(app).sorted_by is None)
        for key, name in (
            *(("1", "late_share"), ("2", "lateness_interval_p99_ns"), ("3", "lost_pps")),
            ("0", None),
        ):
            await pilot.press(key)
            await until(pilot, lambda name=name: table(app).sorted_by == name)

    drive(shmring_namespace, walk)


@pytest.mark.check
def test_the_filter(shmring_namespace, three):
    async def walk(app, pilot):
        await ready(app, pilot, 3)
        field = app.query_one("#filter")
        await pilot.press("slash")
        await until(pilot, lambda: field.has_focus)
        await pilot.press(*"axis", "enter")
        await until(pilot, lambda: names(app) == ["axis-1", "axis-2"] and table(app).has_focus)
        await pilot.press("slash")
        await until(pilot, lambda: field.has_focus)
        await pilot.press("space", *"!axis-2", "enter")
        await until(pilot, lambda: names(app) == ["axis-1"] and table(app).has_focus)
        await pilot.press("escape")
        await until(pilot, lambda: len(names(app)) == 3)

    drive(shmring_namespace, walk)


@pytest.mark.check
def test_what_was_asked_for_on_the_command_line(shmring_namespace, three):
    drive(shmring_namespace, _only_the_camera, "--channel", "cam*")
    app = drive(shmring_namespace, _leave, "--channel", "no-such-*")
    assert app.return_value == 2


async def _only_the_camera(app, pilot):
    await until(pilot, lambda: names(app) == ["camera"])


async def _leave(app, pilot):
    await until(pilot, lambda: app.shot is not None and table(app).size.height)
    await pilot.press("q")


@pytest.mark.check
def test_the_mark_stays_with_its_channel(shmring_namespace, shmring_pool, three):
    async def walk(app, pilot):
        await ready(app, pilot, 3)
        await pilot.press("down", "down")
        await until(pilot, lambda: table(app).marked_row.name == "camera")
        with shmring_pool.open("ahead", local=HERE, remote=NOWHERE):
            await ready(app, pilot, 4)
            assert names(app)[0] == "ahead"
            await until(pilot, lambda: table(app).marked_row.name == "camera")
        await ready(app, pilot, 3)
        await until(pilot, lambda: table(app).marked_row.name == "camera")
        await pilot.press("home")
        await until(pilot, lambda: table(app).marked_row.name == "axis-1")
        await pilot.press("end")
        await until(pilot, lambda: table(app).marked_row.name == "camera")

    drive(shmring_namespace, walk)


@pytest.mark.check
def test_enter_opens_the_worst_channel(shmring_namespace, three):
    """Until another row is marked, and again after the key for the worst first."""

    def is_first(app):
        late(three[2])
        return names(app)[0] == "camera"

    async def walk(app, pilot):
        await ready(app, pilot, 3)
        assert table(app).marked_row.name == "axis-1"
        await until(pilot, lambda: is_first(app))
        await pilot.press("enter")
        await opened(app, pilot, ChannelScreen)
        assert app.screen.key == (shmring_namespace, "camera")
        await pilot.press("escape")
        await ready(app, pilot, 3)
        await mark(app, pilot, "axis-2")
        await pilot.press("0")
        await until(pilot, lambda: table(app).marked_row.name == names(app)[0])

    drive(shmring_namespace, walk)


@pytest.mark.check
def test_the_screen_of_an_empty_namespace_says_so(shmring_namespace):
    async def walk(app, pilot):
        await ready(app, pilot, 0)
        title = app.query_one("#title")
        await until(pilot, lambda: "NOTHING TO JUDGE: no pool and no channel" in text_of(title))
        assert "OK" not in text_of(title)

    drive(shmring_namespace, walk)


@pytest.mark.check
def test_many_channels_scroll(shmring_namespace, shmring_pool):
    many = [
        shmring_pool.open(
            f"many-{i:02}",
            shmring.Udp(tx=shmring.Queue(16, 64)),
            local=HERE,
            remote=NOWHERE,
        )
        for i in range(40)
    ]

    async def walk(app, pilot):
        await ready(app, pilot, 40)
        assert "many-00" in text_of(table(app))
        assert "many-39" not in text_of(table(app))
        await pilot.press("end")
        await until(pilot, lambda: "many-39" in text_of(table(app)))
        assert text_of(table(app)).splitlines()[0].split()[0] == "channel"
        await pilot.press("pageup", "pageup", "pageup", "pageup", "pageup")
        await until(pilot, lambda: "many-00" in text_of(table(app)))

    drive(shmring_namespace, walk, size=(120, 20))
    for channel in many:
        channel.close()


def test_the_details_of_a_channel(shmring_namespace, three):
    late(three[0], 7)

    async def walk(app, pilot):
        await ready(app, pilot, 3)
        await pilot.press("enter")
        await opened(app, pilot, ChannelScreen)
        screen = app.screen
        await until(pilot, lambda: "axis-1" in text_of(screen.query_one("#facts")))
        facts = text_of(screen.query_one("#facts"))
        assert "127.0.0.1:9" in facts
        packets = text_of(screen.query_one("#verdicts"))
        assert "enqueued late" in packets
        # On a busy machine the worker may be the greater cause of a packet that came too late.
        causes = "enqueued late|woke late|send slow|queued behind|producer halted"
        counts = re.findall(rf"^(?:{causes}) +(\d+)", packets, re.M)
        assert sum(map(int, counts)) == 7, packets
        drawn = text_of(screen.query_one("#histogram"))
        assert "5.00 ms to 10.0 ms" in drawn or "10.0 ms to" in drawn
        assert "p99.9" in drawn
        box = screen.query_one("#histogram")
        await pilot.press("t")
        await until(pilot, lambda: "last interval" in str(box.border_title))
        await pilot.press("t", "n")
        await until(pilot, lambda: str(box.border_title).endswith(", all"))
        await until(pilot, lambda: not str(box.border_title).startswith("start of sending"))
        await until(pilot, lambda: "now" in text_of(screen.query_one("#spark-p99")))
        await pilot.press("escape")
        await opened(app, pilot, Overview)

    drive(shmring_namespace, walk)


@pytest.mark.check
def test_a_process_may_have_any_name(shmring_namespace, shmring_pool):
    """Its name is no markup, and moves no cursor."""
    comm = Path(f"/proc/{os.getpid()}/comm")
    mine = comm.read_text().strip()  # a line end would become a part of the name
    shmring_pool.open("named", local=HERE, remote=NOWHERE)
    comm.write_text("[/]\x1b[2J\n")

    async def walk(app, pilot):
        await ready(app, pilot, 1)
        await pilot.press("enter")
        await opened(app, pilot, ChannelScreen)
        facts = app.screen.query_one("#facts")
        await until(
            pilot, lambda: f"{os.getpid()} ([/]\N{REPLACEMENT CHARACTER}[2J" in text_of(facts)
        )

    try:
        drive(shmring_namespace, walk)
    finally:
        comm.write_text(mine)


@pytest.mark.check
def test_details_outlive_their_channel(shmring_namespace, shmring_pool):
    channel = shmring_pool.open("short", local=HERE, remote=NOWHERE)

    async def walk(app, pilot):
        await ready(app, pilot, 1)
        await pilot.press("enter")
        await opened(app, pilot, ChannelScreen)
        channel.close()
        await until(pilot, lambda: "is gone" in text_of(app.screen.query_one("#trouble")))

    drive(shmring_namespace, walk)


@pytest.mark.check
def test_pause_and_go_on(shmring_namespace, three):
    async def walk(app, pilot):
        await ready(app, pilot, 3)
        await pilot.press("p")
        await until(pilot, lambda: "PAUSED" in text_of(app.query_one("#title")))
        shot = app.shot
        await pilot.pause(0.7)
        assert app.shot is shot
        await pilot.press("space")
        await until(pilot, lambda: app.shot is not shot)

    drive(shmring_namespace, walk)


@pytest.mark.check
def test_reset_counts_anew_in_this_view_only(shmring_namespace, three):
    late(three[0], 9)

    async def walk(app, pilot):
        def counted():
            return [channel.late for channel in rows(app) if channel.name == "axis-1"]

        await until(pilot, lambda: len(rows(app)) == 3 and counted() == [9])
        await pilot.press("r")
        await until(pilot, lambda: counted() == [0])
        await until(pilot, lambda: "counting since" in text_of(app.query_one("#title")))
        late(three[0], 2)
        await until(pilot, lambda: counted() == [2])

    drive(shmring_namespace, walk)
    assert three[0].stats().tx_late == 11


@pytest.mark.check
def test_help_and_leaving(shmring_namespace, three):
    async def walk(app, pilot):
        await ready(app, pilot, 3)
        await pilot.press("question_mark")
        await opened(app, pilot, HelpScreen)
        await pilot.press("escape")
        await opened(app, pilot, Overview)
        await pilot.press("q")

    assert drive(shmring_namespace, walk).return_value == 0


def test_the_table_of_keys_has_every_key():
    shown = {"slash": "/", "question_mark": "?", "plus": "+", "minus": "-"}
    bindings = (RtstatApp, Overview, ChannelScreen, RowsTable)
    pressed = {
        shown.get(name, name)
        for screen in bindings
        for binding in screen.BINDINGS
        for name in binding.key.split(",")
    }
    told = {name for key in KEYS for name in key.names}
    moving = next(key for key in KEYS if "up" in key.names).meaning
    also = {name.strip("()") for name in re.split(r"[ ,]+", moving)}
    assert pressed - told - also == {"ctrl+c", "backspace"}
    assert told <= pressed
    assert max(map(len, epilog().splitlines())) <= 80


@pytest.mark.check
def test_every_engine_has_its_part(shmring_namespace, shmring_pool):
    there = shmring_pool.open("phone", shmring.Rtp(codec="pcmu"), local=HERE)
    here = shmring_pool.open("caller", shmring.Rtp(codec="pcmu"), local=HERE, remote=there.local)
    link = shmring_pool.open(
        "plc",
        shmring.Netflux(send=8, receive=8, cycle_ns=10_000_000),
        local=HERE,
        remote=NOWHERE,
    )
    for _ in range(5):
        here.send(bytes(160))

    async def walk(app, pilot):
        await ready(app, pilot, 3)
        for name, words in (
            ("phone", ("jitter", "target", "delivered")),
            ("plc", ("cycle", "10.0 ms", "alive")),
        ):
            await until(pilot, lambda: table(app).has_focus)
            await mark(app, pilot, name)
            await pilot.press("enter")
            await opened(app, pilot, ChannelScreen)
            part = app.screen.query_one("#part")
            await until(pilot, lambda part=part: part.size.height > 3)
            drawn = text_of(part)
            for word in words:
                assert word in drawn
            await pilot.press("escape")
            await opened(app, pilot, Overview)

    drive(shmring_namespace, walk)
    for channel in (here, there, link):
        channel.close()


@pytest.mark.check
def test_distinct_errors(shmring_namespace, shmring_pool):
    # A broadcast that the socket was not allowed fails.
    with (
        shmring_pool.open("good", local=HERE, remote=NOWHERE),
        shmring_pool.open("big", local=HERE, remote=NOWHERE) as bad,
    ):
        bad.send(b"x", to=("255.255.255.255", 9))
        bad.flush(timeout=PATIENCE_S)

        async def walk(app, pilot):
            await ready(app, pilot, 2)
            await pilot.press("e")
            await opened(app, pilot, TextScreen)
            shown = app.screen.query_one("#text")
            await until(pilot, lambda: "big" in text_of(shown))
            await pilot.press("e", "escape")
            await opened(app, pilot, Overview)
            await pilot.press("end")
            await until(pilot, lambda: table(app).marked_row.name == "good")
            await pilot.press("enter")
            await opened(app, pilot, ChannelScreen)
            await pilot.press("e")
            await opened(app, pilot, TextScreen)
            await until(pilot, lambda: "no errors" in text_of(app.screen.query_one("#text")))

        drive(shmring_namespace, walk)


@pytest.mark.check
def test_why_and_the_flight_recorder(shmring_namespace, three):
    late(three[0])

    async def walk(app, pilot):
        await ready(app, pilot, 3)
        await pilot.press("home", "enter")
        await opened(app, pilot, ChannelScreen)
        await pilot.press("w")
        await opened(app, pilot, TextScreen)
        await until(pilot, lambda: "5 of 5" in text_of(app.screen.query_one("#text")))
        assert "enqueued_late" in text_of(app.screen.query_one("#text"))
        await pilot.press("escape", "escape")
        await opened(app, pilot, Overview)
        await pilot.press("tab", "enter")
        await opened(app, pilot, TextScreen)
        await until(pilot, lambda: "axis-1" in text_of(app.screen.query_one("#text")))

    drive(shmring_namespace, walk)


@pytest.mark.check
@pytest.mark.parametrize("size", [(80, 24), (40, 10), (200, 50)])
def test_the_columns_fit_the_width_and_the_name_stays(shmring_namespace, shmring_pool, three, size):
    async def walk(app, pilot):
        await ready(app, pilot, 3)
        workers, channels = table(app, "workers"), table(app)
        await until(pilot, lambda: workers.size.height == 2)
        assert not workers.show_horizontal_scrollbar
        assert "state" in text_of(channels).splitlines()[0]
        if size[0] == 80:
            head = text_of(channels).splitlines()[0]
            for word in ("channel", "state", "late %", "p99", "lost/s", "lag", "tx/s", "rx/s"):
                assert word in head
        await pilot.press(*["right"] * len(channels.all_columns))
        await until(pilot, lambda: text_of(channels).splitlines()[0].split()[-1] == "all")
        lines = text_of(channels).splitlines()
        assert "axis-1" in "".join(lines)
        assert all(len(line) <= size[0] for line in lines)
        await pilot.resize_terminal(200, 50)
        await until(pilot, lambda: workers.size.height == 2)

    drive(shmring_namespace, walk, size=size)


@pytest.mark.check
def test_the_rest_of_the_screen_shows_the_marked_channel_or_events(
    shmring_namespace, shmring_pool, three
):
    async def walk(app, pilot):
        await ready(app, pilot, 3)
        below = app.query_one("#below")
        await until(pilot, lambda: f"/{table(app).marked_row.name}  udp" in text_of(below))
        assert str(os.getpid()) in text_of(below)
        await pilot.press("v")
        await until(pilot, lambda: "latest events" in text_of(below))
        with shmring_pool.open("ahead", local=HERE, remote=NOWHERE):
            await until(pilot, lambda: "/ahead is new" in text_of(below))
        await until(pilot, lambda: "/ahead is gone" in text_of(below).splitlines()[1])

    drive(shmring_namespace, walk)


@pytest.mark.check
def test_marks_and_arrows_of_the_tables(shmring_namespace, three):
    """The marks are below those of the list of troubles, and arrows say where there is more."""

    def is_marked(app):
        late(three[0])
        return "!  axis-1" in text_of(table(app))

    async def walk(app, pilot):
        await ready(app, pilot, 3)
        await until(pilot, lambda: is_marked(app))
        # The list gets its height at the next refresh.
        await until(pilot, lambda: "!  axis-1" in text_of(app.query_one("#trouble")))
        for part in (table(app), app.query_one("#trouble")):
            (line,) = [one for one in text_of(part).splitlines() if "!  axis-1" in one]
            assert part.content_region.x + line.index("!") == 1
        head = text_of(table(app)).splitlines()[0]
        assert head.rstrip().endswith(" >")
        assert "<" not in head
        await pilot.press("right")
        await until(pilot, lambda: " < " in text_of(table(app)).splitlines()[0])
        await pilot.press(*["right"] * len(table(app).all_columns))
        await until(pilot, lambda: ">" not in text_of(table(app)).splitlines()[0])

    drive(shmring_namespace, walk, size=(80, 24))


@pytest.mark.check
def test_scroll_bars_have_enough_contrast(shmring_namespace, three):
    async def walk(app, pilot):
        await ready(app, pilot, 3)
        for key in ("question_mark", "escape", "enter"):
            await pilot.press(key)
            for widget in app.screen.walk_children():
                of = widget.styles
                for bar, ground in (
                    (of.scrollbar_color, of.scrollbar_background),
                    (of.scrollbar_color_hover, of.scrollbar_background_hover),
                    (of.scrollbar_color_active, of.scrollbar_background_active),
                ):
                    assert ratio_of(bar.rich_color, ground.rich_color) >= 4.5, widget

    drive(shmring_namespace, walk)


def ratio_of(one: Any, other: Any) -> float:
    return contrast(one.get_truecolor(), other.get_truecolor())


def faint(app: RtstatApp) -> list[tuple[str, float]]:
    """Words on the screen whose contrast is below 4.5."""
    found = []
    for strip in app.screen._compositor.render_strips():
        for text, style, _ in strip:
            if style is None or not any(char.isalnum() for char in text):
                continue
            assert style.color is not None, text
            assert style.bgcolor is not None, text
            ratio = ratio_of(style.color, style.bgcolor)
            if ratio < 4.5:
                found.append((text, ratio))
    return found


@pytest.mark.check
def test_every_word_has_enough_contrast(shmring_namespace, three):
    late(three[0])

    async def walk(app, pilot):
        await ready(app, pilot, 3)
        await pilot.pause(0.5)
        assert faint(app) == []
        await pilot.press("question_mark")
        await opened(app, pilot, HelpScreen)
        assert faint(app) == []
        await pilot.press("escape", "enter")
        await opened(app, pilot, ChannelScreen)
        await until(pilot, lambda: "axis" in text_of(app.screen.query_one("#facts")))
        assert faint(app) == []

    drive(shmring_namespace, walk)


@pytest.mark.check
def test_acting_asks_first(shmring_namespace, shmring_pool):
    channel = shmring_pool.open("ctl", local=HERE, remote=NOWHERE)
    channel.send(b"x", at=channel.now_ns() + 3600 * 10**9)

    def said(app, name="answer"):
        screen = app.screen
        return isinstance(screen, ActingScreen) and str(screen.query_one(f"#{name}").content)

    async def walk(app, pilot):
        await ready(app, pilot, 1)
        await pilot.press("E")
        await until(pilot, lambda: "End" in (said(app, "question") or ""))
        await pilot.press("n")
        await opened(app, pilot, Overview)
        await pilot.press("enter")
        await opened(app, pilot, ChannelScreen)
        await until(pilot, lambda: "127.0.0.1:9" in text_of(app.screen.query_one("#facts")))
        await pilot.press("H")
        await until(pilot, lambda: "Hold" in (said(app, "question") or ""))
        await pilot.press("n")
        await opened(app, pilot, ChannelScreen)
        assert channel.state is shmring.State.OPEN
        for key, word in (("H", "held"), ("P", "purged"), ("H", "released"), ("E", "ended")):
            await pilot.press(key)
            await opened(app, pilot, ActingScreen)
            await pilot.press("y")
            await until(pilot, lambda word=word: word in (said(app) or ""))
            await pilot.press("enter")
            await opened(app, pilot, ChannelScreen)
            app.read()
        assert shmring.channels(shmring_namespace) == []

    drive(shmring_namespace, walk)


def test_it_ends_when_another_thread_says_so(shmring_namespace: str) -> None:
    """The signals of a process arrive in a thread."""

    async def walk(app: RtstatApp, pilot: Any) -> None:
        thread = threading.Thread(target=app.leave)
        thread.start()
        await until(pilot, lambda: not app.is_running or app.return_value is not None)
        thread.join()

    assert drive(shmring_namespace, walk).return_value is not None
