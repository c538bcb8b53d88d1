"""The server of `--serve-metrics` and `--serve-web`: a few pages over HTTP, for reading only.

Every client may be hostile. Requests are limited in size and time, and connections in number. None
of them can lock others out: if there are too many, a new one is served, and `_leaver` tells which
is closed for it. A request for a host name that is not ours is refused, because a page of another
site could otherwise read ours after its name was changed to our address (DNS rebinding).
"""

from __future__ import annotations

import contextlib
import fcntl
import gzip
import io
import ipaddress
import socket
import sys
import termios
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from html import escape
from socketserver import ThreadingMixIn
from typing import Any, NamedTuple, cast
from urllib.parse import urlsplit
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from shmring_cli.ending import Told

DEFAULT_HOST = "127.0.0.1"
MAX_CONNECTIONS = 64
MAX_OF_A_PEER = 16
"""Of these, how many one peer keeps while others want to connect."""
MAX_THREADS = 512
"""Connections with those that are closed already, whose threads need up to a second to notice."""
MAX_REQUEST_BYTES = 16384
REQUEST_S = 10.0
"""How long a client may take to send its request."""
SEND_S = 10.0
"""How long a client may take nothing of what it is sent. It may take all of it slowly."""
SEND_BUFFER_BYTES = 131_072
"""What the kernel keeps for a client, at most twice this. It would grow to several megabytes."""

TEXT = "text/plain; charset=utf-8"
HTML = "text/html; charset=utf-8"

_HEADERS = (
    (
        "Content-Security-Policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Cache-Control", "no-store"),
)

Environ = dict[str, Any]
"""A request, as WSGI has it."""


class Reply(NamedTuple):
    """What a page answers."""

    kind: str
    body: bytes | Iterable[bytes]
    """Bytes, or parts that are sent as they come. Its ``close``, if any, is called at the end."""
    status: str = "200 OK"


class Page(NamedTuple):
    """What lies under a path."""

    help: str
    answer: Callable[[Environ], Reply]


Pages = Mapping[str, Page]
"""By path, such as ``/metrics``."""
Application = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]


def landing(pages: Pages) -> Page:
    """Return a page that names the pages."""
    lines = "".join(
        f'<li><a href="{escape(path)}">{escape(path)}</a>: {escape(page.help)}</li>\n'
        for path, page in pages.items()
    )
    text = (
        '<!doctype html>\n<html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>shmring</title>\n<h1>shmring on {escape(socket.gethostname())}</h1>\n"
        f"<ul>\n{lines}</ul></html>\n"
    )
    return Page("this list", lambda environ: Reply(HTML, text.encode()))


# --- answering ------------------------------------------------------------------------------------


def own_names(host: str) -> frozenset[str]:
    """Return the names under which clients may ask. Addresses are always allowed."""
    return frozenset((host.lower(), socket.gethostname().lower(), "localhost"))


