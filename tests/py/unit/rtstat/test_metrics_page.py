"""The page as text: as the official parsers read it, and as prometheus_client would write it."""

from __future__ import annotations

import gzip
from types import SimpleNamespace

import pytest

from rtstat import metrics_page, serve
from rtstat.metrics import pages as metrics_pages

pytest.importorskip("prometheus_client")

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

KINDS = {
    metrics_page.TEXT: (generate_latest, parse_text),
    metrics_page.OPENMETRICS: (generate_openmetrics, parse_openmetrics),
}


def make(name, kind, help_text, *samples):
    metric = Metric(name, help_text, kind)
    for suffix, labels, value in samples:
        metric.add_sample(f"{name}{suffix}", labels, value)
    return metric


@pytest.fixture
def metrics():
    odd = {"channel": 'a "b" \\ c\nd', "namespace": "µ"}
    bounds = [("1e-06", 1.0), ("0.01", 5.0), ("+Inf", 7.0)]
    return [
        make("shmring_sent_packets", "counter", "Packets", ("_total", odd, 3.0)),
        make("shmring_empty", "gauge", 'A "line"\nand \\ another', ("", {}, 0.25)),
        make("shmring_build", "info", "What it is", ("_info", {"version": "1"}, 1.0)),
        make(
            "shmring_late_seconds",
            "histogram",
            "Lateness",
            *(("_bucket", {**odd, "le": le}, value) for le, value in bounds),
            ("_count", odd, 7.0),
            ("_sum", odd, 1.5e-7),
        ),
        make("shmring_call_seconds", "summary", "Calls", ("_count", odd, 2.0), ("_sum", odd, 1e-9)),
    ]


class Registered:
    def __init__(self, metrics):
        self.metrics = metrics

    def collect(self):
        return self.metrics


def read(parse, page):
    return [
        (family.name, family.type, family.documentation, sorted(map(str, family.samples)))
        for family in parse(page.decode())
    ]


@pytest.mark.parametrize("kind", list(KINDS))
def test_the_page_says_what_prometheus_client_would_say(metrics, kind):
    generate, parse = KINDS[kind]
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Registered(metrics))
    page = metrics_page.render(metrics, kind)
    assert read(parse, page) == read(parse, generate(registry))
    assert page.decode().splitlines() == generate(registry).decode().splitlines()


def request(metrics, method="GET", path="/metrics", verdict=("ok", "OK\n"), **headers):
    said = []
    environ = {"REQUEST_METHOD": method, "PATH_INFO": path, **headers}
    collector = SimpleNamespace(collect=lambda: metrics, check=lambda: verdict)
    pages = metrics_pages(collector)
    application = serve.application({"/": serve.landing(pages), **pages}, ["localhost"])
    body = b"".join(application(environ, lambda status, fields: said.append((status, fields))))
    status, fields = said[0]
    return status, dict(fields), body


def test_who_asks_for_openmetrics_gets_it_and_others_text(metrics):
    prometheus = (
        "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
    )
    assert request(metrics)[1]["Content-Type"] == metrics_page.TEXT
    assert request(metrics, HTTP_ACCEPT="*/*")[1]["Content-Type"] == metrics_page.TEXT
    _, fields, body = request(metrics, HTTP_ACCEPT=prometheus)
    assert fields["Content-Type"] == metrics_page.OPENMETRICS
    assert body.endswith(b"# EOF\n")


def test_it_is_compressed_for_who_can_read_that(metrics):
    _, fields, body = request(metrics, HTTP_ACCEPT_ENCODING="gzip, deflate")
    assert fields["Content-Encoding"] == "gzip"
    assert fields["Content-Length"] == str(len(body))
    assert gzip.decompress(body) == metrics_page.render(metrics, metrics_page.TEXT)


def test_other_requests_are_refused(metrics):
    assert request(metrics, method="HEAD")[2] == b""
    assert request(metrics, method="POST")[0].startswith("405")
    assert request(metrics, path="/etc/passwd")[0].startswith("404")
    assert request(metrics, path="/")[0].startswith("200")


@pytest.mark.parametrize(
    ("verdict", "status"),
    [("ok", "200 OK"), ("troubled", "200 OK"), ("broken", "503 Service Unavailable")],
)
def test_only_what_is_broken_is_no_good_health(metrics, verdict, status):
    said = request(metrics, path="/healthz", verdict=(verdict, "µ\n"))
    assert (said[0], said[2]) == (status, "µ\n".encode())
    assert said[1]["Content-Length"] == "3"
    assert request(metrics, "HEAD", "/healthz", ("broken", "bad\n"))[2] == b""
