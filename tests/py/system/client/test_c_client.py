"""C programs and Python programs on one channel."""

from __future__ import annotations

import importlib.metadata
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kit.sources import checkout
from kit.wire import free_port

import shmring
from rtworkers import paths

MS = 1_000_000


def examples() -> Path:
    return checkout() / "docs" / "examples"


def test_the_example_a_c_sender_and_a_python_reader(
    build: Callable[[Path], Path], shmring_namespace: str, tmp_path: Path
) -> None:
    script = tmp_path / "reader.py"
    text = (examples() / "reader.py").read_text(encoding="utf-8")
    assert "9311" in text
    script.write_text(text.replace("9311", str(free_port())), encoding="utf-8")
    sender = build(examples() / "sender.c")
    with subprocess.Popen(
        [sys.executable, script, "50"], stdout=subprocess.PIPE, text=True
    ) as reader:
        assert reader.stdout is not None
        assert reader.stdout.readline().startswith("waiting")
        sent = subprocess.check_output([sender, "example", "50"], text=True, timeout=20)
        arrived = reader.stdout.read().splitlines()
        assert reader.wait(20) == 0
    assert sent.startswith("sent 50 packets, ")
    assert [line.split(":")[0] for line in arrived] == [f"packet {i}" for i in range(50)]


def test_the_program_on_the_page_about_c_compiles(
    build: Callable[[Path], Path], tmp_path: Path
) -> None:
    page = (examples().parent / "howto" / "c.md").read_text(encoding="utf-8")
    source = tmp_path / "page.c"
    source.write_text(page.split("```c\n", 1)[1].split("```", 1)[0], encoding="utf-8")
    build(source)


def test_packets_go_both_ways(shmring_open: Any, c_client: Any) -> None:
    here, there = shmring_open("both")
    client = c_client("both")
    assert client.attached == "attached"
    assert client.ask("send 0 from-c") == "0"
    assert there.recv(timeout=20).data == b"from-c"
    client.tell("recv 20000")
    time.sleep(0.1)  # so that it sleeps, and has to be woken
    there.send(b"from-python")
    assert client.line() == "0 from-python"
    assert here.recv(timeout=20).data == b"from-python"
    assert client.close() == 0


def test_what_arrived_since_it_attached_is_received_in_order(
    shmring_open: Any, c_client: Any
) -> None:
    here, there = shmring_open("order")
    client = c_client("order")
    assert client.ask("recv 0").startswith("error EAGAIN")  # attached as reader from here on
    for number in range(5):
        there.send(b"%d" % number)
    assert client.ask("wait packet 20000") == "ready"
    deadline = time.monotonic() + 20
    while here.rx_waiting < 5 and time.monotonic() < deadline:
        time.sleep(0.002)
    assert client.ask("many 3 0") == "0:0 1:1 2:2"
    assert client.ask("many 64 0") == "3:3 4:4"
    assert client.ask("recv 10").startswith("error ETIMEDOUT")


def test_batches_claims_and_times(shmring_open: Any, c_client: Any) -> None:
    here, there = shmring_open("batch")
    client = c_client("batch")
    assert client.ask("batch 10 ab") == "10"
    assert client.ask("claim cd") == "10"
    assert client.ask("abort xy") == "11"
    assert client.ask(f"send {here.now_ns() + 20 * MS} timed") == "12"
    got = [there.recv(timeout=20).data for _ in range(12)]
    assert got == [b"ab"] * 10 + [b"cd", b"timed"]
    assert client.ask(f"send {time.time_ns()} wrong-clock").startswith("error ERANGE")
    assert client.ask("send -1 before").startswith("error ERANGE")


def test_a_local_channel_has_no_addresses(shmring_pool: shmring.Pool, c_client: Any) -> None:
    here = shmring_pool.open("bus", shmring.Local())
    assert here.try_recv() is None
    client = c_client("bus")
    assert client.ask("recv 0").startswith("error EAGAIN")  # attached as reader from here on
    assert client.ask(f"send {here.now_ns() + 20 * MS} from-c") == "0"
    assert here.recv(timeout=20).data == b"from-c"
    assert client.ask("recv 20000") == "0 from-c"
    here.send(b"from-python")
    assert client.ask("recv 20000") == "1 from-python"
    assert client.ask("to 127.0.0.1 9 nowhere").startswith("error EINVAL")
    assert client.ask("info").startswith("bus local ")


