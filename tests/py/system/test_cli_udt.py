"""`shmring udt send` and `recv` as processes, over loopback."""

import contextlib
import hashlib
import json
import os
import pty
import pwd
import random
import re
import signal
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from kit.commands import SHMRING, run
from kit.wire import udp

import shmring
from rtworkers import paths
from shmring import udt
from shmring_copy import files, protocol

COMMAND = [*SHMRING, "udt"]
PATIENCE_S = 60
MB = 1_000_000


def rows_of(text):
    return [json.loads(line) for line in text.splitlines()]


def of_kind(rows, kind):
    return [row for row in rows if row["kind"] == kind]


def content(size, seed=0):
    return random.Random(seed).randbytes(size)


def digest(data):
    return hashlib.blake2b(data, digest_size=32).hexdigest()


class Running:
    """A command that runs, and its rows so far."""

    def __init__(self, *words):
        self.process = subprocess.Popen(
            [*COMMAND, *map(str, words), "--json-lines"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.rows = []

    def until(self, kind):
        while True:
            line = self.process.stdout.readline()
            assert line, self.process.stderr.read()
            self.rows.append(json.loads(line))
            if self.rows[-1]["kind"] == kind:
                return self.rows[-1]

    def end(self, code=0):
        out, err = self.process.communicate(timeout=PATIENCE_S)
        self.rows += rows_of(out)
        assert self.process.returncode == code, (self.rows, err)
        return self.rows


@contextmanager
def running(*words):
    command = Running(*words)
    try:
        yield command
    finally:
        with contextlib.suppress(subprocess.TimeoutExpired):
            command.process.send_signal(signal.SIGINT)
            command.process.communicate(timeout=10)
        command.process.kill()
        command.process.communicate()


@contextmanager
def receiving(folder, *words):
    """A `recv` that listens, and its address as `send` takes it."""
    with running("recv", folder, "--local", "127.0.0.1:0", *words) as command:
        host, port = command.until("listening")["local"]
        yield command, f"{host}:{port}"


def send(*words, code=0):
    with running("send", *words) as command:
        return command.end(code)


@contextmanager
def half_way(tmp_path):
    """In the middle of a transfer: its file, the address, `recv` and `send`."""
    source = tmp_path / "big"
    source.write_bytes(content(30 * MB))
    with (
        receiving(tmp_path / "in") as (recv, where),
        running("send", source, where, "--limit", "60M") as first,
    ):
        while first.until("progress")["bytes"] < 5 * MB:
            pass
        yield source, where, recv, first


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    """Where senders remember their receivers."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "shmring" / "udt"


@pytest.fixture(autouse=True)
def namespace(shmring_namespace):
    yield shmring_namespace
    deadline = time.monotonic() + PATIENCE_S
    while paths.shm_names(shmring_namespace):
        for info in shmring.channels(shmring_namespace):
            if info.worker_pid:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(info.worker_pid, signal.SIGKILL)
        shmring.gc(namespace=shmring_namespace)
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_file_arrives_proved_with_its_time_and_permissions(tmp_path):
    data = content(5 * MB)
    source = tmp_path / "film.mov"
    source.write_bytes(data)
    source.chmod(0o640)
    os.utime(source, ns=(1, 1_600_000_000_123_456_789))
    with receiving(tmp_path / "in") as (recv, where):
        sent = send(source, where)
        got = recv.end()
    arrived = tmp_path / "in" / "film.mov"
    assert arrived.read_bytes() == data
    state = arrived.stat()
    assert (state.st_mtime_ns, state.st_mode & 0o777) == (1_600_000_000_123_456_789, 0o640)
    assert os.listdir(tmp_path / "in") == ["film.mov"]
    for rows in (sent, got):
        (row,) = of_kind(rows, "file")
        assert row["ok"]
        assert (row["path"], row["bytes"], row["blake2b"]) == ("film.mov", 5 * MB, digest(data))
        (end,) = of_kind(rows, "end")
        assert end["ok"]
        assert (end["files"], end["failed"], end["moved_bytes"]) == (1, 0, 5 * MB)
        assert end["rtt_ms"] > 0
        assert end["loss_percent"] >= 0


@pytest.mark.check
def test_folders_come_with_all_that_is_in_them(tmp_path):
    root = tmp_path / "photos"
    (root / "a" / "empty").mkdir(parents=True)
    files = {f"a/{i}": content(i * 37, i) for i in range(200)}
    files |= {"top.bin": content(MB), "zero": b"", "a/name with \u00e4 \n end": b"odd"}
    odd = ["-x", " x ", "...", ".hidden", "%s", "*", "a\\b", "\x1b[31m", "n" * 255, "\udcff\udcfe"]
    files |= {name: name.encode("utf-8", "surrogateescape") for name in odd}
    for name, data in files.items():
        (root / name).write_bytes(data)
    (root / "link").symlink_to("/etc/passwd")
    os.utime(root / "a" / "empty", ns=(0, 1_500_000_000_000_000_000))
    target = tmp_path / "in"
    with receiving(target) as (recv, where):
        rows = send(str(root) + "/", where)
        recv.end()
    for name, data in files.items():
        assert (target / "photos" / name).read_bytes() == data
    assert not (target / "photos" / "link").exists()
    assert of_kind(rows, "left_out")[0]["paths"] == [str(root / "link")]
    assert (target / "photos/a/empty").stat().st_mtime_ns == 1_500_000_000_000_000_000
    with receiving(target, "--update") as (recv, where):
        (end,) = of_kind(send(root, where), "end")
        recv.end()
    assert end["moved_bytes"] == 0
    assert end["kept_bytes"] == sum(map(len, files.values()))


@pytest.mark.check
def test_what_was_interrupted_goes_on_where_it_was(tmp_path):
    data = content(40 * MB)
    source = tmp_path / "big"
    source.write_bytes(data)
    target = tmp_path / "in"
    with receiving(target, "--keep") as (recv, where):
        with running("send", source, where, "--limit", "60M") as first:
            while first.until("progress")["bytes"] < 6 * MB:
                pass
            first.process.send_signal(signal.SIGKILL)
        end = recv.until("end")
        assert not end["ok"]
        assert "this command again" not in end["error"], "it is there until the end"
        assert not (target / "big").exists()
        (part,) = (target / files.STAGING).glob("*/*.part")
        had = part.stat().st_size
        assert had >= 4 * MB
        (end,) = of_kind(send(source, where), "end")
        assert end["kept_bytes"] == had
        assert end["moved_bytes"] == len(data) - had
        assert recv.until("end")["ok"], recv.rows[-3:]
    assert (target / "big").read_bytes() == data


@pytest.mark.check
def test_a_receiver_that_dies_is_noticed_and_another_one_goes_on(tmp_path):
    with half_way(tmp_path) as (source, _, recv, first):
        data = source.read_bytes()
        recv.process.send_signal(signal.SIGKILL)
        (end,) = of_kind(first.end(2), "end")
        assert 0 < end["moved_bytes"] < len(data)
        assert "closed" in end["error"]
    (part,) = (tmp_path / "in" / files.STAGING).glob("*/*.part")
    had = part.stat().st_size
    assert had > 0
    with receiving(tmp_path / "in") as (recv, where):
        (end,) = of_kind(send(source, where), "end")
        recv.end()
    assert (end["kept_bytes"], end["moved_bytes"]) == (had, len(data) - had)
    assert (tmp_path / "in" / "big").read_bytes() == data


@pytest.mark.check
def test_a_file_that_grows_or_is_written_meanwhile_arrives_as_it_was_read(tmp_path):
    source = tmp_path / "log"
    source.write_bytes(content(3 * MB))
    with open(source, "r+b") as log, receiving(tmp_path / "in") as (recv, where):
        with running("send", source, where, "--limit", "10M") as command:
            command.until("connected")
            for i in range(100):
                log.seek(i * 30_000)
                log.write(b"changed")
                log.seek(0, os.SEEK_END)
                log.write(b"more")
                log.flush()
                time.sleep(0.01)
            rows = command.end()
        recv.end()
    (row,) = of_kind(rows, "file")
    arrived = (tmp_path / "in" / "log").read_bytes()
    assert len(arrived) == row["bytes"] == 3 * MB
    assert digest(arrived) == row["blake2b"]


@pytest.mark.check
def test_a_receiver_that_ends_does_not_say_that_it_waits(tmp_path):
    with half_way(tmp_path) as (_, _, recv, first):
        first.process.send_signal(signal.SIGKILL)
        assert "Start this command again. " in of_kind(recv.end(2), "end")[0]["error"]


@pytest.mark.check
def test_packets_are_apart_without_gso(tmp_path, namespace):
    with receiving(tmp_path / "in", "--socket", "no-gso"):
        (port,) = shmring.channels(namespace)
        with shmring.attach(port.name, readonly=True) as channel:
            assert not channel.stats().gso


@pytest.mark.check
def test_rates_count_the_work_and_not_the_wait_for_the_receiver(tmp_path):
    source = tmp_path / "a"
    source.write_bytes(content(1000))
    with receiving(tmp_path / "in", "--keep") as (recv, where), shmring.Pool() as pool:
        host, port = where.split(":")
        stranger = udt.connect((host, int(port)), pool=pool)
        recv.until("connected")
        with running("send", source, where) as command:
            command.until("connected")
            time.sleep(4)
            stranger.close(linger=0)
            (end,) = of_kind(command.end(), "end")
    assert end["seconds"] < 4


@pytest.mark.check
@pytest.mark.needs("mount")
def test_a_full_disk_ends_it_and_both_ends_say_so(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", disk], check=True)
    try:
        source = tmp_path / "big"
        source.write_bytes(content(20 * MB))
        with receiving(disk / "in") as (recv, where):
            rows = send(source, where, code=2)
            (end,) = of_kind(rows, "end")
            assert "No space left" in end["error"]
            (end,) = of_kind(recv.end(2), "end")
        assert "No space left" in end["error"]
        assert not (disk / "in" / "big").exists()
    finally:
        subprocess.run(["umount", disk], check=True)


@pytest.mark.check
def test_a_limit_holds_the_rate_and_rows_of_progress_tell_it(tmp_path):
    source = tmp_path / "some"
    source.write_bytes(content(5 * MB))
    with receiving(tmp_path / "in") as (recv, where):
        rows = send(source, where, "--limit", "10M")
        recv.end()
    (end,) = of_kind(rows, "end")
    assert 3.0 < end["seconds"] < 40  # 40 Mbit
    assert end["rate_bps"] < 11 * MB
    progress = of_kind(rows, "progress")
    assert progress
    assert set(progress[0]) == {
        "kind",
        "bytes",
        "total_bytes",
        "rate_bps",
        "rtt_ms",
        "loss_percent",
        "eta_s",
    }
    assert [row["bytes"] for row in progress] == sorted(row["bytes"] for row in progress)


@pytest.mark.check
def test_on_a_terminal_a_bar_tells_rate_time_left_round_trip_and_loss(tmp_path):
    source = tmp_path / "some"
    source.write_bytes(content(2 * MB))
    ours, theirs = pty.openpty()
    with receiving(tmp_path / "in") as (recv, where):
        process = subprocess.Popen(
            [*COMMAND, "send", source, where, "--limit", "8M"],
            stderr=theirs,
            env={**os.environ, "TERM": "xterm", "COLUMNS": "80", "PYTHONUTF8": "1"},
        )
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # EIO is the end of a terminal
            while piece := os.read(ours, 4096):
                shown += piece
        os.close(ours)
        assert process.wait(PATIENCE_S) == 0
        recv.end()
    *bars, end = shown.decode().replace("\r", "\n").split("\x1b[K")
    assert re.search(
        r"\[█.*\] [\d.]+ Mbit/s, ETA 0:0\d, RTT [\d.]+ [mµ]s, loss [\d.]+ %", "".join(bars)
    )
    assert "1 file, 2.00 MB" in end
    assert "all proved" in end


@pytest.mark.check
def test_a_file_that_cannot_be_put_does_not_stop_the_others(tmp_path):
    for name in ("a", "b", "c"):
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "in" / "b").mkdir(parents=True)
    with receiving(tmp_path / "in") as (recv, where):
        rows = send(*(tmp_path / name for name in "abc"), where, code=2)
        recv.end(2)
    failed = {row["path"]: row["error"] for row in of_kind(rows, "file")}
    assert failed["a"] is failed["c"] is None
    assert failed["b"]
    assert (tmp_path / "in" / "c").read_bytes() == b"c"


@pytest.mark.check
def test_strangers_are_refused_and_the_next_one_is_served(tmp_path):
    source = tmp_path / "a"
    source.write_bytes(b"mine")
    with receiving(tmp_path / "in", "--keep") as (recv, where):
        host, port = where.split(":")
        with shmring.Pool(policy="other") as pool:
            for junk in (b"GET / HTTP/1.1\r\n\r\n", evil_manifest()):
                with udt.connect((host, int(port)), pool=pool) as sock:
                    if junk == evil_manifest():
                        meet(sock, protocol.Sender([protocol.Entry(b"a")]))
                    sock.sendall(junk)
                    end = recv.until("end")
                    assert not end["ok"]
                    assert end["error"]
        send(source, where)
        assert recv.until("end")["ok"], recv.rows[-3:]
    assert (tmp_path / "in" / "a").read_bytes() == b"mine"
    assert not (tmp_path / "evil").exists()


def evil_manifest():
    entries = [protocol.Entry(b"aa", is_folder=True), protocol.Entry(b"aa/evil")]
    return b"".join(protocol.Sender(entries).listing()).replace(b"aa", b"..")


def meet(sock, sender):
    """Greet a receiver and prove nothing."""
    sock.sendall(sender.greeting())
    while sender.peer is None:
        list(sender.feed(sock.recv(timeout=PATIENCE_S)))
    sock.sendall(sender.proof())
    events(sock, sender, protocol.Token)


def events(sock, end, kind):
    """Take what the peer says until it says something of this kind."""
    while True:
        for event in end.feed(sock.recv(timeout=PATIENCE_S)):
            if isinstance(event, kind):
                return event


@pytest.mark.check
def test_only_who_knows_the_secret_sends_and_receives(tmp_path):
    source = tmp_path / "a"
    source.write_bytes(b"mine")
    (tmp_path / "key").write_text("0123456789abcdef\n")
    (tmp_path / "other").write_text("0123456789abcdeF\n")
    with receiving(tmp_path / "in", "--secret-file", tmp_path / "key") as (recv, where):
        for words in ([], ["--secret-file", tmp_path / "other"]):
            (end,) = of_kind(send(source, where, *words, code=2), "end")
            assert "does not know the secret" in end["error"]
            assert not recv.until("end")["ok"]
        assert not (tmp_path / "in" / "a").exists()
        send(source, where, "--secret-file", tmp_path / "key")
        assert of_kind(recv.end(), "end")[-1]["ok"], "strangers ended it"
    assert (tmp_path / "in" / "a").read_bytes() == b"mine"
    with receiving(tmp_path / "in") as (recv, where):
        (end,) = of_kind(send(source, where, "--secret-file", tmp_path / "key", code=2), "end")
        assert "does not know the secret" in end["error"]


@pytest.mark.check
def test_what_does_not_prove_is_asked_for_once_more(tmp_path):
    data = content(MB)
    right = hashlib.blake2b(data, digest_size=32).digest()
    with receiving(tmp_path / "in") as (recv, where), shmring.Pool(policy="other") as pool:
        host, port = where.split(":")
        with udt.connect((host, int(port)), pool=pool) as sock:
            sender = protocol.Sender([protocol.Entry(b"a", len(data))])
            meet(sock, sender)
            sock.sendall(b"".join(sender.listing()))
            for damage in (1, 0):
                want = events(sock, sender, protocol.Want)
                assert want.checkpoints == ()
                sock.sendall(sender.begin(0, 0))
                for at in range(0, len(data), protocol.MAX_DATA):
                    piece = bytearray(data[at : at + protocol.MAX_DATA])
                    piece[0] ^= damage
                    sock.sendall(sender.data_head(len(piece)) + piece)
                sock.sendall(sender.end(right))
            assert events(sock, sender, protocol.Result).text == ""
        assert of_kind(recv.end(), "end")[0]["ok"]
    assert (tmp_path / "in" / "a").read_bytes() == data


@pytest.mark.check
def test_a_file_that_is_shorter_than_it_said_is_not_proved(tmp_path):
    """Files of sysfs say that they have a page."""
    with receiving(tmp_path / "in") as (recv, where):
        rows = send("/sys/class/net/lo/mtu", where, code=2)
        recv.end(2)
    assert "shorter" in of_kind(rows, "file")[0]["error"]
    assert not (tmp_path / "in" / "mtu").exists()


# --- the protocol of libudt's programs ------------------------------------------------------------


def test_plain_both_ways_between_ours(tmp_path):
    data = content(3 * MB)
    (tmp_path / "one").write_bytes(data)
    (tmp_path / "two").write_bytes(b"")
    with running("send", "--plain", tmp_path / "one", tmp_path / "two", "127.0.0.1:0") as sender:
        host, port = sender.until("listening")["local"]
        with running(
            "recv", "--plain", f"{host}:{port}", "one", tmp_path / "two", tmp_path / "in"
        ) as recv:
            rows = recv.end()
        sender.end()
    assert (tmp_path / "in" / "one").read_bytes() == data
    assert (tmp_path / "in" / "two").read_bytes() == b""
    assert [row["blake2b"] for row in of_kind(rows, "file")] == [digest(data), digest(b"")]


@pytest.mark.check
def test_plain_gives_only_what_it_was_told_to(tmp_path):
    (tmp_path / "one").write_bytes(b"1")
    (tmp_path / "secret").write_bytes(b"2")
    with running("send", "--plain", tmp_path / "one", "127.0.0.1:0", "--keep") as sender:
        host, port = sender.until("listening")["local"]
        for name in ("secret", tmp_path / "secret", "../secret"):
            with running("recv", "--plain", f"{host}:{port}", name, tmp_path / "in") as recv:
                (row,) = of_kind(recv.end(2), "file")
                assert row["error"] == "the sender has no such file"
        assert os.listdir(tmp_path / "in") == []
        done = run(COMMAND, "recv", "--plain", f"{host}:{port}", "one", str(tmp_path / "in"))
    assert "complete, by its size" in done.stderr  # proved it is not
    assert digest(b"1") in done.stdout
    assert (tmp_path / "in" / "one").read_bytes() == b"1"


# --- wrong usage ----------------------------------------------------------------------------------


@pytest.mark.check
@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["send", "/no/such/file", "127.0.0.1"], ": '/no/such/file'"),
        (["send", __file__, "127.0.0.1:99999"], "is not an address"),
        (["send", __file__, "127.0.0.1", "--cc", "fixed"], "--limit"),
        (["send", __file__, __file__, "127.0.0.1"], "the same name"),
        (["send", __file__, "127.0.0.1", "--keep"], "--keep"),
        (["recv", "a", "b"], "one DIR"),
        (["recv", "--plain", "127.0.0.1", "in"], "at least one file"),
        (["recv", "--secret-file", "/dev/null", "in"], "at least 16"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(words, text, tmp_path):
    done = run(COMMAND, *words, code=2, cwd=tmp_path)
    assert text in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.check
def test_nobody_there_is_said_within_the_patience(tmp_path):
    Path(tmp_path / "a").write_bytes(b"a")
    words = ("send", str(tmp_path / "a"), "127.0.0.1:9", "--patience", "1")
    assert "no answer" in run(COMMAND, *words, code=2).stderr


@pytest.mark.check
def test_a_port_in_use_names_who_listens_there(shmring_namespace, tmp_path):
    with udp() as other:
        port = other.getsockname()[1]
        done = run(COMMAND, "recv", str(tmp_path), "--local", f"127.0.0.1:{port}", code=2)
    assert f"127.0.0.1:{port} is in use by process {os.getpid()} (" in done.stderr
    assert f"user {pwd.getpwuid(os.getuid()).pw_name}, since 20" in done.stderr
    assert "--local :PORT" in done.stderr


def begin_and_lose_the_receiver(tmp_path):
    """Kill the receiver in the middle of a transfer; its address, which is free then."""
    with half_way(tmp_path) as (source, where, recv, first):
        recv.process.send_signal(signal.SIGKILL)
        first.end(2)
    return source, where


@contextmanager
def receiving_at(folder, where):
    """A `recv` at an address that another one had, whose workers may take a moment to end."""
    give_up = time.monotonic() + PATIENCE_S
    while True:
        with running("recv", folder, "--local", where) as command:
            line = command.process.stdout.readline()
            if line:
                yield command
                return
        assert time.monotonic() < give_up


@pytest.mark.check
def test_a_transfer_does_not_go_on_with_somebody_elses_receiver(tmp_path, state):
    source, where = begin_and_lose_the_receiver(tmp_path)
    assert len(list(state.iterdir())) == 2  # the receiver, and the token that it gave
    with receiving_at(tmp_path / "theirs", where) as recv:
        with running("send", source, where) as command:
            rows = command.end(2)
        assert "another receiver listens there now" in of_kind(rows, "end")[0]["error"]
        assert "gave up" in of_kind(recv.end(2), "end")[0]["error"]
    assert [path.name for path in (tmp_path / "theirs").rglob("*") if path.is_file()] == []
    with receiving_at(tmp_path / "theirs", where) as recv:
        send(source, where, "--any-receiver")
        recv.end()
    assert (tmp_path / "theirs" / "big").read_bytes() == source.read_bytes()
    assert list(state.iterdir()) == []
