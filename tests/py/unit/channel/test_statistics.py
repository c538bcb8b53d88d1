"""Statistics, listings and rtstat are readings of the same words."""

from __future__ import annotations

import json
import pydoc
import re

import pytest

import shmring
from rtstat.snapshot import Watch
from shmring._numbers import ChannelCounters
from shmring.stats import FIELDS

SHARED = (
    *("name", "namespace", "pool", "direction", "local", "remote", "segment_bytes", "state"),
    *("epoch", "worker_pid", "cpu", "policy", "tx_waiting", "opener_pid"),
)


@pytest.fixture
def used(loop, settle):
    ch = loop()
    ch.send(b"four", to=ch.home)
    ch.flush(timeout=20)
    ch.recv(timeout=20)
    settle(ch)
    return ch


def test_all_say_the_same(used, shmring_namespace):
    stats = used.stats()
    (info,) = shmring.channels(shmring_namespace)
    with Watch(shmring_namespace) as watch:
        view = watch.read().channel("loop")
    for name in SHARED:
        assert getattr(stats, name) == getattr(info, name) == getattr(view, name), name
    assert (stats.tx_sent, info["tx_sent"], view["tx_sent"]) == (1, 1, 1)
    assert stats.readers == info.readers
    assert [reader.taken for reader in stats.readers] == [row.taken for row in view.readers] == [1]


def test_every_field_is_there_for_json(used):
    stats = used.stats()
    facts = stats.to_dict()
    assert set(FIELDS) | {"tx_requested", "tx_late"} == set(facts)
    assert set(ChannelCounters.__dataclass_fields__) < set(facts)
    json.dumps(facts)
    assert facts["engine"] is stats.engine is None
    assert "tx_sent=1" in repr(stats)


def test_help_and_completion_show_every_field(used):
    stats = used.stats()
    assert set(FIELDS) <= set(dir(stats))
    shown = pydoc.plain(pydoc.render_doc(shmring.stats.ChannelStats))
    named = set(re.findall(r"^ \|  (\w+)$", shown, re.MULTILINE))
    assert set(FIELDS) - named == {"engine", "lacking"}  # annotations
    assert "Time from the deadline to the start of the send call." in shown


def test_nothing_can_be_changed(used):
    stats = used.stats()
    for name in ("tx_sent", "state", "engine", "anything"):
        with pytest.raises(AttributeError):
            setattr(stats, name, 7)


def test_the_numbers_of_histograms_are_in_the_histograms_alone(used, shmring_namespace):
    (info,) = shmring.channels(shmring_namespace)
    for reading in (used.stats(), info):
        with pytest.raises(KeyError, match="lateness_p99_ns"):
            reading["lateness_p99_ns"]


@pytest.mark.parametrize(
    ("old", "new"),
    [("rtp", "engine"), ("netflux", "engine"), ("proxy", "engine"), ("bound", "local")],
)
def test_former_names_say_the_new_ones(used, old, new):
    with pytest.raises(AttributeError, match=new):
        getattr(used.stats(), old)
    with pytest.raises(AttributeError, match="no attribute 'sent'"):
        used.stats().sent  # noqa: B018


def test_a_word_that_cannot_be_makes_a_listing_say_why(used, shmring_namespace):
    status = used._endpoint.mapped().status
    status.state = 77
    try:
        assert used.stats().state is shmring.State.FAILED
        assert shmring.channels(shmring_namespace) == []
        (file,) = shmring.observe.unreadable(shmring_namespace)
        with Watch(shmring_namespace) as watch:
            shots = [watch.read() for _ in range(2)]
    finally:
        status.state = 1
    assert (file.name, file.reason) == ("loop", "its state is 77: it must be 0 to 4")
    for shot in shots:
        assert [(item.name, item.reason) for item in shot.unreadable] == [("loop", file.reason)]
    assert [info.name for info in shmring.channels(shmring_namespace)] == ["loop"]
