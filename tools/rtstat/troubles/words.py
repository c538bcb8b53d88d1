"""What the sentences of many rules share."""

from __future__ import annotations

from rtstat.numbers import NS_PER_S
from rtstat.views import ChannelView, ReaderView, WorkerView
from shmring_cli.output import duration, quantity


def amount(count: float) -> str:
    return str(int(count)) if count < 10_000 else quantity(count, "").strip()


def many(count: float, what: str) -> str:
    return f"{amount(count)} {what}{'' if count == 1 else 's'}"


def packets(count: float) -> str:
    return many(count, "packet")


def percentage(share: float) -> str:
    return quantity(100 * share, "percent")


def full_name(channel: ChannelView) -> str:
    """Return the name that commands take, whatever the reader's namespace is."""
    return f"{channel.namespace}/{channel.name}"


def start_pool(namespace: str, pool: str) -> str:
    return f"shmring up {namespace}/{pool}"


def within(view: ChannelView | WorkerView) -> str:
    """Return the interval of a trouble. It is not "the last" one if the trouble is kept."""
    return f"within {duration((view.seconds or 0) * NS_PER_S)}"


def so_far(times: int) -> str:
    """Return a sentence about earlier times, with a space before it, or nothing the first time."""
    return f". This has happened {times} times" if times > 1 else ""


def grown(view: ChannelView, name: str) -> int:
    return view.delta(name) or 0


def reader_text(reader: ReaderView) -> str:
    """Return its process with its name: ``process 30 (python3)``."""
    if reader.pid is None:
        return "a process in another pid namespace"
    name = reader.process_name
    return f"process {reader.pid} ({name})" if name else f"process {reader.pid}"
