"""Requests of other processes to a named pool, over ``pool.sock`` in its runtime directory.

One SOCK_SEQPACKET message each way per request: a JSON object; a socket to adopt rides along.

    {"op": "open", "name": "ctl", "options": {...}}   -> {}
    {"op": "close", "name": "ctl"}                    -> {}
    {"op": "list"}                                    -> {"channels": [...]}
    {"op": "workers"}                                 -> {"workers": [{...}, ...]}
    {"op": "stop"}                                    -> {}, `Pool.serve_forever` returns
    any of them                                       -> {"error": class, "errno": 22, "text": ...}
"""

from __future__ import annotations

import array
import builtins
import contextlib
import dataclasses
import errno
import json
import logging
import os
import selectors
import socket
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack, cast

from rtworkers import PoolSettings, liveness, paths
from rtworkers.control import received_fds
from shmring import errors
from shmring._check import error
from shmring._options import ChannelOptions, Engine
from shmring.channel import Channel, owners_end
from shmring.netflux import options as netflux_options
from shmring.netflux.channel import NetfluxChannel, open_end
from shmring.netflux.options import NetfluxOptions
from shmring.rtp import options as rtp_options
from shmring.rtp.channel import RtpChannel
from shmring.rtp.options import RtpOptions
from shmring.types import Impairment

if TYPE_CHECKING:
    from shmring.pool import Pool

log = logging.getLogger("shmring.pool")

MESSAGE_MAX_BYTES = 65536
FDS_MAX = 1
REPLY_TIMEOUT_S = 20.0  # a worker may have to start first


def socket_path(namespace: str, pool: str) -> Path:
    """Where a named pool takes requests."""
    return paths.pool_directory(namespace, pool) / "pool.sock"


