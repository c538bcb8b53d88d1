"""Batches in other libraries: Arrow (polars, duckdb, nanoarrow) and DLPack (NumPy)."""

import gc
import pickle
import subprocess
import sys
import weakref

import numpy as np
import pytest
from needs import require_module

import shmring
from shmring.batch import PacketBatch, ReportBatch


def packets(ch, payloads, **options):
    ch.send_many(payloads, to=ch.home, timeout=20)
    ch.flush(timeout=20)
    while ch.rx_waiting < len(payloads):
        pass
    return ch.recv_many(**options)


@pytest.fixture(params=[pytest.param("nanoarrow", marks=pytest.mark.check)])
def nanoarrow(request):
    return require_module(request.param)


def rows(nanoarrow, batch):
    return nanoarrow.Array(batch).to_pylist()


def test_packets_are_a_table(loop, nanoarrow):
    ch = loop()
    batch = packets(ch, [b"a", b"", b"ccc"])
    got = rows(nanoarrow, batch)
    assert [row["payload"] for row in got] == [b"a", b"", b"ccc"]
    assert [row["sequence"] for row in got] == [0, 1, 2]
    assert [row["timestamp_ns"] for row in got] == list(batch.timestamps_ns)
    assert [row["stamp"] for row in got] == [str(packet.stamp) for packet in batch]
    assert {(row["source_ip"], row["source_port"]) for row in got} == {ch.home}
    stream = nanoarrow.ArrayStream(batch)
    assert stream.read_all().to_pylist() == got
    assert nanoarrow.Schema(batch).field(0).name == "sequence"


def test_payloads_with_gaps_are_copied(loop, nanoarrow):
    ch = loop()
    batch = packets(ch, [b"a", b"bb"], out=np.zeros((4, 4), np.uint8))
    assert [row["payload"] for row in rows(nanoarrow, batch)] == [b"a", b"bb"]
    ch.send(b"lent", to=ch.home)
    with ch.loan_many(timeout=20) as loan:
        array = nanoarrow.Array(loan)
    assert array.to_pylist()[0]["payload"] == b"lent"  # after the loan


def test_an_overwritten_loan_is_no_table(loop):
    ch = loop(tx=shmring.Queue(100, 64), rx=8)
    assert ch.try_recv() is None
    batch = packets(ch, [b"old"] * 8, max=1)
    assert len(batch) == 1
    loan = ch.loan_many()
    before = ch.stats().rx_received
    ch.send_many([b"new"] * 4, to=ch.home)
    while ch.stats().rx_received < before + 4:
        pass
    with pytest.raises(shmring.errors.LoanOverwritten):
        loan.__arrow_c_array__()
    with pytest.raises(shmring.errors.LoanOverwritten):
        loan.release()


def test_reports_are_a_table(loop, nanoarrow):
    ch = loop()
    packets(ch, [b"a", b"b"])
    reports = ch.reports().read()
    got = rows(nanoarrow, reports)
    assert [row["sequence"] for row in got] == [r.sequence for r in reports] == [0, 1]
    assert [row["verdict"] for row in got] == [str(r.verdict) for r in reports]
    assert [row["sent_ns"] for row in got] == [r.sent_ns for r in reports]


def test_bytes_that_somebody_scribbled_over(nanoarrow):
    got = rows(nanoarrow, ReportBatch(b"\xff" * 64, 1))
    assert (got[0]["verdict"], got[0]["stamp"]) == ("failed", "none")
    record = bytes(16) + (7).to_bytes(8, sys.byteorder) + b"\xff\xff\0\0" + b"\xff" + bytes(51)
    with pytest.raises(ValueError, match="payload 0 is not inside"):
        PacketBatch(b"", record, 1).__arrow_c_array__()
    assert rows(nanoarrow, PacketBatch(b"", b"", 0)) == []


def test_what_a_consumer_holds_outlives_the_batch(loop, nanoarrow):
    batch = packets(loop(), [b"kept", b"too"])
    held = bytearray(batch.payload)
    batch = PacketBatch(memoryview(held), bytes(batch._records), 2)
    array = nanoarrow.c_array(batch)
    capsules = batch.__arrow_c_array__()
    stream = batch.__arrow_c_stream__()
    del batch
    gc.collect()
    with pytest.raises(BufferError):
        held.append(0)
    assert nanoarrow.Array(array).to_pylist()[1]["payload"] == b"too"
    del array, capsules, stream
    gc.collect()
    held.append(0)


READ = {
    "polars": """
import polars
frame = polars.DataFrame(batch)
assert frame["payload"].to_list() == [b"a", b"bb", b"ccc"]
assert frame["stamp"].cast(polars.String).to_list() == ["kernel"] * 3
assert polars.DataFrame(reports)["verdict"].cast(polars.String).to_list() == ["on_time"]
""",
    "duckdb": """
import duckdb
got = duckdb.sql("select sequence, octet_length(payload) from batch").fetchall()
assert got == [(0, 1), (1, 2), (2, 3)], got
assert duckdb.sql("select verdict from reports").fetchall() == [("on_time",)]
""",
}


@pytest.mark.check
@pytest.mark.parametrize("library", READ)
def test_other_libraries_read_batches_without_pyarrow(loop, library):
    require_module(library)
    ch = loop(tolerance_ns=10**9)
    batch = packets(ch, [b"a", b"bb", b"ccc"])
    reports = ReportBatch(bytes(ch.reports().read()._records), 1)
    script = (
        "import pickle, sys\nsys.modules['pyarrow'] = None\n"
        f"batch, reports = pickle.loads({pickle.dumps((batch, reports))!r})\n{READ[library]}"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", script], capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr


def test_numpy_takes_tensors(loop):
    ch = loop()
    batch = packets(ch, [b"ab", b"c"])
    view = np.from_dlpack(batch)
    assert view.tobytes() == b"abc"
    assert np.shares_memory(view, np.frombuffer(batch.payload, np.uint8))
    assert not view.flags.writeable
    assert np.from_dlpack(batch, copy=True).flags.writeable
    out = bytearray(100)
    batch = packets(ch, [b"xy"], out=out)
    np.from_dlpack(batch)[0] = ord("z")
    assert out[:2] == b"zy"
    reports = ch.reports().read()
    times = np.from_dlpack(reports)
    assert times.shape == (3, 7)
    assert times[:, 4].tolist() == [r.sent_ns for r in reports]


def test_tensors_for_consumers_of_older_versions(loop):
    batch = packets(loop(), [b"ab"])
    assert batch.__dlpack_device__() == (1, 0)
    assert '"dltensor"' in repr(batch.__dlpack__())
    assert '"dltensor_versioned"' in repr(batch.__dlpack__(max_version=(1, 0)))
    for refused in ({"copy": False}, {"stream": 1}, {"dl_device": (2, 0)}):
        with pytest.raises(BufferError):
            batch.__dlpack__(**refused)
    owner = weakref.ref(view := np.from_dlpack(batch))
    del batch
    gc.collect()
    assert view.tobytes() == b"ab"
    del view
    assert owner() is None
