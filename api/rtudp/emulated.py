"""UDP emulated inside one process: queues in place of sockets, threads in place of workers.

Every (ip, port) in use owns one bounded queue in ``GlobalQueueRegistry``. A sender keeps its
packets in a heap ordered by time; its thread moves each packet, when due, to the queue of the
remote address:

    send_data -> heap of A --thread of A, when due--> queue of (B ip, B port) -> receive_data of B

One lock guards the heap and the counters. The thread releases it while it waits and while it
delivers, so ``send_data`` and ``stop`` never wait for a packet that is due later. The threads hold
no reference to the endpoint object: one that is dropped without ``stop`` or ``close_socket`` is
cleaned up when it is collected. Collection may happen in any thread, under any of these locks. So
this cleanup takes only re-entrant locks, and does not wait.
"""

import heapq
import queue
import threading
import time
import weakref
from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass, field
from operator import index
from typing import Any, ClassVar

from ._common import Counters, any_payload, checked_direction, whole_number
from .base import (
    DEFAULT_CAPACITY,
    DEFAULT_TIMEOUT_NS,
    DIRECTION_RECEIVE,
    DIRECTION_SEND,
    PacketStats,
    ReceivedPacket,
    RtUdpBase,
)

# One wake-up handles this many packets at most: they share an arrival stamp, and the counters lag
# by as many.
_PACKETS_PER_WAKE_UP = 64
_RECEIVE_TICK_S = 0.01
_JOIN_TIMEOUT_S = 1.0
_NS_PER_S = 1_000_000_000

_NOT_INITIALIZED = "Socket not initialized"


class EndpointQueue(queue.Queue[ReceivedPacket]):
    """The bounded queue of one address. A capacity below 1 means unbounded."""

    def __init__(self, key: Hashable, capacity: int) -> None:
        super().__init__(maxsize=capacity)
        self.key = key
        self.users = 0
        """Open endpoints that hold this queue; guarded by the registry's lock."""

    def put_back(self, packets: list[ReceivedPacket]) -> None:
        """Put packets back to the front, oldest first, even if the queue has filled up since."""
        with self.mutex:
            self.queue.extendleft(reversed(packets))
            self.not_empty.notify(len(packets))

    def clear(self) -> None:
        """Discard all packets."""
        with self.mutex:
            self.queue.clear()
            self.not_full.notify_all()


class GlobalQueueRegistry:
    """The queues of this process by (ip, port), compared as given.

    The first user decides a queue's capacity. A queue lives until the last endpoint that uses
    it closes.
    """

    _queues: ClassVar[dict[Hashable, EndpointQueue]] = {}
    _lock: ClassVar[threading.Lock] = threading.Lock()
    _abandoned: ClassVar[deque[EndpointQueue]] = deque()

    @classmethod
    def get_or_create_queue(
        cls, ip: Hashable, port: Hashable, capacity: int = DEFAULT_CAPACITY
    ) -> EndpointQueue:
        """Return the queue of an address without becoming one of its users."""
        with cls._lock:
            cls._release_abandoned()
            return cls._get_or_create((ip, port), capacity)

    @classmethod
    def remove_queue(cls, ip: Hashable, port: Hashable) -> None:
        """Forget the queue of an address. Its users keep it, and later ones get a new one."""
        with cls._lock:
            cls._queues.pop((ip, port), None)

    @classmethod
    def acquire_queue(cls, ip: Hashable, port: Hashable, capacity: int) -> EndpointQueue:
        """Return the queue of an address for one more user. Pair it with ``release_queue``."""
        with cls._lock:
            cls._release_abandoned()
            endpoint_queue = cls._get_or_create((ip, port), capacity)
            endpoint_queue.users += 1
            return endpoint_queue

    @classmethod
    def release_queue(cls, endpoint_queue: EndpointQueue) -> None:
        """Count one user less. The last one removes the queue from the registry."""
        with cls._lock:
            cls._release(endpoint_queue)

    @classmethod
    def abandon_queue(cls, endpoint_queue: EndpointQueue) -> None:
        """As ``release_queue``, but without a lock: it takes effect before the next look-up."""
        cls._abandoned.append(endpoint_queue)

    @classmethod
    def _release_abandoned(cls) -> None:
        while cls._abandoned:
            cls._release(cls._abandoned.popleft())

    @classmethod
    def _release(cls, endpoint_queue: EndpointQueue) -> None:
        endpoint_queue.users -= 1
        if endpoint_queue.users == 0 and cls._queues.get(endpoint_queue.key) is endpoint_queue:
            del cls._queues[endpoint_queue.key]

    @classmethod
    def _get_or_create(cls, key: Hashable, capacity: int) -> EndpointQueue:
        endpoint_queue = cls._queues.get(key)
        if endpoint_queue is None:
            endpoint_queue = cls._queues[key] = EndpointQueue(key, capacity)
        return endpoint_queue


