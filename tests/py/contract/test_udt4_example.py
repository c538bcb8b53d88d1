"""A program like PyUDT's example `sendrecv_file`, on the drop-in.

It makes the calls of the example in their order: a process forks, its parent listens, its child
connects once and sends 512 MiB of /dev/zero, which it opens with "r", and the parent receives them
into a file. The literal `1024l` of Python 2 is the only thing that is not as in the example.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from kit.wire import free_port

MIB = 1 << 20

MAIN = """\
import os
where = {{"host": "127.0.0.1", "port": {port}}}
if os.fork():
    import server
    server.main(where)
else:
    import client
    client.main(where)
"""

CLIENT = """\
import socket
import udt4

def main(where):
    udt4.startup()
    sock = udt4.socket(socket.AF_INET, socket.SOCK_STREAM, socket.AI_PASSIVE)
    try:
        udt4.connect(sock, where["host"], where["port"])
    except Exception as caught:
        print("not connected: %s" % caught)
        return
    udt4.sendfile(sock, open("/dev/zero", "r"), 0, {size})
    udt4.close(sock)
"""

SERVER = """\
import socket
import udt4

def main(where):
    udt4.startup()
    listener = udt4.socket(socket.AF_INET, socket.SOCK_STREAM, socket.AI_PASSIVE)
    udt4.bind(listener, where["host"], where["port"])
    udt4.listen(listener, 10)
    sock, address = udt4.accept(listener)
    print("a client: %s" % address)
    target = open("target", "wb")
    udt4.recvfile(sock, target, 0, {size})
    udt4.close(sock)
    udt4.close(listener)
    udt4.cleanup()
"""


@pytest.mark.parametrize("size", [8 * MIB, pytest.param(512 * MIB, marks=pytest.mark.check)])
def test_sendrecv_file(size: int, shmring_namespace: str, tmp_path: Path) -> None:
    port = free_port()
    for name, text in (("main", MAIN), ("client", CLIENT), ("server", SERVER)):
        (tmp_path / f"{name}.py").write_text(text.format(port=port, size=size))
    env = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    done = subprocess.run(
        [sys.executable, "main.py"],
        cwd=tmp_path,
        env=env | {"SHMRING_NAMESPACE": shmring_namespace},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("a client: ('127.0.0.1', ")
    assert (tmp_path / "target").stat().st_size == size
    (tmp_path / "target").unlink()
