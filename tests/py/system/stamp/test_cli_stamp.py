"""`shmring reflect` and `shmring clock` as processes."""

from __future__ import annotations

import functools
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from kit import commands
from kit.wire import free_port

import shmring

COMMAND = [sys.executable, "-P", "-W", "ignore::RuntimeWarning", "-m", "shmring_cli"]
PATIENCE_S = 60

pytestmark = pytest.mark.usefixtures("shmring_namespace")

Started = tuple[subprocess.Popen[str], str]


run = functools.partial(commands.run, COMMAND)


@pytest.fixture
def reflecting() -> Iterator[Callable[..., Started]]:
    with ExitStack() as stack:

        def begin(*words: str) -> Started:
            """Start a reflector and return it with its port."""
            process = subprocess.Popen(
                [*COMMAND, "reflect", *words],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            stack.callback(process.communicate)
            stack.callback(process.kill)
            assert process.stderr is not None
            line = process.stderr.readline()
            assert line.startswith("answering on "), line
            return process, line.strip().rpartition(":")[2]

        yield begin


def port_of_nobody() -> str:
    return str(free_port())


def test_replies_are_apart_without_gso(reflecting: Callable[..., Started]) -> None:
    reflector, _ = reflecting(f"127.0.0.1:{port_of_nobody()}", "--socket", "no-gso")
    (name,) = [
        info.name
        for info in shmring.channels()
        if info.name.startswith(f"reflect.{reflector.pid}.")
    ]
    with shmring.attach(name, readonly=True) as channel:
        assert not channel.stats().gso


def test_a_clock_and_a_reflector(reflecting: Callable[..., Started]) -> None:
    reflector, port = reflecting(f"127.0.0.1:{port_of_nobody()}", "--sessions", "9/60s", "--json")
    done = run("clock", f"127.0.0.1:{port}", "--count", "2", "--interval", "0.2", "--json")
    document = json.loads(done.stdout)
    assert (document["tool"], document["lacking"].__class__) == ("clock", list)
    lines = document["estimates"]
    assert len(lines) == 2
    for line in lines:
        assert abs(line["offset_ns"]) <= line["bound_ns"]
    shown = run("clock", f"127.0.0.1:{port}", "--count", "1", "--interval", "0.2").stdout
    assert "offset" in shown
    assert "+-" in shown
    reflector.send_signal(signal.SIGTERM)
    out, _ = reflector.communicate(timeout=PATIENCE_S)
    assert reflector.returncode == 0
    report = json.loads(out)
    assert report["fates"]["answered"] >= lines[-1]["answers"]["exchanges"] > 0
    assert report["session_total"] == 2


@pytest.mark.check
def test_a_report_in_words(reflecting: Callable[..., Started]) -> None:
    reflector, port = reflecting(f":{port_of_nobody()}", "--allow", "10.0.0.0/8")
    failed = run("clock", f"127.0.0.1:{port}", "--wait", "300ms", code=2)
    assert "no reply from 127.0.0.1" in failed.stderr
    reflector.send_signal(signal.SIGINT)
    out, _ = reflector.communicate(timeout=PATIENCE_S)
    assert reflector.returncode == 0
    assert "packets: 0 answered in" in out
    assert "packets from sources outside of the allowed networks" in out


@pytest.mark.check
@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("reflect", "--allow", "10.0.0.1/8"), "has host bits set: use 10.0.0.0/8"),
        (("reflect", "nowhere:x"), "port is 'x'"),
        (("reflect", ":8620", "--pps", "-1"), "'-1' is no rate: use 0, 1000 or 50k"),
        (("clock", "10.0.0.1", "--pps", "0"), "'0' is no rate above 0"),
        (("clock", "10.0.0.1", "--interval", "nan"), "'nan' is no time"),
        (("clock", "10.0.0.1", "--interval", "1us"), "use 0.001 to 86400 s"),
        (("clock", "10.0.0.1", "--clock", "utc"), "use realtime, tai or monotonic"),
        (("clock", "10.0.0.1", "--count", "0"), "'0' is no number of 1 or more"),
        (("clock", "10.0.0.1:0"), "port is '0': it must be 1 to 65535"),
    ],
)
def test_wrong_words(words: tuple[str, ...], text: str) -> None:
    assert text in run(*words, code=1).stderr


@pytest.mark.check
def test_the_limit_of_replies_is_a_rate(reflecting: Callable[..., Started]) -> None:
    process, _ = reflecting(f"127.0.0.1:{port_of_nobody()}", "--pps", "200k")
    process.send_signal(signal.SIGINT)
    assert "packets: 0 answered" in process.communicate(timeout=PATIENCE_S)[0]


@pytest.mark.check
@pytest.mark.program("setpriv")
def test_port_862_without_the_privilege() -> None:
    with open("/proc/sys/net/ipv4/ip_unprivileged_port_start", encoding="ascii") as file:
        if int(file.read()) <= 862:
            pytest.skip("everybody may bind port 862 here")
    done = subprocess.run(
        ["setpriv", "--bounding-set=-all", "--inh-caps=-all", *COMMAND, "reflect", "127.0.0.1"],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 2
    assert "choose a port above 1023 (`shmring reflect :8620`" in done.stderr
