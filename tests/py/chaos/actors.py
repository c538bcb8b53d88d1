"""The processes that use shmring.

Each is a function of (board, life, ...) that the mould forks. Any of them may be killed or stopped
at any instant, so what must outlive it goes to the board or to a file."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import random
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import wire
from stage import BROKEN, ENDED, FINISH, READY, Board

import shmring

HOME = "127.0.0.1"
SIZES = (0, 48, 64, 200, 700, 1400)
MS = 1_000_000


def append_to(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


# --- pools and channels ---------------------------------------------------------------------------


def up(board: Board, life: int, name: str, policy: str) -> None:
    """`shmring up NAME`, which tells the board when it is ready."""
    import shmring_cli as cli
    from shmring_cli import up as command

    command._say_ready = lambda pool, as_json: board.tell(life, READY)
    cli.main(["up", name, "--policy", policy])
    board.tell(life, ENDED)


KINDS: dict[str, Any] = {
    "udp": shmring.Udp,
    "rtp": shmring.Rtp,
    "netflux": shmring.Netflux,
    "cyclic": shmring.Cyclic,
}


def opener(board: Board, life: int, pool: str, channels: dict[str, Any], output: str) -> None:
    """Open channels on a named pool, write their local ports, and end without closing them."""
    ports = {}
    for name, options in channels.items():
        engine = options.pop("engine", "udp")
        for key in ("values", "payload"):
            if text := options.pop(f"{key}_hex", ""):
                options[key] = bytes.fromhex(text)
        if impair := options.get("impair"):
            options["impair"] = shmring.Impairment(**impair)
        for key in ("remote", "local"):
            if key in options:
                options[key] = tuple(options[key])
        kind = KINDS[engine]
        for key in ("tx", "rx"):
            if isinstance(options.get(key), list):
                options[key] = shmring.Queue(*options[key])
        if "socket" in options:
            options["socket"] = shmring.Socket(**options["socket"])
        own = {field.name for field in dataclasses.fields(kind)} & options.keys()
        made = kind(**{key: options.pop(key) for key in own})
        channel = shmring.open(name, made, pool=pool, **options)
        ports[name] = channel.local[1] if channel.local else 0
    Path(output).write_text(json.dumps(ports))
    board.tell(life, ENDED)
    os._exit(0)


# --- clients --------------------------------------------------------------------------------------


def sender(
    board: Board,
    life: int,
    channel: str,
    output: str,
    rate: float,
    lead_ns: int = 0,
    spread_ns: int = 0,
    burst: int = 1,
    frames: int = 0,
) -> None:
    """Send numbered packets. `lead_ns`: each has a deadline so far ahead, and up to `spread_ns`
    more. `frames`: bytes of each packet, 0: of changing sizes."""
    rng = random.Random(life)
    ch = shmring.attach(channel)
    file = append_to(output)
    board.tell(life, READY)
    number, next_ns = 0, time.monotonic_ns()
    while board.command(life) != FINISH:
        for _ in range(burst):
            board.attempt(life, number + 1)
            now = time.monotonic_ns()
            due = now + lead_ns + rng.randrange(spread_ns + 1) if lead_ns else 0
            data = wire.pack(life, number, now, due, frames or rng.choice(SIZES))
            sequence = _send(board, life, ch, data, due)
            if sequence is None:
                return
            line = (sequence, now, due, time.monotonic_ns())
            os.write(file, np.array(line, wire.ACCEPTED).tobytes())
            number += 1
        next_ns = max(next_ns + int(burst * 1e9 / rate), time.monotonic_ns() - 20 * MS)
        time.sleep(max(0, next_ns - time.monotonic_ns()) / 1e9)
    ch.close()
    board.tell(life, ENDED)


def _send(board: Board, life: int, ch: Any, data: bytes, due: int) -> int | None:
    """The sequence; None if the channel is closed, or the end was ordered while it was full."""
    while True:
        try:
            return int(ch.send(data, at=due or None, timeout=0.2))
        except shmring.errors.SendTimeout:
            if board.command(life) == FINISH:
                board.attempt(life, board.attempted(life) - 1)
                board.tell(life, ENDED)
                return None
        except shmring.ChannelClosed:
            board.tell(life, BROKEN)
            return None


def updater(board: Board, life: int, channel: str, size: int) -> None:
    """Put new values into a Netflux link or a cyclic channel, every few milliseconds."""
    link = shmring.attach(channel)
    board.tell(life, READY)
    number = 0
    while board.command(life) != FINISH:
        board.attempt(life, number + 1)
        link.update(wire.pack(life, number, time.monotonic_ns(), number * 7 + life, size))
        number += 1
        time.sleep(0.004)
    link.close()
    board.tell(life, ENDED)


def reader(board: Board, life: int, channel: str, output: str) -> None:
    """Write down what arrives."""
    ch = shmring.attach(channel)
    file = append_to(output)
    board.tell(life, READY)
    while board.command(life) != FINISH:
        try:
            packets = ch.recv_many(256, timeout=0.1)
        except shmring.ReceiveTimeout:
            continue
        except shmring.ChannelClosed:
            board.tell(life, BROKEN)
            return
        lines = []
        for packet in packets:
            found = wire.unpack(bytes(packet.data))
            if found is not None:
                lines.append(np.array((found[1], 0, found[2]), wire.DELIVERED))
        board.put(life, 0, ch.lost)
        os.write(file, b"".join(line.tobytes() for line in lines))
    ch.close()
    board.tell(life, ENDED)


def auditor(board: Board, life: int, channels: list[str], folder: str) -> None:
    """Write every report of `channels` to `folder`/CHANNEL.reports. When a number is ordered, wait
    until nothing waits any more, write statistics to `folder`/stats.json, and say the number."""
    ends = {name: shmring.attach(name) for name in channels}
    files = {name: append_to(f"{folder}/{name}.reports") for name in channels}
    board.tell(life, READY)
    said = 0
    while (ordered := board.command(life)) != FINISH:
        _take_reports(ends, files)
        if ordered > said:
            waiting = _settle(ends, files)
            said = ordered
            Path(f"{folder}/stats.json").write_text(json.dumps(_statistics(ends, waiting)))
            board.put(life, 0, said)
        time.sleep(0.02)
    board.tell(life, ENDED)


def _take_reports(ends: dict[str, Any], files: dict[str, int]) -> None:
    for name, end in ends.items():
        while batch := end.reports().read(4096):
            os.write(files[name], bytes(batch._records))


def _settle(ends: dict[str, Any], files: dict[str, int]) -> dict[str, int]:
    give_up = time.monotonic() + 20
    while any(end.tx_waiting for end in ends.values()) and time.monotonic() < give_up:
        _take_reports(ends, files)
        time.sleep(0.005)
    until = time.monotonic() + 0.1  # a stamp that a report waits for
    while time.monotonic() < until:
        _take_reports(ends, files)
        time.sleep(0.01)
    return {name: end.tx_waiting for name, end in ends.items()}


def _statistics(ends: dict[str, Any], waiting: dict[str, int]) -> dict[str, Any]:
    told = {}
    for name, end in ends.items():
        stats = end.stats()
        told[name] = {
            key: value for key, value in stats.to_dict().items() if isinstance(value, int)
        }
        told[name]["waiting_at_the_end"] = waiting[name]
        told[name]["reports_lost"] = end.reports().lost
        told[name]["requested"] = stats.tx_requested
    return told


@contextlib.contextmanager
def _counting_errors(board: Board, life: int) -> Iterator[None]:
    """While a worker is replaced on a machine that stands still, calls may give up waiting."""
    try:
        yield
    except shmring.ShmringError as caught:
        if isinstance(caught, shmring.RingFull):
            raise
        print(f"gave up: {caught}", flush=True)
        board.put(life, 0, board.get(life, 0) + 1)


def traffic(board: Board, life: int, channels: list[str], rate: float) -> None:
    """Send small packets on many channels, one after the other."""
    ends = [shmring.attach(name) for name in channels]
    board.tell(life, READY)
    number = 0
    while board.command(life) != FINISH:
        for end in ends:
            board.attempt(life, number + 1)
            with _counting_errors(board, life):
                end.try_send(wire.pack(life, number, time.monotonic_ns()))
            number += 1
            if number % 20 == 0:
                time.sleep(20 / rate)
    for end in ends:
        end.close()
    board.tell(life, ENDED)


def churner(board: Board, life: int, pool: str, port: int) -> None:
    """Open channels on a named pool, use them and close them; `attempted` counts them, word 0 of
    the board those that failed."""
    count = 0
    board.tell(life, READY)
    while board.command(life) != FINISH:
        board.attempt(life, count + 1)
        name = f"churn-{life}-{count % 4}"
        with (
            _counting_errors(board, life),
            shmring.open(name, shmring.Udp(tx=16), pool=pool, remote=(HOME, port)) as channel,
        ):
            channel.send(b"x")
            other = shmring.attach(name)
            other.send(b"y")
            other.close()
        count += 1
        time.sleep(0.02)
    board.tell(life, ENDED)


# --- engines of private pools ---------------------------------------------------------------------


def mux_server(
    board: Board, life: int, ports: list[int], folder: str, targets: str, rate: float
) -> None:
    """An `RtpServer` with a UDP port for each of `ports`, where it sends to. Packet n is sent from
    port n % len(ports). What arrives is written down."""
    from rtpsynth.RtpServer import RtpQueueFullError, RtpServer

    accepted = append_to(f"{folder}/{life}.accepted")
    delivered = append_to(f"{folder}/{life}.delivered")

    def arrived(data: bytes, address: Any, rtime_ns: int) -> None:
        found = wire.unpack(bytes(data))
        if found is not None:
            line = np.array((found[1], 0, found[2]), wire.DELIVERED)
            os.write(delivered, line.tobytes())

    server = RtpServer()
    channels = [server.create_channel(arrived, HOME) for _ in ports]
    for channel, port in zip(channels, ports, strict=True):
        channel.set_target(HOME, port)
    Path(targets).write_text(str(channels[0].local_addr[1]))
    board.tell(life, READY)
    number = 0
    while board.command(life) != FINISH:
        board.attempt(life, number + 1)
        now = time.monotonic_ns()
        while board.command(life) != FINISH:
            try:
                channels[number % len(ports)].send_pkt(wire.pack(life, number, now))
                os.write(accepted, np.array((number, now, 0, 0), wire.ACCEPTED).tobytes())
                number += 1
                break
            except RtpQueueFullError:
                time.sleep(0.001)
        if number % 16 == 0:
            time.sleep(16 / rate)
    time.sleep(0.3)  # what is queued leaves, what came is handed out
    (name,) = shmring.default_pool().channels()
    with shmring.attach(name, readonly=True) as tap:
        stats = tap.stats().to_dict()
    told = {key: value for key, value in stats.items() if isinstance(value, int)}
    Path(f"{folder}/{life}.json").write_text(json.dumps(told))
    server.shutdown()
    board.tell(life, ENDED)


def udt_server(board: Board, life: int, folder: str, port_file: str) -> None:
    """Take connections, and write down the messages of each; word 0 of the board: connections that
    are open."""
    import threading

    from shmring import udt

    def serve(sock: Any) -> None:
        with sock, contextlib.suppress(udt.UdtError):
            for message in sock:
                found = wire.unpack(message)
                if found is not None:
                    line = np.array((found[1], 0, found[2]), wire.DELIVERED)
                    os.write(delivered, line.tobytes())
        with lock:
            board.put(life, 0, board.get(life, 0) - 1)

    delivered = append_to(f"{folder}/{life}.delivered")
    lock = threading.Lock()
    with udt.listen((HOME, 0), messages=True) as listener:
        Path(port_file).write_text(str(listener.local[1]))
        board.tell(life, READY)
        while board.command(life) != FINISH:
            try:
                sock, _ = listener.accept(timeout=0.1)
            except udt.UdtTimeout:
                continue
            with lock:
                board.put(life, 0, board.get(life, 0) + 1)
            threading.Thread(target=serve, args=(sock,), daemon=True).start()
        until = time.monotonic() + 10
        while board.get(life, 0) and time.monotonic() < until:
            time.sleep(0.01)
        board.put(life, 1, board.get(life, 0))
        shmring.close_default_pool()
    board.tell(life, ENDED)
    os._exit(0)


def udt_client(board: Board, life: int, port_file: str, rate: float) -> None:
    """Send numbered messages over one connection until it ends. Word 0 of the board: messages
    accepted; word 1: 1 if the connection was lost."""
    from shmring import udt

    rng = random.Random(life)
    number = 0
    try:
        port = int(Path(port_file).read_text())
        with udt.connect((HOME, port), messages=True, timeout=20) as sock:
            board.tell(life, READY)
            while board.command(life) != FINISH:
                board.attempt(life, number + 1)
                sock.sendmsg(
                    wire.pack(life, number, time.monotonic_ns(), 0, rng.choice((0, 100, 5000))),
                    in_order=True,
                    timeout=20,
                )
                number += 1
                board.put(life, 0, number)
                time.sleep(1 / rate)
    except udt.UdtError:  # the peer died, or is being replaced
        board.put(life, 1, 1)
    shmring.close_default_pool()
    board.tell(life, ENDED)
    os._exit(0)


# --- tools ----------------------------------------------------------------------------------------


def tool(board: Board, life: int, words: list[str]) -> None:
    """`shmring ...` or `rtstat ...`, as from the command line."""
    import rtstat.cli
    import shmring_cli as cli

    main: Callable[[list[str]], int] = rtstat.cli.main if words[0] == "rtstat" else cli.main
    board.tell(life, READY)
    with contextlib.suppress(SystemExit):
        main(words[1:])
    board.tell(life, ENDED)


# --- owners of private pools ----------------------------------------------------------------------


def private_owner(board: Board, life: int, policy: str) -> None:
    """Open and close private pools and channels on them, for ever; `attempted` counts these."""
    rng = random.Random(life)
    count = 0
    board.tell(life, READY)
    while board.command(life) != FINISH:
        with shmring.Pool(policy=policy) as pool:
            for _ in range(rng.randrange(1, 4)):
                open_channels = []
                for index in range(rng.randrange(1, 4)):
                    name = f"mine-{life}-{index}"
                    open_channels.append(pool.open(name, shmring.Udp(tx=64), local=(HOME, 0)))
                    count += 1
                    board.attempt(life, count)
                open_channels[0].send(b"x", to=open_channels[0].local)
                for channel in open_channels:
                    channel.close()
    board.tell(life, ENDED)


def sweeper(board: Board, life: int, output: str) -> None:
    """`shmring.gc`, and what it removed."""
    Path(output).write_text(str(shmring.gc()))
    board.tell(life, ENDED)


def load() -> dict[str, Callable[..., None]]:
    """All roles; called once, in the mould."""
    import plain

    import rtstat.cli  # noqa: F401
    import shmring_cli.tap
    import shmring_cli.up  # noqa: F401

    warnings.simplefilter("ignore")
    return {
        "receiver": plain.receiver,
        "injector": plain.injector,
        "clock": plain.clock,
        "up": up,
        "opener": opener,
        "sender": sender,
        "reader": reader,
        "updater": updater,
        "traffic": traffic,
        "churner": churner,
        "mux_server": mux_server,
        "udt_server": udt_server,
        "udt_client": udt_client,
        "auditor": auditor,
        "tool": tool,
        "private_owner": private_owner,
        "sweeper": sweeper,
    }