def test_queued_packets_are_cancelled_and_replaced(shmring_open: Any, c_client: Any) -> None:
    here, there = shmring_open("queue", here={"held": True})
    client = c_client("queue")
    assert [client.ask(f"send 0 {text}") for text in ("a", "b", "c")] == ["0", "1", "2"]
    assert client.ask("cancel 1") == "1"
    assert client.ask("cancel 1") == "0"
    assert client.ask("replace 2 d") == "3"
    assert client.ask("replace 2 e").startswith("error ENOENT")
    here.release()
    assert [there.recv(timeout=20).data for _ in range(2)] == [b"a", b"d"]
    here.flush(timeout=20)
    verdicts = {r.sequence: str(r.verdict) for r in here.reports(timeout=0)}
    assert {verdicts[1], verdicts[2]} == {"cancelled"}


def test_it_reads_the_reports_of_all_senders(
    shmring_open: Any, c_client: Any, eventually: Any
) -> None:
    here, _ = shmring_open("reports")
    client = c_client("reports")
    here.send(b"by python")
    assert client.ask("send 0 by-c") == "1"
    here.flush(timeout=20)
    answers = eventually(lambda: client.ask("reports 64").replace("none", ""))
    assert answers.startswith("0:")
    quiet = shmring_open("no-reports", here={"engine": shmring.Udp(reports="off")})
    assert c_client("no-reports").ask("reports 1").startswith("error ENOTSUP")
    assert quiet


def test_it_tells_what_the_channel_is(shmring_open: Any, c_client: Any) -> None:
    here, _ = shmring_open("facts", here={"engine": shmring.Udp(max_payload=500)})
    name, engine, direction, state, longest, epoch = c_client("facts").ask("info").split()
    assert (name, engine, direction, state) == ("facts", "udp", "3", "1")
    assert (int(longest), int(epoch)) == (500, here.stats().epoch)


def test_a_descriptor_to_select_on(shmring_open: Any, c_client: Any) -> None:
    _, there = shmring_open("select")
    client = c_client("select")
    client.ask("poll 0")
    assert client.ask("recv 0").startswith("error EAGAIN")
    assert client.ask("poll 0") == "quiet"
    client.tell("poll 20000")
    there.send(b"ring")
    assert client.line() == "readable"
    assert client.ask("recv 0") == "0 ring"
    assert client.ask("recv 0").startswith("error EAGAIN")
    assert client.ask("poll 0") == "quiet"


def test_the_readers_of_a_group_share_the_packets(shmring_open: Any, c_client: Any) -> None:
    here, there = shmring_open("group", here={"engine": shmring.Udp(reading="shared")})
    client = c_client("group")
    there.send(b"one")
    assert client.ask("recv 20000") == "0 one"
    assert here.try_recv() is None


def test_a_replaced_worker_goes_unnoticed(
    shmring_pool: Any, shmring_open: Any, c_client: Any, eventually: Any
) -> None:
    here, there = shmring_open("survivor")
    client = c_client("survivor")
    assert client.ask("poll 0") in ("quiet", "readable")
    assert client.ask("send 0 before") == "0"
    assert there.recv(timeout=20).data == b"before"
    epoch = here.stats().epoch
    os.kill(shmring_pool.workers()[0].pid, signal.SIGKILL)
    eventually(lambda: here.stats().epoch > epoch)
    assert client.ask("send 0 after") == "1"
    assert there.recv(timeout=20).data == b"after"
    there.send(b"answer")
    assert client.ask("recv 20000") == "0 answer"
    here_sends = here.send(b"also python")
    assert here_sends == 2


