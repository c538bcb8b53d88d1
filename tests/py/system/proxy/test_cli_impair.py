"""`shmring impair` as a process."""

from __future__ import annotations

import functools
import json
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kit import commands
from kit.commands import SHMRING
from kit.waiting import until
from kit.wire import udp

import shmring

COMMAND = [*SHMRING, "impair"]
PATIENCE_S = 60
MS = 10**6

Starts = Callable[..., "Running"]


class Running:
    """A proxy whose command runs."""

    def __init__(self, words: tuple[str, ...]) -> None:
        self.process = subprocess.Popen(
            [*COMMAND, *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def attach(self, name: str = "link") -> shmring.proxy.Channel:
        give_up = time.monotonic() + PATIENCE_S
        while True:
            try:
                return shmring.attach(name, shmring.Proxy())
            except shmring.ChannelNotFound:
                if self.process.poll() is not None or time.monotonic() > give_up:
                    raise AssertionError(self.process.communicate()) from None
                time.sleep(0.02)

    def end(self, number: int = signal.SIGINT) -> str:
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> str:
        out, err = self.process.communicate(timeout=PATIENCE_S)
        assert self.process.returncode == 0, (out, err)
        return out


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with udp() as made:
        yield made


@pytest.fixture
def starts(shmring_namespace: str, server: socket.socket) -> Iterator[Starts]:
    started: list[Running] = []

    def start(*words: str) -> Running:
        to = f"127.0.0.1:{server.getsockname()[1]}"
        all_words = ("127.0.0.1:0", "--to", to, "--name", "link", *words)
        started.append(Running(all_words))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
            one.process.communicate()


run = functools.partial(commands.run, COMMAND)


def send(ch: shmring.proxy.Channel, count: int) -> None:
    before = ch.proxy_stats().forward_received
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        for _ in range(count):
            client.sendto(b"x", ch.local or ("", 0))
        until(lambda: ch.proxy_stats().forward_received == before + count)


def test_it_serves_until_it_is_stopped(starts: Starts, server: socket.socket) -> None:
    proxy = starts("loss=100%", "seed=7", "forward", "loss=0,delay=1ms")
    ch = proxy.attach()
    assert (ch.forward.loss, ch.forward.delay_ns, ch.forward.seed) == (0, MS, 7)
    assert (ch.backward.loss, ch.backward.delay_ns, ch.backward.seed) == (1, 0, 8)
    send(ch, 3)
    assert server.recv(10) == b"x"
    until(lambda: ch.proxy_stats().forward_sent == 3)
    out = proxy.end()
    assert "proxy 'link'" in out
    assert "forward:   delay=1ms: 3 received, 3 sent" in out
    assert "backward:  loss=100%: 0 received, 0 sent" in out
    assert "flows:     1 open, 1 opened" in out


@pytest.mark.check
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_counts_as_json(starts: Starts, number: int) -> None:
    proxy = starts("forward", "down", "--json")
    ch = proxy.attach()
    send(ch, 5)
    until(lambda: ch.stats().impair_tx_lost == 5)
    facts: dict[str, Any] = json.loads(proxy.end(number))
    assert (facts["name"], facts["state"], facts["flows"]["open"]) == ("link", "open", 1)
    forward = facts["forward"]
    assert (forward["received"], forward["lost"], forward["sent"]) == (5, 5, 0)
    assert forward["impairment"]["loss"] == 1.0
    assert facts["seconds"] > 0


@pytest.mark.check
def test_another_shell_changes_and_shows_it(starts: Starts, shmring_namespace: str) -> None:
    proxy = starts("delay=20ms,seed=1", "forward", "seed=3")
    ch = proxy.attach()
    assert ch.backward.seed == 2
    out = run("link", "loss=10%", "backward", "down").stdout
    assert "forward:   loss=10%,delay=20ms" in out
    assert "backward:  loss=100%,delay=20ms" in out
    run(f"{shmring_namespace}/link", "forward", "clear")
    assert ch.forward == shmring.Impairment(seed=3)
    assert ch.backward.loss == 1.0
    changes = ch.proxy_stats().changes
    facts = json.loads(run("link", "--json").stdout)
    assert facts["backward"]["impairment"]["loss"] == 1.0
    assert ch.proxy_stats().changes == changes
    proxy.end()


@pytest.mark.check
def test_a_timetable(starts: Starts, tmp_path: Path) -> None:
    path = tmp_path / "times.txt"
    path.write_text("# down for a moment\n50ms down\n100ms backward up,delay=5ms\n150ms\n")
    proxy = starts("--at", str(path), "--duration", "300ms", "--json")
    ch = proxy.attach()
    facts = json.loads(proxy.wait())
    assert facts["forward"]["impairment"]["loss"] == 1.0
    assert facts["backward"]["impairment"]["loss"] == 0.0
    assert facts["backward"]["impairment"]["delay_ns"] == 5 * MS
    assert facts["seconds"] >= 0.3
    ch.close()


@pytest.mark.check
def test_it_may_run_for_hours(starts: Starts) -> None:
    proxy = starts("--duration", "2h", "--flows", "9/5m")
    proxy.attach().close()
    proxy.end()


@pytest.mark.check
def test_lines_of_a_timetable_on_the_command_line(starts: Starts) -> None:
    proxy = starts("--at", "0s", "down", "--at", "40ms", "up", "--at", "80ms", "--loop")
    ch = proxy.attach()
    until(lambda: ch.proxy_stats().changes >= 6)
    proxy.end()


@pytest.mark.check
@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("link", "loss=1%"), "link"),
        ((":5004",), "give the server, too, as in --to 10.0.0.7:5004"),
        (("link", "--loop"), "--loop is for a new proxy"),
        (("link", "loss=1%", "--name", "line"), "--name is for a new proxy"),
        (("link", "loss=1%", "--flows", "9"), "--flows is for a new proxy"),
        (("link", "loss=1%", "--socket", "no-gso"), "--socket is for a new proxy"),
        (("link", "loss=1%", "--worker", "profile=power"), "--worker is for a new proxy"),
        (("127.0.0.1:0", "--to", "here"), "--to is 'here': use HOST:PORT"),
        (("127.0.0.1:0", "--to", "127.0.0.1:9", "loss=5"), "above 1: did you mean 5%?"),
        (("127.0.0.1:0", "--to", "127.0.0.1:9", "delay=20"), "delay is '20', without a unit"),
        (("127.0.0.1:0", "--to", "127.0.0.1:9", "delay=2y"), "use 500us, 20ms, 1.5s"),
        (("127.0.0.1:0", "--to", "127.0.0.1:9", "--delay", "2ms"), "use delay=... alone"),
        (("127.0.0.1:0", "--to", "127.0.0.1:9", "forward", "lose=1%"), "'lose=1%' is no imp"),
        (("127.0.0.1:0", "--to", "127.0.0.1:9", "--at", "5s", "dawn"), "line 1 of the timetable"),
        (("127.0.0.1:0", "--to", "127.0.0.1:9", "--flows", "9/never"), "'never' is no time"),
        (("127.0.0.1:0", "--to", "239.0.0.1:9"), "multicast group"),
        (("127.0.0.1:0", "--to", "127.0.0.1:9", "--flows", "0"), "'0' is no number of 1 or more"),
        (("nonsense:x", "--to", "127.0.0.1:9"), "listen on is 'nonsense:x': use [ADDR]:PORT"),
        (("nowhere:1", "--to", "127.0.0.1:9"), "nowhere"),
        (("127.0.0.1:0", "--to", "[fe80::1%none]:9"), "this host has no interface 'none'"),
        (("127.0.0.1:0", "--to", "::1:9"), "use HOST:PORT or [IPV6]:PORT"),
    ],
)
def test_what_cannot_be_is_explained(
    shmring_namespace: str, words: tuple[str, ...], says: str
) -> None:
    code = 2 if words == ("link", "loss=1%") else 1
    assert says in run(*words, code=code).stderr


@pytest.mark.check
def test_a_channel_that_is_no_proxy(shmring_pool: shmring.Pool) -> None:
    shmring_pool.open("plain", local=("127.0.0.1", 0))
    assert "channel 'plain' is no proxy" in run("plain", code=1).stderr
