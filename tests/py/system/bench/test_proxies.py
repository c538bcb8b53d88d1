"""`shmring bench impair`: the rows it prints. The figures are not judged."""

import pytest

pytestmark = pytest.mark.check


def test_proxies_have_their_rows(command, rows_of):
    done = command("impair", "--seconds", "0.1", "--runs", "1", "--json")
    assert done.returncode in (0, 2), done.stderr  # 2: a busy machine lost datagrams
    rows = rows_of(done.stdout, "impair")
    at_once = {row["system"] for row in rows if row["case"] == "10kpps-64B"}
    ours_and_goal = {"shmring", "shmring-latency", "floor", "target"}
    assert ours_and_goal <= at_once
    delayed = [row for row in rows if row["case"] == "10kpps-64B-20ms"]
    assert {row["system"] for row in delayed} == ours_and_goal
    assert {"error_p50", "error_p99", "direct_p50"} <= {row["metric"] for row in delayed}
