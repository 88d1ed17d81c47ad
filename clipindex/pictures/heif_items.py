"""Pure: the items of a HEIC or AVIF file: coded pictures, grids of them, metadata.

    ftyp  meta(pitm iinf iref iprp iloc idat)  mdat  whatever follows

ISO/IEC 14496-12 (boxes, item locations), 23008-12 (items, grids, thumbnails, auxiliary pictures).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

# A grid has up to 256x256 tiles; phones write some 50. The rest is a file made to cost time.
MOST_ITEMS = 70_000
MOST_PROPERTIES = 64  # kept of an item; pictures have some six
IN_FILE, IN_IDAT = 0, 1  # construction methods of an item's location
_TO_THE_END = 0  # a box of size 0 ends with the file
_LARGE = 1  # a box of size 1 has its size in 64 bits behind its name
_ALPHA = (b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha", b"urn:mpeg:hevc:2015:auxid:1")
_XMP_TYPE = b"application/rdf+xml"


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
    flags_at: int = 0  # offset of the byte whose lowest bit hides it
    construction: int = IN_FILE
    extents: tuple[tuple[int, int], ...] = ()  # offset, length; 0: to the end of the file
    size: tuple[int, int] = (0, 0)
    length_size: int = 4  # bytes of the length before each unit of HEVC data
    is_alpha: bool = False
    is_xmp: bool = False
    made_of: list[int] = field(default_factory=list)  # a grid's tiles, in order
    alpha: list[int] = field(default_factory=list)
    properties: list[Box] = field(default_factory=list)  # in order
    # Its thumbnails, each with the offset of the four letters that say so.
    thumbnails: list[tuple[int, int]] = field(default_factory=list)


@dataclass(slots=True)
class Items:
    """The items by number. `primary`: the one that is the picture; `primary_at`: where its number
    is written, and in how many bytes. `idat`: where the directory holds data itself."""

    primary: int | None = None
    primary_at: tuple[int, int] = (0, 0)
    items: dict[int, Item] = field(default_factory=dict)
    idat: tuple[int, int] = (0, 0)

    def item(self, number: int) -> Item:
        """The item with a number, made if there is none. Raises ValueError for too many."""
        if number not in self.items and len(self.items) >= MOST_ITEMS:
            raise ValueError(f"more than {MOST_ITEMS} items: no picture has so many")
        return self.items.setdefault(number, Item())


def number(data: bytes, at: int, size: int) -> int:
    """An unsigned number of `size` bytes. Raises IndexError beyond the end."""
    if at + size > len(data):
        raise IndexError
    return int.from_bytes(data[at : at + size], "big")


def directory(data: bytes) -> Box | None:
    """The `meta` box of a file; None where it has none, as an image sequence."""
    return next((box for box in boxes(data, 0, len(data)) if box.kind == b"meta"), None)


def content(data: bytes, items: Items, item: Item, most: int) -> bytes:
    """The bytes of an item, as far as the file has them; b"" of one longer than `most`."""
    base = {IN_FILE: 0, IN_IDAT: items.idat[0]}.get(item.construction)
    if base is None or sum(length for _, length in item.extents) > most:
        return b""
    parts = ((base + start, base + start + length) for start, length in item.extents)
    return b"".join(data[start:end] for start, end in parts)


def as_primary(data: bytes, items: Items, number: int) -> bytearray:
    """The file with another item as its primary picture, which is no longer hidden."""
    at, width = items.primary_at
    changed = bytearray(data)
    changed[at : at + width] = number.to_bytes(width, "big")
    changed[items.items[number].flags_at] &= 0xFE
    return changed


def boxes(data: bytes, at: int, end: int) -> Iterator[Box]:
    """Boxes one after the other; the last may be cut off."""
    while at + 8 <= end:
        size, start = number(data, at, 4), at + 8
        kind = data[at + 4 : at + 8]
        if size == _LARGE and start + 8 <= end:
            size, start = number(data, start, 8), start + 8
        stop = end if size == _TO_THE_END else at + size
        if stop < start:
            return
        yield Box(kind, start, min(stop, end), stop <= end)
        at = stop


def read(data: bytes, meta: Box) -> Items:
    """The items of a directory. Raises IndexError where it is broken, ValueError for too many."""
    items = Items()
    known = {box.kind: box for box in boxes(data, meta.start + 4, meta.end)}
    if b"pitm" in known:
        at = known[b"pitm"].start
        items.primary_at = at + 4, 2 if data[at] == 0 else 4
        items.primary = number(data, *items.primary_at)
    if b"idat" in known:
        items.idat = known[b"idat"].start, known[b"idat"].end
    for kind, reader in _READERS.items():
        if kind in known:
            reader(data, known[kind], items)
    return items


def _read_kinds(data: bytes, box: Box, items: Items) -> None:
    """`iinf`: what each item is."""
    at = box.start + 4 + (2 if data[box.start] == 0 else 4)
    for entry in boxes(data, at, box.end):
        version = data[entry.start]
        if entry.kind != b"infe" or version < 2:
            continue
        width = 2 if version == 2 else 4
        item = items.item(number(data, entry.start + 4, width))
        item.kind = data[entry.start + 6 + width : entry.start + 10 + width]
        item.flags_at = entry.start + 3
        item.is_xmp = item.kind == b"mime" and _XMP_TYPE in data[entry.start : entry.end]


def _read_locations(data: bytes, box: Box, items: Items) -> None:
    """`iloc`: where the bytes of each item are."""
    version, sizes = data[box.start], data[box.start + 4 : box.start + 6]
    offset_size, length_size = sizes[0] >> 4, sizes[0] & 15
    base_size, index_size = sizes[1] >> 4, sizes[1] & 15 if version else 0
    wide = 4 if version == 2 else 2
    at = box.start + 6
    count, at = number(data, at, wide), at + wide
    for _ in range(count):
        if at >= box.end:
            raise IndexError
        item, at = items.item(number(data, at, wide)), at + wide
        if version:
            item.construction, at = number(data, at, 2) & 15, at + 2
        base, at = number(data, at + 2, base_size), at + 2 + base_size
        parts, at = number(data, at, 2), at + 2
        extents = []
        for _ in range(parts):
            at += index_size
            offset, at = number(data, at, offset_size), at + offset_size
            length, at = number(data, at, length_size), at + length_size
            extents.append((base + offset, length))
        item.extents = tuple(extents)


def _read_references(data: bytes, box: Box, items: Items) -> None:
    """`iref`: what a grid is made of, and to which picture a thumbnail or alpha plane belongs."""
    wide = 2 if data[box.start] == 0 else 4
    for entry in boxes(data, box.start + 4, box.end):
        at = entry.start
        origin, count = number(data, at, wide), number(data, at + wide, 2)
        at += wide + 2
        others = [number(data, at + wide * n, wide) for n in range(count)]
        if entry.kind == b"dimg":
            items.item(origin).made_of = others
        elif entry.kind == b"thmb":
            for other in others:
                items.item(other).thumbnails.append((origin, entry.start - 4))
        elif entry.kind == b"auxl":
            for other in others:
                items.item(other).alpha.append(origin)


def _read_properties(data: bytes, box: Box, items: Items) -> None:
    """`iprp`: sizes, the decoder's settings, and what an auxiliary picture is."""
    inner = list(boxes(data, box.start, box.end))
    containers = [box for box in inner if box.kind == b"ipco"]
    known = [child for box in containers for child in boxes(data, box.start, box.end)]
    for table in (box for box in inner if box.kind == b"ipma"):
        wide = 2 if data[table.start] == 0 else 4
        large = data[table.start + 3] & 1
        count, at = number(data, table.start + 4, 4), table.start + 8
        for _ in range(count):
            if at >= table.end:
                raise IndexError
            item, at = items.item(number(data, at, wide)), at + wide
            uses, at = data[at], at + 1
            for _ in range(uses):
                index = number(data, at, 2) & 0x7FFF if large else data[at] & 0x7F
                at += 2 if large else 1
                if 0 < index <= len(known):
                    _apply(data, known[index - 1], item)


def _apply(data: bytes, prop: Box, item: Item) -> None:
    at = prop.start
    if len(item.properties) < MOST_PROPERTIES:
        item.properties.append(prop)
    if prop.kind == b"ispe":
        item.size = number(data, at + 4, 4), number(data, at + 8, 4)
    elif prop.kind == b"hvcC":
        item.length_size = (number(data, at + 21, 1) & 3) + 1
    elif prop.kind == b"auxC":
        item.is_alpha = data[at + 4 : prop.end].split(b"\0")[0] in _ALPHA


_READERS = {
    b"iinf": _read_kinds,
    b"iloc": _read_locations,
    b"iref": _read_references,
    b"iprp": _read_properties,
}
