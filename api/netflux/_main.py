"""A receiver and a sender on one socket, and data objects in place of bytes."""

from __future__ import annotations

import copy
import itertools
import sys
import threading
import time
from typing import Any, Generic, TypeVar

from ._data import NetfluxData, payload_of
from ._endpoint import JOIN_S
from ._output import say
from ._receiver import NetfluxReceiver
from ._sender import NetfluxSender
from ._statistics import LinkStatistics
from ._tracker import NetfluxStatisticsTracker

_RULE = "=" * 60

T = TypeVar("T")


class _Setting(Generic[T]):
    """An attribute of a component, or of the object itself until it has the component."""

    def __init__(self, component: str, text: str, after: str = "") -> None:
        """after: the method to call after an assignment to the component."""
        self._component, self._after = component, after
        self.__doc__ = text

    def __set_name__(self, _: type, name: str) -> None:
        self._name = name

    def __get__(self, main: Any, _: type | None = None) -> T:
        if main is None:
            return self  # type: ignore[return-value]  # what `help` shows
        component = vars(main).get(self._component)
        found: T = (
            vars(main)[self._name] if component is None else getattr(component, self._name)
        )
        return found

    def __set__(self, main: Any, value: T) -> None:
        component = vars(main).get(self._component)
        if component is None:
            vars(main)[self._name] = value
            return
        setattr(component, self._name, value)
        if self._after:
            getattr(main, self._after)()


