"""udpcom is rtudp's socket endpoint under its older names."""

import socket
import time

import pytest
from kit.waiting import until
from kit.wire import free_port

import rtudp.rtudp_lh
import udpcom
from rtudp.rtudp import _RtUdpSocket
from udpcom import UdpCom, UdpComLh
from udpcom.udpcom_lh import port_mapper

# On machines without the privilege the workers of these tests run without real-time scheduling.
pytestmark = [
    pytest.mark.usefixtures("own_workers"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
]

SECOND_NS = 1_000_000_000


def exchange(sender, receiver):
    for endpoint in (sender, receiver):
        endpoint.init_socket()
        endpoint.start()
    try:
        sender.send_data(b"positional", 0)
        assert receiver.receive_data(10 * SECOND_NS)[0] == b"positional"
        sender.send_data(data=b"by name", timestamp=0)
        assert receiver.receive_data(timeout_ns=10 * SECOND_NS)[0] == b"by name"
        sender.send_data(b"batch")
        assert receiver.receive_batch(n_packets=1, timeout_ns=10 * SECOND_NS)[0][0] == b"batch"
        assert receiver.get_packet_stats()["n_packets_rec"] == 3
    finally:
        for endpoint in (sender, receiver):
            endpoint.stop()
            endpoint.close_socket()


def test_names():
    assert udpcom.__version__ == "0.0.1"
    assert issubclass(UdpCom, _RtUdpSocket)


def test_helper_asserts_the_prefix():
    with pytest.raises(AssertionError):
        UdpComLh("127.0.0.1", 1, "125.0.0.1", 2)


def test_port_mapper_maps_a_prefix_and_keeps_the_port():
    assert port_mapper("125.1.125.2", 7, "125", "127") == ("127.1.125.2", 7)
    assert port_mapper("10.1.1.1", 7, source_prefix="10.1", target_prefix="10.2") == (
        "10.2.1.1",
        7,
    )
    with pytest.raises(AssertionError):
        port_mapper("127.0.0.1", 7, "125", "127")
    assert rtudp.rtudp_lh.port_mapper is port_mapper


def test_exchange_by_position_and_by_name():
    first, second = "127.5.64.5", "127.5.128.133"
    ports = free_port(first), free_port(second)
    sender = UdpCom(first, ports[0], second, ports[1], capacity=1000, direction=0)
    receiver = UdpCom(second, ports[1], first, ports[0], capacity=4000, direction=1)
    assert repr(sender) == f"UdpCom[-1]->({second}:{ports[1]})"
    assert repr(receiver) == f"UdpCom[-1]<-({first}:{ports[0]})"
    exchange(sender, receiver)


def test_options_are_keyword_only():
    with pytest.raises(TypeError):
        UdpCom("127.0.0.1", 1, "127.0.0.1", 2, 1)


def test_hash_is_that_of_the_socket_type():
    assert hash(UdpCom("10.0.0.1", 4000, "10.0.0.2", 4001)) == 5123953647651349532


def test_helper_maps_125_to_127():
    first, second = "125.5.64.5", "125.5.128.133"
    ports = free_port("127.5.64.5"), free_port("127.5.128.133")
    exchange(
        UdpComLh(first, ports[0], second, ports[1]),
        UdpComLh(second, ports[1], first, ports[0], direction=1),
    )


def is_bound(ip, port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        try:
            other.bind((ip, port))
        except OSError:
            return True
    return False


def test_what_the_helper_wraps_keeps_it_open():
    port = free_port("127.5.64.5")
    endpoint = UdpComLh("125.5.64.5", port, "125.5.128.133", 9)
    inner = endpoint._com
    assert type(inner) is UdpCom
    assert inner is endpoint._com
    inner.init_socket()
    del endpoint
    time.sleep(0.2)  # in which the endpoint would be closed
    assert is_bound("127.5.64.5", port)
    del inner
    until(lambda: not is_bound("127.5.64.5", port))
