"""Requests of other processes to a named pool, over ``pool.sock`` in its runtime directory.

Each request and each answer is one SOCK_SEQPACKET message with a JSON object. A request may also
pass a socket that the pool adopts.

    {"op": "open", "name": "ctl", "options": {...}, "exist_ok": true}
                                                      -> {"created": true, "alone": true}
    {"op": "leave", "name": "ctl", "end": true}       -> {"ended": true}, from a process that opened
    {"op": "openers", "name": "ctl"}                  -> {"others": false}
    {"op": "end", "name": "ctl"}                      -> {}
    {"op": "list", "first": 0}                        -> {"channels": [...], "count": 3}
    {"op": "workers", "first": 0}                     -> {"workers": [{...}, ...], "count": 2}
    {"op": "stop"}                                    -> {}, `Pool.serve_forever` returns
    {"op": "client", "pid": 7, "uid": 1001}           -> no answer: the first of a relay's messages
    any of them                                       -> {"error": class, "errno": 22, "text": ...}

SO_PEERCRED tells who asks, or the relay of another user does (`rtworkers.door`). Members of the
pool's group may open channels, within `UserLimits`, and end their own. Only root and the pool's
own user may end any channel or stop the pool.
"""

from __future__ import annotations

import array
import builtins
import contextlib
import dataclasses
import errno
import json
import logging
import operator
import os
import queue
import select
import selectors
import socket
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

from rtworkers import PoolSettings, liveness, ownership, paths
from rtworkers.control import STOPPED_LOOK_S, reach, received_fds, stopped_text
from rtworkers.launch import start_thread
from rtworkers.leavings import Leavings
from rtworkers.opener import Opener, is_stopped
from rtworkers.rare_log import RareLog
from rtworkers.similar import meant_pool
from shmring import errors
from shmring._check import error
from shmring._host import out_of_threads, translated
from shmring._opening import Opened, Opening
from shmring._options import integer
from shmring._pool_quota import Budget, Ledger, UserLimits
from shmring.engine import EngineConfig
from shmring.types import Impairment, WorkerInfo

log = logging.getLogger("shmring.pool")

MESSAGE_MAX_BYTES = 65536
FDS_MAX = 1
REPLY_TIMEOUT_S = 20.0  # a worker may have to start first
CONNECT_LOOK_S = 0.01
LISTEN_PAUSE_S = 0.1
LIST_MAX = 800  # names in one answer
LIST_FIRST_MAX = 1 << 31
SHARED_BYTES_MAX = 1 << 30  # of an engine
WORKERS_MAX = 16  # workers in one answer, each with an error text
TEXT_MAX = 1000  # characters of an error: it may quote a request, and JSON makes it longer
MOST_CONNECTIONS = 1024  # of one trusted user
REQUESTS_MAX = 16  # of root at the same time
USER_REQUESTS_MAX = 4  # of any other user


class FilesLost(OSError):
    """This process had no free descriptors for those that came with a request."""


def socket_path(namespace: str, pool: str) -> Path:
    """Return the socket path at which a named pool takes requests."""
    return paths.pool_directory(namespace, pool) / "pool.sock"


class Served(Protocol):
    """The pool whose requests are answered."""

    @property
    def closed(self) -> bool: ...

    def channels(self) -> list[str]: ...

    def workers(self) -> list[WorkerInfo]: ...

    def end(self, name: str) -> None: ...

    def request_stop(self) -> None: ...

    def _make_channel(
        self,
        name: str,
        options: dict[str, Any],
        engine: EngineConfig | None = None,
        *,
        exist_ok: bool,
        opener: Opener | None,
        budget: Budget,
    ) -> tuple[Opened, Any]: ...

    def _leave_channel(self, name: str, *, end: bool, opener: Opener | None) -> bool: ...

    def _has_other_openers(self, name: str) -> bool: ...


@dataclass(eq=False, slots=True)
class _Client:
    """One connection of a client."""

    connection: socket.socket
    pid: int
    """0: in another pid namespace."""
    uid: int
    named: bool = False
    """Whether the other end is a relay of the door, which told whose requests it passes on."""
    undo: dict[str, Any] | None = None
    """The request that undoes the open whose answer was not sent yet."""


