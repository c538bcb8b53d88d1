"""`Channel.engine`: the opener's object from shared memory, whatever stands there."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import shmring
from rtworkers import paths
from shmring import Cyclic, Local, Multicast, Netflux, Proxy, Queue, Rtp, Socket, Udp, _options
from shmring._ring import ffi
from shmring._way_back import engine_of
from shmring.engine import Engine, start_of
from shmring.rtp import Nack, Playout, Rtcp

CONFIG_AT = 32  # in shm_identity_t
REMOTE = ("127.0.0.1", 9)
SOCKET = Socket(
    ttl=3,
    dscp=46,
    priority=2,
    rcvbuf_bytes=65536,
    gso=False,
    reuse=True,
    device="lo",
    multicast=Multicast(["239.1.1.1", ("239.1.1.2", "lo")], ttl=4, loop=False, interface="lo"),
)
ENGINES: list[Engine[Any]] = [
    Udp(),
    Udp(tx=1024, rx=Queue(7), max_payload=65507, report_capacity=4096),
    Udp(tx=Queue(9, 100), late="drop", align="wire", catch_up=2.5, tolerance_ns=0),
    Udp(direction="tx", reading="shared", overflow="wait", reports="off", report_capacity=0),
    Udp(socket=SOCKET),
    Udp(socket=Socket(multicast=Multicast(), txtime="off", rx_stamp="off", stamp_every=1)),
    Local(),
    Local(overflow="wait", tx=64, late="drop"),
    Cyclic(period_ns=10**6),
    Cyclic(period_ns=10**6, phase_ns=0, stale_after_ns=5, direction="tx", rx=Queue(8, 20)),
    Cyclic(period_ns=10**9, tolerance_ns=10**8, max_payload=8, on_stale="continue"),
    Netflux(send=8),
    Netflux(send=0, receive=4, any_source=False, own_number=3, partner_number=0, hear_ns=0),
    Netflux(receive=4, keep_window=True, cycle_ns=10**6, on_stale="stop", rx=9, stale_ns=10**7),
    Proxy(),
    Proxy(flows=3, idle_ns=10**9, socket=Socket(rx_stamp="kernel", reuse=True)),
    Rtp(),
    Rtp(codec="pcmu", ptime_ns=30_000_000, tx=Queue(50, 200), max_payload=1000),
    Rtp(codec="l16", audio_channels=2, payload_type=10, clock_rate=44100, ptime_ns=10_000_000),
    Rtp(ssrc=0, first_sequence=0, first_timestamp=7, mark_spurts=False, start_delay_ns=0),
    Rtp(expected_ssrc=5, event_types=(101, 126), underrun="fill", fill_byte=0, fill_packets=2),
    Rtp(event_types=(126, 101, 126), rtcp=Rtcp(port="next_port", local=("0:0::1", 5, 0, 0))),
    Udp(socket=Socket(multicast=Multicast([("ff02:0::5", "lo"), ("239.1.1.1", 0)]))),
    Rtp(playout=Playout(min_delay_ns=0, percentile=0.5, max_frames=12, delivery="in_order")),
    Rtp(rtcp=Rtcp()),
    Rtp(rtcp=Rtcp(port="next_port", remote=("127.0.0.1", 11), cname="a@b", nack=Nack())),
    Rtp(rtcp=Rtcp(reduced_size=True, nack=Nack(retry_ns=1, history_packets=4), interval_ns=9)),
]


def opened(engine: Engine[Any]) -> Any:
    """The ``shm_config_t`` of a channel with this engine."""
    where = {} if isinstance(engine, Local) else {"remote": REMOTE}
    start = start_of(engine, where)
    return _options.prepare("x", "ns", "p", "balanced", start.options, start.config).config


@pytest.mark.parametrize("engine", ENGINES, ids=repr)
def test_the_object_comes_back(engine: Engine[Any]) -> None:
    assert engine_of(opened(engine)[0]) == engine
    assert repr(engine_of(opened(engine)[0])) == repr(engine)


def test_payloads_and_records_come_back_as_none() -> None:
    found = engine_of(opened(Cyclic(period_ns=10**6, payload=b"x", on_stale=b"safe"))[0])
    assert (found.period_ns, found.payload, found.on_stale) == (10**6, None, None)
    link = Netflux(send=2, on_stale="failsafe", failsafe=b"ab", values=b"cd")
    found = engine_of(opened(link)[0])
    assert (found.send, found.on_stale, found.failsafe, found.values) == (2, "failsafe", None, None)


def test_an_engine_of_another_package_has_none() -> None:
    config = opened(Udp())
    config.engine = b"mine"
    assert engine_of(config[0]) is None


@pytest.mark.parametrize("engine", ENGINES[::2], ids=repr)
@settings(deadline=None, max_examples=30)
@given(changes=st.lists(st.tuples(st.integers(0, 10**4), st.integers(0, 255)), max_size=40))
def test_whatever_stands_there_is_an_object_or_a_reason(
    engine: Engine[Any], changes: list[tuple[int, int]]
) -> None:
    config = opened(engine)
    memory, start = ffi.buffer(config), ffi.offsetof("shm_config_t", "device")
    for place, byte in changes:
        memory[start + place % (len(memory) - start)] = bytes([byte])
    try:
        found = engine_of(config[0])
    except OSError:
        return
    assert type(found) is type(engine)
    assert repr(found).isprintable()


def test_the_reason_names_the_option() -> None:
    config = opened(Udp())
    config.late = 9
    with pytest.raises(OSError, match="its late is 9: it must be one of 0, 1"):
        engine_of(config[0])


@pytest.mark.parametrize(
    ("engine", "of", "field", "number", "reason"),
    [
        (Rtp(max_payload=4000), "", "max_payload_bytes", 99, "max_payload is -29: .* 0 to 65379"),
        (Udp(max_payload=8), "", "max_payload_bytes", 65508, "max_payload is 65508: .* 0 to 65507"),
        (Udp(report_capacity=8), "", "report_slots", 3, "report_capacity is 3: .* a power of two"),
        (Netflux(send=8, rx=9), "", "rx_capacity", 0, "rx is 0: it must be 1 to 2147483647"),
        (
            Udp(socket=Socket(multicast=Multicast(interface="lo"))),
            *("", "multicast_interface", 2**32 - 1, "interface is 4294967295: it must be 0 to"),
        ),
        (Rtp(audio_channels=2), "shm_rtp_config_t *", "channels", 0, "audio_channels is 0: "),
        (
            Rtp(playout=Playout(max_frames=5)),
            *("shm_rtp_config_t *", "max_frames", 0, "max_frames is 0: it must be 1 to 4096"),
        ),
        (
            Cyclic(period_ns=10**6, phase_ns=0),
            *("shm_cyclic_config_t *", "phase_ns", -1, "phase_ns is -1: it must be 0 to 999999"),
        ),
        (
            Cyclic(period_ns=10**6, stale_after_ns=5),
            *("shm_cyclic_config_t *", "stale_after_ns", 0, "stale_after_ns is 0: it must be 1 to"),
        ),
    ],
)
def test_a_number_that_no_opener_writes_gives_a_reason(
    engine: Engine[Any], of: str, field: str, number: int, reason: str
) -> None:
    config = opened(engine)
    setattr(ffi.cast(of, config.engine_config) if of else config, field, number)
    with pytest.raises(OSError, match=f"its {reason}"):
        engine_of(config[0])


def test_a_group_in_shared_memory_is_a_multicast_address() -> None:
    config = opened(Udp(socket=Socket(multicast=Multicast(["239.1.1.1"]))))
    config.groups[0].group.ip[0] = 10
    with pytest.raises(OSError, match=r"its group is 10\.1\.1\.1: it must be a multicast address"):
        engine_of(config[0])


def test_a_channel_tells_with_what_it_was_opened(shmring_pool: shmring.Pool) -> None:
    engine = Udp(late="drop", rx=Queue(7, 30), socket=Socket(dscp=46))
    with shmring_pool.open("ctl", engine, remote=REMOTE) as ch:
        assert ch.engine == engine
        with shmring.attach("ctl", readonly=True) as tap:
            assert tap.engine == engine
        (info,) = shmring.channels(ch.namespace)
        assert info.opened_with == engine
        scribble(ch, "given", bytes([255] * 8))  # also tx and rx, whose packet_bytes nobody gave
        (info,) = shmring.channels(ch.namespace)
        assert info.opened_with.tx == Queue(1024, 0)
        scribble(ch, "rx_packet_bytes", bytes([255] * 4))
        assert shmring.channels(ch.namespace) == []
        (file,) = shmring.observe.unreadable(ch.namespace)
        assert (file.name, file.reason) == (
            "ctl",
            "its packet_bytes of rx is 4294967295: it must be 0 to 65507",
        )
        assert ch.engine == engine  # an attached end keeps the copy that it has checked


def scribble(ch: shmring.Channel, field: str, raw: bytes) -> None:
    """Write into the configuration in a channel's file, as any of its clients can."""
    name = paths.channel_segment(ch.namespace, ch.name)
    with paths.shm_file(name).open("r+b", buffering=0) as file:
        file.seek(ffi.offsetof("shm_config_t", field) + CONFIG_AT)
        file.write(raw)
