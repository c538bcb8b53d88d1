"""The rooms of the tests: `make test ROOM=rtp` runs the suite of one of them.

A room lists how the names of its tests begin. If several beginnings fit, the longest one decides.
Names of Python tests are paths from this folder. Those of C tests are ctest's.
`python3 tests/py/rooms.py ROOM` prints the words that let ctest choose.
"""

from __future__ import annotations

import re
import shlex
import sys

PYTHON = {
    "core": """chaos/ contract/test_ system/test_ system/absurd/ system/aio/ system/client/
        system/cyclic/ system/exhaustion/ system/hostile/ system/local/ system/observe/
        unit/channel/ unit/observe/ unit/test_""",
    "rtp": "interop/rtp/ interop/webrtc/ system/rtp/ unit/rtp/",
    "udt": "interop/quic/ interop/udt/ system/test_cli_udt system/udt/ unit/copy/",
    "netflux": "system/netflux/test_ unit/netflux/ unit/plc/",
    "net": """interop/stamp/ system/proxy/ system/replay/ system/stamp/ system/tap/ system/traffic/
        unit/capture/ unit/tap/ unit/test_impairment_words unit/test_traffic""",
    "dropins": """contract/rtpsynth_server/ contract/test_drop_ins contract/test_librtpsynth
        contract/test_netflux contract/test_parity_tables contract/test_rtpsynth
        contract/test_rtudp contract/test_udpcom contract/test_udt4 interop/test_rtpsynth
        system/netflux/dropin/ system/test_rtpsynth_server unit/netflux/test_dropin
        unit/rtpsynth/""",
    "rtstat": "system/rtstat/ unit/recording/ unit/rtstat/",
    "doctor": "system/test_cli_doctor unit/doctor/",
    "bench": "system/bench/ system/test_flood unit/bench/",
    "cli": """contract/test_shell system/test_acting system/test_cli_ unit/test_cli_
        unit/test_ending""",
}
C = {
    "core": "libshmring/ sim/ simulation/ stress/ unit/",
    "rtp": "unit/proto/rtp/ unit/shm/test_rtp unit/worker/rtp/",
    "udt": "interop/udt/ sim/test_udt unit/proto/udt/ unit/shm/test_udt unit/worker/udt/",
    "netflux": """sim/test_netflux stress/shm/netflux stress/worker/netflux unit/proto/netflux/
        unit/shm/test_netflux unit/worker/netflux/""",
    "net": """unit/proto/capture/ unit/proto/impair/ unit/proto/proxy/ unit/proto/stamp/
        unit/proto/traffic/ unit/shm/test_tap unit/worker/test_tap""",
    "dropins": "librtpsynth/ unit/worker/mux/",
}


def room_of(name: str, rooms: dict[str, str] = PYTHON) -> str:
    """Return the room of a test, or "" if it has none."""
    found = [
        (len(begin), room)
        for room, begins in rooms.items()
        for begin in begins.split()
        if name.startswith(begin)
    ]
    return max(found, default=(0, ""))[1]


def ctest_words(room: str) -> list[str]:
    """Return what makes ctest run the tests of a room alone. The core has those of no other."""
    if room not in PYTHON:
        raise SystemExit(f"{room} is no room of the tests: use {', '.join(PYTHON)}")
    taken = {name: begins for name, begins in C.items() if (name == room) == (room != "core")}
    taken.pop("core", None)
    begins = "|".join(re.escape(word) for text in taken.values() for word in text.split())
    return ["--no-tests=ignore", "-E" if room == "core" else "-R", f"^({begins or 'none'})"]


if __name__ == "__main__":
    print(shlex.join(ctest_words(sys.argv[1])))
