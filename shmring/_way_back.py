"""The way back: the object that an open channel's opener gave as its engine, from shared memory.

Numbers and words come from the rows of the options (`shmring._option_rows`), and from `_held` of
engines and their parts. Memory does not tell None from the number that it stood for. So the opener
writes a bit for each field whose default is None: whether it was given. Clients can write to this
memory, so a number that no opener writes raises `OSError`, which says what is wrong.
"""

import dataclasses
import errno
from collections.abc import Iterator, Mapping
from itertools import count
from operator import attrgetter
from typing import Any

from shmring import _options
from shmring._check import last_text
from shmring._option_rows import OPTIONS
from shmring._ring import ffi, lib
from shmring._segment import text_of
from shmring._spec import Spec
from shmring.observe.engines import kind_of
from shmring.parts import Queue


def engine_of(config: Any) -> Any:
    """Return the object that the opener of a channel gave as its engine, from the channel's
    ``shm_config_t``. None: it has an engine of another package.

    Raises `OSError` if the configuration has a number that no opener writes.
    """
    kind = kind_of(text_of(config.engine))
    return None if kind is None else Words(kind, config).read()


def opened_as(engine: Spec) -> tuple[int, int, int]:
    """Return what the configuration keeps of the engine's object beside its options: the
    `packet_bytes` of `tx` and `rx`, and the bits of the given fields."""
    if not dataclasses.is_dataclass(engine):
        return 0, 0, 0
    queues = [getattr(engine, name, None) for name in ("tx", "rx")]
    sizes = [queue.packet_bytes or 0 if isinstance(queue, Queue) else 0 for queue in queues]
    bits = sum(1 << place for place, given in enumerate(_bits(type(engine), engine)) if given)
    return sizes[0], sizes[1], bits


def _bits(kind: type[Spec], part: Any) -> Iterator[bool]:
    """Yield for each field whose default is None, also of parts, whether it was given."""
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]
        value = getattr(part, field.name, None)
        if field.default is None:
            yield value is not None
        inner = kind._parts.get(field.name)
        if inner is Queue:
            yield isinstance(value, Queue)
            yield isinstance(value, Queue) and value.packet_bytes is not None
        elif inner is not None:
            yield from _bits(inner, value if isinstance(value, inner) else None)


class Words:
    """The configuration of a channel, as an engine reads it."""

    def __init__(self, kind: type[Spec], shared: Any) -> None:
        """shared: a ``shm_config_t``, which others may change meanwhile: this reads a copy."""
        self.config = ffi.new("shm_config_t *")
        ffi.memmove(self.config, ffi.addressof(shared), ffi.sizeof("shm_config_t"))
        self.own: Any = None
        """The engine's own struct."""
        if kind._struct:
            self.own = ffi.new(f"{kind._struct}_t *")
            ffi.memmove(self.own, self.config.engine_config, ffi.sizeof(f"{kind._struct}_t"))
            if getattr(lib, f"{kind._struct}_check")(self.own) < 0:
                raise OSError(errno.EPROTO, last_text())
        self._kind = kind
        self._given = self.config.given
        self._place = count()

    def read(self) -> Any:
        """Return the object."""
        return self._read(self._kind)

    def _next(self) -> bool:
        return bool(self._given >> next(self._place) & 1)

    def _read(self, kind: type[Spec]) -> Any:
        made = object.__new__(kind)  # a payload that is not held would be missed by its checks
        for field in dataclasses.fields(kind):  # type: ignore[arg-type]
            given = self._next() if field.default is None else True
            object.__setattr__(made, field.name, self._field(kind, field, given))
        return made

    def _field(self, kind: type[Spec], field: Any, given: bool) -> Any:
        inner = kind._parts.get(field.name)
        if inner is Queue:
            return self._queue(field.name, self._next(), self._next()) if given else self._skip(2)
        if inner is not None:
            return self._read(inner) if given else self._skip(sum(1 for _ in _bits(inner, None)))
        if not given:
            return None
        if field.name in self._kind._unheld and kind is not self._kind:
            return field.default
        if field.name in kind._held:
            return kind._held[field.name](self)
        flat = kind._flat.get(field.name, field.name)
        return _options.read_value(flat, self.config) if flat in OPTIONS else None

    def _skip(self, bits: int) -> None:
        for _ in range(bits):
            self._next()

    def _queue(self, name: str, is_queue: bool, has_size: bool) -> int | Queue:
        capacity = getattr(self.config, f"{name}_capacity")
        packets = _options.believed(name, capacity, 1, _options.CAPACITY_MAX)
        if not is_queue:
            return packets
        size = getattr(self.config, f"{name}_packet_bytes")
        _options.believed(f"packet_bytes of {name}", size, 0, lib.SHM_MAX_PAYLOAD)
        return Queue(packets, size if has_size else None)

    # --- for `_held` ------------------------------------------------------------------------------

    def word(self, shown: str, field: str, words: Mapping[Any, int]) -> Any:
        """Return the word for a number of the engine's struct."""
        number = attrgetter(field)(self.own)
        for word, known in words.items():
            if known == number:
                return word
        _options.unbelievable(shown, number, f"one of {', '.join(map(str, words.values()))}")

    def text(self, raw: Any, shown: str) -> str:
        """Return a text. It must have an end and be printable."""
        found = bytes(ffi.buffer(raw))
        if b"\0" not in found or not text_of(raw).isprintable():
            raise OSError(errno.EPROTO, f"its {shown} is no printable text")
        return text_of(raw)


__all__ = ["Words", "engine_of", "opened_as"]
