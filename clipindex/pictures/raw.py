"""The preview that a camera stores in its raw files.

The only module that imports rawpy, the extra `raw`.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np

from clipindex.errors import FileFault

if TYPE_CHECKING:
    from clipindex.pictures.colours import Bytes, Values

MISSING = "a camera raw file: install clipindex[raw] to read its preview"

_ORIENTATIONS = (1, 2, 4, 3, 5, 8, 6, 7)  # EXIF's for each of LibRaw's flips
_START_OF_SCAN, _END_OF_IMAGE = b"\xff\xda", b"\xff\xd9"


@dataclass(frozen=True, slots=True, eq=False)
class Preview:
    """A JPEG file's bytes, or pixels; how to turn it; the size of the raw picture, upright."""

    data: bytes | Bytes  # [height, width, 1 or 3]
    orientation: int
    width: int
    height: int


@cache
def version() -> str | None:
    """rawpy's, without loading it; None without the extra."""
    try:
        return version_of("rawpy") if find_spec("rawpy") else None
    except PackageNotFoundError:
        return None


def preview(data: bytes) -> Preview:
    """The largest preview in a camera raw file; the sensor's own pixels are not developed."""
    if version() is None:
        raise FileFault(MISSING, skipped=True)
    try:
        import rawpy
    except ImportError as error:
        raise FileFault(f"a camera raw file, but rawpy fails: {error}", transient=True) from error
    try:
        with rawpy.imread(io.BytesIO(data)) as raw:
            thumb, sizes = raw.extract_thumb(), raw.sizes
            picture = thumb.data if isinstance(thumb.data, bytes) else _copied(thumb.data)
    except (rawpy.LibRawNoThumbnailError, rawpy.LibRawUnsupportedThumbnailError):
        raise FileFault("a camera raw file without a preview that can be read") from None
    except rawpy.LibRawError as error:
        raise FileFault(f"damaged or not decodable: {_message(error)}") from error
    if isinstance(picture, bytes) and _cut_short(picture, data):
        raise FileFault("damaged: its preview is cut short")
    width, height = sizes.width, sizes.height
    orientation = _ORIENTATIONS[sizes.flip & 7]
    if orientation >= 5:
        width, height = height, width
    return Preview(picture, orientation, width, height)


def _cut_short(jpeg: bytes, data: bytes) -> bool:
    """Whether the preview goes on beyond the file's end.

    LibRaw then hands out whatever was in memory there: a part of another picture, perhaps.
    """
    return jpeg[-512:] not in data or jpeg.rfind(_END_OF_IMAGE) < jpeg.rfind(_START_OF_SCAN)


def _copied(pixels: Values) -> Bytes:
    """An 8-bit copy: LibRaw frees its own pixels when the file is closed."""
    if pixels.dtype == np.uint16:
        pixels = pixels >> 8
    return pixels.astype(np.uint8, copy=True)


def _message(error: Exception) -> str:
    """LibRaw's message, which rawpy passes on as bytes."""
    first = error.args[0] if error.args else ""
    return first.decode("ascii", "replace") if isinstance(first, bytes) else str(first)
