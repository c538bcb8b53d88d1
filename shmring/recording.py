"""Recordings: ``rtstat --record FILE`` writes them and ``shmring plot FILE`` draws them.

A recording has one row per channel and interval, in base units, with the whole lateness histogram
of the interval. So exact percentiles can be computed later for any time span and any set of
channels. The suffix selects the format: ``.csv``, or ``.parquet`` (needs pyarrow: ``pip install
"shmring[parquet]"``). ``shmring help recording`` describes both for other programs.

A killed recorder leaves what it has written, because each interval is flushed to the file. A CSV
file may then end with half a line, which `read` skips. A Parquet file is unusable without the
directory at its end, so the recording is written to ``FILE.part`` in CSV format, and becomes
``FILE`` when the writer is closed. `read` accepts the part file, and `finish` turns it into the
Parquet file.
"""

import csv
import dataclasses
import importlib.util
import inspect
import io
import json
import os
import platform
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from functools import lru_cache
from importlib.metadata import version
from itertools import islice, pairwise
from pathlib import Path
from typing import IO, Any, Self

from shmring._facts import fact
from shmring._ring import lib

FORMAT = 1
SUFFIXES = (".csv", ".parquet")
PART = ".part"

_MAGIC = "# shmring recording"
_PARQUET_MAGIC = b"PAR1"
_METADATA_KEY = b"shmring"
_ROW_GROUP = 16_384


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One channel in one interval. Counts cover this interval only."""

    wall_time_ns: int = fact("ns", "end of the interval, CLOCK_REALTIME (Unix time, UTC)")
    mono_time_ns: int = fact("ns", "the same instant, CLOCK_MONOTONIC")
    interval_ns: int = fact("ns", "length of the interval")
    namespace: str = fact("text", "of the channel")
    pool: str = fact("text", "that serves it")
    worker_pid: int = fact("id", "process of its worker")
    worker_cpu: int = fact("number", "core of its worker; -1: not pinned")
    worker_epoch: int = fact("number", "how many workers have served it; it rises by a restart")
    channel: str = fact("text", "name of the channel")
    engine: str = fact("text", "what the worker runs on it, such as udp or rtp")
    state: str = fact("text", "open, held, failed, ... at the end of the interval")
    tx_pps: float = fact("packets/s", "sent")
    tx_bps: float = fact("bit/s", "payload sent")
    rx_pps: float = fact("packets/s", "received")
    rx_bps: float = fact("bit/s", "payload received")
    tx_waiting: int = fact("packets", "queued without a verdict, at the end of the interval")
    tx_sent: int = fact("packets", "handed to the kernel")
    tx_on_time: int = fact("packets", "verdict on_time")
    tx_enqueued_late: int = fact("packets", "verdict enqueued_late")
    tx_woke_late: int = fact("packets", "verdict woke_late")
    tx_send_slow: int = fact("packets", "verdict send_slow")
    tx_queued_behind: int = fact("packets", "verdict queued_behind")
    tx_dropped_late: int = fact("packets", "verdict dropped_late")
    tx_cancelled: int = fact("packets", "verdict cancelled")
    tx_failed: int = fact("packets", "verdict failed")
    tx_producer_halted: int = fact("packets", "verdict producer_halted")
    rx_received: int = fact("packets", "read from the socket")
    rx_kernel_drops: int = fact("packets", "dropped by the kernel, socket buffer full")
    rx_overwritten: int = fact("packets", "overwritten before an attached reader took them")
    lateness_count: int = fact("packets", "in the histogram: sent with a deadline")
    lateness_p50_ns: int = fact("ns", "half of them were no later")
    lateness_p99_ns: int = fact("ns", "99 % of them were no later")
    lateness_p999_ns: int = fact("ns", "99.9 % of them were no later")
    lateness_max_ns: int = fact("ns", "the latest one")
    lateness_buckets: tuple[tuple[int, int], ...] = fact(
        "ns:packets", "largest value of a bucket, and how many are in it"
    )


COLUMNS = tuple(item.name for item in fields(Row))
_TYPES = {item.name: inspect.formatannotation(item.type) for item in fields(Row)}
_BUCKETS = "tuple[tuple[int, int], ...]"
_DEFAULTS: dict[str, Any] = {"int": 0, "float": 0.0, "str": "", _BUCKETS: ()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """Facts about the whole recording."""

    format: int = fact("number", "of this format; a reader refuses a newer one")
    version: str = fact("text", "version of shmring that recorded")
    layout: int = fact("number", "version of the shared memory's layout")
    host: str = fact("text", "name of the machine")
    kernel: str = fact("text", "its kernel")
    machine: str = fact("text", "its kind of processor")
    cores: int = fact("number", "cores that are online")
    started_wall_ns: int = fact("ns", "start, CLOCK_REALTIME (Unix time, UTC)")
    started_mono_ns: int = fact("ns", "the same instant, CLOCK_MONOTONIC")
    interval_ns: int = fact("ns", "interval that was asked for")

    @classmethod
    def of_this_host(cls, interval_ns: int) -> Self:
        """Return the header of a recording that starts now on this machine."""
        return cls(
            format=FORMAT,
            version=version("shmring"),
            layout=int(lib.SHM_LAYOUT_VERSION),
            host=socket.gethostname(),
            kernel=f"{platform.system()} {platform.release()}",
            machine=platform.machine(),
            cores=os.cpu_count() or 0,
            started_wall_ns=time.time_ns(),
            started_mono_ns=time.monotonic_ns(),
            interval_ns=interval_ns,
        )


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording in memory."""

    path: Path
    header: Header
    rows: list[Row]


