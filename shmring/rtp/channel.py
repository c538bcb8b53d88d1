"""RTP channels: one process's end of a stream."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any, Unpack

from shmring import errors
from shmring._arguments import Buffer, deadline
from shmring._channel_base import ChannelBase, SendQueue
from shmring._endpoint import Owner
from shmring.batch import PacketBatch
from shmring.rtp import audio
from shmring.rtp.batch import RtpBatch
from shmring.rtp.frames import RtpBye, RtpErasure, RtpFrame, RtpItem, RtpResync, item_of
from shmring.rtp.options import CODEC_NUMBERS, DELIVERIES, ENGINE, RX_HEAD_BYTES
from shmring.rtp.records import BYE, BlockOptions, FrameOptions, RecordMaker
from shmring.rtp.statistics import RtpChannelStats, read_rtp
from shmring.stats import read_values

_CODECS = {number: audio.CODECS[name] for name, number in CODEC_NUMBERS.items()}
_DELIVERY_NAMES = {number: name for name, number in DELIVERIES.items()}


class RtpChannel(SendQueue, ChannelBase[RtpItem]):
    """One process's end of an RTP stream: queue frames, take frames.

    Made by `Pool.open` and `shmring.open` with ``engine=Rtp(...)``, and by `shmring.attach`. As
    `Channel` in all that is not said here: threads, fork, pickling, taps, commands, reports. What
    is queued and taken is frames: the worker writes the headers, keeps the grid, and reads the
    packets that arrive.

    Times are ns in the channel's clock, see `now_ns`; `timeout=` is in seconds.
    """

    def __init__(
        self,
        name: str,
        *,
        namespace: str | None = None,
        readonly: bool = False,
        reading: str | None = None,
        owner: Owner | None = None,
        segment: Any = None,
    ) -> None:
        """Attach to an RTP channel that is open; see `Channel`.

        Raises as `Channel`; `BadConfig` for a channel that is no RTP channel.
        """
        super().__init__(
            name,
            namespace=namespace,
            readonly=readonly,
            reading=reading,
            owner=owner,
            segment=segment,
        )
        endpoint = self._endpoint
        try:
            config = self._engine_config("RTP", ENGINE, "shm_rtp_config_t")
            self._start_reports()
        except BaseException:
            endpoint.leave()
            raise
        self._rtp = config
        self._longest = int(endpoint.mapped().config.max_payload_bytes) - RX_HEAD_BYTES
        self._codec = _CODECS.get(config.codec)
        self._records = RecordMaker(name, config, self._codec, self._longest)
        self._decoders = dict(audio.STATIC)
        if self._codec:
            self._decoders[config.payload_type] = self._codec

    # --- what it is -------------------------------------------------------------------------------

    @property
    def clock_rate(self) -> int:
        """Media clock, Hz: the unit of RTP timestamps."""
        return int(self._rtp.clock_rate)

    @property
    def samples_per_packet(self) -> int:
        """RTP timestamp from one frame to the next, unless `send` says otherwise."""
        return int(self._rtp.samples_per_packet)

    @property
    def ptime_ns(self) -> int:
        """The same in time, ns, rounded down."""
        return self.samples_per_packet * 1_000_000_000 // self.clock_rate

    @property
    def payload_type(self) -> int:
        """Of what is sent, unless `send` says otherwise."""
        return int(self._rtp.payload_type)

    @property
    def ssrc(self) -> int:
        """Of what is sent."""
        return int(self._rtp.ssrc)

    @property
    def codec(self) -> str | None:
        """What is made of samples that are sent; None: `send` takes payloads."""
        return self._codec.name if self._codec else None

    @property
    def audio_channels(self) -> int:
        """Channels of audio, interleaved in samples."""
        return int(self._rtp.channels)

    @property
    def delivery(self) -> str:
        """``"playout"``, ``"in_order"`` or ``"as_arrived"``."""
        return _DELIVERY_NAMES[self._rtp.delivery]

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

        data: payload; on a channel with a codec, samples (int16, or bytes of them).
        at: ns in the channel's clock; not before then: it takes the first slot of the grid from
            there on. None or 0: the next slot.
        timeout: seconds to wait for room; None: for ever.
        how: `FrameOptions`: marker, payload_type, samples, same_time, elements.

        Raises as `Channel.send`, and `BadConfig` for a number out of its range.
        """
        return self._endpoint.send(self._records.frame(data, **how), at, timeout=timeout)

    def try_send(
        self, data: Buffer, at: int | None = None, **how: Unpack[FrameOptions]
    ) -> int | None:
        """Queue one frame as `send` does, or return None if there is no room now."""
        return self._endpoint.try_send(self._records.frame(data, **how), at)

    def send_many(
        self,
        frames: Iterable[Buffer],
        at: int | None = None,
        *,
        timeout: float | None = None,
        **how: Unpack[FrameOptions],
    ) -> int:
        """Queue many frames in one call and return the sequence of the first.

        Arguments as of `send`. Raises as that; `RingFull.sent` says how many frames were queued.
        """
        queued = [self._records.frame(data, **how) for data in frames]
        return self._endpoint.send_many(queued, at=at, timeout=timeout)

    def send_block(
        self,
        data: Buffer,
        at: int | None = None,
        *,
        timeout: float | None = None,
        **how: Unpack[BlockOptions],
    ) -> int:
        """Queue samples, any number of them, which the worker cuts into packets.

        Returns the sequence of the first place in the queue; a block longer than `max_payload`
        takes several.

        data: encoded samples of a constant rate; on a channel with a codec, samples. The last
            packet may be shorter.
        at, timeout: as of `send`.
        how: `BlockOptions`: marker, payload_type, samples, bytes_per_packet.

        Raises as `send`; `RingFull.sent` says how many bytes of `data` were queued.
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
        """Put a new frame in the place of one that waits, and return its sequence.

        It goes behind those that are queued. Arguments as of `send`; see `Channel.replace`.
        """
        frame = self._records.frame(data, **how)
        return self._endpoint.replace(sequence, frame, at, timeout=timeout)

    def end_spurt(self, samples: int | None = None, *, timeout: float | None = None) -> int:
        """End the talk spurt behind what is queued: the next frame begins another one.

        samples: how long until then, units of the media clock; None: until a frame is there. A
        queue that runs empty ends the spurt too, and is counted as an underrun. timeout: as of
        `send`.
        """
        return self._endpoint.send(self._records.pause(samples), timeout=timeout)

    def bye(self, *, timeout: float | None = None) -> int:
        """End the stream behind what is queued, and say so in RTCP. timeout: as of `send`."""
        return self._endpoint.send(BYE, timeout=timeout)

    async def send_async(
        self,
        data: Buffer,
        at: int | None = None,
        *,
        timeout: float | None = None,
        **how: Unpack[FrameOptions],
    ) -> int:
        """As `send`, without blocking the event loop while the queue is full."""
        frame = self._records.frame(data, **how)
        queue = functools.partial(self._endpoint.send, frame, at, timeout=0.0)
        return await self._when_room(queue, deadline(timeout))

    async def send_block_async(
        self,
        data: Buffer,
        at: int | None = None,
        *,
        timeout: float | None = None,
        **how: Unpack[BlockOptions],
    ) -> int:
        """As `send_block`, without blocking the event loop while the queue is full."""
        parts, part_bytes = self._records.block(data, **how)
        until, queue = deadline(timeout), functools.partial(self._endpoint.send, timeout=0.0)
        sequences: list[int] = []
        for part in parts:
            try:
                sequence = await self._when_room(functools.partial(queue, part, at), until)
            except errors.RingFull as full:
                full.sent = len(sequences) * part_bytes
                full.first_sequence = sequences[0] if sequences else None
                raise
            sequences.append(sequence)
        return sequences[0]

    # --- receiving --------------------------------------------------------------------------------

    def recv(self, timeout: float | None = None) -> RtpItem:
        """Take the next frame or event, waiting `timeout` seconds for it; 0: not at all, None: for
        ever. Raises `ReceiveTimeout`, `ChannelClosed`."""
        return item_of(self._endpoint.recv(timeout), self._rtp.clock_rate)

    def try_recv(self) -> RtpItem | None:
        """Take the next frame or event, or return None if there is none now. Raises
        `ChannelClosed`."""
        packet = self._endpoint.try_recv()
        return None if packet is None else item_of(packet, self._rtp.clock_rate)

    def recv_many(
        self,
        max: int = 1024,
        *,
        timeout: float | None = None,
        out: Buffer | None = None,
    ) -> RtpBatch:
        """Take all frames and events that are there, up to `max`, without an object for each.

        Waits for the first, as `recv`. max: 1 to 1048576. out: writable buffer for the payloads,
        which takes some 48 bytes more for each; those that do not fit stay. Raises as `recv`;
        `PayloadTooLarge` if not even the first fits.
        """
        packets: PacketBatch = self._endpoint.recv_many(max, timeout=timeout, out=out)
        return RtpBatch(packets, self._rtp.clock_rate)

    def pcm(self, item: RtpItem | Iterable[RtpItem]) -> memoryview:
        """The samples of a frame, or of many items one behind the other: int16, a view of format
        ``h``, which `numpy.asarray` takes without a copy.

        An erasure is silence as long as what is missing; other events are nothing. Raises
        `BadConfig` for a frame of a payload type that is neither the channel's with its codec nor
        G.711 or L16 by RFC 3551.
        """
        if isinstance(item, RtpFrame):
            return self._decoder(item.payload_type).decode(item.data)
        if isinstance(item, RtpErasure):
            return audio.silence(item.samples * self._rtp.channels)
        if isinstance(item, (RtpResync, RtpBye)):
            return audio.silence(0)
        return memoryview(b"".join(map(self.pcm, item))).cast("h")

    # --- more -------------------------------------------------------------------------------------

    def stats(self) -> RtpChannelStats:
        """Return what the channel and, in `rtp`, the stream has counted and measured."""
        segment = self._endpoint.mapped()
        return RtpChannelStats(**read_values(segment), rtp=read_rtp(segment))

    # --- inside -----------------------------------------------------------------------------------

    def _decoder(self, payload_type: int) -> audio.Codec:
        if payload_type not in self._decoders:
            raise errors.BadConfig(
                f"channel {self.name!r} knows no samples in payload type {payload_type}: open it "
                "with codec= and payload_type=, or take the frame's data"
            )
        return self._decoders[payload_type]
