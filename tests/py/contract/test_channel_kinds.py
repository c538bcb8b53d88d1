"""What each kind of channel offers: nothing that it would have to refuse."""

import re
from pathlib import Path

import shmring

SOURCES = Path(shmring.__file__).parent


def public(kind: type) -> set[str]:
    return {name for name in dir(kind) if not name.startswith("_")}


def test_kinds_share_what_they_share() -> None:
    shared = public(shmring.Channel) & public(shmring.RtpChannel) & public(shmring.NetfluxChannel)
    assert {"recv", "try_recv", "recv_many", "recv_async", "fileno", "stats", "close"} <= shared
    assert {"hold", "release", "purge", "state", "name", "local", "remote"} <= shared


def test_a_link_queues_nothing() -> None:
    queue = {"send", "try_send", "send_many", "replace", "cancel", "flush", "reports"}
    assert queue <= public(shmring.Channel) & public(shmring.RtpChannel)
    assert not queue & public(shmring.NetfluxChannel)


def test_only_plain_packets_go_into_a_buffer_alone() -> None:
    kinds = (shmring.Channel, shmring.RtpChannel, shmring.NetfluxChannel)
    assert [hasattr(kind, "recv_into") for kind in kinds] == [True, False, False]


def test_no_method_contradicts_the_one_that_it_overrides() -> None:
    found = [p for p in SOURCES.rglob("*.py") if re.search(r"ignore\[override\]", p.read_text())]
    assert found == []


def test_the_calls_per_packet_explain_themselves() -> None:
    for call in ("send", "send_many", "replace", "recv", "try_recv", "recv_into", "recv_many"):
        text = getattr(shmring.Channel, call).__doc__
        assert "Raises" in text, call
