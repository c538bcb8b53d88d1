"""`shmring bench impair`: the rows it prints. The figures are not judged."""

import pytest

pytestmark = pytest.mark.check


def test_proxies_have_their_rows(bench, rows_of):
    rows = rows_of(bench("impair", "--json"), "impair")
    at_once = {row["system"] for row in rows if row["case"] == "10kpps-64B"}
    ours_and_goal = {"shmring", "shmring-latency", "floor", "target"}
    assert ours_and_goal <= at_once
    delayed = [row for row in rows if row["case"] == "10kpps-64B-20ms"]
    assert {row["system"] for row in delayed} == ours_and_goal
    assert {"error_p50", "error_p99", "direct_p50"} <= {row["metric"] for row in delayed}
