"""Scans and states: the state machine of codesys5, the status words of siemens, send timers."""

from __future__ import annotations

import pytest

from shmring.testing.plc import PARTNERS, Codesys4, Codesys5, State

MS = 1_000_000
SECOND = 1000 * MS


def scan_of(end, duration_ns=None):
    """One scan, or those of a while. Returns the state behind it."""
    if duration_ns is None:
        end.step()
    else:
        end.wait(duration_ns)
    return end.end.state


@pytest.fixture
def controller(bench):
    """A codesys5 before its first scan."""
    end = bench("codesys5", remote=bench.HERE)
    end.end.power_on(end.now_ns)
    assert end.end.state is State.IDLE
    return end


# --- codesys5 -------------------------------------------------------------------------------------


def test_the_states_have_the_numbers_of_the_block():
    numbers = {"IDLE": 0, "CREATE": 10, "BIND": 20, "NONBLOCK": 30, "RUNNING": 40, "ERROR": 99}
    assert {state.name: state.value for state in State} == numbers


def test_one_transition_per_scan(controller):
    states = [scan_of(controller) for _ in range(5)]
    assert states == [State.CREATE, State.BIND, State.NONBLOCK, State.RUNNING, State.RUNNING]


def test_nothing_is_heard_before_the_socket_is_bound(controller):
    for _ in range(2):
        controller.arrive(7)
        scan_of(controller)
    assert controller.end.state is State.BIND
    scan_of(controller)
    controller.arrive(9)
    scan_of(controller)
    assert controller.end.rx_count == 0, "not in the scan that makes it run"
    scan_of(controller)
    assert (controller.end.rx_count, controller.end.last_partner_number) == (1, 9)


@pytest.mark.parametrize("step", [State.CREATE, State.BIND, State.NONBLOCK])
def test_what_fails_is_tried_again_behind_five_seconds(step, controller):
    controller.end.broken = step
    while controller.end.state is not State.ERROR:
        scan_of(controller)
    failed_ns = controller.now_ns
    assert controller.end.error
    assert not controller.end.connected
    controller.end.broken = None
    assert scan_of(controller, 4999 * MS) is State.ERROR
    assert controller.end.error
    assert scan_of(controller) is State.IDLE
    assert controller.now_ns - failed_ns == 5 * SECOND
    assert not controller.end.error
    assert scan_of(controller, 4 * MS) is State.RUNNING


def test_disabled_in_error_it_is_idle_at_once(controller):
    controller.end.broken = State.BIND
    scan_of(controller, 10 * MS)
    assert controller.end.state is State.ERROR
    controller.end.enable = False
    assert scan_of(controller) is State.IDLE
    assert scan_of(controller, SECOND) is State.IDLE, "and stays so"
    assert not controller.end.error


def test_disabled_it_closes(controller):
    scan_of(controller, 10 * MS)
    controller.end.enable = False
    assert scan_of(controller) is State.IDLE
    assert not controller.end.connected
    sent = len(controller.sent)
    controller.arrive(3)
    scan_of(controller, 100 * MS)
    assert (len(controller.sent), controller.end.rx_count) == (sent, 0)
    controller.end.enable = True
    scan_of(controller, 100 * MS)
    assert controller.end.state is State.RUNNING
    assert controller.numbers() == list(range(1, len(controller.sent) + 1)), "numbers go on"


def test_a_rising_edge_of_reconnect_restarts(controller):
    scan_of(controller, 10 * MS)
    controller.end.reconnect = True
    assert scan_of(controller) is State.IDLE
    assert scan_of(controller, 4 * MS) is State.RUNNING, "the level does nothing"
    assert scan_of(controller, SECOND) is State.RUNNING
    controller.end.reconnect = False
    assert scan_of(controller) is State.RUNNING
    controller.end.reconnect = True
    assert scan_of(controller) is State.IDLE


def test_reconnect_returns_to_the_remote_that_was_set(controller):
    scan_of(controller, 10 * MS)
    controller.arrive_raw(bytes(22), controller.THERE)
    scan_of(controller, 10 * MS)
    assert controller.to[-1] == controller.THERE
    controller.end.reconnect = True
    scan_of(controller, 20 * MS)
    assert controller.to[-1] == controller.HERE


def test_reconnect_ends_an_error(controller):
    controller.end.broken = State.CREATE
    scan_of(controller, 10 * MS)
    controller.end.broken = None
    controller.end.reconnect = True
    assert scan_of(controller) is State.IDLE
    assert scan_of(controller, 4 * MS) is State.RUNNING


def test_the_scan_reads_then_computes_then_sends_then_looks(bench):
    seen = []

    def program(plc):
        seen.append((plc.last_partner_number, plc.tx_count, plc.rx_skipped))
        plc.to_send = plc.received

    end = bench("codesys5", program=program, remote=bench.HERE)
    end.wait(100 * MS)
    for number in (1, 4):
        end.arrive(number)
        end.look()
    count = len(end.sent)
    while len(end.sent) == count:
        end.arrive(end.end.last_partner_number + 3)
        tx_count = end.end.tx_count
        end.look()
    number = end.end.last_partner_number
    assert seen[-1] == (number, tx_count, 2), "read, not sent yet, statistics of the scan before"
    assert end.sent[-1][1][1:] == bytes([number]) * 21, "sent what it had just read"
    assert end.end.rx_skipped == 2


