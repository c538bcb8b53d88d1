"""Names, factories and identity of rtudp; nothing here opens a socket."""

# A row of a table is a line, or two.
# ruff: noqa: E501

import inspect
import subprocess
import sys
from pathlib import Path

from kit.calls import gives, rows

import rtudp
import rtudp.base
import rtudp.emulated
import rtudp.factory
import rtudp.rtudp
import rtudp.rtudp_lh
import rtudp.socket_impl
import udpcom
from rtudp import RtUdpBase

# Runs in an interpreter of its own, in which everything compiled is missing.
WITHOUT_SHMRING = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("shmring", "posix_ipc", "psutil", "cffi", "_cffi_backend"):
            raise ImportError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
import rtudp, rtudp.rtudp_lh, rtudp.socket_impl, udpcom

sender, receiver = rtudp.create_rtudp_pair("emulated", "a", 1, "b", 2)
sender.init_socket()
receiver.init_socket()
sender.start()
sender.send_data(b"works")
assert receiver.receive_data(10**10)[0] == b"works"
sender.stop()

for make in (rtudp.RtUdpSocket, udpcom.UdpCom):
    try:
        make("127.0.0.1", 1, "127.0.0.1", 2)
    except ImportError as error:
        assert "shmring" in str(error) and "RtUdpEmulated" in str(error), error
    else:
        raise AssertionError("constructed without shmring")
print("ok")
"""


def test_imports_and_emulates_without_anything_compiled():
    search = [str(Path(rtudp.__file__).parents[1]), str(Path(udpcom.__file__).parents[1])]
    result = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {search!r}\n{WITHOUT_SHMRING}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (result.returncode, result.stdout) == (0, "ok\n"), result.stderr


def test_base_is_abstract_and_complete():
    assert inspect.isabstract(RtUdpBase)
    assert RtUdpBase.__abstractmethods__ == {
        "__init__",
        "__hash__",
        "__repr__",
        "send_data",
        "receive_data",
        "receive_batch",
        "init_socket",
        "close_socket",
        "start",
        "stop",
        "get_packet_stats",
        "get_send_length",
        "get_receive_length",
        "is_running",
        "purge",
    }
    assert issubclass(rtudp.RtUdpSocket, RtUdpBase)
    assert issubclass(rtudp.RtUdpEmulated, RtUdpBase)


HERE = "*('127.0.64.5', 3043, '127.0.128.133', 8974)"
ROWS = [
    ("names of one thing",
     "[rtudp.RtUdpType is RtUdpBase is rtudp.base.RtUdpBase, rtudp.RtUdp is rtudp.RtUdpSocket is rtudp.socket_impl.RtUdpSocket,"
     " rtudp.RtUdpEmulated is rtudp.emulated.RtUdpEmulated, rtudp.create_rtudp is rtudp.factory.create_rtudp,"
     " rtudp.create_rtudp_pair is rtudp.factory.create_rtudp_pair, rtudp.rtudp_lh.port_mapper is udpcom.udpcom_lh.port_mapper,"
     " issubclass(udpcom.UdpCom, rtudp.rtudp._RtUdpSocket)]", str([True] * 7)),
    ("versions", "[rtudp.__version__, udpcom.__version__]", "['0.1.0', '0.0.1']"),
    ("an emulated one", f"x = make('emulated', {HERE}, capacity=5, direction=1); [type(x).__name__, x.capacity, x.direction]", "['RtUdpEmulated', 5, 1]"),
    ("a socket", f"type(make('socket', {HERE})).__name__", "'RtUdpSocket'"),
    *[(f"{call}: no implementation {name!r}", f"{call}({name!r}, {HERE})", f"ValueError: Unknown implementation: {name}")
      for call in ("make", "pair") for name in ("Socket", "", "udp", None)],
    ("a pair faces each other", f"[(x.local_ip, x.local_port, x.remote_ip, x.remote_port, x.capacity) for x in pair('emulated', {HERE}, capacity=9)]",
     "[('127.0.64.5', 3043, '127.0.128.133', 8974, 9), ('127.0.128.133', 8974, '127.0.64.5', 3043, 9)]"),
    ("a pair has one direction", f"[x.direction for x in pair('emulated', {HERE})]", "[0, 1]"),
    ("the arguments of a pair by name", "len(pair(implementation='emulated', ip1='a', port1=1, ip2='b', port2=2))", "2"),
    *[(f"a pair with direction {n}", f"[x.direction for x in pair('emulated', {HERE}, direction={n})]", f"[{n}, {n}]") for n in (0, 1, 2)],
    ("the hash of a receiver", "hash(rtudp.RtUdpSocket('10.0.0.1', 4000, '10.0.0.2', 4001, direction=1))", "-7260687624065353489"),
    ("repr of a socket for both directions", f"rtudp.RtUdpSocket({HERE}, direction=2)", "RtUdp[-1]<->(127.0.128.133:8974)"),
    ("options of UdpCom are keyword-only", f"udpcom.UdpCom({HERE}, 1)", "TypeError"),
    ("a port mapper by name", "udpcom.udpcom_lh.port_mapper('10.1.1.1', 7, source_prefix='10.1', target_prefix='10.2')", "('10.2.1.1', 7)"),
]  # fmt: skip


@rows(ROWS)
def test_calls(steps, expected):
    names = {"rtudp": rtudp, "udpcom": udpcom, "RtUdpBase": RtUdpBase}
    gives(steps, expected, names | {"make": rtudp.create_rtudp, "pair": rtudp.create_rtudp_pair})