class PoolServer:
    """Answers requests for a pool. It never waits for a client: it reads what has arrived, and
    drops a client that does not read its answer at once. A client that hung up before it was told
    what its open did cannot undo that, so the server does.

    One thread serves all connections. A request that needs a worker's answer gets a thread of its
    own until it is answered. A connection has one request in progress at a time. A user other than
    root has at most `USER_REQUESTS_MAX`.
    """

    def __init__(
        self,
        pool: weakref.ref[Served],
        settings: PoolSettings,
        limits: UserLimits,
        leavings: Leavings,
    ) -> None:
        self._pool = pool
        self._limits = limits
        self._ledger = Ledger(settings.name, limits, self._served, leavings)
        self._clients: dict[socket.socket, _Client] = {}
        self._jobs: dict[threading.Thread, _Client] = {}
        self._answers: queue.SimpleQueue[tuple[threading.Thread, dict[str, Any]]] = (
            queue.SimpleQueue()
        )
        self._waiting: list[_Client] = []
        self._listen_at: float | None = None
        self._notes = RareLog(log)
        self._selector = selectors.DefaultSelector()
        self._wake_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._closing = False
        self._listener = _listen(settings)
        self._selector.register(self._wake_fd, selectors.EVENT_READ)
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._thread = threading.Thread(
            target=self._run, name=f"shmring-pool-{settings.name}-requests", daemon=True
        )
        start_thread(self._thread)
        _servers.add(self)

    def close(self) -> None:
        """Take no more requests. Return when the running ones are answered."""
        if self._wake_fd < 0:
            return
        self._closing = True
        os.eventfd_write(self._wake_fd, 1)
        if self._thread is not threading.current_thread():
            self._thread.join()
        self.forget()

    def forget(self) -> None:
        """Close the descriptors and do nothing else. A forked child may do no more."""
        if self._wake_fd < 0:
            return
        for connection in (self._listener, *self._clients):
            connection.close()
        self._clients.clear()
        self._selector.close()
        os.close(self._wake_fd)
        self._wake_fd = -1

    # --- the server's thread ------------------------------------------------------------------

    def _run(self) -> None:
        while not self._closing or self._jobs:
            try:
                self._round()
            except Exception:
                self._notes.exception("serving requests to the pool failed; the server continues")
                time.sleep(LISTEN_PAUSE_S)

    def _round(self) -> None:
        pause_s = None if self._listen_at is None else self._listen_at - time.monotonic()
        for key, _ in self._selector.select(pause_s):
            if key.fileobj is self._listener:
                self._accept()
            elif isinstance(key.fileobj, socket.socket):
                self._serve(self._clients[key.fileobj])
            else:
                os.eventfd_read(self._wake_fd)
        self._take_answers()
        if self._listen_at is not None and time.monotonic() >= self._listen_at:
            self._listen_at = None
            self._selector.register(self._listener, selectors.EVENT_READ)

    def _take_answers(self) -> None:
        if self._answers.empty():
            return
        while not self._answers.empty():
            job, reply = self._answers.get()
            job.join()  # it still has to write to our eventfd, which `close` closes
            self._answer(self._jobs.pop(job), reply)
        self._start_waiting()

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError as caught:
            # The waiting connection would keep the listener readable: stop listening for some time.
            self._notes.warning("the pool cannot accept connections now: %s", caught.strerror)
            self._selector.unregister(self._listener)
            self._listen_at = time.monotonic() + LISTEN_PAUSE_S
            return
        connection.setblocking(False)
        pid, uid, _ = liveness.peer(connection)
        if not self._ledger.is_trusted(uid):
            connection.close()
            return
        refusal = self._too_many(uid)
        if refusal is not None:
            with contextlib.suppress(OSError):
                _send(connection, _error_reply(refusal))
            connection.close()
            return
        self._clients[connection] = _Client(connection, pid, uid)
        self._selector.register(connection, selectors.EVENT_READ)

    def _too_many(self, uid: int) -> Exception | None:
        most = MOST_CONNECTIONS if self._ledger.is_trusted(uid) else self._limits.connections
        count = sum(client.uid == uid for client in self._clients.values())
        if count < most:
            return None
        return error(
            errno.EUSERS,
            f"user {uid} has {count} connections to the pool, the limit is {most}: close some, or "
            "start the pool with --user-limits connections=",
        )

    def _drop(self, client: _Client) -> None:
        del self._clients[client.connection]
        with contextlib.suppress(KeyError):
            self._selector.unregister(client.connection)
        client.connection.close()

    def _serve(self, client: _Client) -> None:
        """Take a request. An error ends this client's connection and nothing else."""
        try:
            self._read(client)
        except Exception:
            self._notes.exception("serving a client of the pool failed, the client is dropped")
            self._drop(client)

    def _read(self, client: _Client) -> None:
        if self._busy(client.uid) >= (REQUESTS_MAX if client.uid == 0 else USER_REQUESTS_MAX):
            self._selector.unregister(client.connection)
            self._waiting.append(client)
            return
        try:
            request, fds = _receive(client.connection)
        except BlockingIOError:
            return
        except FilesLost as caught:
            self._answer(client, _error_reply(caught))
            return
        except (OSError, ValueError):
            self._drop(client)
            return
        if _has_left(client.connection):
            # It stopped waiting and raised an error: its request must not take effect later.
            for fd in fds:
                os.close(fd)
            self._drop(client)
        elif request.get("op") == "client":
            self._name(client, request, fds)
        elif request.get("op") in ("open", "leave", "openers", "end"):
            self._begin(client, request, fds)
        else:
            self._answer(client, self._reply(client, request, fds))

    def _name(self, client: _Client, request: dict[str, Any], fds: list[int]) -> None:
        """Serve the other user for whom a relay speaks. There is no answer but a refusal."""
        pid, uid = request.get("pid"), request.get("uid")
        if fds or client.named or type(pid) is not int or type(uid) is not int:
            for fd in fds:
                os.close(fd)
            self._drop(client)
            return
        refusal = self._too_many(uid)
        if refusal is not None:
            with contextlib.suppress(OSError):
                _send(client.connection, _error_reply(refusal))
            self._drop(client)
            return
        client.pid, client.uid, client.named = pid, uid, True

    def _busy(self, uid: int) -> int:
        return sum(client.uid == uid for client in self._jobs.values())

    def _start_waiting(self) -> None:
        """Read again from clients whose users had too many requests in progress."""
        waiting, self._waiting = self._waiting, []
        for client in waiting:
            self._selector.register(client.connection, selectors.EVENT_READ)

    def _begin(self, client: _Client, request: dict[str, Any], fds: list[int]) -> None:
        def run() -> None:
            reply = self._reply(client, request, fds)
            self._answers.put((threading.current_thread(), reply))
            os.eventfd_write(self._wake_fd, 1)

        job = threading.Thread(target=run, name="shmring-pool-request", daemon=True)
        try:
            start_thread(job)
        except BlockingIOError:
            for fd in fds:
                os.close(fd)
            self._answer(client, _error_reply(error(errno.EAGAIN, out_of_threads("the pool"))))
            return
        if client.connection in self._selector.get_map():
            self._selector.unregister(client.connection)
        self._jobs[job] = client

    def _answer(self, client: _Client, reply: dict[str, Any]) -> None:
        undo, client.undo = client.undo, None
        try:
            _send(client.connection, reply)
            if client.connection not in self._selector.get_map():
                self._selector.register(client.connection, selectors.EVENT_READ)
        except OSError:
            if undo is None:
                self._drop(client)
            else:  # it hung up, and does not know what it has; the answer to this drops it
                self._begin(client, undo, [])
        except Exception:
            self._notes.exception("an answer of the pool cannot be sent, the client is dropped")
            self._drop(client)

    # --- requests -----------------------------------------------------------------------------

    def _served(self) -> list[str]:
        pool = self._pool()
        return [] if pool is None else pool.channels()

    def _reply(self, client: _Client, request: dict[str, Any], fds: list[int]) -> dict[str, Any]:
        try:
            return self._do(client, request, fds)
        except Exception as caught:
            return _error_reply(caught)
        finally:
            for fd in fds:
                os.close(fd)

    def _do(self, client: _Client, request: dict[str, Any], fds: list[int]) -> dict[str, Any]:
        pool = self._pool()
        if pool is None or pool.closed:
            raise error(errno.EPIPE, "the pool is ending")
        match request:
            case {"op": "open", "name": str() as name, "options": dict()}:
                engine = _decode_engine(request.get("engine"))
                with self._ledger.opening(name, client.uid) as budget:
                    plain = _decode(request["options"], fds)
                    self._ledger.check_socket(client.uid, plain)
                    opener = Opener.of(client.pid, client.uid)
                    opened, _ = pool._make_channel(
                        *(name, plain, engine),
                        exist_ok=request.get("exist_ok") is True,
                        opener=opener,
                        budget=budget,
                    )
                client.undo = {"op": "leave", "name": name, "end": opened.ends_undone}
                return {"created": opened.created, "alone": opened.alone}
            case {"op": "leave", "name": str() as name, "end": bool() as end}:
                opener = Opener.of(client.pid, client.uid)
                return {"ended": pool._leave_channel(name, end=end, opener=opener)}
            case {"op": "openers", "name": str() as name}:
                return {"others": pool._has_other_openers(name)}
            case {"op": "end", "name": str() as name}:
                self._ledger.check_may_end(name, client.uid)
                pool.end(name)
                return {}
            case {"op": "list"}:
                first = integer("first", request.get("first", 0), 0, LIST_FIRST_MAX)
                names = pool.channels()
                return {"channels": names[first : first + LIST_MAX], "count": len(names)}
            case {"op": "workers"}:
                first = integer("first", request.get("first", 0), 0, LIST_FIRST_MAX)
                infos = pool.workers()
                page = [dataclasses.asdict(info) for info in infos[first : first + WORKERS_MAX]]
                return {"workers": page, "count": len(infos)}
            case {"op": "stop"}:
                self._ledger.check_may_stop(client.uid)
                pool.request_stop()
                return {}
        raise error(errno.EPROTO, f"a pool has no request {request.get('op')!r}")


