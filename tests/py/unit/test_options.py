"""What a channel may be asked to be: defaults, sizes, and what is refused before it is made."""

from __future__ import annotations

import math
import os
import socket
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import shmring
from shmring import _options, errors
from shmring._ring import ffi, lib
from shmring.room import channel_bytes
from shmring.types import Impairment

MIB = 1 << 20


def prepare(**options: Any) -> _options.Prepared:
    return _options.prepare("ctl", "ns", "pool", "balanced", options)


def test_defaults() -> None:
    config = prepare().config
    assert config.direction == lib.SHM_DUPLEX
    assert config.read_mode == lib.SHM_READ_EACH
    assert config.overflow == lib.SHM_OVERFLOW_OLDEST
    assert config.late == lib.SHM_LATE_SEND
    assert config.align == lib.SHM_ALIGN_START
    assert config.clock == lib.RT_CLOCK_MONOTONIC
    assert config.reports == lib.SHM_REPORTS_ALL
    assert config.report_slots == 4096
    assert config.tolerance_ns == 50_000
    assert config.catch_up == 0
    assert config.rx_stamp == config.tx_stamp == lib.SHM_STAMP_HARDWARE
    assert config.txtime == lib.SHM_TXTIME_AUTO
    assert (config.tx_capacity, config.rx_capacity) == (1024, 1024)
    assert (config.gso, config.gro, config.multicast_loop) == (1, 1, 1)
    assert (config.connect, config.reuse, config.broadcast, config.held) == (0, 0, 0, 0)
    assert (config.ttl, config.multicast_ttl, config.dscp, config.so_priority) == (-1,) * 4
    assert config.max_payload_bytes == lib.SHM_MAX_PAYLOAD
    assert prepare().segment_bytes < 1_280_000
    assert prepare(capacity=1024).segment_bytes > 3_500_000  # for full packets
    prepared = prepare()
    assert (prepared.permissions, prepared.group, prepared.cpu, prepared.strict) == (None,) * 4


def test_names_go_into_the_configuration() -> None:
    config = prepare().config
    names = [ffi.string(getattr(config, field)) for field in ("name", "name_space", "pool")]
    assert names == [b"ctl", b"ns", b"pool"]


def test_the_pools_profile_is_the_default() -> None:
    config = _options.prepare("ctl", "ns", "pool", "latency", {}).config
    assert config.profile == lib.SHM_PROFILE_LATENCY
    assert prepare(profile="power").config.profile == lib.SHM_PROFILE_POWER


@pytest.mark.parametrize(
    ("options", "field", "value"),
    [
        ({"catch_up": None}, "catch_up", 0),
        ({"multicast_interface": "lo"}, "multicast_interface", socket.if_nametoindex("lo")),
        ({"producers": 3}, "producers", 4),
        ({"max_payload": 100}, "max_payload_bytes", 100),
    ],
)
def test_each_option_reaches_its_field(options: dict[str, Any], field: str, value: int) -> None:
    assert getattr(prepare(**options).config, field) == value


def test_addresses_groups_device_and_impairment() -> None:
    config = prepare(
        local=("127.0.0.1", 7),
        remote=("10.0.0.1", 9000),
        connect=True,
        device="lo",
        groups=["239.1.1.1", ("239.1.1.2", "lo")],
        impair=Impairment(loss=0.5, delay_ns=7, seed=2),
        impair_rx=Impairment(jitter_ns=3),
    ).config
    assert (config.local.port, config.remote.port, config.connect) == (7, 9000, 1)
    assert ffi.string(config.device) == b"lo"
    assert [config.groups[i].interface for i in range(3)] == [0, socket.if_nametoindex("lo"), 0]
    assert bytes(ffi.buffer(config.groups[1].group.ip))[:4] == bytes([239, 1, 1, 2])
    assert (config.impair_tx.loss, config.impair_tx.delay_ns, config.impair_tx.seed) == (0.5, 7, 2)
    assert (config.impair_rx.loss, config.impair_rx.jitter_ns) == (0, 3)


