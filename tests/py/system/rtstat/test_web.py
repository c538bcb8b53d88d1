"""`rtstat --serve-web` as a process: its files, its events, and the page in a browser."""

from __future__ import annotations

import contextlib
import html.parser
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from contrast import contrast
from headless import Browser
from kit.commands import RTSTAT, run

from rtstat import web
from rtstat.snapshot import Watch

pytestmark = pytest.mark.check

PATIENCE_S = 60
FOLDER = Path(web.__file__).parent


@contextlib.contextmanager
def serving(*words: str) -> Iterator[str]:
    """A server that has said where it is. Yields its address."""
    process = subprocess.Popen(
        [*RTSTAT, "--serve-web", "0", *words], stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stderr is not None
        line = process.stderr.readline()
        assert line.startswith("page at http://127.0.0.1:"), line
        yield urlsplit(line.split()[-1]).netloc
        process.send_signal(signal.SIGTERM)
        _, rest = process.communicate(timeout=PATIENCE_S)
        assert (process.returncode, rest) == (0, "")
    finally:
        process.kill()
        process.communicate()


def fetch(address: str, path: str) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection(address, timeout=PATIENCE_S)
    with contextlib.closing(connection):
        connection.request("GET", path)
        reply = connection.getresponse()
        return reply, reply.read()


@contextlib.contextmanager
def listening(address: str) -> Iterator[http.client.HTTPResponse]:
    connection = http.client.HTTPConnection(address, timeout=PATIENCE_S)
    with contextlib.closing(connection):
        connection.request("GET", "/events")
        with connection.getresponse() as reply:
            yield reply


def event(reply: http.client.HTTPResponse) -> dict[str, Any]:
    line = reply.readline()
    assert line.startswith(b"data: "), line
    assert reply.readline() == b"\n"
    found = json.loads(line.removeprefix(b"data: "))
    assert isinstance(found, dict)
    return found


class Links(html.parser.HTMLParser):
    """What a page loads and names, and the ids of its elements."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.inline = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.links += [link for name in ("src", "href") if (link := found.get(name))]
        if name := found.get("id"):
            self.ids.add(name)
        without = tag == "script" and "src" not in found
        self.inline |= without or tag == "style" or "style" in found
        self.inline |= any(name.startswith("on") for name in found)


def test_the_page_loads_and_names_only_what_the_server_has(shmring_namespace: str) -> None:
    with serving() as address:
        reply, page = fetch(address, "/")
        found = Links(page.decode())
        assert reply.getheader("Content-Type") == "text/html; charset=utf-8"
        assert {"page.css", "page.js", "metrics", "healthz", "events"} == set(found.links)
        assert not found.inline
        for link in set(found.links) - {"events"}:
            assert fetch(address, f"/{link}")[0].status == 200, link
        reply, script = fetch(address, "/page.js")
    assert set(re.findall(r'\$\("([\w-]+)"\)', script.decode())) <= found.ids
    assert not re.search(rb"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(", script)


def test_an_event_is_the_object_of_rtstat_json(shmring_open: Any) -> None:
    shmring_open("ctl")
    with serving() as address, listening(address) as reply:
        assert reply.getheader("Content-Type") == "text/event-stream"
        first, second = event(reply), event(reply)
        shown = json.loads(fetch(address, "/shown.json")[1])
    wanted = json.loads(run(RTSTAT, "--json", code=None).stdout)
    assert set(second) == set(wanted)
    assert set(second["channels"][0]) == set(wanted["channels"][0])
    lines = [line for chart in shown["charts"] for line in chart["lines"]]
    limits = {chart["limit"] for chart in shown["charts"] if "limit" in chart}
    name, *columns = shown["columns"]
    assert name["field"] == "channel"
    fields = {part["field"] for part in (*columns, *lines)} | limits
    assert fields <= set(second["channels"][0])
    assert [channel["name"] for channel in second["channels"]] == ["ctl", "ctl-peer"]
    assert first["time_ns"] < second["time_ns"]
    assert second["channels"][0]["tx_pps"] is not None


def test_the_histogram_is_that_of_the_channel(
    shmring_open: Any, shmring_namespace: str, eventually: Callable[..., Any]
) -> None:
    here, _ = shmring_open("ctl")
    for _ in range(20):
        here.send(b"x", at=time.monotonic_ns() + 1_000_000)
    eventually(lambda: here.stats().tx_sent == 20)
    with serving() as address, listening(address) as reply:
        event(reply)
        answer, body = fetch(address, f"/lateness?channel={shmring_namespace}%2Fctl")
        assert answer.status == 200
        assert fetch(address, "/lateness?channel=no%2Fsuch")[0].status == 404
        assert fetch(address, "/lateness")[0].status == 404
    found = json.loads(body)
    assert found["tolerance_ns"] > 0
    assert sum(entries for _, entries in found["since"]) == 20
    assert found["since"] == [list(bucket) for bucket in here.stats().lateness.buckets()]


def test_browsers_share_a_reading(shmring_namespace: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "INTERVAL_S", 0.01)
    reads: list[int] = []
    with Watch(shmring_namespace) as watch:
        readings = web.Readings(watch, web.Selection(web.metrics._EVERYTHING))
        read = readings._read
        monkeypatch.setattr(readings, "_read", lambda: reads.append(1) or read())
        with readings.running():
            assert not reads
            one, two = readings.join(), readings.join()
            assert next(one) == next(two) or next(one)
            one.close()
            one.close()
            assert readings.browsers == 1
            assert list(one) == []
            two.close()
            time.sleep(0.05)
            before = len(reads)
            time.sleep(0.1)
            assert len(reads) <= before + 1
            last = readings.join()
        assert list(last) == []


def test_a_slow_browser_gets_the_newest_reading_and_holds_up_no_other(
    shmring_namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web, "INTERVAL_S", 0.01)
    with Watch(shmring_namespace) as watch:
        readings = web.Readings(watch, web.Selection(web.metrics._EVERYTHING))
        with readings.running():
            slow, quick = readings.join(), readings.join()
            first = json.loads(next(slow).removeprefix(b"data: "))
            for _ in range(5):
                last = json.loads(next(quick).removeprefix(b"data: "))
            newest = json.loads(next(slow).removeprefix(b"data: "))
            assert first["time_ns"] < last["time_ns"] <= newest["time_ns"]


def test_a_browser_that_takes_nothing_holds_up_no_other(shmring_open: Any) -> None:
    for i in range(4):
        shmring_open(f"ctl-{i}")
    with serving() as address, listening(address), listening(address) as reply:
        times = [event(reply)["time_ns"] for _ in range(3)]
    assert times == sorted(set(times))


def test_what_selects_channels_selects_them_here_too(shmring_open: Any) -> None:
    shmring_open("ctl")
    with serving("--channel", "other") as address, listening(address) as reply:
        namespace = os.environ["SHMRING_NAMESPACE"]
        assert event(reply)["channels"] == []
        assert fetch(address, f"/lateness?channel={namespace}%2Fctl")[0].status == 404


def test_without_prometheus_client_only_the_metrics_are_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    monkeypatch.setattr(web.metrics.importlib.util, "find_spec", lambda name: None)
    reply = web.metrics.pages(None)["/metrics"].answer({})  # type: ignore[arg-type]
    assert reply.status.startswith("501")
    assert b'pip install "shmring[metrics]"' in bytes(reply.body)  # type: ignore[arg-type]


# --- colours --------------------------------------------------------------------------------------


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_text_can_be_read(theme: int) -> None:
    css = (FOLDER / "page.css").read_text()
    colours = dict(re.findall(r"--(\w+): (#\w+)", re.findall(r":root \{(.*?)\}", css, re.S)[theme]))
    for name in ("ink", "dim", "first", "second", "alarm"):
        for ground in ("paper", "mark"):
            assert contrast(colours[name], colours[ground]) >= 4.5, (name, ground)
    for ground in ("ok", "troubled", "broken", "waiting"):
        assert contrast(colours["on"], colours[ground]) >= 4.5, ground


# --- in a browser ---------------------------------------------------------------------------------


@pytest.mark.program("chromium")
def test_a_browser_shows_the_troubles_and_a_channel_on_a_narrow_screen(
    shmring_open: Any, shmring_namespace: str, tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    here, _ = shmring_open("ctl")
    for _ in range(20):
        here.send(b"x", at=time.monotonic_ns() + 1_000_000)
    eventually(lambda: here.stats().tx_sent == 20)
    with (
        serving() as address,
        Browser(tmp_path, f"http://{address}/", width=390, height=900) as browser,
    ):
        browser.wait_for("document.querySelectorAll('#channels tr').length === 2")
        assert browser.value("document.querySelector('#channels button').textContent") == (
            f"{shmring_namespace}/ctl"
        )
        browser.value("document.querySelector('#channels button').click()")
        browser.wait_for("document.querySelectorAll('#histogram rect.since').length > 0")
        browser.wait_for("document.querySelectorAll('#rates path.tx').length === 1")
        assert browser.value("document.querySelectorAll('#histogram .limit').length") == 1
        verdict = browser.value("document.getElementById('word').textContent")
        assert verdict in ("ok", "troubled", "broken")
        assert browser.value("document.documentElement.scrollWidth") <= 390
        os.kill(here.stats().worker_pid, signal.SIGSTOP)
        try:
            browser.wait_for("document.getElementById('word').textContent === 'broken'")
            text = browser.value("document.getElementById('troubles').textContent")
        finally:
            os.kill(here.stats().worker_pid, signal.SIGCONT)
        assert "worker_stopped" in text
        assert "Fix: " in text


def reading(channels: list[dict[str, Any]], troubles: list[dict[str, str]]) -> str:
    """A program that shows a made-up reading."""
    facts = {"verdict": "troubled", "host": "line-3", "time_ns": 1, "troubles": troubles}
    shown = [{"namespace": "plant", "pool": "press", "state": "open", **ch} for ch in channels]
    return f"latest = {json.dumps(facts | {'channels': shown})}; remember(latest); show();"


def trouble(severity: str, name: str, subject: str) -> dict[str, str]:
    return {"severity": severity, "name": name, "subject": subject, "text": "", "fix": ""}


ROWS = "[...document.querySelectorAll('#channels tr')]"
NAMES = f"{ROWS}.map((row) => row.querySelector('button').textContent.slice('plant/'.length))"
CHANNELS = [
    {"name": "a", "late_share": 0.0, "lost_pps": 0.0, "lost": 8_000_000},
    {"name": "b", "late_share": None, "lost_pps": 7.0, "lost": 7, "tx_pps": 1.0, "rx_pps": 20.0},
    {"name": "c", "late_share": 0.5, "lost_pps": 0.25, "lost": 1, "tx_pps": 0.0, "rx_pps": 0.75},
    {"name": "d", "late_share": 0.01, "lost_pps": None, "worker_slot": 1},
]


@pytest.mark.program("chromium")
def test_rows_are_in_the_order_of_the_list_of_troubles_or_of_a_column(
    shmring_namespace: str, tmp_path: Path
) -> None:
    troubles = [
        trouble("broken", "worker_stopped", "plant/press:1"),
        trouble("troubled", "kernel_drops", "plant/c"),
        trouble("troubled", "late", "plant/b"),
        trouble("troubled", "late", "plant/c"),
    ]
    show = reading(CHANNELS, troubles)
    with (
        serving() as address,
        Browser(tmp_path, f"http://{address}/", width=390, height=900) as browser,
    ):
        browser.wait_for("typeof latest !== 'undefined' && latest !== null")

        def names(click: str = "") -> str:
            head = f"document.querySelector('th button[data-field={click}]').click();"
            return "".join(browser.value(f"{show} {head if click else ''} {NAMES}"))

        assert names() == "dcba"
        assert names("late_share") == "cdab"
        assert names("lost_pps") == "bcad"
        assert names("lost_pps") == "acbd"
        assert names() == "acbd"
        assert names("key") == "abcd"
        assert names("badness") == "dcba"
        cells = f"{show} {ROWS}.map((row) => row.cells[4].textContent)"
        assert browser.value(cells) == ["·", "0.25 (25 %)", "7 (25 %)", "0"]

        head = "document.querySelector('th button[data-field=late_share]')"
        for key, text, order in (("Enter", "\r", "descending"), (" ", " ", "ascending")):
            browser.value(f"{head}.focus()")
            browser.press(key, text)
            browser.wait_for(f"{head}.parentElement.getAttribute('aria-sort') === '{order}'")
            assert browser.value("document.activeElement.dataset.field") == "late_share"
        sorted_by = "document.querySelectorAll('th:not([aria-sort=none])').length"
        assert browser.value(sorted_by) == 1
        assert browser.value("document.documentElement.scrollWidth") <= 390


@pytest.mark.program("chromium")
def test_names_are_shown_as_text_and_never_run(shmring_namespace: str, tmp_path: Path) -> None:
    hostile = "<img src=x onerror=document.title='run'>"
    reading = {
        "verdict": "broken",
        "host": hostile,
        "time_ns": 1,
        "troubles": [
            {"name": hostile, "severity": "broken", "subject": hostile, "text": hostile, "fix": ""}
        ],
        "channels": [{"namespace": hostile, "name": hostile, "pool": hostile, "state": hostile}],
    }
    with (
        serving() as address,
        Browser(tmp_path, f"http://{address}/", width=800, height=900) as browser,
    ):
        browser.wait_for("typeof latest !== 'undefined' && latest !== null")
        script = f"latest = {json.dumps(reading)}; remember(latest); show()"
        found = browser.value(f"{script}; document.body.textContent")
        assert hostile in found
        assert browser.value("document.querySelectorAll('img').length") == 0


def test_a_port_in_use_is_named(shmring_namespace: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        run(RTSTAT, "--serve-web", str(taken.getsockname()[1]), code=2)
