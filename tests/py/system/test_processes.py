"""Channels and pools in multiprocessing, concurrent.futures and subprocess."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

import shmring

STARTS = ("fork", "spawn", "forkserver")

# A program as users write it: its functions are found by their names in the new process.
PROGRAM = """
import concurrent.futures, multiprocessing, os, signal, sys, time, warnings
import shmring

warnings.simplefilter("error")
warnings.simplefilter("ignore", shmring.errors.RealtimeWarning)
HERE = "127.0.0.1"

def answer(channel, to):
    # A worker process: it gets a channel as an argument.
    assert channel.recv(timeout=20).data == b"question"
    channel.send(b"answer", to=to)
    channel.flush()

def answer_and_close(channel, to):
    with channel:
        answer(channel, to)

def answer_and_vanish(channel, to):
    answer(channel, to)
    os._exit(0)

def answer_and_hang(channel, to):
    answer(channel, to)
    time.sleep(60)

def open_on(pool, to):
    with pool.open("of-child", local=(HERE, 0)) as channel:
        channel.send(pool.name.encode(), to=to)

def attach_by_name(number):
    with shmring.attach("jobs") as jobs:
        return jobs.recv(timeout=20).data

def use(context, target, pool):
    ask = pool.open("ask", local=(HERE, 0))
    serve = pool.open("serve", local=(HERE, 0))
    child = context.Process(target=target, args=(serve, ask.local))
    child.start()
    give_up = time.monotonic() + 20
    while ask.try_recv() is None:  # the child reads what arrives after it has attached
        assert time.monotonic() < give_up
        ask.send(b"question", to=serve.local)
        time.sleep(0.02)
    if target is answer_and_hang:
        os.kill(child.pid, signal.SIGKILL)
    child.join(20)
    assert child.exitcode in (0, -signal.SIGKILL), child.exitcode
    assert sorted(pool.channels()) == ["ask", "serve"]  # the child did not end them
    wait_until(lambda: not [r for r in serve.stats().readers if r.pid == child.pid])
    ask.close()
    serve.close()

def wait_until(condition):
    give_up = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.01)

def main(how):
    context = multiprocessing.get_context(how)
    with shmring.Pool("shared") as pool:
        for target in (answer, answer_and_close, answer_and_vanish, answer_and_hang):
            use(context, target, pool)
        with pool.open("home", local=(HERE, 0)) as home:
            child = context.Process(target=open_on, args=(pool, home.local))
            child.start()
            assert home.recv(timeout=20).data == b"shared"
            child.join(20)
            assert child.exitcode == 0
        with (
            concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as executor,
            pool.open("jobs", shmring.Udp(reading="shared"), local=(HERE, 0)) as jobs,
        ):
            done = executor.map(attach_by_name, range(4))
            for i in range(4):
                jobs.send(b"%d" % i, to=jobs.local)
            assert sorted(done) == [b"0", b"1", b"2", b"3"]
        assert pool.channels() == []
    print("done")

if __name__ == "__main__":
    main(sys.argv[1])
"""


@pytest.mark.parametrize("how", STARTS)
def test_a_program_with_child_processes(how, shmring_namespace, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, "-P", program, how], capture_output=True, text=True, timeout=120
    )
    assert (done.stdout, done.stderr) == ("done\n", "")


def test_the_example_with_three_processes(shmring_namespace, tmp_path: Path) -> None:
    example = Path(__file__).parents[3] / "docs" / "examples" / "processes.py"
    if not example.exists():
        pytest.skip("no sources around these tests")
    command = [sys.executable, "-P", "-W", "ignore", example, "20"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert done.stderr == ""
    assert done.stdout.endswith(f"{'#' * 19}\n")
    rows = [row.split(",") for row in (tmp_path / "late.csv").read_text().splitlines()]
    assert [int(row[0]) for row in rows] == list(range(20))


def test_subprocess_attaches_by_name(shmring_pool) -> None:
    ch = shmring_pool.open("ctl", local=("127.0.0.1", 0))
    script = (
        "import shmring\n"
        "with shmring.attach('ctl') as ch:\n"
        "    ch.send(b'from below', to=ch.local)\n"
    )
    subprocess.run([sys.executable, "-P", "-c", script], check=True, timeout=60)
    assert ch.recv(timeout=20).data == b"from below"


def test_a_private_pool_cannot_be_passed(shmring_pool) -> None:
    with pytest.raises(TypeError, match=r"private.*Pool\(\"name\"\)"):
        pickle.dumps(shmring_pool)


def test_a_named_pool_becomes_a_remote_one(shmring_namespace) -> None:
    with shmring.Pool("shared", policy="other") as pool:
        copy = pickle.loads(pickle.dumps(pool))
        assert (copy.name, copy.namespace) == (pool.name, pool.namespace)
        again = pickle.loads(pickle.dumps(copy))
        with again.open("ctl", local=("127.0.0.1", 0)):
            assert pool.channels() == ["ctl"]
    assert os.environ["SHMRING_NAMESPACE"] == shmring_namespace
