"""The processes of a channel, with their names: who opened it, serves it, sends and reads."""

from __future__ import annotations

from rtstat.views import ChannelView


def process_text(pid: int | None, name: str | None) -> str:
    """Return a process with its name, as far as this host shows it."""
    if pid is None:
        return "in another pid namespace"
    return f"{pid} ({name})" if name else f"{pid} (gone)"


def roles(view: ChannelView) -> list[tuple[str, str]]:
    """Return each role with its processes: ``("opened by", "4711 (plant)")``."""
    senders = [_named(view, pid) for pid in view.producer_pids]
    readers = [process_text(reader.pid, reader.process_name) for reader in view.readers]
    return [
        ("opened by", _opener(view)),
        ("worker", _named(view, view.worker_pid)),
        ("sent by", ", ".join(senders) or "nobody"),
        ("read by", ", ".join(readers) or "nobody"),
    ]


def _opener(view: ChannelView) -> str:
    if view.opener_pid is None:
        return "unknown"
    return (
        f"{view.opener_pid} (dead)" if view.opener_alive is False else _named(view, view.opener_pid)
    )


def _named(view: ChannelView, pid: int | None) -> str:
    process = None if pid is None else view.processes[pid]
    return process_text(pid, None if process is None else process.name)
