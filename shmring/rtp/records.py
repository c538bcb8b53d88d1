"""What an RTP channel queues: frames and blocks, each after a header that describes it to the
worker."""

import struct
from collections.abc import Iterable
from typing import Any, TypedDict, Unpack

from shmring import _options, errors
from shmring._arguments import iterable, payload, payload_bytes
from shmring._ring import ffi, lib
from shmring.rtp import audio, extension

# shm_rtp_tx_t of csrc/shm/rtp_shm.h; the worker writes the RTP header into its end
_HEAD = struct.Struct("=BBBBIII12x")
assert _HEAD.size == ffi.sizeof("shm_rtp_tx_t")
_DAY_S = 86400
_LIKE_RTCP = range(64, 96)
_LONGEST_SPREAD_NS = 2**32 - 1
_DEFAULT_PT = int(lib.SHM_RTP_DEFAULT_PT)
_FRAME, _BLOCK = int(lib.SHM_RTP_FRAME), int(lib.SHM_RTP_BLOCK)
_SAME_TIME, _EXTENSION = int(lib.SHM_RTP_SAME_TIME), int(lib.SHM_RTP_EXTENSION)
_MARKERS = {
    None: int(lib.SHM_RTP_MARKER_AUTO),
    True: int(lib.SHM_RTP_MARKER_SET),
    False: int(lib.SHM_RTP_MARKER_CLEAR),
}

BYE = _HEAD.pack(lib.SHM_RTP_BYE, 0, _DEFAULT_PT, 0, 0, 0, 0)


class FrameOptions(TypedDict, total=False):
    """Keyword arguments of `Channel.send` and similar methods.

    marker: the marker bit. None (default): set on the first frame of a talk spurt, or with
        ``spread_ns`` on the last packet of the picture. Then True is the same as None, and with
        False no packet has it.
    payload_type: 0 to 127. None (default): the channel's. Otherwise `data` is a payload, even if
        there is a codec.
    samples: media time of the frame, units of the media clock. None (default): that of the given
        samples, or `Channel.samples_per_packet`.
    same_time: the next frame has the same timestamp and due time, for example one picture in
        several packets. Default False. ``spread_ns`` sets it itself.
    elements: header extension (RFC 8285): (id, data) of each element. Default: none.
    """

    marker: bool | None
    payload_type: int | None
    samples: int | None
    same_time: bool
    elements: Iterable[tuple[int, bytes]]


class BlockOptions(TypedDict, total=False):
    """Keyword arguments of `Channel.send_block` and similar methods.

    marker: marker bit of the first packet. None (default): set if it begins a talk spurt.
    payload_type: as in `FrameOptions`.
    samples: media time of each packet, units of the media clock. None (default):
        `Channel.samples_per_packet`.
    bytes_per_packet: payload size of each packet. None (default): that of the channel.
    """

    marker: bool | None
    payload_type: int | None
    samples: int | None
    bytes_per_packet: int | None