class PoolServer:
    """Answers requests for a pool, in a thread of its own, one at a time."""

    def __init__(self, pool: weakref.ref[Pool], settings: PoolSettings) -> None:
        self._pool = pool
        self._group = settings.group
        self._selector = selectors.DefaultSelector()
        self._wake_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._listener = _listen(settings)
        self._selector.register(self._wake_fd, selectors.EVENT_READ)
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        self._thread = threading.Thread(
            target=self._run, name=f"shmring-pool-{settings.name}-requests", daemon=True
        )
        self._thread.start()
        _servers.add(self)

    def close(self) -> None:
        """Take no more requests. Returns when the one under way is answered."""
        if self._wake_fd < 0:
            return
        os.eventfd_write(self._wake_fd, 1)
        if self._thread is not threading.current_thread():
            self._thread.join()
        self.forget()

    def forget(self) -> None:
        """Close the descriptors, and do nothing else: all that a forked child may do."""
        if self._wake_fd < 0:
            return
        for key in list(self._selector.get_map().values()):
            if isinstance(key.fileobj, socket.socket):
                key.fileobj.close()
        self._selector.close()
        os.close(self._wake_fd)
        self._wake_fd = -1

    def _run(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.data is None:
                    return
                try:
                    cast("Callable[[socket.socket], None]", key.data)(
                        cast("socket.socket", key.fileobj)
                    )
                except Exception:
                    log.exception("a request to the pool failed")
                if self._wake_fd < 0:
                    return

    def _accept(self, listener: socket.socket) -> None:
        connection, _ = listener.accept()
        _, uid, _ = liveness.peer(connection)
        if self._group is None and uid not in (0, os.geteuid()):
            connection.close()
            return
        connection.settimeout(REPLY_TIMEOUT_S)
        self._selector.register(connection, selectors.EVENT_READ, self._answer)

    def _answer(self, connection: socket.socket) -> None:
        try:
            request, fds = _receive(connection)
        except (OSError, ValueError):
            self._selector.unregister(connection)
            connection.close()
            return
        try:
            reply = self._do(request, fds)
        except Exception as caught:
            reply = _error_reply(caught)
        finally:
            for fd in fds:
                os.close(fd)
        with contextlib.suppress(OSError):
            _send(connection, reply)

    def _do(self, request: dict[str, Any], fds: list[int]) -> dict[str, Any]:
        pool = self._pool()
        if pool is None or pool.closed:
            raise error(errno.EPIPE, "the pool is ending")
        match request:
            case {"op": "open", "name": name, "options": dict(options)}:
                engine = _decode_engine(request.get("engine"))
                pool.make_channel(name, _decode(options, fds), engine)
                return {}
            case {"op": "close", "name": str() as name}:
                pool.close_channel(name)
                return {}
            case {"op": "list"}:
                return {"channels": pool.channels()}
            case {"op": "workers"}:
                return {"workers": [dataclasses.asdict(info) for info in pool.workers()]}
            case {"op": "stop"}:
                pool.request_stop()
                return {}
        raise error(errno.EPROTO, f"a pool knows no request {request.get('op')!r}")


_servers: weakref.WeakSet[PoolServer] = weakref.WeakSet()


def _forget_servers() -> None:
    for server in list(_servers):
        server.forget()


os.register_at_fork(after_in_child=_forget_servers)


def _listen(settings: PoolSettings) -> socket.socket:
    path = settings.directory / "pool.sock"
    path.unlink(missing_ok=True)  # this process owns the directory: it was a dead one's
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        listener.bind(os.fspath(path))
        if settings.group is None:
            path.chmod(0o600)
        else:
            os.chown(path, -1, settings.group)
            path.chmod(0o660)
        listener.listen(64)
    except BaseException:
        listener.close()
        raise
    return listener


class RemotePool:
    """A named pool that another process runs.

    Raises `BadConfig` for an impossible name.
    """

    def __init__(self, namespace: str, name: str) -> None:
        self.namespace = paths.check_name("namespace", namespace)
        self.name = paths.check_name("pool name", name)

    def open(self, name: str, **options: Unpack[ChannelOptions]) -> Channel:
        """Have the pool open a channel, and attach to it. Raises as `Pool.open`."""
        self.make_channel(name, options)
        return owners_end(Channel, name, self.namespace, self)

    def open_rtp(self, name: str, **options: Unpack[RtpOptions]) -> RtpChannel:
        """Have the pool open an RTP channel, and attach to it. Raises as `Pool.open_rtp`."""
        plain, engine = rtp_options.prepare(options)
        self.make_channel(name, plain, engine)
        return owners_end(RtpChannel, name, self.namespace, self)

    def open_netflux(self, name: str, **options: Unpack[NetfluxOptions]) -> NetfluxChannel:
        """Have the pool open a Netflux link, and attach to it. Raises as `Pool.open_netflux`."""
        start = netflux_options.prepare(options)
        self.make_channel(name, start.plain, start.engine)
        return open_end(name, self.namespace, self, start)

    def make_channel(
        self, name: str, options: ChannelOptions, engine: Engine | None = None
    ) -> None:
        """As `open`, without an end in this process, and with any engine. Raises as `Pool.open`."""
        plain, sock = _encode(options)
        request: dict[str, Any] = {"op": "open", "name": name, "options": plain}
        if engine is not None:
            request["engine"] = [engine.name, engine.config.hex(), engine.shared_bytes]
        self._request(request, sock)

    def close_channel(self, name: str) -> None:
        """Close a channel of this pool for all processes."""
        self._request({"op": "close", "name": name})

    def channels(self) -> list[str]:
        """Names of the channels that this pool serves."""
        return list(self._request({"op": "list"})["channels"])

    def workers(self) -> list[dict[str, Any]]:
        """As `Pool.workers`, as dictionaries."""
        return list(self._request({"op": "workers"})["workers"])

    def stop(self) -> None:
        """End the pool, its workers and its channels."""
        self._request({"op": "stop"})

    def _request(self, request: dict[str, Any], sock: int | None = None) -> dict[str, Any]:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
            connection.settimeout(REPLY_TIMEOUT_S)
            try:
                connection.connect(os.fspath(socket_path(self.namespace, self.name)))
                _send(connection, request, sock)
                reply, _ = _receive(connection)
            except (FileNotFoundError, ConnectionRefusedError):
                raise error(
                    errno.ENOENT,
                    f"no pool {self.name!r} runs in namespace {self.namespace!r}: start it with "
                    f"`shmring up {self.name}`",
                ) from None
            except ValueError as reason:
                raise error(
                    errno.EPROTO, f"pool {self.name!r} gave an answer that makes no sense: {reason}"
                ) from None
            except (ConnectionError, EOFError):
                raise error(errno.ECONNRESET, f"pool {self.name!r} ended meanwhile") from None
            except TimeoutError:
                raise error(errno.ECONNRESET, f"pool {self.name!r} does not answer") from None
            except PermissionError:
                raise error(
                    errno.EACCES, f"pool {self.name!r} belongs to another user: see Pool(group=...)"
                ) from None
        if "error" in reply:
            raise _error_from(reply)
        return reply


# --- messages -------------------------------------------------------------------------------------


def _send(connection: socket.socket, message: dict[str, Any], sock: int | None = None) -> None:
    data = json.dumps(message).encode("ascii")
    if len(data) > MESSAGE_MAX_BYTES:
        raise errors.BadConfig(f"a request of {len(data)} bytes, the limit is {MESSAGE_MAX_BYTES}")
    rights = []
    if sock is not None:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [sock]))]
    connection.sendmsg([data], rights)


