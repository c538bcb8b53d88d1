"""Names of the metrics, by the conventions; and the dashboard, which may ask for no others."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

from rtstat.metric_table import BOUNDS_NS, FAMILIES

BASE_UNITS = ("seconds", "bytes", "ratio")
# What says a unit that is none of the base ones, wherever it stands in a name.
OTHER_UNITS = re.compile(
    r"_(?:ns|us|ms|s|milliseconds|microseconds|nanoseconds|minutes|bits|kb|mb|kilobytes|percent|"
    r"ppm|ppb|pps|bps)(?:_|$)"
)
SUFFIXES = {"histogram": ("_bucket", "_count", "_sum"), "summary": ("_count", "_sum")}
BY_NAME = {family.name: family for family in FAMILIES}


def sample_names():
    for family in FAMILIES:
        yield from (family.name + suffix for suffix in SUFFIXES.get(family.kind, ("",)))


@pytest.fixture(scope="module")
def dashboard():
    command = [sys.executable, "-m", "rtstat.dashboard"]
    return json.loads(subprocess.run(command, capture_output=True, check=True, timeout=60).stdout)


def test_names_are_unique_and_their_samples_too():
    assert len(BY_NAME) == len(FAMILIES)
    assert len(set(sample_names())) == len(list(sample_names()))


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_a_name_follows_the_conventions(family):
    assert re.fullmatch(r"shmring_[a-z][a-z0-9]*(_[a-z0-9]+)*", family.name)
    assert family.name.endswith("_total") == (family.kind == "counter")
    assert family.name.endswith("_info") == (family.kind == "info")
    assert not OTHER_UNITS.search(family.name)
    assert not family.name.endswith(("_count", "_sum", "_bucket", "_created"))
    words = family.name.removesuffix("_total").split("_")
    assert len([unit for unit in BASE_UNITS if unit in words]) <= 1
    for unit in BASE_UNITS:
        assert unit not in words or words[-1] == unit
    if family.kind in ("histogram", "summary"):
        assert words[-1] == "seconds"
    if family.field is not None and family.field.unit in ("ns", "s"):
        assert words[-1] == "seconds"
    assert len(family.help) > 8
    assert "\n" not in family.help
    assert "le" not in family.labels


def test_bounds_rise():
    assert list(BOUNDS_NS) == sorted(set(BOUNDS_NS))


# --- the dashboard --------------------------------------------------------------------------------


def panels(dashboard):
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def test_the_dashboard_can_be_imported(dashboard):
    assert dashboard["uid"] == "shmring"
    assert dashboard["schemaVersion"] >= 36
    assert "id" not in dashboard
    variables = {item["name"]: item for item in dashboard["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    assert list(variables) == ["datasource", "namespace", "pool", "channel"]
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(ids)) == len(ids)
    for panel in panels(dashboard):
        assert panel["title"]
        assert panel["datasource"]["uid"] == "${datasource}"
        assert panel["targets"], panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"]
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24


def test_panels_do_not_cover_each_other(dashboard):
    taken = {}
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert taken.setdefault((x, y), panel["id"]) == panel["id"], panel["title"]


def expressions(dashboard):
    for panel in panels(dashboard):
        yield from ((panel["title"], target["expr"]) for target in panel["targets"])
    for variable in dashboard["templating"]["list"][1:]:
        yield variable["name"], variable["definition"]


def test_expressions_name_only_metrics_and_labels_that_exist(dashboard):
    known = set(sample_names())
    labels = {name: set(family.labels) for name, family in BY_NAME.items()}
    for title, expression in expressions(dashboard):
        names = re.findall(r"\bshmring_\w+", expression)
        assert names, title
        for name in names:
            assert name in known, title
            family = re.sub(r"_(?:bucket|count|sum)$", "", name)
            allowed = labels.get(name) or labels[family] | {"le"}
            asked = re.findall(rf"{name}\{{([^}}]*)\}}", expression)
            used = {label for part in asked for label in re.findall(r"(\w+)=~", part)}
            by = re.findall(r"\bby \(([^)]*)\)", expression)
            used |= {label.strip() for part in by for label in part.split(",")}
            assert used <= allowed, title
        assert expression.count("(") == expression.count(")")
        assert expression.count("{") == expression.count("}")


def test_rates_are_taken_of_counters_and_quantiles_of_buckets(dashboard):
    for title, expression in expressions(dashboard):
        for name in re.findall(r"\b(?:rate|increase)\((shmring_\w+)", expression):
            assert name.endswith(("_total", "_bucket")), title
        for name in re.findall(r"\b(shmring_\w+_total)\b", expression):
            assert re.search(rf"(?:rate|increase)\({name}\{{[^}}]*\}}\[", expression), title
        if "histogram_quantile" in expression:
            assert re.search(r"by \([^)]*\ble\b", expression), title