# --- send timers ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["codesys5", "codesys4", "siemens"])
@pytest.mark.parametrize(
    ("cycle_us", "scan_us", "period_us"),
    [
        (2000, 1000, 4000),
        (1000, 1000, 3000),
        (500, 1000, 3000),
        (2500, 1000, 5000),
        (5000, 2000, 10000),
        (2000, 250, 2500),
        (10000, 10000, 30000),
    ],
)
def test_the_period_is_the_interval_in_scans_and_two(kind, cycle_us, scan_us, period_us, bench):
    end = bench(kind, cycle_ns=cycle_us * 1000, scan_ns=scan_us * 1000)
    end.wait(SECOND)
    gaps = {b - a for (a, _), (b, _) in zip(end.sent, end.sent[1:], strict=False)}
    assert gaps == {period_us * 1000} == {int(end.end.period_ns)}


@pytest.mark.parametrize(("cycle_ms", "period_ms"), [(1, 1.1), (2, 2.2), (5, 5.5), (10, 11.0)])
def test_pythons_period_is_whole_naps(cycle_ms, period_ms, bench):
    end = bench("python", cycle_ns=cycle_ms * MS, seed=4)
    end.wait(5 * SECOND)
    mean_ms = (end.sent[-1][0] - end.sent[0][0]) / (len(end.sent) - 1) / MS
    assert mean_ms == pytest.approx(period_ms, rel=0.01)
    assert end.end.period_ns / MS == pytest.approx(period_ms, rel=0.01)


def test_scans_that_were_missed_are_left_out():
    plc = Codesys4()
    plc.power_on(0)
    assert plc.deadline_ns == 0
    plc.run(0)
    plc.run(7 * MS + 300_000)
    assert plc.deadline_ns == 8 * MS
    assert plc.run(8 * MS - 1) == []


def test_a_full_socket_loses_what_comes(bench):
    end = bench("codesys4", socket_datagrams=3)
    for number in range(1, 6):
        end.arrive(number)
    end.wait(10 * MS)
    assert (end.end.taken, end.end.accepted_number) == (3, 3)


# --- siemens --------------------------------------------------------------------------------------


def statuses(end, scans):
    seen = []
    for _ in range(scans):
        end.step()
        seen.append(end.end.status)
    return seen


def test_status_words_of_a_send(bench):
    end = bench("siemens", cycle_ns=4 * MS)
    assert statuses(end, 5) == [0x7001, 0x7000, 0x7000, 0x7000, 0x7002]
    assert statuses(end, 6) == [0x7003, 0x7004, 0x7000, 0x7000, 0x7000, 0x7002]
    assert end.numbers() == [0, 1]


def test_a_send_that_is_never_confirmed_has_no_done(bench):
    end = bench("siemens", cycle_ns=4 * MS, unconfirmed=1.0)
    seen = statuses(end, 100)
    assert 0x7003 in seen
    assert 0x7004 not in seen
    assert set(end.numbers()) == {0}


def test_the_code_of_the_send_instruction(bench):
    end = bench("siemens", cycle_ns=4 * MS)
    end.end.send_code = 0x80C4
    assert 0x80C4 in statuses(end, 20)
    assert end.sent == []


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"db_readable": False}, 0x8001),
        ({"send": 1462}, 0x8002),
        ({"receive": 1499}, 0x8002),
        ({"remote": ("10.1.1", 2000)}, 0x8003),
        ({"remote": ("plc.example", 2000)}, 0x8003),
    ],
)
def test_why_it_cannot_send_is_overwritten_in_the_same_scan(options, reason, bench):
    end = bench("siemens", **options)
    assert statuses(end, 50) == [0x80A1] * 50
    assert end.end.init_status == reason
    assert end.sent == []


def test_the_longest_data_block(bench):
    end = bench("siemens", send=1461, receive=1461)
    end.wait(100 * MS)
    assert end.end.init_status == 0
    assert {len(data) for _, data in end.sent} == {1463}


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "options", "text"),
    [
        ("codesys5", {"cycle_ns": -1}, "cycle_ns is -1"),
        ("codesys4", {"scan_ns": 0}, "scan_ns is 0"),
        ("codesys4", {"scan_jitter_ns": MS}, "scan_jitter_ns is 1000000; it must be 0 to 999999"),
        ("siemens", {"confirm_scans": 0}, "confirm_scans is 0"),
        ("python", {"receive": -1}, "layout is -1"),
        ("python", {"send": ">I"}, "layout is '>I'"),
    ],
)
def test_options_out_of_range(kind, options, text):
    with pytest.raises(ValueError, match=text):
        PARTNERS[kind](**options)


def test_values_of_another_size():
    plc = Codesys5(send=4)
    with pytest.raises(ValueError, match="values have 3 bytes: this partner sends 4"):
        plc.put(b"abc")
    assert plc.to_send == bytes(4)
