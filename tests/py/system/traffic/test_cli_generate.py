"""`shmring generate` as a process."""

from __future__ import annotations

import contextlib
import functools
import json
import re
import shlex
import signal
import socket
import subprocess
import time
from typing import Any

import pytest
from kit import commands
from kit.commands import SHMRING
from kit.wire import udp

from shmring_cli import generate, main

COMMAND = [*SHMRING, "generate"]
PATIENCE_S = 60
HERE = "127.0.0.1:5004"
MANUAL = generate.__doc__ or ""

pytestmark = pytest.mark.usefixtures("shmring_namespace")


run = functools.partial(commands.run, COMMAND)


def planned(capsys: pytest.CaptureFixture[str], *words: str) -> list[dict[str, Any]]:
    assert main(["generate", *words, "--dry-run", "--json"]) == 0
    flows: list[dict[str, Any]] = json.loads(capsys.readouterr().out)["flows"]
    return flows


def test_the_table_of_flows() -> None:
    words = ["--flow", "pps=50,size=172,to=:5004", "--flow", "pps=1k..10k,size=imix,poisson"]
    shown = run("10.0.0.7", *words, "--dry-run").stdout.splitlines()
    assert shown[0].split() == [
        *("flow", "to", "packets", "payload", "rate", "bits", "begins", "lasts")
    ]
    assert shown[1].split()[:5] == ["1", "10.0.0.7:5004", "500", "172", "B"]
    assert shown[2].split()[:3] == ["2", "10.0.0.7:862", "55000"]
    assert shown[-1].startswith("55500 packets, 5.55 kpps")


@pytest.mark.parametrize(
    ("words", "packets", "payload"),
    [
        ([], 10_000, 200),
        (["--pps", "1k", "--size", "300", "--duration", "2"], 2000, 300),
        (["--flow", "poisson", "--size", "imix"], 10_000, (18 * 7 + 548 * 4 + 1472) / 12),
        (["--pps", "10/1ms", "--duration", "1"], 10_000, 200),
        (["--pps", "10/1ms/5us", "--count", "25"], 25, 200),
        (["--pps", "0..2k", "--duration", "500ms"], 500, 200),
        (["--pps", "1k..2k/1s", "--duration", "2s"], 3500, 200),
        (["--pps", "100:200:0/1s"], 300, 200),
        (["--pps", "100:200", "--duration", "4"], 600, 200),
        (["--pps", "1Mbit/s", "--size", "972", "--duration", "1"], 125, 972),
        (["--flow", "on-off=10ms/90ms", "--pps", "10k", "--duration", "1"], 1000, 200),
        (["--size", "100-200"], 10_000, 150),
        (["--size", "100*3:200", "--count", "4k"], 4000, 125),
        (["--pps", "10", "--flow", "count=5,size=64"], 5, 64),
    ],
)
def test_words_become_flows(
    capsys: pytest.CaptureFixture[str], words: list[str], packets: float, payload: float
) -> None:
    (flow,) = planned(capsys, HERE, *words)
    assert flow["packets"] == packets
    assert flow["payload_bytes"] == pytest.approx(payload)


@pytest.mark.parametrize("line", re.findall(r"^ +shmring generate (.*?)(?:   .*)?$", MANUAL, re.M))
def test_the_examples_of_the_manual(capsys: pytest.CaptureFixture[str], line: str) -> None:
    assert planned(capsys, *shlex.split(line))


@pytest.mark.check
def test_a_name_and_no_end(capsys: pytest.CaptureFixture[str]) -> None:
    (flow,) = planned(capsys, "localhost:99", "--duration", "forever")
    assert flow["to"] in (["127.0.0.1", 99], ["::1", 99])
    assert flow["packets"] is None


@pytest.mark.check
@pytest.mark.parametrize(
    ("words", "to"),
    [
        (["::1"], ["::1", 862]),
        (["[::1]:5"], ["::1", 5]),
        (["fe80::1", "--socket", "interface=lo"], ["fe80::1%lo", 862]),
        (["fe80::1%lo"], ["fe80::1%lo", 862]),
        (["::1", "--flow", "to=:7"], ["::1", 7]),
    ],
)
def test_ipv6(capsys: pytest.CaptureFixture[str], words: list[str], to: list[Any]) -> None:
    assert planned(capsys, *words)[0]["to"] == to


def test_a_report() -> None:
    words = [HERE, "--pps", "1k", "--count", "100", "--limit", "late=100%"]
    done = run(*words)
    assert done.stdout.startswith("packets: 100 sent in ")
    assert "lateness: p50" in done.stdout
    facts = json.loads(run(*words, "--json", code=None).stdout)
    assert facts["packets"] == 100
    assert facts["sent"] + facts["failed"] == 100
    assert facts["flows"] == [
        {"to": ["127.0.0.1", 5004], "ssid": 1, "packets": 100, "payload_bytes": 20000}
    ]


@pytest.mark.check
@pytest.mark.parametrize("words", [[], ["--socket", "no-gso"]])
def test_packets_are_apart_without_gso(words: list[str]) -> None:
    """A message of several packets stays one on loopback, for captures and for UDP_GRO."""
    with udp() as receiver:
        receiver.setsockopt(socket.IPPROTO_UDP, 104, 1)  # UDP_GRO
        receiver.settimeout(0.5)
        to = f"127.0.0.1:{receiver.getsockname()[1]}"
        run(to, "--pps", "20/20ms", "--count", "40", *words, "--limit", "late=100%")
        seen = []
        with contextlib.suppress(TimeoutError):
            while True:
                seen.append(len(receiver.recv(65536)))
    assert sum(seen) == 40 * 200
    assert (max(seen) == 200) == (words != [])


