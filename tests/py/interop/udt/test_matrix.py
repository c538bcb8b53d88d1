"""shmring.udt with the real libudt, everything with everything: who connects, what is carried, over
which link, in which packets. What arrives, both ways at once, is what was sent, by its hash."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import socket
import tempfile
import threading
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import needs
import pytest

from shmring import Impairment, Pool, udt

pytestmark = pytest.mark.check

PATIENCE_S = 50.0
MOST_MESSAGE = 30_000
MS = 1_000_000

# What our end does, and what theirs does then.
ROLES = {"connect": "serve", "accept": "connect", "meet": "meet"}
KINDS = ["stream", "messages", "file"]
LINKS: dict[str, dict[str, Any]] = {
    "clean": {},
    "loss": {"loss": 0.02},
    "reorder": {"reorder": 0.05, "reorder_extra_ns": 2 * MS, "delay_ns": MS},
    "duplicate": {"duplicate": 0.2},
    "all": {
        "loss": 0.02,
        "reorder": 0.05,
        "reorder_extra_ns": 2 * MS,
        "duplicate": 0.1,
        "delay_ns": MS,
    },
}
# What is sent each way, in packets of 1500. libudt needs 300 ms for many of its losses.
BYTES = {
    "clean": 1_000_003,
    "loss": 100_003,
    "reorder": 100_003,
    "duplicate": 300_007,
    "all": 100_003,
}
# Largest packets of ours and of theirs, and where.
PACKETS = {
    "1500": (1500, 1500, "127.0.0.1"),
    "9000": (9000, 9000, "127.0.0.1"),
    "ipv6": (1500, 1500, "::1"),
    "9000-1500": (9000, 1500, "127.0.0.1"),
    "1500-9000": (1500, 9000, "127.0.0.1"),
}


AT_A_TIME = 6
SEED = int(os.environ.get("RT_TEST_SEED", "0"))  # another one, another fate of the packets

Params = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """One connection: options of ours, and the files at both ends."""

    kind: str
    ours: Path
    theirs: Path
    got_here: Path
    got_there: Path
    size: int

    @property
    def options(self) -> udt.UdtOptions:
        return {"messages": self.kind == "messages"}


def message_bytes(number: int) -> int:
    """As in libudt_end."""
    return 1 + number * 7919 % MOST_MESSAGE


def send(sock: udt.UdtSocket, case: Case) -> None:
    if case.kind == "file":
        assert udt.sendfile(sock, case.ours) == case.size
        return
    data, at, number = case.ours.read_bytes(), 0, 0
    if case.kind == "stream":
        sock.sendall(data, timeout=PATIENCE_S)
    while case.kind == "messages" and at < len(data):
        part = data[at : at + message_bytes(number)]
        sock.sendmsg(part, in_order=True, timeout=PATIENCE_S)
        at += len(part)
        number += 1


def receive(sock: udt.UdtSocket, case: Case) -> None:
    if case.kind == "file":
        assert udt.recvfile(sock, case.got_here, size=case.size) == case.size
        return
    got, number = bytearray(), 0
    while len(got) < case.size:
        if case.kind == "stream":
            got += sock.recv(timeout=PATIENCE_S)
            continue
        message = sock.recvmsg(timeout=PATIENCE_S)
        assert len(message) == min(message_bytes(number), case.size - len(got))
        got += message
        number += 1
    case.got_here.write_bytes(got)


def move(sock: udt.UdtSocket, case: Case) -> None:
    """Both ways at once."""
    failures: list[BaseException] = []

    def send_and_tell() -> None:
        try:
            send(sock, case)
        except BaseException as caught:
            failures.append(caught)

    sender = threading.Thread(target=send_and_tell, daemon=True)
    sender.start()
    receive(sock, case)
    sender.join(PATIENCE_S)
    assert not failures, failures
    assert not sender.is_alive()


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@contextlib.contextmanager
def connected(
    role: str,
    case: Case,
    port: udt.Port,
    mss: int,
    start: Callable[[int], Any],
    remote: tuple[str, int],
) -> Iterator[tuple[udt.UdtSocket, Any]]:
    """Our end, and the process of theirs."""
    options: udt.UdtOptions = {**case.options, "mss": mss}
    if role == "accept":
        with udt.listen(port=port, **options) as listener:
            program = start(port.local[1])
            sock, _ = listener.accept(timeout=PATIENCE_S)
            with sock:
                yield sock, program
        return
    program = start(port.local[1])
    ends: udt.ConnectOptions = {
        **options,
        "port": port,
        "timeout": PATIENCE_S,
        "rendezvous": role != "connect",
    }
    with udt.connect(remote, **ends) as sock:
        yield sock, program


@cache
def has(host: str) -> bool:
    if ":" not in host:
        return True
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
        probe.bind((host, 0))
        return True
    return False


class Matrix:
    """Runs the cases, several at a time: most of what they do is to wait for libudt's timers."""

    def __init__(
        self,
        start: Callable[..., Any],
        free_port: Callable[[str], int],
        folder: Path,
        pool: Pool,
        cases: list[Params],
    ) -> None:
        self._start = start
        self._free_port = free_port
        self._folder = folder
        self._pool = pool
        self._threads = ThreadPoolExecutor(AT_A_TIME)
        self._running = {name_of(case): self._threads.submit(self._run, case) for case in cases}

    def outcome(self, params: Params) -> None:
        """Wait until a case is over, and raise what it raised. Asked for again, it runs again."""
        running = self._running.pop(name_of(params), None)
        (running or self._threads.submit(self._run, params)).result()

    def close(self) -> None:
        self._threads.shutdown(cancel_futures=True)

    def _run(self, params: Params) -> None:
        role, kind, packets, link = (params[name] for name in ("role", "kind", "packets", "link"))
        mss, their_mss, host = PACKETS[packets]
        case = self._case(kind, packets, link)
        seed = zlib.crc32(name_of(params).encode()) + SEED
        ways: list[Impairment | None] = [None, None]
        if LINKS[link]:
            ways = [Impairment(seed=seed + way, **LINKS[link]) for way in (0, 1)]
        theirs = self._free_port(host)

        def start(own: int) -> Any:
            what = "message" if kind == "messages" else kind
            files = (case.theirs, case.got_there, case.size)
            version = 6 if ":" in host else 4
            started.append(self._start(ROLES[role], what, theirs, own, their_mss, version, *files))
            return started[-1]

        started: list[Any] = []
        try:
            with (
                udt.Port((host, 0), pool=self._pool, impair=ways[0], impair_rx=ways[1]) as port,
                connected(role, case, port, mss, start, (host, theirs)) as (sock, program),
            ):
                move(sock, case)
                program.ended_well()
                # It had everything. Its one goodbye may be lost, and then nobody answers any more.
                sock.close(linger=0)
        except Exception as failure:
            for program in started:
                failure.add_note(program.so_far())
            for worker in self._pool.workers():  # whether it stood still
                failure.add_note(str(worker))
            raise
        assert digest(case.got_here) == digest(case.theirs)
        assert digest(case.got_there) == digest(case.ours)

    def _case(self, kind: str, packets: str, link: str) -> Case:
        size = BYTES[link] * (4 if packets == "9000" else 1)
        folder = Path(tempfile.mkdtemp(dir=self._folder))
        chance = random.Random(f"{kind} {packets} {link}")
        for name in ("ours", "theirs"):
            (folder / name).write_bytes(chance.randbytes(size))
        here, there = folder / "got_here", folder / "got_there"
        return Case(kind, folder / "ours", folder / "theirs", here, there, size)


