"""Both ways to import netflux, its defaults and refusals; nothing here reaches a worker.

Names, signatures and single calls of the original are in test_parity_tables.py.
"""

# A row of a table is a line, or two.
# ruff: noqa: E501

import dataclasses
import importlib
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from kit.calls import gives, rows

import netflux
import netflux_main
import netflux_receiver
import netflux_sender
import netflux_statistics
from shmring.netflux.records import INT, REAL, Codec

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


def test_all_that_the_original_brings():
    names: dict[str, object] = {}
    exec("from netflux_main import *", names)
    ours = {"NetfluxData", "NetfluxMain", "NetfluxReceiver", "NetfluxSender", "main"}
    others = {"Any", "Dict", "dataclass", "field", "struct", "threading", "time"}
    assert names.keys() - {"__builtins__"} == ours | others | {"NetfluxStatisticsTracker"}


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

# failed(part): why its start failed, without the part's "Failed to start ...: ".
ROWS = [
    ("version and author", "[netflux.__version__, type(netflux.__author__), bool(netflux.__author__)]", "['1.0.0', <class 'str'>, True]"),
    ("a receiver before its start",
     "x = receiver(local_port=2000); [x.local_port, x.data_callback is print, x.channel, x.partner_hears_us, x.stats == x.get_stats() == netflux.ReceiverStats()]",
     "[2000, True, None, False, True]"),
    ("a sender before its start",
     "x = sender(remote_ip='10.0.0.1'); [x.remote_ip, x.remote_port, x.data_size, x.data_provider is give, x.stats == x.get_stats() == netflux.SenderStats()]",
     "['10.0.0.1', 2001, 4, True, True]"),
    ("main before its start",
     "x = netflux.NetfluxMain(); [isinstance(x.receiver, netflux.NetfluxReceiver), isinstance(x.sender, netflux.NetfluxSender), isinstance(x.statistics, netflux.NetfluxStatisticsTracker),"
     " x.statistics.get_stats() == netflux.NetfluxStatistics(), x.statistics.cycle_time_ms]",
     "[True, True, True, True, 5.0]"),
    ("settings of main are those of its parts",
     "x = netflux.NetfluxMain(); x.local_port, x.remote_ip, x.remote_port, x.send_interval, x.watch_interval = 2002, '10.0.0.2', 2003, 0.001, 0.01;"
     "[x.receiver.local_port, x.sender.remote_ip, x.sender.remote_port, x.sender.send_interval, x.receiver.watch_interval, x.statistics.cycle_time_ms]",
     "[2002, '10.0.0.2', 2003, 0.001, 0.01, 1.0]"),
    *[(f"a receiver with {given}", f"failed(receiver({given}))", repr(message)) for given, message in (
        ("data_size=1500", "data_size is 1500; it must be 0 to 1499"),
        ("data_size=-1", "data_size is -1; it must be 0 to 1499"),
        ("watch_interval=0", "watch_interval is 0 s; it must be 1e-06 to 3600, or math.inf"),
        ("local_port=65536", "bind(): port must be 0-65535."),
    )],
    *[(f"a sender with {given}", f"failed(sender({given}))", repr(message)) for given, message in (
        ("data_size=2000", "data_size is 2000; it must be 0 to 1499"),
        ("send_interval=0.00005", "send_interval is 5e-05 s; it must be 0.0001 to 3600"),
        ("send_interval='5'", "send_interval is '5'; it must be a number of seconds"),
        ("remote_port=0", "remote_port is 0; it must be 1 to 65535"),
        ("remote_port=67537", "remote_port is 67537; it must be 1 to 65535"),
        ("remote_ip=None", "remote_ip is None; it must be an address, or the name of a host"),
    )],
    *[(f"feedback of {wrong!r}", f"x = sender(); [told(x.set_partner_seq_number, {wrong!r}).partition(':')[0], x.partner_seq_number]", f"['{error}', 0]")
      for wrong, error in ((256, "ValueError"), (-1, "ValueError"), ("7", "TypeError"), (None, "TypeError"))],
    # The payload: the record of the original, and classes in its place.
    ("bytes", "x = NetfluxData(1.5, -2.0, 7, 2**32 - 1, 0x0102); [x.to_bytes() == struct.pack('<ffIII', 1.5, -2.0, 7, 2**32 - 1, 0x0102), NetfluxData.from_bytes(x.to_bytes()) == x]",
     "[True, True]"),
    *[(f"{what} payload", f"whole = NetfluxData(1.5, 0.0, 7, 8, 9).to_bytes(); NetfluxData.from_bytes({data})", f"NetfluxData(value1=1.5, value2=0.0, value3=7, {rest})")
      for what, data, rest in (("a short", "whole[:12]", "value4=0, flags=0"), ("a long", "whole + b'more'", "value4=8, flags=9"), ("a view of a", "memoryview(whole)", "value4=8, flags=9"))],
    *[(f"{field} of {value!r} does not fit", f"told(NetfluxData({field}={value!r}).to_bytes).startswith('{error}: {field} is ')", "True")
      for field, value, error in (("value3", -1, "error"), ("value4", 2**32, "error"), ("flags", 1.5, "error"), ("value1", 3.5e38, "OverflowError"), ("value2", "x", "error"))],
    *[(f"main takes {name}", f"x = netflux.NetfluxMain(data_class={name}); [type(x.data_send) is type(x.data_recv) is {kind}, x.receiver.data_size, x.sender.data_size]", f"[True, {size}, {size}]")
      for name, kind, size in (("NetfluxData", "NetfluxData", 20), ("Mine", "Mine", 2), ("Axis", "Axis", 8), ("Codec(Axis, order='big')", "Axis", 6))],
    *[(f"main does not take {wrong}", f"netflux.NetfluxMain(data_class={wrong})", "TypeError: netflux") for wrong in ("int", "object()", "'Axis'", "None")],
    ("another class for what is received",
     "x = netflux.NetfluxMain(data_class=Axis, recv_data_class=Codec(Axis, order='big')); x.data_send.mode = 258; [x.sender.data_provider() == struct.pack('<fhxx', 0.5, 258), x.data_recv == Axis()]",
     "[True, True]"),
    ("a dataclass without sizes names its field", "told(netflux.NetfluxMain, data_class=make_dataclass('Vague', [('number', int, 0)]))[:19]", "'RecordError: number'"),
    ("fields that are set",
     "x = netflux.NetfluxMain(); x.set_send_data(value1=2.5, flags=3, nothing=1); first = x.data_send == NetfluxData(value1=2.5, flags=3); x.set_send_data(value3=-1);"
     "[first, hasattr(x.data_send, 'nothing'), x.data_send.value3]", "[True, False, -1]"),
    ("copies of what was received", "x = netflux.NetfluxMain(); copy = x.get_recv_data(); copy.value1 = 5.0; [copy is x.data_recv, x.data_recv.value1]", "[False, 0.0]"),
]  # fmt: skip


