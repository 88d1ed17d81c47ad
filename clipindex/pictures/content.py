"""Whether a file is a picture, by its content, and the digest of its bytes."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass

from clipindex.errors import FileFault
from clipindex.files.access import file_system_of
from clipindex.files.file_system import FileRecord
from clipindex.pictures import jxl, raw
from clipindex.pictures.formats import (
    HEAD,
    OTHER_PICTURE_NAMES,
    PICTURE_NAMES,
    RAW_FORMATS,
    TIFF_RAW_NAMES,
    UNREADABLE_FORMATS,
    picture_format,
)

MAX_BYTES = 1 << 30  # a larger file is not read into memory
# A copy or a download reserved the space and broke off: a head, and zeros from there to the end.
# Told by its holes it need not be read, were it a gigabyte. A black BMP or TIFF looks like that.
UNFILLED = 1 << 20  # bytes; a smaller file is read and judged by its decoder
COMPRESSED = {"JPEG", "PNG", "GIF", "WEBP", "AVIF", "HEIC", "JXL"}
NEVER_FILLED = "damaged: only zeros after its first bytes, as when a copy broke off"
NOT_A_PICTURE = "has a picture's extension, but is not a picture"


@dataclass(frozen=True, slots=True)
class Content:
    """A picture file's bytes and their SHA-256. `record` describes the file that was read, which
    may have been replaced since it was listed."""

    record: FileRecord
    data: bytes
    sha256: bytes


def read_content(path: bytes) -> Content:
    """Read and hash a picture; any other file is left after its head.

    Raises FileFault, with the reason, for a file that is not a picture or cannot be read.
    """
    with file_system_of(path).open(path) as file:
        head = file.head(HEAD)
        _refuse_other_content(path, head, file.size)
        may_be_unfilled = file.size >= UNFILLED and picture_format(head) in COMPRESSED
        if may_be_unfilled and file.is_hole_after(HEAD):
            raise FileFault(NEVER_FILLED)
        now, data = file.read()
    _refuse_unfilled(data)
    _refuse_other_raw(path, data)
    return Content(now, data, hashlib.sha256(data).digest())


def check_picture(data: bytes) -> None:
    """Raises FileFault for the bytes of a file without a name that `read_content` would refuse."""
    _refuse_other_content(b"", data[:HEAD], len(data))
    _refuse_unfilled(data)
    _refuse_other_raw(b"", data)


def _refuse_unfilled(data: bytes) -> None:
    if len(data) < UNFILLED or picture_format(data[:HEAD]) not in COMPRESSED:
        return
    if data.endswith(b"\0") and len(data.rstrip(b"\0")) <= HEAD:
        raise FileFault(NEVER_FILLED)


def _refuse_other_content(path: bytes, head: bytes, size: int) -> None:
    kind = picture_format(head)
    if kind in UNREADABLE_FORMATS:
        raise FileFault(UNREADABLE_FORMATS[kind], skipped=True)
    _refuse_without_extra(kind)
    if kind is None:
        suffix = os.path.splitext(path)[1].lower()
        if suffix in PICTURE_NAMES:
            raise FileFault("empty file" if size == 0 else NOT_A_PICTURE)
        if suffix in OTHER_PICTURE_NAMES:
            raise FileFault(f"clipindex does not read {suffix.decode()} files", skipped=True)
        if suffix == b".xmp":
            raise FileFault("an XMP sidecar, read with its picture", skipped=True)
        raise FileFault("not a picture", skipped=True)
    if size > MAX_BYTES:
        raise FileFault(f"larger than {MAX_BYTES >> 30} GiB")


def _refuse_without_extra(kind: str | None) -> None:
    if kind in RAW_FORMATS and raw.version() is None:
        raise FileFault(raw.MISSING, skipped=True)
    if kind == "JXL" and jxl.version() is None:
        raise FileFault(jxl.MISSING, skipped=True)


def _refuse_other_raw(path: bytes, data: bytes) -> None:
    """Refuse raw files whose directories lie beyond the head, and TIFFs with a raw extension.

    Some old cameras' raw files are TIFFs without any sign of it: Pillow would decode their
    thumbnail as the picture.
    """
    kind = picture_format(data)
    _refuse_without_extra(kind)
    suffix = os.path.splitext(path)[1].lower()
    if kind == "TIFF" and suffix in TIFF_RAW_NAMES:
        raise FileFault("has a camera raw file's extension, but is not one")
