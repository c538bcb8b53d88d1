"""The full screen in a real terminal: tmux types the keys and tells what is on the screen."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path

import needs
import pytest

pytestmark = pytest.mark.check

pytest.importorskip("textual")

PATIENCE_S = 20
HERE = ("127.0.0.1", 0)
NOWHERE = ("127.0.0.1", 9)


class Terminal:
    """A window of a tmux server of the test's own, in which a shell runs."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._tmux("-f", "/dev/null", "new-session", "-d", "-x", "180", "-y", "40", "sh")

    def type(self, *keys: str) -> None:
        """Press keys, by tmux's names for them."""
        self._tmux("send-keys", *keys)

    def run(self, command: str) -> None:
        self._tmux("send-keys", "-l", command)
        self.type("Enter")

    def screen(self) -> str:
        """What is to be seen."""
        return self._tmux("capture-pane", "-p")

    def resize(self, columns: int, lines: int) -> None:
        self._tmux("resize-window", "-x", str(columns), "-y", str(lines))

    def close(self) -> None:
        self._tmux("kill-server")

    def _tmux(self, *words: str) -> str:
        done = subprocess.run(
            ["tmux", "-S", str(self._socket), *words],
            capture_output=True,
            text=True,
            check=True,
            env=self._environment(),
        )
        return done.stdout

    @staticmethod
    def _environment() -> dict[str, str]:
        """Without COLUMNS and LINES, which a program believes more than its terminal. Readline
        sets them in the process that starts pytest-xdist's workers."""
        kept = {name: os.environ[name] for name in os.environ if name not in ("COLUMNS", "LINES")}
        return kept | {"TERM": "xterm-256color", "LC_ALL": "C.UTF-8", "TMUX": ""}


@pytest.fixture
def terminal(other_runtime: Path) -> Iterator[Terminal]:
    needs.require_program("tmux")
    window = Terminal(other_runtime / "tmux")
    yield window
    window.close()


def rtstat(namespace: str, *options: str) -> str:
    """A command line that runs the installed rtstat."""
    program = Path(sysconfig.get_path("scripts")) / "rtstat"
    words = [str(program)] if program.is_file() else [sys.executable, "-P", "-m", "rtstat"]
    return shlex.join([*words, "--namespace", namespace, *options])


def see(terminal: Terminal, *texts: str, gone: str = "") -> str:
    """Wait until these texts are to be seen, and `gone` is not. Return the screen."""
    give_up = time.monotonic() + PATIENCE_S
    seen = terminal.screen()
    while not all(text in seen for text in texts) or (gone and gone in seen):
        assert time.monotonic() < give_up, f"not seen: {texts}\n{seen}"
        time.sleep(0.02)
        seen = terminal.screen()
    return seen


def test_keys_in_and_screen_out(terminal, shmring_namespace, shmring_pool):
    with (
        shmring_pool.open("axis-1", local=HERE, remote=NOWHERE) as axis,
        shmring_pool.open("camera", local=HERE, remote=NOWHERE),
    ):
        for _ in range(3):
            axis.send(b"late", at=time.monotonic_ns() - 5_000_000)
        terminal.run(f"{rtstat(shmring_namespace, '-i', '0.3')}; echo exit code $?.")
        seen = see(terminal, "axis-1", "camera", "OK: no troubles", "wake p99")
        assert "2 channels" in seen
        see(terminal, " 3 ")
        terminal.type("/")
        see(terminal, "words to find")
        terminal.type("c", "a", "m", "Enter")
        see(terminal, "camera", "filter: cam", gone="axis-1")
        terminal.type("Escape")
        see(terminal, "axis-1")
        terminal.type("Home")
        terminal.type("Enter")
        see(terminal, "enqueued late", "over time", "127.0.0.1:9")
        terminal.resize(100, 30)
        see(terminal, "enqueued late")
        terminal.type("Escape")
        see(terminal, "camera", gone="enqueued late")
        terminal.type("?")
        see(terminal, "Keys", "count from now on")
        terminal.type("Escape")
        see(terminal, "camera", gone="Keys")
        terminal.type("p")
        see(terminal, "PAUSED")
        terminal.type("q")
        see(terminal, "exit code 0.")


def test_a_dead_pool_is_loud_and_the_exit_code_tells(
    terminal, shmring_namespace, shmring_pool, python
):
    other = python(
        "import shmring, sys\n"
        "pool = shmring.Pool()\n"
        "channel = pool.open('orphan', local=('127.0.0.1', 0), remote=('127.0.0.1', 9))\n"
        "print(pool.workers()[0].pid, flush=True)\n"
        "sys.stdin.readline()\n"
        "pool.close()\n"
    )
    worker_pid = int(other.line())
    terminal.run(f"{rtstat(shmring_namespace, '-i', '0.3')}; echo exit code $?.")
    see(terminal, "orphan", "OK: no troubles")
    os.kill(other.pid, signal.SIGSTOP)
    os.waitid(os.P_PID, other.pid, os.WSTOPPED | os.WNOWAIT)  # else it may reap its worker yet
    os.kill(worker_pid, signal.SIGKILL)
    see(terminal, "BROKEN: ", "worker_dead", "pool_stopped", "stale")
    terminal.type("q")
    see(terminal, "exit code 5.")
    os.kill(other.pid, signal.SIGCONT)
    other.tell()
    other.wait()


def test_ctrl_c_gives_the_terminal_back(terminal, shmring_namespace, shmring_pool):
    with shmring_pool.open("axis", local=HERE, remote=NOWHERE):
        terminal.run(f"{rtstat(shmring_namespace)}; echo exit code $?.")
        see(terminal, "axis", "OK: no troubles")
        terminal.type("C-c")
        see(terminal, "exit code 0.", gone="wake p99")


def test_without_a_terminal_it_is_plain_text(shmring_namespace, shmring_pool):
    with shmring_pool.open("axis", local=HERE, remote=NOWHERE):
        done = subprocess.run(
            f"{rtstat(shmring_namespace, '-n', '1')} | cat",
            shell=True,
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert "axis" in done.stdout
    assert "\x1b" not in done.stdout