class NetfluxMain:
    """Exchanges the fields of two objects with a partner: `data_send` and `data_recv`.

    A worker process of `shmring` owns the socket and keeps the cycle, the watchdog and the
    statistics, whatever Python does meanwhile. A thread here reads data_send once in each cycle,
    and the worker sends the last state that it read. `set_send_data` takes effect at once.

    A derived class may override `_init_components`, `_get_send_data`, `_on_data_received` and
    `_statistics_loop`.
    """

    receiver: NetfluxReceiver
    sender: NetfluxSender
    statistics: NetfluxStatisticsTracker

    def __init__(
        self,
        local_port: int = 2000,
        remote_ip: str = "172.10.10.10",
        remote_port: int = 2000,
        send_interval: float = 0.005,
        watch_interval: float = 0.030,
        keep_values_on_timeout: bool = False,
        data_class: Any = NetfluxData,
        *,
        recv_data_class: Any = None,
        source_filter: bool = False,
        on_stale: str = "stop",
        stale_interval: float = 1.0,
        failsafe: Any = None,
        bind_address: str = "",
        reuse: bool = False,
        pool: Any = None,
        name: str | None = None,
        verbose: bool | None = None,
    ) -> None:
        """Describe a link. `start` opens it.

        local_port: port to bind to, and source port of sent packets. 0: any free one.
        remote_ip, remote_port, send_interval: see `NetfluxSender`. They and watch_interval may be
            assigned while the link runs.
        watch_interval, keep_values_on_timeout: see `NetfluxReceiver`.
        data_class: class of data_send and data_recv: a class with ``to_bytes``, ``from_bytes`` and
            ``get_size``, such as `NetfluxData`, a dataclass with the types of
            `shmring.netflux.records`, or a `Codec` from there, which also sets the byte order. The
            default is the class that a program put in place of ``netflux_main.NetfluxData``.
        recv_data_class: class of data_recv, if it differs.
        source_filter: accept packets of remote_ip and remote_port only.
        on_stale, stale_interval: what is sent when this process cannot read data_send in time, see
            `NetfluxSender`. failsafe: an object of data_class, or bytes.
        bind_address, reuse, pool, name, verbose: see `NetfluxReceiver`. verbose: also whether
            `start` and `stop` print.

        Raises TypeError, RecordError: data_class is not suitable.
        """
        self.local_port, self.remote_ip, self.remote_port = local_port, remote_ip, remote_port
        self.send_interval, self.watch_interval = send_interval, watch_interval
        self._sent = payload_of(_current(data_class))
        self._received = self._sent if recv_data_class is None else payload_of(recv_data_class)
        self.data_send = self._sent.make()
        self._data_recv = self._received.make()
        self._payload_recv: bytes | None = None
        self.decode_error = ""
        """Why the newest payload could not be decoded, so data_recv is old. Empty: no error."""
        self.verbose = verbose
        # Guards data_send. It is an RLock because to_bytes may call set_send_data.
        self._lock = threading.RLock()
        self._lifecycle = threading.RLock()
        self._running = False
        self._stats_thread: threading.Thread | None = None
        self._receiver_options: dict[str, Any] = {
            "bind_address": bind_address,
            "source": (remote_ip, remote_port) if source_filter else None,
            "reuse": reuse,
            "pool": pool,
            "name": name,
            "verbose": verbose,
        }
        if failsafe is not None and not isinstance(failsafe, bytes):
            failsafe = self._sent.encode(failsafe)
        self._sender_options: dict[str, Any] = {
            "on_stale": on_stale,
            "stale_interval": stale_interval,
            "failsafe": failsafe,
        }
        self._init_components(keep_values_on_timeout)
        self._looks = self._is_ours("_on_data_received")
        if self._looks:  # data_recv decodes the newest payload when read: no call is needed
            self.receiver._idle_callback = self._on_data_received
        self.sender._guard = self._lock
        self.receiver._sharing_sender = self.sender

    def _init_components(self, keep_values_on_timeout: bool) -> None:
        """Make `receiver`, `sender` and `statistics`. `__init__` calls this.

        A derived class that makes others passes `_on_data_received` and `_get_send_data` to them,
        if it wants `data_recv` and `data_send` to be used.
        """
        self.receiver = NetfluxReceiver(
            self.local_port,
            self._on_data_received,
            self._received.size,
            self.watch_interval,
            keep_values_on_timeout,
            **self._receiver_options,
        )
        self.sender = NetfluxSender(
            self.remote_ip,
            self.remote_port,
            self._get_send_data,
            self._sent.size,
            self.send_interval,
            **self._sender_options,
        )
        self.statistics = LinkStatistics(self.receiver, self.send_interval * 1000)

    def _is_ours(self, method: str) -> bool:
        """Whether a derived class, or a program, has put nothing in place of a method."""
        own = getattr(getattr(self, method), "__func__", None)
        return own is getattr(NetfluxMain, method)

    # --- life ---------------------------------------------------------------------------------

    def start(self) -> bool:
        """Open the port, receive and send. Does nothing while it runs.

        Returns False on failure. Then `receiver` or `sender` has the error_message.
        """
        with self._lifecycle:
            if self.receiver.running and self.sender.running:
                return True
            self._say("Starting Netflux...")
            self._say(f"  Local port: {self.local_port}")
            self._say(f"  Remote: {self.remote_ip}:{self.remote_port}")
            self._say(f"  Send interval: {self.send_interval * 1000:.1f}ms")
            self._say(f"  Watchdog timeout: {self.watch_interval * 1000:.1f}ms")
            if not self.receiver.start():
                self._say(f"Failed to start receiver: {self.receiver.error_message}")
                return False
            self._say("✓ Receiver started")
            self.sender.peer_socket = self.receiver._socket
            if not self.sender.start():
                self._say(f"Failed to start sender: {self.sender.error_message}")
                self.receiver.stop()
                return False
            self._say("✓ Sender started")
            self._start_statistics()
            self._say("✓ Statistics tracker started")
            self._say("\nNetflux is running!")
            return True

    def _start_statistics(self) -> None:
        """Run `_statistics_loop` in a thread, unless the worker measures everything."""
        self._running = True
        if self._is_ours("_statistics_loop") and isinstance(self.statistics, LinkStatistics):
            return
        self._stats_thread = threading.Thread(
            target=self._statistics_loop, name="netflux statistics", daemon=True
        )
        self._stats_thread.start()

    def _statistics_loop(self) -> None:
        """Update `statistics` once in each send_interval, until `stop`.

        A thread runs this only if a derived class overrides it, or has replaced `statistics`: the
        worker measures at each packet, and `LinkStatistics` shows that.
        """
        while self._running:
            try:
                self.statistics.update(
                    self.receiver.partner_seq_number,
                    self.sender.sequence_number,
                    self.receiver.current_feedback_seq_number,
                )
                self.sender.set_partner_seq_number(self.receiver.partner_seq_number)
            except Exception as caught:
                self._say(f"Statistics update error: {caught}")
            time.sleep(self.send_interval)

    def stop(self) -> None:
        """Stop sending and receiving, and close the port. Waits for `_statistics_loop`, at most
        2 s."""
        self._say("\nStopping Netflux...")
        self._running = False
        with self._lifecycle:
            thread, self._stats_thread = self._stats_thread, None
        if thread is not None and thread is not threading.current_thread():
            thread.join(JOIN_S)
        with self._lifecycle:
            self.sender.stop()
            self._say("✓ Sender stopped")
            self.receiver.stop()
            self._say("✓ Receiver stopped")
            self._say("Netflux stopped.")

    def _say(self, text: str) -> None:
        say(text, self.verbose)

    # --- data ---------------------------------------------------------------------------------

    @property
    def data_recv(self) -> Any:
        """The newest data of the partner, a new object whenever they change.

        Before the first packet it has the class's defaults. After a timeout, unless values are
        kept, it is decoded from zeros. A payload that the class rejects changes nothing, see
        `decode_error`. A class that overrides `_on_data_received` decides there.
        """
        payload = self.receiver._newest() if self._looks else None
        if payload is not None and payload != self._payload_recv:
            self._take(payload)
        return self._data_recv

    @data_recv.setter
    def data_recv(self, value: Any) -> None:
        self._data_recv = value

    def _take(self, payload: bytes) -> None:
        try:
            self._data_recv = self._received.decode(payload)
        except Exception as caught:
            self.decode_error = str(caught)
        else:
            self.decode_error = ""
        self._payload_recv = payload

    def _on_data_received(self, data: bytes) -> None:
        """Decode a payload into `data_recv`.

        If a derived class overrides this, the receiver's thread calls it with each payload, and
        with zeros after a timeout that clears the values.
        """
        self._take(data)

    def _get_send_data(self) -> Any:
        """Return the payload to send: that of `data_send`. The sender's thread calls this in each
        cycle, `set_send_data` at once. A derived class may return another payload."""
        return self._sent.encode(self.data_send)

    def get_recv_data(self) -> Any:
        """Return a new copy of `data_recv`."""
        return copy.deepcopy(self.data_recv)

    def set_send_data(self, **fields: Any) -> None:
        """Assign fields of `data_send`, all in one packet. Unknown names are ignored.

        If a value does not fit, the sender's `error_message` names the field, and nothing is sent
        until it fits.
        """
        with self._lock:
            data = self.data_send
            for name, value in fields.items():
                if hasattr(data, name):
                    setattr(data, name, value)
            self.sender.refresh()

    # --- what it shows ------------------------------------------------------------------------

    @property
    def partner_hears_us(self) -> bool:
        """The partner acknowledges what is sent."""
        return self.receiver.partner_hears_us

    @property
    def channel(self) -> Any:
        """The `shmring.netflux.Channel` while the link runs, otherwise None."""
        return self.receiver.channel

    def print_status(self) -> None:
        """Print the state of the link."""
        print("\n".join(self._status()), flush=True)

    def _status(self) -> list[str]:
        received, sent = self.receiver.get_stats(), self.sender.get_stats()
        measured = self.statistics.get_stats()
        return [
            "\n" + _RULE,
            "NETFLUX STATUS",
            _RULE,
            "\n[RECEIVER]",
            *_errors(self.receiver),
            f"  Partner Seq #: {self.receiver.partner_seq_number}",
            f"  Feedback Seq #: {self.receiver.current_feedback_seq_number}",
            f"  Packets Received: {received.total_packets_received}",
            f"  Packets Rejected: {received.total_packets_rejected}",
            f"  Watchdog Timeout: {received.watchdog_timeout}",
            "\n[SENDER]",
            *_errors(self.sender),
            f"  Own Seq #: {self.sender.sequence_number}",
            f"  Packets Sent: {sent.total_packets_sent}",
            f"  Send Errors: {sent.total_send_errors}",
            "\n[STATISTICS]",
            f"  Avg Partner Interval: {measured.avg_partner_interval:.2f} ms",
            f"  Avg Own Interval: {measured.avg_own_interval:.2f} ms",
            f"  Last RTT: {measured.last_rtt:.2f} ms",
            f"  Partner Lost Packets: {measured.total_partner_lost_packets}",
            f"  Feedback Lost Packets: {measured.total_feedback_lost_packets}",
            "\n[DATA]",
            f"  Send: {self.data_send}",
            f"  Recv: {self.data_recv}",
            _RULE + "\n",
        ]

    # --- settings -----------------------------------------------------------------------------

    local_port = _Setting[int]("receiver", "A new value takes effect at the next `start`.")
    remote_ip = _Setting[str]("sender", "May be assigned while the link runs.", "_filter")
    remote_port = _Setting[int]("sender", "May be assigned while the link runs.", "_filter")
    send_interval = _Setting[float](
        "sender", "Seconds. May be assigned while the link runs.", "_tell_cycle_time"
    )
    watch_interval = _Setting[float](
        "receiver", "Seconds. May be assigned while the link runs."
    )

    def _tell_cycle_time(self) -> None:
        self.statistics.cycle_time_ms = self.send_interval * 1000

    def _filter(self) -> None:
        if self.receiver.source is not None:
            self.receiver.source = (self.remote_ip, self.remote_port)


def _current(data_class: Any) -> Any:
    """The class that a program put in place of `NetfluxData`, or `NetfluxData`."""
    module = sys.modules.get("netflux_main")
    if data_class is not NetfluxData or module is None:
        return data_class
    return getattr(module, "NetfluxData", NetfluxData)


def _errors(end: NetfluxReceiver | NetfluxSender) -> list[str]:
    lines = [f"  Error: {end.error}"]
    if end.error:
        lines.append(f"  Error Message: {end.error_message}")
    return lines


def main() -> None:
    """Endless demo: port 2000 of this host sends to port 2001, and prints its state every 5 s."""
    netflux = NetfluxMain(local_port=2000, remote_ip="127.0.0.1", remote_port=2001)
    if not netflux.start():
        print("Failed to start Netflux!", flush=True)
        return
    try:
        for count in itertools.count():
            time.sleep(1.0)
            netflux.set_send_data(
                value1=count * 1.5,
                value2=count * 2.5,
                value3=count,
                value4=count * 10,
                flags=count % 256,
            )
            if count % 5 == 0:
                netflux.print_status()
    except KeyboardInterrupt:
        print("\nInterrupted by user", flush=True)
    finally:
        netflux.stop()
