"""Netflux channels: one process's end of a link that exchanges values in cycles."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from shmring import _address, _options, errors
from shmring._channel_base import ChannelBase
from shmring._check import check
from shmring._endpoint import Owner
from shmring._ring import ffi, lib
from shmring.netflux.items import NetfluxItem, NetfluxSnapshot, SentValues, item_of
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
from shmring.netflux.statistics import (
    NetfluxChannelStats,
    NetfluxLink,
    NetfluxStats,
    read_link,
    read_netflux,
)
from shmring.stats import read_values

_ON_STALE_NAMES = {number: name for name, number in ON_STALE.items()}


class NetfluxSettings(NamedTuple):
    """What a link keeps to now; see `Netflux`. Times are ns."""

    cycle_ns: int
    watchdog_ns: int
    """0: none."""
    hear_ns: int
    """0: from the two above."""
    stale_ns: int
    """0: values are stale when who wrote them has died."""
    on_stale: str
    keep_values: bool
    keep_window: bool
    sending: bool
    """Unless `NetfluxChannel.stop_sending` was called."""


class NetfluxChannel(ChannelBase[NetfluxItem]):
    """One process's end of a Netflux link: write what is sent, read what the partner sends.

    Made by `Pool.open` and `shmring.open` with ``engine=Netflux(...)``, and by `shmring.attach`. As
    `Channel` in all that is not said here: threads, fork, pickling, taps, hold and release. Nothing
    is queued: the worker sends the newest values in every cycle, and the newest of the partner lie
    in shared memory for any process to see. `recv` has each of them, and what befell the link, one
    after the other.

    Times are ns of CLOCK_MONOTONIC; `timeout=` is in seconds.
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
        send: Record | None = None,
        receive: Record | None = None,
    ) -> None:
        """Attach to a Netflux channel that is open; see `Channel`.

        send, receive: records, which make bytes of values and values of bytes; None: values are
            bytes, whatever others take them for.

        Raises as `Channel`; `BadConfig` for a channel that is no Netflux channel, or of another
        layout than a record's.
        """
        super().__init__(
            name,
            namespace=namespace,
            readonly=readonly,
            reading=reading,
            owner=owner,
            segment=segment,
        )
        try:
            self._config = self._agree(send, receive)
        except BaseException:
            self._endpoint.leave()
            raise
        self._send_record = send
        self._receive_record = receive
        self._encode = None if send is None else send.encode
        self._decode = None if receive is None else receive.decode

    def _agree(self, send: Record | None, receive: Record | None) -> Any:
        """The engine's configuration, if the records are of its layout."""
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
            raise TypeError(f"{option} must be a record such as netflux.records.Codec")
        theirs, ours = layout_text(layout), layout_of(record)
        if own_size != size or theirs not in ("", ours):
            raise errors.BadConfig(
                f"{option}: a record of {own_size} bytes with layout {ours}; channel "
                f"{self.name!r} was opened for {size} bytes"
                + (f" with layout {theirs}" if theirs else "")
                + ": use the record that it was opened with"
            )

    # --- what it is -------------------------------------------------------------------------------

    @property
    def send_bytes(self) -> int:
        """Size of what is sent, number and feedback not counted."""
        return int(self._config.tx_payload_bytes)

    @property
    def receive_bytes(self) -> int:
        """Size of what is received, likewise."""
        return int(self._config.rx_payload_bytes)

    @property
    def send_layout(self) -> str:
        """Layout hash of the record that the channel was opened with; empty: none."""
        return layout_text(self._config.tx_layout)

    @property
    def receive_layout(self) -> str:
        """The same of what is received."""
        return layout_text(self._config.rx_layout)

    @property
    def any_source(self) -> bool:
        """Whether datagrams are taken from anywhere, not from the partner's address alone."""
        return bool(self._config.any_source)

    @property
    def max_payload(self) -> int:
        """The larger of `send_bytes` and `receive_bytes`."""
        return max(self.send_bytes, self.receive_bytes)

    @property
    def remote(self) -> tuple[str, int] | None:
        """The partner; None: nothing is sent before `aim`."""
        state = self._state()
        if state is None:
            return super().remote
        return _address.unpack(state.remote)

    @property
    def settings(self) -> NetfluxSettings:
        """What the link keeps to now."""
        state = self._state()
        now = self._config.settings if state is None else state.settings
        return NetfluxSettings(
            now.cycle_ns,
            now.watch_ns,
            now.hear_ns,
            now.stale_ns,
            _ON_STALE_NAMES.get(now.on_stale, str(now.on_stale)),
            bool(now.flags & FLAGS["keep_values"]),
            bool(now.flags & FLAGS["keep_window"]),
            True if state is None else bool(state.sending),
        )

    # --- values -----------------------------------------------------------------------------------

    def update(self, values: Any) -> None:
        """Let these values be sent from the next cycle on, until others are.

        values: what the record encodes; without a record a bytes-like object of `send_bytes`. Never
        waits, but for a moment when it is the first from this process, or the first behind the
        replacement of a worker. Of several processes that update, the last wins.

        Raises `PayloadTooLarge` (not of the agreed size), `ChannelClosed`, `NoPermission` (a tap),
        `TypeError`, and whatever the record raises for values that do not fit, naming the field:
        what was to be sent stays then. `WorkerFailed`: for 3 s nobody has sent anything.
        """
        encode = self._encode
        self._endpoint.put(values if encode is None else encode(values))

    def snapshot(self) -> NetfluxSnapshot | None:
        """Return the newest values of the partner, or None before the first. Does not wait.

        Raises `ChannelClosed`, `WorkerFailed` (for 3 s nobody has received or watched anything),
        and whatever the record raises for a payload that makes no sense.
        """
        found = self._endpoint.snapshot(self._decode)
        # 84 ns where NetfluxSnapshot(*found) takes 179.
        return None if found is None else tuple.__new__(NetfluxSnapshot, found)

    @property
    def published(self) -> int:
        """`NetfluxSnapshot.published` of what `snapshot` would return; 0: nothing yet."""
        segment = self._endpoint.mapped()
        return int(lib.netflux_published(segment.engine))

    def sent_values(self) -> SentValues | None:
        """Return what is to be sent now, whoever has put it, or None before the first update."""
        segment = self._endpoint.mapped()
        size = self.send_bytes
        values = ffi.new("uint8_t[]", max(size, 1))
        at_ns, ticket, slot = ffi.new("int64_t *"), ffi.new("uint64_t *"), ffi.new("uint32_t *")
        rc = lib.shm_netflux_peek(
            segment.engine, segment.config.producers, values, size, at_ns, ticket, slot
        )
        check(
            rc,
            f"channel {self.name!r}: another process overwrote what is to be sent; update it",
        )
        if rc == 0:
            return None
        payload: Any = bytes(ffi.buffer(values, size))
        if self._send_record is not None:
            payload = self._send_record.decode(payload)
        return SentValues(payload, at_ns[0], ticket[0], segment.producers[slot[0]].owner)

    # --- the link ---------------------------------------------------------------------------------

    def configure(
        self,
        *,
        cycle_ns: int | None = None,
        watchdog_ns: int | None = None,
        hear_ns: int | None = None,
        stale_ns: int | None = None,
        on_stale: str | None = None,
        keep_values: bool | None = None,
        keep_window: bool | None = None,
    ) -> None:
        """Change settings while the link runs.

        They are those of `Netflux`; None leaves one as it is. Without fail-safe values,
        on_stale="failsafe" sends zeros. Raises `BadConfig`, `TypeError`, `ChannelClosed`,
        `NoPermission` (a tap).
        """
        settings = {
            "cycle_ns": cycle_ns,
            "watchdog_ns": watchdog_ns,
            "hear_ns": hear_ns,
            "stale_ns": stale_ns,
            "on_stale": on_stale,
            "keep_values": keep_values,
            "keep_window": keep_window,
        }
        given = {name: value for name, value in settings.items() if value is not None}
        state = self._state()
        request = self._request(lib.SHM_NETFLUX_SET)
        request.settings = self._config.settings if state is None else state.settings
        change_settings(request.settings, given)
        check(lib.shm_netflux_settings_check(ffi.addressof(request, "settings")))
        self._ask(request)

    def aim(self, remote: tuple[str, int]) -> None:
        """Send to another partner from now on; datagrams are taken from there.

        remote: numeric (host, port). Raises `BadAddress`, and as `configure`.
        """
        raw = _address.pack(remote, "remote", least_port=1)
        self._endpoint.check_family(raw)
        request = self._request(lib.SHM_NETFLUX_AIM)
        ffi.memmove(ffi.addressof(request, "remote"), raw, len(raw))
        self._ask(request)

    def start_sending(self) -> None:
        """Go on behind `stop_sending`. Raises as `configure`."""
        self._switch_sending(1)

    def stop_sending(self) -> None:
        """Send nothing more, so that the partner's watchdog runs out. What comes in is still taken.
        Raises as `configure`."""
        self._switch_sending(0)

    def set_failsafe(self, values: Any) -> None:
        """Say what is to be sent when values are stale and `on_stale` is ``"failsafe"``.

        values: as of `update`. Raises as that.
        """
        payload = bytes(values if self._encode is None else self._encode(values))
        if len(payload) != self.send_bytes:
            raise errors.PayloadTooLarge(
                f"fail-safe values of {len(payload)} bytes; channel {self.name!r} sends "
                f"{self.send_bytes}"
            )
        self._ask(self._request(lib.SHM_NETFLUX_SET_FAILSAFE), payload)

    def set_feedback(self, number: int | None) -> None:
        """Send this number, 0 to 255, as the one received last; None: the one that was.

        For a program that receives by other means. Raises as `configure`.
        """
        request = self._request(lib.SHM_NETFLUX_FEEDBACK)
        if number is not None:
            request.on = lib.SHM_NETFLUX_GIVEN | _options.integer("number", number, 0, 255)
        self._ask(request)

    def link(self) -> NetfluxLink:
        """Return how the link is and what it has counted: `netflux_stats` without histograms, in a
        few microseconds."""
        return read_link(self._endpoint.mapped())

    def netflux_stats(self) -> NetfluxStats:
        """Return what the link has counted and measured, without the rest of `stats`."""
        return read_netflux(self._endpoint.mapped())

    def stats(self) -> NetfluxChannelStats:
        """Return what the channel and, in `netflux`, the link has counted and measured."""
        segment = self._endpoint.mapped()
        return NetfluxChannelStats(**read_values(segment), netflux=read_netflux(segment))

    # --- arrivals, one after the other ------------------------------------------------------------

    def recv(self, timeout: float | None = None) -> NetfluxItem:
        """Take the next arrival or event, waiting `timeout` seconds for it; 0: not at all, None:
        for ever. Raises `ReceiveTimeout`, `ChannelClosed`."""
        return item_of(self._endpoint.recv(timeout), self.receive_bytes, self._decode)

    def try_recv(self) -> NetfluxItem | None:
        """Take the next arrival or event, or return None if there is none now. Raises
        `ChannelClosed`."""
        packet = self._endpoint.try_recv()
        return None if packet is None else item_of(packet, self.receive_bytes, self._decode)

    def recv_many(self, max: int = 1024, *, timeout: float | None = None) -> list[NetfluxItem]:
        """Take all arrivals and events that are there, up to `max`; waits for the first, as `recv`,
        and raises as that."""
        packets = self._endpoint.recv_many(max, timeout=timeout)
        return [item_of(packet, self.receive_bytes, self._decode) for packet in packets]

    # --- inside -----------------------------------------------------------------------------------

    def _attached_as(self) -> dict[str, Any]:
        records = {"send": self._send_record, "receive": self._receive_record}
        return super()._attached_as() | records

    def _state(self) -> Any:
        """What the worker keeps to, a copy; None: it has not begun."""
        state = ffi.new("shm_netflux_state_t *")
        segment = self._endpoint.mapped()
        return state if lib.shm_netflux_state_get(segment.engine, state) == 1 else None

    def _request(self, op: int) -> Any:
        request = ffi.new("shm_netflux_request_t *")
        request.op = op
        return request

    def _switch_sending(self, on: int) -> None:
        request = self._request(lib.SHM_NETFLUX_SEND)
        request.on = on
        self._ask(request)

    def _ask(self, request: Any, values: bytes = b"") -> None:
        self._endpoint.engine_request(bytes(ffi.buffer(request)) + values)


def starting_end(start: Start) -> Callable[..., NetfluxChannel]:
    """What makes the opener's end of a channel just made, with its first values in place."""

    def begin(name: str, **end: Any) -> NetfluxChannel:
        channel = NetfluxChannel(name, send=start.send, receive=start.receive, **end)
        if start.failsafe is not None:
            channel._ask(channel._request(lib.SHM_NETFLUX_SET_FAILSAFE), start.failsafe)
        if start.values is not None:
            channel._endpoint.put(start.values)
        return channel

    return begin
