"""csrc/python/rtpsynth/headers.c"""

from typing_extensions import Buffer

def parse(
    buffer: Buffer,
    offsets: Buffer | None,
    sizes: Buffer | None,
    stride: int,
    size: int,
    count: int,
    /,
) -> bytearray: ...