def test_a_selecting_program_gets_what_comes_after_a_takeover(
    shmring_pool: Any, shmring_open: Any, c_client: Any, eventually: Any
) -> None:
    here, there = shmring_open("selecting")
    client = c_client("selecting")
    client.ask("poll 0")
    assert client.ask("recv 0").startswith("error EAGAIN")
    epoch = here.stats().epoch
    os.kill(shmring_pool.workers()[0].pid, signal.SIGKILL)
    eventually(lambda: here.stats().epoch > epoch)
    there.send(b"later")

    def received() -> bool:
        client.ask("poll 100")
        return client.ask("recv 0") == "0 later"

    eventually(received)


def test_a_closed_channel_says_so(shmring_open: Any, c_client: Any) -> None:
    here, there = shmring_open("ending")
    client = c_client("ending")
    assert client.ask("recv 0").startswith("error EAGAIN")
    there.send(b"last")
    assert here.recv(timeout=20).data == b"last"
    here.close()
    assert client.ask("recv 20000") == "0 last"  # what arrived before is still there
    assert client.ask("recv 20000").startswith('error EPIPE channel "ending"')
    assert client.ask("send 0 late").startswith("error EPIPE")
    assert c_client("ending").attached.startswith('error ENOENT no channel "ending"')


def test_a_file_that_is_cut_short_is_an_error(
    shmring_open: Any, c_client: Any, shmring_namespace: str
) -> None:
    shmring_open("cut")
    client = c_client("cut")
    assert client.ask("send 0 x") == "0"
    os.truncate(paths.shm_file(paths.channel_segment(shmring_namespace, "cut")), 0)
    assert client.ask("send 0 y").startswith('error EPIPE channel "cut": its file')
    assert client.ask("recv 0").startswith("error EPIPE")
    assert client.close() == 0


def test_who_looks_on_cannot_send(shmring_open: Any, c_client: Any) -> None:
    _, there = shmring_open("watched")
    client = c_client("watched", "readonly")
    there.send(b"seen")
    assert client.ask("recv 20000") == "0 seen"
    assert client.ask("send 0 no").startswith("error EPERM")
    assert client.ask("poll 0").startswith("error EPERM")


@pytest.mark.parametrize("bound", ["0.0.0.0", "127.0.0.2"])
def test_an_answer_leaves_from_the_address_that_was_asked(
    shmring_pool: Any, c_client: Any, bound: str
) -> None:
    asker = shmring_pool.open("asker", local=("127.0.0.1", 0))
    server = shmring_pool.open("server", local=(bound, 0), remote=asker.local)
    client = c_client("server")
    assert client.ask("recv 0").startswith("error EAGAIN")  # attached as reader from here on
    asked = ("127.0.0.2", server.local[1])
    asker.send(b"a question", to=asked)
    assert client.ask("answer 20000 a-reply") == "0"
    packet = asker.recv(timeout=20)
    assert (packet.data, packet.source) == (b"a-reply", asked)
    assert client.ask("from 127.0.0.3 x") == "1"
    assert asker.recv(timeout=20).source == ("127.0.0.3", server.local[1])
    assert client.ask("from ::1 x").startswith("error EAFNOSUPPORT source is of family IPv6")
    assert client.ask("from 0.0.0.0 x").startswith("error EINVAL source is a wildcard")


def test_what_cannot_be_sent_is_refused(shmring_pool: Any, c_client: Any) -> None:
    ch = shmring_pool.open("narrow", shmring.Udp(max_payload=8), local=("127.0.0.1", 0))
    client = c_client("narrow")
    assert client.ask("send 0 no-remote").startswith("error EDESTADDRREQ")
    host, port = ch.local
    assert client.ask(f"to {host} {port} much-too-long").startswith("error EMSGSIZE")
    assert client.ask(f"to ::1 {port} x").startswith("error EAFNOSUPPORT")
    assert client.ask(f"to nowhere {port} x").startswith("error EINVAL")
    assert client.ask(f"to {host} {port} fits") == "0"
    assert ch.recv(timeout=20).data == b"fits"
    shmring_pool.open("one-way", shmring.Udp(direction="rx"), local=("127.0.0.1", 0))
    assert c_client("one-way").ask("send 0 x").startswith("error EPERM")


