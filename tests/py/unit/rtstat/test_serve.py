"""The server of the pages: who may ask, how long a client may take, and how many there may be."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
import time

import pytest

from rtstat import serve

PATIENCE_S = 30
PAGES = {"/page": serve.Page("a <page>", lambda environ: serve.Reply(serve.TEXT, b"here\n"))}


@contextlib.contextmanager
def serving(pages):
    names = serve.own_names("plant.example")
    with serve.Server("127.0.0.1", 0, serve.application(pages, names)) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def fetch(port, path="/page", method="GET", **headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    with contextlib.closing(connection):
        connection.request(method, path, headers=headers)
        reply = connection.getresponse()
        return reply, reply.read()


def answered(port, data):
    """All that comes back for these bytes, until the server closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as client:
        parts = []
        with contextlib.suppress(ConnectionError):
            client.sendall(data)
            while part := client.recv(65536):
                parts.append(part)
        return b"".join(parts)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:9464", 200),
        ("[::1]:9464", 200),
        ("10.1.2.3", 200),
        ("localhost:9464", 200),
        ("LOCALHOST", 200),
        ("line.localhost:80", 200),
        (socket.gethostname(), 200),
        ("plant.example:1", 200),
        ("evil.example:9464", 403),
        ("127.0.0.1.evil.example", 403),
        ("localhost.evil.example", 403),
        ("[", 403),
        ("", 403),
    ],
)
def test_only_own_names_and_addresses_may_be_asked_for(host, status):
    with serving(PAGES) as port:
        assert fetch(port, Host=host)[0].status == status


def test_a_client_without_a_host_is_no_browser_and_gets_the_page():
    with serving(PAGES) as port:
        assert answered(port, b"GET /page HTTP/1.0\r\n\r\n").endswith(b"here\n")


def test_every_reply_tells_the_browser_to_load_and_run_nothing_else():
    with serving(PAGES) as port:
        for path in ("/page", "/nothing"):
            reply, _ = fetch(port, path)
            policy = reply.getheader("Content-Security-Policy")
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert reply.getheader("X-Content-Type-Options") == "nosniff"


def test_other_paths_and_methods_are_refused_with_what_there_is():
    with serving(PAGES) as port:
        reply, body = fetch(port, "/../../etc/passwd")
        assert (reply.status, body) == (404, b"use /page\n")
        reply, _ = fetch(port, method="POST")
        assert (reply.status, reply.getheader("Allow")) == (405, "GET, HEAD")
        assert fetch(port, method="HEAD")[1] == b""


def test_the_landing_page_names_all_pages():
    with serving({"/": serve.landing(PAGES), **PAGES}) as port:
        reply, body = fetch(port, "/")
    assert reply.getheader("Content-Type") == serve.HTML
    assert b'<a href="/page">/page</a>: a &lt;page&gt;' in body


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /" + b"x" * 200_000 + b" HTTP/1.1\r\n\r\n",
        b"GET /page HTTP/1.1\r\n" + b"X: " + b"x" * 200_000 + b"\r\n\r\n",
        b"GET /page HTTP/1.1\r\n" + b"X: y\r\n" * 50_000 + b"\r\n",
        b"\x00" * 200_000,
        b"GET /page HTTP/9.9\r\n\r\n",
        b"GET\r\n\r\n",
    ],
)
def test_a_huge_or_broken_request_is_not_answered_with_the_page(request_bytes, capfd):
    with serving(PAGES) as port:
        assert b"here" not in answered(port, request_bytes)
        assert fetch(port)[1] == b"here\n"
    assert capfd.readouterr() == ("", "")


def test_a_client_that_sends_drop_by_drop_is_closed(monkeypatch):
    monkeypatch.setattr(serve, "REQUEST_S", 0.5)
    with (
        serving(PAGES) as port,
        socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as client,
    ):
        client.settimeout(0.05)
        give_up = time.monotonic() + PATIENCE_S
        while time.monotonic() < give_up:
            with contextlib.suppress(TimeoutError):
                try:
                    client.sendall(b"G")
                    if not client.recv(1):
                        return
                except ConnectionError:
                    return
    pytest.fail("still open")


def still_open(connections):
    """Those that the server has not closed."""
    for connection in connections:
        connection.settimeout(0.05)
    found = []
    for connection in connections:
        try:
            if connection.recv(1):
                found.append(connection)
        except TimeoutError:
            found.append(connection)
        except ConnectionError:
            pass
    return found


