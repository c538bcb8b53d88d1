"""Netflux channels: one process's end of a link that exchanges values in cycles."""

from collections.abc import Callable
from typing import Any, NamedTuple, TypedDict, Unpack

from shmring import _address, _options, errors
from shmring._arguments import payload_bytes
from shmring._channel_aio import ArrivalsAio, receiving
from shmring._channel_base import ChannelBase
from shmring._check import check
from shmring._endpoint import Endpoint
from shmring._ring import ffi, lib
from shmring.netflux.items import Item, SentValues, Snapshot, item_of
from shmring.netflux.options import (
    ENGINE,
    FLAGS,
    ON_STALE,
    Record,
    Start,
    as_record,
    change_settings,
    layout_of,
    layout_text,
)
from shmring.netflux.statistics import Link, Stats, netflux_link, netflux_stats
from shmring.observe.reading import engine_words_of
from shmring.stats import ChannelStats, read_stats
from shmring.types import OnStale

_ON_STALE_NAMES = {number: name for name, number in ON_STALE.items()}


class Settings(NamedTuple):
    """The settings of a link that are in effect now, see `Netflux`. Times are ns."""

    cycle_ns: int
    watchdog_ns: int
    """0: none."""
    hear_ns: int
    """0: derived from the two above."""
    stale_ns: int
    """0: values are stale when the process that wrote them has died."""
    on_stale: str
    keep_values: bool
    keep_window: bool
    sending: bool
    """Whether the link sends: true unless ``configure(sending=False)`` was called."""
    any_source: bool
    """Whether datagrams are accepted from any address, not only from the partner's."""
    send_bytes: int
    """Size of the sent values, without number and feedback."""
    receive_bytes: int
    """Size of the received values, without number and feedback."""
    send_layout: str
    """Layout hash of the record of sent values with which the channel was opened. Empty: none."""
    receive_layout: str
    """The same for received values."""


_NO_RECORD = (
    ": give {} bytes, or open or attach with Netflux(send=shmring.netflux.records.Codec(...)), "
    "which takes objects"
)


class LinkSettings(TypedDict, total=False):
    """Keyword arguments of `Channel.configure`, see `Netflux`. None leaves a setting as it
    is."""

    cycle_ns: int | None
    watchdog_ns: int | None
    hear_ns: int | None
    stale_ns: int | None
    on_stale: OnStale | None
    keep_values: bool | None
    keep_window: bool | None
    sending: bool | None


