"""Pure: a GIF file reduced to its first pictures (GIF89a specification).

    header  colour table  [comments, settings ..]  descriptor  colour table  data  ..

Pillow reads what precedes the picture byte by byte: a minute for a file of zeros. And it makes
room for what a picture leaves behind for the next one, before anybody could see the size.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice

_EXTENSION, _PICTURE, _END = b"!,;"
# The extension that says which colour is clear, and what becomes of the picture after its time.
_CONTROL, _FLAGS, _DISPOSAL = 0xF9, 3, 0x1C
_BLOCK = re.compile(rb"[!,;]")
# A block has at most 255 bytes: 500 MB of picture, or of comments.
_MOST_BLOCKS = 2_000_000
_MOST_STRAY_BYTES = 65536  # between blocks; decoders pass over them


def first_picture(data: bytes) -> bytes:
    """A file of the first picture alone. Raises ValueError where a part of it is missing."""
    for start, control, rest in _pictures(data):
        if len(control) > _FLAGS:
            control[_FLAGS] &= ~_DISPOSAL & 0xFF
        return data[:start] + control + rest + bytes((_END,))
    raise ValueError("cut short: there is no picture in it")


def first_pictures(data: bytes, most: int) -> bytes:
    """A file of the first pictures, as far as they are whole and within the screen."""
    parts = [data[: 13 + _table_size(data[10])]]
    with suppress(ValueError):
        for _, control, rest in islice(_pictures(data), most):
            left, top, width, height = (_number(rest, at) for at in (1, 3, 5, 7))
            if left + width > _number(data, 6) or top + height > _number(data, 8):
                break
            parts.append(bytes(control) + rest)
    return b"".join(parts) + bytes((_END,))


def _pictures(data: bytes) -> Iterator[tuple[int, bytearray, bytes]]:
    """Where the header ends; a picture's settings; the picture. Raises ValueError for a broken
    one."""
    try:
        at = start = 13 + _table_size(data[10])
        control = bytearray()
        while match := _BLOCK.search(data, at, at + _MOST_STRAY_BYTES):
            at = match.start()
            if data[at] == _END:
                return
            if data[at] == _EXTENSION:
                end = _after_blocks(data, at + 2)
                if data[at + 1] == _CONTROL:
                    control = bytearray(data[at:end])
            else:
                end = _after_blocks(data, at + 11 + _table_size(data[at + 9]))
                yield start, control, data[at:end]
                control = bytearray()
            at = end
    except IndexError:
        raise ValueError("cut short: its data ends before the picture does") from None


def _number(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 2], "little")


def _table_size(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _after_blocks(data: bytes, at: int) -> int:
    """Where the blocks that begin at `at` end: behind the empty one."""
    for _ in range(_MOST_BLOCKS):
        size = data[at]
        at += 1 + size
        if size == 0:
            return at
    raise ValueError(f"more than {_MOST_BLOCKS} blocks: no picture has so many")
