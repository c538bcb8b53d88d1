"""udpcom is rtudp's socket endpoint under its older names."""


import pytest
from kit.wire import free_port

from udpcom import UdpCom, UdpComLh

# On machines without the privilege the workers of these tests run without real-time scheduling.
pytestmark = [
    pytest.mark.usefixtures("own_workers"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
]

PATIENCE_NS = 10**10


@pytest.mark.parametrize(("kind", "prefix"), [(UdpCom, "127"), (UdpComLh, "125")])
def test_exchange_by_position_and_by_name(kind, prefix):
    first, second = f"{prefix}.5.64.5", f"{prefix}.5.128.133"
    ports = free_port("127.5.64.5"), free_port("127.5.128.133")
    sender = kind(first, ports[0], second, ports[1], capacity=1000, direction=0)
    receiver = kind(second, ports[1], first, ports[0], capacity=4000, direction=1)
    assert repr(sender) == f"UdpCom[-1]->(127.5.128.133:{ports[1]})"
    assert repr(receiver) == f"UdpCom[-1]<-(127.5.64.5:{ports[0]})"
    for endpoint in (sender, receiver):
        endpoint.init_socket()
        endpoint.start()
    try:
        sender.send_data(b"positional", 0)
        assert receiver.receive_data(PATIENCE_NS)[0] == b"positional"
        sender.send_data(data=b"by name", timestamp=0)
        assert receiver.receive_data(timeout_ns=PATIENCE_NS)[0] == b"by name"
        sender.send_data(b"batch")
        (packet,) = receiver.receive_batch(n_packets=1, timeout_ns=PATIENCE_NS)
        assert packet[0] == b"batch"
        assert receiver.get_packet_stats()["n_packets_rec"] == 3
    finally:
        for endpoint in (sender, receiver):
            endpoint.stop()
            endpoint.close_socket()