def test_a_full_ring_makes_it_wait(shmring_open: Any, c_client: Any) -> None:
    here, there = shmring_open("full", here={"engine": shmring.Udp(tx=4), "held": True})
    client = c_client("full")
    sent = 0
    while not (answer := client.ask("send 0 x")).startswith("error"):
        sent += 1
        assert sent < 1000
    assert answer.startswith("error EAGAIN")
    assert client.ask("wait room 20").startswith("error ETIMEDOUT")
    client.tell("wait room 20000")
    here.release()
    assert client.line() == "ready"
    assert [there.recv(timeout=20).data for _ in range(sent)] == [b"x"] * sent


def test_a_forked_child_is_a_party_of_its_own(shmring_open: Any, c_client: Any) -> None:
    here, there = shmring_open("forks")
    client = c_client("forks")
    assert client.ask("send 0 parent") == "0"
    assert client.ask("fork") == "1"
    assert client.ask("send 0 parent-again") == "2"
    got = [there.recv(timeout=20).data for _ in range(3)]
    assert got == [b"parent", b"forked", b"parent-again"]
    assert here.state is shmring.State.OPEN


def test_a_killed_c_program_leaves_its_slot_to_others(
    shmring_open: Any, c_client: Any, eventually: Any
) -> None:
    here, there = shmring_open("mortal", here={"share": shmring.Share(producers=1)})
    first = c_client("mortal")
    assert first.ask("send 0 one") == "0"
    first.popen.kill()
    first.popen.wait(20)
    second = c_client("mortal")
    eventually(lambda: not second.ask("send 0 two").startswith("error"))
    assert there.recv(timeout=20).data == b"one"
    assert here.state is shmring.State.OPEN


@pytest.mark.parametrize("name", ["", "a/b", "..", "x" * 65])
def test_names_that_cannot_be(name: str, c_client: Any) -> None:
    assert c_client(name).attached.startswith("error EINVAL")


@pytest.mark.needs("chown")
def test_another_users_channel_is_refused(c_client: Any, shmring_namespace: str) -> None:
    file = paths.shm_file(paths.channel_segment(shmring_namespace, "foreign"))
    file.write_bytes(bytes(8192))
    try:
        os.chown(file, 12345, 12345)
        assert c_client("foreign").attached.startswith("error EPERM")
        os.chown(file, os.geteuid(), os.getegid())
        assert c_client("foreign").attached.startswith("error EPROTO")
    finally:
        file.unlink()


@pytest.mark.program("pkg-config")
def test_pkg_config_finds_the_installed_library(compiler: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "shmring_cli", "cflags", "--pkgconfig"]
    folder = subprocess.check_output(command, text=True, timeout=20).strip()
    said = subprocess.check_output(
        ["pkg-config", "--cflags", "--libs", "shmring"],
        text=True,
        errors="surrogateescape",  # it escapes each byte beyond ASCII for the shell
        env={**os.environ, "PKG_CONFIG_PATH": folder},
    )
    flags = shlex.split(said)
    source, program = tmp_path / "version.c", tmp_path / "version"
    source.write_text(
        "#include <shmring.h>\n#include <stdio.h>\n"
        "int main(void) { return puts(shmring_version()) < 0; }\n"
    )
    subprocess.run([compiler, "-o", program, source, *flags], check=True, timeout=60)
    said = subprocess.check_output([program], text=True, timeout=20).strip()
    assert said == importlib.metadata.version("shmring")


@pytest.mark.program("nm")
def test_only_its_own_calls_are_exported() -> None:
    lines = subprocess.check_output(["nm", "-D", "--defined-only", library()], text=True)
    names = [line.split()[-1] for line in lines.splitlines()]
    assert "shmring_attach" in names
    assert [name for name in names if not name.startswith("shmring_")] == []


def library() -> Path:
    from shmring_cli import cflags

    return cflags.folders()[1] / "libshmring.so"
