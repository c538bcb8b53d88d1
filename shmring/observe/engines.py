"""One row for an engine of this package: what `attach`, `exist_ok`, listings and observers need."""

import importlib
from typing import Any, NamedTuple


class EngineRow(NamedTuple):
    """An engine. Its code is in a folder of its own, here and in ``csrc/worker/agents``."""

    name: str
    """As the segment has it."""
    home: str = ""
    """Module and class of what `open` takes. Empty: another function opens it."""
    shown: tuple[str, ...] = ()
    """The values of its part of the segment that details show, the most important first. Empty: it
    has no part of its own."""
    view: str = ""
    """The class of `rtstat.parts` that computes further values from this part. Empty: none do."""
    only_opener: str = ""
    """Why `exist_ok` cannot be used with it. Empty: it can."""
    about: str = ""
    """What a channel with it is, where the name does not say it."""
    sized: bool = True
    """Whether its channels are opened with sizes."""
    repeats: bool = False
    """Whether it sends one value again and again, also that of a dead program. It chooses the
    payload of its queues itself."""

    def kind(self) -> Any:
        """Return the class. Its modules are imported only for its channels. None: there is none."""
        module, _, name = self.home.partition(":")
        return getattr(importlib.import_module(f"shmring.{module}"), name) if name else None


_CONNECTIONS = "its connections belong to the program that opened it"

ENGINES = {
    row.name: row
    for row in (
        EngineRow("udp", "_opening:Udp"),
        EngineRow("local", "local:Local"),
        EngineRow(
            "rtp",
            "rtp.engine:Rtp",
            (
                *("loss", "reported_loss", "jitter_ns", "depth", "delay_ns", "target_ns", "rtt_ns"),
                *("sent", "received", "delivered", "lost", "late", "duplicates", "underruns"),
                *("resyncs", "nack_requested", "nack_recovered"),
            ),
            view="RtpView",
            only_opener="each run of a program is a source of its own (RFC 3550, 8.1)",
        ),
        EngineRow(
            "cyclic",
            "cyclic.engine:Cyclic",
            (
                *("fresh", "period_ns", "stale_after_ns", "sent", "missed", "sent_stale"),
                *("sent_failsafe", "failed", "updates", "stale"),
            ),
            repeats=True,
        ),
        EngineRow(
            "netflux",
            "netflux.engine:Netflux",
            (
                *("alive", "heard", "fresh", "failsafe", "cycle_ns", "watch_ns", "last_rtt_ns"),
                *("rtt_interval_p99_ns", "gap_interval_max_ns", "sent", "skipped", "accepted"),
                *("partner_lost", "rejected_old", "ack_lost", "timeouts", "unheard", "stale"),
            ),
            view="NetfluxView",
            repeats=True,
        ),
        EngineRow(
            "udt",
            shown=(
                *("state", "rtt_ns", "rtt_var_ns", "window_packets", "flight_packets", "pace_pps"),
                *("delivery_pps", "capacity_pps", "loss", "sent", "repeated", "received"),
                *("send_losses", "receive_losses", "naks_sent", "naks_received", "timeouts"),
                *("unsent_bytes", "unread_bytes"),
            ),
            view="UdtView",
            only_opener=_CONNECTIONS,
            about="a connection",
        ),
        EngineRow(
            "udt-port",
            shown=(
                *("sockets", "waiting", "backlog", "requests", "accepted", "refused"),
                *("forgotten", "bad_cookie", "bad_version", "malformed", "foreign", "unknown"),
            ),
            only_opener=_CONNECTIONS,
            about="a port of connections",
            sized=False,
        ),
        EngineRow(
            "proxy",
            "proxy.engine:Proxy",
            (
                *("flows", "forward_received", "forward_sent", "forward_waiting"),
                *("forward_refused", "forward_no_flow", "backward_received", "backward_sent"),
                *("backward_waiting", "backward_refused", "unreachable", "flows_opened"),
                *("flows_idle", "changes"),
            ),
            about="a UDP proxy",
            sized=False,
        ),
        EngineRow(
            "mux",
            shown=("open", "lost"),
            only_opener="its ports belong to the program that opened it",
            about="many sockets",
            sized=False,
        ),
    )
}

PARTS = {name: row for name, row in ENGINES.items() if row.shown}
"""The engines with a part of their own in the segment."""


def only_opener(name: str) -> str:
    """Return why `exist_ok` cannot be used with an engine. Empty: it can."""
    row = ENGINES.get(name)
    unknown = "it may keep what belongs to the program that opened it"
    return unknown if row is None else row.only_opener


def repeats(name: str) -> bool:
    """Return whether an engine sends one value again and again."""
    row = ENGINES.get(name)
    return row is not None and row.repeats


def kind_of(name: str) -> Any:
    """Return the class of an engine that `open` takes. None: there is none in this package."""
    row = ENGINES.get(name)
    return None if row is None else row.kind()


__all__ = ["ENGINES", "PARTS", "EngineRow", "kind_of", "only_opener", "repeats"]
