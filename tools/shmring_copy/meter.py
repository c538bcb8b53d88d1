"""What `shmring udt` shows while it works: a bar, or rows of JSON. Also the waits in between."""

from __future__ import annotations

import collections
import contextlib
import select
import sys
import time
from typing import Any

from shmring.errors import ShmringError
from shmring.udt import Code, UdtError, UdtListener, UdtSocket, UdtTimeout, compat
from shmring.udt.errors import udt_error
from shmring_cli.ending import Told
from shmring_cli.output import NS_PER_MS, NS_PER_S, JsonRows, Progress, duration, quantity
from shmring_copy import protocol

TICK_S = 0.2
ROW_S = 1.0
WINDOW_S = 3.0
BUSY_S = 2.0
# Rate, RTT, loss and ETA fit next to it into 80 columns.
BAR_WIDTH = 10


class Meter:
    """Counts the bytes of one transfer and shows its progress."""

    def __init__(self, label: str, *, sending: bool, rows: JsonRows) -> None:
        self.as_json = bool(rows)
        self._rows = rows
        self.sending = sending
        self.total_bytes = 0
        self.moved_bytes = 0  # over the network
        self.kept_bytes = 0  # there already
        self.files = 0
        self.failed = 0
        self._progress = Progress(label, show=not rows, width=BAR_WIDTH)
        self._sock: UdtSocket | None = None
        self._stats: Any = None
        self._started = self._ticked = self._rowed = time.monotonic()
        self._window: collections.deque[tuple[float, int]] = collections.deque()

    def start(self) -> None:
        """The work begins: rates do not count the wait for the peer."""
        self._started = time.monotonic()

    def watch(self, sock: UdtSocket) -> None:
        self._sock = sock

    def look(self) -> None:
        """Read the socket's statistics, which are gone after it is closed."""
        if self._sock is not None:
            with contextlib.suppress(ShmringError, OSError):
                self._stats = self._sock.stats()

    def row(self, kind: str, **facts: Any) -> None:
        self._rows.add({"kind": kind, **facts})

    def say(self, text: str) -> None:
        if not self.as_json:
            print(text, flush=True)

    def warn(self, text: str) -> None:
        if not self.as_json:
            print(text, file=sys.stderr, flush=True)

    def file(
        self, path: bytes, size: int, *, kept: int = 0, digest: bytes = b"", error: str = ""
    ) -> None:
        """Count a file that is there and checked, or that failed."""
        self.files += not error
        self.failed += bool(error)
        name = protocol.show(path)
        self.row(
            "file",
            path=name,
            ok=not error,
            bytes=size,
            kept_bytes=kept,
            blake2b=digest.hex() or None,
            error=error or None,
        )
        if error:
            self.warn(f"{name}: {error}")

    def fingerprint(self, path: bytes, digest: bytes) -> None:
        """Return a hash for people to compare, in the format of `b2sum -l 256`."""
        self.say(f"{digest.hex()}  {protocol.show(path)}")

    def tick(self) -> None:
        """Show the progress, if it is time."""
        now = time.monotonic()
        if now - self._ticked < TICK_S / 2:
            return
        self._ticked = now
        self.look()
        self._window.append((now, self._arrived()))
        while now - self._window[0][0] > WINDOW_S:
            self._window.popleft()
        facts = self._facts()
        if self.as_json:
            if now - self._rowed >= ROW_S:
                self._rowed = now
                self.row("progress", **facts)
            return
        eta = "?" if facts["eta_s"] is None else _clock(facts["eta_s"])
        self._progress.update(
            facts["bytes"] / self.total_bytes if self.total_bytes else 0.0,
            f"{quantity(facts['rate_bps'], 'bps')}, ETA {eta}, {self._link(facts)}, "
            f"{quantity(facts['bytes'], 'bytes')} of {quantity(self.total_bytes, 'bytes')}",
        )

    def end(self, error: str = "", *, all_of_it: str = "all proved") -> bool:
        """Show the result, and return whether everything was transferred."""
        good = not error and not self.failed
        self.look()
        seconds = time.monotonic() - self._started
        facts = self._facts()
        moved = self._arrived() if error else self.moved_bytes
        facts["rate_bps"] = round(moved * 8 / max(seconds, 1e-9))
        del facts["eta_s"]
        self.row(
            "end",
            ok=good,
            files=self.files,
            failed=self.failed,
            kept_bytes=self.kept_bytes,
            moved_bytes=moved,
            seconds=round(seconds, 3),
            error=error or None,
            **facts,
        )
        kept = f", {quantity(self.kept_bytes, 'bytes')} existed" if self.kept_bytes else ""
        outcome = all_of_it if good else f"{self.failed} FAILED" if self.failed else "UNFINISHED"
        self._progress.done(
            f"{self.files} file{'s' * (self.files != 1)}, {quantity(moved, 'bytes')} in "
            f"{duration(seconds * NS_PER_S)}, {quantity(facts['rate_bps'], 'bps')}, "
            f"{self._link(facts)}{kept}: {outcome}"
        )
        return good

    # --- figures ----------------------------------------------------------------------------------

    def _arrived(self) -> int:
        """Bytes that were moved, without those that only wait to be sent."""
        waiting = self._stats.unsent_bytes if self.sending and self._stats else 0
        return max(0, self.moved_bytes - int(waiting))

    def _rate_bps(self) -> int:
        if len(self._window) < 2:
            return 0
        (start, first), (end, last) = self._window[0], self._window[-1]
        return max(0, round((last - first) * 8 / max(end - start, 1e-9)))

    def _facts(self) -> dict[str, Any]:
        done = min(self.kept_bytes + self._arrived(), self.total_bytes)
        rate_bps = self._rate_bps()
        left = self.total_bytes - done
        stats = self._stats
        loss = None
        if stats is not None:
            lost, seen = (
                (stats.send_losses, stats.sent)
                if self.sending
                else (stats.receive_losses, stats.received + stats.receive_losses)
            )
            loss = round(100 * lost / seen, 4) if seen else 0.0
        return {
            "bytes": done,
            "total_bytes": self.total_bytes,
            "rate_bps": rate_bps,
            "rtt_ms": None if stats is None else stats.rtt_us / 1000,
            "loss_percent": loss,
            "eta_s": round(left * 8 / rate_bps, 1) if rate_bps else None,
        }

    @staticmethod
    def _link(facts: dict[str, Any]) -> str:
        if facts["rtt_ms"] is None:
            return "RTT ?, loss ?"
        return (
            f"RTT {duration(facts['rtt_ms'] * NS_PER_MS)}, "
            f"loss {quantity(facts['loss_percent'], 'percent')}"
        )


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class Line:
    """A socket whose waits update the display. They end if the peer is silent for too long, and
    raise `Ended` if the command is told to end."""

    def __init__(self, sock: UdtSocket, meter: Meter, patience_s: float, told: Told) -> None:
        self._sock = sock
        self._meter = meter
        self._patience_s = patience_s
        self._told = told
        self._said_busy = time.monotonic()
        self._heard_bytes = 0
        meter.watch(sock)

    def send(self, data: bytes | memoryview) -> None:
        """Send all of it. Raises the exceptions of `UdtSocket.send`."""
        view = memoryview(data)
        heard = time.monotonic()
        while len(view):
            try:
                sent = self._sock.send(view, timeout=TICK_S)
            except UdtTimeout:
                heard = time.monotonic() if self._said_something() else heard
                self._give_up_after(heard, "take anything")
                self.tick()
                continue
            heard = time.monotonic()
            view = view[sent:]
            self.tick()

    def recv_into(self, buffer: memoryview) -> int:
        """Receive at least one byte. Raises the exceptions of `UdtSocket.recv`."""
        heard = time.monotonic()
        while True:
            try:
                got = self._sock.recv_into(buffer, timeout=TICK_S)
            except UdtTimeout:
                self._give_up_after(heard, "say anything")
                self.tick()
                continue
            self.tick()
            return got

    def recv_exactly(self, size: int) -> bytes:
        """Raises `UdtClosed` if the stream ends before."""
        room = bytearray(size)
        done = 0
        while done < size:
            done += self.recv_into(memoryview(room)[done:])
        return bytes(room)

    def alive(self) -> None:
        """Called between frames during long work, so that the peer knows that this end is alive."""
        now = time.monotonic()
        if now - self._said_busy > BUSY_S:
            self._said_busy = now
            self.send(protocol.busy())
        self.tick()

    def wait_connected(self) -> None:
        """Wait until it is connected. Raises the exceptions of `UdtSocket.wait_connected`."""
        while not compat.try_connected(self._sock):
            self._told.check()
            select.select([self._sock], [], [], TICK_S)

    def tick(self) -> None:
        """Show the progress, if it is time."""
        self._told.check()
        self._meter.tick()

    def _said_something(self) -> bool:
        """Return whether the peer's program, which may be busy, has sent anything since the last
        call."""
        before, self._heard_bytes = self._heard_bytes, self._sock.stats().received_bytes
        return self._heard_bytes != before

    def _give_up_after(self, heard: float, what: str) -> None:
        if time.monotonic() - heard > self._patience_s:
            raise udt_error(
                Code.ETIMEOUT, f"the peer did not {what} for {self._patience_s:g} s (--patience)"
            )


def accept(listener: UdtListener, told: Told) -> tuple[UdtSocket, tuple[str, int]]:
    """Return the next connection. Raises `Ended` if the command is told to end."""
    while True:
        told.check()
        with contextlib.suppress(UdtTimeout):
            return listener.accept(timeout=TICK_S)


def interrupted(error: UdtError) -> bool:
    """Return whether the connection ended, so that the transfer may continue another time."""
    return error.code in (Code.ECONNLOST, Code.ETIMEOUT, Code.EPEERERR)
