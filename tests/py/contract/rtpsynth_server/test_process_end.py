"""rtpsynth.RtpServer: the end of the process, and forks."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.usefixtures("own_workers")


# --- the end of the process

SCRIPT = """
import os, socket, sys, threading, time
from rtpsynth.RtpServer import RtpQueueFullError, RtpServer
server = RtpServer()
calls = []
def callback(*args):
    calls.append(args)
channel = server.create_channel(callback, "127.0.0.1")
channel.set_target(*channel.local_addr)
"""


def run_script(script, namespace, status=0):
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", SCRIPT + script],  # of fork
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=os.environ | {"SHMRING_NAMESPACE": namespace},
    )
    assert (done.stdout, done.stderr) == ("", "")
    assert done.returncode == status
    from rtworkers import paths

    assert [name.posix_name for name in paths.shm_names(namespace)] == []


@pytest.mark.check
@pytest.mark.parametrize(
    "script",
    [
        "",
        "for _ in range(32): channel.send_pkt(b'x')",
        "server = channel = None",
        # amid a stream of callbacks
        """
def flood():
    while True:
        try:
            channel.send_pkt(b'x')
        except Exception:
            time.sleep(0)
threading.Thread(target=flood, daemon=True).start()
time.sleep(0.2)
""",
        # one that never returns
        """
blocked = server.create_channel(lambda *_: time.sleep(1000), "127.0.0.1")
channel.set_target(*blocked.local_addr)
channel.send_pkt(b'x')
time.sleep(0.1)
""",
        # one that uses the server when it is over
        """
import atexit
def late():
    for act in (lambda: channel.send_pkt(b'x'), channel.close, server.shutdown):
        try:
            act()
        except RuntimeError:
            pass
atexit.register(late)
""",
        pytest.param("others = [RtpServer() for _ in range(5)]", marks=pytest.mark.shm_mb(100)),
    ],
)
def test_exit_without_shutdown(script):
    run_script(script, f"exit-{os.getpid()}")


def test_exit_by_an_exception_in_the_main_thread():
    run_script("sys.exit(7)", f"exit-{os.getpid()}", status=7)


FORK = """
def child():
    told = []
    for act in (
        lambda: channel.send_pkt(b"x"),
        lambda: channel.set_target("127.0.0.1", 9),
        lambda: server.create_channel(callback, "127.0.0.1"),
    ):
        try:
            act()
        except RuntimeError as error:
            told.append(str(error))
    assert told == ["RtpServer is shutting down"] * 3, told
    try:
        channel.close()
    except RuntimeError as error:
        assert str(error) == "Server has been shutdown"
    else:
        raise AssertionError
    server.shutdown()
    mine = RtpServer()
    got = threading.Event()
    own = mine.create_channel(lambda *_: got.set(), "127.0.0.1")
    own.set_target(*own.local_addr)
    own.send_pkt(b"own")
    assert got.wait(20)
    mine.shutdown()

def check_parent():
    give_up = time.monotonic() + 20
    before = len(calls)
    while True:
        try:
            channel.send_pkt(b"parent")
            break
        except RtpQueueFullError:  # of what others sent
            assert time.monotonic() < give_up
            time.sleep(0.001)
    while len(calls) == before:
        assert time.monotonic() < give_up
        time.sleep(0.001)

def fork(work):
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(pid, 0)[1] == 0
"""


def test_a_forked_child_has_no_server():
    script = FORK + "check_parent()\nfork(child)\ncheck_parent()\n"
    run_script(script, f"fork-{os.getpid()}")


def test_a_child_forked_amid_callbacks():
    script = (
        FORK
        + """
stop = False
def flood():
    while not stop:
        try:
            channel.send_pkt(b"x")
        except Exception:
            time.sleep(0)
flooder = threading.Thread(target=flood)
flooder.start()
for _ in range(5):
    fork(child)
stop = True
flooder.join()
check_parent()
"""
    )
    run_script(script, f"fork-{os.getpid()}")


def test_a_child_forked_by_a_callback():
    script = (
        FORK
        + """
done = threading.Event()
def forking(*_):
    fork(child)
    done.set()
forker = server.create_channel(forking, "127.0.0.1")
channel.set_target(*forker.local_addr)
channel.send_pkt(b"fork")
assert done.wait(40)
channel.set_target(*channel.local_addr)
check_parent()
"""
    )
    run_script(script, f"fork-{os.getpid()}")