_servers: weakref.WeakSet[PoolServer] = weakref.WeakSet()


def _forget_servers() -> None:
    for server in list(_servers):
        server.forget()


os.register_at_fork(after_in_child=_forget_servers)


def _listen(settings: PoolSettings) -> socket.socket:
    path = settings.directory / "pool.sock"
    path.unlink(missing_ok=True)  # this process owns the directory: the socket is a dead process's
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.setblocking(False)
    try:
        listener.bind(os.fspath(path))
        path.chmod(0o600)  # others come in by the door
        listener.listen(64)
    except OSError as caught:
        listener.close()
        raise OSError(caught.errno, caught.strerror, str(path)) from None
    return listener


class RemotePool(Opening):
    """A named pool that another process runs.

    Raises `BadConfig` for a malformed name.
    """

    def __init__(self, namespace: str, name: str) -> None:
        self._namespace = paths.check_name("namespace", namespace)
        self.name = paths.check_name("pool name", name)

    @property
    def namespace(self) -> str:
        """The namespace of the pool's channels."""
        return self._namespace

    def _make_channel(
        self,
        name: str,
        options: dict[str, Any],
        engine: EngineConfig | None = None,
        *,
        quiet: bool = False,
        exist_ok: bool = False,
    ) -> tuple[Opened, None]:
        plain, sock = _encode(options)
        request: dict[str, Any] = {
            **{"op": "open", "name": name, "options": plain},
            "exist_ok": exist_ok,
        }
        if engine is not None:
            request["engine"] = [engine.name, engine.config.hex(), engine.shared_bytes]
        reply = self._request(request, sock)
        created, alone = (reply.get(name) is not False for name in ("created", "alone"))
        return Opened(self, name, created=created, alone=alone), None

    def _leave_channel(self, name: str, *, end: bool) -> bool:
        request = {"op": "leave", "name": name, "end": end}
        return self._request(request).get("ended") is True

    def _has_other_openers(self, name: str) -> bool:
        return self._request({"op": "openers", "name": name}).get("others") is True

    def end(self, name: str) -> None:
        """End a channel of this pool for all processes."""
        self._request({"op": "end", "name": name})

    def channels(self) -> list[str]:
        """Names of the channels that this pool serves."""
        return self._pages("list", "channels")

    def workers(self) -> list[WorkerInfo]:
        """The started workers, by slot."""
        return [WorkerInfo(**row) for row in self._pages("workers", "workers")]

    def stop(self) -> None:
        """End the pool, its workers and its channels."""
        self._request({"op": "stop"})

    def _pages(self, op: str, key: str) -> list[Any]:
        """Collect a list that may take several answers."""
        rows: list[Any] = []
        while True:
            reply = self._request({"op": op, "first": len(rows)})
            rows += reply[key]
            if not reply[key] or len(rows) >= reply["count"]:
                return rows

    def _request(self, request: dict[str, Any], sock: int | None = None) -> dict[str, Any]:
        with (
            translated(f"pool {self.name!r}"),
            socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection,
        ):
            connection.settimeout(REPLY_TIMEOUT_S)
            try:
                path = socket_path(self.namespace, self.name)
                _connect(connection, path, self._process)
                self._check_peer(connection, Path(connection.getpeername()))
                reply = _exchange(connection, request, sock, self._process)
            except errors.ShmringError:
                raise
            except (FileNotFoundError, ConnectionRefusedError):
                raise error(
                    errno.ENOENT,
                    f"no pool {self.name!r} runs in namespace {self.namespace!r}: start it with "
                    f"`shmring up {self.name}`{meant_pool(self.name, self.namespace)}",
                ) from None
            except ValueError as reason:
                raise error(
                    errno.EPROTO, f"pool {self.name!r} gave a malformed answer: {reason}"
                ) from None
            except (ConnectionError, EOFError):
                raise error(errno.ECONNRESET, f"pool {self.name!r} has ended") from None
            except TimeoutError:
                raise self._silent() from None
            except PermissionError:
                raise error(
                    errno.EACCES, f"pool {self.name!r} belongs to another user: see Pool(group=...)"
                ) from None
        if "error" in reply:
            raise _error_from(reply)
        return reply

    def _process(self) -> int:
        """Return the process that is the pool. 0: unknown."""
        return liveness.owner(paths.pool_directory(self.namespace, self.name)) or 0

    def _silent(self) -> Exception:
        """Return the error for a pool that does not answer."""
        pid = self._process()
        what = f"pool {self.name!r} (process {pid})" if pid else f"pool {self.name!r}"
        text = stopped_text(pid) if is_stopped(pid) else "does not answer"
        return error(errno.ECONNRESET, f"{what} {text}")

    def _check_peer(self, connection: socket.socket, path: Path) -> None:
        """Raise `NoPermission` if the listener's user is not trusted. Another user may have made a
        folder of this name before the pool did."""
        _, uid, _ = liveness.peer(connection)
        if uid in (0, os.geteuid()):
            return
        facts = path.lstat()
        if uid == facts.st_uid and ownership.is_trusted(facts):
            return
        raise error(
            errno.EPERM,
            f"pool {self.name!r}: its socket {path} belongs to {ownership.user_text(uid)}. Only "
            "root, your own user, and an owner who shares it with one of your groups are trusted: "
            "remove it, or set SHMRING_RUNTIME_DIR to a folder of your own",
        )


