"""A busy scene in which everything goes wrong at once, for tests and pictures of rtstat.

    with Scene(namespace) as scene:
        ...                                 # rtstat shows `TROUBLES`
    python tests/py/models/rtstat_scene.py  # the same, until a line is read: prints the namespace

It has real processes: two pools with a worker each, one of them stopped, a reader that never reads,
and an opener that is dead. At its end nothing is left.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import shmring

UDP = shmring.Udp()

HERE = ("127.0.0.1", 0)
MS = 1_000_000
ROUND_S = 0.005
BURST = 400
PATIENCE_S = 60.0

TROUBLES = (
    ("worker_stopped", "broken", "press:0"),
    ("link_silent", "broken", "plc"),
    ("no_producer", "broken", "valve"),
    ("kernel_drops", "troubled", "sensor"),
    ("overwritten", "troubled", "camera"),
    ("late", "troubled", "axis"),
    ("rtp_loss", "troubled", "intercom"),
    ("orphaned", "troubled", "spare"),
)
"""Name, severity and subject (without the namespace) of what is wrong, the worst first."""

# Opens two channels, reads a third one never, and says so. Its end is SIGKILL.
_OPENER = """
import sys, time, shmring
period = shmring.Cyclic(period_ns=10_000_000)
here = ("127.0.0.1", 0)
valve = shmring.open("valve", period, pool="plant", local=here, remote=("127.0.0.1", 9))
valve.update(b"open")
while not valve.cyclic_stats().updates:
    time.sleep(0.01)
spare = shmring.open("spare", shmring.Udp(direction="rx"), pool="plant", local=here)
print("ready", flush=True)
sys.stdin.readline()
"""
_READER = """
import sys, shmring
camera = shmring.attach("camera")
camera.recv(timeout=60)
print("ready", flush=True)
sys.stdin.readline()
"""


class Scene:
    """Everything that goes wrong, from entering it until leaving it."""

    def __init__(self, namespace: str) -> None:
        """namespace: a new one, that nothing else uses."""
        self.namespace = namespace
        self._stack = ExitStack()
        self._ending = threading.Event()
        self.stopped_pid = 0
        """The worker that is stopped."""
        self.reader_pid = 0
        """The process that reads nothing on ``camera``."""
        self.opener_pid = 0
        """The dead process that opened ``valve`` and ``spare``."""

    def __enter__(self) -> Scene:
        with ExitStack() as stack:
            self._stack = stack
            self._build()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    # --- building -------------------------------------------------------------------------------

    def _build(self) -> None:
        self._plant = self._pool("plant")
        press = self._pool("press")
        # Both start while the channels are opened.
        opener, reader = self._process(_OPENER), self._process(_READER)
        rounds = [self._axis(), self._sensor(), self._camera(), self._intercom()]
        self._plc()
        self._press(press)
        _ready(opener)
        opener.kill()
        opener.wait(PATIENCE_S)
        self.opener_pid = opener.pid
        self.reader_pid = reader.pid
        thread = threading.Thread(target=self._play, args=(rounds,))
        thread.start()
        self._stack.callback(thread.join)
        self._stack.callback(self._ending.set)
        _ready(reader)

    def _pool(self, name: str) -> shmring.Pool:
        pool = shmring.Pool(name, policy="other", namespace=self.namespace)
        self._stack.callback(pool.close, linger=0)
        return pool

    def _process(self, script: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"SHMRING_NAMESPACE": self.namespace},
        )
        self._stack.callback(_end, process)
        return process

    def _open(self, name: str, engine: Any = UDP, **options: Any) -> Any:
        return self._plant.open(name, engine, **({"local": HERE} | options))

    def _socket(self) -> socket.socket:
        made = self._stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        made.bind(HERE)
        return made

    # --- what goes wrong, each with a function for every round of the player ----------------------

    def _axis(self) -> Callable[[], None]:
        """Every fourth packet is queued after its deadline."""
        axis = self._open("axis", remote=self._socket().getsockname())

        def play() -> None:
            now_ns = axis.now_ns()
            axis.send(b"late", at=now_ns - 4 * MS)
            for i in range(3):
                axis.send(b"good", at=now_ns + (200 + i) * MS)

        return play

    def _sensor(self) -> Callable[[], None]:
        """More arrives at once than its socket's buffer holds."""
        sensor = self._open(
            "sensor", shmring.Udp(direction="rx", socket=shmring.Socket(rcvbuf_bytes=2304))
        )
        return self._burst(sensor, BURST)

    def _camera(self) -> Callable[[], None]:
        """Its reader has stopped reading."""
        camera = self._open("camera", shmring.Udp(direction="rx", rx=64))
        return self._burst(camera, 20)

    def _burst(self, channel: Any, packets: int) -> Callable[[], None]:
        source = self._socket()

        def play() -> None:
            for _ in range(packets):
                source.sendto(b"picture", channel.local)

        return play

    def _intercom(self) -> Callable[[], None]:
        """A fifth of the packets is lost on the way."""
        codec = {"codec": "pcmu", "ptime_ns": 5 * MS}
        intercom = self._open("intercom", engine=shmring.Rtp(**codec))
        desk = self._open(
            "desk",
            remote=intercom.local,
            engine=shmring.Rtp(underrun="fill", **codec),
            impair=shmring.Impairment(loss=0.2, seed=1),
        )

        def play() -> None:
            desk.send(bytes(40))

        return play

    def _plc(self) -> None:
        """The partner sent one packet, and has been silent since then."""
        partner = self._socket()
        plc = self._open(
            "plc",
            remote=partner.getsockname(),
            engine=shmring.Netflux(send=4, receive=4, cycle_ns=10 * MS, watchdog_ns=50 * MS),
        )
        partner.sendto(bytes((1, 0)) + b"real", plc.local)

    def _press(self, pool: shmring.Pool) -> None:
        """Its worker is stopped, with packets to send."""
        press = pool.open("press", local=HERE, remote=self._socket().getsockname())
        self.stopped_pid = pool.workers()[0].pid
        os.kill(self.stopped_pid, signal.SIGSTOP)
        self._stack.callback(os.kill, self.stopped_pid, signal.SIGCONT)
        for _ in range(5):
            press.send(b"down", at=press.now_ns() + MS)

    # --- playing --------------------------------------------------------------------------------

    def _play(self, rounds: list[Callable[[], None]]) -> None:
        while not self._ending.wait(ROUND_S):
            for play in rounds:
                play()


def _ready(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n", "the process of the scene ended"


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate(timeout=PATIENCE_S)


def main() -> None:
    namespace = f"scene-{os.getpid()}"
    with Scene(namespace):
        time.sleep(1.5)  # until the stopped worker counts as stopped
        print(namespace, flush=True)
        sys.stdin.readline()


if __name__ == "__main__":
    main()
