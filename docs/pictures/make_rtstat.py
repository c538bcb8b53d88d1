"""Draws docs/pictures/rtstat-*.svg: the full screen of rtstat over a small plant.

    python docs/pictures/make_rtstat.py

Opens a pool in a namespace of its own: two axes at 1 kHz, one of which is now and then too late, a
phone call, a Netflux link to a controller, and a UDT connection that moves data. A third picture
shows the scene of the tests in which everything goes wrong, on 80 columns.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import re
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

os.environ["SHMRING_NAMESPACE"] = "plant"
sys.path.append(str(Path(__file__).parents[2] / "tests/py/models"))

from rtstat_scene import Scene

import shmring
from rtstat.screen.app import RtstatApp
from rtstat.selection import Selection, add_filters
from rtstat.snapshot import Watch
from shmring import udt
from shmring.testing.plc import Codesys5, SimulatedPlc

HERE = ("127.0.0.1", 0)
FOLDER = Path(__file__).parent
NS_PER_MS = 1_000_000


class Plant:
    """What goes on in the pictures, until it is stopped."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self, work: object, *arguments: object) -> None:
        thread = threading.Thread(target=work, args=(self._stop, *arguments), daemon=True)
        thread.start()
        self._threads.append(thread)

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(10)


def axis(stop: threading.Event, channel: shmring.Channel, hiccup: bool) -> None:
    """A set-point every millisecond, ten of them queued ahead; with hiccups, sometimes too late."""
    due = time.monotonic_ns() + 20 * NS_PER_MS + 123_456
    while not stop.is_set():
        for _ in range(10):
            channel.send(bytes(64), at=due)
            due += NS_PER_MS
        ahead_ns = due - time.monotonic_ns() - 20 * NS_PER_MS
        time.sleep(max(0, ahead_ns) / 1e9)
        if hiccup and due // NS_PER_MS % 1500 < 10:
            time.sleep(0.024)


def call(stop: threading.Event, channel: shmring.rtp.Channel) -> None:
    while not stop.is_set():
        channel.send(bytes(160))
        time.sleep(0.02)


def push(stop: threading.Event, client: udt.UdtSocket, server: udt.UdtSocket) -> None:
    block = bytes(1 << 16)
    while not stop.is_set():
        client.sendall(block)
        got = 0
        while got < len(block):
            got += len(server.recv(1 << 16))
        time.sleep(0.01)


@contextlib.contextmanager
def running() -> Iterator[None]:
    plant = Plant()
    with contextlib.ExitStack() as stack:
        pool = stack.enter_context(shmring.Pool("press", cpus=[0, 1]))
        sink = stack.enter_context(pool.open("sink", shmring.Udp(direction="rx"), local=HERE))
        for name, hiccup in (("axis-x", False), ("axis-y", True)):
            channel = stack.enter_context(
                pool.open(
                    name,
                    shmring.Udp(direction="tx"),
                    remote=sink.local,
                )
            )
            plant.start(axis, channel, hiccup)
        desk = stack.enter_context(pool.open("desk", shmring.Rtp(codec="pcmu"), local=HERE))
        phone = stack.enter_context(
            pool.open("phone", shmring.Rtp(codec="pcmu"), remote=desk.local)
        )
        plant.start(call, phone)
        partner = Codesys5(send=8, receive=8, cycle_ns=10 * NS_PER_MS)
        controller = stack.enter_context(SimulatedPlc(partner))
        link = stack.enter_context(
            pool.open(
                "plc",
                shmring.Netflux(send=8, receive=8, cycle_ns=10 * NS_PER_MS),
                local=HERE,
                remote=controller.address,
            )
        )  # fmt: skip
        link.update(bytes(8))
        listener = stack.enter_context(udt.listen(HERE, pool=pool))
        client = stack.enter_context(udt.connect(listener.local, pool=pool))
        server, _ = listener.accept(timeout=10)
        stack.enter_context(server)
        plant.start(push, client, server)
        try:
            yield
        finally:
            plant.stop()


async def draw_troubles() -> None:
    """Draw the scene in which everything goes wrong."""
    parser = argparse.ArgumentParser()
    add_filters(parser)
    with Watch("plant") as watch:
        app = RtstatApp(watch, Selection(parser.parse_args([])), interval_s=0.5)
        async with app.run_test(size=(80, 24)) as pilot:
            await pilot.pause(4)
            save(app, "rtstat-troubles")


async def draw() -> None:
    parser = argparse.ArgumentParser()
    add_filters(parser)
    with Watch("plant") as watch:
        app = RtstatApp(watch, Selection(parser.parse_args([])), interval_s=0.25)
        async with app.run_test(size=(172, 36)) as pilot:
            await pilot.pause(6)
            save(app, "rtstat-overview")
            await pilot.press("home", "down", "enter")
            await pilot.pause(1)
            save(app, "rtstat-channel")


def save(app: RtstatApp, name: str) -> None:
    svg = app.export_screenshot(title="rtstat")
    # Fonts are the viewer's own: nothing is fetched from anywhere.
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    (FOLDER / f"{name}.svg").write_text(svg, encoding="utf-8")


def main() -> None:
    with running():
        asyncio.run(draw())
    with Scene("plant"):
        asyncio.run(draw_troubles())


if __name__ == "__main__":
    main()