def name_of(params: Params) -> str:
    return " ".join(params[name] for name in ("role", "kind", "packets", "link"))


@pytest.fixture(scope="module")
def matrix(
    request: pytest.FixtureRequest,
    end_program: Path,
    start_in_module: Callable[..., Any],
    free_port: Callable[..., int],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Matrix]:
    """All cases that were asked for, under way."""
    cases: list[Params] = [
        item.callspec.params
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.function in (test_content, test_mixed_sizes)
    ]
    # Without a name its workers end with this process, also where that is killed.
    with Pool(policy="other", namespace=f"matrix-{os.getpid()}") as pool:
        made = Matrix(
            partial(start_in_module, end_program),
            free_port,
            tmp_path_factory.mktemp("matrix"),
            pool,
            [case for case in cases if has(PACKETS[str(case["packets"])][-1])],
        )
        yield made
        made.close()


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("packets", ["1500", "9000", "ipv6"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("role", ROLES)
def test_content(matrix: Matrix, role: str, kind: str, packets: str, link: str) -> None:
    if not has(PACKETS[packets][-1]):
        needs.skip("ipv6")
    matrix.outcome({"role": role, "kind": kind, "packets": packets, "link": link})


@pytest.mark.parametrize("link", ["clean", "all"])
@pytest.mark.parametrize("packets", ["9000-1500", "1500-9000"])
@pytest.mark.parametrize("kind", ["stream", "messages"])
@pytest.mark.parametrize("role", ROLES)
def test_mixed_sizes(matrix: Matrix, role: str, kind: str, packets: str, link: str) -> None:
    """In a rendezvous libudt sends packets as large as ours may be, whatever its own may."""
    matrix.outcome({"role": role, "kind": kind, "packets": packets, "link": link})