@dataclasses.dataclass
class Axis:
    position: REAL = 0.5
    mode: INT = 3


def failed(part):
    assert part.start() is False
    assert part.error
    kind = "receiver" if isinstance(part, netflux.NetfluxReceiver) else "sender"
    assert getattr(part, "_socket", None) is None
    said = part.error_message
    assert said.startswith(f"Failed to start {kind}: ")
    return said.partition(": ")[2]


@rows(ROWS)
def test_calls(steps, expected):
    def give():
        return b"1234"

    ours = {"local_port": 0, "data_callback": print, "data_size": 4}
    theirs = {"remote_ip": "127.0.0.1", "remote_port": 2001, "data_provider": give, "data_size": 4}
    names = {"netflux": netflux, "NetfluxData": netflux.NetfluxData, "Mine": Mine, "Axis": Axis}
    names |= {"receiver": lambda **given: netflux.NetfluxReceiver(**ours | given)}
    names |= {"sender": lambda **given: netflux.NetfluxSender(**theirs | given)}
    names |= {"failed": failed, "give": give, "Codec": Codec, "struct": struct}
    gives(steps, expected, names | {"make_dataclass": dataclasses.make_dataclass})


def test_stopping_says_so(capsys):
    main = netflux.NetfluxMain()
    assert capsys.readouterr().out == ""
    main.stop()
    assert capsys.readouterr().out.endswith("\nNetflux stopped.\n")


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
