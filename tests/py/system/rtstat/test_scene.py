"""Everything goes wrong at once: what rtstat says of it, in which order, with which exit codes."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import json
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kit import commands
from kit.commands import RTSTAT
from rtstat_scene import TROUBLES, Scene

from rtstat.metrics import Collector
from rtstat.snapshot import Snapshot, Watch
from rtstat.table import FIELDS

pytestmark = pytest.mark.check

BROKEN = 5
# A machine under load stops workers and senders: then more is late than the scene has made so.
LOAD = {"late", "kernel_drops", "overwritten", "rtp_loss", "worker_stalled"}


run = functools.partial(commands.run, RTSTAT, code=None)


@pytest.fixture
def scene(shmring_namespace: str) -> Iterator[Scene]:
    with Scene(shmring_namespace) as built:
        yield built


def test_the_list_of_troubles(
    scene: Scene, shmring_namespace: str, eventually: Callable[..., Any]
) -> None:
    expected = {(name, f"{shmring_namespace}/{where}") for name, _, where in TROUBLES}

    def key(trouble: Any) -> tuple[str, str]:
        return trouble.name, trouble.subject

    with Watch(shmring_namespace) as watch:

        def whole() -> Snapshot | None:
            shot = watch.read()
            return shot if expected <= {key(trouble) for trouble in shot.troubles} else None

        shot = eventually(whole)
    assert shot.verdict == "broken"
    more = [trouble for trouble in shot.troubles if key(trouble) not in expected]
    assert {trouble.name for trouble in more} <= LOAD
    found = [trouble for trouble in shot.troubles if key(trouble) in expected]
    assert [(t.name, t.severity, t.subject.partition("/")[2]) for t in found] == list(TROUBLES)
    said = {trouble.name: f"{trouble.text} -> {trouble.fix}" for trouble in found}
    assert f"process {scene.stopped_pid} has been stopped" in said["worker_stopped"]
    assert "5 packets not sent -> " in said["worker_stopped"]
    assert f"kill -CONT {scene.stopped_pid}" in said["worker_stopped"]
    assert "has been silent for" in said["link_silent"]
    assert f"process {scene.opener_pid}, which opened it, is dead" in said["no_producer"]
    assert f"process {scene.opener_pid}, which opened it, is dead" in said["orphaned"]
    assert "rcvbuf_bytes=" in said["kernel_drops"]
    assert f"process {scene.reader_pid} (" in said["overwritten"]
    assert f"rtstat why {shmring_namespace}/axis" in said["late"]
    assert "of media concealed" in said["rtp_loss"]
    check_commands(scene, shmring_namespace)
    check_why(scene)
    if importlib.util.find_spec("prometheus_client") is not None:
        check_health(shmring_namespace)


def check_health(namespace: str) -> None:
    """What its metrics say of the same scene."""
    watch = Watch(namespace)
    with watch, contextlib.closing(watch):
        collector = Collector(watch)
        collector.collect()
        time.sleep(0.2)
        found = {metric.name: metric.samples for metric in collector.collect()}
        (whole,) = found["shmring_verdict"]
        assert whole.value == 2
        said = {(s.labels["name"], s.labels["channel"]) for s in found["shmring_trouble"]}
        assert {("worker_stopped", ""), ("link_silent", "plc"), ("orphaned", "spare")} <= said
        assert all(sample.labels["namespace"] == namespace for sample in found["shmring_trouble"])
        verdict, text = collector.check()
    assert (verdict, text.partition(":")[0]) == ("broken", "BROKEN")


def check_why(scene: Scene) -> None:
    """What each trouble rests on, and its fix."""

    def now(channel: str) -> dict[str, Any]:
        facts = json.loads(run("why", channel, "--json", "--interval", "200ms").stdout)
        found: dict[str, Any] = facts["now"][0] | {"stale": facts["figures_stale"]}
        return found

    press = now("press")
    assert (press["name"], press["stale"]) == ("worker_stopped", True)
    assert "5 packets wait" in " ".join(press["seen"])
    plc = now("plc")
    assert (plc["name"], plc["stale"]) == ("link_silent", False)
    assert "the last accepted datagram has number 1: " in " ".join(plc["seen"])
    sensor = now("sensor")
    assert "rcvbuf_bytes=" in sensor["fix"]
    assert sensor["grown"]["rx_kernel_drops"] > 0
    assert sensor["since_real_ns"] < time.time_ns()
    camera = now("camera")
    assert "see whether that program hangs" in camera["fix"]
    assert f"process {scene.reader_pid} (" in " ".join(camera["seen"])
    shown = run("show", "press", "--interval", "0.1", "--json")
    assert json.loads(shown.stdout)["figures_stale"] is True


def check_commands(scene: Scene, namespace: str) -> None:
    """What the command line says of the same scene."""
    facts = json.loads(run("--json").stdout)
    assert facts["verdict"] == "broken"
    assert all(list(t) == [f.name for f in FIELDS["trouble"]] for t in facts["troubles"])
    names = [trouble["name"] for trouble in facts["troubles"]]
    assert names[:3] == [name for name, _, _ in TROUBLES[:3]]
    check = run("--check")
    assert check.returncode == BROKEN
    assert check.stdout.count("\n") == 1
    assert check.stdout.startswith("BROKEN: ")
    assert f"; {namespace}/press:0 worker_stopped: process {scene.stopped_pid}" in check.stdout
    assert f"; {namespace}/valve no_producer: " in check.stdout
    assert max(map(len, run("--plain").stdout.splitlines())) <= 80
    once = run("--plain", "--channel", "spare")
    assert once.returncode == 3
    assert once.stdout.startswith("TROUBLED: 1 trouble\n")
    assert run("--check", "--channel", "plc", "--interval", "0.1").returncode == BROKEN
    nobody = run("--check", "--channel", "nobody", "--interval", "0")
    assert (nobody.returncode, nobody.stdout.split(":")[0]) == (2, "UNKNOWN")
    listed = run("list", "--unhealthy", "-q")
    assert listed.returncode == BROKEN
    of_one = run("show", "spare", "--interval", "0")
    assert of_one.returncode == 3
    assert f"process {scene.opener_pid}" in of_one.stdout
    shown = {line.partition("/")[2] for line in listed.stdout.splitlines()}
    assert {"press", "plc", "valve", "sensor", "camera", "spare"} <= shown
    assert os.environ["SHMRING_NAMESPACE"] == namespace