def application(pages: Pages, names: Collection[str]) -> Application:
    """Return the WSGI application that serves the pages to who asks for one of the names."""

    def answer(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        status, headers, body = _answer(pages, names, environ)
        start_response(status, [*headers, *_HEADERS])
        return body

    return answer


def _answer(
    pages: Pages, names: Collection[str], environ: Environ
) -> tuple[str, list[tuple[str, str]], Iterable[bytes]]:
    reply = _refusal(environ, names)
    if reply is None:
        page = pages.get(environ["PATH_INFO"])
        unknown = f"use {' or '.join(pages)}\n".encode()
        reply = Reply(TEXT, unknown, "404 Not Found") if page is None else page.answer(environ)
    headers = [("Content-Type", reply.kind)]
    if reply.status.startswith("405"):
        headers.append(("Allow", "GET, HEAD"))
    body = reply.body
    if not isinstance(body, bytes):
        return reply.status, headers, body
    if "gzip" in environ.get("HTTP_ACCEPT_ENCODING", ""):
        body = gzip.compress(body, compresslevel=1)
        headers.append(("Content-Encoding", "gzip"))
    headers.append(("Content-Length", str(len(body))))
    return reply.status, headers, [b"" if environ["REQUEST_METHOD"] == "HEAD" else body]


def _refusal(environ: Environ, names: Collection[str]) -> Reply | None:
    if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
        return Reply(TEXT, b"use GET or HEAD\n", "405 Method Not Allowed")
    host = environ.get("HTTP_HOST")
    if host is None or _is_ours(host, names):
        return None
    fix = "this name is not allowed: use an address, or start rtstat with the name as HOST\n"
    return Reply(TEXT, fix.encode(), "403 Forbidden")


def _is_ours(host: str, names: Collection[str]) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
        if name in names or name.endswith(".localhost"):
            return True
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


# --- serving --------------------------------------------------------------------------------------


class _Requests(io.RawIOBase):
    """Reads one request of a client, with a limit on its time and size."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._deadline = time.monotonic() + REQUEST_S
        self._left = MAX_REQUEST_BYTES

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left_s = self._deadline - time.monotonic()
        if left_s <= 0 or self._left <= 0:
            raise ConnectionAbortedError("the request is too long")
        self._connection.settimeout(left_s)
        size = self._connection.recv_into(buffer, min(len(buffer), self._left))
        self._left -= size
        return size


class _Replies(io.BufferedIOBase):
    """Writes to a client, and gives up if it takes nothing."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        left = memoryview(data)
        while left:
            left = left[self._send(left) :]
        return len(data)

    def _send(self, data: memoryview) -> int:
        """Send a part. Return its size."""
        unread_bytes = self._unread_bytes()
        self._connection.settimeout(SEND_S)
        try:
            return self._connection.send(data)
        except TimeoutError:
            if self._unread_bytes() < unread_bytes:
                return 0  # it takes a little: the kernel waits for room of a third of the buffer
            raise ConnectionAbortedError("the client takes nothing") from None

    def _unread_bytes(self) -> int:
        """Return how much of what was sent the client has not acknowledged."""
        found = fcntl.ioctl(self._connection, termios.TIOCOUTQ, bytes(4))
        return int.from_bytes(found, sys.byteorder)


class _Client:
    """A connection."""

    def __init__(self, connection: socket.socket, host: str) -> None:
        self._connection = connection
        self.peer = _peer(host)
        self.has_asked = False
        """Whether its request is complete."""
        self.is_closed = False

    def close(self) -> None:
        """Have the thread of this connection end."""
        self.is_closed = True
        with contextlib.suppress(OSError):  # its client was faster
            self._connection.shutdown(socket.SHUT_RDWR)


def _peer(host: str) -> str:
    """Return what one user can have: an address, a network of IPv6, or all of the loopback."""
    address = ipaddress.ip_address(host.partition("%")[0])
    address = getattr(address, "ipv4_mapped", None) or address
    if address.is_loopback:
        return "localhost"
    return str(address) if address.version == 4 else f"{int(address) >> 64:x}::/64"


def _leaver(clients: Iterable[_Client]) -> _Client | None:
    """Return the connection that is closed for a new one, if there are too many. Clients are given
    in the order in which they came.

    It is the oldest of the worst: first of peers with too many, then those that have not asked yet,
    then of the peer with most.
    """
    here = [client for client in clients if not client.is_closed]
    if len(here) < MAX_CONNECTIONS:
        return None
    count = Counter(client.peer for client in here)
    return max(here, key=lambda c: (count[c.peer] > MAX_OF_A_PEER, not c.has_asked, count[c.peer]))


class _Handler(WSGIRequestHandler):
    def setup(self) -> None:
        self.connection = self.request
        self.rfile = io.BufferedReader(_Requests(self.connection))
        self.wfile = _Replies(self.connection)

    def parse_request(self) -> bool:
        """Read the request."""
        is_whole = super().parse_request()
        cast(Server, self.server).note_asked(self.connection)
        return is_whole

    def log_message(self, format: str, *args: Any) -> None:
        pass


class Server(ThreadingMixIn, WSGIServer):
    """Serves an application, with a thread for each connection."""

    daemon_threads = True

    def __init__(self, host: str, port: int, app: Application) -> None:
        """Raises `OSError`."""
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._lock = threading.Lock()
        self._clients: dict[socket.socket, _Client] = {}  # in the order in which they came
        super().__init__((host, port), _Handler)
        self.set_app(app)

    def server_bind(self) -> None:
        # Do not ask a name server for the own name, because that may take long.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]
        self.setup_environ()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Start a thread, and close another connection if there are too many."""
        with self._lock:
            is_served = len(self._clients) < MAX_THREADS
            if is_served:
                leaver = _leaver(self._clients.values())
                if leaver is not None:
                    leaver.close()
                self._clients[request] = _Client(request, client_address[0])
        if is_served:
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def shutdown_request(self, request: Any) -> None:
        """End a connection."""
        with self._lock:
            self._clients.pop(request, None)
        super().shutdown_request(request)

    def note_asked(self, connection: socket.socket) -> None:
        """Note that the request of a connection is complete."""
        with self._lock:
            self._clients[connection].has_asked = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore clients that disconnect before they have the page."""


def serve(address: tuple[str, int], pages: Pages, name: str, path: str, told: Told) -> None:
    """Serve until the process is told to end.

    name, path: what is announced on stderr, and where it is. Raises `OSError`.
    """
    host, port = address
    try:
        server = Server(host, port, application(pages, own_names(host)))
    except OSError as error:
        raise OSError(f"{host}:{port}: {error.strerror or error}") from None
    with server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        where = _url(server.server_name, server.server_port)
        print(f"{name} at {where}{path}", file=sys.stderr, flush=True)
        told.wait()
        server.shutdown()
        thread.join()


def parse_address(text: str) -> tuple[str, int]:
    """Parse ``9464``, ``0.0.0.0:9464`` or ``[::]:9464``. Raises `ValueError`."""
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not port.isdecimal() or int(port) > 65535 or (colon and not host):
        raise ValueError(f"{text!r}: must be [HOST:]PORT, such as 9464 or 0.0.0.0:9464")
    return host or DEFAULT_HOST, int(port)


def _url(host: str, port: int) -> str:
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