@pytest.mark.check
def test_packets_in_slow_calls_are_not_late() -> None:
    """4 MB at once: the call takes longer than 100 us, whenever it begins."""
    with udp() as receiver:
        to = f"127.0.0.1:{receiver.getsockname()[1]}"
        words = ["--pps", "64/50ms", "--size", "65000", "--duration", "1", "--json"]
        facts = json.loads(run(to, *words, code=None).stdout)
    assert facts["slow_calls"] + facts["late"] > 0
    assert facts["slow_calls"] + facts["late"] <= facts["sent"]
    for percent in (50, 90, 99):
        if facts["lateness"][f"p{percent}_ns"] < 49_000:
            assert facts["late_share"] <= 1 - percent / 100 + 1e-9


@pytest.mark.check
def test_late_packets_have_an_exit_code() -> None:
    """All packets at one instant: some must wait for the others."""
    done = run(HERE, "--pps", "1G", "--count", "1k", "--limit", "late=0", "--json", code=None)
    facts = json.loads(done.stdout)
    assert facts["queued"] == facts["sent"] + facts["failed"] == 1000
    assert done.returncode == (2 if facts["failed"] else 3 if facts["late"] else 0)


@pytest.mark.check
@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "to is None: name a destination"),
        (["no.such.name.invalid"], "is no destination"),
        (["10.0.0.7:99999"], "'10.0.0.7:99999' is no destination: destination: port is '99999'"),
        (["[::1]:99999"], "port is '99999'"),
        (["[::1"], "'[::1' has no end"),
        ([""], "it has neither host nor port"),
        ([":0"], "':0' is no destination"),
        (["--pps", "fast", HERE], "'fast' is no rate above 0"),
        (["--pps", "20Mbit", HERE], "'20Mbit' is no rate above 0: use 1000, 50k or 20Mbit/s"),
        (["--pps", "2G", HERE], "pps is 2000000000.0: it must be 0 to 1000000000"),
        (["--pps", "1Mbit/s", "--flow", "on-off=1/1", HERE], "on-off goes with packets a second"),
        (["--size", "1", HERE], "size is 1 bytes: at least 16"),
        (["--size", "0", HERE], "size is 0 bytes: at least 16"),
        (["--flow", "pps=1,pps=2", HERE], "pps is there twice in 'pps=1,pps=2'"),
        (["--size", "70000", HERE], "size is 70000 bytes"),
        (["--size", "x", HERE], "'x' is no size"),
        (["--pps", "x/10", HERE], "'x/10' is no burst"),
        (["--pps", "10/0", HERE], "'10/0' is no burst"),
        (["--pps", "100000/1s", HERE], "burst is 100000 packets"),
        (["--pps", "1k..", HERE], "'1k..' is no ramp"),
        (["--pps", "1k..2k", "--count", "5", HERE], "ramp has no time"),
        (["--pps", "1k:2k", "--duration", "forever", HERE], "steps has no time"),
        (["--duration", "0", HERE], "seconds is 0.0: it must be above 0"),
        (["--duration", "999d", HERE], "it must be above 0, at most 31536000 s"),
        (["--duration", "soon", HERE], "'soon' is no time"),
        (["--count", "0.5", HERE], "is no number of 1 or more"),
        (["--flow", "speed=3", HERE], "'speed=3' says nothing of a flow"),
        (["--flow", "pps=1", "--flow", "size=3", HERE], "flow 2: size is 3 bytes"),
        (["--seed", "-1", HERE], "seed is -1"),
        (["--limit", "late=-1", HERE], "'-1' is no share"),
        (["--start", "soon", HERE], "'soon' is no time"),
        (["--imix", HERE], "use --size imix"),
        (["--socket", "ttl=1,ttl=2", HERE], "ttl is there twice"),
        (["--socket", "tll=1", HERE], "use interface=, ttl=, broadcast, no-gso"),
        (["--worker", "profile=fast", HERE], "use balanced, latency, power"),
    ],
)
def test_wrong_words(capsys: pytest.CaptureFixture[str], words: list[str], message: str) -> None:
    try:
        code = main(["generate", *words])
    except SystemExit as end:
        code = end.code
    assert code == 1
    assert message in capsys.readouterr().err


@pytest.mark.check
def test_nothing_is_due() -> None:
    done = run(HERE, "--pps", "0:100/1h", "--duration", "10ms", code=2)
    assert "no packet was due in this time" in done.stdout


@pytest.mark.check
def test_an_unreachable_destination_is_a_failure() -> None:
    done = run("255.255.255.255", "--count", "3", "--json", code=2)
    assert json.loads(done.stdout)["failed"] == 3
    assert "Traceback" not in done.stderr


@pytest.mark.check
@pytest.mark.parametrize("wait_s", [0.05, 2.0])
def test_sigint_ends_it_with_its_report(wait_s: float) -> None:
    process = subprocess.Popen(
        [*COMMAND, HERE, "--duration", "forever", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        time.sleep(wait_s)
        process.send_signal(signal.SIGINT)
        out, error = process.communicate(timeout=PATIENCE_S)
    finally:
        process.kill()
        process.wait()
    if out:
        facts = json.loads(out)
        assert facts["stopped"], error
        assert facts["sent"] + facts["not_sent"] + facts["failed"] == facts["queued"]
    else:  # before it had a generator
        assert process.returncode != 0
