"""`rtstat --serve-metrics` as a process, read by the official parsers."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import urllib.request

import pytest
from kit.commands import RTSTAT, run
from kit.waiting import until

import shmring
from rtstat.metric_table import BOUNDS_NS, FAMILIES
from rtstat.metrics import SHORTEST_NS

pytest.importorskip("prometheus_client")

from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

PATIENCE_S = 60
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
NAMES = {family.name.removesuffix("_total").removesuffix("_info") for family in FAMILIES}


@contextlib.contextmanager
def serving(*words):
    """A server that has said where it is; yields its URL."""
    process = subprocess.Popen(
        [*RTSTAT, "--serve-metrics", "0", *words], stderr=subprocess.PIPE, text=True
    )
    try:
        line = process.stderr.readline()
        assert line.startswith("metrics at http://127.0.0.1:"), line
        yield line.split()[-1]
        process.send_signal(signal.SIGTERM)
        _, rest = process.communicate(timeout=PATIENCE_S)
        assert (process.returncode, rest) == (0, "")
    finally:
        process.kill()
        process.communicate()


def fetch(url, **headers):
    """Whatever was read for a page before is old enough not to be served again."""
    time.sleep(SHORTEST_NS / 1e9)
    request = urllib.request.Request(url, headers=headers)
    with urllib.request.urlopen(request, timeout=PATIENCE_S) as reply:
        return reply.headers, reply.read()


def samples(url):
    """By name and labels: value, of the page in OpenMetrics."""
    _, page = fetch(url, Accept=OPENMETRICS)
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in parse_openmetrics(page.decode())
        for sample in family.samples
    }


def of_channel(found, name, channel="ctl", **labels):
    """The one sample of that name of a channel."""
    wanted = {"channel": channel, **labels}.items()
    values = [
        value for (n, own), value in found.items() if n == name and wanted <= dict(own).items()
    ]
    assert len(values) == 1, (name, values)
    return values[0]


def send_timed(channel, count=50, late=0):
    now = time.monotonic_ns()
    for i in range(count):
        channel.send(b"x" * 100, at=now + (5_000_000 + i * 100_000 if i >= late else -1_000_000))
    until(lambda: not channel.stats().tx_waiting)


def test_the_page_is_what_the_channel_counts_in_both_formats(shmring_open):
    here, _ = shmring_open("ctl")
    send_timed(here, late=4)
    stats = here.stats()
    with serving() as url:
        headers, text = fetch(url)
        assert headers["Content-Type"].startswith("text/plain")
        families = {family.name: family for family in parse_text(text.decode())}
        assert set(families) <= {*NAMES, *(f"{name}_info" for name in NAMES)}
        assert all(family.documentation for family in families.values())
        headers, _ = fetch(url, Accept=OPENMETRICS)
        assert headers["Content-Type"].startswith("application/openmetrics-text")
        found = samples(url)
    assert of_channel(found, "shmring_channel_tx_sent_packets_total") == 50
    assert of_channel(found, "shmring_channel_tx_bytes_total") == 5000
    assert of_channel(found, "shmring_channel_late_packets_total") == stats.tx_late >= 4
    assert of_channel(found, "shmring_channel_served") == 1
    assert of_channel(found, "shmring_channel_lateness_seconds_count") == 50
    assert of_channel(found, "shmring_channel_lateness_seconds_sum") == pytest.approx(
        stats.lateness.sum / 1e9
    )
    assert of_channel(found, "shmring_channel_lateness_max_seconds") == pytest.approx(
        stats.lateness.max / 1e9
    )
    info = {"engine": "udp", "direction": "duplex", "state": "open", "worker": "0"}
    assert of_channel(found, "shmring_channel_info", **info) == 1
    for bound in BOUNDS_NS:
        below = of_channel(found, "shmring_channel_lateness_seconds_bucket", le=repr(bound / 1e9))
        limits = [
            sum(n for upper, n in stats.lateness.buckets() if upper <= bound * share)
            for share in (0.96, 1.04)
        ]
        assert limits[0] <= below <= limits[1], bound
    assert of_channel(found, "shmring_channel_lateness_seconds_bucket", le="+Inf") == 50


@pytest.mark.check
def test_counters_never_fall_also_when_a_worker_is_replaced(shmring_open, eventually):
    here, _ = shmring_open("ctl")
    with serving() as url:
        send_timed(here)
        before = samples(url)
        os.kill(here.stats().worker_pid, signal.SIGKILL)
        eventually(lambda: here.stats().epoch == 2)
        send_timed(here)
        after = samples(url)
    falling = [
        key
        for key, value in before.items()
        if key[0].startswith("shmring_channel")
        and key[0].endswith(("_total", "_bucket", "_count", "_sum"))
        and after.get(key, -1) < value
    ]
    assert falling == []
    assert of_channel(after, "shmring_channel_tx_sent_packets_total") == 100
    assert of_channel(after, "shmring_channel_epoch") == 2
    (restarts,) = [v for (name, _), v in after.items() if name == "shmring_worker_restarts_total"]
    assert restarts == 1


@pytest.mark.check
def test_what_is_gone_vanishes_and_what_is_new_appears(shmring_open):
    here, there = shmring_open("ctl")
    with serving() as url:
        assert of_channel(samples(url), "shmring_channel_served") == 1
        here.close()
        there.close()
        found = samples(url)
        assert not [key for key in found if dict(key[1]).get("channel")]
        shmring_open("other")
        assert of_channel(samples(url), "shmring_channel_served", channel="other") == 1


def test_parts_of_engines_are_there(shmring_pool):
    shmring_pool.open("voice", shmring.Rtp(codec="pcmu"), local=("127.0.0.1", 0))
    shmring_pool.open(
        "press",
        shmring.Netflux(send=8, receive=8, cycle_ns=50_000_000),
        remote=("127.0.0.1", 9),
    )
    with serving() as url:
        found = samples(url)
    assert of_channel(found, "shmring_rtp_received_packets_total", "voice", engine="rtp") == 0
    assert of_channel(found, "shmring_rtp_jitter_seconds", "voice") == 0
    assert of_channel(found, "shmring_netflux_alive", "press", engine="netflux") == 0
    assert of_channel(found, "shmring_netflux_cycle_seconds", "press") == pytest.approx(0.05)


@pytest.mark.check
def test_udt_connections_are_there(shmring_namespace, shmring_pool):
    from shmring import udt

    with udt.listen(("127.0.0.1", 0), pool=shmring_pool) as listener:
        client = udt.connect(listener.local, pool=shmring_pool)
        server, _ = listener.accept(timeout=PATIENCE_S)
        client.sendall(b"x" * 3000)
        with serving() as url:
            found = samples(url)
        client.close()
        server.close()
    sent = [v for (name, _), v in found.items() if name == "shmring_udt_sent_bytes_total"]
    assert sorted(sent) == [0, 3000]
    assert [v for (name, _), v in found.items() if name == "shmring_udt_port_sockets"]


@pytest.mark.check
def test_only_the_channels_asked_for_are_there(shmring_open):
    shmring_open("ctl")
    with serving("--channel", "ctl") as url:
        found = samples(url)
    assert {dict(labels)["channel"] for _, labels in found if "channel" in dict(labels)} == {"ctl"}


@pytest.mark.check
def test_a_host_without_channels_has_a_page(shmring_namespace):
    with serving() as url:
        found = samples(url)
    assert [name for name, _ in found if name == "shmring_exporter_info"]


@pytest.mark.check
@pytest.mark.parametrize("address", ["", "http", "70000", ":80", "localhost:"])
def test_an_address_that_is_none_is_wrong_usage(address):
    assert "[HOST:]PORT" in run(RTSTAT, f"--serve-metrics={address}", code=1).stderr


@pytest.mark.check
def test_a_port_in_use_is_named(shmring_namespace):
    with serving() as url:
        address = url.split("/")[2]
        assert address in run(RTSTAT, "--serve-metrics", address, code=2).stderr


def test_without_prometheus_client_the_fix_is_named(monkeypatch, capsys):
    from rtstat.cli import main
    from shmring_cli.common import USAGE

    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    assert main(["--serve-metrics", "0"]) == USAGE
    assert 'pip install "shmring[metrics]"' in capsys.readouterr().err


def test_a_program_can_serve_them_among_its_own(shmring_open, shmring_namespace):
    from prometheus_client import CollectorRegistry, generate_latest

    from rtstat.metrics import Collector
    from rtstat.snapshot import Watch

    here, _ = shmring_open("ctl")
    send_timed(here)
    registry = CollectorRegistry()
    with Watch(shmring_namespace) as watch:
        registry.register(Collector(watch))
        families = {
            family.name: family for family in parse_text(generate_latest(registry).decode())
        }
    assert sum(s.value for s in families["shmring_channel_tx_sent_packets"].samples) == 50
