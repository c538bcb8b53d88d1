"""Names, signatures, defaults and both ways to import netflux; nothing here reaches a worker."""

import dataclasses
import importlib
import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest

import netflux
import netflux_main
import netflux_receiver
import netflux_sender
import netflux_statistics

NAMES = {
    "netflux_main": [
        *("NetfluxMain", "NetfluxData", "main"),
        *("NetfluxReceiver", "NetfluxSender", "NetfluxStatisticsTracker"),
    ],
    "netflux_receiver": ["NetfluxReceiver", "ReceiverStats"],
    "netflux_sender": ["NetfluxSender", "SenderStats"],
    "netflux_statistics": ["NetfluxStatisticsTracker", "NetfluxStatistics"],
}
FLAT = {
    module.__name__: module
    for module in (netflux_main, netflux_receiver, netflux_sender, netflux_statistics)
}

# Runs in an interpreter of its own, in which everything compiled is missing.
WITHOUT_SHMRING = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("shmring", "rtworkers", "posix_ipc", "psutil", "cffi"):
            raise ImportError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
import netflux, netflux_main

assert netflux_main.NetfluxData(value3=7).to_bytes()[8] == 7
tracker = netflux.NetfluxStatisticsTracker()
tracker.update(1, 1, 0)

main = netflux.NetfluxMain(local_port=0, verbose=False)
assert main.start() is False
assert main.receiver.error_message.startswith("Failed to start receiver: ")
assert "shmring" in main.receiver.error_message
sender = netflux.NetfluxSender("127.0.0.1", 2001, bytes, 0)
assert sender.start() is False
assert sender.error_message.startswith("Failed to start sender: ") and sender.error
print("ok")
"""


def run(script, *options, **more):
    done = subprocess.run(
        [sys.executable, *options, "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        **more,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def defaults(call):
    return {
        name: parameter.default
        for name, parameter in inspect.signature(call).parameters.items()
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    }


REQUIRED = inspect.Parameter.empty


def test_what_the_package_exports():
    assert netflux.__version__ == "1.0.0"
    assert isinstance(netflux.__author__, str)
    assert netflux.__author__
    for names in NAMES.values():
        for name in names:
            assert name == "main" or getattr(netflux, name).__name__ == name


@pytest.mark.parametrize("module", NAMES)
def test_flat_and_package_have_the_same_objects(module):
    within = importlib.import_module(f"netflux.{module}")
    for name in NAMES[module]:
        found = getattr(FLAT[module], name)
        assert found is getattr(within, name)
        assert name == "main" or found is getattr(netflux, name)


def test_the_packages_own_directory_on_the_path_will_do():
    directory = str(Path(netflux.__file__).parent)
    script = (
        f"import sys; sys.path.insert(0, {directory!r})\n"
        "import netflux_main, netflux_receiver, netflux_sender, netflux_statistics, netflux\n"
        f"assert netflux_main.__file__.startswith({directory!r})\n"
        "assert netflux_main.NetfluxMain is netflux.NetfluxMain\n"
        "assert netflux_statistics.NetfluxStatistics is netflux.NetfluxStatistics\n"
        "print(netflux_receiver.NetfluxReceiver is netflux.NetfluxReceiver)"
    )
    assert run(script) == "True\n"


def test_whichever_is_imported_first():
    for first, second in (("netflux_main", "netflux"), ("netflux", "netflux_main")):
        script = f"import {first}, {second}; print(netflux.NetfluxData is netflux_main.NetfluxData)"
        assert run(script) == "True\n"


def test_without_anything_compiled():
    search = str(Path(netflux.__file__).parents[1])
    script = f"import sys; sys.path.insert(0, {search!r})\n{WITHOUT_SHMRING}"
    assert run(script) == "ok\n"


def test_importing_starts_nothing():
    script = (
        "import netflux, netflux_main, os, threading\n"
        "print(threading.active_count(), os.listdir('/proc/self/task') == [str(os.getpid())])"
    )
    assert run(script, env=os.environ | {"SHMRING_NAMESPACE": f"none-{os.getpid()}"}) == "1 True\n"


def test_signature_of_the_receiver():
    assert defaults(netflux.NetfluxReceiver) == {
        "local_port": REQUIRED,
        "data_callback": REQUIRED,
        "data_size": REQUIRED,
        "watch_interval": 1.0,
        "keep_values_on_timeout": False,
    }


def test_signature_of_the_sender():
    assert defaults(netflux.NetfluxSender) == {
        "remote_ip": REQUIRED,
        "remote_port": REQUIRED,
        "data_provider": REQUIRED,
        "data_size": REQUIRED,
        "send_interval": 0.005,
        "peer_socket": None,
    }


def test_signature_of_main():
    assert list(defaults(netflux.NetfluxMain).items()) == [
        ("local_port", 2000),
        ("remote_ip", "172.10.10.10"),
        ("remote_port", 2000),
        ("send_interval", 0.005),
        ("watch_interval", 0.030),
        ("keep_values_on_timeout", False),
        ("data_class", netflux.NetfluxData),
    ]


def test_signature_of_the_tracker():
    assert defaults(netflux.NetfluxStatisticsTracker) == {"cycle_time_ms": 1.0}
    update = inspect.signature(netflux.NetfluxStatisticsTracker.update)
    assert list(update.parameters)[1:] == [
        "recv_seq_number",
        "send_seq_number",
        "feedback_seq_number",
    ]


def test_a_receiver_before_its_start():
    def callback(data):
        pass

    receiver = netflux.NetfluxReceiver(2000, callback, 20)
    assert (receiver.local_port, receiver.data_size) == (2000, 20)
    assert receiver.data_callback is callback
    assert (receiver.watch_interval, receiver.keep_values_on_timeout) == (1.0, False)
    assert (receiver.partner_seq_number, receiver.current_feedback_seq_number) == (0, 0)
    assert (receiver.error, receiver.error_message) == (True, "Not started")
    assert receiver.stats == receiver.get_stats() == netflux.ReceiverStats()
    assert receiver.get_last_data() == bytes(20)
    assert receiver._socket is None
    assert receiver.channel is None
    assert not receiver.partner_hears_us
    receiver.stop()


def test_a_sender_before_its_start():
    sender = netflux.NetfluxSender("10.0.0.1", 2001, bytes, 20)
    assert (sender.remote_ip, sender.remote_port, sender.data_size) == ("10.0.0.1", 2001, 20)
    assert (sender.data_provider, sender.send_interval, sender.peer_socket) == (bytes, 0.005, None)
    assert (sender.sequence_number, sender.partner_seq_number) == (0, 0)
    assert (sender.error, sender.error_message) == (False, "")
    assert sender.stats == sender.get_stats() == netflux.SenderStats()
    sender.set_partner_seq_number(seq_num=77)
    assert sender.partner_seq_number == 77
    sender.stop()


def test_all_that_the_original_brings():
    names: dict[str, object] = {}
    exec("from netflux_main import *", names)
    ours = {"NetfluxData", "NetfluxMain", "NetfluxReceiver", "NetfluxSender", "main"}
    others = {"Any", "Dict", "dataclass", "field", "struct", "threading", "time"}
    assert names.keys() - {"__builtins__"} == ours | others | {"NetfluxStatisticsTracker"}


def test_main_before_its_start(capsys):
    main = netflux.NetfluxMain()
    assert (main.local_port, main.remote_ip, main.remote_port) == (2000, "172.10.10.10", 2000)
    assert (main.send_interval, main.watch_interval) == (0.005, 0.030)
    assert main.data_recv == main.data_send == netflux.NetfluxData()
    assert isinstance(main.receiver, netflux.NetfluxReceiver)
    assert isinstance(main.sender, netflux.NetfluxSender)
    assert isinstance(main.statistics, netflux.NetfluxStatisticsTracker)
    assert main.statistics.get_stats() == netflux.NetfluxStatistics()
    assert main.statistics.cycle_time_ms == 5.0
    assert capsys.readouterr().out == ""
    main.stop()
    assert capsys.readouterr().out.endswith("\nNetflux stopped.\n")


def test_statistics_begin_with_the_names_of_old():
    assert [field.name for field in dataclasses.fields(netflux.NetfluxStatistics)][:5] == [
        "avg_partner_interval",
        "avg_own_interval",
        "last_rtt",
        "total_partner_lost_packets",
        "total_feedback_lost_packets",
    ]
    assert [field.name for field in dataclasses.fields(netflux.ReceiverStats)][:5] == [
        "first_packet_received",
        "last_valid_packet_time",
        "watchdog_timeout",
        "total_packets_received",
        "total_packets_rejected",
    ]
    assert dataclasses.asdict(netflux.SenderStats()) == {
        "total_packets_sent": 0,
        "total_send_errors": 0,
        "last_send_time": 0.0,
    }


def test_settings_of_main_are_those_of_its_parts():
    main = netflux.NetfluxMain()
    main.local_port, main.remote_ip, main.remote_port = 2002, "10.0.0.2", 2003
    main.send_interval, main.watch_interval = 0.001, 0.01
    assert main.receiver.local_port == 2002
    assert (main.sender.remote_ip, main.sender.remote_port) == ("10.0.0.2", 2003)
    assert (main.sender.send_interval, main.receiver.watch_interval) == (0.001, 0.01)
    assert main.statistics.cycle_time_ms == 1.0


STATUS = """
============================================================
NETFLUX STATUS
============================================================

