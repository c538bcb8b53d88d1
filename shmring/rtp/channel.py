"""RTP channels: one process's end of a stream."""

import functools
from collections.abc import Iterable
from typing import Any, NamedTuple, Unpack

from shmring import errors
from shmring._arguments import deadline, iterable
from shmring._channel_aio import (
    ArrivalsAio,
    QueueAio,
    all_when_room,
    queueing,
    receiving,
    when_room,
)
from shmring._channel_base import ChannelBase, SendQueue
from shmring._signature import like
from shmring.batch import PacketBatch
from shmring.rtp import audio
from shmring.rtp.batch import Batch
from shmring.rtp.frames import Bye, Erasure, Frame, Item, Resync, item_of
from shmring.rtp.options import CODEC_NUMBERS, DELIVERIES, ENGINE, RX_HEAD_BYTES
from shmring.rtp.records import BYE, BlockOptions, FrameOptions, RecordMaker
from shmring.rtp.sdp import FIRST_DYNAMIC, describe
from shmring.rtp.statistics import Stats, rtp_stats
from shmring.stats import ChannelStats, read_stats
from shmring.types import Buffer

_CODECS = {number: audio.CODECS[name] for name, number in CODEC_NUMBERS.items()}
_DELIVERY_NAMES = {number: name for name, number in DELIVERIES.items()}


class Media(NamedTuple):
    """The format of an RTP stream."""

    codec: str | None
    """Encoding of sent samples. None: `send` takes payloads."""
    audio_channels: int
    """Channels of audio, interleaved in samples."""
    payload_type: int
    """Payload type of sent packets, unless `send` sets another one."""
    clock_rate: int
    """Media clock, Hz: the unit of RTP timestamps."""
    samples_per_packet: int
    """Distance of the RTP timestamps of two frames, unless `send` sets another one."""
    ptime_ns: int
    """Distance of two frames, ns, rounded down."""
    delivery: str
    """``"playout"``, ``"in_order"`` or ``"as_arrived"``."""


