"""Numbers and formats that processes share: shared memory and control messages."""

# Made by csrc/schema.py from csrc/rows: edit those, then run `make schema`.
# ruff: noqa: E501

from __future__ import annotations

from enum import IntEnum

SHM_MAGIC = 0x676e69726d687300
SHM_LAYOUT_VERSION = 17
SHM_OWNER_ELSEWHERE = 0xfffffffe
SHM_RECORDER_OFFSET = 12288
SHM_ERRORS_OFFSET = 143488
SHM_POOL_ERRORS_OFFSET = 163840
SHM_WORKER_SEGMENT_BYTES = 184320
SHM_ERROR_LOG_BYTES = 16512
SHM_SLOT_CURSORS_BYTES = 128
RT_HIST_BYTES = 8480
SHM_NAME_MAX = 64
SHM_NAME_BYTES = 65
SHM_MAX_GROUPS = 8
SHM_ENGINE_CONFIG_BYTES = 496
CTL_MAGIC = 0x314c5443
CTL_MAX_BYTES = 65536
CTL_MAX_FDS = 3
CTL_OPEN_TAKEOVER = 1
CTL_HELLO_POOL = 0xffffffff
SHM_RECORDER_EVENTS = 1024
SHM_ERRORS = 64

WORKER_PAGE = "<QII65s65s2xIIIIIIII4xQQQQQQQQQQ8480xI4xQQ"
WORKER_PAGE_FIELDS = ("magic", "version", "pid", "pool", "name_space", "cpu_wanted", "cpu", "sched_policy", "sched_priority", "memory_locked", "profile", "channels", "restarts", "heartbeat_mono_ns", "started_mono_ns", "loops", "sleeps", "slept_ns", "spun_ns", "cpu_ns", "longest_loop_ns", "forced_rests", "missed_wakes", "calls_filtered", "calls_refused", "slot_checks")
WAKE_LATENCY_AT = 264
SLOT_CURSORS = "<QQQ"
SLOT_CURSORS_FIELDS = ("tail", "writing", "suppressed")
EVENT = "<qqQqqqIIQ64s"
EVENT_FIELDS = ("mono_ns", "last_mono_ns", "count", "a", "b", "c", "id", "pid", "channel_id", "channel")
ERROR = "<IIQqqqQ64s144s"
ERROR_FIELDS = ("state", "id", "count", "first_mono_ns", "last_mono_ns", "a", "channel_id", "channel", "text")

CHANNEL_STATE = {"new": 0, "open": 1, "held": 2, "closed": 3, "failed": 4}
CLOCK = {"monotonic": 0, "tai": 1}
DIRECTION = {"tx": 1, "rx": 2, "duplex": 3}
READ_MODE = {"each": 0, "shared": 1}
OVERFLOW = {"oldest": 0, "wait": 1}
LATE = {"send": 0, "drop": 1}
ALIGN = {"start": 0, "wire": 1}
REPORTS = {"off": 0, "late": 1, "all": 2}
PROFILE = {"balanced": 0, "latency": 1, "power": 2}
STAMP = {"none": 0, "user": 1, "kernel": 2, "hardware": 3}
TXTIME = {"off": 0, "auto": 1, "require": 2}
UDT_STATE = {"connecting": 1, "connected": 2, "closing": 3, "broken": 4, "closed": 5, "lost": 6}
VERDICT = {"on_time": 0, "enqueued_late": 1, "woke_late": 2, "send_slow": 3, "queued_behind": 4, "dropped_late": 5, "cancelled": 6, "failed": 7, "producer_halted": 8}


class Op(IntEnum):
    """What is asked of a worker."""

    OPEN = 1
    CLOSE = 2
    ATTACH = 3
    DETACH = 4
    HOLD = 5
    RELEASE = 6
    PURGE = 7
    RESET = 8
    LIST = 9
    EXPORT = 10
    PING = 11
    ADOPT = 12
    QUIT = 13
    ENGINE = 14
    TAP = 15
    MARK = 16
    HELLO = 17
    CLIENT = 18


class EventId(IntEnum):
    """Rows of `EVENTS`."""

    NONE = 0
    WORKER_STARTED = 1
    WORKER_ENDED = 2
    POOL_GONE = 3
    POOL_ADOPTED = 4
    CHANNEL_OPENED = 5
    CHANNEL_TAKEN_OVER = 6
    CHANNEL_CLOSED = 7
    CHANNEL_HELD = 8
    CHANNEL_RELEASED = 9
    CHANNEL_FAILED = 10
    CLIENT_ATTACHED = 11
    CLIENT_DETACHED = 12
    CLIENT_HUNG_UP = 13
    PRODUCER_DIED = 14
    PACKET_UNCERTAIN = 15
    RECORD_CORRUPT = 16
    FORCED_REST = 17
    MISSED_WAKE = 18
    LONG_LOOP = 19
    LATE_PACKETS = 20
    SEND_FAILED = 21
    SEND_NO_ROOM = 22
    RECEIVE_FAILED = 23
    KERNEL_DROPS = 24
    RING_OVERRUN = 25
    REQUEST_REFUSED = 26
    CORE_REFUSED = 27
    FIFO_REFUSED = 28
    MEMORY_NOT_LOCKED = 29
    RTP_LATE = 30
    RTP_UNDERRUN = 31
    NETFLUX_TIMEOUT = 32
    NETFLUX_ALIVE = 33
    UDT_BROKEN = 34
    WORKER_DIED = 35
    WORKER_NOT_STARTED = 36
    WORKER_STALLED = 37
    WORKER_GIVEN_UP = 38
    CHANNEL_GIVEN_UP = 39
    TAKEOVER_FAILED = 40
    PRIVILEGES_REFUSED = 41
    ARRIVALS_LOST = 42
    CALL_REFUSED = 43
    PRODUCER_HALTED = 44
    SOCKET_NOT_HELD = 45
    SOCKET_REOPENED = 46
    FLOW_REFUSED = 47