@dataclass(order=True, slots=True)
class TimedPacket:
    """One queued datagram. Packets compare by time, then by the order of the calls."""

    timestamp_ns: int
    data: Any = field(compare=False)
    sequence: int = 0
    accepted_ns: int = field(default=0, compare=False)
    """When ``send_data`` was called. A packet due earlier than that is immediate."""


class _Worker:
    """A thread that can be stopped and restarted. The base of both loops."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._thread: threading.Thread | None = None
        self.changed = threading.Condition(threading.RLock())
        self.counters = Counters()

    def start(self) -> None:
        """Start the thread. The caller makes sure that it is not running."""
        thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        with self.changed:
            self._thread = thread
        thread.start()

    def stop(self) -> None:
        """End the thread and wait for it, at most one second."""
        thread = self.halt()
        if thread is not None:
            thread.join(_JOIN_TIMEOUT_S)

    def halt(self) -> threading.Thread | None:
        """Ask the thread to end, and return it. None when there is none."""
        with self.changed:
            thread, self._thread = self._thread, None
            self.changed.notify_all()
        return thread

    def add_counters_to(self, total: Counters) -> None:
        """Add the counters so far."""
        with self.changed:
            total.merge(self.counters)

    def _is_current(self) -> bool:
        """Return whether the calling thread should continue. Holds ``changed``."""
        return self._thread is threading.current_thread()

    def _run(self) -> None:
        raise NotImplementedError


class _ReceiveWorker(_Worker):
    """Counts receive ticks. The senders' threads do the reception itself."""

    def _run(self) -> None:
        with self.changed:
            while self._is_current():
                self.counters.receive_ticks += 1
                self.changed.wait(_RECEIVE_TICK_S)


