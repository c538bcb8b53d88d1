"""Type checkers find the mistakes that they can find, and examples are free of them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest

from rtworkers import config
from shmring import types
from shmring._option_rows import OPTIONS
from shmring.net.tap import opening as tap
from shmring.netflux import options as netflux
from shmring.rtp import options as rtp
from shmring.udt import options as udt

pytestmark = pytest.mark.check

HERE = Path(__file__).parent
WRONG = HERE / "wrong_types.py"

Lines = set[tuple[str, int]]


def by_mypy(*files: Path, folder: Path = HERE) -> Lines:
    flags = ["--strict", "--show-error-end", "--no-error-summary", "--cache-dir", "/dev/null"]
    flags += ["--no-incremental", "--python-version", "3.11", "--output", "json"]
    command = [sys.executable, "-P", "-m", "mypy", *flags, *map(str, files)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240)
    assert done.stderr == ""
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return {(Path(at["file"]).name, at["line"]) for at in found if at["severity"] == "error"}


def by_pyright(*files: Path, folder: Path = HERE) -> Lines:
    command = [Path(sys.executable).with_name("basedpyright"), "--outputjson", "--level", "error"]
    command += ["--pythonpath", sys.executable, *map(str, files)]
    if folder != HERE:
        command = [*command[: -len(files)], "--project", str(folder)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240)
    found = json.loads(done.stdout)["generalDiagnostics"]
    return {(Path(at["file"]).name, at["range"]["start"]["line"] + 1) for at in found}


CHECKERS = [
    pytest.param(
        by_mypy,
        marks=pytest.mark.module("mypy"),
    ),
    pytest.param(
        by_pyright,
        marks=pytest.mark.module("basedpyright"),
    ),
]


@pytest.mark.parametrize("check", CHECKERS)
def test_mistakes_are_errors(check: Callable[..., Lines]) -> None:
    lines = WRONG.read_text(encoding="utf-8").splitlines()
    marked = {(WRONG.name, at) for at, line in enumerate(lines, 1) if re.search(r"  # E$", line)}
    assert check(WRONG) == marked
    assert len(marked) > 25


ARRAYS = """
import numpy as np
import shmring

def use(ch: shmring.Channel, rtp: shmring.rtp.Channel) -> None:
    ch.send(np.zeros(4, "u1"))
    ch.send_many(np.zeros((4, 8), "u1"), at=np.zeros(4, "i8"), sizes=np.ones(4, "u4"))
    ch.recv_many(out=np.zeros(100, "u1"))
    rtp.send(np.zeros(160, "i2"))
"""


@pytest.mark.parametrize("check", CHECKERS)
def test_arrays_are_payloads(check: Callable[..., Lines], tmp_path: Path) -> None:
    """The types of NumPy know the buffer protocol from Python 3.12 on only."""
    pytest.importorskip("numpy")
    file = tmp_path / "arrays.py"
    file.write_text(ARRAYS, encoding="utf-8")
    settings = {"pythonVersion": "3.11", "typeCheckingMode": "standard"}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings), encoding="utf-8")
    assert check(file, folder=tmp_path) == set()


WORDS = {
    **{
        f"{option}=": (kind, OPTIONS[option].words or ())
        for option, kind in (
            ("direction", types.Direction),
            ("reading", types.Reading),
            ("overflow", types.Overflow),
            ("late", types.Late),
            ("align", types.Align),
            ("clock", types.Clock),
            ("reports", types.Reports),
            ("profile", types.Profile),
            ("txtime", types.Txtime),
            ("rx_stamp", types.StampSource),
            ("tx_stamp", types.StampSource),
        )
    },
    "policy=": (types.Policy, config.POLICIES),
    "codec=": (types.Codec, rtp.CODEC_NUMBERS),
    "delivery=": (types.Delivery, rtp.DELIVERIES),
    "underrun=": (types.Underrun, rtp._UNDERRUNS),
    "port=": (types.RtcpPort, rtp.RTCP_PORTS),
    "on_stale=": (types.OnStale, netflux.ON_STALE),
    "congestion=": (types.Congestion, udt.CONGESTION),
    "tap direction=": (types.TapDirection, tap.DIRECTIONS),
    "tap times=": (types.TapTimes, tap.TIMES),
    "tap triggers=": (types.TapTrigger, tap.TRIGGERS),
}


@pytest.mark.parametrize("option", WORDS)
def test_the_words_of_a_type_are_those_that_are_accepted(option: str) -> None:
    kind, accepted = WORDS[option]
    assert set(get_args(kind)) == set(accepted)


def test_every_option_that_is_a_word_is_among_them() -> None:
    words = {name for name, row in OPTIONS.items() if row.words}
    assert words == {name[:-1] for name in list(WORDS)[:11]}
