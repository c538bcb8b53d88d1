"""All values that can be shown: name, label, unit, kind and meaning, declared once.

JSON, CSV, plain text, the screen, the metrics page and docs/reference/rtstat.md are made from
these tables or checked against them. `FIELDS` has a table per scope: ``snapshot``, ``pool``,
``worker``, ``channel``, ``reader``, ``unreadable``, ``event``, and one per engine (``rtp``,
``netflux``, ``udt``, ``udt-port``, ``mux``) for the engine's part of a channel.

    for field in FIELDS["channel"]:
        print(field.label, field.get(channel), field.unit)

    FIELD["channel", "tx_pps"].get(channel)     # None at a watch's first snapshot

Names are stable: one that is given away is never used for something else. Values are in base units
(ns, bytes, bps, pps, share: 0 to 1); None says that there is nothing to say.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rtstat.fields import (
    KINDS,
    Field,
    Value,
    Word,
    attribute,
    flag,
    or_none,
    rows,
    times,
    words,
    words_of,
)
from rtstat.numbers import (
    CHANNEL_HISTOGRAMS,
    CHANNEL_WORDS,
    WORKER_WORDS,
    Numbers,
    name_of,
)
from rtstat.table_engines import ENGINE_FIELDS
from rtstat.views import STAMPS, ChannelView
from shmring.observe import reading
from shmring_cli.output import address_text

__all__ = ["FIELD", "FIELDS", "KINDS", "Field", "Value", "values"]


def _fact(name: str) -> Callable[[ChannelView], Value]:
    def get(view: ChannelView) -> Value:
        value: Value = getattr(view.facts, name)
        return value

    return get


# --- snapshot, pools, workers ---------------------------------------------------------------------

SNAPSHOT = tuple(
    rows(
        "instantaneous",
        """
        time_ns    | time     | ns   | time since 1970 (CLOCK_REALTIME)
        mono_ns    | time     | ns   | time, CLOCK_MONOTONIC
        interval_s | interval | s    | time since the last snapshot
        verdict    | verdict  |      | ok, troubled or broken: the worst severity of the troubles
        """,
        {
            "time_ns": attribute("real_ns"),
            "interval_s": attribute("seconds"),
        },
    )
)

POOL = (
    *rows(
        "fixed",
        """
        namespace | namespace |  | namespace of the pool
        name      | pool      |  | name of the pool; private pools are named after their process
        """,
    ),
    *rows(
        "instantaneous",
        """
        owner_pid | owner    |          | process of the pool; none: dead or unknown
        workers   | workers  | workers  | workers of the pool
        channels  | channels | channels | channels of the pool
        """,
        {
            "workers": lambda pool: len(pool.workers),
            "channels": lambda pool: len(pool.channels),
        },
    ),
)

WORKER = (
    *rows(
        "fixed",
        """
        namespace     | namespace   |      | namespace of its pool
        pool          | pool        |      | name of its pool
        slot          | slot        |      | slot of the worker in the pool
        cpu_wanted    | core wanted |      | core it was told to run on; none: any
        cpu           | core        |      | core in force; none: not pinned
        policy        | policy      |      | scheduling policy in force: fifo or other
        priority      | priority    |      | real-time priority in force; 0: none
        memory_locked | locked      | flag | its memory cannot be swapped out
        calls_filtered | filter     | flag | only the system calls of a list are allowed
        """,
        {"cpu_wanted": or_none("cpu_wanted", -1)},
    ),
    *rows(
        "instantaneous",
        """
        health           | health    |          | ok; stale: no heartbeat for a second
        heartbeat_age_ns | heartbeat | ns       | time since the last heartbeat
        pid              | process   |          | process of the worker
        process_state    | runs      |          | running, stopped or dead; none: not seen from here
        age_s            | age       | s        | time since it started
        profile          | profile   |          | how it waits: balanced, latency or power
        channels         | channels  | channels | channels it serves
        """,
        {"channels": Word("channels")},
    ),
    *rows(
        "interval",
        """
        cpu_share  | CPU  | share | share of its core in use; first snapshot: since it started
        spin_share | spin | share | share of its core spent waiting awake; likewise
        """,
    ),
    *rows(
        "accumulated",
        """
        restarts        | restarts      | times  | times the worker was restarted
        loops           | loops         | loops  | passes of its event loop
        sleeps          | sleeps        | times  | times it slept
        slept_ns        | slept         | ns     | time asleep
        spun_ns         | spun          | ns     | time awake and waiting since it started
        cpu_ns          | cpu           | ns     | CPU time used since it started
        longest_loop_ns | longest loop  | ns     | longest pass of its event loop
        forced_rests    | forced rests  | times  | rests to stay below the real-time throttle
        missed_wakes    | missed wakes  | times  | times it woke more than 1 ms late
        calls_refused   | calls refused | times  | system calls that are not on its list
        errors          | errors        | errors | distinct errors noted by the worker or its pool
        error_times     | error times   | times  | times that any of these errors happened
        """,
        {name: Word(name) for name in WORKER_WORDS},
    ),
    *times("wake_latency", "time from the requested wake-up to running"),
)

# --- channels -------------------------------------------------------------------------------------

_PLAIN_FACTS = (
    *("reading", "overflow", "clock", "tolerance_ns", "interface", "qdisc", "txtime_reason"),
    *("tx_capacity", "rx_capacity", "segment_bytes"),
)
_GAUGES = (
    "scheduled",
    "tx_waiting",
    "tx_used_bytes",
    "rx_unread",
    "rx_unread_bytes",
    "readers",
    "producers",
    "wake_margin_ns",
    "wire_offset_ns",
)
_TOTALS = ("tx_next_sequence", "reports", "readers_taken", "readers_lost", "shared_lost")
_COUNTERS = reading.CHANNEL_WORDS[
    CHANNEL_WORDS["tx_sent"] : CHANNEL_WORDS[f"{CHANNEL_HISTOGRAMS[0]}_count"]
]

CHANNEL = (
    *rows(
        "fixed",
        """
        namespace     | namespace        |         | namespace of the channel
        name          | channel          |         | name of the channel
        pool          | pool             |         | pool of the channel
        engine        | engine           |         | udp, local, cyclic, rtp, udt, proxy ...
        opened_with   | opened with      |         | engine and options, as in Python
        direction     | direction        |         | tx, rx or duplex
        reading       | reading          |         | broadcast or shared
        overflow      | overflow         |         | of a full rx ring: lose the oldest, or wait
        late_policy   | late             |         | what happens to late packets: send or drop
        clock         | clock            |         | clock of its deadlines: monotonic or tai
        tolerance_ns  | tolerance        | ns      | how late a send may start and still be on time
        local         | local            |         | address in force
        remote        | remote           |         | destination; none: each send names one
        interface     | interface        |         | network interface
        qdisc         | qdisc            |         | queueing discipline of the interface, if known
        txtime        | launch time      | flag    | the qdisc or the card launches the packets
        txtime_reason | launch time, why |         | why they launch or do not launch packets
        gso           | GSO              | flag    | packets due within 2 us leave in one call
        gro           | GRO              | flag    | coalesced packets are received in one call
        rx_stamp      | rx stamp         |         | arrival timestamp: user, kernel or hardware
        tx_stamp      | tx stamp         |         | departure timestamp: none, kernel or hardware
        rcvbuf_bytes  | rcvbuf           | bytes   | receive buffer of the socket, in force
        sndbuf_bytes  | sndbuf           | bytes   | send buffer of the socket, in force
        tx_ring_bytes | tx ring          | bytes   | size of the tx ring
        rx_ring_bytes | rx ring          | bytes   | size of the rx ring
        tx_capacity   | tx capacity      | packets | packets that may wait; 0: as many as fit
        rx_capacity   | rx capacity      | packets | packets kept; 0: as many as fit
        segment_bytes | memory           | bytes   | size of the shared memory
        opener_pid    | opener           |         | process that opened it; none: unknown
        """,
        {
            **{name: _fact(name) for name in _PLAIN_FACTS},
            "late_policy": _fact("late"),
            "local": lambda view: address_text(view.facts.local) or None,
            "remote": lambda view: address_text(view.facts.remote) or None,
            "txtime": flag("txtime"),
            "gso": flag("gso"),
            "gro": flag("gro"),
            "rx_stamp": lambda view: name_of(STAMPS, view["rx_stamp"]),
            "tx_stamp": lambda view: name_of(STAMPS, view["tx_stamp"]),
            "rcvbuf_bytes": Word("rcvbuf_bytes"),
            "sndbuf_bytes": Word("sndbuf_bytes"),
            "tx_ring_bytes": _fact("tx_bytes"),
            "rx_ring_bytes": _fact("rx_bytes"),
        },
    ),
    *rows(
        "instantaneous",
        """
        health           | health    |         | ok, new, failed, closed; stale: no heartbeat, 1 s
        state            | state     |         | new, open, held, closed or failed
        error            | errno     |         | errno behind the state failed; 0: none
        failure          | failure   |         | why it failed, in words
        heartbeat_age_ns | heartbeat | ns      | time since the last heartbeat of its worker
        figures_stale    | stale     | flag    | all its figures are as old as heartbeat_age_ns
        worker_pid       | worker    |         | process of its worker
        opener_alive     | opener lives | flag | the process that opened it runs; none: unknown
        worker_slot      | slot      |         | slot of its worker in the pool; none yet
        cpu              | core      |         | core of its worker; none: not pinned
        epoch            | epoch     | workers | workers that have served the channel
        age_s            | age       | s       | time since it was opened
        tx_fill          | tx fill   | share   | share of the tx ring in use
        rx_fill          | rx fill   | share   | share of the rx ring not yet taken
        """,
        {
            "error": Word("error"),
            "failure": _fact("failure"),
            "worker_slot": or_none("worker_slot", -1),
        },
    ),
    *words(words_of(reading.CHANNEL_WORDS, _GAUGES), "instantaneous"),
    *rows(
        "interval",
        """
        tx_pps   | tx rate   | pps | packets sent per second
        tx_bps   | tx rate   | bps | bits of payload sent per second
        rx_pps   | rx rate   | pps | packets received per second
        rx_bps   | rx rate   | bps | bits of payload received per second
        late_pps | late rate | pps | late packets per second
        late_share | late share | share | share of the packets with a deadline that were late
        lost_pps | lost rate | pps | lost packets per second
        """,
    ),
    *rows(
        "accumulated",
        """
        late | late | packets | late packets, dropped ones included
        lost | lost | packets | packets refused or dropped by the kernel, or overwritten
        """,
    ),
    *words(_COUNTERS, "accumulated"),
    *words(words_of(reading.CHANNEL_WORDS, _TOTALS), "accumulated"),
    *(field for name, _, _, text, _ in reading.CHANNEL_HISTOGRAMS for field in times(name, text)),
)

READER = (
    *rows(
        "fixed",
        """
        slot | slot    |  | slot of the reader
        pid  | process |  | process of the reader; none: in another pid namespace
        process_name | name |  | name of that process; none: not seen from here
        """,
    ),
    *rows(
        "instantaneous",
        """
        waiting | lag | packets | packets it has not taken; 0 in shared reading
        never_read | never read |  | packets came for it, and it has taken none
        """,
    ),
    *rows(
        "accumulated",
        """
        taken | taken | packets | packets it took
        lost  | lost  | packets | packets overwritten before it took them
        """,
    ),
    *rows(
        "interval",
        """
        taken_delta | taken now | packets | packets it took since the last snapshot
        lost_delta  | lost now  | packets | packets it lost since the last snapshot
        """,
    ),
)

ERROR = (
    *rows(
        "fixed",
        """
        namespace     | namespace |    | namespace of the pool
        pool          | pool      |    | pool of the worker
        slot          | slot      |    | slot of the worker
        source        | noted by  |    | worker or pool
        channel       | channel   |    | channel concerned; none: the worker itself
        kind          | error     |    | name of the event
        text          | meaning   |    | the event in words
        detail        | detail    |    | text of the first occurrence
        number_name   | number is |    | what the number is, such as errno; empty: unused
        number        | number    |    | as number_name says
        first_mono_ns | first     | ns | first occurrence, CLOCK_MONOTONIC
        """,
    ),
    *rows("instantaneous", "last_mono_ns | last | ns | last occurrence, CLOCK_MONOTONIC"),
    *rows(
        "accumulated",
        "times | times | times | times it happened",
        {"times": attribute("count")},
    ),
)

UNREADABLE = tuple(
    rows(
        "instantaneous",
        """
        namespace | namespace |  | namespace in the file's name
        name      | name      |  | channel, or pool:slot of a worker
        kind      | kind      |  | channel or worker
        health    | health    |  | unreadable, or hidden (it belongs to another user)
        reason    | reason    |  | why it cannot be read
        """,
    )
)

TROUBLE = tuple(
    rows(
        "instantaneous",
        """
        name     | trouble  |  | name of the trouble, see the table of troubles
        severity | severity |  | broken or troubled
        subject  | subject  |  | namespace/channel, namespace/pool:slot (worker), namespace/pool:
        figure   | figure   |  | how much, in the unit of that table
        text     | text     |  | what is wrong, in a sentence with figures
        fix      | fix      |  | what to do about it
        """,
    )
)

EVENT = tuple(
    rows(
        "interval",
        """
        kind      | event     |  | new, gone, reborn, epoch (another worker) or reset
        what      | what      |  | channel or worker
        namespace | namespace |  | namespace of the channel or worker
        name      | name      |  | channel, or pool:slot of the worker
        """,
    )
)

# --- all of them ----------------------------------------------------------------------------------

FIELDS: dict[str, tuple[Field, ...]] = {
    "snapshot": SNAPSHOT,
    "pool": POOL,
    "worker": WORKER,
    "channel": CHANNEL,
    "reader": READER,
    **ENGINE_FIELDS,
    "trouble": TROUBLE,
    "error": ERROR,
    "unreadable": UNREADABLE,
    "event": EVENT,
}
FIELD: dict[tuple[str, str], Field] = {
    (scope, field.name): field for scope, fields in FIELDS.items() for field in fields
}


_Plan = list[tuple[str, int | None, bool, Callable[[Any], Value]]]
_plans: dict[str, _Plan] = {}


def values(scope: str, view: Any) -> dict[str, Value]:
    """Return all fields of a view by name."""
    plan = _plans.get(scope)
    if plan is None:
        plan = _plans[scope] = _plan(scope, view)
    if not isinstance(view, Numbers):
        return {name: get(view) for name, _, _, get in plan}
    row = view.now.tolist()
    first = view.before is None
    return {
        name: get(view) if place is None else None if first and interval else row[place]
        for name, place, interval, get in plan
    }


def _plan(scope: str, view: Any) -> _Plan:
    """Read plain numbers of the row without a call for each of them."""
    plan: _Plan = []
    for field in FIELDS[scope]:
        if isinstance(field.get, Word):
            place = view.places[field.get.name]
            plan.append((field.name, place, field.get.interval, field.get))
        else:
            plan.append((field.name, None, False, field.get))
    return plan
