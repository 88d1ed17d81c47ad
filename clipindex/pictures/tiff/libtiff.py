"""Pictures decoded by the libtiff within Pillow, with the errors that it reports.

libtiff writes errors to stderr, without the file's name, and often goes on: it skips a fax line
with a bad code, and Pillow does not notice. The error handler belongs to the whole process. Ours
keeps the first error of a thread that decodes here, and hands all others to the handler before
it. Warnings need none: Pillow turns them off whenever it decodes.

Where libtiff is linked into Pillow (the wheels for Windows), its handler cannot be reached. Errors
go to stderr there, and only those that stop the decoder are noticed.
"""

from __future__ import annotations

import ctypes
import io
import struct
import threading
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from PIL import _imaging
from PIL.TiffImagePlugin import TiffImageFile

from clipindex.errors import FileFault

Piece = memoryview | bytes  # a strip or tile, its bits in the usual order

# void handler(const char *module, const char *format, va_list values). All platforms that Pillow
# has wheels for pass a va_list as a pointer.
_Handler = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p)
_LONGEST = 120  # bytes of an error
_fill = ctypes.pythonapi.PyOS_vsnprintf
_fill.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_void_p]


class _Decoding(threading.local):
    """Of each thread: the first error, "" for none yet; None while it does not decode."""

    error: str | None = None


_decoding = _Decoding()


class LibtiffPicture(TiffImageFile):
    """A TIFF whose pixels libtiff decodes. `load` raises FileFault for any error it reports."""

    def __init__(self, data: bytes) -> None:
        _install_handler()
        super().__init__(io.BytesIO(data))

    def load(self) -> Any:
        """Decode, the first time."""
        _decoding.error = ""
        try:
            pixels = super().load()
        except (OSError, ValueError, SyntaxError) as fault:
            said = _decoding.error or str(fault)
            raise FileFault(f"damaged: libtiff reports: {said}") from fault
        finally:
            said, _decoding.error = _decoding.error or "", None
        if said:
            raise FileFault(f"damaged: libtiff reports: {said}")
        return pixels


def grey(
    pieces: Sequence[Piece],
    heights: list[int],
    width: int,
    compression: int,
    options: int | None = None,
) -> LibtiffPicture:
    """One grey picture of these strips, a byte a pixel; or a bit if it has the `options` of a fax.

    libtiff sees no header but this one.
    """
    header = _header(pieces, heights, width, compression, options)
    return LibtiffPicture(b"".join((header, *pieces)))


@cache
def _install_handler() -> object:
    """Put our handler before the one there is, once. The result is kept: libtiff calls it."""
    try:
        libtiff = ctypes.CDLL(_imaging.__file__)  # finds what the extension is linked with
        replace = libtiff.TIFFSetErrorHandler
    except (AttributeError, OSError):
        return None
    replace.restype = ctypes.c_void_p
    replace.argtypes = [_Handler]
    before: list[Any] = []

    def handler(module: bytes | None, template: bytes, values: int | None) -> None:
        if _decoding.error is None:
            for other in before:
                other(module, template, values)
        elif not _decoding.error:
            _decoding.error = _text(template, values)

    ours = _Handler(handler)
    address = replace(ours)
    if address:
        before.append(_Handler(address))
    return ours


def _text(template: bytes, values: int | None) -> str:
    """A message of C, with its values filled in."""
    text = ctypes.create_string_buffer(_LONGEST)
    _fill(text, _LONGEST, template, values)
    return text.value.decode("utf-8", "replace").strip().rstrip(".")


def _header(
    pieces: Sequence[Piece],
    heights: list[int],
    width: int,
    compression: int,
    options: int | None = None,
) -> bytes:
    """Of a TIFF with one grey picture of these strips, which follow it."""
    count, tags = len(pieces), 9 if options is None else 10
    lists = 8 + 2 + 12 * tags + 4
    start = lists + (8 * count if count > 1 else 0)
    lengths = [len(piece) for piece in pieces]
    offsets = np.cumsum([start, *lengths[:-1]]).tolist()
    entries = [
        (256, 1, width),
        (257, 1, sum(heights)),
        (258, 1, 8 if options is None else 1),
        (259, 1, compression),
        (262, 1, 1),
        (273, count, lists if count > 1 else start),
        (277, 1, 1),
        (278, 1, heights[0]),
        (279, count, lists + 4 * count if count > 1 else lengths[0]),
    ]
    if options is not None:
        entries.append((292, 1, options))
    head = b"II*\0" + struct.pack("<LH", 8, tags)
    head += b"".join(struct.pack("<HHLL", tag, 4, number, value) for tag, number, value in entries)
    head += bytes(4)
    return head if count == 1 else head + struct.pack(f"<{2 * count}L", *offsets, *lengths)
