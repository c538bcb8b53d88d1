"""`shmring bench cyclic` and `ticks`: the rows they print. The figures are not judged."""

import pytest


def test_cycles_have_their_rows(bench, rows_of):
    rows = rows_of(bench("cyclic", "--json", "1kHz"), "cyclic")
    assert {row["system"] for row in rows} == {"shmring", "floor"}
    assert {"error_p99", "start_p99", "missed", "cpu"} <= {row["metric"] for row in rows}


@pytest.mark.check
def test_wake_ups_have_their_rows(bench, rows_of):
    rows = rows_of(bench("ticks", "--json"), "ticks")
    systems = {row["system"] for row in rows if row["case"] == "thread-1ms"}
    assert systems == {"shmring", "floor", "block_until", "time.sleep"}
    assert {"shmring", "sleep_until", "floor"} <= {row["system"] for row in rows}
    assert all(row["value"] >= 0 for row in rows)