# --- the histogram as text ------------------------------------------------------------------------


def buckets_text(buckets: Iterable[tuple[int, int]]) -> str:
    """Return the buckets as ``"63:5 131:2"``: largest value of the bucket in ns, a colon, its
    entries."""
    return " ".join(f"{upper}:{count}" for upper, count in buckets)


def parse_buckets(text: str) -> tuple[tuple[int, int], ...]:
    """Parse the text of `buckets_text`. Raises `ValueError` for anything else."""
    found = tuple(map(_bucket, text.split()))
    if any(upper >= following for (upper, _), (following, _) in pairwise(found)):
        raise ValueError(f"histogram {text!r}: buckets must be in ascending order")
    return found


@lru_cache(maxsize=65_536)
def _bucket(word: str) -> tuple[int, int]:
    # Cached, because most occur in nearly every interval, and a long recording has millions.
    upper, colon, count = word.partition(":")
    if not (colon and upper.isdecimal() and count.isdecimal()):
        raise ValueError(f"histogram: {word!r} is not of the form UPPER_NS:COUNT")
    return int(upper), int(count)


def _plain(row: Row) -> dict[str, Any]:
    values = {name: getattr(row, name) for name in COLUMNS}
    values["lateness_buckets"] = buckets_text(row.lateness_buckets)
    return values


def _row(values: dict[str, Any]) -> Row:
    """Return a row from the columns of a file. Missing columns are empty, unknown ones
    are ignored."""
    known: dict[str, Any] = {}
    for name, kind in _TYPES.items():
        value = values.get(name)
        if value is None or value == "":
            known[name] = _DEFAULTS[kind]
        elif kind == _BUCKETS:
            known[name] = parse_buckets(value)
        else:
            known[name] = {"int": int, "float": float, "str": str}[kind](value)
    return Row(**known)


# What the readers of JSON, CSV and Parquet raise for malformed bytes, in addition to ValueError.
_DAMAGE = (
    ArithmeticError,
    AttributeError,
    LookupError,
    NotImplementedError,
    RecursionError,
    TypeError,
    UnicodeDecodeError,
    csv.Error,
)


def _header(text: str) -> Header:
    facts = json.loads(text)
    if facts["format"] > FORMAT:
        raise ValueError(
            f"format {facts['format']} of shmring {facts['version']}, this version reads up to "
            f"{FORMAT}: pip install --upgrade shmring"
        )
    header = Header(**{item.name: facts[item.name] for item in fields(Header)})
    for item in fields(Header):
        value = getattr(header, item.name)
        if type(value) is not item.type:
            kind = inspect.formatannotation(item.type)
            raise TypeError(f"{item.name} is {value!r}, not of type {kind}")
    return header


# --- writing --------------------------------------------------------------------------------------


class Writer:
    """Writes a recording. It is a context manager.

    It does not overwrite files. Raises `ValueError` for a suffix that is not in `SUFFIXES`, and for
    Parquet without pyarrow. Also raises `FileExistsError`, `OSError`.
    """

    def __init__(self, path: str | Path, header: Header) -> None:
        self.path = Path(path)
        kind = self.path.suffix.lower()
        if kind not in SUFFIXES:
            raise ValueError(
                f"{self.path}: the suffix selects the format, and {kind or 'none'!r} is unknown: "
                f"use {' or '.join(SUFFIXES)}"
            )
        for taken in (self.path, _part(self.path)):
            if taken.exists():
                raise FileExistsError(f"{taken} already exists: choose another name, or remove it")
        self._whole = kind == ".csv"
        if not self._whole:
            _arrow(self.path)
        name = self.path if self._whole else _part(self.path)
        self._file = open(name, "x", encoding="utf-8", newline="")  # noqa: SIM115
        self._file.write(f"{_MAGIC} {json.dumps(dataclasses.asdict(header))}\n")
        self._file.write(",".join(COLUMNS) + "\n")
        self._file.flush()

    def write(self, rows: Iterable[Row]) -> None:
        """Append the rows of one interval and pass them to the kernel, so that they survive this
        process."""
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(_plain(row).values() for row in rows)
        self._file.write(text.getvalue())
        self._file.flush()

    def close(self) -> None:
        """End the recording. The Parquet file is made from its part file now."""
        was_open = not self._file.closed
        self._file.close()
        if was_open and not self._whole:
            finish(_part(self.path))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _part(path: Path) -> Path:
    return path.with_name(path.name + PART)