# --- messages -------------------------------------------------------------------------------------


def _connect(connection: socket.socket, path: Path, process: Callable[[], int]) -> None:
    """Connect to a pool. If it has no room for another connection now, try again. Raises
    `TimeoutError` if the pool is stopped or does not answer."""
    begin = time.monotonic()
    while True:
        try:
            reach(connection, path)
        except BlockingIOError:
            waited_s = time.monotonic() - begin
            stopped = waited_s > STOPPED_LOOK_S and is_stopped(process())
            if waited_s > REPLY_TIMEOUT_S or stopped:
                raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT)) from None
            time.sleep(CONNECT_LOOK_S)
        else:
            return


def _exchange(
    connection: socket.socket, request: dict[str, Any], sock: int | None, process: Callable[[], int]
) -> dict[str, Any]:
    """Send to a pool. If it refused the connection, it wrote the reason before it hung up, so read
    on. Raises `TimeoutError` if the pool is stopped or does not answer."""
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        _send(connection, request, sock)
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    if not poll.poll(STOPPED_LOOK_S * 1000) and is_stopped(process()):
        raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
    try:
        return _receive(connection)[0]
    except ConnectionResetError:  # clears the pending error
        return _receive(connection)[0]


def _has_left(connection: socket.socket) -> bool:
    """Return whether the other side has hung up."""
    poll = select.poll()
    poll.register(connection, 0)
    return bool(poll.poll(0))


