"""The commands of docs/howto/rtp-programs.md, as they stand there but for the ports."""

from __future__ import annotations

import re
import shlex
import wave

import numpy as np
import pytest
from kit.sources import CHECKOUT

import shmring
from shmring.net import tap

PAGE = CHECKOUT and CHECKOUT / "docs" / "howto" / "rtp-programs.md"
pytestmark = [
    pytest.mark.check,
    pytest.mark.skipif(PAGE is None, reason="no documentation around these tests"),
]
SPEECH = shmring.Rtp(codec="pcmu", rtcp=shmring.rtp.Rtcp(port="next_port"))
STEADY = shmring.Rtp(
    codec="pcmu",
    playout=shmring.rtp.Playout(
        min_delay_ns=500_000_000, first_delay_ns=500_000_000, max_delay_ns=1_000_000_000
    ),
    rtcp=shmring.rtp.Rtcp(port="next_port"),
)
PLAYED = 50 * 3


def command(beginning: str, ports: dict[int, int]) -> list[str]:
    """The words of the command that begins so, with other ports."""
    assert PAGE is not None
    found = re.search(rf"^\$ ({re.escape(beginning)}.*)$", PAGE.read_text(), re.MULTILINE)
    assert found, beginning
    text = found[1]
    for port, other in ports.items():
        text = re.sub(rf"\b{port}\b", str(other), text)
    return shlex.split(text)


@pytest.mark.parametrize("beginning", ["ffmpeg -re", "gst-launch-1.0 audiotestsrc"])
def test_what_they_send_arrives(shmring_pool, start, port_pair, frames_of, beginning):
    at = port_pair()
    ear = shmring_pool.open("ear", STEADY, local=("127.0.0.1", at))
    process = start(*command(beginning, {5004: at}))
    frames = list(frames_of(ear))
    process.wait()
    assert len(frames) >= 100  # ffmpeg cuts some in two
    heard = np.asarray(ear.pcm(frames))
    spectrum = np.abs(np.fft.rfft(heard * np.hanning(len(heard))))
    assert abs(spectrum.argmax() * 8000 / len(heard) - 440) < 2
    stats = ear.stats().engine
    assert (stats.lost, stats.late, stats.resyncs, stats.rtcp_malformed) == (0, 0, 0, 0)
    if beginning.startswith("ffmpeg"):
        assert stats.rtcp_sr_received > 0


@pytest.mark.parametrize("beginning", ["ffmpeg -protocol", "gst-launch-1.0 -e udpsrc"])
def test_they_play_what_is_sent(
    shmring_pool, start, port_pair, eventually, bound_ports, tmp_path, beginning
):
    at = port_pair()
    mic = shmring_pool.open("mic", SPEECH, remote=("127.0.0.1", at))
    folder = tmp_path / "foreign"
    (folder / "session.sdp").write_text(mic.sdp(), newline="")
    process = start(*command(beginning, {5006: at}))
    eventually(lambda: at in bound_ports(), process.words)
    tone = (8000 * np.sin(np.arange(160 * PLAYED) * (2 * np.pi * 440 / 8000))).astype(np.int16)
    mic.send_block(tone)
    mic.flush(timeout=20.0)
    if "-t" in process.words:
        process.wait()
    else:
        process.interrupt()
    with wave.open(str(folder / "heard.wav")) as file:
        heard = np.frombuffer(file.readframes(file.getnframes()), np.int16)
    assert len(heard) >= 0.9 * 8000
    spectrum = np.abs(np.fft.rfft(heard * np.hanning(len(heard))))
    assert abs(spectrum.argmax() * 8000 / len(heard) - 440) < 2


def test_wireshark_reads_a_tap(shmring_pool, start, port_pair, tmp_path):
    at = port_pair()
    mic = shmring_pool.open("mic", SPEECH, remote=("127.0.0.1", at))
    with tap.open("mic", tmp_path / "foreign" / "mic.pcapng"):
        mic.send_block(bytes(2 * 8000))
        mic.flush(timeout=20.0)
    process = start(*command("tshark", {5006: at}))
    process.wait()
    (line,) = [line for line in process.said.splitlines() if f" {at} " in line]
    assert re.search(rf"0x0*{mic.ssrc:X}\s+g711U\s+50\s+0 \(0\.0%\)", line, re.IGNORECASE), line
