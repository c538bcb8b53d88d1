"""Converts records to packets of a pcapng file."""

from __future__ import annotations

import platform
from importlib.metadata import version

from shmring.net.tap import packets, pcapng, records
from shmring.net.tap.records import Record
from shmring.types import STAMPS, VERDICTS

_INTERFACES = {records.SENT: "tx", records.ARRIVED: "rx", records.NOT_SENT: "not sent"}
_DESCRIPTIONS = {
    "tx": "datagrams as they were passed to the kernel",
    "rx": "datagrams as they were read from the socket",
    "not sent": "packets that got a verdict and were not sent, headers only",
}


class Capture:
    """Writes records to a sink as they arrive."""

    def __init__(
        self,
        sink: pcapng.Sink,
        *,
        channel: str,
        namespace: str,
        wanted: tuple[str, ...],
        link: int,
        snap_bytes: int,
        real_offset_ns: int,
        clock: str,
        wire_times: bool,
    ) -> None:
        """`wanted`: a choice of ``tx``, ``rx`` and ``not sent``. `link`: a link type of `pcapng`.
        `real_offset_ns`: the difference from the channel's clock to Unix time. `wire_times`: a sent
        packet has its transmit timestamp as its time, if there is one."""
        self._writer = pcapng.Writer(sink)
        self._real_offset_ns = real_offset_ns
        self._wire_times = wire_times
        self._locals = packets.LocalAddresses()
        self._remarks: list[str] = []
        self._dropped = 0
        self._last_ns = 0
        self.packets = 0
        """Packets written so far."""
        self.lost = 0
        """Datagrams that were overwritten before they were read."""
        times = (
            "transmit timestamp if there is one, else start of the send call"
            if wire_times
            else ("start of the send call")
        )
        self._writer.section(
            application=f"shmring {version('shmring')}",
            system=f"{platform.system()} {platform.release()}",
            comment=(
                f"channel {channel} namespace {namespace}; times of packets are {clock} + "
                f"{real_offset_ns} ns; of sent packets: {times}; times in comments are {clock} in "
                "ns; IP and UDP headers are synthetic except addresses, lengths and checksums"
            ),
        )
        self._received = dict.fromkeys(wanted, 0)
        self._numbers = {
            name: self._writer.interface(f"{channel} {name}", _DESCRIPTIONS[name], snap_bytes, link)
            for name in wanted
        }

    def remark(self, text: str) -> None:
        """Add a comment to the next packet."""
        self._remarks.append(text)

    def note_lost(self, datagrams: int) -> None:
        """Note how many datagrams are missing before the next packet."""
        self._dropped += datagrams
        self.lost += datagrams

    def put(self, record: Record) -> None:
        """Write one packet. A mark becomes a comment of the next packet. Raises `OSError`."""
        if record.kind == records.MARK:
            self.remark(f"mark: {record.payload.decode('utf-8', 'replace')}")
            return
        name = _INTERFACES.get(record.kind)
        if name is None or name not in self._numbers:
            return
        outbound = record.kind != records.ARRIVED
        data, whole = self._packet(record, outbound)
        time_ns = record.time_ns
        if record.kind == records.SENT and self._wire_times and record.stamped_ns:
            time_ns = record.stamped_ns
        self._last_ns = time_ns + self._real_offset_ns
        self._writer.packet(
            self._numbers[name],
            self._last_ns,
            data,
            original_bytes=whole,
            direction=pcapng.OUTBOUND if outbound else pcapng.INBOUND,
            comments=(comment(record), *self._remarks),
            packet_id=record.number,
            dropped=self._dropped,
        )
        self._remarks.clear()
        self._dropped = 0
        self._received[name] += 1
        self.packets += 1

    def flush(self) -> None:
        """Pass everything to the sink. Raises `OSError`."""
        self._writer.flush()

    def finish(self) -> None:
        """Write the statistics, and what did not fit any packet. Raises `OSError`."""
        remarks = "; ".join([f"{self.lost} datagrams lost in the tap", *self._remarks])
        for place, (name, number) in enumerate(self._numbers.items()):
            lost = 0 if place else self.lost
            self._writer.statistics(
                number,
                self._last_ns,
                received=self._received[name] + lost,
                dropped=lost,
                comment=remarks if place == 0 else "",
            )
        self.flush()

    @property
    def written_bytes(self) -> int:
        return self._writer.written_bytes

    def _packet(self, record: Record, outbound: bool) -> tuple[bytes, int]:
        remote_ip = packets.plain_ip(record.remote_ip)
        local_ip = packets.plain_ip(record.local_ip)
        if not record.remote_family:
            remote_ip = bytes(len(local_ip))
        else:
            local_ip = self._locals.towards(local_ip, remote_ip, record.remote_scope)
        local, remote = (local_ip, record.local_port), (remote_ip, record.remote_port)
        source, target = (local, remote) if outbound else (remote, local)
        return packets.ip_packet(source, target, record.payload, record.payload_bytes, record.tos)


def comment(record: Record) -> str:
    """Return the facts about a packet except its bytes: words and ``name=value``, times in ns."""
    words = [f"seq={record.sequence}"] if record.flags & records.HAS_SEQUENCE else []
    if record.kind == records.ARRIVED:
        words += [f"arrived_ns={record.stamped_ns}", f"stamp={STAMPS[record.stamp].value}"]
        for flag, word in (
            (records.SHARED_STAMP, "shared_stamp"),
            (records.TRUNCATED, "truncated"),
            (records.FILTERED, "filtered"),
        ):
            if record.flags & flag:
                words.append(word)
        return " ".join(words)
    if record.verdict != records.NO_VERDICT:
        words.append(f"verdict={VERDICTS[record.verdict].value}")
    if record.error:
        words.append(f"errno={record.error}")
    if record.scheduled_ns and record.sent_ns:
        words.append(f"late_ns={record.sent_ns - record.scheduled_ns}")
    if record.scheduled_ns and record.stamped_ns:
        words.append(f"wire_late_ns={record.stamped_ns - record.scheduled_ns}")
    for name, value in (
        ("due_ns", record.scheduled_ns),
        ("enqueued_ns", record.enqueued_ns),
        ("woken_ns", record.woken_ns),
        ("sent_ns", record.sent_ns),
        ("handed_ns", record.handed_ns),
        ("wire_ns", record.stamped_ns),
    ):
        if value:
            words.append(f"{name}={value}")
    if record.stamped_ns:
        words.append(f"stamp={STAMPS[record.stamp].value}")
    if record.batch > 1:
        words.append(f"batch={record.batch}")
    return " ".join(words)
