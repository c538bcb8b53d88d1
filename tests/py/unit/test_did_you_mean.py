"""Every place that refuses an unknown name says which known name it resembles."""

from __future__ import annotations

import argparse
import io

import pytest

import shmring
import shmring.net.tap
import shmring_cli
from rtstat import cli as rtstat
from rtworkers import paths, similar
from shmring_cli.common import USAGE
from shmring_cli.parsers import command_lines


@pytest.fixture
def plant(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host with two channels and a pool in the namespace `plant`."""
    names = [
        paths.ShmName("", "plant", channel="ctl"),
        paths.ShmName("", "plant", channel="axis-1"),
        paths.ShmName("", "plant", pool="line", slot=0),
    ]
    monkeypatch.setattr(
        paths, "shm_names", lambda space=None: [n for n in names if space in (None, n.namespace)]
    )


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["plto", "night.csv"], "'plot'"),
        (["plot", "night.csv", "--knd", "cdf"], "'--kind'"),
        (["udt", "sendd", "a", "b"], "'send'"),
        (["udt", "recv", "inbox", "--patince", "3"], "'--patience'"),
        (["help", "pemissions"], "'permissions'"),
    ],
)
def test_shmring_guesses(words: list[str], meant: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        shmring_cli.main(words)
    assert end.value.code == USAGE
    assert f"did you mean {meant}?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["shwo", "ctl"], "'show'"),
        (["--unhealty"], "'--unhealthy'"),
        (["show", "ctl", "--jsn"], "'--json'"),
        (["--plain", "--sort", "tx_ppps"], "'tx_pps'"),
    ],
)
def test_rtstat_guesses(words: list[str], meant: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        rtstat.main(words)
    assert end.value.code == USAGE
    assert f"did you mean {meant}?" in capsys.readouterr().err


def test_rtstat_guesses_columns(capsys: pytest.CaptureFixture[str]) -> None:
    for name, meant in (("lateness_interval_p99", "'lateness_interval_p99_ns'"), ("rtp.lst", None)):
        assert rtstat.main(["--csv", "--fields", name]) == USAGE
        said = capsys.readouterr().err
        assert f"did you mean {meant or chr(39) + 'rtp.lost' + chr(39)}?" in said


@pytest.mark.usefixtures("plant")
@pytest.mark.parametrize("words", [["--plain"], ["list"], ["errors"], ["--json"]])
def test_rtstat_guesses_namespaces(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    rtstat.main([*words, "--namespace", "plnt"])
    said = capsys.readouterr().err
    assert said == "rtstat: nothing is open in namespace 'plnt'; did you mean 'plant'?\n"


@pytest.mark.usefixtures("plant")
def test_tap_guesses() -> None:
    with pytest.raises(shmring.ChannelNotFound, match=r"did you mean 'axis-1'\?"):
        shmring.net.tap.open("axis1", io.BytesIO(), namespace="plant")


@pytest.mark.usefixtures("plant")
def test_channels_pools_and_namespaces_are_guessed(shmring_namespace: str) -> None:
    assert similar.meant_channel("clt", "plant") == "; did you mean 'ctl'?"
    assert similar.meant_channel("axis1", None) == "; did you mean 'axis-1'?"
    assert similar.meant_channel("ctl", "default") == "; did you mean 'plant/ctl'?"
    assert similar.meant_channel("video", "plant") == ""
    assert similar.meant_pool("lines", "plant") == "; did you mean 'line'?"
    assert similar.meant_namespace("plnt") == "; did you mean 'plant'?"


@pytest.mark.usefixtures("plant")
def test_attach_guesses(shmring_namespace: str) -> None:
    with pytest.raises(shmring.ChannelNotFound, match=r"did you mean 'plant/ctl'\?"):
        shmring.attach("ctl", namespace=shmring_namespace)
    with pytest.raises(shmring.ChannelNotFound, match=r"did you mean 'axis-1'\?"):
        shmring.attach("axis1", namespace="plant")
    with pytest.raises(shmring.ChannelNotFound, match=r"did you mean 'line'\?"):
        shmring.open("x", pool="lien", namespace="plant")


def test_right_words_are_still_taken() -> None:
    lines = {line.words: line.parser for line in command_lines()}
    arguments = lines["shmring", "plot"].parse_args(["a.csv", "--kind", "cdf", "b.csv"])
    assert isinstance(arguments, argparse.Namespace)
    assert arguments.second.name == "b.csv"