class Channel(ChannelBase[Item]):
    """One process's end of a Netflux link: it writes the values to send, and reads the partner's
    values.

    `Pool.open` and `shmring.open` with ``engine=Netflux(...)`` return it, and so does
    `shmring.attach`. Threads, fork, pickling, taps, hold and release work as in `shmring.Channel`.
    Nothing is queued: the worker sends the newest values in every cycle, and any process can read
    the partner's newest values from shared memory. `recv` returns all of the partner's values and
    all events of the link, one after the other.

    Times are ns of CLOCK_MONOTONIC. `timeout=` is in seconds.
    """

    def __init__(
        self,
        end: Endpoint,
        send: Record | None = None,
        receive: Record | None = None,
        **_: object,
    ) -> None:
        """`open` and `shmring.attach` make it, with the records of its `Netflux`. Raises
        `TypeError` without `end`."""
        self._send_record = send
        self._receive_record = receive
        super().__init__(end)

    aio: "NetfluxAio"
    """The calls that wait, for tasks of asyncio and trio: ``await ch.aio.recv()``."""

    def _begin(self) -> None:
        send, receive = self._send_record, self._receive_record
        self._config = self._agree(send, receive)
        self._send_bytes = int(self._config.tx_payload_bytes)
        self._receive_bytes = int(self._config.rx_payload_bytes)
        self._encode = None if send is None else send.encode
        self._decode = None if receive is None else receive.decode
        self.aio = NetfluxAio(self._same_end())

    def _agree(self, send: Record | None, receive: Record | None) -> Any:
        """Return the engine's configuration. Raises if the records have another layout."""
        config = self._engine_config("Netflux", ENGINE, "shm_netflux_config_t")
        check(lib.shm_netflux_config_check(config))
        self._compare("send", send, config.tx_payload_bytes, config.tx_layout)
        self._compare("receive", receive, config.rx_payload_bytes, config.rx_layout)
        return config

    def _compare(self, option: str, record: Record | None, size: int, layout: Any) -> None:
        if record is None:
            return
        found, own_size = as_record(option, record)
        if found is None:
            raise TypeError(f"{option} must be a record such as shmring.netflux.records.Codec")
        theirs, ours = layout_text(layout), layout_of(record)
        if own_size != size or theirs not in ("", ours):
            raise errors.BadConfig(
                f"{option}: the record has {own_size} bytes and layout {ours}, but channel "
                f"{self.name!r} was opened for {size} bytes"
                + (f" and layout {theirs}" if theirs else "")
                + ": use the record that it was opened with"
            )

    # --- what it is -------------------------------------------------------------------------------

    @property
    def max_payload(self) -> int:
        """Size of the sent values or of the received ones, whichever is larger."""
        return max(self._send_bytes, self._receive_bytes)

    @property
    def remote(self) -> tuple[str, int] | None:
        """Address of the partner. None: nothing is sent before `aim`."""
        state = self._state()
        if state is None:
            return super().remote
        return _address.unpack(state.remote)

    @property
    def settings(self) -> Settings:
        """The settings in effect now."""
        state = self._state()
        now = self._config.settings if state is None else state.settings
        return Settings(
            now.cycle_ns,
            now.watch_ns,
            now.hear_ns,
            now.stale_ns,
            _ON_STALE_NAMES.get(now.on_stale, str(now.on_stale)),
            bool(now.flags & FLAGS["keep_values"]),
            bool(now.flags & FLAGS["keep_window"]),
            True if state is None else bool(state.sending),
            bool(self._config.any_source),
            self._send_bytes,
            self._receive_bytes,
            layout_text(self._config.tx_layout),
            layout_text(self._config.rx_layout),
        )

    # --- values -----------------------------------------------------------------------------------

    def update(self, values: Any) -> None:
        """Set the values that are sent from the next cycle on.

        values: an object that the record encodes, or without a record a bytes-like object of
            `Settings.send_bytes`.

        The call only waits, and only shortly, if it is the first one in this process or the first
        one after a worker was replaced. If several processes update, the last one wins.

        Raises `PayloadTooLarge` (wrong size), `ChannelClosed`, `NoPermission` (a read-only end),
        `TypeError`, and the exceptions of the record for values that do not fit, with the name of
        the field. Then the previous values stay. `WorkerFailed`: nothing was sent for 3 s.
        """
        encode = self._encode
        try:
            self._endpoint.put(values if encode is None else encode(values))
        except TypeError:
            if encode is None:
                payload_bytes(values, "values", _NO_RECORD.format(self._send_bytes))
            raise

    def snapshot(self) -> Snapshot | None:
        """Return the newest values of the partner, or None before the first ones. Does not wait.

        Raises `ChannelClosed`, `WorkerFailed` (no worker has received for 3 s), and the exceptions
        of the record for a malformed payload.
        """
        found = self._endpoint.snapshot(self._decode)
        # This takes 84 ns, Snapshot(*found) takes 179 ns.
        if found is None:
            return None
        return tuple.__new__(Snapshot, found)  # pyright: ignore[reportUnknownMemberType]

    @property
    def published(self) -> int:
        """`Snapshot.published` of the result that `snapshot` would return. 0: no
        values yet."""
        segment = self._endpoint.mapped()
        return int(lib.netflux_published(segment.engine))

    def sent_values(self) -> SentValues | None:
        """Return the values that are sent now, from any process, or None before the
        first update."""
        segment = self._endpoint.mapped()
        size = self._send_bytes
        values = ffi.new("uint8_t[]", max(size, 1))
        at_ns, ticket, slot = ffi.new("int64_t *"), ffi.new("uint64_t *"), ffi.new("uint32_t *")
        rc = lib.shm_netflux_peek(
            segment.engine, segment.config.producers, values, size, at_ns, ticket, slot
        )
        check(
            rc,
            f"channel {self.name!r}: another process overwrote the values to send: update them",
        )
        if rc == 0:
            return None
        payload: Any = bytes(ffi.buffer(values, size))
        if self._send_record is not None:
            payload = self._send_record.decode(payload)
        return SentValues(payload, at_ns[0], ticket[0], segment.producers[slot[0]].owner)

    # --- the link ---------------------------------------------------------------------------------

    def configure(self, **settings: Unpack[LinkSettings]) -> None:
        """Change `LinkSettings` while the link runs.

        sending: False stops sending, so that the partner's watchdog expires. Datagrams are still
            received. True continues.

        Without fail-safe values, on_stale="failsafe" sends zeros. Raises `BadConfig`, `TypeError`,
        `ChannelClosed`, `NoPermission` (a read-only end).
        """
        given = _options.asked_for(settings, LinkSettings.__annotations__, "configure")
        sending = given.pop("sending", None)
        if sending is not None:
            _options.switch("sending", sending)
        if given or sending is None:
            self._change(given)
        if sending is not None:
            request = self._request(lib.SHM_NETFLUX_SEND)
            request.on = int(sending)
            self._ask(request)

    def _change(self, given: dict[str, Any]) -> None:
        state = self._state()
        request = self._request(lib.SHM_NETFLUX_SET)
        request.settings = self._config.settings if state is None else state.settings
        change_settings(request.settings, given)
        check(lib.shm_netflux_settings_check(ffi.addressof(request, "settings")))
        self._ask(request)

    def aim(self, remote: tuple[str, int]) -> None:
        """Send to another partner from now on, and accept datagrams from there.

        remote: numeric (host, port). Raises `BadAddress`, and the exceptions of `configure`.
        """
        raw = _address.pack(remote, "remote", least_port=1)
        self._endpoint.check_family(raw)
        request = self._request(lib.SHM_NETFLUX_AIM)
        ffi.memmove(ffi.addressof(request, "remote"), raw, len(raw))
        self._ask(request)

    def set_failsafe(self, values: Any) -> None:
        """Set the values that are sent when values are stale and `on_stale` is ``"failsafe"``.

        values: as in `update`. Raises the exceptions of `update`.
        """
        payload = payload_bytes(values if self._encode is None else self._encode(values))
        if len(payload) != self._send_bytes:
            raise errors.PayloadTooLarge(
                f"fail-safe values of {len(payload)} bytes; channel {self.name!r} sends "
                f"{self._send_bytes}"
            )
        self._ask(self._request(lib.SHM_NETFLUX_SET_FAILSAFE), payload)

    def set_feedback(self, number: int | None) -> None:
        """Send this number, 0 to 255, as the number received last. None: send the real one.

        It is for a program that receives in another way. Raises the exceptions of `configure`.
        """
        request = self._request(lib.SHM_NETFLUX_FEEDBACK)
        if number is not None:
            request.on = lib.SHM_NETFLUX_GIVEN | _options.integer("number", number, 0, 255)
        self._ask(request)

    def link(self) -> Link:
        """Return the state and counters of the link: `netflux_stats` without histograms, in a few
        microseconds."""
        return netflux_link(engine_words_of(self._endpoint.mapped()))

    def netflux_stats(self) -> Stats:
        """Return the counters and measurements of the link, without the rest of `stats`."""
        segment = self._endpoint.mapped()
        return netflux_stats(segment, engine_words_of(segment))

    def stats(self) -> ChannelStats[Stats]:
        """Return the counters and measurements of the channel and, in `engine`, of the link."""
        return read_stats(self._endpoint.mapped(), netflux_stats)

    # --- arrivals, one after the other ------------------------------------------------------------

    def recv(self, *, timeout: float | None = None) -> Item:
        """Return the next arrival or event. Wait `timeout` seconds for it: 0 does not wait, None
        sets no limit. Raises `ReceiveTimeout`, `ChannelClosed`."""
        return item_of(self._endpoint.recv(timeout=timeout), self._receive_bytes, self._decode)

    def try_recv(self) -> Item | None:
        """Return the next arrival or event, or None if there is none now.
        Raises `ChannelClosed`."""
        packet = self._endpoint.try_recv()
        return None if packet is None else item_of(packet, self._receive_bytes, self._decode)

    def recv_many(self, max: int = 1024, *, timeout: float | None = None) -> list[Item]:
        """Return all available arrivals and events, up to `max`. Waits for the first one like
        `recv`, and raises the same exceptions."""
        packets = self._endpoint.recv_many(max, timeout=timeout)
        return [item_of(packet, self._receive_bytes, self._decode) for packet in packets]

    # --- inside -----------------------------------------------------------------------------------

    def _records_given(self) -> dict[str, Any]:
        return {"send": self._send_record, "receive": self._receive_record}

    def _state(self) -> Any:
        """Return a copy of the worker's settings, or None if it has not begun."""
        state = ffi.new("shm_netflux_state_t *")
        segment = self._endpoint.mapped()
        return state if lib.shm_netflux_state_get(segment.engine, state) == 1 else None

    def _request(self, op: int) -> Any:
        request = ffi.new("shm_netflux_request_t *")
        request.op = op
        return request

    def _ask(self, request: Any, values: bytes = b"") -> None:
        self._endpoint.engine_request(bytes(ffi.buffer(request)) + values)


class NetfluxAio(ArrivalsAio[Item]):
    """The calls of a `Channel` that wait, for tasks of asyncio and trio."""

    __slots__ = ()

    recv_many = receiving(Channel.recv_many)


def starting_end(start: Start) -> Callable[[Endpoint], Channel]:
    """Return the function that makes an opener's end, and sets what a link starts with."""

    def begin(end: Endpoint) -> Channel:
        channel = Channel(end, start.send, start.receive)
        if not end.begins:
            return channel
        if start.values is not None:
            end.attach_now(lib.ENDPOINT_TX)  # may fail, so before any change
        if start.failsafe is not None:
            channel._ask(channel._request(lib.SHM_NETFLUX_SET_FAILSAFE), start.failsafe)
        if start.values is not None:
            end.put(start.values)
        return channel

    return begin