EVENTS = (
    ("none", "nothing", False, ("", "", "")),
    ("worker_started", "the worker started", False, ("cpu", "priority", "restarts")),
    ("worker_ended", "the worker ended normally", False, ("channels", "", "")),
    ("pool_gone", "the process of the pool has ended", False, ("private", "", "")),
    ("pool_adopted", "another process became the pool", False, ("pid", "", "")),
    ("channel_opened", "the channel was opened", False, ("epoch", "held", "")),
    ("channel_taken_over", "the channel was taken over from a dead worker", False, ("epoch", "held", "waiting_packets")),
    ("channel_closed", "the channel was closed", False, ("", "", "")),
    ("channel_held", "the channel was held", False, ("", "", "")),
    ("channel_released", "the channel was released", False, ("", "", "")),
    ("channel_failed", "the channel failed", True, ("errno", "", "")),
    ("client_attached", "a client attached", False, ("pid", "producer_slot", "reader_slot")),
    ("client_detached", "a client detached", False, ("pid", "producer_slot", "reader_slot")),
    ("client_hung_up", "a client closed its control connection, or died", False, ("pid", "producer_slot", "reader_slot")),
    ("producer_died", "a producer died before it finished a packet", True, ("producer_slot", "", "sequence")),
    ("packet_uncertain", "a worker died while it sent a packet, which may have left", True, ("producer_slot", "", "sequence")),
    ("record_corrupt", "the record header of a packet was invalid", True, ("producer_slot", "", "sequence")),
    ("forced_rest", "the worker rested to stay below the real-time throttle", False, ("", "rest_ns", "")),
    ("missed_wake", "the worker woke up late", False, ("", "late_ns", "asked_mono_ns")),
    ("long_loop", "one pass of the event loop took long", False, ("", "took_ns", "off_cpu_ns")),
    ("late_packets", "packets were late", False, ("verdict", "late_ns", "sequence")),
    ("send_failed", "the kernel refused a packet for good", True, ("errno", "", "sequence")),
    ("send_no_room", "the kernel had no room for a packet, and the send was repeated", True, ("errno", "", "")),
    ("receive_failed", "a receive call failed", True, ("errno", "", "")),
    ("kernel_drops", "the kernel dropped packets because the socket buffer was full", True, ("", "", "")),
    ("ring_overrun", "packets were overwritten before their readers took them", True, ("", "", "")),
    ("request_refused", "a request of a client was refused", True, ("errno", "", "operation")),
    ("core_refused", "the worker does not run on its core", True, ("errno", "", "cpu")),
    ("fifo_refused", "the worker has no real-time class", True, ("errno", "", "priority")),
    ("memory_not_locked", "the memory of the worker is not locked", True, ("errno", "", "")),
    ("rtp_late", "RTP packets arrived after their playout time", False, ("", "", "")),
    ("rtp_underrun", "the send queue was empty when a packet was due", False, ("", "", "")),
    ("netflux_timeout", "the watchdog expired: nothing came from the partner", True, ("", "", "")),
    ("netflux_alive", "the partner is alive", False, ("", "", "")),
    ("udt_broken", "a UDT connection broke", True, ("udt_error", "", "socket_id")),
    ("worker_died", "the worker died", True, ("status", "", "pid")),
    ("worker_not_started", "the worker could not be restarted", True, ("", "", "")),
    ("worker_stalled", "the worker lives, but its heartbeat has stopped", True, ("", "", "pid")),
    ("worker_given_up", "the worker died too often and is not restarted", True, ("", "", "")),
    ("channel_given_up", "no worker serves the channel any more", True, ("errno", "", "")),
    ("takeover_failed", "a new worker did not take over all channels", True, ("errno", "", "")),
    ("privileges_refused", "the worker does not use the capabilities of its file", True, ("errno", "", "")),
    ("arrivals_lost", "received packets were lost because a worker died", True, ("", "", "")),
    ("call_refused", "the worker made a system call that is not allowed", True, ("call", "", "")),
    ("producer_halted", "a client stopped in the middle of a send, and others passed it", False, ("pid", "halted_ns", "producer_slot")),
    ("socket_not_held", "a socket cannot be kept for the next worker: too many descriptors", True, ("", "", "port")),
    ("socket_reopened", "a socket was reopened, and packets in the old one are lost", True, ("", "", "port")),
    ("flow_refused", "a proxy had no room or no socket for the flow of a new client", True, ("errno", "flows", "flows_most")),
)
"""Name, meaning, whether it goes into the log of errors, names of its numbers."""