def _receive(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    data, ancillary, _, _ = connection.recvmsg(
        MESSAGE_MAX_BYTES, socket.CMSG_SPACE(FDS_MAX * 4), socket.MSG_CMSG_CLOEXEC
    )
    fds = received_fds(ancillary)
    try:
        if not data:
            raise ConnectionResetError(errno.ECONNRESET, "the other side hung up")
        message = _decode_message(data)
    except BaseException:
        for fd in fds:
            os.close(fd)
        raise
    return message, fds


def _decode_message(data: bytes) -> dict[str, Any]:
    """Raises `ValueError` for bytes that are no JSON object."""
    try:
        message = json.loads(data)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(message, dict):
        raise ValueError(f"not an object: {message!r:.100}")
    return message


def _encode(options: ChannelOptions) -> tuple[dict[str, Any], int | None]:
    """Options as plain JSON values, and the socket that goes beside them."""
    plain: dict[str, Any] = dict(options)
    sock = plain.pop("socket", None)
    for name in ("impair", "impair_rx"):
        if isinstance(plain.get(name), Impairment):
            plain[name] = dataclasses.asdict(plain[name])
    if "groups" in plain and not isinstance(plain["groups"], str):
        plain["groups"] = list(plain["groups"])
    return plain, sock.fileno() if isinstance(sock, socket.socket) else sock


def _decode(plain: dict[str, Any], fds: list[int]) -> ChannelOptions:
    options = dict(plain)
    options.pop("socket", None)
    for name in ("impair", "impair_rx"):
        if isinstance(options.get(name), dict):
            options[name] = Impairment(**options[name])
    if fds:
        options["socket"] = fds[0]
    return cast("ChannelOptions", options)


def _decode_engine(plain: object) -> Engine | None:
    match plain:
        case None:
            return None
        case [str() as name, str() as config, int() as shared_bytes]:
            return Engine(name, bytes.fromhex(config), shared_bytes)
    raise error(errno.EPROTO, f"a pool knows no engine {plain!r}")


def _error_reply(caught: Exception) -> dict[str, Any]:
    number = getattr(caught, "errno", None) or 0
    text = getattr(caught, "strerror", None) or str(caught)
    return {"error": type(caught).__name__, "errno": number, "text": text}


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