class RecordMaker:
    """Makes records for one channel. Raises `BadConfig`, `PayloadTooLarge`, `TypeError`."""

    def __init__(self, name: str, config: Any, codec: audio.Codec | None, max_payload: int) -> None:
        """config: ``shm_rtp_config_t *``."""
        self._name = name
        self._config = config
        self._codec = codec
        self._max_payload = max_payload
        self._most_samples = min(_DAY_S * config.clock_rate, 2**32 - 1)
        self._usual_head = self._head(_FRAME)

    def frame(
        self,
        data: Any,
        *,
        marker: bool | None = None,
        payload_type: int | None = None,
        samples: int | None = None,
        same_time: bool = False,
        elements: Iterable[tuple[int, bytes]] = (),
        offset_ns: int = 0,
    ) -> bytes:
        """offset_ns: how long after its time on the grid the frame is due."""
        if self._codec and payload_type is None:
            data = self._codec.encode(data)
            samples = self._samples(data, self._codec) if samples is None else samples
        words = extension.build(elements) if elements else b""
        with payload(data, "data") as view:
            self._check_length(len(words) + len(view))
        if marker is payload_type is samples is None and not same_time and not words:
            return b"".join((self._usual_head, data))
        flags = _options.switch("same_time", same_time) and _SAME_TIME
        flags |= _EXTENSION if words else 0
        head = self._head(_FRAME, flags, marker, payload_type, samples, offset_ns=offset_ns)
        return b"".join((head, words, data))

    def frames(
        self, frames: Iterable[Any], spread_ns: int | None, **how: Unpack[FrameOptions]
    ) -> list[bytes]:
        """The records of many frames. `spread_ns`: they are the packets of one picture, whose last
        one lets the grid go on."""
        frames = iterable(frames, "frames", "payloads")
        if spread_ns is None:
            return [self.frame(data, **how) for data in frames]
        _options.integer("spread_ns", spread_ns, 0, _LONGEST_SPREAD_NS)
        if "same_time" in how:
            raise TypeError("spread_ns and same_time are both given: leave out same_time")
        marked = how.get("marker") is not False
        records: list[bytes] = []
        parts = list(frames)
        for index, data in enumerate(parts):
            is_last = index == len(parts) - 1
            how |= {"marker": marked and is_last, "same_time": not is_last}
            records.append(self.frame(data, offset_ns=index * spread_ns // len(parts), **how))
        return records

    def block(
        self,
        data: Any,
        *,
        marker: bool | None = None,
        payload_type: int | None = None,
        samples: int | None = None,
        bytes_per_packet: int | None = None,
    ) -> tuple[list[bytes], int]:
        """The records of a block, and the number of bytes of `data` in each one except the last."""
        codec = self._codec if payload_type is None else None
        body = memoryview(codec.encode(data) if codec else payload_bytes(data, "data"))
        if not body:
            raise ValueError("there are no samples to send")
        part = self._part_bytes(bytes_per_packet)
        records: list[bytes] = []
        for start in range(0, len(body), part):
            head = self._head(_BLOCK, 0, marker, payload_type, samples, bytes_per_packet)
            records.append(b"".join((head, body[start : start + part])))
            marker = None
        return records, part * (audio.SAMPLE_BYTES // codec.width if codec else 1)

    def _samples(self, payload: bytes, codec: audio.Codec) -> int | None:
        """None: the default number."""
        samples = len(payload) // (codec.width * self._config.channels)
        return None if samples == self._config.samples_per_packet else samples

    def _part_bytes(self, bytes_per_packet: int | None) -> int:
        """As many complete packets as fit into one record."""
        size = _number("bytes_per_packet", bytes_per_packet, 2**32 - 1)
        size = size or int(self._config.bytes_per_packet)
        if not size:
            raise errors.BadConfig(
                f"payload type {self._config.payload_type} does not determine the packet size: "
                "give bytes_per_packet, or open the channel with it"
            )
        self._check_length(size)
        return self._max_payload // size * size

    def _check_length(self, size: int) -> None:
        if size > self._max_payload:
            raise errors.PayloadTooLarge(
                f"a packet has {size} bytes, channel {self._name!r} accepts {self._max_payload}: "
                "open it with a larger max_payload, or let send_block split the data"
            )

    def pause(self, samples: int | None) -> bytes:
        """The record that ends a talk spurt."""
        return self._head(int(lib.SHM_RTP_PAUSE), samples=samples)

    def _head(
        self,
        what: int,
        flags: int = 0,
        marker: bool | None = None,
        payload_type: int | None = None,
        samples: int | None = None,
        bytes_per_packet: int | None = None,
        offset_ns: int = 0,
    ) -> bytes:
        if marker is not None:
            _options.switch("marker", marker)
        return _HEAD.pack(
            what,
            _MARKERS[marker],
            self._type(payload_type),
            flags,
            _number("samples", samples, self._most_samples),
            _number("bytes_per_packet", bytes_per_packet, self._max_payload),
            offset_ns,
        )

    def _type(self, payload_type: int | None) -> int:
        if payload_type is None:
            return _DEFAULT_PT
        if self._config.rtcp == lib.SHM_RTP_RTCP_MUX and payload_type in _LIKE_RTCP:
            raise errors.BadConfig(
                f"payload_type {payload_type} looks like RTCP, which shares the port of channel "
                f"{self._name!r} (RFC 5761): use one outside of 64 to 95"
            )
        return _options.integer("payload_type", payload_type, 0, 127)


def _number(what: str, value: int | None, most: int) -> int:
    """Return the number, or 0 for the default."""
    return 0 if value is None else _options.integer(what, value, 1, most)