def finish(part: str | Path) -> Path:
    """Convert the ``FILE.parquet.part`` of a recorder that was killed to ``FILE.parquet``.

    Returns the path of the finished file, and removes the part file. Raises `ValueError` if the
    file is not a part file, and `OSError`.
    """
    part = Path(part)
    if part.suffix != PART:
        raise ValueError(f"{part} is not the part file of a recording (FILE.parquet{PART})")
    path = part.with_suffix("")
    arrow = _arrow(part)
    import pyarrow.parquet as parquet

    # Under a separate name until it is complete.
    raw = path.with_name(path.name + ".new")
    with open(part, "rb") as file:
        header, rows = _read_csv(file)
        schema = _schema(arrow, header)
        writer: Any
        with parquet.ParquetWriter(raw, schema, compression="zstd") as writer:
            while group := list(map(_plain, islice(rows, _ROW_GROUP))):
                writer.write_table(arrow.Table.from_pylist(group, schema))
    os.replace(raw, path)
    part.unlink()
    return path


# --- reading --------------------------------------------------------------------------------------


def read(path: str | Path, keep: Callable[[Row], bool] | None = None) -> Recording:
    """Read a recording, complete or cut off, with only the rows that `keep` accepts.

    The content determines the format. Raises `ValueError` for a file that is not a recording or has
    a newer format, and for Parquet without pyarrow. Also raises `OSError`.
    """
    path = Path(path)
    with open(path, "rb") as file:
        magic = file.read(len(_MAGIC))
        file.seek(0)
        try:
            if magic == _MAGIC.encode():
                header, rows = _read_csv(file)
            elif magic.startswith(_PARQUET_MAGIC):
                header, rows = _read_parquet(path, file)
            else:
                raise ValueError("not a recording of shmring: make one with rtstat --record FILE")
            kept = [row for row in rows if keep is None or keep(row)]
        except _DAMAGE as error:
            raise ValueError(f"{path}: damaged: {error}") from None
        except ValueError as error:
            text = str(error)
            raise ValueError(text if str(path) in text else f"{path}: {text}") from None
    return Recording(path, header, kept)


def _read_csv(file: IO[bytes]) -> tuple[Header, Iterator[Row]]:
    header = _header(file.readline()[len(_MAGIC) :].decode())
    # The last line of a killed recorder may be cut anywhere; names hold no line breaks.
    whole = (line.decode() for line in file if line.endswith(b"\n"))
    return header, map(_row, csv.DictReader(whole))


def _read_parquet(path: Path, file: IO[bytes]) -> tuple[Header, Iterator[Row]]:
    arrow = _arrow(path)
    import pyarrow.parquet as parquet

    try:
        table: Any = parquet.ParquetFile(file)
    except (arrow.ArrowException, OSError) as error:
        raise ValueError(f"unreadable Parquet file: {error}") from None
    batches = table.iter_batches()
    return _header(_metadata(table.schema_arrow)), _rows(batches)


def _rows(batches: Iterable[Any]) -> Iterator[Row]:
    for batch in batches:
        yield from map(_row, batch.to_pylist())


def _metadata(schema: Any) -> str:
    try:
        raw: bytes = schema.metadata[_METADATA_KEY]
    except (KeyError, TypeError):
        raise ValueError("not a recording of shmring: the metadata has no key 'shmring'") from None
    return raw.decode()


def _schema(arrow: Any, header: Header) -> Any:
    kinds = {
        "int": arrow.int64(),
        "float": arrow.float64(),
        "str": arrow.string(),
        _BUCKETS: arrow.string(),
    }
    return arrow.schema(
        [(name, kinds[kind]) for name, kind in _TYPES.items()],
        metadata={_METADATA_KEY: json.dumps(dataclasses.asdict(header))},
    )


def _arrow(path: Path) -> Any:
    if importlib.util.find_spec("pyarrow") is None:
        raise ValueError(
            f'{path}: Parquet needs pyarrow: pip install "shmring[parquet]", or record into a '
            ".csv file"
        )
    import pyarrow

    return pyarrow
