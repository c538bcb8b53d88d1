"""The drop-ins against what is known of their originals, call by call.

Three tables for each original: its names, its signatures, and calls with what comes of them: the repr of a value, or
the name of an exception, with the number of a UDTException. Where ours differs on purpose, the row says so, and the
PARITY page has to say it too, in the words that the row quotes.
"""

# A row of a table is a line.
# ruff: noqa: E501

from __future__ import annotations

import importlib
import inspect
import itertools
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from kit.calls import outcome

import netflux
import rtudp
import udpcom
import udt4
from udt4 import pyudt

# On machines without the privilege the workers of these tests run without real-time scheduling.
pytestmark = [
    pytest.mark.usefixtures("own_workers"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
]

API = Path(__file__).parents[3] / "api"
HERE = "127.0.0.1"


@dataclass(frozen=True)
class Differs:
    """What comes of a call here, and the words of the page that say why."""

    ours: str
    page: str


def check(
    expression: str, original: str, differs: Differs | None, names: dict[str, Any], page: str
) -> None:
    got, _ = outcome(expression, names)
    if differs is None:
        assert got == original, f"{expression}: the original gives {original}"
        return
    assert differs.ours != original, f"{expression}: a difference that is none"
    assert got == differs.ours, expression
    if not API.is_dir():  # against an installed package, away from the pages
        return
    told = " ".join((API / page / "PARITY.md").read_text(encoding="utf-8").split())
    assert differs.page in told, f"{expression}: {page}/PARITY.md does not say {differs.page!r}"


def rows(table: list[tuple[Any, ...]]) -> list[Any]:
    return [pytest.param(*row, *([None] * (3 - len(row))), id=row[0]) for row in table]


# --- names and signatures -----------------------------------------------------------------------

NAMES = {
    "udt4": """
        UDTSOCKET UDTepoll UDTException TRACEINFO UdtSocket Epoll pyudt __author__ __date__ __license__ __all__
        pyudt4_version startup cleanup socket bind bind_to_udp listen accept connect close getpeername getsockname
        setsockopt getsockopt getsockstate send sendmsg recv recvmsg sendfile recvfile perfmon dump_perfmon""",
    "udt4.pyudt": "UdtSocket Epoll socklib udt4 __author__ __date__ __version__",
    "rtudp": "RtUdpBase RtUdpType RtUdpSocket RtUdp RtUdpEmulated create_rtudp create_rtudp_pair __version__",
    "rtudp.base": "RtUdpBase",
    "rtudp.factory": "create_rtudp create_rtudp_pair RtUdpBase RtUdpSocket RtUdpEmulated",
    "rtudp.socket_impl": "RtUdpSocket _RtUdpSocket RtUdpBase",
    "rtudp.emulated": "RtUdpEmulated GlobalQueueRegistry TimedPacket RtUdpBase",
    "rtudp.rtudp": "_RtUdpSocket",
    "rtudp.rtudp_lh": "RtUdpLh port_mapper RtUdp",
    "udpcom": "UdpCom UdpComLh",
    "udpcom.udpcom": "UdpCom",
    "udpcom.udpcom_lh": "UdpComLh UdpCom port_mapper",
    "netflux": """
        NetfluxMain NetfluxData NetfluxReceiver NetfluxSender NetfluxStatisticsTracker NetfluxStatistics
        ReceiverStats SenderStats __version__ __author__""",
    "netflux_main": "NetfluxMain NetfluxData NetfluxReceiver NetfluxSender NetfluxStatisticsTracker main",
    "netflux_receiver": "NetfluxReceiver ReceiverStats",
    "netflux_sender": "NetfluxSender SenderStats",
    "netflux_statistics": "NetfluxStatisticsTracker NetfluxStatistics",
}


@pytest.mark.parametrize("module", NAMES)
def test_names(module: str) -> None:
    found = importlib.import_module(module)
    assert [name for name in NAMES[module].split() if not hasattr(found, name)] == []


SIGNATURES = {
    "udt4.pyudt:UdtSocket": "family=2, type=1, protocol=0, _sock=None",
    "udt4.pyudt:UdtSocket.accept": "self",
    "udt4.pyudt:UdtSocket.bind": "self, arg",
    "udt4.pyudt:UdtSocket.close": "self",
    "udt4.pyudt:UdtSocket.connect": "self, address",
    "udt4.pyudt:UdtSocket.connect_ex": "self, address",
    "udt4.pyudt:UdtSocket.dup": "self",
    "udt4.pyudt:UdtSocket.fileno": "self, udt_fileno=True",
    "udt4.pyudt:UdtSocket.getpeername": "self",
    "udt4.pyudt:UdtSocket.getsockname": "self",
    "udt4.pyudt:UdtSocket.getsockopt": "self, option",
    "udt4.pyudt:UdtSocket.getsockstate": "self",
    "udt4.pyudt:UdtSocket.gettimeout": "self",
    "udt4.pyudt:UdtSocket.listen": "self, backlog",
    "udt4.pyudt:UdtSocket.makefile": "self, mode='r', bufsize=-1",
    "udt4.pyudt:UdtSocket.perfmon": "self, clear=True",
    "udt4.pyudt:UdtSocket.sendall": "self, data, flags=0",
    "udt4.pyudt:UdtSocket.setblocking": "self, flag, flag_recv=None",
    "udt4.pyudt:UdtSocket.setsockopt": "self, option, value",
    "udt4.pyudt:UdtSocket.settimeout": "self, timeo, timeo_recv=None",
    "udt4.pyudt:UdtSocket.shutdown": "self, flags",
    "udt4.pyudt:UdtSocket.read": "self, size",
    "udt4.pyudt:UdtSocket.recv": "self, size",
    "udt4.pyudt:UdtSocket.recvfrom": "self, size",
    "udt4.pyudt:UdtSocket.recvmsg": "self, size",
    "udt4.pyudt:UdtSocket.recvfile": "self, fd",
    "udt4.pyudt:UdtSocket.write": "self, data",
    "udt4.pyudt:UdtSocket.send": "self, data, padding=None",
    "udt4.pyudt:UdtSocket.sendto": "self, data, padding=None",
    "udt4.pyudt:UdtSocket.sendmsg": "self, data, padding=None, ttl=-1, inorder=False",
    "udt4.pyudt:UdtSocket.sendfile": "self, fd",
    "udt4.pyudt:Epoll": "_epoll=None",
    "udt4.pyudt:Epoll.garbage_collect": "self",
    "udt4.pyudt:Epoll.add_usock": "self, udt_socket, events=0",
    "udt4.pyudt:Epoll.add_ssock": "self, sys_socket, events=0",
    "udt4.pyudt:Epoll.remove_usock": "self, udt_socket, events=0",
    "udt4.pyudt:Epoll.remove_ssock": "self, sys_socket, events=0",
    "udt4.pyudt:Epoll.wait": "self, do_uread, do_uwrite, wait, do_sread=False, do_swrite=False",
    "udt4:dump_perfmon": "perf",
    **{
        f"{place}": f"{first}local_ip, local_port, remote_ip, remote_port"
        for place, first in [
            ("rtudp:RtUdpSocket", ""),
            ("rtudp:RtUdpEmulated", ""),
            ("rtudp.rtudp:_RtUdpSocket", ""),
            ("rtudp.rtudp_lh:RtUdpLh", ""),
            ("udpcom:UdpCom", ""),
            ("udpcom:UdpComLh", ""),
            ("rtudp:create_rtudp", "implementation, "),
        ]
    },
    "rtudp:create_rtudp_pair": "implementation, ip1, port1, ip2, port2",
    **{
        f"{place}.{method}": arguments
        for place in (
            *(
                "rtudp:RtUdpBase",
                "rtudp:RtUdpSocket",
                "rtudp:RtUdpEmulated",
                "rtudp.rtudp:_RtUdpSocket",
            ),
            *("rtudp.rtudp_lh:RtUdpLh", "udpcom:UdpCom", "udpcom:UdpComLh"),
        )
        for method, arguments in {
            "send_data": "self, data, timestamp=None",
            "receive_data": "self, timeout_ns",
            "receive_batch": "self, n_packets, timeout_ns",
            "init_socket": "self",
            "close_socket": "self",
            "start": "self",
            "stop": "self",
            "get_packet_stats": "self",
            "get_send_length": "self",
            "get_receive_length": "self",
            "is_running": "self",
            "purge": "self",
            "__hash__": "self",
            "__repr__": "self",
        }.items()
    },
    "rtudp.emulated:GlobalQueueRegistry.get_or_create_queue": "ip, port, capacity=1024",
    "rtudp.emulated:GlobalQueueRegistry.remove_queue": "ip, port",
    "rtudp.emulated:TimedPacket": "timestamp_ns, data",
    "rtudp.rtudp_lh:port_mapper": "ip, port, source_prefix, target_prefix",
    "udpcom.udpcom_lh:port_mapper": "ip, port, source_prefix, target_prefix",
    "netflux:NetfluxData": "value1=0.0, value2=0.0, value3=0, value4=0, flags=0",
    "netflux:NetfluxData.to_bytes": "self",
    "netflux:NetfluxData.from_bytes": "data",
    "netflux:NetfluxData.get_size": "",
    "netflux:NetfluxReceiver": (
        "local_port, data_callback, data_size, watch_interval=1.0, keep_values_on_timeout=False"
    ),
    "netflux:NetfluxReceiver.start": "self",
    "netflux:NetfluxReceiver.stop": "self",
    "netflux:NetfluxReceiver.get_last_data": "self",
    "netflux:NetfluxReceiver.get_stats": "self",
    "netflux:NetfluxSender": (
        "remote_ip, remote_port, data_provider, data_size, send_interval=0.005, peer_socket=None"
    ),
    "netflux:NetfluxSender.start": "self",
    "netflux:NetfluxSender.stop": "self",
    "netflux:NetfluxSender.set_partner_seq_number": "self, seq_num",
    "netflux:NetfluxSender.get_stats": "self",
    "netflux:NetfluxMain": (
        "local_port=2000, remote_ip='172.10.10.10', remote_port=2000, send_interval=0.005, watch_interval=0.03, "
        "keep_values_on_timeout=False"
    ),
    "netflux:NetfluxMain.start": "self",
    "netflux:NetfluxMain.stop": "self",
    "netflux:NetfluxMain.set_send_data": "self",
    "netflux:NetfluxMain.get_recv_data": "self",
    "netflux:NetfluxMain.print_status": "self",
    "netflux:NetfluxMain._on_data_received": "self, data",
    "netflux:NetfluxMain._get_send_data": "self",
    "netflux:NetfluxMain._init_components": "self, keep_values_on_timeout",
    "netflux:NetfluxMain._statistics_loop": "self",
    "netflux:NetfluxStatisticsTracker": "cycle_time_ms=1.0",
    "netflux:NetfluxStatisticsTracker.update": (
        "self, recv_seq_number, send_seq_number, feedback_seq_number"
    ),
    "netflux:NetfluxStatisticsTracker.get_stats": "self",
    "netflux:NetfluxStatisticsTracker.reset": "self",
    "netflux:ReceiverStats": (
        "first_packet_received=False, last_valid_packet_time=0.0, watchdog_timeout=False, total_packets_received=0, "
        "total_packets_rejected=0"
    ),
    "netflux:SenderStats": "total_packets_sent=0, total_send_errors=0, last_send_time=0.0",
    "netflux:NetfluxStatistics": (
        "avg_partner_interval=0.0, avg_own_interval=0.0, last_rtt=0.0, total_partner_lost_packets=0, "
        "total_feedback_lost_packets=0"
    ),
    "netflux_main:main": "",
}


@pytest.mark.parametrize("place", SIGNATURES)
def test_signatures(place: str) -> None:
    module, _, path = place.partition(":")
    found: Any = importlib.import_module(module)
    for name in path.split("."):
        found = getattr(found, name)
    ours = list(inspect.signature(found).parameters.values())
    wanted = [part for part in re.split(r", (?=\w+)", SIGNATURES[place]) if part]
    variable = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    for parameter, part in itertools.zip_longest(ours, wanted):
        if part is None:  # one of our own
            assert parameter.default is not parameter.empty or parameter.kind in variable
            continue
        name, has_default, default = part.partition("=")
        assert parameter.name == name
        assert parameter.kind is parameter.POSITIONAL_OR_KEYWORD
        if has_default:
            assert parameter.default == eval(default)


# --- udt4 ---------------------------------------------------------------------------------------

PORT = Differs("ValueError", "a port outside 0 to 65535")
SET = "udt4.setsockopt"
GET = "udt4.getsockopt"
UDT4: list[tuple[Any, ...]] = [
    ("udt4.pyudt4_version()", "(0, 6)"),
    ("[udt4.socket(2, 1, 7).family, udt4.socket(2, 2, 7).type, udt4.socket(2, 1, 7).protocol]", "[2, 2, 7]"),
    ("udt4.socket(Index(2), Index(1), Index(0)).domain", "2"),
    ("udt4.socket(2, True, False).type", "1"),
    ("udt4.socket(2, 1)", "TypeError"),
    ("udt4.socket(2, 1, 0, 0)", "TypeError"),
    ("udt4.socket(2, 1.0, 0)", "TypeError"),
    ("udt4.socket('2', 1, 0)", "TypeError"),
    ("udt4.socket(10, 1, 0)", "ValueError"),
    ("udt4.socket(2, 3, 0)", "UDTException 5003"),
    ("udt4.bind(s, '127.0.0.1', 0)", "0"),
    ("udt4.bind(s, '127.0.0.1', Index(0))", "0"),
    ("udt4.bind(s, 'localhost', 0)", "ValueError"),
    ("udt4.bind(s, '', 0)", "ValueError"),
    ("udt4.bind(s, '127.0.0.1', '0')", "TypeError"),
    ("udt4.bind(s, '127.0.0.1', 0.0)", "TypeError"),
    ("udt4.bind(s, None, 0)", "TypeError"),
    ("udt4.bind(s)", "TypeError"),
    ("udt4.bind(s, '127.0.0.1', 65536)", "0", PORT),
    ("udt4.bind(s, '127.0.0.1', 2**31)", "TypeError", PORT),
    ("udt4.bind(b, '127.0.0.1', 0)", "UDTException 5000"),
    ("udt4.bind(c, '127.0.0.1', 0)", "UDTException 5000"),
    ("udt4.bind_to_udp(s, 'x')", "TypeError"),
    ("udt4.bind_to_udp(s, udp.fileno())", "None"),
    ("udt4.listen(b, 1)", "0"),
    ("udt4.listen(b, Index(1))", "0"),
    ("udt4.listen(b, True)", "0"),
    ("udt4.listen(l, 5)", "0"),
    ("udt4.listen(b, 0)", "ValueError"),
    ("udt4.listen(b, -1)", "ValueError"),
    ("udt4.listen(b, '1')", "TypeError"),
    ("udt4.listen(b, 1.0)", "TypeError"),
    ("udt4.listen(s, 1)", "UDTException 5005"),
    ("udt4.listen(c, 1)", "UDTException 5005"),
    (f"{SET}(b, 12, True) or udt4.listen(b, 1)", "UDTException 5007"),
    ("udt4.accept(s)", "UDTException 5006"),
    ("udt4.accept(b)", "UDTException 5006"),
    ("udt4.accept(c)", "UDTException 5006"),
    (f"{SET}(l, 2, False) or udt4.accept(l)", "UDTException 6002"),
    ("udt4.connect(s, 'nowhere', 1)", "RuntimeError"),
    ("udt4.connect(s, '127.0.0.1', '1')", "TypeError"),
    ("udt4.connect(s, None, 1)", "TypeError"),
    ("udt4.connect(l, '127.0.0.1', 1)", "UDTException 5002"),
    ("udt4.connect(c, '127.0.0.1', 1)", "UDTException 5002"),
    (f"{SET}(s, 12, True) or udt4.connect(s, '127.0.0.1', 1)", "UDTException 5008"),
    (
        "udt4.connect(s, '127.0.0.1', 2**31)",
        "TypeError",
        Differs("RuntimeError", "a port outside 0 to 65535 | cut to 16 bits | `ValueError`; `connect`: `RuntimeError`"),
    ),
    ("udt4.close(s)", "-1"),
    ("udt4.close(b)", "0"),
    ("[udt4.close(b), udt4.close(b)]", "[0, -1]"),
    ("udt4.close(l)", "0"),
    ("udt4.getpeername(s)", "UDTException 2002"),
    ("udt4.getpeername(b)", "UDTException 2002"),
    ("udt4.getpeername(c) == udt4.getsockname(a)", "True"),
    ("udt4.getsockname(s)", "UDTException 2002"),
    ("udt4.getsockname(b)[0]", "'127.0.0.1'"),
    ("[udt4.close(b), udt4.getsockname(b)]", "UDTException 5004"),
    ("[udt4.close(b), udt4.listen(b, 1)]", "UDTException 5004"),
    ("[udt4.close(b), udt4.getsockstate(b)]", "[0, 8]"),
    ("[udt4.getsockstate(sock) for sock in (s, b, l, c, a)]", "[1, 2, 3, 5, 5]"),
    *[(f"{SET}(s, {option}, 'x')", "TypeError") for option in (0, 1, 2, 4, 5, 6, 7, 8, 9, 12, 13, 14, 15, 16)],
    *[(f"{SET}(s, {option}, 1)", "TypeError") for option in (1, 2, 12, 15, 7)],
    *[(f"{SET}(s, {option}, False)", "0") for option in (1, 2, 12, 15)],
    *[(f"{SET}(s, {option}, 70000)", "0") for option in (4, 5, 6, 8, 9, 13, 14, 16)],
    *[(f"{SET}(s, {option}, 1)", "ValueError") for option in (3, 10, 11, 17, 18, 19, 20, 99, -1)],
    *[(f"{SET}(s, {option}, 0)", "UDTException 5003") for option in (0, 4, 5, 6)],
    *[(f"{SET}(b, {option}, 70000)", "UDTException 5001") for option in (0, 5, 6, 8, 9)],
    (f"{SET}(c, 4, 7)", "UDTException 5002"),
    (f"{SET}(l, 4, 7)", "0"),
    (f"{SET}(l, 12, True)", "0"),
    (f"{SET}(b, 15, True)", "UDTException 5001"),
    (f"{SET}(c, 12, True)", "UDTException 5001"),
    (f"{SET}(b, 4, 7)", "0"),
    (f"{SET}(b, 12, True)", "0"),
    (f"{SET}(s, 0, 75)", "UDTException 5003"),
    (f"{SET}(s, 0, 76)", "0"),
    (f"{SET}(s, 0, True)", "UDTException 5003"),
    (f"{SET}(s, 7, (1, 5))", "0"),
    (f"{SET}(s, 7, [1, 5])", "TypeError"),
    (f"[{SET}(s, 7, (1, 5)), {GET}(s, 7)]", "[0, (1, 5)]"),
    (f"[{SET}(s, 4, 5), {GET}(s, 4)]", "[0, 32]"),
    (f"[{SET}(s, 5, 65536), {GET}(s, 5)]", "[0, 64768]"),
    (f"[{SET}(s, 6, 64), {GET}(s, 6)]", "[0, 47104]"),
    (f"[{SET}(s, 6, 10**8), {GET}(s, 6)]", "[0, 37683200]"),
    (f"[{SET}(s, 0, 9000000), {GET}(s, 0)]", "[0, 65536]", Differs("[0, 65535]", "UDT_MSS above 65,535")),
    *[
        (f"{GET}(s, {option})", default)
        for option, default in {
            0: "1500", 1: "True", 2: "True", 4: "25600", 5: "12058624", 6: "12058624", 7: "(1, 180)", 8: "65536",
            9: "12288000", 12: "False", 13: "-1", 14: "-1", 15: "True", 16: "-1", 17: "1", 19: "0", 20: "0",
        }.items()
    ],
    *[(f"{GET}(s, {option})", "ValueError") for option in (3, 10, 11, 99)],
    (f"{GET}(s, 'x')", "TypeError"),
    (f"{GET}(s, Index(0))", "1500"),
    (f"{SET}(s, 'x', 1)", "TypeError"),
    (f"{SET}(s, Index(1), True)", "0"),
    (f"[{GET}(sock, 17) for sock in (s, b, l, c)]", "[1, 2, 3, 5]"),
    (f"{GET}(c, 18)", "4"),
    *[(f"udt4.{call}(s, {argument})", "UDTException 2002") for call, argument in [
        ("send", "b'x'"), ("recv", "1"), ("send", "'x', 1"), ("recv", "Index(1)"),
    ]],
    ("udt4.sendmsg(m, b'x')", "UDTException 2002"),
    ("udt4.recvmsg(m, 1)", "UDTException 2002"),
    ("udt4.perfmon(s)", "UDTException 2002"),
    *[(f"udt4.sendmsg({sock}, b'x')", "UDTException 5009") for sock in "sblc"],
    *[(f"udt4.recvmsg({sock}, 1)", "UDTException 5009") for sock in "sbl"],
    ("udt4.send(m, b'x')", "UDTException 5010"),
    ("udt4.recv(m, 1)", "UDTException 5010"),
    ("udt4.recvmsg(c, 1)", "UDTException 5009"),
    ("udt4.sendmsg(c, b'x', 1, -1, True)", "UDTException 5009"),
    ("udt4.send(c, b'abc')", "3"),
    ("udt4.send(c, 'abc')", "3"),
    ("udt4.send(c, b'abc', -1)", "3"),
    ("udt4.send(c, b'abc', 3)", "3"),
    ("udt4.send(c, b'')", "0"),
    ("udt4.send(c, 7)", "TypeError"),
    ("udt4.send(c, None)", "TypeError"),
    ("udt4.send(c, b'x', 'x')", "TypeError"),
    ("udt4.send(c, bytearray(b'ab'))", "TypeError", Differs("2", "`str` (UTF-8) and anything bytes-like")),
    ("udt4.send(c, b'ab', 5)", "ValueError", Differs("5", "padded with zeros; above the send buffer `ValueError`")),
    ("udt4.recv(c, 'x')", "TypeError"),
    ("udt4.recv(c, 1.0)", "TypeError"),
    ("udt4.recv(c, 0)", "''", Differs("b''", "`recv`, `recvmsg` | `str` (UTF-8), other data is lost | `bytes`")),
    ("udt4.recv(c, -1)", "MemoryError", Differs("ValueError", "a negative size | `MemoryError` | `ValueError`")),
    (f"{SET}(c, 14, 1) or udt4.recv(c, 1)", "UDTException 6003"),
    (f"{SET}(c, 2, False) or udt4.recv(c, 1)", "UDTException 6002"),
    ("type(udt4.perfmon(c)).__name__", "'TRACEINFO'"),
    ("udt4.perfmon(c, False).pktSndLossTotal", "0"),
    ("udt4.TRACEINFO().msRTT", "0.0"),
    ("setattr(udt4.TRACEINFO(), 'msRTT', 1)", "AttributeError"),
    ("udt4.dump_perfmon(udt4.TRACEINFO())", "None"),
    ("udt4.dump_perfmon(7)", "AttributeError"),
    ("issubclass(udt4.UDTException, RuntimeError)", "True"),
    ("udt4.UDTException(5004, 'text').args", "(5004, 'text')"),
    ("e.add_usock(s)", "0"),
    ("e.add_usock(s, 1)", "0"),
    ("e.add_usock(s, 13)", "0"),
    ("e.add_usock(c, Index(1))", "0"),
    ("e.add_usock(s, 'x')", "TypeError"),
    ("e.add_usock(s, 2)", "0", Differs("ValueError", "`flags` without a known bit")),
    ("[udt4.close(b), e.add_usock(b)]", "UDTException 5004"),
    ("[e.add_usock(s), e.remove_usock(s)]", "[0, 0]"),
    ("[e.add_usock(s), e.remove_usock(s, 1)]", "[0, 0]"),
    ("e.add_ssock(udp.fileno())", "None"),
    ("e.add_ssock(udp.fileno(), 1)", "None"),
    ("e.add_ssock(10**6)", "UDTException 0", Differs("UDTException 5003", "a descriptor that is not open")),
    ("e.add_ssock('x')", "TypeError"),
    ("[e.add_ssock(udp.fileno()), e.add_ssock(udp.fileno())]", "UDTException 0", Differs("[None, None]", "the same descriptor twice")),
    ("[e.add_ssock(udp.fileno()), e.remove_ssock(udp.fileno())]", "[None, None]"),
    ("e.wait(True, True, 0)", "UDTException 6003"),
    ("e.wait(True, True, 1)", "UDTException 6003"),
    ("e.wait(True, True, Index(0))", "UDTException 6003"),
    ("e.wait(True, True, -1)", "UDTException 5003"),
    ("e.wait(False, False, 0)", "UDTException 6003"),
    ("e.wait(True, True, 0, True, True)", "UDTException 6003"),
    ("e.wait(True, True)", "TypeError"),
    ("e.wait(True, True, 'x')", "TypeError"),
    ("e.wait(True, True, 0.5)", "TypeError"),
    ("[e.add_usock(c, 4), e.wait(False, True, 9999) == (set(), {c}, set(), set())]", "[0, True]"),
    ("[e.add_usock(c, 1), e.wait(True, True, 0)]", "UDTException 6003"),
    ("[e.add_usock(s), e.wait(True, True, 0)]", "UDTException 6003"),
]  # fmt: skip


@pytest.fixture(scope="module")
def connected(own_workers: None) -> Iterator[list[udt4.UDTSOCKET]]:
    server, client = udt4.socket(2, 1, 0), udt4.socket(2, 1, 0)
    udt4.bind(server, HERE, 0)
    udt4.listen(server, 10)
    udt4.connect(client, *udt4.getsockname(server))
    accepted, _ = udt4.accept(server)
    yield [server, client, accepted]
    udt4.setsockopt(client, udt4.UDT_LINGER, (0, 0))
    for sock in (client, accepted, server):
        udt4.close(sock)


@pytest.fixture
def udt_names(connected: list[udt4.UDTSOCKET]) -> Iterator[dict[str, Any]]:
    """s: new; b: bound; l: listens; c, a: connected; m: of messages; e: an epoll."""
    _, client, accepted = connected
    fresh = [udt4.socket(2, 1, 0) for _ in range(3)]
    for sock in fresh[1:]:
        udt4.bind(sock, HERE, 0)
    udt4.listen(fresh[2], 1)
    names = dict(zip("sbl", fresh, strict=True)) | {"c": client, "a": accepted}
    names |= {"m": udt4.socket(2, 2, 0), "e": udt4.UDTepoll(), "udt4": udt4, "pyudt": pyudt}
    udt4.setsockopt(client, udt4.UDT_RCVSYN, True)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind((HERE, 0))
        yield names | {"udp": udp, "port": udp.getsockname()[1]}
    for sock in (*fresh, names["m"]):
        udt4.close(sock)


@pytest.mark.parametrize(("expression", "original", "differs"), rows(UDT4))
def test_udt4(
    expression: str, original: str, differs: Differs | None, udt_names: dict[str, Any]
) -> None:
    check(expression, original, differs, udt_names, "udt4")


W, A = "pyudt.UdtSocket(_sock=c)", "pyudt.UdtSocket(_sock=a)"
PYUDT: list[tuple[Any, ...]] = [
    ("pyudt.UdtSocket().type", "1"),
    ("[pyudt.UdtSocket(2, 2, 5).type, pyudt.UdtSocket(2, 2, 5).proto, pyudt.UdtSocket().family]", "[2, 5, 2]"),
    ("pyudt.UdtSocket(10)", "ValueError"),
    ("pyudt.UdtSocket(_sock=s).UDTSOCKET is s", "True"),
    ("pyudt.UdtSocket(_sock=s).dup().UDTSOCKET is s", "True"),
    ("pyudt.UdtSocket(_sock=s).fileno() == s.UDTSOCKET", "True"),
    ("pyudt.UdtSocket(_sock=s).fileno(False) == s.UDTSOCKET", "AssertionError",
     Differs("True", "`UdtSocket.fileno(False)` | `AssertionError` | the same number")),
    ("type(pyudt.UdtSocket(_sock=s).fileno()).__name__", "'int'"),
    ("pyudt.UdtSocket().bind(('127.0.0.1', 0))", "None"),
    ("pyudt.UdtSocket().bind(['127.0.0.1', '0'])", "None"),
    ("pyudt.UdtSocket().bind(('127.0.0.1', 0.0, 'more'))", "None"),
    ("pyudt.UdtSocket().bind(('127.0.0.1', 'x'))", "ValueError"),
    ("pyudt.UdtSocket().bind(('localhost', 0))", "ValueError"),
    ("pyudt.UdtSocket().bind(7)", "TypeError"),
    ("pyudt.UdtSocket().bind(('127.0.0.1',))", "IndexError", Differs("TypeError", "an address with no port")),
    ("pyudt.UdtSocket().bind(udp)", "None"),
    ("pyudt.UdtSocket().connect(('nowhere', 1))", "RuntimeError"),
    ("pyudt.UdtSocket().connect_ex(('nowhere', 1))", "RuntimeError"),
    ("pyudt.UdtSocket().connect(('127.0.0.1', 'x'))", "TypeError",
     Differs("ValueError", "converted, as in `bind`")),
    (f"{W}.connect_ex(('127.0.0.1', 1))", "5002"),
    ("pyudt.UdtSocket().close()", "None"),
    ("pyudt.UdtSocket(_sock=b).listen(1)", "None"),
    ("pyudt.UdtSocket().listen(0)", "ValueError"),
    ("pyudt.UdtSocket().setsockopt(1, False)", "None"),
    ("pyudt.UdtSocket().getsockopt(1)", "True"),
    ("pyudt.UdtSocket().getsockstate()", "1"),
    ("pyudt.UdtSocket().setblocking(False)", "None"),
    ("pyudt.UdtSocket().setblocking(True, False)", "None"),
    ("pyudt.UdtSocket().settimeout(5)", "None"),
    ("pyudt.UdtSocket().settimeout(5, 6)", "None"),
    ("pyudt.UdtSocket().settimeout(0.5)", "TypeError"),
    ("pyudt.UdtSocket().gettimeout()", "TypeError", Differs("(-1, -1)", "`gettimeout` | `TypeError`")),
    ("pyudt.UdtSocket().getpeername()", "UDTException 2002"),
    ("pyudt.UdtSocket().send(b'x')", "UDTException 2002"),
    (f"{W}.send(b'abc')", "3"),
    (f"{W}.send('abc', 3)", "3"),
    (f"{W}.write(b'abc')", "3"),
    (f"{W}.sendall(b'abc')", "3"),
    (f"{W}.sendall(b'abc', 0)", "3"),
    (f"{W}.sendto(b'abc')", "UDTException 5009"),
    (f"{W}.sendmsg(b'abc')", "UDTException 5009"),
    (f"{W}.recvfrom(1)", "UDTException 5009"),
    (f"{W}.recvmsg(1)", "UDTException 5009"),
    (f"{W}.perfmon().pktRetransTotal", "0"),
    (f"{W}.perfmon(clear=False).pktRetransTotal", "0"),
    ("pyudt.Epoll().add_usock(pyudt.UdtSocket(_sock=s))", "0"),
    ("pyudt.Epoll().add_usock(udt_socket=pyudt.UdtSocket(_sock=s), events=1)", "0"),
    ("pyudt.Epoll().add_ssock(sys_socket=udp, events=1)", "None"),
    ("pyudt.Epoll().remove_ssock(udp)", "AssertionError"),
    ("[p := pyudt.Epoll(), p.add_ssock(udp), p.remove_ssock(udp)][1:]", "[None, None]"),
    ("[p := pyudt.Epoll(), w := pyudt.UdtSocket(_sock=s), p.add_usock(w), p.remove_usock(w)][2:]", "[0, 0]"),
    ("pyudt.Epoll().wait(True, False, 0)", "UDTException 6003"),
    ("pyudt.Epoll().wait(do_uread=True, do_uwrite=False, wait=0, do_sread=True, do_swrite=False)",
     "UDTException 6003"),
    ("pyudt.Epoll().wait(True, True, -1)", "UDTException 5003"),
    ("[p := pyudt.Epoll(), pyudt.Epoll(p).epoll is p.epoll][1]", "True"),
    ("[p := pyudt.Epoll(), pyudt.Epoll(_epoll=p).wait(True, False, 0)]", "UDTException 6003"),
    ("pyudt.Epoll(7)", "AttributeError", Differs("TypeError", "something else instead of a socket or an epoll")),
    ("pyudt.Epoll().add_usock(7)", "AttributeError",
     Differs("TypeError", "something else instead of a socket or an epoll")),
    ("pyudt.Epoll().add_ssock(7)", "AttributeError",
     Differs("TypeError", "something else instead of a socket or an epoll")),
    ("pyudt.Epoll().garbage_collect()", "AttributeError", Differs("None", "`Epoll.garbage_collect`")),
    ("pyudt.socklib.AF_INET", "<AddressFamily.AF_INET: 2>"),
    ("pyudt.__version__", "(0, 6)"),
]  # fmt: skip


@pytest.mark.parametrize(("expression", "original", "differs"), rows(PYUDT))
def test_pyudt(
    expression: str, original: str, differs: Differs | None, udt_names: dict[str, Any]
) -> None:
    check(expression, original, differs, udt_names, "udt4")


# --- rtudp --------------------------------------------------------------------------------------

OPTIONAL = Differs("None", "timestamp optional | TypeError, or garbage")
ANY_BYTES = Differs("None", "any bytes-like object up to 65 507 bytes")
# Expression; of the socket, of the emulation; how each differs.
RTUDP: list[tuple[Any, ...]] = [
    ("new().init_socket()", "None", "None"),
    ("opened().init_socket()", "OSError", "OSError"),
    ("new().start()", "OSError", "OSError"),
    ("opened().start()", "None", "None"),
    ("running().start()", "ValueError", "ValueError"),
    ("[x := running(), x.close_socket(), x.start()]", "ValueError", "ValueError"),
    ("new().stop()", "None", "None"),
    ("[x := running(), x.stop(), x.stop(), x.is_running()][1:]", "[None, None, False]", "[None, None, False]"),
    ("new().close_socket()", "None", "None"),
    ("running().close_socket()", "None", "None"),
    ("new().is_running()", "False", "False"),
    ("running().is_running()", "True", "True"),
    ("new().purge()", "OSError", "None", Differs("None", "before `init_socket` OSError")),
    ("running().purge()", "None", "None"),
    ("new().get_send_length()", "0", "0"),
    ("new().get_receive_length()", "0", "0"),
    ("opened().get_receive_length()", "0", "0"),
    ("opened().send_data(b'x', 0)", "None", "None"),
    ("opened().send_data(b'x', -1)", "None", "None"),
    ("opened().send_data(b'x', True)", "None", "None"),
    ("opened().send_data(b'', 0)", "None", "None"),
    ("opened().send_data(b'x')", "TypeError", "None", OPTIONAL),
    ("opened().send_data(b'x', None)", "TypeError", "None", OPTIONAL),
    ("opened().send_data(data=b'x', timestamp=0)", "None", "None"),
    ("new().send_data(b'x', 0)", "None", "OSError"),
    ("opened().send_data(b'x', 1.5)", "TypeError", "None"),
    ("opened().send_data('x', 0)", "TypeError", "None"),
    ("opened().send_data([1], 0)", "TypeError", "None"),
    ("opened().send_data(None, 0)", "TypeError", "None"),
    ("opened().send_data(bytearray(b'x'), 0)", "TypeError", "None", ANY_BYTES),
    ("opened().send_data(memoryview(b'x'), 0)", "None", "None"),
    ("[x := opened(), x.send_data(b'x', Index(0)), x.get_send_length()][1:]", "[None, 1]", "[None, 1]"),
    ("opened().receive_data(0)", "TimeoutError", "TimeoutError"),
    ("opened().receive_data(timeout_ns=1)", "TimeoutError", "TimeoutError"),
    ("opened().receive_data(-1)", "TimeoutError", "ValueError"),
    ("opened().receive_data('x')", "TypeError", "TypeError"),
    ("opened().receive_data(1.5)", "TypeError", "TimeoutError"),
    ("opened().receive_data(Index(0))", "TimeoutError", "TypeError",
     None, Differs("TimeoutError", "times that are not numbers but have `__index__`")),
    ("new().receive_data(0)", "TimeoutError", "OSError"),
    ("opened().receive_batch(0, 0)", "[]", "[]"),
    ("opened().receive_batch(n_packets=1, timeout_ns=1)", "TimeoutError", "TimeoutError"),
    ("opened().receive_batch(1, 0)", "TimeoutError", "TimeoutError"),
    ("opened().receive_batch(1, 1.5)", "TypeError", "TimeoutError"),
    ("opened().receive_batch(1.5, 0)", "TypeError", "TypeError"),
    ("opened().receive_batch(-1, 0)", "MemoryError", "[]"),
    ("new().receive_batch(1, 0)", "TimeoutError", "OSError"),
    ("new(direction=1).direction", "AttributeError", "1", Differs("1", "same attributes")),
    ("new(colour=1).is_running()", "TypeError", "False"),
    ("new(direction=2).is_running()", "SystemError", "False", Differs("False", "`direction=2` refused")),
    ("new(direction=3)", "SystemError", "RtUdpEmulated", Differs("ValueError", "socket `direction=3`"),
     Differs("ValueError", "`direction` other than 0, 1, 2")),
    ("new(name=7).is_running()", "TypeError", "False"),
    ("new(cpu='x').is_running()", "TypeError", "False"),
    ("new(capacity=2**31).is_running()", "OverflowError", "False"),
    ("new(capacity=8.0).is_running()", "TypeError", "False"),
    ("new(timeout=1.5).is_running()", "TypeError", "False", Differs("False", "socket: `timeout` that is not an integer")),
    ("make('127.0.0.1', 2**31, '127.0.0.1', 1).is_running()", "OverflowError", "False"),
    ("make('127.0.0.1', 1, '127.0.0.1', -2**31 - 1).is_running()", "OverflowError", "False"),
    ("make('127.0.0.1', '1', '127.0.0.1', 1).is_running()", "TypeError", "False"),
    ("make(7, 1, '127.0.0.1', 1).is_running()", "TypeError", "False"),
    ("make('localhost', 1, '127.0.0.1', 1).is_running()", "False", "False",
     Differs("ValueError", "socket, invalid address text")),
    ("make('127.0.0.1', 1, '127.0.0.1')", "TypeError", "TypeError"),
    ("repr(make('127.0.0.1', 1, '127.0.0.2', 2))", "'RtUdp[-1]->(127.0.0.2:2)'",
     "'RtUdpEmulated[send](127.0.0.1:1)'"),
    ("repr(make('127.0.0.1', 1, '127.0.0.2', 2, direction=1))", "'RtUdp[-1]<-(127.0.0.2:2)'",
     "'RtUdpEmulated[recv](127.0.0.1:1)'"),
    ("hash(make('10.0.0.1', 4000, '10.0.0.2', 4001)) == "
     "(5123953647651349532 if kind == 'socket' else hash(('10.0.0.1', 4000, '10.0.0.2', 4001)))", "True", "True"),
    ("{'n_packets_req', 'n_packets_sent', 'n_packets_rec', 'n_rx_packets_dropped', 'max_latency_ns', 'min_latency_ns',"
     " 'total_latency_ns', 'n_send_ticks', 'n_rec_ticks'} <= new().get_packet_stats().keys()", "True", "True"),
    ("rtudp.create_rtudp(kind, '127.0.0.1', 1, '127.0.0.1', 2).is_running()", "False", "False"),
    ("[x.is_running() for x in rtudp.create_rtudp_pair(kind, '127.0.0.1', 1, '127.0.0.1', 2)]",
     "[False, False]", "[False, False]"),
    ("rtudp.create_rtudp('other', '127.0.0.1', 1, '127.0.0.1', 2)", "ValueError", "ValueError"),
]  # fmt: skip


@pytest.mark.parametrize("row", [pytest.param(row, id=row[0]) for row in RTUDP])
@pytest.mark.parametrize("kind", ["socket", "emulated"])
def test_rtudp(kind: str, row: tuple[Any, ...]) -> None:
    made: list[rtudp.RtUdpBase] = []

    def make(*addresses: Any, **options: Any) -> rtudp.RtUdpBase:
        made.append(rtudp.create_rtudp(kind, *addresses, **options))
        return made[-1]

    def new(**options: Any) -> rtudp.RtUdpBase:
        return make(HERE, 0, HERE, 9, **options)

    def opened() -> rtudp.RtUdpBase:
        endpoint = new()
        endpoint.init_socket()
        return endpoint

    def running() -> rtudp.RtUdpBase:
        endpoint = opened()
        endpoint.start()
        return endpoint

    which = ["socket", "emulated"].index(kind)
    differs = ([*row[3:], None, None])[which]
    names = {
        "make": make,
        "new": new,
        "opened": opened,
        "running": running,
        "kind": kind,
        "rtudp": rtudp,
    }
    try:
        check(row[0], row[1 + which], differs, names, "rtudp")
    finally:
        for endpoint in made:
            endpoint.stop()
            endpoint.close_socket()


UDPCOM: list[tuple[Any, ...]] = [
    ("repr(udpcom.UdpCom('127.0.0.1', 1, '127.0.0.2', 2))", "'UdpCom[-1]->(127.0.0.2:2)'"),
    ("hash(udpcom.UdpCom('10.0.0.1', 4000, '10.0.0.2', 4001))", "5123953647651349532"),
    ("hash(udpcom.UdpCom('10.0.0.1', 4000, '10.0.0.2', 4001, direction=1))", "-7260687624065353489"),
    ("udpcom.UdpCom('127.0.0.1', 1, '127.0.0.2', 2).receive_data(0)", "TimeoutError"),
    ("udpcom.UdpCom('127.0.0.1', 1, '127.0.0.2', 2).receive_data(timeout_ns=0)", "TypeError",
     Differs("TimeoutError", "arguments by position or by name")),
    ("udpcom.UdpCom('127.0.0.1', 1, '127.0.0.2', 2).start()", "OSError"),
    ("udpcom.UdpCom('127.0.0.1', 1, '127.0.0.2', 2).is_running()", "False"),
    ("udpcom.UdpCom('127.0.0.1', 2**31, '127.0.0.2', 2)", "OverflowError"),
    ("udpcom.UdpComLh('127.0.0.1', 1, '125.0.0.2', 2)", "AssertionError"),
    ("udpcom.UdpComLh('125.0.0.1', 1, '127.0.0.2', 2)", "AssertionError"),
    ("repr(udpcom.UdpComLh('125.0.0.1', 1, '125.0.0.2', 2))", "'UdpCom[-1]->(127.0.0.2:2)'"),
    ("udpcom.UdpComLh('125.0.0.1', 1, '125.0.0.2', 2).is_running()", "False"),
    ("udpcom.udpcom_lh.port_mapper('125.0.125.1', 7, '125', '127')", "('127.0.125.1', 7)"),
    ("udpcom.udpcom_lh.port_mapper('10.0.0.1', 7, '125', '127')", "AssertionError"),
]  # fmt: skip


@pytest.mark.parametrize(("expression", "original", "differs"), rows(UDPCOM))
def test_udpcom(expression: str, original: str, differs: Differs | None) -> None:
    check(expression, original, differs, {"udpcom": udpcom}, "rtudp")


# --- netflux ------------------------------------------------------------------------------------

NOT_ASSIGNED = Differs("AttributeError", "AttributeError: they are the worker's")
NETFLUX: list[tuple[Any, ...]] = [
    ("NetfluxData()", "NetfluxData(value1=0.0, value2=0.0, value3=0, value4=0, flags=0)"),
    ("NetfluxData.get_size()", "20"),
    ("NetfluxData(1.0, 2.0, 3, 4, 5).to_bytes().hex()", "'0000803f00000040030000000400000005000000'"),
    ("NetfluxData.from_bytes(b'')", "NetfluxData(value1=0.0, value2=0.0, value3=0, value4=0, flags=0)"),
    ("NetfluxData.from_bytes(bytes(16) + b'\\x07' + bytes(9)).flags", "7"),
    ("NetfluxData.from_bytes(bytearray(8) + b'\\x01').value3", "1"),
    ("NetfluxData(value3=-1).to_bytes()", "Exception"),
    ("receiver().error", "True"),
    ("receiver().error_message", "'Not started'"),
    ("[receiver().partner_seq_number, receiver().current_feedback_seq_number]", "[0, 0]"),
    ("receiver().get_last_data()", repr(bytes(4))),
    ("receiver()._socket", "None"),
    ("receiver().stop()", "None"),
    ("receiver().data_callback is None", "False"),
    ("[receiver().watch_interval, receiver().keep_values_on_timeout, receiver().data_size]", "[1.0, False, 4]"),
    ("receiver().get_stats().total_packets_received", "0"),
    ("receiver().stats.total_packets_rejected", "0"),
    ("setattr(receiver(), 'error', False)", "None", NOT_ASSIGNED),
    ("receiver(70000).start()", "False"),
    ("receiver('x').start()", "False"),
    ("sender().error", "False"),
    ("sender().error_message", "''"),
    ("[sender().sequence_number, sender().partner_seq_number]", "[0, 0]"),
    ("[sender().send_interval, sender().peer_socket]", "[0.005, None]"),
    ("sender().stop()", "None"),
    ("sender().set_partner_seq_number(7)", "None"),
    ("[x := sender(), x.set_partner_seq_number(seq_num=7), x.partner_seq_number][1:]", "[None, 7]"),
    ("sender().get_stats().total_packets_sent", "0"),
    ("sender().data_provider()", repr(b"data")),
    ("main().data_send == main().data_recv == NetfluxData()", "True"),
    ("[main().local_port, main().remote_ip, main().remote_port]", "[2000, '172.10.10.10', 2000]"),
    ("[main().send_interval, main().watch_interval]", "[0.005, 0.03]"),
    ("main().set_send_data(value1=1.0)", "None"),
    ("main().set_send_data(nothing=1)", "None"),
    ("main().set_send_data(1)", "TypeError"),
    ("[x := main(), x.set_send_data(value3=5, flags=1), x.data_send.value3, x.data_send.flags][1:]", "[None, 5, 1]"),
    ("[x := main(), x.get_recv_data() == x.data_recv, x.get_recv_data() is x.data_recv][1:]", "[True, False]"),
    ("main().stop()", "None"),
    ("main().print_status()", "None"),
    ("main().receiver.error_message", "'Not started'"),
    ("main().receiver.data_callback is None", "False"),
    ("len(main().sender.data_provider())", "20"),
    ("len(main()._get_send_data())", "20"),
    ("[x := main(), x._on_data_received(NetfluxData(value4=3).to_bytes()), x.data_recv.value4][1:]", "[None, 3]"),
    ("[main().receiver.data_size, main().sender.data_size]", "[20, 20]"),
    ("type(main().statistics).__mro__[-2].__name__", "'NetfluxStatisticsTracker'"),
    ("main(local_port=70000).start()", "False"),
    ("tracker().cycle_time_ms", "1.0"),
    ("tracker(5.0).cycle_time_ms", "5.0"),
    ("tracker().update(1, 2, 3)", "None"),
    ("tracker().update(recv_seq_number=1, send_seq_number=2, feedback_seq_number=3)", "None"),
    ("tracker().get_stats().last_rtt", "0.0"),
    ("tracker().stats.total_partner_lost_packets", "0"),
    ("tracker().reset()", "None"),
]  # fmt: skip


@pytest.mark.parametrize(("expression", "original", "differs"), rows(NETFLUX))
def test_netflux(expression: str, original: str, differs: Differs | None) -> None:
    names: dict[str, Any] = {
        "NetfluxData": netflux.NetfluxData,
        "receiver": lambda port=0: netflux.NetfluxReceiver(port, print, 4),
        "sender": lambda: netflux.NetfluxSender(HERE, 9, lambda: b"data", 4),
        "main": netflux.NetfluxMain,
        "tracker": netflux.NetfluxStatisticsTracker,
    }
    check(expression, original, differs, names, "netflux")
