"""Recordings as files: what is written is read again, whole or cut off."""

import csv
import dataclasses
import json
import signal
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shmring import recording

PATIENCE_S = 60


PARQUET = (pytest.mark.check, pytest.mark.module("pyarrow"))


def with_parquet(test):
    return pytest.mark.check(pytest.mark.module("pyarrow")(test))


@pytest.fixture(params=[".csv", pytest.param(".parquet", marks=PARQUET)])
def suffix(request):
    return request.param


@pytest.fixture
def two_channels(maker):
    return maker.rows(8), maker.rows(8, channel='odd, "name"', median_ns=40_000)


def interleaved(lists):
    return [row for together in zip(*lists, strict=True) for row in together]


def test_what_is_written_is_read_again(tmp_path, maker, suffix, two_channels):
    path = maker.file(tmp_path / f"a{suffix}", *two_channels)
    read = recording.read(path)
    assert read.header == maker.header()
    assert read.rows == interleaved(two_channels)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_only_what_is_wanted_is_kept(tmp_path, maker, suffix, two_channels):
    path = maker.file(tmp_path / f"a{suffix}", *two_channels)
    assert recording.read(path, lambda row: row.channel == "ctl").rows == two_channels[0]


def test_an_empty_histogram_and_empty_fields_are_kept(tmp_path, maker, suffix):
    rows = [maker.row(0, [], pool="", engine="")]
    assert recording.read(maker.file(tmp_path / f"a{suffix}", rows)).rows == rows


def test_what_it_is_is_told_from_the_content(tmp_path, maker, suffix):
    path = maker.file(tmp_path / f"a{suffix}", maker.rows(2))
    other = path.rename(tmp_path / "renamed.data")
    assert len(recording.read(other).rows) == 2


@given(st.dictionaries(st.integers(0, 2**37), st.integers(1, 2**63 - 1), max_size=50))
def test_a_histogram_as_text_loses_nothing(counts):
    buckets = tuple(sorted(counts.items()))
    assert recording.parse_buckets(recording.buckets_text(buckets)) == buckets


@pytest.mark.parametrize("text", ["5", "5:", ":5", "5:-1", "7:1 5:1", "5:1 5:1", "a:1", "1:1;2:2"])
def test_nonsense_is_no_histogram(text):
    with pytest.raises(ValueError, match="histogram"):
        recording.parse_buckets(text)


def test_a_csv_file_is_one_for_every_program(tmp_path, maker):
    path = maker.file(tmp_path / "a.csv", maker.rows(3))
    first, *rest = path.read_text(encoding="utf-8").splitlines()
    assert first.startswith("# shmring recording ")
    header = json.loads(first.removeprefix("# shmring recording "))
    assert header == dataclasses.asdict(maker.header())
    rows = list(csv.DictReader(rest))
    assert tuple(rows[0]) == recording.COLUMNS
    assert [int(row["lateness_count"]) for row in rows] == [200, 200, 200]


@with_parquet
def test_a_parquet_file_is_one_for_every_program(tmp_path, maker):
    from pyarrow import parquet

    path = maker.file(tmp_path / "a.parquet", maker.rows(3))
    table = parquet.read_table(path)
    assert tuple(table.column_names) == recording.COLUMNS
    assert table.column("lateness_count").to_pylist() == [200, 200, 200]
    assert json.loads(table.schema.metadata[b"shmring"])["host"] == "line-3"


def test_rows_are_in_the_file_as_soon_as_they_are_written(tmp_path, maker, suffix):
    rows = maker.rows(3)
    path = tmp_path / f"a{suffix}"
    growing = path if suffix == ".csv" else tmp_path / "a.parquet.part"
    with recording.Writer(path, maker.header()) as writer:
        for count, row in enumerate(rows, 1):
            writer.write([row])
            assert recording.read(growing).rows == rows[:count]


def test_a_cut_file_gives_every_row_that_is_whole(tmp_path, maker, suffix):
    rows = maker.rows(4)
    path = tmp_path / f"a{suffix}"
    growing = path if suffix == ".csv" else tmp_path / "a.parquet.part"
    ends = []
    with recording.Writer(path, maker.header()) as writer:
        for row in rows:
            ends.append(growing.stat().st_size)
            writer.write([row])
        whole = growing.read_bytes()
    cut = tmp_path / "cut"
    for size in range(ends[0], len(whole), 37):
        cut.write_bytes(whole[:size])
        complete = sum(end <= size for end in [*ends[1:], len(whole)])
        assert recording.read(cut).rows == rows[:complete], size


