"""csrc/python/proto_cdef.h, through cffi: names are checked when it is compiled, values are Any."""

from typing import Any

ffi: Any
lib: Any
