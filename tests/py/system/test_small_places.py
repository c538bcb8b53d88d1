"""The commands where shared memory is as small as in a container, two of each at a time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from shmring.testing import captures

PATIENCE_S = 240
SHM_MB = 64
WORLD = ("unshare", "--mount", "--pid", "--ipc", "--fork", "--kill-child", "--mount-proc")
MS = 1_000_000

# N is the number of the command, 1 or 2. Each has a port and a namespace of its own.
TWICE = """
mount -t tmpfs -o size={size}m,mode=1777 shm /dev/shm
export SHMRING_RUNTIME_DIR=/dev/shm/run
shmring() {{ {python} -P -m shmring_cli "$@"; }}
sending() {{  # and it goes on until the end
    shmring generate 127.0.0.1:$PORT --duration 60 --limit late=100% >/dev/null &
    until shmring top list -q | grep . >$N.names; do sleep 0.1; done
}}
one() {{
    export N=$1 PORT=$((20000 + 10 * $1)) SHMRING_NAMESPACE=n$1
    {{ {command}; }} >$1.out 2>$1.err
}}
one 1 & first=$!
one 2 & second=$!
wait $first; codes=$?
wait $second; echo $codes $?
tail -n 3 1.err 2.err
"""

COMMANDS = {
    "replay": "shmring replay line.pcapng --to 127.0.0.1 --limit late=100%",
    "generate": "shmring generate 127.0.0.1:$PORT --pps 200k --size 1400 --duration 1 "
    "--limit late=100%",
    "measure": "shmring reflect 127.0.0.1:$PORT --duration 20 & "
    "shmring measure 127.0.0.1:$PORT --pps 20k --size 1400 --duration 1 --limit late=100%",
    "listen": "shmring measure --listen 127.0.0.1:$PORT --duration 1 & "
    "shmring generate 127.0.0.1:$PORT --duration 8 --limit late=100%; wait $!",
    "demo": "shmring demo --duration 1 --json",
    "udt": "shmring udt recv in$N --local 127.0.0.1:$PORT & "
    "shmring udt send line.pcapng 127.0.0.1:$PORT; wait $!",
    # On a busy machine packets may be missing, which is a failure. Then there is a table.
    "bench bulk": "shmring bench bulk --duration 0.2 --runs 1 || grep -q '^bulk: ' $N.out",
    "bench cyclic": "shmring bench cyclic --duration 0.2 --runs 1",
    "bench netflux": "shmring bench netflux --duration 0.2 --runs 1",
    "impair": "shmring impair 127.0.0.1:$PORT --to 127.0.0.1:9 --duration 1",
    "clock": "shmring reflect 127.0.0.1:$PORT --duration 60 & "
    "shmring clock 127.0.0.1:$PORT -n 3",
    "tap": "sending; shmring tap $(head -n 1 $N.names) -o $N.pcapng --duration 1 && "
    "test -s $N.pcapng",
    # Its exit code says whether all is well, and on a busy machine packets may be late.
    "rtstat": "sending; shmring top --json | grep -q schema",
    "up": "shmring up plant & until grep -q ready $N.out; do sleep 0.1; done; shmring ls",
    "bench timed": "shmring bench timed past-300k-8B --duration 0.2 --runs 1",
}


@pytest.mark.needs("mount", "pidns")
@pytest.mark.parametrize(
    "name",
    ["replay", *(pytest.param(name, marks=pytest.mark.check) for name in list(COMMANDS)[1:])],
)
def test_a_command_runs_twice(name: str, tmp_path: Path) -> None:
    file = captures.Pcapng()
    file.interface(resolution=9)
    for number in range(200):
        to = ("127.0.0.1", "::1")[number % 2], 5004
        source = to[0], 9
        file.packet(number * MS, captures.udp(b"packet", source=source, to=to))
    (tmp_path / "line.pcapng").write_bytes(file.data)
    script = TWICE.format(size=SHM_MB, python=sys.executable, command=COMMANDS[name])
    done = subprocess.run(
        [*WORLD, "bash", "-c", script],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        cwd=tmp_path,
        check=False,
    )
    assert done.stdout.startswith("0 0\n"), done.stdout + done.stderr
