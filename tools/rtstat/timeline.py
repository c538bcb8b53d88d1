"""Late packets as timelines, events as lines of text: the output of `why` and `post_mortem`.

Pure functions from facts to text and plain values.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from rtstat.clocks import Clocks
from rtworkers.owner import process_id, process_text
from shmring.observe import DistinctError, Event, LatePacket
from shmring_cli.output import NARROWEST, duration, prose_table, split_table

NOTHING = "-"

_HEAD = (
    "SEQUENCE",
    "DUE",
    "VERDICT",
    "QUEUED BY",
    "ENQUEUED",
    "WOKEN",
    "SEND CALL",
    "HANDED OVER",
    "ON THE WIRE",
)


def relative(packet: LatePacket) -> dict[str, int | None]:
    """Times of a packet relative to its deadline, ns, negative before it. None: did not happen."""
    return {
        "enqueued_ns": _after(packet, packet.enqueued_ns),
        "woken_ns": _after(packet, packet.woken_ns),
        "sent_ns": _after(packet, packet.sent_ns),
        "handed_ns": _after(packet, packet.handed_ns),
        "wire_ns": _after(packet, packet.stamped_ns),
    }


def _after(packet: LatePacket, moment_ns: int) -> int | None:
    return moment_ns - packet.due_ns if moment_ns else None


def due_mono_ns(packet: LatePacket) -> int:
    """The deadline in CLOCK_MONOTONIC."""
    return packet.due_ns + packet.to_mono_ns


def packet_table(packets: Sequence[LatePacket], clocks: Clocks, width: int = NARROWEST) -> str:
    """Return a timeline for each packet, relative to its deadline."""
    return split_table(_HEAD, [_packet_cells(packet, clocks) for packet in packets], width, "  ")


def _packet_cells(packet: LatePacket, clocks: Clocks) -> tuple[str, ...]:
    at = relative(packet)
    stamp = f" ({packet.stamp.value})" if packet.stamped_ns else ""
    verdict = packet.verdict.value
    if packet.error:
        verdict += f" ({os.strerror(packet.error)})"
    return (
        str(packet.sequence),
        clocks.wall(due_mono_ns(packet)) + ("" if packet.scheduled_ns else " (at once)"),
        verdict,
        producer_text(packet),
        signed(at["enqueued_ns"]),
        signed(at["woken_ns"]),
        signed(at["sent_ns"]),
        signed(at["handed_ns"]),
        signed(at["wire_ns"]) + stamp,
    )


def producer_text(packet: LatePacket) -> str:
    """Return who queued a packet."""
    if packet.producer_slot == 0:
        return "the worker"
    if packet.producer_pid == 0:
        return f"slot {packet.producer_slot}, gone since"
    return process_text(packet.producer_pid)


def signed(ns: int | None) -> str:
    """Return a duration with its sign, or a dash."""
    if ns is None:
        return NOTHING
    return duration(ns) if ns < 0 else f"+{duration(ns)}"


def packets_text(count: int) -> str:
    """Return ``1 packet``, ``2 packets``."""
    return "1 packet" if count == 1 else f"{count} packets"


def packet_facts(packet: LatePacket, clocks: Clocks) -> dict[str, Any]:
    """Return a packet for JSON: absolute times, and times relative to the deadline."""
    return packet.to_dict() | {
        "due_real_ns": clocks.real(due_mono_ns(packet)),
        "relative": relative(packet),
    }


# --- events ---------------------------------------------------------------------------------------


def event_table(events: Sequence[Event], clocks: Clocks, width: int = NARROWEST) -> str:
    """Return a line for each event, with times first."""
    rows = [
        (
            clocks.wall(event.mono_ns),
            str(event.slot),
            event.channel or NOTHING,
            event_text(event),
        )
        for event in sorted(events, key=lambda event: event.mono_ns)
    ]
    return prose_table(("WHEN", "WORKER", "CHANNEL", "WHAT"), rows, width, "  ")


def event_text(event: Event) -> str:
    """Return the meaning of an event, with its numbers and its count."""
    longest = " at most" if event.count > 1 else ""
    numbers = ", ".join(
        _number_text(name, value) + (longest if name in _LONGEST else "")
        for name, value in event.numbers.items()
        if _tells(event, name)
    )
    text = event.text + (f" ({numbers})" if numbers else "")
    if event.verdict is not None:
        text = f"{event.text}: {event.verdict}" + (f" ({numbers})" if numbers else "")
    if event.count > 1:
        lasted = event.last_mono_ns - event.mono_ns
        within = f" within {duration(lasted)}" if lasted > 0 else ""
        text += f", {event.count} times{within}"
    return text


_LONGEST = ("late_ns", "took_ns", "rest_ns")


def _tells(event: Event, name: str) -> bool:
    if name in ("verdict", "asked_mono_ns"):
        return False
    return not (name in ("held", "restarts", "waiting_packets") and event.numbers[name] == 0)


_UNSET = -1


def _number_text(name: str, value: int) -> str:
    if name.endswith("_ns"):
        what = name.removesuffix("_ns").replace("_", " ")
        return f"{what} {duration(value)}"
    if name == "errno":
        return os.strerror(value) if value > 0 else str(value)
    if name == "pid" and process_id(value) is None:
        return process_text(None)
    if value == _UNSET and name in ("cpu", "producer_slot", "reader_slot"):
        return f"no {name.replace('_', ' ')}" if name != "cpu" else "on any core"
    return f"{name.replace('_', ' ')} {value}"


def event_facts(event: Event, clocks: Clocks) -> dict[str, Any]:
    """Return an event for JSON."""
    return event.to_dict() | {"verdict": event.verdict, "real_ns": clocks.real(event.mono_ns)}


# --- errors ---------------------------------------------------------------------------------------


def error_table(errors: Sequence[DistinctError], clocks: Clocks, width: int = NARROWEST) -> str:
    """Return a line for each distinct error, latest first."""
    rows = [
        (
            clocks.wall(error.last_mono_ns),
            str(error.count),
            clocks.wall(error.first_mono_ns),
            f"{error.source} {error.slot}",
            error.channel or NOTHING,
            error_text(error),
        )
        for error in errors
    ]
    head = ("LAST", "TIMES", "FIRST", "SAID BY", "CHANNEL", "WHAT")
    return prose_table(head, rows, width, "  ")


def error_text(error: DistinctError) -> str:
    """Return the error in words."""
    why = error.detail or error.errno_text
    return f"{error.text}: {why}" if why else error.text


def error_facts(error: DistinctError, clocks: Clocks) -> dict[str, Any]:
    """Return an error for JSON."""
    return error.to_dict() | {
        "first_real_ns": clocks.real(error.first_mono_ns),
        "last_real_ns": clocks.real(error.last_mono_ns),
    }
