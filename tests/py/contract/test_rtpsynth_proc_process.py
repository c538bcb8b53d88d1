"""rtpsynth.RtpProc and what happens to its process: exit, fork, signals, idling."""

import subprocess
import sys
import textwrap

import pytest

pytestmark = pytest.mark.check

PRELUDE = """
import gc, os, signal, sys, threading, time
from rtpsynth.RtpProc import RtpProc, ChannelProcError

MS = 1_000_000
calls = []
def tick(now, deadline):
    calls.append(now)
    return now + MS

def until(condition):
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)

def finish(pid):
    _, status = os.waitpid(pid, 0)
    assert status == 0, status
"""

# What each prints last is "ok"; it must end by itself, with 0 and nothing on standard error.
PROGRAMS = {
    "exit without shutdown": """
        channel = RtpProc().create_channel(tick)
        until(lambda: len(calls) > 3)
        print("ok")
        """,
    "exit with a thousand": """
        proc = RtpProc()
        channels = [proc.create_channel(tick) for _ in range(1000)]
        print("ok")
        """,
    "exit in a callback that is always due": """
        channel = RtpProc().create_channel(lambda now, deadline: 0)
        forever_in_c = RtpProc().create_channel(min)
        print("ok")
        """,
    "exit while a callback sleeps": """
        proc = RtpProc()
        inside = threading.Event()
        def sleep(now, deadline):
            if deadline:
                inside.set()
                time.sleep(0.2)
            return now
        channel = proc.create_channel(sleep)
        inside.wait()
        print("ok")
        """,
    "exit while a callback never returns": """
        proc = RtpProc()
        inside, never = threading.Event(), threading.Event()
        def hang(now, deadline):
            if deadline:
                inside.set()
                never.wait()
            return now
        channel = proc.create_channel(hang)
        inside.wait()
        print("ok")
        """,
    "exit of the main thread while others go on": """
        proc = RtpProc()
        def other():
            time.sleep(0.05)
            count = len(calls)
            until(lambda: len(calls) > count + 3)
            channel.close()
            proc.shutdown()
            print("ok")
        channel = proc.create_channel(tick)
        threading.Thread(target=other).start()
        """,
    "exit by sys.exit in a callback is that channel's": """
        proc = RtpProc()
        channel = proc.create_channel(lambda now, deadline: sys.exit(3))
        try:
            channel.close()
        except ChannelProcError as error:
            assert isinstance(error.__cause__, SystemExit)
            print("ok")
        """,
    "exit with a cycle": """
        class Owner:
            def __init__(self):
                self.channel = RtpProc().create_channel(self.call)
            def call(self, now, deadline):
                return now + MS
        Owner()
        print("ok")
        """,
    "exit after import alone": """
        print("ok")
        """,
    "exit with a daemon that creates": """
        def create():
            while True:
                try:
                    channels.append(RtpProc().create_channel(tick))
                except RuntimeError:
                    return
        channels = []
        threading.Thread(target=create, daemon=True).start()
        until(lambda: len(calls) > 10)
        print("ok")
        """,
    "fork: the child starts anew": """
        proc = RtpProc()
        channel = proc.create_channel(tick)
        failed = proc.create_channel(lambda: None)
        until(lambda: len(calls) > 3)
        pid = os.fork()
        if pid == 0:
            count = len(calls)
            fresh = RtpProc()
            assert fresh is not proc
            assert fresh.create_channel(tick).id == 1
            for _ in range(2):
                try:
                    proc.create_channel(tick)
                    raise SystemExit(1)
                except RuntimeError as error:
                    assert str(error) == "RtpProc is shutting down"
                proc.shutdown()
            channel.close()
            failed.close()
            assert channel.closed
            again = fresh.create_channel(tick)
            until(lambda: len(calls) > count + 5)
            del channel, failed, proc
            fresh.shutdown()
            sys.exit(0)
        finish(pid)
        count = len(calls)
        until(lambda: len(calls) > count + 3)
        channel.close()
        print("ok")
        """,
    "fork: while a callback runs": """
        proc = RtpProc()
        inside, go_on = threading.Event(), threading.Event()
        def slow(now, deadline):
            if deadline:
                inside.set()
                go_on.wait()
            return now
        channel = proc.create_channel(slow)
        inside.wait()
        pid = os.fork()
        if pid == 0:
            channel.close()
            proc.shutdown()
            sys.exit(0)
        finish(pid)
        go_on.set()
        channel.close()
        print("ok")
        """,
    "fork: in a callback": """
        proc = RtpProc()
        pids = []
        def call(now, deadline):
            if deadline == 0:
                return now
            pid = os.fork()
            if pid == 0:
                fresh = RtpProc()
                assert fresh is not proc
                own = fresh.create_channel(tick)
                count = len(calls)
                until(lambda: len(calls) > count + 3)
                channel.close()
                os._exit(0)
            pids.append(pid)
        channel = proc.create_channel(call)
        until(lambda: pids)
        finish(pids[0])
        channel.close()
        print("ok")
        """,
    "fork: a child that returns from the callback ends": """
        proc = RtpProc()
        pids = []
        def call(now, deadline):
            if deadline == 0:
                return now
            pid = os.fork()
            if pid:
                pids.append(pid)
            return now
        channel = proc.create_channel(call)
        until(lambda: pids)
        channel.close()
        for pid in pids:
            finish(pid)
        print("ok")
        """,
    "fork: many, while others work": """
        proc = RtpProc()
        stop = threading.Event()
        def work():
            while not stop.is_set():
                proc.create_channel(tick).close()
        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        for _ in range(20):
            pid = os.fork()
            if pid == 0:
                fresh = RtpProc()
                fresh.create_channel(tick).close()
                os._exit(0)
            finish(pid)
        stop.set()
        for thread in threads:
            thread.join()
        proc.shutdown()
        print("ok")
        """,
    "a signal interrupts create_channel": """
        proc = RtpProc()
        inside, go_on = threading.Event(), threading.Event()
        def hang(now, deadline):
            if deadline:
                inside.set()
                go_on.wait()
            return now
        channel = proc.create_channel(hang)
        inside.wait()
        class Alarm(Exception):
            pass
        def handler(*_):
            raise Alarm
        signal.signal(signal.SIGALRM, handler)
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.5)
            proc.create_channel(tick)
        except Alarm:
            assert not calls
            go_on.set()
            channel.close()
            time.sleep(0.02)
            assert not calls
            proc.shutdown()
            print("ok")
        """,
    "a signal interrupts close, and the channel is closed": """
        proc = RtpProc()
        inside, go_on = threading.Event(), threading.Event()
        def slow(now, deadline):
            if deadline:
                inside.set()
                go_on.wait()
            return now
        channel = proc.create_channel(slow)
        inside.wait()
        class Alarm(Exception):
            pass
        def handler(*_):
            raise Alarm
        signal.signal(signal.SIGALRM, handler)
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.5)
            channel.close()
        except Alarm:
            assert channel.closed
            go_on.set()
            proc.shutdown()
            print("ok")
        """,
    "idling takes next to no time": """
        def cpu_s(period_ns):
            channel = RtpProc().create_channel(lambda now, deadline: now + period_ns)
            before = time.process_time()
            time.sleep(1)
            return time.process_time() - before
        assert cpu_s(3600 * 10**9) < 0.05
        assert cpu_s(20 * MS) < 0.2
        assert cpu_s(MS) < 0.6
        print("ok")
        """,
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs(name, tmp_path):
    done = subprocess.run(
        [sys.executable, "-P", "-X", "faulthandler", "-W", "ignore::DeprecationWarning", "-c",
         PRELUDE + textwrap.dedent(PROGRAMS[name])],
        capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "ok\n", "")