class Channel(SendQueue, ChannelBase[Item]):
    """One process's end of an RTP stream: it queues frames to send, and receives frames.

    `Pool.open` and `shmring.open` with ``engine=Rtp(...)`` return it, and so does `shmring.attach`.
    Threads, fork, pickling, taps, commands and reports work as in `shmring.Channel`. Programs queue
    and receive frames: the worker writes the headers, keeps the grid, and reads the packets that
    arrive.

    Times are ns in the channel's clock, see `now_ns`. `timeout=` is in seconds.
    """

    aio: "RtpAio"
    """The calls that wait, for tasks of asyncio and trio: ``await ch.aio.recv()``."""

    def _begin(self) -> None:
        endpoint = self._endpoint
        config = self._engine_config("RTP", ENGINE, "shm_rtp_config_t")
        self._start_sending()
        self._rtp = config
        self._longest = int(endpoint.mapped().config.max_payload_bytes) - RX_HEAD_BYTES
        self._codec = _CODECS.get(config.codec)
        self._records = RecordMaker(endpoint.name, config, self._codec, self._longest)
        self._decoders = dict(audio.STATIC)
        if self._codec:
            self._decoders[config.payload_type] = self._codec
        self.aio = RtpAio(self._same_end())

    # --- what it is -------------------------------------------------------------------------------

    @property
    def media(self) -> Media:
        """The format of the stream, as it was opened."""
        config = self._rtp
        samples, rate = int(config.samples_per_packet), int(config.clock_rate)
        return Media(
            self._codec.name if self._codec else None,
            int(config.channels),
            int(config.payload_type),
            rate,
            samples,
            samples * 1_000_000_000 // rate,
            _DELIVERY_NAMES[config.delivery],
        )

    @property
    def ssrc(self) -> int:
        """SSRC of the sent stream."""
        return int(self._rtp.ssrc)

    @property
    def max_payload(self) -> int:
        """Longest payload of a frame, bytes."""
        return self._longest

    # --- sending ----------------------------------------------------------------------------------

    def send(
        self,
        data: Buffer,
        at: int | None = None,
        *,
        timeout: float | None = None,
        **how: Unpack[FrameOptions],
    ) -> int:
        """Queue one frame, which becomes one packet, and return its sequence in the channel.

        data: payload. On a channel with a codec: samples (int16, or bytes of them).
        at: ns in the channel's clock. The frame gets the first time of the grid at or after this
            time. None or 0: the next time of the grid.
        timeout: seconds to wait for room. None: no limit.
        how: `FrameOptions`: marker, payload_type, samples, same_time, elements.

        Raises the exceptions of `shmring.Channel.send`, and `BadConfig` for a number out of its
        range.
        """
        return self._endpoint.send(self._records.frame(data, **how), at, timeout=timeout)

    def try_send(
        self, data: Buffer, at: int | None = None, **how: Unpack[FrameOptions]
    ) -> int | None:
        """Queue one frame and return its sequence in the channel, or None if there is no room now.

        data, at, how: as for `send`. Raises `PayloadTooLarge`, `BadConfig`, `ChannelClosed`,
        `NoPermission` (a read-only end).
        """
        return self._endpoint.try_send(self._records.frame(data, **how), at)

    def send_many(
        self,
        frames: Iterable[Buffer],
        at: int | None = None,
        *,
        spread_ns: int | None = None,
        timeout: float | None = None,
        **how: Unpack[FrameOptions],
    ) -> int:
        """Queue many frames in one call and return the sequence of the first.

        spread_ns: the frames are the n packets of one picture. They have one timestamp, packet i is
            due ``i * spread_ns // n`` ns after the picture's time on the grid, and the last one has
            the marker. Up to 4.29 s. None: each frame has its own time on the grid.

        Other arguments and exceptions as for `send`. `RingFull.sent` is the number of frames that
        were queued.
        """
        queued = self._records.frames(frames, spread_ns, **how)
        return self._endpoint.send_many(queued, at=at, timeout=timeout)

    def send_block(
        self,
        data: Buffer,
        at: int | None = None,
        *,
        timeout: float | None = None,
        **how: Unpack[BlockOptions],
    ) -> int:
        """Queue any number of samples, which the worker splits into packets.

        Returns the sequence of the first queued record. A block longer than `max_payload` needs
        several.

        data: encoded samples with a constant rate. On a channel with a codec: samples. The last
            packet may be shorter.
        at, timeout: as for `send`.
        how: `BlockOptions`: marker, payload_type, samples, bytes_per_packet.

        Raises the exceptions of `send`. `RingFull.sent` is the number of bytes of `data` that were
        queued.
        """
        parts, part_bytes = self._records.block(data, **how)
        try:
            return self._endpoint.send_many(parts, at=at, timeout=timeout)
        except errors.RingFull as full:
            full.sent *= part_bytes
            raise

    def replace(
        self,
        sequence: int,
        data: Buffer,
        at: int | None = None,
        *,
        timeout: float | None = None,
        **how: Unpack[FrameOptions],
    ) -> int:
        """Replace a waiting frame by a new one, and return the new sequence.

        The new frame is queued last. Arguments as for `send`. See `shmring.Channel.replace`.
        """
        frame = self._records.frame(data, **how)
        return self._endpoint.replace(sequence, frame, at, timeout=timeout)

    def end_spurt(self, samples: int | None = None, *, timeout: float | None = None) -> int:
        """End the talk spurt after the queued frames. The next frame begins another one.

        samples: the time until then, units of the media clock. None: until the next frame is
        queued. A queue that runs empty also ends the spurt, and counts as an underrun. timeout: as
        for `send`.
        """
        return self._endpoint.send(self._records.pause(samples), timeout=timeout)

    def bye(self, *, timeout: float | None = None) -> int:
        """End the stream after the queued frames, and announce that in RTCP. timeout: as for
        `send`."""
        return self._endpoint.send(BYE, timeout=timeout)

    # --- receiving --------------------------------------------------------------------------------

    def recv(self, *, timeout: float | None = None) -> Item:
        """Return the next frame or event. Wait `timeout` seconds for it: 0 does not wait, None sets
        no limit. Raises `ReceiveTimeout`, `ChannelClosed`."""
        return item_of(self._endpoint.recv(timeout=timeout), self._rtp.clock_rate)

    def try_recv(self) -> Item | None:
        """Return the next frame or event, or None if there is none now. Raises `ChannelClosed`."""
        packet = self._endpoint.try_recv()
        return None if packet is None else item_of(packet, self._rtp.clock_rate)

    def recv_many(
        self,
        max: int = 1024,
        *,
        timeout: float | None = None,
        out: Buffer | None = None,
    ) -> Batch:
        """Return all available frames and events, up to `max`, without creating an object for each.

        Waits for the first one like `recv`. max: 1 to 1048576. out: writable buffer for the
        payloads and about 48 more bytes for each. Payloads that do not fit stay queued. Raises the
        exceptions of `recv`, and `PayloadTooLarge` if not even the first one fits.
        """
        packets: PacketBatch = self._endpoint.recv_many(max, timeout=timeout, out=out)
        return Batch(packets, self._rtp.clock_rate)

    def pcm(self, item: Item | Iterable[Item]) -> memoryview:
        """Return the samples of a frame, or of many items one after the other: int16, a view of
        format ``h``, which `numpy.asarray` accepts without a copy.

        An erasure becomes silence of the same length. Telephone events and all other items
        become nothing. Raises `BadConfig` for a frame of a payload type that is neither the
        channel's with its codec nor G.711 or L16 by RFC 3551.
        """
        if isinstance(item, (Frame, Erasure, Resync, Bye)):
            return self._samples(item)
        items = iterable(item, "item", "frames and events, or one of these")
        return memoryview(b"".join(map(self._samples, items))).cast("h")

    # --- more -------------------------------------------------------------------------------------

    def sdp(self, encoding: str | None = None, *, media: str = "audio") -> str:
        """Return a session description (RFC 8866) of the stream that is sent to `remote`, for the
        program there. Without a remote, it describes what is received at `local`.

        encoding: name of the payload format, such as ``"opus"``. None: that of the codec or of the
            static payload type.
        media: "audio" or "video".

        Raises `BadConfig` if a dynamic payload type needs an encoding.
        """
        segment = self._endpoint.mapped()
        host, port = self.remote or self.local or ("0.0.0.0", 0)
        return describe(
            self.name, self._rtp, (host, port), segment.config, self._encoding(encoding), media
        )

    def _encoding(self, given: str | None) -> str | None:
        if given is None and self._codec:
            return self._codec.name.upper()
        if given is None and self._rtp.payload_type >= FIRST_DYNAMIC:
            raise errors.BadConfig(
                f"payload type {self._rtp.payload_type} of channel {self.name!r} has no fixed "
                'format: give the name of the encoding, such as sdp("opus")'
            )
        return given

    def stats(self) -> ChannelStats[Stats]:
        """Return the counters and measurements of the channel and, in `engine`, of the stream."""
        return read_stats(self._endpoint.mapped(), rtp_stats)

    # --- inside -----------------------------------------------------------------------------------

    def _samples(self, item: Item) -> memoryview:
        if isinstance(item, Frame) and not item.event:
            return self._decoder(item.payload_type).decode(item.data)
        if isinstance(item, Erasure):
            return audio.silence(item.samples * self._rtp.channels)
        if isinstance(item, (Frame, Resync, Bye)):
            return audio.silence(0)
        raise TypeError(f"item must be frames and events as recv() returns them, not {item!r:.80}")

    def _decoder(self, payload_type: int) -> audio.Codec:
        if payload_type not in self._decoders:
            raise errors.BadConfig(
                f"channel {self.name!r} cannot decode payload type {payload_type}: open it "
                "with codec= and payload_type=, or use the frame's data"
            )
        return self._decoders[payload_type]


