"""What udt4 exports: numbers, exceptions, the record of perfmon.

Names, signatures and single calls of the original are in test_parity_tables.py.
"""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from types import SimpleNamespace

import pytest

import udt4
from udt4 import pyudt

# Each name, and its number in the original.
NUMBERS = """
    UDT_MSS 0 UDT_SNDSYN 1 UDT_RCVSYN 2 UDT_CC 3 UDT_FC 4 UDT_SNDBUF 5 UDT_RCVBUF 6 UDT_LINGER 7
    UDP_SNDBUF 8 UDP_RCVBUF 9 UDT_MAXMSG 10 UDT_MSGTTL 11 UDT_RENDEZVOUS 12 UDT_SNDTIMEO 13
    UDT_RCVTIMEO 14 UDT_REUSEADDR 15 UDT_MAXBW 16 UDT_STATE 17 UDT_EVENT 18 UDT_SNDDATA 19
    UDT_RCVDATE 20 UDT_RCVDATA 20 UDT_EPOLL_IN 1 UDT_EPOLL_OUT 4 UDT_EPOLL_ERR 8 UDTSTATUS_INIT
    1 UDTSTATUS_OPENED 2 UDTSTATUS_LISTENING 3 UDTSTATUS_CONNECTING 4 UDTSTATUS_CONNECTED 5
    UDTSTATUS_BROKEN 6 UDTSTATUS_CLOSING 7 UDTSTATUS_CLOSED 8 UDTSTATUS_NONEXIST 9 SUCCESS 0
    ECONNSETUP 1000 ENOSERVER 1001 ECONNREJ 1002 ESOCKFAIL 1003 ESECFAIL 1004 ECONNFAIL 2000
    ECONNLOST 2001 ENOCONN 2002 ERESOURCE 3000 ETHREAD 3001 ENOBUF 3002 EFILE 4000 EINVRDOFF
    4001 ERDPERM 4002 EINVWROFF 4003 EWRPERM 4004 EINVOP 5000 EBOUNDSOCK 5001 ECONNSOCK 5002
    EINVPARAM 5003 EINVSOCK 5004 EUNBOUNDSOCK 5005 ENOLISTEN 5006 ERDVNOSERV 5007 ERDVUNBOUND
    5008 ESTREAMILL 5009 EDGRAMILL 5010 EDUPLISTEN 5011 ELARGEMSG 5012 EINVPOLLID 5013
    EASYNCFAIL 6000 EASYNCSND 6001 EASYNCRCV 6002 ETIMEOUT 6003 EPEERERR 7000 EUNKNOWN -1"""
CONSTANTS = {name: int(number) for name, number in re.findall(r"(\S+)\s+(\S+)", NUMBERS)}
FUNCTIONS = """
    accept bind bind_to_udp cleanup close connect dump_perfmon getpeername getsockname
    getsockopt getsockstate listen perfmon pyudt4_version recv recvfile recvmsg send sendfile
    sendmsg setsockopt socket startup"""
TOTALS = """
    pktSent pktRecv pktSndLoss pktRcvLoss pktRetrans pktSentACK pktRecvACK pktSentNAK pktRecvNAK"""
FLOATS = """
    mbpsSendRate mbpsRecvRate usPktSndPeriod msRTT mbpsBandwidth"""
INTS = """
    msTimeStamp pktFlowWindow pktCongestionWindow pktFlightSize byteAvailSndBuf byteAvailRcvBuf"""
COUNTS = [*INTS.split(), *TOTALS.split(), *(f"{name}Total" for name in TOTALS.split())]
ZEROS = dict.fromkeys(COUNTS, 0) | dict.fromkeys(FLOATS.split(), 0.0)


@pytest.mark.parametrize(("name", "number"), CONSTANTS.items())
def test_constants_have_the_numbers_of_the_original(name: str, number: int) -> None:
    value = getattr(udt4, name)
    assert (type(value), value) == (int, number)


def test_everything_can_be_imported_with_a_star() -> None:
    names: dict[str, object] = {}
    exec("from udt4 import *", names)
    wanted = {*CONSTANTS, *FUNCTIONS.split(), "UDTSOCKET", "UDTepoll", "UDTException", "TRACEINFO"}
    assert wanted | {"UdtSocket", "Epoll"} <= names.keys()
    assert set(udt4.__all__) <= names.keys()


def test_versions_and_modules() -> None:
    assert udt4.pyudt4_version() == (0, 6) == pyudt.__version__ == udt4.__version__
    for text in (udt4.__author__, udt4.__date__, pyudt.__author__, pyudt.__date__):
        assert isinstance(text, str)
    assert isinstance(udt4.__license__, str)
    assert (udt4.pyudt, pyudt.udt4, pyudt.socklib) == (pyudt, udt4, socket)
    assert (udt4.UdtSocket, udt4.Epoll) == (pyudt.UdtSocket, pyudt.Epoll)


def test_importing_starts_no_thread() -> None:
    script = "import threading, udt4; print(threading.active_count())"
    done = subprocess.run(
        [sys.executable, "-P", "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "1"


def test_the_exception_carries_number_and_text() -> None:
    sock = udt4.socket(2, 1, 0)
    with pytest.raises(RuntimeError) as caught:
        udt4.getpeername(sock)
    assert type(caught.value) is udt4.UDTException
    number, text = caught.value.args
    assert number == caught.value.code == udt4.ENOCONN
    assert text == caught.value.message
    assert re.fullmatch(r"Connection failure: .*\.", text)
    udt4.close(sock)
    assert udt4.UDTException().code == udt4.EUNKNOWN
    assert (udt4.UDTException(5004, "x").code, udt4.UDTException(5004).message) == (5004, "")


def test_an_empty_record_of_perfmon_is_zero_and_read_only() -> None:
    made = udt4.TRACEINFO()
    for name, zero in ZEROS.items():
        value = getattr(made, name)
        assert (name, type(value), value) == (name, type(zero), zero)
    with pytest.raises(AttributeError, match="read-only"):
        made.msRTT = 1.0  # type: ignore[misc]
    with pytest.raises(AttributeError, match="read-only"):
        del made.msRTT
    with pytest.raises(AttributeError, match="msRtt"):
        made.msRtt  # noqa: B018
    assert ZEROS.keys() <= set(dir(made))
    assert "msRTT=0.0" in repr(made)


def test_dump_perfmon_prints_every_field(capsys: pytest.CaptureFixture[str]) -> None:
    udt4.dump_perfmon(udt4.TRACEINFO())
    shown = {line.split()[0] for line in capsys.readouterr().out.splitlines()}
    assert shown == ZEROS.keys()
    udt4.dump_perfmon(perf=SimpleNamespace(**dict.fromkeys(shown, 7)))
    assert set(re.findall(r"\d+", capsys.readouterr().out)) == {"7"}
    with pytest.raises(AttributeError, match="msTimeStamp"):
        udt4.dump_perfmon(None)