KILLED = """
import sys
from pathlib import Path
import shmring.recording as r
read = r.read(sys.argv[1])
writer = r.Writer(sys.argv[2], read.header)
for row in read.rows:
    writer.write([row])
print("written", flush=True)
sys.stdin.read()
"""


def test_a_killed_recorder_leaves_a_readable_file(tmp_path, maker, suffix):
    source = maker.file(tmp_path / "source.csv", maker.rows(5))
    path = tmp_path / f"a{suffix}"
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", KILLED, source, path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout.readline() == "written\n"
        process.send_signal(signal.SIGKILL)
        process.wait(PATIENCE_S)
    finally:
        process.kill()
        process.communicate()
    if suffix == ".parquet":
        assert recording.finish(tmp_path / "a.parquet.part") == path
    assert recording.read(path).rows == maker.rows(5)
    assert not (tmp_path / "a.parquet.part").exists()


def test_nothing_is_overwritten(tmp_path, maker, suffix):
    path = maker.file(tmp_path / f"a{suffix}", maker.rows(1))
    before = path.read_bytes()
    with pytest.raises(FileExistsError, match="already exists"):
        recording.Writer(path, maker.header())
    assert path.read_bytes() == before


@with_parquet
def test_a_part_left_behind_is_not_overwritten(tmp_path, maker):
    (tmp_path / "a.parquet.part").write_bytes(b"of yesterday")
    with pytest.raises(FileExistsError, match="part"):
        recording.Writer(tmp_path / "a.parquet", maker.header())


@with_parquet
def test_a_long_recording_becomes_row_groups(tmp_path, maker):
    from pyarrow import parquet

    row = maker.row(0, [5])
    with recording.Writer(tmp_path / "a.parquet", maker.header()) as writer:
        for _ in range(17):
            writer.write([row] * 1000)
    file = parquet.ParquetFile(tmp_path / "a.parquet")
    assert (file.metadata.num_rows, file.metadata.num_row_groups) == (17_000, 2)


def test_only_a_part_can_be_finished(tmp_path, maker):
    with pytest.raises(ValueError, match="not the part"):
        recording.finish(maker.file(tmp_path / "a.csv", maker.rows(1)))


def test_a_suffix_that_says_nothing_is_refused(tmp_path, maker):
    with pytest.raises(ValueError, match=r"\.csv or \.parquet"):
        recording.Writer(tmp_path / "a.txt", maker.header())


def test_parquet_without_pyarrow_is_refused_with_the_fix(tmp_path, maker, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ValueError, match="pip install"):
        recording.Writer(tmp_path / "a.parquet", maker.header())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not a recording"),
        (b"a,b\n1,2\n", "not a recording"),
        (b"# shmring recording {}\n", "damaged"),
        (b"# shmring recording {\n", "Expecting"),
        pytest.param(b"PAR1 nothing", "unreadable Parquet file", marks=PARQUET),
    ],
)
def test_what_is_no_recording_is_named(tmp_path, content, words):
    path = tmp_path / "x.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=words) as caught:
        recording.read(path)
    assert str(path) in str(caught.value)


@with_parquet
def test_a_parquet_file_of_others_is_no_recording(tmp_path):
    import pyarrow as arrow
    from pyarrow import parquet

    parquet.write_table(arrow.table({"a": [1]}), tmp_path / "x.parquet")
    with pytest.raises(ValueError, match="has no key"):
        recording.read(tmp_path / "x.parquet")


def test_a_newer_format_is_refused_and_an_older_one_read(tmp_path, maker):
    path = maker.file(tmp_path / "a.csv", maker.rows(1))
    text = path.read_text(encoding="utf-8")
    newer = tmp_path / "newer.csv"
    newer.write_text(text.replace('"format": 1', '"format": 2'), encoding="utf-8")
    with pytest.raises(ValueError, match="upgrade"):
        recording.read(newer)
    lacking = tmp_path / "lacking.csv"
    lacking.write_text(text.replace("tx_failed", "unknown_here"), encoding="utf-8")
    assert recording.read(lacking).rows[0].tx_failed == 0


def test_the_header_of_this_host_is_complete(maker):
    header = recording.Header.of_this_host(500_000_000)
    assert header.interval_ns == 500_000_000
    assert header.format == recording.FORMAT
    assert header.layout > 0
    assert all((header.host, header.kernel, header.machine, header.version, header.cores))