class RtpAio(QueueAio, ArrivalsAio[Item]):
    """The calls of an RTP channel that wait, for tasks of asyncio and trio."""

    __slots__ = ()

    end_spurt = queueing(Channel.end_spurt)
    bye = queueing(Channel.bye)
    recv_many = receiving(Channel.recv_many)

    @like(Channel.send)
    async def send(
        self, data: Buffer, at: int | None = None, *, timeout: float | None = None, **how: Any
    ) -> int:
        frame = self._ch._records.frame(data, **how)
        queue = functools.partial(self._end.send, frame, at, timeout=0.0)
        return await when_room(self._end, queue, deadline(timeout))

    @like(Channel.replace)
    async def replace(
        self,
        sequence: int,
        data: Buffer,
        at: int | None = None,
        *,
        timeout: float | None = None,
        **how: Any,
    ) -> int:
        frame = self._ch._records.frame(data, **how)
        queue = functools.partial(self._end.replace, sequence, frame, at, timeout=0.0)
        return await when_room(self._end, queue, deadline(timeout))

    @like(Channel.send_many)
    async def send_many(
        self,
        frames: Iterable[Buffer],
        at: int | None = None,
        *,
        spread_ns: int | None = None,
        timeout: float | None = None,
        **how: Any,
    ) -> int:
        queued = self._ch._records.frames(frames, spread_ns, **how)
        return await all_when_room(
            self._end, self._end.batch(queued, at=at), deadline(timeout)
        )

    @like(Channel.send_block)
    async def send_block(
        self, data: Buffer, at: int | None = None, *, timeout: float | None = None, **how: Any
    ) -> int:
        parts, part_bytes = self._ch._records.block(data, **how)
        return await all_when_room(
            self._end, self._end.batch(parts, at=at), deadline(timeout), part_bytes
        )
