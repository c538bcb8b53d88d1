"""`rtstat --serve-web [HOST:]PORT`: a page for the browser, see `shmring help web`.

The page gets its readings by server-sent events: once a second the object of `rtstat --json`. All
browsers share a reading, and nothing is read while none is there. The same server has the pages
of `--serve-metrics`.
"""

from __future__ import annotations

import argparse
import json
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.resources import files
from urllib.parse import parse_qs

from rtstat import columns, metrics
from rtstat.export import facts
from rtstat.selection import Selection, namespace_of
from rtstat.serve import HTML, TEXT, Environ, Page, Reply, parse_address, serve
from rtstat.snapshot import Snapshot, Watch
from rtstat.views import ChannelView
from shmring_cli.common import FINE

INTERVAL_S = 1.0

_JSON = "application/json"
_COLUMNS = 8
"""How many of the channels' columns the page may have."""
_FILES = {
    "/": ("page.html", HTML, "the page for a browser"),
    "/page.css": ("page.css", "text/css; charset=utf-8", "its looks"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8", "its program"),
}


def run(arguments: argparse.Namespace) -> int:
    """Serve until it is told to end."""
    address = parse_address(arguments.serve_web)
    with ExitStack() as stack:
        namespace = namespace_of(arguments)
        # Each has its own watch, because an interval lasts from one reading of a watch to its next.
        collector = metrics.Collector(stack.enter_context(Watch(namespace)), Selection(arguments))
        watch = stack.enter_context(Watch(namespace))
        readings = Readings(watch, Selection(arguments))
        with readings.running():
            serve(address, pages(readings) | metrics.pages(collector), "page", "/", arguments.told)
    return FINE


def pages(readings: Readings) -> dict[str, Page]:
    """Return the files of the page, and what it asks for."""
    folder = files("rtstat.web")
    static = {
        path: _static(text, kind, (folder / name).read_bytes())
        for path, (name, kind, text) in _FILES.items()
    }
    shown = {
        "columns": [
            {"field": c.name, "head": c.head, "unit": c.unit}
            for c in columns.CHANNEL[:_COLUMNS]
            if c.field
        ],
        "charts": json.loads((folder / "charts.json").read_text("utf-8")),
    }
    return static | {
        "/shown.json": _static("its columns and charts", _JSON, json.dumps(shown).encode()),
        "/events": Page("readings, as server-sent events", lambda e: _events(readings, e)),
        "/lateness": Page("histograms of ?channel=NS/NAME", lambda e: _lateness(readings, e)),
    }


def _static(text: str, kind: str, content: bytes) -> Page:
    return Page(text, lambda environ: Reply(kind, content))


def _events(readings: Readings, environ: Environ) -> Reply:
    if environ["REQUEST_METHOD"] == "HEAD":
        return Reply("text/event-stream", b"")
    return Reply("text/event-stream", readings.join())


def _lateness(readings: Readings, environ: Environ) -> Reply:
    asked = parse_qs(environ.get("QUERY_STRING", "")).get("channel", [""])[0]
    namespace, _, name = asked.partition("/")
    found = readings.lateness(namespace, name)
    if found is None:
        return Reply(TEXT, b"there is no such channel\n", "404 Not Found")
    return Reply(_JSON, json.dumps(found, separators=(",", ":")).encode())


class Readings:
    """Reads once a second while a browser is there."""

    def __init__(self, watch: Watch, selection: Selection) -> None:
        """watch: used by these readings alone."""
        self._watch = watch
        self._selection = selection
        self._watch_lock = threading.Lock()
        self._shot: Snapshot | None = None
        self._changed = threading.Condition()  # guards what follows
        self._event = b""
        self._number = 0
        self._browsers = 0
        self._ended = False

    @contextmanager
    def running(self) -> Iterator[None]:
        """Read in a thread, until the context ends."""
        thread = threading.Thread(target=self._read_all)
        thread.start()
        try:
            yield
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()
            thread.join()

    def _read_all(self) -> None:
        due = time.monotonic()
        while self._wait_until(due):
            due = time.monotonic() + INTERVAL_S
            event = self._read()
            with self._changed:
                self._event = event
                self._number += 1
                self._changed.notify_all()

    def _wait_until(self, due: float) -> bool:
        """Wait for a browser and for the time. Return False at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended or self._browsers)
            while not self._ended and (left_s := due - time.monotonic()) > 0:
                self._changed.wait(left_s)
            return not self._ended

    def _read(self) -> bytes:
        with self._watch_lock:
            self._shot = shot = self._watch.read()
            found = facts(shot, self._selection)
        return b"data: " + json.dumps(found, separators=(",", ":")).encode() + b"\n\n"

    def lateness(self, namespace: str, name: str) -> dict[str, object] | None:
        """Return the histograms of the last reading, as [largest value of the bucket in ns, entries
        in it]: ``now`` of the interval, ``since`` of all. None: there is no such channel."""
        with self._watch_lock:
            channel = self._channel(namespace, name)
            if channel is None:
                return None
            return {
                "tolerance_ns": channel.facts.tolerance_ns,
                "now": channel.buckets("lateness", interval=True),
                "since": channel.buckets("lateness"),
            }

    def _channel(self, namespace: str, name: str) -> ChannelView | None:
        shot = self._shot
        if shot is None:
            return None
        shown = self._selection.channels(shot)
        return next((c for c in shown if c.key == (namespace, name)), None)

    # --- browsers -------------------------------------------------------------------------------

    def join(self) -> Browser:
        """Return a new browser, which gets every reading that it has time for."""
        with self._changed:
            self._browsers += 1
            self._changed.notify_all()
        return Browser(self)

    @property
    def browsers(self) -> int:
        """How many are there."""
        with self._changed:
            return self._browsers

    def leave(self) -> None:
        """Say that a browser is gone."""
        with self._changed:
            self._browsers -= 1

    def after(self, number: int) -> tuple[int, bytes]:
        """Wait for a reading after the one of this number. Return its number, and nothing at the
        end."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended or self._number > number)
            return self._number, b"" if self._ended else self._event


class Browser:
    """The readings for one browser. The server closes it when the browser is gone or too slow."""

    def __init__(self, readings: Readings) -> None:
        self._readings: Readings | None = readings
        self._number = 0

    def __iter__(self) -> Iterator[bytes]:
        """Return itself."""
        return self

    def __next__(self) -> bytes:
        """Wait for the next reading."""
        if self._readings is None:
            raise StopIteration
        self._number, event = self._readings.after(self._number)
        if not event:
            raise StopIteration
        return event

    def close(self) -> None:
        """Leave. More calls do nothing."""
        readings, self._readings = self._readings, None
        if readings is not None:
            readings.leave()
