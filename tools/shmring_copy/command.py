"""Send and receive files and folders over UDT, which is fast on long and lossy paths.

One end runs `shmring udt recv DIR`, the other `shmring udt send FILE... HOST`. A file gets
its name after a hash of its contents (BLAKE2b) has proved that it is complete. Incomplete
files wait in DIR/.shmring-udt, and the same command continues them.

With --plain each end talks to libudt's programs `sendfile` and `recvfile`. Then the end
with the files listens, and the other one asks for them by name.

There is no encryption. Without --secret-file anyone who reaches the port may put files
into DIR. Use the command in networks you trust, or through a tunnel.

examples:
  shmring udt recv inbox                          wait for one transfer on port 9000
  shmring udt send film.mov photos/ 192.0.2.7     send a file and a folder there
  shmring udt send film.mov 192.0.2.7 --limit 80M leave room for others
  shmring udt send --help                         more options
"""

from __future__ import annotations

import argparse
import importlib
import sys
from typing import Any

from shmring_cli import options
from shmring_cli.common import FAILED, FINE, USAGE
from shmring_cli.ending import Ended
from shmring_cli.output import JsonRows
from shmring_copy.options import add_common

_SEND = """\
Send files and folders to a `shmring udt recv`, each under its own name.

A file is sent only as far as the receiver does not have it. The receiver checks the whole
file by its hash. Exit code 0 means that everything is there and checked. Links inside
folders are skipped and named.

With --plain: listen at HOST, and give each FILE to any peer that asks for it, by its name
or by the path as written here, until each was given once (or without end: --keep).

examples:
  shmring udt send film.mov photos/ 192.0.2.7           to port 9000
  shmring udt send film.mov [2001:db8::7]:9100          to another port, over IPv6
  shmring udt send film.mov 192.0.2.7 --limit 80M       at most 80 Mbit/s on the wire
  shmring udt send --plain film.mov 0.0.0.0:9000        for libudt's recvfile
"""

_RECV = """\
Receive the files of one `shmring udt send` into DIR, which is created if necessary.

Existing files are replaced when the new ones are complete and checked. Interrupted
transfers continue where they stopped when both commands are started again. Exit code 0
means that everything is there and checked.

With --plain HOST: ask libudt's `sendfile` there, or a `shmring udt send --plain`, for
the files NAME.... This protocol has no hash: the size is checked, the hash is shown.

examples:
  shmring udt recv inbox                                one transfer, then end
  shmring udt recv inbox --keep                         one after the other, until Ctrl-C
  shmring udt recv inbox --local 192.0.2.7:9100 --json-lines     for scripts
  shmring udt recv inbox --secret-file key              only from who has the same file
  shmring udt recv --plain 192.0.2.7 film.mov inbox     from libudt's sendfile
"""

_MODULES = {"send": "shmring_copy.send", "recv": "shmring_copy.recv"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(action=None, udt_parser=parser)
    actions = parser.add_subparsers(title="actions", metavar="send|recv")
    send = _action(actions, "send", "files and folders to a host", _SEND)
    send.add_argument("files", nargs="+", metavar="FILE", help="a file or a folder")
    send.add_argument("host", metavar="HOST", help="HOST, HOST:PORT or [IPV6]:PORT; port 9000")
    send.add_argument(
        "--plain", action="store_true", help="for libudt's recvfile: listen at HOST instead"
    )
    send.add_argument(
        "--any-receiver",
        action="store_true",
        help="begin anew if another receiver has taken the place of the first one",
    )
    recv = _action(actions, "recv", "receive files into a folder", _RECV)
    recv.add_argument("names", nargs="*", metavar="NAME", help="with --plain: the files to ask for")
    recv.add_argument("folder", metavar="DIR", help="folder for the files")
    options.add_local(recv, str, "where to listen (default 0.0.0.0:9000)")
    recv.add_argument(
        "--update",
        action="store_true",
        help="skip files that exist and are equal. Any sender may learn their hashes",
    )
    recv.add_argument("--plain", metavar="HOST", help="ask libudt's sendfile at this host")
    for action in (send, recv):
        action.add_argument(
            "--keep", action="store_true", help="if it listens: serve one after the other"
        )
        add_common(action)


def _action(actions: Any, name: str, text: str, description: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(
        name,
        help=text,
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(action=name)
    return parser


def run(arguments: argparse.Namespace) -> int:
    if arguments.action is None:
        arguments.udt_parser.print_help()
        return USAGE
    module = importlib.import_module(_MODULES[arguments.action])
    arguments.rows = JsonRows(arguments.json)
    try:
        return int(module.run(arguments))
    except Ended:
        if arguments.keep:
            return FINE
        print("shmring udt: interrupted", file=sys.stderr)
        return FAILED
    finally:
        arguments.rows.end()