@pytest.mark.parametrize(
    ("options", "kind", "text"),
    [
        ({"capacity": 0}, errors.BadConfig, "capacity is 0; it must be between 1 and"),
        ({"capacity": True}, TypeError, "capacity must be an integer"),
        ({"capacity": 1.5}, TypeError, "capacity must be an integer, not 1.5"),
        ({"packet_bytes": 65508}, errors.BadConfig, "packet_bytes is 65508.*65507"),
        ({"max_payload": -1}, errors.BadConfig, "max_payload is -1"),
        ({"max_payload": 10, "packet_bytes": 11}, errors.BadConfig, "packet_bytes of tx is 11"),
        ({"max_payload": 9, "rx_packet_bytes": 11}, errors.BadConfig, "packet_bytes of rx is 11"),
        ({"direction": "both"}, errors.BadConfig, "'tx', 'rx', 'duplex'"),
        ({"report_capacity": 1000}, errors.BadConfig, "power of two"),
        ({"catch_up": 1}, errors.BadConfig, "catch_up is 1; it must be above 1"),
        ({"catch_up": math.nan}, errors.BadConfig, "catch_up is nan"),
        ({"catch_up": math.inf}, errors.BadConfig, "catch_up is inf"),
        ({"catch_up": True}, TypeError, "catch_up must be a number"),
        ({"catch_up": "2"}, TypeError, "catch_up must be a number"),
        ({"connect": True}, errors.BadConfig, "no remote"),
        ({"connect": 1}, TypeError, "connect must be True or False"),
        ({"local": "127.0.0.1"}, TypeError, "local must be a pair"),
        ({"local": ("localhost", 1)}, errors.BadAddress, "getaddrinfo"),
        ({"local": ("127.0.0.1", 65536)}, errors.BadAddress, "65536"),
        ({"local": ("::1", 0), "remote": ("127.0.0.1", 1)}, errors.BadConfig, "one family"),
        ({"ttl": 256}, errors.BadConfig, "ttl is 256; it must be between 0 and 255"),
        ({"device": "x" * 16}, errors.BadConfig, "15 characters"),
        ({"multicast_interface": "nosuch0"}, errors.BadConfig, "^interface: .* 'nosuch0'"),
        ({"groups": "239.1.1.1"}, TypeError, "groups must be a list"),
        ({"groups": ["239.1.1.1"] * 9}, errors.BadConfig, "at most 8"),
        ({"groups": [("239.1.1.1", "nosuch0")]}, errors.BadConfig, "nosuch0"),
        ({"groups": [5]}, TypeError, "groups: an entry"),
        ({"impair": {"loss": 0.1}}, TypeError, "must be a shmring.Impairment"),
        ({"remote": ("127.0.0.1", 0)}, errors.BadAddress, "remote: port is 0: it must be 1 to"),
        ({"permissions": 0o060}, errors.BadConfig, "owner needs read and write"),
        ({"permissions": 0o4600}, errors.BadConfig, "permissions is 0o4600; .* 0o777"),
        ({"group": "no such group"}, errors.BadConfig, "does not exist"),
        ({"group": 1.0}, TypeError, "group must be a name or an id"),
        ({"producers": 1024}, errors.BadConfig, "producers is 1024"),
        ({"readers": 1025}, errors.BadConfig, "readers is 1025"),
        ({"capacity": 2**31 - 1, "packet_bytes": 1500}, errors.BadConfig, "8 GiB"),
        ({"capaciti": 5}, TypeError, "did you mean 'capacity'"),
        ({"socket": "x"}, TypeError, "bound UDP socket"),
        ({"socket": 10**6}, errors.BadConfig, "not open"),
    ],
)
def test_wrong_values_are_named_with_their_limit(
    options: dict[str, Any], kind: type[Exception], text: str
) -> None:
    with pytest.raises(kind, match=text):
        prepare(**options)


@pytest.mark.parametrize(
    ("options", "connect"),
    [
        ({"direction": "tx", "tx": shmring.Queue(150_000_000, 8)}, False),
        ({"direction": "rx", "rx": shmring.Queue(200_000_000, 8)}, True),
    ],
)
def test_what_fits_with_its_addresses_is_not_refused_without(
    options: dict[str, Any], connect: bool
) -> None:
    engine = shmring.Udp(**options, socket=shmring.Socket(connect=connect))
    assert channel_bytes(engine, remote=("127.0.0.1", 9)) < 8 << 30
    assert shmring.Udp(**options).direction == options["direction"]
    with pytest.raises(errors.BadConfig, match="8 GiB"):
        shmring.Udp(tx=shmring.Queue(2**31 - 1, 8))


@pytest.mark.parametrize(
    ("fields", "kind", "says"),
    [
        ({"loss": 5}, errors.BadConfig, "loss is 5"),
        ({"delay_ns": 1.5}, TypeError, "delay_ns must be an integer, not 1.5"),
        ({"delay_ns": 61 * 10**9}, errors.BadConfig, "delay_ns is 61000000000"),
        ({"loss": "1"}, TypeError, "loss must be a number, not '1'"),
        ({"loss": True}, TypeError, "loss must be a number, not True"),
        ({"rate_bps": -1}, errors.BadConfig, "rate_bps is -1; .* at least 0"),
        ({"burst_loss": 0.9}, errors.BadConfig, "bursts of 4 .* at most 0.8"),
        ({"burst_loss": 0.1, "burst_packets": 0}, errors.BadConfig, "is 0; .* between 1 and 1e"),
    ],
)
def test_an_impairment_is_checked_when_it_is_made(
    fields: dict[str, Any], kind: type[Exception], says: str
) -> None:
    with pytest.raises(kind, match=says):
        Impairment(**fields)


