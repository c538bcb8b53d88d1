"""Programs that are not ours, as partners: GStreamer's rtpbin, ffmpeg, sipp.

Every process is bounded in time, also when the tests that started it are killed.

Audio is compared sample by sample: the test signal is made of values that the codec keeps as they
are, in an order that repeats nowhere, so that whatever is lost, doubled, moved or changed shows.
"""

from __future__ import annotations

import array
import contextlib
import math
import os
import random
import re
import signal
import subprocess
import sys
import wave
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import needs
import pytest
from kit.engines import spelled
from kit.waiting import until
from kit.wire import udp

import shmring

PATIENCE_S = 20.0
LIMIT_S = 60
RTCP_EVERY_NS = 200_000_000


# --- processes and ports --------------------------------------------------------------------------


class Process:
    """A foreign program that runs, what it says going into a file."""

    def __init__(self, folder: Path, words: list[str]) -> None:
        self.words = words
        self._log = folder / f"{Path(words[0]).name}-{len(list(folder.iterdir()))}.log"
        # In the foreground: otherwise timeout(1) passes a signal on twice, to the program and to
        # its group. GStreamer takes the first SIGINT as a request, and is killed by the second.
        with self._log.open("wb") as log:
            self._popen = subprocess.Popen(
                ["timeout", "--foreground", "--kill-after=2", str(LIMIT_S), *words],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    @property
    def said(self) -> str:
        return self._log.read_text(errors="replace")

    @property
    def running(self) -> bool:
        return self._popen.poll() is None

    def wait(self) -> None:
        """Until it ends by itself, which it must do without an error."""
        code = self._popen.wait(LIMIT_S + 5)
        assert code == 0, f"{' '.join(self.words)}\nended with {code}:\n{self.said}"

    def interrupt(self) -> None:
        """As Ctrl-C: GStreamer and ffmpeg then close what they write."""
        self._popen.send_signal(signal.SIGINT)
        self._popen.wait(10)

    def close(self) -> None:
        if self.running:
            self._popen.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._popen.wait(5)
        if self.running:
            self._popen.kill()
            self._popen.wait()


def bound_udp_ports() -> set[int]:
    """The local ports of all UDP sockets of this network namespace."""
    ports = set()
    for table in ("/proc/net/udp", "/proc/net/udp6"):
        with contextlib.suppress(FileNotFoundError):
            for line in Path(table).read_text().splitlines()[1:]:
                ports.add(int(line.split()[1].rpartition(":")[2], 16))
    return ports


@pytest.fixture
def bound_ports() -> Callable[[], set[int]]:
    return bound_udp_ports


@pytest.fixture
def eventually() -> Callable[[Callable[[], object], str], object]:
    return until


@pytest.fixture
def port_pair() -> Callable[[], int]:
    """A free even port whose next one is free too, each time another."""
    given: set[int] = set()
    draw = random.Random(os.getpid())

    def choose() -> int:
        while True:
            port = draw.randrange(20_000, 32_000, 2)
            with contextlib.suppress(OSError):
                for one in (port, port + 1):
                    udp(port=one).close()
                if port not in given:
                    given.add(port)
                    return port

    return choose


# --- audio ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Codec:
    """How a codec is called by whom, and what a packet of 20 ms holds."""

    name: str
    clock_rate: int
    payload_type: int
    payload_bytes: int
    gst_encode: str
    gst_decode: str
    ffmpeg_encoder: str

    @property
    def samples(self) -> int:
        """Per packet."""
        return self.clock_rate // 50


CODECS = {
    "PCMU": Codec(
        "PCMU",
        8000,
        0,
        160,
        "mulawenc ! rtppcmupay min-ptime=20000000 max-ptime=20000000",
        "rtppcmudepay ! mulawdec",
        "pcm_mulaw",
    ),
    "L16": Codec(
        "L16",
        48000,
        96,
        1920,
        "audioconvert ! rtpL16pay pt=96 mtu=1932 min-ptime=20000000 max-ptime=20000000",
        "rtpL16depay ! audioconvert ! audio/x-raw,format=S16LE",
        "pcm_s16be",
    ),
}

OPUS = Codec(
    "OPUS",
    48000,
    97,
    0,  # as long as the encoder likes
    "opusenc frame-size=20 ! rtpopuspay pt=97",
    "rtpopusdepay ! opusdec ! audio/x-raw,format=S16LE,rate=48000,channels=1",
    "libopus",
)


def ulaw_to_linear(code: int) -> int:
    """ITU-T G.711, by its formula."""
    code = ~code & 0xFF
    magnitude = (((code & 0x0F) << 3) + 132) << ((code >> 4) & 7)
    return 132 - magnitude if code & 0x80 else magnitude - 132


@dataclass(frozen=True)
class Signal:
    """Audio of a whole number of packets, as the codec's payload and as PCM."""

    codec: Codec
    payload: bytes
    """Empty: only its encoder knows."""
    pcm: bytes
    """16 bits, this machine's order."""
    wav: Path

    @property
    def packets(self) -> list[bytes]:
        step = self.codec.payload_bytes
        return [self.payload[at : at + step] for at in range(0, len(self.payload), step)]


def write_wav(path: Path, pcm: array.array[int], rate: int) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(pcm.tobytes())
    return path


@pytest.fixture
def tone(tmp_path: Path) -> Callable[[float, float], Signal]:
    """Opus, which keeps no sample but does keep a tone: a sine of some frequency and length."""

    def make(hz: float, seconds: float) -> Signal:
        count = round(seconds * OPUS.clock_rate)
        turn = 2 * math.pi * hz / OPUS.clock_rate
        pcm = array.array("h", (round(12_000 * math.sin(turn * i)) for i in range(count)))
        return Signal(OPUS, b"", pcm.tobytes(), write_wav(tmp_path / "tone.wav", pcm, 48000))

    return make


@pytest.fixture
def audio(tmp_path: Path) -> Callable[..., Signal]:
    """A signal in a codec, of some packets of 20 ms."""

    def make(name: str, packets: int) -> Signal:
        codec = CODECS[name]
        draw = random.Random(packets)
        count = packets * codec.samples
        if name == "PCMU":
            # Not 127, the other zero: encoders prefer 255.
            payload = bytes(draw.choices([c for c in range(256) if c != 127], k=count))
            pcm = array.array("h", map(ulaw_to_linear, payload))
        else:
            pcm = array.array("h", (draw.randrange(-32768, 32768) for _ in range(count)))
            wire = array.array("h", pcm)
            if sys.byteorder == "little":
                wire.byteswap()
            payload = wire.tobytes()
        path = write_wav(tmp_path / f"{name}-{packets}.wav", pcm, codec.clock_rate)
        return Signal(codec, payload, pcm.tobytes(), path)

    return make


# --- the programs ---------------------------------------------------------------------------------


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Start a foreign program, or skip the test; what still runs at its end is ended."""
    folder = tmp_path / "foreign"
    folder.mkdir()
    started: list[Process] = []

    def run(program: str, *words: object) -> Process:
        needs.require_program(program)
        started.append(Process(folder, [program, *map(str, words)]))
        return started[-1]

    yield run
    for process in started:
        process.close()


class GStreamer:
    """One rtpbin in a process of its own; RTCP goes to and comes from the ports one above."""

    def __init__(self, start: Callable[..., Process], folder: Path) -> None:
        self._start = start
        self._folder = folder

    def send(self, signal: Signal, to: int, back: int, *, repairs: bool = False) -> Process:
        """Plays a signal to port `to`; `back` is where our RTCP reaches it, less 1.

        repairs: it sends again what is asked for (RFC 4585).
        """
        return self._launch(
            f"{self._source(signal, 'rtprtxqueue !' if repairs else '')} "
            f"b.send_rtp_src_0 ! udpsink host=127.0.0.1 port={to} bind-port={back} "
            f"{self._rtcp(to, back)}",
            repairs=repairs,
        )

    def play(
        self, codec: Codec, at: int, back: int, *, repairs: bool = False
    ) -> tuple[Process, Path]:
        """Decodes what comes to port `at` into a file; its RTCP goes to `back` plus 1.

        repairs: it asks for what is missing.
        """
        player, out = self._player(codec, at)
        process = self._launch(f"{player} {self._rtcp(back, at)}", repairs=repairs)
        until(lambda: {at, at + 1} <= bound_udp_ports(), f"{process.said}")
        return process, out

    def talk(self, signal: Signal, to: int, at: int) -> tuple[Process, Path]:
        """Both in one session: plays a signal to port `to`, and decodes what comes to `at`."""
        player, out = self._player(signal.codec, at)
        process = self._launch(
            f"{self._source(signal)} b.send_rtp_src_0 ! udpsink host=127.0.0.1 port={to} "
            f"{player} {self._rtcp(to, at)}"
        )
        until(lambda: {at, at + 1} <= bound_udp_ports(), f"{process.said}")
        return process, out

    @staticmethod
    def _source(signal: Signal, behind: str = "") -> str:
        return (
            f"filesrc location={signal.wav} ! wavparse ! audioconvert ! {signal.codec.gst_encode} "
            f"! {behind} b.send_rtp_sink_0"
        )

    def _player(self, codec: Codec, at: int) -> tuple[str, Path]:
        out = self._folder / f"played-{at}.pcm"
        caps = (
            f"application/x-rtp,media=audio,clock-rate={codec.clock_rate},"
            f"encoding-name={codec.name},payload={codec.payload_type},channels=1"
        )
        return (
            f'udpsrc address=127.0.0.1 port={at} caps="{caps}" ! b.recv_rtp_sink_0 '
            f"b. ! {codec.gst_decode} ! filesink buffer-mode=2 location={out}"
        ), out

    def _launch(self, pipeline: str, *, repairs: bool = False) -> Process:
        options = f"latency=500 rtpsession0::rtcp-min-interval={RTCP_EVERY_NS}"
        if repairs:
            options += " latency=1000 rtp-profile=avpf do-retransmission=true"
        words = re.findall(r'(?:"[^"]*"|\S)+', f"rtpbin name=b {options} {pipeline}")
        return self._start("gst-launch-1.0", "-e", "-v", *words)

    @staticmethod
    def _rtcp(to: int, at: int) -> str:
        return (
            f"b.send_rtcp_src_0 ! udpsink host=127.0.0.1 port={to + 1} sync=false async=false "
            f"udpsrc address=127.0.0.1 port={at + 1} ! b.recv_rtcp_sink_0"
        )

    @staticmethod
    def sources(process: Process) -> dict[int, dict[str, str]]:
        """What its session last told of each source, by SSRC: the fields of GStreamer's
        application/x-rtp-source-stats."""
        sources = {}
        for text in process.said.split("application/x-rtp-source-stats")[1:]:
            facts = dict(re.findall(r"([a-z-]+)\\=\\\(\w+\\\)([^\\]*)", text))
            if "ssrc" in facts:
                sources[int(facts["ssrc"])] = facts
        return sources


@pytest.fixture
def gstreamer(start: Callable[..., Process], tmp_path: Path) -> GStreamer:
    return GStreamer(start, tmp_path)


class Ffmpeg:
    """libavformat's RTP: the sender, and a player that is told the session by an SDP file."""

    def __init__(self, start: Callable[..., Process], folder: Path) -> None:
        self._start = start
        self._folder = folder

    def send(self, signal: Signal, to: int, back: int) -> Process:
        size = signal.codec.payload_bytes + 12
        return self._ffmpeg(
            *("-re", "-i", signal.wav, "-c:a", signal.codec.ffmpeg_encoder, "-f", "rtp"),
            *("-payload_type", signal.codec.payload_type, "-rtpflags", "send_bye"),
            f"rtp://127.0.0.1:{to}?pkt_size={size}&localrtpport={back}&localrtcpport={back + 1}",
        )

    def play(self, codec: Codec, at: int, seconds: float) -> tuple[Process, Path]:
        """Ends by itself when more than that many seconds of audio have come."""
        out = self._folder / f"played-{at}.pcm"
        sdp = self._folder / f"session-{at}.sdp"
        lines = (
            "v=0",
            "o=- 0 0 IN IP4 127.0.0.1",
            "s=-",
            "c=IN IP4 127.0.0.1",
            "t=0 0",
            f"m=audio {at} RTP/AVP {codec.payload_type}",
            f"a=rtpmap:{codec.payload_type} {codec.name}/{codec.clock_rate}",
        )
        sdp.write_text("\r\n".join(lines) + "\r\n")
        process = self._ffmpeg(
            *("-protocol_whitelist", "file,udp,rtp", "-i", sdp),
            *("-t", seconds, "-f", "s16le", out),
        )
        until(lambda: {at, at + 1} <= bound_udp_ports(), f"{process.said}")
        return process, out

    def _ffmpeg(self, *words: object) -> Process:
        return self._start("ffmpeg", "-nostdin", "-hide_banner", "-loglevel", "warning", *words)


@pytest.fixture
def ffmpeg(start: Callable[..., Process], tmp_path: Path) -> Ffmpeg:
    return Ffmpeg(start, tmp_path)


class Sipp:
    """Both ends of a call's signalling; the media of one end is ours."""

    SCENARIOS = Path(__file__).parent / "scenarios"

    def __init__(self, start: Callable[..., Process], port_pair: Callable[[], int]) -> None:
        self._start = start
        self._port_pair = port_pair

    def plays(self, signal: Signal, to: int) -> Process:
        """A call whose caller plays a PCMU signal to our port. The process returned ends when the
        call does, and well only if all of it went well."""
        signal.wav.with_name("foreign").joinpath("speech.ulaw").write_bytes(signal.payload)
        return self._call("caller_plays.xml", to, duration_ms=20 * len(signal.packets) + 500)

    def echoes(self, ours: int, port: int, seconds: float) -> Process:
        """A call whose caller sends back what comes to `port`."""
        process = self._call(
            "caller_echoes.xml", ours, "-mp", port, "-rtp_echo", duration_ms=round(seconds * 1000)
        )
        until(lambda: port in bound_udp_ports(), f"{process.said}")
        return process

    def _call(self, scenario: str, media_port: int, *options: object, duration_ms: int) -> Process:
        callee, caller = self._port_pair(), self._port_pair()
        self._sipp("callee.xml", callee, "-key", "rtp", media_port)
        until(lambda: callee in bound_udp_ports(), "the callee listens")
        return self._sipp(scenario, caller, f"127.0.0.1:{callee}", "-d", duration_ms, *options)

    def _sipp(self, scenario: str, port: int, *words: object) -> Process:
        return self._start(
            *("sipp", "-sf", self.SCENARIOS / scenario, "-i", "127.0.0.1", "-p", port),
            *("-mi", "127.0.0.1", "-m", 1, "-nostdin", "-timeout", "30s", "-timeout_error"),
            *("-trace_err", *words),
        )


@pytest.fixture
def sipp(start: Callable[..., Process], port_pair: Callable[[], int]) -> Sipp:
    return Sipp(start, port_pair)


# --- our end --------------------------------------------------------------------------------------


def codec_options(codec: Codec) -> dict[str, Any]:
    """How a channel is told of a codec."""
    if codec.name == "PCMU":
        return {"codec": "pcmu"}
    return {"codec": "l16", "clock_rate": codec.clock_rate, "payload_type": codec.payload_type}


@pytest.fixture
def ear(shmring_pool: shmring.Pool) -> Callable[..., shmring.rtp.Channel]:
    """Open a channel that gives out frames, the very first too, as soon as they are in order."""

    def listen(codec: Codec, at: int, **options: Any) -> shmring.rtp.Channel:
        given = {
            "delivery": "in_order",
            "min_sequential": 1,
            "first_delay_ns": 500_000_000,
            "max_delay_ns": 1_000_000_000,
        }
        given |= codec_options(codec) | options
        return shmring_pool.open("ear", local=("127.0.0.1", at), **spelled(shmring.Rtp, given))

    return listen


@pytest.fixture
def mouth(shmring_pool: shmring.Pool) -> Callable[..., shmring.rtp.Channel]:
    """Open a channel that sends to a port."""

    def speak(codec: Codec, to: int, **options: Any) -> shmring.rtp.Channel:
        given = spelled(shmring.Rtp, codec_options(codec) | options)
        return shmring_pool.open("mouth", remote=("127.0.0.1", to), **given)

    return speak


@pytest.fixture
def expect() -> Callable[[shmring.rtp.Channel, Signal], None]:
    """See to it that all of a signal comes out of a channel, in order, and nothing else."""

    def check(channel: shmring.rtp.Channel, signal: Signal) -> None:
        frames: list[shmring.rtp.Frame] = []
        while sum(len(frame.data) for frame in frames) < len(signal.payload):
            item = channel.recv(timeout=PATIENCE_S)
            assert isinstance(item, shmring.rtp.Frame), item
            frames.append(item)
        assert b"".join(frame.data for frame in frames) == signal.payload
        assert bytes(channel.pcm(frames)) == signal.pcm
        numbers = [frame.sequence for frame in frames]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        assert {frame.payload_type for frame in frames} == {signal.codec.payload_type}

    return check


@pytest.fixture
def frames_of() -> Callable[[shmring.rtp.Channel], Iterator[shmring.rtp.Frame]]:
    """What comes out of a channel but for events, until its sender has been silent for 1.5 s."""

    def take(channel: shmring.rtp.Channel) -> Iterator[shmring.rtp.Frame]:
        patience_s = PATIENCE_S
        with contextlib.suppress(shmring.ReceiveTimeout):
            while True:
                item = channel.recv(timeout=patience_s)
                patience_s = 1.5
                if isinstance(item, shmring.rtp.Frame):
                    yield item

    return take
