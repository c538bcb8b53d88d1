"""STAMP packets of ours, and those that scapy and Wireshark know."""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import needs
import pytest

import shmring
from shmring._proto import ffi, lib
from shmring.net import probes
from shmring.testing import captures

pytestmark = pytest.mark.check

PATIENCE_S = 60
NTP_1970_S = 2_208_988_800

# Sends requests that scapy made, and reads the replies with scapy.
SENDER = """
import socket, time
from scapy.contrib.stamp import STAMPSessionReflectorTestUnauthenticated as Reply
from scapy.contrib.stamp import STAMPSessionSenderTestUnauthenticated as Request

sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.settimeout(30)
result = []
for number in range(5):
    request = Request(seq=40 + number, ssid=77, ts=time.time() + 2208988800)
    sock.sendto(bytes(request) + bytes(number * 10), given)
    raw = sock.recv(2048)
    reply = Reply(raw[:44])
    result.append({
        "sequence": reply.seq, "sender": reply.seq_sender, "ssid": reply.ssid,
        "ttl": reply.ttl_sender, "Z": reply.err_estimate.Z, "mbz": reply.mbz1 + reply.mbz2,
        "t1": float(reply.ts_sender) - float(request.ts), "held": float(reply.ts - reply.ts_rx),
        "away": float(reply.ts_rx) - float(request.ts), "bytes": len(raw) - number * 10,
    })
"""

# A stateless reflector of scapy's packets. An empty datagram ends it.
REFLECTOR = """
import socket, time
from scapy.contrib.stamp import ErrorEstimate
from scapy.contrib.stamp import STAMPSessionReflectorTestUnauthenticated as Reply
from scapy.contrib.stamp import STAMPSessionSenderTestUnauthenticated as Request

sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.bind(("127.0.0.1", given))
result = 0
while True:
    raw, source = sock.recvfrom(2048)
    if not raw:
        break
    arrived = time.time() + 2208988800
    request = Request(raw)
    reply = bytes(Reply(
        seq=request.seq, ts_rx=arrived, ts=time.time() + 2208988800,
        err_estimate=ErrorEstimate(S=1, multiplier=3, scale=20), ssid=request.ssid,
        seq_sender=request.seq, err_estimate_sender=request.err_estimate, ttl_sender=64,
    ))
    sock.sendto(reply[:28] + raw[4:12] + reply[36:], source)    # its times are floats
    result += 1
"""


def test_scapy_sends_and_we_reflect(peer_scapy: Any, shmring_pool: shmring.Pool) -> None:
    with probes.Reflector(("127.0.0.1", 0), stateful=True, pool=shmring_pool) as reflector:
        threading.Thread(target=reflector.serve).start()
        replies = peer_scapy.run(SENDER, reflector.local)
    for number, reply in enumerate(replies):
        assert (reply["sequence"], reply["sender"], reply["ssid"]) == (number, 40 + number, 77)
        assert (reply["ttl"], reply["Z"], reply["mbz"], reply["bytes"]) == (255, 0, 0, 44)
        assert abs(reply["t1"]) < 1e-5  # its floats
        assert -1e-3 <= reply["away"] < PATIENCE_S
        assert 0 <= reply["held"] < PATIENCE_S


def test_scapy_reflects_and_we_compare_clocks(peer_scapy: Any, shmring_pool: shmring.Pool) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    thread = threading.Thread(target=peer_scapy.run, args=(REFLECTOR, port))
    thread.start()
    try:
        with shmring.net.clock_to(
            "127.0.0.1", port=port, pps=50, timeout=PATIENCE_S, pool=shmring_pool
        ) as clock:
            until = time.monotonic() + PATIENCE_S
            while (now := clock.update(timeout=1.0)).answers.exchanges < 20:
                assert time.monotonic() < until
        assert abs(now.offset_ns) <= now.bound_ns + 2000  # its floats
        assert (now.answers.malformed, now.answers.impossible, now.steps) == (0, 0, 0)
        assert now.remote_synchronised
        assert now.remote_error_ns == 732_422  # 3 * 2**20 / 2**32 s
    finally:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"", ("127.0.0.1", port))
        thread.join()


# --- Wireshark ------------------------------------------------------------------------------------


def dissected(path: Path, *fields: str) -> list[dict[str, str]]:
    needs.require_program("tshark")
    words = [word for name in fields for word in ("-e", f"twamp.test.{name}")]
    done = subprocess.run(
        ["tshark", "-r", path, "-d", "udp.port==862,twamp.test", "-T", "json", *words],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=True,
        env=os.environ | {"TZ": "UTC"},
    )
    layers = [each["_source"]["layers"] for each in json.loads(done.stdout)]
    return [{name: layer[f"twamp.test.{name}"][0] for name in fields} for layer in layers]


def test_wireshark_reads_both_kinds(tmp_path: Path, shmring_pool: shmring.Pool) -> None:
    at_ns = 1_795_435_200_250_000_000  # 2026-11-23T12:00:00.25Z
    asked = ffi.new("stamp_request_t *", {"sequence": 7, "t1_ns": at_ns})
    asked.error = lib.stamp_error_from_ns(1_000_000, True, lib.STAMP_NTP)
    raw = ffi.new("uint8_t[]", lib.STAMP_BYTES)
    lib.stamp_put_request(raw, asked)
    packet = bytes(ffi.buffer(raw))
    with (
        probes.Reflector(("127.0.0.1", 0), pool=shmring_pool) as reflector,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock,
    ):
        threading.Thread(target=reflector.serve).start()
        sock.settimeout(PATIENCE_S)
        sock.sendto(packet, reflector.local)
        reply = sock.recv(2048)
    path = tmp_path / "stamp.pcap"
    frames = [
        (at_ns, captures.udp(packet, source=("10.0.0.1", 40000), to=("10.0.0.2", 862))),
        (at_ns, captures.udp(reply, source=("10.0.0.2", 862), to=("10.0.0.1", 40000))),
    ]
    path.write_bytes(captures.pcap(frames))
    error = [f"error_estimate.{name}" for name in ("s", "z", "scale", "multiplier")]
    (seen,) = dissected(path, "seq_number", "timestamp", *error)[:1]
    assert seen["seq_number"] == "7"
    assert "12:00:00.25" in seen["timestamp"]
    assert [int(seen[name], 0) for name in error[2:]] == [15, 132]
    assert seen[error[0]] in ("1", "True")
    assert seen[error[1]] in ("0", "False")
    names = ("seq_number", "sender_seq_number", "sender_timestamp", "sender_ttl", "timestamp")
    seen = dissected(path, *names)[1]
    assert (seen["seq_number"], seen["sender_seq_number"], seen["sender_ttl"]) == ("7", "7", "255")
    assert "12:00:00.25" in seen["sender_timestamp"]
    t3_s = struct.unpack_from("!I", reply, 4)[0] - NTP_1970_S
    assert time.strftime("%H:%M:%S", time.gmtime(t3_s)) in seen["timestamp"]
