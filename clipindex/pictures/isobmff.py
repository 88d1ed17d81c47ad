"""Pure: whether all of a HEIC or AVIF file's primary picture is there, and what is said beside it.

Decoders draw black or repeat a neighbour where a tile's data is missing, and say nothing. Only what
the primary picture needs is judged: damage in a thumbnail or in metadata costs no picture.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from clipindex.pictures import heif_items, hevc_av1
from clipindex.pictures.heif_items import IN_FILE, IN_IDAT, MOST_ITEMS, Item, Items

_LONGEST_XMP = 16 << 20  # bytes
_XMP_BOX = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")


def check(data: bytes) -> tuple[int, tuple[int, int]]:
    """Refuse a file whose primary picture is not all there.

    Returns the pixels that decoding it makes, and its width and height.

    Raises ValueError. A structure that this module does not know is left to the decoder.
    """
    meta_box = heif_items.directory(data)
    if meta_box is None:
        return 0, (0, 0)  # an image sequence: its samples are judged by the decoder
    if not meta_box.whole:
        raise ValueError("cut short: its directory goes on beyond the end of the file")
    try:
        meta = heif_items.read(data, meta_box)
    except IndexError:
        raise ValueError("its directory is broken") from None
    pixels = sum(_checked(data, meta, meta.items[number]) for number in _needed(meta))
    return pixels, meta.item(meta.primary or 0).size


def without_exif(data: bytes) -> bytes:
    """The file with its EXIF renamed to what no decoder looks for."""
    meta_box = heif_items.directory(data)
    if meta_box is None:
        return data
    entry = re.compile(rb"infe[\2\3].{5,7}Exif", re.DOTALL)
    head = entry.sub(lambda match: match[0][:-4] + b"none", data[meta_box.start : meta_box.end])
    return data[: meta_box.start] + head + data[meta_box.end :]


def xmp(data: bytes) -> bytes:
    """The XMP packet: an item beside the picture, or a box of its own; b"" where there is none."""
    for box in heif_items.boxes(data, 0, len(data)):
        if box.kind == b"uuid" and data.startswith(_XMP_BOX, box.start):
            return data[box.start + len(_XMP_BOX) : box.end]
        if box.kind == b"xml ":  # of JPEG XL
            return data[box.start : box.end]
        if box.kind == b"meta":
            try:
                meta = heif_items.read(data, box)
            except (IndexError, ValueError):  # the decoder says what is wrong
                return b""
            item = next((item for item in meta.items.values() if item.is_xmp), None)
            if item and (packet := heif_items.content(data, meta, item, _LONGEST_XMP)):
                return packet
    return b""


def _needed(meta: Items) -> Iterator[int]:
    """The primary picture, what it is made of, and their alpha; a tile as often as it is drawn."""
    waiting = [] if meta.primary is None else [(meta.primary, 0)]
    drawn = 0
    while waiting:
        number, depth = waiting.pop()
        item = meta.items.get(number)
        if item is None:
            raise ValueError("a part of the picture is missing")
        drawn += 1
        if depth > 8 or drawn > MOST_ITEMS:
            raise ValueError("made of too many parts: it would decode for minutes")
        waiting += [(part, depth + 1) for part in item.made_of]
        waiting += [(part, depth + 1) for part in item.alpha if meta.item(part).is_alpha]
        yield number


def _checked(data: bytes, meta: Items, item: Item) -> int:
    """The pixels of a coded picture whose data is whole; 0 for a grid, which has no own."""
    base, limit = (0, len(data)) if item.construction == IN_FILE else meta.idat
    if item.construction not in (IN_FILE, IN_IDAT):
        return item.size[0] * item.size[1]
    parts = []
    for offset, length in item.extents:
        start = base + offset
        end = start + length if length else limit
        if end > limit or start >= end:
            raise ValueError("cut short: a part of the picture lies beyond the end of the file")
        parts.append((start, end))
    if item.kind not in (b"hvc1", b"hev1", b"av01"):
        return 0
    if not parts:
        raise ValueError("a part of the picture has no data")
    start, end = parts[0]
    if len(parts) > 1:
        data = b"".join(data[start:end] for start, end in parts)
        start, end = 0, len(data)
    if item.kind == b"av01":
        hevc_av1.check_av1(data, start, end)
    else:
        hevc_av1.check_hevc(data, start, end, item.length_size)
    return item.size[0] * item.size[1]
