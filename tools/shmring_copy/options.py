"""Options that both actions of `shmring udt` share: addresses, rates, options of the socket."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

import shmring
from shmring import room
from shmring.udt import PortOptions, UdtOptions
from shmring.udt.options import RING_BYTES
from shmring_cli import options
from shmring_cli.output import room_text

DEFAULT_PORT = 9000
LEAST_SECRET_BYTES = 16
ANYWHERE = "0.0.0.0"

_BITS = 8
_STEP_BYTES = 1 << 16
_MOST_BITS = 10**15


class SocketOptions(UdtOptions, total=False):
    """Options of connections and of their port."""

    port_options: PortOptions


def add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--limit",
        type=rate,
        metavar="RATE",
        help="bits per second on the wire, headers included: 500k, 80M, 1.5G",
    )
    parser.add_argument(
        "--cc",
        choices=("daimd", "bbr", "fixed"),
        default="bbr",
        help="congestion control; daimd is UDT's own, fixed is --limit (default bbr)",
    )
    options.add_socket(parser, "mss")
    parser.add_argument(
        "--patience",
        type=options.limited("the patience", 0, 86400, above=True),
        default=60.0,
        metavar="TIME",
        help="limit for a silent peer (default 60s)",
    )
    options.add_pool(parser)
    parser.add_argument(
        "--secret-file",
        metavar="FILE",
        help="talk only to an end that has a file with the same contents",
    )
    options.add_json(parser, lines="event")


def socket_options(arguments: argparse.Namespace) -> SocketOptions:
    """Return the options of connections and of their port. The memory of their rings is in
    `arguments.rings`, for `pool_of`. Raises `ValueError`."""
    if arguments.cc == "fixed" and arguments.limit is None:
        raise ValueError("--cc fixed needs a rate: add --limit")
    limit = None if arguments.limit is None else max(1, arguments.limit // _BITS)
    rings = room.fitting(RING_BYTES // _STEP_BYTES, lambda n: 2 * n * _STEP_BYTES)
    arguments.rings = rings
    return {
        "mss": arguments.mss,
        "congestion": arguments.cc,
        "max_bandwidth": limit,
        "ring_bytes": rings.count * _STEP_BYTES,
        "port_options": {"gso": arguments.gso},
    }


def secret_of(arguments: argparse.Namespace) -> bytes | None:
    """Return the secret of both ends, without the end of its line. Raises `ValueError`,
    `OSError`."""
    if arguments.secret_file is None:
        return None
    if arguments.plain:
        raise ValueError("--secret-file: the protocol of --plain has no secrets")
    secret = Path(arguments.secret_file).read_bytes().strip()
    if len(secret) < LEAST_SECRET_BYTES:
        raise ValueError(
            f"{arguments.secret_file} has {len(secret)} bytes: a secret has at least "
            f"{LEAST_SECRET_BYTES}. `openssl rand -hex 32 > {arguments.secret_file}` makes one"
        )
    return secret


@contextlib.contextmanager
def pool_of(arguments: argparse.Namespace) -> Iterator[shmring.Pool | str]:
    """Use private workers, which need no privileges, or those of a named pool. Say which size
    `socket_options` chose: the words of the command are right by now."""
    if not arguments.json:
        print(room_text("rings", arguments.rings, "x 64 KiB each way"), file=sys.stderr, flush=True)
    if arguments.pool is not None:
        yield arguments.pool
        return
    with shmring.Pool(policy="other", namespace=arguments.namespace) as pool:
        yield pool


def rate(text: str) -> int:
    """Parse bits per second."""
    value = round(options.rate(text))
    if not _BITS <= value <= _MOST_BITS:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a rate of 8 bit/s to 1000T: use 500k, 80M or 1.5G"
        )
    return value


def address(text: str) -> tuple[str, int]:
    """Return host and port of HOST, HOST:PORT, [IPV6]:PORT or :PORT. Raises `ValueError`."""
    if text.startswith("["):
        host, closed, port = text[1:].partition("]")
        good = bool(closed) and (port == "" or port.startswith(":"))
        port = port[1:]
    elif text.count(":") > 1:
        host, port, good = text, "", True
    else:
        host, _, port = text.partition(":")
        good = bool(text)
    if port and not (port.isascii() and port.isdigit() and int(port) < 65536):
        good = False
    if not good:
        raise ValueError(f"{text!r} is not an address: use HOST, HOST:PORT or [IPV6]:PORT")
    return host or ANYWHERE, int(port) if port else DEFAULT_PORT


def show(where: tuple[str, int]) -> str:
    host, port = where
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