[RECEIVER]
  Error: True
  Error Message: Not started
  Partner Seq #: 0
  Feedback Seq #: 0
  Packets Received: 0
  Packets Rejected: 0
  Watchdog Timeout: False

[SENDER]
  Error: False
  Own Seq #: 0
  Packets Sent: 0
  Send Errors: 0

[STATISTICS]
  Avg Partner Interval: 0.00 ms
  Avg Own Interval: 0.00 ms
  Last RTT: 0.00 ms
  Partner Lost Packets: 0
  Feedback Lost Packets: 0

[DATA]
  Send: NetfluxData(value1=1.5, value2=0.0, value3=0, value4=0, flags=0)
  Recv: NetfluxData(value1=0.0, value2=0.0, value3=0, value4=0, flags=0)
============================================================

"""


def test_status(capsys):
    main = netflux.NetfluxMain(verbose=False)
    main.set_send_data(value1=1.5, unknown=3)
    main.print_status()
    assert capsys.readouterr().out == STATUS


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"data_size": 1500}, "data_size is 1500; it must be 0 to 1499"),
        ({"data_size": -1}, "data_size is -1; it must be 0 to 1499"),
        (
            {"watch_interval": 0},
            "watch_interval is 0 s; it must be 1e-06 to 3600, or math.inf",
        ),
        ({"local_port": 65536}, "bind(): port must be 0-65535."),
    ],
)
def test_a_receiver_that_cannot_be(given, message):
    receiver = netflux.NetfluxReceiver(
        **({"local_port": 0, "data_callback": None, "data_size": 4} | given)
    )
    assert receiver.start() is False
    assert receiver.error
    assert receiver.error_message == f"Failed to start receiver: {message}"
    assert receiver._socket is None


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"data_size": 2000}, "data_size is 2000; it must be 0 to 1499"),
        (
            {"send_interval": 0.00005},
            "send_interval is 5e-05 s; it must be 0.0001 to 3600",
        ),
        ({"send_interval": "5"}, "send_interval is '5'; it must be a number of seconds"),
        ({"remote_port": 0}, "remote_port is 0; it must be 1 to 65535"),
        ({"remote_port": 67537}, "remote_port is 67537; it must be 1 to 65535"),
        ({"remote_ip": None}, "remote_ip is None; it must be an address, or the name of a host"),
    ],
)
def test_a_sender_that_cannot_be(given, message):
    sender = netflux.NetfluxSender(
        **(
            {
                "remote_ip": "127.0.0.1",
                "remote_port": 2001,
                "data_provider": lambda: b"1234",
                "data_size": 4,
            }
            | given
        )
    )
    assert sender.start() is False
    assert sender.error
    assert sender.error_message == f"Failed to start sender: {message}"


@pytest.mark.parametrize(
    ("wrong", "error"), [(256, ValueError), (-1, ValueError), ("7", TypeError), (None, TypeError)]
)
def test_feedback_that_cannot_be(wrong, error):
    sender = netflux.NetfluxSender("127.0.0.1", 2001, lambda: b"1234", 4)
    with pytest.raises(error):
        sender.set_partner_seq_number(wrong)
    assert sender.partner_seq_number == 0


@dataclasses.dataclass
class Mine:
    """A record as users of the original write it."""

    count: int = 0

    def to_bytes(self) -> bytes:
        return self.count.to_bytes(2, "little")

    @classmethod
    def from_bytes(cls, data: bytes) -> "Mine":
        return cls(int.from_bytes(data[:2], "little"))

    @staticmethod
    def get_size() -> int:
        return 2


def test_another_class_in_the_place_of_netflux_data(monkeypatch):
    monkeypatch.setattr(netflux_main, "NetfluxData", Mine)
    main = netflux_main.NetfluxMain()
    assert main.data_send == Mine()
    assert main.sender.data_size == main.receiver.data_size == 2
    monkeypatch.undo()
    assert netflux_main.NetfluxMain().data_send == netflux.NetfluxData()


def test_what_is_printed_can_be_switched(capsys, monkeypatch):
    # Ports that cannot be, so that nothing else happens.
    talks = netflux.NetfluxMain(local_port=65536)
    assert talks.start() is False
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Starting Netflux..."
    failed = "Failed to start receiver: "  # of the receiver, and once more of the whole
    assert lines[-1] == f"{failed}{failed}bind(): port must be 0-65535."

    netflux.set_printing(False)
    try:
        assert talks.start() is False
        assert capsys.readouterr().out == ""
        assert netflux.NetfluxMain(local_port=65536, verbose=True).start() is False
        assert len(capsys.readouterr().out.splitlines()) == len(lines)
    finally:
        netflux.set_printing(True)
    assert netflux.NetfluxMain(local_port=65536, verbose=False).start() is False
    assert capsys.readouterr().out == ""
