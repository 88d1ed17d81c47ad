"""Pure: a GIF file reduced to its first picture (GIF89a specification).

    header  colour table  [comments, settings ..]  descriptor  colour table  data  ..

Pillow reads what precedes the picture byte by byte: a minute for a file of zeros. And it makes
room for what a picture leaves behind for the next one, before anybody could see the size.
"""

from __future__ import annotations

import re

_EXTENSION, _PICTURE, _END = b"!,;"
# The extension that says which colour is clear, and what becomes of the picture after its time.
_CONTROL, _FLAGS, _DISPOSAL = 0xF9, 3, 0x1C
_BLOCK = re.compile(rb"[!,;]")
# A block has at most 255 bytes: 500 MB of picture, or of comments.
_MOST_BLOCKS = 2_000_000
_MOST_STRAY_BYTES = 65536  # between blocks; decoders pass over them


def first_picture(data: bytes) -> bytes:
    """A file of the first picture alone. Raises ValueError where a part of it is missing."""
    try:
        return _first_picture(data)
    except IndexError:
        raise ValueError("cut short: its data ends before the picture does") from None


def _first_picture(data: bytes) -> bytes:
    at = start = 13 + _table_size(data[10])
    control = bytearray()
    while match := _BLOCK.search(data, at, at + _MOST_STRAY_BYTES):
        at = match.start()
        if data[at] == _END:
            break
        if data[at] == _EXTENSION:
            end = _after_blocks(data, at + 2)
            if data[at + 1] == _CONTROL:
                control = bytearray(data[at:end])
                if len(control) > _FLAGS:
                    control[_FLAGS] &= ~_DISPOSAL & 0xFF
            at = end
            continue
        table = _table_size(data[at + 9])
        end = _after_blocks(data, at + 11 + table)
        return data[:start] + control + data[at:end] + bytes((_END,))
    raise ValueError("cut short: there is no picture in it")


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