class _SendWorker(_Worker):
    """The heap of packets not yet due, and the thread that delivers them."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._heap: list[tuple[int, int, TimedPacket]] = []
        self._next_sequence = 0
        self._in_delivery = 0
        self._deliveries = 0
        self._remote: EndpointQueue | None = None

    def connect(self, remote: EndpointQueue | None) -> None:
        """Deliver to this queue from now on. None: drop and count packets when they are due."""
        with self.changed:
            self._remote = remote

    def submit(self, payload: Any, timestamp_ns: int | None) -> None:
        """Queue one packet. Raises OSError while no remote queue is connected."""
        now_ns = time.monotonic_ns()
        due_ns = now_ns if timestamp_ns is None else timestamp_ns
        with self.changed:
            if self._remote is None:
                raise OSError(_NOT_INITIALIZED)
            sequence = self._next_sequence
            self._next_sequence += 1
            self.counters.requested += 1
            packet = TimedPacket(due_ns, payload, sequence, now_ns)
            heapq.heappush(self._heap, (due_ns, sequence, packet))
            if self._heap[0][1] == sequence:
                self.changed.notify_all()

    def purge(self) -> None:
        """Discard every packet not yet due."""
        with self.changed:
            self._heap.clear()

    def waiting(self) -> int:
        """Return the number of packets accepted and not yet delivered."""
        with self.changed:
            self._settle()
            return len(self._heap)

    def add_counters_to(self, total: Counters) -> None:
        """Add the counters so far, which include every packet that a receiver has seen."""
        with self.changed:
            self._settle()
            total.merge(self.counters)

    def _settle(self) -> None:
        """Wait until packets that are being delivered have been counted. Holds ``changed``."""
        deliveries = self._deliveries
        self.changed.wait_for(lambda: not self._in_delivery or self._deliveries != deliveries)

    def _run(self) -> None:
        while (due := self._wait_for_due()) is not None:
            packets, remote, now_ns = due
            delivered = Counters()
            try:
                for packet in packets:
                    _deliver(packet, remote, now_ns, delivered)
            finally:
                self._finish_delivery(delivered)

    def _wait_for_due(self) -> tuple[list[TimedPacket], EndpointQueue | None, int] | None:
        """Wait for due packets; return them, their queue and the time, or None to end."""
        with self.changed:
            while self._is_current():
                self.counters.send_ticks += 1
                now_ns = time.monotonic_ns()
                packets = self._take_due(now_ns)
                if packets:
                    self._in_delivery += 1
                    return packets, self._remote, now_ns
                self.changed.wait(self._seconds_to_next(now_ns))
        return None

    def _finish_delivery(self, delivered: Counters) -> None:
        with self.changed:
            self.counters.merge(delivered)
            self._in_delivery -= 1
            self._deliveries += 1
            self.changed.notify_all()

    def _take_due(self, now_ns: int) -> list[TimedPacket]:
        packets: list[TimedPacket] = []
        while len(packets) < _PACKETS_PER_WAKE_UP and self._heap and self._heap[0][0] <= now_ns:
            packets.append(heapq.heappop(self._heap)[2])
        return packets

    def _seconds_to_next(self, now_ns: int) -> float | None:
        if not self._heap:
            return None
        return _wait_seconds(self._heap[0][0] - now_ns)


def _deliver(
    packet: TimedPacket, remote: EndpointQueue | None, now_ns: int, counters: Counters
) -> None:
    """Put one packet into the remote queue, or count it as dropped."""
    if remote is None:
        counters.tx_dropped += 1
        return
    try:
        remote.put_nowait((packet.data, now_ns))
    except queue.Full:
        counters.tx_dropped += 1
        return
    counters.sent += 1
    counters.immediate += packet.timestamp_ns <= packet.accepted_ns
    due_ns = max(packet.timestamp_ns, packet.accepted_ns)
    counters.latency.add(time.monotonic_ns() - due_ns)


def _wait_seconds(duration_ns: int) -> float:
    """Convert a duration for a wait of the threading module, which rejects extremely long ones."""
    return min(duration_ns / _NS_PER_S, threading.TIMEOUT_MAX / 2)


def _clean_up(
    sender: _SendWorker, receiver: _ReceiveWorker, held_queues: list[EndpointQueue]
) -> None:
    """End the threads and release the queues when an endpoint is collected."""
    sender.halt()
    receiver.halt()
    while held_queues:
        GlobalQueueRegistry.abandon_queue(held_queues.pop())


class RtUdpEmulated(RtUdpBase):
    """An endpoint inside this process, for development and tests without a network.

    Addresses are plain names: any hashable values, compared as given. Reception needs
    ``init_socket`` only. ``direction`` (0 send, 1 receive, 2 both) may be assigned until ``start``,
    which reads it.
    """

    def __init__(
        self, local_ip: str, local_port: int, remote_ip: str, remote_port: int, **kwargs: Any
    ) -> None:
        """Describe an endpoint. ``init_socket`` opens it.

        capacity: packets the queue of an address holds if this endpoint is the first to open it
        (1024), below 1 for no limit. direction: 0. timeout: ns that receive calls without
        ``timeout_ns`` wait (10 s). The other keywords of ``RtUdpSocket``, and unknown ones, are
        accepted and have no effect here.
        Raises ValueError for another direction.
        """
        self.local_ip = local_ip
        self.local_port = local_port
        self.remote_ip = remote_ip
        self.remote_port = remote_port
        self.capacity = whole_number("capacity", kwargs.get("capacity", DEFAULT_CAPACITY))
        self.direction = checked_direction(kwargs.get("direction", DIRECTION_SEND))
        self.timeout_ns = whole_number("timeout", kwargs.get("timeout", DEFAULT_TIMEOUT_NS))
        self._hash = hash((local_ip, local_port, remote_ip, remote_port))
        self._lifecycle = threading.Lock()
        self._running = False
        self._sender = _SendWorker(f"rtudp-send {local_ip}:{local_port}")
        self._receiver = _ReceiveWorker(f"rtudp-recv {local_ip}:{local_port}")
        self._own_queue: EndpointQueue | None = None
        self._held_queues: list[EndpointQueue] = []
        self._received_lock = threading.Lock()
        self._received = 0
        weakref.finalize(self, _clean_up, self._sender, self._receiver, self._held_queues)

    def send_data(self, data: Any, timestamp: int | None = None) -> None:
        """Queue one datagram. See ``RtUdpBase``. Raises OSError before ``init_socket``.

        data may also be an object that is not bytes-like, such as text or a list: the receiver gets
        that same object. timestamp may be a number of any type.
        """
        due_ns = None if timestamp is None else whole_number("timestamp", timestamp)
        self._sender.submit(any_payload(data), due_ns)

    def receive_data(self, timeout_ns: int | None = None) -> ReceivedPacket:
        """Return one packet. See ``RtUdpBase``.

        Raises OSError before ``init_socket``, ValueError for a timeout below 0.
        """
        own_queue, deadline_ns = self._prepare_receive(timeout_ns)
        try:
            packet = _get_until(own_queue, deadline_ns)
        except queue.Empty:
            raise TimeoutError("Receive timed out") from None
        self._count_received(1)
        return packet

    def receive_batch(self, n_packets: int, timeout_ns: int | None = None) -> list[ReceivedPacket]:
        """Return n packets, none for n below 1. See ``RtUdpBase``.

        The timeout is that of the whole batch.
        Raises OSError before ``init_socket``, ValueError for a timeout below 0.
        """
        own_queue, deadline_ns = self._prepare_receive(timeout_ns)
        count = index(n_packets)
        packets: list[ReceivedPacket] = []
        try:
            while len(packets) < count:
                packets.append(_get_until(own_queue, deadline_ns))
        except BaseException as error:
            own_queue.put_back(packets)
            if isinstance(error, queue.Empty):
                raise TimeoutError("Timed out waiting for data") from None
            raise
        self._count_received(len(packets))
        return packets

    def init_socket(self) -> None:
        """Join the emulated network. Raises OSError if it has already joined."""
        with self._lifecycle:
            if self._own_queue is not None:
                raise OSError("Socket already initialized")
            acquire = GlobalQueueRegistry.acquire_queue
            own_queue = acquire(self.local_ip, self.local_port, self.capacity)
            remote_queue = acquire(self.remote_ip, self.remote_port, self.capacity)
            self._held_queues.extend((own_queue, remote_queue))
            self._own_queue = own_queue
            self._sender.connect(remote_queue)

    def close_socket(self) -> None:
        """Leave the emulated network. Packets that become due meanwhile are dropped and counted."""
        with self._lifecycle:
            self._own_queue = None
            self._sender.connect(None)
            while self._held_queues:
                GlobalQueueRegistry.release_queue(self._held_queues.pop())

    def start(self) -> None:
        """Start the threads that ``direction`` requires. See ``RtUdpBase``."""
        with self._lifecycle:
            direction = checked_direction(self.direction)
            if self._running:
                raise ValueError("Already running")
            if self._own_queue is None:
                raise OSError(_NOT_INITIALIZED)
            if direction != DIRECTION_RECEIVE:
                self._sender.start()
            if direction != DIRECTION_SEND:
                self._receiver.start()
            self._running = True

    def stop(self) -> None:
        """End the threads, waiting at most one second for each. Queued packets stay queued."""
        with self._lifecycle:
            self._sender.stop()
            self._receiver.stop()
            self._running = False

    def get_packet_stats(self) -> PacketStats:
        """Return a copy of the counters. See ``PacketStats``."""
        counters = Counters()
        self._sender.add_counters_to(counters)
        self._receiver.add_counters_to(counters)
        with self._received_lock:
            counters.received = self._received
        return counters.as_stats()

    def get_send_length(self) -> int:
        """Return the number of packets accepted and not yet delivered."""
        return self._sender.waiting()

    def get_receive_length(self) -> int:
        """Return the number of packets in its queue, 0 before ``init_socket``."""
        own_queue = self._own_queue
        return 0 if own_queue is None else own_queue.qsize()

    def is_running(self) -> bool:
        """Return True from ``start`` until ``stop``."""
        return self._running

    def purge(self) -> None:
        """Empty the send heap and its queue. Run state and statistics stay."""
        self._sender.purge()
        own_queue = self._own_queue
        if own_queue is not None:
            own_queue.clear()

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        mode = ("send", "recv", "full")[self.direction]
        return f"RtUdpEmulated[{mode}]({self.local_ip}:{self.local_port})"

    def _prepare_receive(self, timeout_ns: int | None) -> tuple[EndpointQueue, int]:
        """Check a receive call. Return the endpoint's queue and the deadline."""
        wait_ns = whole_number("timeout_ns", self.timeout_ns if timeout_ns is None else timeout_ns)
        own_queue = self._own_queue
        if own_queue is None:
            raise OSError(_NOT_INITIALIZED)
        if wait_ns < 0:
            raise ValueError(f"timeout_ns is {wait_ns}, must be 0 (poll) or more")
        return own_queue, time.monotonic_ns() + wait_ns

    def _count_received(self, count: int) -> None:
        with self._received_lock:
            self._received += count


def _get_until(own_queue: EndpointQueue, deadline_ns: int) -> ReceivedPacket:
    """Take one packet. After the deadline, take only a waiting one. Raises queue.Empty."""
    try:
        return own_queue.get_nowait()
    except queue.Empty:
        remaining_ns = deadline_ns - time.monotonic_ns()
        if remaining_ns <= 0:
            raise
    return own_queue.get(timeout=_wait_seconds(remaining_ns))