@pytest.mark.parametrize("sent", [b"", b"GET /page HT", b"GET /endless HTTP/1.0\r\n\r\n"])
def test_nobody_locks_others_out(sent):
    def endless():
        while True:
            time.sleep(0.01)
            yield b"x"

    pages = PAGES | {"/endless": serve.Page("", lambda environ: serve.Reply(serve.TEXT, endless()))}
    with serving(pages) as port, contextlib.ExitStack() as stack:
        those = []
        for _ in range(serve.MAX_CONNECTIONS + 3):
            client = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
            those.append(stack.enter_context(client))
            client.sendall(sent)
        for _ in range(5):
            assert fetch(port)[1] == b"here\n"
        give_up = time.monotonic() + PATIENCE_S
        while len(still_open(those)) >= serve.MAX_CONNECTIONS:
            assert time.monotonic() < give_up


@pytest.mark.parametrize(
    ("clients", "leaver"),
    [
        ("a- " * 63, None),
        ("a- b- " * 32, 0),  # the oldest that has not asked
        ("a+ b- " * 32, 1),
        ("b+ b+ " + "c+ " * 17 + "d- " * 15 + "e- e- " + "f- " * 14 + "g- " * 14, 2),  # too many
        ("b+ " * 16 + "c+ " * 16 + "d- " + "e- " * 2 + "a+ " * 16 + "f+ " * 13, 33),  # most of them
    ],
)
def test_who_leaves(clients, leaver):
    here = []
    for word in clients.split():
        here.append(serve._Client(None, f"10.0.0.{ord(word[0])}"))
        here[-1].has_asked = word[1] == "+"
    gone = serve._Client(None, "10.0.0.9")
    gone.is_closed = True
    found = serve._leaver([gone, *here])
    assert (None if found is None else here.index(found)) == leaver


def test_what_one_user_can_have_is_one_peer():
    assert serve._peer("127.0.0.1") == serve._peer("::1") == serve._peer("127.8.9.10")
    assert serve._peer("::ffff:10.0.0.1") == serve._peer("10.0.0.1") != serve._peer("10.0.0.2")
    assert serve._peer("2001:db8::1%eth0") == serve._peer("2001:db8::ffff:1:2")
    assert serve._peer("2001:db8::1") != serve._peer("2001:db8:0:1::1")


def test_a_client_that_is_slow_gets_all(monkeypatch):
    monkeypatch.setattr(serve, "SEND_S", 1.0)
    body = bytes(12_000_000)
    pages = {"/": serve.Page("long", lambda environ: serve.Reply(serve.TEXT, body))}
    with serving(pages) as port, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
        client.settimeout(PATIENCE_S)
        client.connect(("127.0.0.1", port))
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        began, size = time.monotonic(), 0
        while part := client.recv(65536):
            size += len(part)
            time.sleep(3 * len(part) / len(body))
    assert size > len(body)  # and the headers
    assert time.monotonic() - began > 2 * serve.SEND_S


def test_a_client_cannot_make_the_kernel_keep_much(monkeypatch):
    monkeypatch.setattr(serve, "SEND_S", 0.5)
    taken = []

    class Counting:
        def __iter__(self):
            return self

        def __next__(self):
            taken.append(65536)
            return bytes(65536)

        def close(self):
            taken.append(None)

    pages = {"/": serve.Page("endless", lambda environ: serve.Reply(serve.TEXT, Counting()))}
    with serving(pages) as port, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
        client.connect(("127.0.0.1", port))
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        give_up = time.monotonic() + PATIENCE_S
        while None not in taken and time.monotonic() < give_up:
            time.sleep(0.01)
    assert taken.pop() is None
    assert sum(taken) < 1_000_000


def test_a_client_that_takes_nothing_is_dropped(monkeypatch, capfd):
    monkeypatch.setattr(serve, "SEND_S", 0.2)
    closed = threading.Event()

    class Endless:
        def __iter__(self):
            return self

        def __next__(self):
            return b"x" * 1_000_000

        def close(self):
            closed.set()

    pages = {"/": serve.Page("endless", lambda environ: serve.Reply(serve.TEXT, Endless()))}
    with (
        serving(pages) as port,
        socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as client,
    ):
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert closed.wait(PATIENCE_S)
    assert capfd.readouterr() == ("", "")
