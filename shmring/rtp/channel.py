"""RTP channels: one process's end of a stream."""

from __future__ import annotations

import errno
import functools
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any, Never, Unpack, cast

from shmring import errors
from shmring._arguments import Buffer, deadline
from shmring._ring import ffi
from shmring.batch import PacketBatch
from shmring.channel import Channel, Owner
from shmring.rtp import audio
from shmring.rtp.batch import RtpBatch
from shmring.rtp.frames import RtpBye, RtpErasure, RtpFrame, RtpItem, RtpResync, item_of
from shmring.rtp.options import CODEC_NUMBERS, DELIVERIES, ENGINE, RX_HEAD_BYTES
from shmring.rtp.records import BYE, BlockOptions, FrameOptions, RecordMaker
from shmring.rtp.statistics import RtpChannelStats, read_rtp
from shmring.stats import read_values, text_of

_CODECS = {number: audio.CODECS[name] for name, number in CODEC_NUMBERS.items()}
_DELIVERY_NAMES = {number: name for name, number in DELIVERIES.items()}


class RtpChannel(Channel):
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
        shared = self._segment.config
        if text_of(shared.engine) != ENGINE:
            self._leave()
            raise errors.BadConfig(
                f"channel {name!r} is no RTP channel: attach to it with shmring.attach"
            )
        config = ffi.new("shm_rtp_config_t *")
        ffi.memmove(config, shared.engine_config, ffi.sizeof("shm_rtp_config_t"))
        self._rtp = config
        self._longest = int(shared.max_payload_bytes) - RX_HEAD_BYTES
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

    def send(  # type: ignore[override]
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
        return super().send(self._records.frame(data, **how), at, timeout=timeout)

    def try_send(  # type: ignore[override]
        self, data: Buffer, at: int | None = None, **how: Unpack[FrameOptions]
    ) -> int | None:
        """Queue one frame as `send` does, or return None if there is no room now."""
        return super().try_send(self._records.frame(data, **how), at)

    def send_many(  # type: ignore[override]
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
        return super().send_many(queued, at=at, timeout=timeout)

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
            return super().send_many(parts, at=at, timeout=timeout)
        except errors.RingFull as full:
            full.sent *= part_bytes
            raise

    def replace(  # type: ignore[override]
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
        return super().replace(sequence, self._records.frame(data, **how), at, timeout=timeout)

    def end_spurt(self, samples: int | None = None, *, timeout: float | None = None) -> int:
        """End the talk spurt behind what is queued: the next frame begins another one.

        samples: how long until then, units of the media clock; None: until a frame is there. A
        queue that runs empty ends the spurt too, and is counted as an underrun. timeout: as of
        `send`.
        """
        return super().send(self._records.pause(samples), timeout=timeout)

    def bye(self, *, timeout: float | None = None) -> int:
        """End the stream behind what is queued, and say so in RTCP. timeout: as of `send`."""
        return super().send(BYE, timeout=timeout)

    async def send_async(  # type: ignore[override]
        self,
        data: Buffer,
        at: int | None = None,
        *,
        timeout: float | None = None,
        **how: Unpack[FrameOptions],
    ) -> int:
        """As `send`, without blocking the event loop while the queue is full."""
        queue = functools.partial(super().send, self._records.frame(data, **how), at, timeout=0.0)
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
        until, queue = deadline(timeout), functools.partial(super().send, timeout=0.0)
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

    def recv(self, timeout: float | None = None) -> RtpItem:  # type: ignore[override]
        """Take the next frame or event, waiting `timeout` seconds for it; 0: not at all, None: for
        ever. Raises `ReceiveTimeout`, `ChannelClosed`."""
        return item_of(super().recv(timeout), self._rtp.clock_rate)

    def try_recv(self) -> RtpItem | None:  # type: ignore[override]
        """Take the next frame or event, or return None if there is none now. Raises
        `ChannelClosed`."""
        packet = super().try_recv()
        return None if packet is None else item_of(packet, self._rtp.clock_rate)

    def recv_into(self, buffer: Buffer, *, timeout: float | None = None) -> Never:
        """Not for RTP: an item is more than a payload; `recv_many` takes a buffer."""
        raise TypeError("an RTP channel has no recv_into: use recv, or recv_many with out=")

    def recv_many(  # type: ignore[override]
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
        packets: PacketBatch = super().recv_many(max, timeout=timeout, out=out)
        return RtpBatch(packets, self._rtp.clock_rate)

    async def recv_async(self, timeout: float | None = None) -> RtpItem:  # type: ignore[override]
        """As `recv`, without blocking the event loop. Cancelling it loses nothing."""
        return cast("RtpItem", await super().recv_async(timeout))

    def __iter__(self) -> Iterator[RtpItem]:  # type: ignore[override]
        """Iterate over frames and events as they come, until the channel is closed."""
        return cast("Iterator[RtpItem]", super().__iter__())

    def __aiter__(self) -> AsyncIterator[RtpItem]:  # type: ignore[override]
        """Iterate over frames and events as they come, until the channel is closed."""
        return cast("AsyncIterator[RtpItem]", super().__aiter__())

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
        segment = self._mapped()
        return RtpChannelStats(**read_values(segment), rtp=read_rtp(segment))

    def __reduce__(self) -> tuple[Any, ...]:
        return _attach, (self._name, self._namespace, self._readonly, self._reading)

    def _refuse(self, rc: int, text: str | None) -> Never:
        if rc == -errno.EDESTADDRREQ:
            raise errors.BadAddress(
                f"channel {self._name!r} has no remote address: open it with remote="
            )
        super()._refuse(rc, text)

    # --- inside -----------------------------------------------------------------------------------

    def _decoder(self, payload_type: int) -> audio.Codec:
        if payload_type not in self._decoders:
            raise errors.BadConfig(
                f"channel {self._name!r} knows no samples in payload type {payload_type}: open it "
                "with codec= and payload_type=, or take the frame's data"
            )
        return self._decoders[payload_type]


def _attach(name: str, namespace: str, readonly: bool, reading: str) -> RtpChannel:
    """What a pickled channel is made of again."""
    return RtpChannel(name, namespace=namespace, readonly=readonly, reading=reading)
