"""One read of one file: is it a picture, its bytes, their digest."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from dataclasses import dataclass

from clipindex.errors import FileFault
from clipindex.walk import FileRecord

MAX_BYTES = 1 << 30  # a larger "picture" is not read into memory
HEAD = 32  # enough for every signature below

# Names that promise a picture: content that breaks the promise is a damaged file to be told
# of (quarantined), not one of the many other files that lie in a folder (skipped).
PICTURE_NAMES = (
    b".jpg .jpeg .jpe .jfif .mpo .png .apng .webp .gif .bmp .dib .tif .tiff .avif .heic .heif"
).split()

# Formats that other programs read; skipped as well, but with a reason that says more.
OTHER_PICTURE_NAMES = (
    b".psd .psb .xcf .svg .eps .pdf .ico .icns .cur .tga .dds .jp2 .j2k .jpf .jxr .jls .ppm .pgm"
    b" .pbm .pnm .pfm .sgi .pcx .fli .flc .qoi .xpm .wmf .emf .exr .hdr"
).split()

# The size of a bitmap's second header tells it from any text that begins with "BM".
BMP_HEADER_SIZES = {size.to_bytes(4, "little") for size in (12, 16, 40, 52, 56, 64, 108, 124)}

UNREADABLE_KINDS = {  # recognised, so that the reason can say what it is
    "HEIC": "a HEIC picture, which this clipindex cannot read",
    "JPEG XL": "a JPEG XL picture, which clipindex cannot read",
}


@dataclass(frozen=True, slots=True)
class Content:
    """A picture file's bytes, read once. `record` is the file as it was when it was opened."""

    record: FileRecord
    data: bytes
    sha256: bytes


def picture_kind(head: bytes) -> str | None:
    """The picture format that a file's first bytes announce, or None.

    Signatures: ITU-T T.81 (JPEG), RFC 2083 (PNG), TIFF 6.0 and BigTIFF, GIF89a, ISO 14496-12
    brands (AVIF, HEIC), the RIFF container (WebP), ISO 18181 (JPEG XL).
    """
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if head.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return "TIFF"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if head.startswith(b"BM") and head[14:18] in BMP_HEADER_SIZES:
        return "BMP"
    if head[4:8] == b"ftyp":
        return _brand(head)
    if head.startswith((b"\xff\x0a", b"\0\0\0\x0cJXL ")):
        return "JPEG XL"
    return None


def _brand(head: bytes) -> str | None:
    brands = {head[at : at + 4] for at in range(8, len(head) - 3, 4)}
    if brands & {b"avif", b"avis"}:
        return "AVIF"
    if head[8:12] in {b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1"}:
        return "HEIC"
    return None


def read_content(record: FileRecord) -> Content:
    """Open, look, read, hash. Raises FileFault with the reason when it is no picture."""
    try:
        # O_NONBLOCK: should a pipe have taken the file's place, opening it must not wait.
        handle = os.open(record.path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | _BINARY)
        with open(handle, "rb", buffering=0) as file:
            before = os.fstat(handle)
            if not stat.S_ISREG(before.st_mode):
                raise FileFault("no longer a regular file", skipped=True, transient=True)
            head = file.read(HEAD)
            _refuse_other_content(record, head, before.st_size)
            data = head + file.readall()
            after = os.fstat(handle)
    except FileNotFoundError:
        raise FileFault("gone before it was read", skipped=True, transient=True) from None
    except OSError as error:
        raise FileFault(_unreadable(error), transient=True) from error
    if (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
        raise FileFault("it changed while it was being read", transient=True)
    now = FileRecord(record.path, after.st_size, after.st_mtime_ns, after.st_ctime_ns)
    return Content(now, data, hashlib.sha256(data).digest())


_BINARY = getattr(os, "O_BINARY", 0)  # Windows would translate line ends without it


def _refuse_other_content(record: FileRecord, head: bytes, size: int) -> None:
    kind = picture_kind(head)
    if kind in UNREADABLE_KINDS:
        raise FileFault(UNREADABLE_KINDS[kind], skipped=True)
    if kind is None:
        suffix = os.path.splitext(record.path)[1].lower()
        if suffix in PICTURE_NAMES:
            raise FileFault("empty file" if size == 0 else "named like a picture, but it is none")
        if suffix in OTHER_PICTURE_NAMES:
            raise FileFault(f"{suffix.decode()} files are not among those read", skipped=True)
        raise FileFault("not a picture", skipped=True)
    if size > MAX_BYTES:
        raise FileFault(f"larger than {MAX_BYTES >> 30} GiB")


def _unreadable(error: OSError) -> str:
    if error.errno in (errno.EACCES, errno.EPERM):
        return "permission denied"
    return f"could not be read: {error.strerror or error}"
