"""Pure: where each format keeps XMP and IPTC, found without decoding the picture.

Every reader stops at what is damaged, and at bounds that no picture reaches.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import NamedTuple

from clipindex.pictures import isobmff, webp
from clipindex.pictures.description.iptc import iptc_in
from clipindex.pictures.description.xmp import MOST_BYTES
from clipindex.pictures.tiff.directory import first_directory

_JXL = b"\0\0\0\x0cJXL "  # a JPEG XL file with boxes; one without has no metadata


class Packets(NamedTuple):
    """An XMP packet and IPTC datasets; b"" where there are none."""

    xmp: bytes = b""
    iptc: bytes = b""


def packets_in(data: bytes, kind: str | None) -> Packets:
    """Those of a picture file; `kind` as `formats.picture_format` names it."""
    if kind == "JPEG":
        return _in_jpeg(data)
    if kind == "PNG":
        return Packets(xmp=_in_png(data))
    if kind == "WEBP":
        return Packets(xmp=webp.xmp(data))
    if kind in ("HEIC", "AVIF", "CR3") or data.startswith(_JXL):
        return Packets(xmp=isobmff.xmp(data))
    if data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):  # TIFF, and most of camera raw files
        return _in_tiff(data)
    return Packets()


# --- JPEG ------------------------------------------------------------------------------------

_XMP_NAME, _PHOTOSHOP_NAME = b"http://ns.adobe.com/xap/1.0/\0", b"Photoshop 3.0\0"
_APP1, _APP13 = 0xE1, 0xED
_MOST_SEGMENTS = 10_000


def _in_jpeg(data: bytes) -> Packets:
    """The first packet in APP1, and the resources of all APP13 together."""
    xmp, resources = b"", bytearray()
    for marker, content in _segments(data):
        if marker == _APP1 and content.startswith(_XMP_NAME):
            xmp = xmp or content[len(_XMP_NAME) :]
        elif marker == _APP13 and content.startswith(_PHOTOSHOP_NAME):
            resources += content[len(_PHOTOSHOP_NAME) :]
        if len(resources) > MOST_BYTES:
            break
    return Packets(xmp, iptc_in(bytes(resources)))


def _segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """APP1 and APP13 before the picture begins."""
    at = 2
    for _ in range(_MOST_SEGMENTS):
        if len(data) < at + 4 or data[at] != 0xFF:
            return
        marker = data[at + 1]
        if marker == 0xFF:  # padding
            at += 1
            continue
        if marker in (0xD9, 0xDA):  # end of the picture, start of a scan
            return
        size = int.from_bytes(data[at + 2 : at + 4], "big")
        if marker in (_APP1, _APP13):
            yield marker, data[at + 4 : at + 2 + size]
        at += 2 + size


# --- PNG -------------------------------------------------------------------------------------

_PNG_KEYWORD = b"XML:com.adobe.xmp\0"
_MOST_CHUNKS = 200_000


def _in_png(data: bytes) -> bytes:
    """The international text with XMP's keyword."""
    at = 8
    for _ in range(_MOST_CHUNKS):
        if len(data) < at + 12:
            break
        end = at + 8 + int.from_bytes(data[at : at + 4], "big")
        is_text = data[at + 4 : at + 8] == b"iTXt" and end - at <= MOST_BYTES
        if is_text and data.startswith(_PNG_KEYWORD, at + 8):
            compressed, rest = data[at + 26 : at + 27], data[at + 28 : end]
            text = rest.partition(b"\0")[2].partition(b"\0")[2]  # behind language and keyword
            return _unpacked(text) if compressed == b"\1" else text
        at = end + 4
    return b""


def _unpacked(packed: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(packed, MOST_BYTES)
    except zlib.error:
        return b""


# --- TIFF ------------------------------------------------------------------------------------

_XMP_TAG, _IPTC_TAG, _PHOTOSHOP_TAG = 700, 33723, 34377


def _in_tiff(data: bytes) -> Packets:
    """Those of the first directory. IPTC is stored as bytes or, by mistake, as 32-bit numbers."""
    first = first_directory(data)
    iptc = first.content(_IPTC_TAG)[:MOST_BYTES]
    if iptc[:1] not in (b"", b"\x1c"):  # the numbers were swapped with those of the file
        iptc = b"".join(iptc[at : at + 4][::-1] for at in range(0, len(iptc), 4))
    return Packets(first.content(_XMP_TAG), iptc or iptc_in(first.content(_PHOTOSHOP_TAG)))
