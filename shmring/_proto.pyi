"""csrc/python/proto_cdef.txt, through cffi: names are checked at build time, values are Any."""

from typing import Any

ffi: Any
lib: Any
