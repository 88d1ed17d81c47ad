"""Pure: where a HEIC or AVIF file keeps its primary picture, and whether all of it is there.

    ftyp  meta(pitm iinf iref iprp iloc idat)  mdat  whatever follows

ISO/IEC 14496-12 (boxes, item locations), 23008-12 (items, grids, auxiliary pictures). Decoders
draw black or repeat a neighbour where a tile's data is missing, and say nothing. Only what the
primary picture needs is judged: damage in a thumbnail or in metadata costs no picture.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from clipindex.pictures import hevc_av1

# A grid has up to 256x256 tiles; phones write some 50. The rest is a file made to cost time.
MOST_ITEMS = 70_000
_TO_THE_END = 0  # a box of size 0 ends with the file
_LARGE = 1  # a box of size 1 has its size in 64 bits behind its name
_ALPHA = (b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha", b"urn:mpeg:hevc:2015:auxid:1")
_XMP_TYPE = b"application/rdf+xml"
_LONGEST_XMP = 16 << 20  # bytes
_XMP_BOX = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
_IN_FILE, _IN_IDAT = 0, 1  # construction methods of an item's location


@dataclass(frozen=True, slots=True)
class Box:
    """`data[start:end]` is the content of a box, as far as the file has it."""

    kind: bytes
    start: int
    end: int
    whole: bool


@dataclass(slots=True, kw_only=True)
class Item:
    """A coded picture, a grid of others, or metadata. `size`: width and height in pixels."""

    kind: bytes = b""
    construction: int = _IN_FILE
    extents: tuple[tuple[int, int], ...] = ()  # offset, length; 0: to the end of the file
    size: tuple[int, int] = (0, 0)
    length_size: int = 4  # bytes of the length before each unit of HEVC data
    is_alpha: bool = False
    is_xmp: bool = False
    made_of: list[int] = field(default_factory=list)  # a grid's tiles, in order
    alpha: list[int] = field(default_factory=list)


@dataclass(slots=True)
class _Meta:
    primary: int | None = None
    items: dict[int, Item] = field(default_factory=dict)
    idat: tuple[int, int] = (0, 0)

    def item(self, number: int) -> Item:
        if number not in self.items and len(self.items) >= MOST_ITEMS:
            raise ValueError(f"more than {MOST_ITEMS} items: no picture has so many")
        return self.items.setdefault(number, Item())


def check(data: bytes) -> tuple[int, tuple[int, int]]:
    """Refuse a file whose primary picture is not all there.

    Returns the pixels that decoding it makes, and its width and height.

    Raises ValueError. A structure that this module does not know is left to the decoder.
    """
    boxes = list(_boxes(data, 0, len(data)))
    meta_box = next((box for box in boxes if box.kind == b"meta"), None)
    if meta_box is None:
        return 0, (0, 0)  # an image sequence: its samples are judged by the decoder
    if not meta_box.whole:
        raise ValueError("cut short: its directory goes on beyond the end of the file")
    try:
        meta = _meta(data, meta_box.start + 4, meta_box.end)
    except IndexError:
        raise ValueError("its directory is broken") from None
    pixels = sum(_checked(data, meta, meta.items[number]) for number in _needed(meta))
    return pixels, meta.item(meta.primary or 0).size


def without_exif(data: bytes) -> bytes:
    """The file with its EXIF renamed to what no decoder looks for."""
    meta_box = next((box for box in _boxes(data, 0, len(data)) if box.kind == b"meta"), None)
    if meta_box is None:
        return data
    entry = re.compile(rb"infe[\2\3].{5,7}Exif", re.DOTALL)
    head = entry.sub(lambda match: match[0][:-4] + b"none", data[meta_box.start : meta_box.end])
    return data[: meta_box.start] + head + data[meta_box.end :]


def xmp(data: bytes) -> bytes:
    """The XMP packet: an item beside the picture, or a box of its own; b"" where there is none."""
    for box in _boxes(data, 0, len(data)):
        if box.kind == b"uuid" and data.startswith(_XMP_BOX, box.start):
            return data[box.start + len(_XMP_BOX) : box.end]
        if box.kind == b"xml ":  # of JPEG XL
            return data[box.start : box.end]
        if box.kind == b"meta":
            try:
                meta = _meta(data, box.start + 4, box.end)
            except (IndexError, ValueError):  # the decoder says what is wrong
                return b""
            packets = (_content(data, meta, item) for item in meta.items.values() if item.is_xmp)
            if packet := next(packets, b""):
                return packet
    return b""


def _content(data: bytes, meta: _Meta, item: Item) -> bytes:
    """The bytes of an item, as far as the file has them; b"" of one that is too long."""
    base = {_IN_FILE: 0, _IN_IDAT: meta.idat[0]}.get(item.construction)
    if base is None or sum(length for _, length in item.extents) > _LONGEST_XMP:
        return b""
    parts = ((base + start, base + start + length) for start, length in item.extents)
    return b"".join(data[start:end] for start, end in parts)


def _needed(meta: _Meta) -> Iterator[int]:
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


def _checked(data: bytes, meta: _Meta, item: Item) -> int:
    """The pixels of a coded picture whose data is whole; 0 for a grid, which has no own."""
    base, limit = (0, len(data)) if item.construction == _IN_FILE else meta.idat
    if item.construction not in (_IN_FILE, _IN_IDAT):
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


def _number(data: bytes, at: int, size: int) -> int:
    if at + size > len(data):
        raise IndexError
    return int.from_bytes(data[at : at + size], "big")


def _boxes(data: bytes, at: int, end: int) -> Iterator[Box]:
    """Boxes one after the other; the last may be cut off."""
    while at + 8 <= end:
        size, start = _number(data, at, 4), at + 8
        kind = data[at + 4 : at + 8]
        if size == _LARGE and start + 8 <= end:
            size, start = _number(data, start, 8), start + 8
        stop = end if size == _TO_THE_END else at + size
        if stop < start:
            return
        yield Box(kind, start, min(stop, end), stop <= end)
        at = stop


def _meta(data: bytes, start: int, end: int) -> _Meta:
    meta = _Meta()
    boxes = {box.kind: box for box in _boxes(data, start, end)}
    if b"pitm" in boxes:
        at = boxes[b"pitm"].start
        meta.primary = _number(data, at + 4, 2 if data[at] == 0 else 4)
    if b"idat" in boxes:
        meta.idat = boxes[b"idat"].start, boxes[b"idat"].end
    for kind, read in _READERS.items():
        if kind in boxes:
            read(data, boxes[kind], meta)
    return meta


def _read_kinds(data: bytes, box: Box, meta: _Meta) -> None:
    """`iinf`: what each item is."""
    at = box.start + 4 + (2 if data[box.start] == 0 else 4)
    for entry in _boxes(data, at, box.end):
        version = data[entry.start]
        if entry.kind != b"infe" or version < 2:
            continue
        width = 2 if version == 2 else 4
        item = meta.item(_number(data, entry.start + 4, width))
        item.kind = data[entry.start + 6 + width : entry.start + 10 + width]
        item.is_xmp = item.kind == b"mime" and _XMP_TYPE in data[entry.start : entry.end]


def _read_locations(data: bytes, box: Box, meta: _Meta) -> None:
    """`iloc`: where the bytes of each item are."""
    version, sizes = data[box.start], data[box.start + 4 : box.start + 6]
    offset_size, length_size = sizes[0] >> 4, sizes[0] & 15
    base_size, index_size = sizes[1] >> 4, sizes[1] & 15 if version else 0
    wide = 4 if version == 2 else 2
    at = box.start + 6
    count, at = _number(data, at, wide), at + wide
    for _ in range(count):
        if at >= box.end:
            raise IndexError
        item, at = meta.item(_number(data, at, wide)), at + wide
        if version:
            item.construction, at = _number(data, at, 2) & 15, at + 2
        base, at = _number(data, at + 2, base_size), at + 2 + base_size
        parts, at = _number(data, at, 2), at + 2
        extents = []
        for _ in range(parts):
            at += index_size
            offset, at = _number(data, at, offset_size), at + offset_size
            length, at = _number(data, at, length_size), at + length_size
            extents.append((base + offset, length))
        item.extents = tuple(extents)


def _read_references(data: bytes, box: Box, meta: _Meta) -> None:
    """`iref`: which items a grid is made of, and which picture an alpha plane belongs to."""
    wide = 2 if data[box.start] == 0 else 4
    for entry in _boxes(data, box.start + 4, box.end):
        at = entry.start
        origin, count = _number(data, at, wide), _number(data, at + wide, 2)
        at += wide + 2
        others = [_number(data, at + wide * n, wide) for n in range(count)]
        if entry.kind == b"dimg":
            meta.item(origin).made_of = others
        elif entry.kind == b"auxl":
            for other in others:
                meta.item(other).alpha.append(origin)


def _read_properties(data: bytes, box: Box, meta: _Meta) -> None:
    """`iprp`: sizes, the decoder's settings, and what an auxiliary picture is."""
    inner = list(_boxes(data, box.start, box.end))
    containers = [box for box in inner if box.kind == b"ipco"]
    known = [child for box in containers for child in _boxes(data, box.start, box.end)]
    for table in (box for box in inner if box.kind == b"ipma"):
        wide = 2 if data[table.start] == 0 else 4
        large = data[table.start + 3] & 1
        count, at = _number(data, table.start + 4, 4), table.start + 8
        for _ in range(count):
            if at >= table.end:
                raise IndexError
            item, at = meta.item(_number(data, at, wide)), at + wide
            uses, at = data[at], at + 1
            for _ in range(uses):
                index = _number(data, at, 2) & 0x7FFF if large else data[at] & 0x7F
                at += 2 if large else 1
                if 0 < index <= len(known):
                    _apply(data, known[index - 1], item)


def _apply(data: bytes, prop: Box, item: Item) -> None:
    at = prop.start
    if prop.kind == b"ispe":
        item.size = _number(data, at + 4, 4), _number(data, at + 8, 4)
    elif prop.kind == b"hvcC":
        item.length_size = (_number(data, at + 21, 1) & 3) + 1
    elif prop.kind == b"auxC":
        item.is_alpha = data[at + 4 : prop.end].split(b"\0")[0] in _ALPHA


_READERS = {
    b"iinf": _read_kinds,
    b"iloc": _read_locations,
    b"iref": _read_references,
    b"iprp": _read_properties,
}