def _send(connection: socket.socket, message: dict[str, Any], sock: int | None = None) -> None:
    data = json.dumps(message, default=operator.index).encode("ascii")
    if len(data) > MESSAGE_MAX_BYTES:
        raise errors.BadConfig(f"a request of {len(data)} bytes, the limit is {MESSAGE_MAX_BYTES}")
    rights = []
    if sock is not None:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [sock]))]
    connection.sendmsg([data], rights)


def _receive(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    data, ancillary, flags, _ = connection.recvmsg(
        MESSAGE_MAX_BYTES, socket.CMSG_SPACE(FDS_MAX * 4), socket.MSG_CMSG_CLOEXEC
    )
    fds = received_fds(ancillary)
    try:
        if flags & socket.MSG_CTRUNC:
            raise FilesLost(errno.EMFILE, "the pool is at its limit of open files: raise it")
        if not data:
            raise ConnectionResetError(errno.ECONNRESET, "the other side hung up")
        message = _decode_message(data)
    except BaseException:
        for fd in fds:
            os.close(fd)
        raise
    return message, fds


def _decode_message(data: bytes) -> dict[str, Any]:
    """Raises `ValueError` if the bytes are not a JSON object."""
    try:
        message = json.loads(data)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(message, dict):
        raise ValueError(f"not an object: {message!r:.100}")
    return cast("dict[str, Any]", message)


def _encode(options: dict[str, Any]) -> tuple[dict[str, Any], int | None]:
    """Convert options to plain JSON values. A socket among them is passed separately."""
    plain: dict[str, Any] = dict(options)
    sock = plain.pop("socket", None)
    for name in ("impair", "impair_rx"):
        if isinstance(plain.get(name), Impairment):
            plain[name] = dataclasses.asdict(plain[name])
    if "groups" in plain and not isinstance(plain["groups"], str):
        plain["groups"] = list(plain["groups"])
    return plain, sock.fileno() if isinstance(sock, socket.socket) else sock


def _decode(plain: dict[str, Any], fds: list[int]) -> dict[str, Any]:
    options = dict(plain)
    options.pop("socket", None)
    for name in ("impair", "impair_rx"):
        if isinstance(options.get(name), dict):
            options[name] = Impairment(**options[name])
    if fds:
        options["socket"] = fds[0]
    return options


def _decode_engine(plain: object) -> EngineConfig | None:
    match plain:
        case None:
            return None
        case [str() as name, str() as config, int() as shared_bytes]:
            shared_bytes = integer("shared_bytes", shared_bytes, 0, SHARED_BYTES_MAX)
            try:
                return EngineConfig(name, bytes.fromhex(config), shared_bytes)
            except ValueError as reason:
                raise error(errno.EINVAL, f"the engine's configuration: {reason}") from None
    raise error(errno.EPROTO, f"a pool has no engine {plain!r}")


def _error_reply(caught: Exception) -> dict[str, Any]:
    number = getattr(caught, "errno", None) or 0
    text = getattr(caught, "strerror", None) or str(caught)
    return {"error": type(caught).__name__, "errno": number, "text": _clipped(text)}


def _clipped(text: str) -> str:
    return text if len(text) <= TEXT_MAX else text[: TEXT_MAX - 3] + "..."


_LARGEST_ERRNO = 4095


def _error_from(reply: dict[str, Any]) -> Exception:
    name, number, text = str(reply["error"]), reply.get("errno"), str(reply.get("text", ""))
    if type(number) is not int or not 0 <= number <= _LARGEST_ERRNO:
        number = errno.EPROTO
    kind = getattr(errors, name, None)
    if isinstance(kind, type) and issubclass(kind, errors.ShmringError):
        return kind(number, text) if issubclass(kind, OSError) else kind(text)
    if name in ("TypeError", "ValueError"):
        plain: type[Exception] = getattr(builtins, name)
        return plain(text)
    return error(number or errno.EIO, f"{name}: {text}")