def test_each_impairment_works_alone_and_by_position() -> None:
    nine = Impairment(0.1, 0.2, 0.3, 0.4, 5, 6, 7000, 0.8, 9)
    assert nine == Impairment(
        loss=0.1,
        burst_loss=0.2,
        duplicate=0.3,
        reorder=0.4,
        delay_ns=5,
        jitter_ns=6,
        rate_bps=7000,
        corrupt=0.8,
        seed=9,
    )
    config = prepare(impair=nine, impair_rx=Impairment(burst_loss=0.5)).config
    assert (config.impair_tx.corrupt, config.impair_tx.rate_bps) == (0.8, 7000)
    assert (config.impair_rx.burst_loss, config.impair_rx.burst_packets) == (0.5, 4)


def test_none_means_the_default() -> None:
    options = {name: None for name in _options.OPTIONS}
    assert prepare(**options).config_bytes() == prepare().config_bytes()


def test_sockets_are_looked_at_and_left_as_they_are() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        with pytest.raises(errors.BadConfig, match="not bound"):
            prepare(socket=sock)
        sock.bind(("127.0.0.1", 0))
        prepared = prepare(socket=sock)
        assert prepared.socket_fd == sock.fileno()
        assert prepared.config.local.port == sock.getsockname()[1]
        with pytest.raises(errors.BadConfig, match="a socket has an address"):
            prepare(socket=sock, local=("127.0.0.1", 0))
        assert os.fstat(sock.fileno())
    with pytest.raises(errors.BadConfig, match=r"^the existing socket .* is closed"):
        prepare(socket=sock)
    with (
        socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock,
        pytest.raises(errors.BadConfig, match="SOCK_DGRAM"),
    ):
        prepare(socket=sock)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with ours, theirs, pytest.raises(errors.BadAddress, match="AF_INET"):
        prepare(socket=ours)


# --- sizes ----------------------------------------------------------------------------------------


def test_a_million_small_packets_take_some_forty_megabytes() -> None:
    config = prepare(
        remote=("127.0.0.1", 1), direction="tx", capacity=1_000_000, packet_bytes=8
    ).config
    assert 40_000_000 <= config.tx_bytes <= 44_000_000
    implied = prepare(remote=("127.0.0.1", 1), direction="tx", capacity=1_000_000).config
    assert implied.tx_bytes == config.tx_bytes


def test_full_packets_fit_while_that_is_cheap() -> None:
    config = prepare(capacity=1024, remote=("127.0.0.1", 1)).config
    assert 1024 * 1536 <= config.tx_bytes <= 2 * MIB
    assert prepare(capacity=5000).config.tx_bytes <= 8 * MIB + 4096
    assert 8 * MIB <= prepare(capacity=20_000).config.tx_bytes <= 9 * MIB


@pytest.mark.parametrize(("direction", "unused"), [("tx", "rx_bytes"), ("rx", "tx_bytes")])
@pytest.mark.parametrize("max_payload", [1000, 65507, None])
def test_unused_rings_are_small(direction: str, unused: str, max_payload: int | None) -> None:
    config = prepare(direction=direction, capacity=100_000, max_payload=max_payload).config
    assert getattr(config, unused) == 4096
    assert config.max_payload_bytes == (max_payload or 65507)


records = st.integers(0, lib.SHM_MAX_PAYLOAD)


@settings(deadline=None)
@given(st.integers(1, 2000), records, st.integers(1, 2000), records, st.none() | records)
def test_every_size_that_is_not_refused_holds_what_it_promises(
    capacity: int, packet: int, rx_capacity: int, rx_packet: int, longest: int | None
) -> None:
    options = {
        "capacity": capacity,
        "packet_bytes": packet,
        "rx_capacity": rx_capacity,
        "rx_packet_bytes": rx_packet,
        "max_payload": longest,
    }
    if longest is not None and max(packet, rx_packet) > longest:
        with pytest.raises(errors.BadConfig):
            prepare(**options)
        return
    config = prepare(**options).config
    assert config.max_payload_bytes >= max(packet, rx_packet)
    # Without a remote every packet names its destination.
    record = 32 + 24 + (packet + 7) // 8 * 8
    kept_free = 2 * (32 + 24 + (config.max_payload_bytes + 7) // 8 * 8)
    assert config.tx_bytes >= capacity * record + kept_free
    assert config.rx_bytes >= rx_capacity * (24 + 8 + (rx_packet + 7) // 8 * 8)
