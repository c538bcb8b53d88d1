"""Names, factories and identity of rtudp; nothing here opens a socket."""

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import rtudp
import rtudp.base
import rtudp.emulated
import rtudp.factory
import rtudp.rtudp
import rtudp.rtudp_lh
import rtudp.socket_impl
from rtudp import RtUdpBase, RtUdpEmulated, create_rtudp, create_rtudp_pair

FIRST = ("127.0.64.5", 3043)
SECOND = ("127.0.128.133", 8974)

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


def test_public_names():
    assert rtudp.__version__ == "0.1.0"
    assert rtudp.RtUdpType is rtudp.RtUdpBase is rtudp.base.RtUdpBase
    assert rtudp.RtUdp is rtudp.RtUdpSocket is rtudp.socket_impl.RtUdpSocket
    assert rtudp.RtUdpEmulated is rtudp.emulated.RtUdpEmulated
    assert rtudp.create_rtudp is rtudp.factory.create_rtudp
    assert rtudp.create_rtudp_pair is rtudp.factory.create_rtudp_pair
    assert inspect.isclass(rtudp.rtudp._RtUdpSocket)
    assert inspect.isclass(rtudp.rtudp_lh.RtUdpLh)


def test_imports_and_emulates_without_anything_compiled():
    search = [str(Path(rtudp.__file__).parents[1]), str(Path(udpcom_file()).parents[1])]
    result = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {search!r}\n{WITHOUT_SHMRING}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (result.returncode, result.stdout) == (0, "ok\n"), result.stderr


def udpcom_file():
    import udpcom

    assert udpcom.__file__ is not None
    return udpcom.__file__


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
    assert issubclass(RtUdpEmulated, RtUdpBase)


@pytest.mark.parametrize("name", sorted(RtUdpBase.__abstractmethods__ - {"__init__"}))
def test_both_classes_take_the_same_arguments(name):
    signatures = [
        inspect.signature(getattr(cls, name))
        for cls in (RtUdpBase, rtudp.RtUdpSocket, RtUdpEmulated)
    ]
    assert signatures[0] == signatures[1] == signatures[2]


# --- factories


def test_factory_returns_the_implementation_asked_for():
    endpoint = create_rtudp("emulated", *FIRST, *SECOND, capacity=5, direction=1)
    assert type(endpoint) is RtUdpEmulated
    assert (endpoint.capacity, endpoint.direction) == (5, 1)


def test_factory_returns_sockets():
    assert type(create_rtudp("socket", *FIRST, *SECOND)) is rtudp.RtUdpSocket


@pytest.mark.parametrize("implementation", ["Socket", "", "udp", None])
def test_unknown_implementation_is_a_value_error(implementation):
    with pytest.raises(ValueError, match=rf"^Unknown implementation: {implementation}$"):
        create_rtudp(implementation, *FIRST, *SECOND)
    with pytest.raises(ValueError, match=rf"^Unknown implementation: {implementation}$"):
        create_rtudp_pair(implementation, *FIRST, *SECOND)


def test_pair_faces_each_other_and_defaults_to_one_direction():
    first, second = create_rtudp_pair("emulated", *FIRST, *SECOND, capacity=9)
    assert (first.local_ip, first.local_port) == FIRST
    assert (first.remote_ip, first.remote_port) == SECOND
    assert (second.local_ip, second.local_port) == SECOND
    assert (second.remote_ip, second.remote_port) == FIRST
    assert (first.direction, second.direction) == (0, 1)
    assert (first.capacity, second.capacity) == (9, 9)
    assert not first.is_running()
    assert not second.is_running()


def test_pair_arguments_have_their_documented_names():
    create_rtudp_pair(implementation="emulated", ip1="a", port1=1, ip2="b", port2=2)


@pytest.mark.parametrize("direction", [0, 1, 2])
def test_explicit_direction_applies_to_both(direction):
    pair = create_rtudp_pair("emulated", *FIRST, *SECOND, direction=direction)
    assert [endpoint.direction for endpoint in pair] == [direction, direction]


# --- socket identity


@pytest.mark.parametrize(
    ("direction", "expected"), [(0, 5123953647651349532), (1, -7260687624065353489)]
)
def test_socket_hash_is_the_documented_one(direction, expected):
    endpoint = rtudp.RtUdpSocket("10.0.0.1", 4000, "10.0.0.2", 4001, direction=direction)
    assert hash(endpoint) == expected


@pytest.mark.parametrize(("direction", "arrow"), [(0, "->"), (1, "<-"), (2, "<->")])
def test_repr_of_a_closed_socket(direction, arrow):
    endpoint = rtudp.RtUdpSocket(*FIRST, *SECOND, direction=direction)
    assert repr(endpoint) == f"RtUdp[-1]{arrow}(127.0.128.133:8974)"
