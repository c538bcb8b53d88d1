"""Blocks of pcapng, byte by byte, as the specification draws them."""

from __future__ import annotations

import io
import struct

from shmring.net.tap import pcapng


def blocks(raw: bytes) -> list[tuple[int, bytes]]:
    """Type and body of each; both lengths of a block must agree."""
    found = []
    while raw:
        kind, total = struct.unpack_from("=II", raw)
        assert total % 4 == 0
        assert struct.unpack_from("=I", raw, total - 4) == (total,)
        found.append((kind, raw[8 : total - 4]))
        raw = raw[total:]
    return found


def options(raw: bytes) -> list[tuple[int, bytes]]:
    found = []
    while True:
        code, size = struct.unpack_from("=HH", raw)
        if code == 0:
            assert len(raw) == 4
            return found
        found.append((code, raw[4 : 4 + size]))
        raw = raw[4 + -(-size // 4) * 4 :]


def test_a_file_block_by_block() -> None:
    out = io.BytesIO()
    writer = pcapng.Writer(out)
    writer.section(application="shmring", system="Linux", comment="why")
    assert writer.interface("ctl tx", "what", 96) == 0
    time_ns = 1795288288_555810862
    writer.packet(
        0,
        time_ns,
        b"packet",
        original_bytes=1000,
        direction=pcapng.OUTBOUND,
        comments=("one", "two"),
        packet_id=7,
        dropped=3,
    )
    writer.statistics(0, time_ns, received=4, dropped=3, comment="")
    assert out.getvalue() == b""  # in large pieces
    writer.flush()
    (section, interface, packet, statistics) = blocks(out.getvalue())
    assert section[0] == 0x0A0D0D0A
    assert struct.unpack_from("=IHHq", section[1]) == (0x1A2B3C4D, 1, 0, -1)
    assert options(section[1][16:]) == [(1, b"why"), (3, b"Linux"), (4, b"shmring")]
    assert interface[0] == 1
    assert struct.unpack_from("=HHI", interface[1]) == (101, 0, 96)
    assert options(interface[1][8:]) == [(2, b"ctl tx"), (3, b"what"), (9, b"\x09")]
    assert packet[0] == 6
    head = struct.unpack_from("=IIIII", packet[1])
    assert head[0] == 0
    assert head[1] << 32 | head[2] == time_ns
    assert head[3:] == (6, 1000)
    assert packet[1][20:28] == b"packet\0\0"
    assert options(packet[1][28:]) == [
        (1, b"one"),
        (1, b"two"),
        (2, struct.pack("=I", 2)),
        (4, struct.pack("=Q", 3)),
        (5, struct.pack("=Q", 7)),
    ]
    assert statistics[0] == 5
    assert options(statistics[1][12:]) == [(4, struct.pack("=Q", 4)), (5, struct.pack("=Q", 3))]
    assert writer.written_bytes == len(out.getvalue())


def test_every_length_is_padded() -> None:
    out = io.BytesIO()
    writer = pcapng.Writer(out)
    for size in range(9):
        writer.packet(0, 1, bytes(size), original_bytes=size, direction=1, comments=("x" * size,))
    writer.flush()
    assert [struct.unpack_from("=I", body, 12)[0] for _, body in blocks(out.getvalue())] == list(
        range(9)
    )


def test_large_pieces_and_sinks_that_take_less() -> None:
    class Narrow:
        def __init__(self) -> None:
            self.got = b""
            self.calls = 0

        def write(self, data: memoryview) -> int:
            self.calls += 1
            self.got += bytes(data[:100_000])
            return len(data[:100_000])

    sink = Narrow()
    writer = pcapng.Writer(sink)
    for _ in range(300):
        writer.packet(0, 1, bytes(1000), original_bytes=1000, direction=1)
    assert 0 < sink.calls <= 4
    writer.flush()
    assert len(blocks(sink.got)) == 300
