"""Pure: read the directories of a TIFF file; no number in it is trusted.

A directory lists tags, each with a type, a count and its values or where they are (TIFF 6.0,
section 2; BigTIFF has the same with 64-bit numbers). A page is a directory that describes a
picture; `picture_page` says which page a person means by "the picture".
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

SUBFILE_TYPE, OLD_SUBFILE_TYPE, WIDTH, HEIGHT = 254, 255, 256, 257
COMPRESSION, PHOTOMETRIC, SUB_IFDS = 259, 262, 330
_REDUCED, _MASK = 1, 4  # bits of SUBFILE_TYPE
_OLD_REDUCED = 2  # value of OLD_SUBFILE_TYPE
_TRANSPARENCY_MASK = 4  # value of PHOTOMETRIC

# Types of whole numbers, and of text, as `struct` names them; a rational is two numbers.
_CODES = {1: "B", 2: "B", 3: "H", 4: "L", 6: "b", 7: "B", 8: "h", 9: "l", 13: "L", 16: "Q", 18: "Q"}
_SIZES = {kind: struct.calcsize("<" + code) for kind, code in _CODES.items()} | {5: 8, 10: 8}

MOST_PAGES = 10_000
MOST_TAGS = 4096  # in one directory; the specification has some 80
# A first page up to this many pixels a side may be a thumbnail that does not say so.
_LARGEST_THUMBNAIL = 256
_THUMBNAIL_SCALE = 4  # and then the picture is at least this many times as wide


@dataclass(frozen=True, slots=True)
class Entry:
    """A tag's type, count, and where in the file its values begin."""

    kind: int
    count: int
    place: int

    @property
    def size(self) -> int:
        """Bytes that the values take."""
        return self.count * _SIZES[self.kind]


@dataclass(frozen=True, slots=True)
class Directory:
    """One directory of a file. Its values are read on demand; `data` may end before them."""

    data: bytes
    order: str  # "<" or ">"
    big: bool
    entries: dict[int, Entry]
    following: int = 0  # offset of the next directory, 0 for none

    def numbers(self, tag: int, most: int | None = None) -> tuple[int, ...]:
        """A tag's whole numbers, or the bytes of a text; () if absent, cut off or of other type."""
        entry = self.entries.get(tag)
        if entry is None or entry.kind not in _CODES:
            return ()
        count = entry.count if most is None else min(entry.count, most)
        if entry.place + count * _SIZES[entry.kind] > len(self.data):
            return ()
        code = f"{self.order}{count}{_CODES[entry.kind]}"
        return struct.unpack_from(code, self.data, entry.place)

    def number(self, tag: int, default: int = 0) -> int:
        """A tag's first number."""
        return next(iter(self.numbers(tag, 1)), default)

    def rationals(self, tag: int) -> tuple[float, ...]:
        """A tag's rational numbers; () if absent, of another type, cut off or divided by zero."""
        entry = self.entries.get(tag)
        if entry is None or entry.kind != 5 or entry.place + 8 * entry.count > len(self.data):
            return ()
        parts = struct.unpack_from(f"{self.order}{2 * entry.count}L", self.data, entry.place)
        if not all(parts[1::2]):
            return ()
        return tuple(above / below for above, below in zip(parts[::2], parts[1::2], strict=True))

    def blob(self, tag: int) -> bytes:
        """A tag's values as bytes; b"" if absent or cut off."""
        entry = self.entries.get(tag)
        return b"" if entry is None or entry.kind not in (1, 7) else self.content(tag)

    def content(self, tag: int) -> bytes:
        """The bytes of a tag's values, whatever their type; b"" if absent or cut off."""
        entry = self.entries.get(tag)
        if entry is None or entry.place + entry.size > len(self.data):
            return b""
        return self.data[entry.place : entry.place + entry.size]

    @property
    def is_reduced(self) -> bool:
        """Whether it calls itself a smaller copy of another page."""
        return bool(
            self.number(SUBFILE_TYPE) & _REDUCED or self.number(OLD_SUBFILE_TYPE) == _OLD_REDUCED
        )

    @property
    def is_mask(self) -> bool:
        """Whether it says which part of another page is to be seen."""
        return bool(
            self.number(SUBFILE_TYPE) & _MASK or self.number(PHOTOMETRIC, 1) == _TRANSPARENCY_MASK
        )

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels, 0 where it has none."""
        return self.number(WIDTH), self.number(HEIGHT)


def first_directory(data: bytes) -> Directory:
    """The first directory, or the part of it that `data` has. `data` begins like a TIFF."""
    order = "<" if data[:2] == b"II" else ">"
    big = data[2:4] in (b"+\0", b"\0+")
    place = data[8:16] if big else data[4:8]
    return directory_at(
        data, int.from_bytes(place, "little" if order == "<" else "big"), order, big
    )


def directory_at(data: bytes, at: int, order: str, big: bool) -> Directory:
    """The directory at an offset; entries behind the end of the file are left out."""
    head, width, inline = ("Q", 20, 8) if big else ("H", 12, 4)
    entries: dict[int, Entry] = {}
    following = 0
    try:
        (count,) = struct.unpack_from(order + head, data, at)
        start = at + struct.calcsize(order + head)
        for entry in range(start, start + width * min(count, MOST_TAGS), width):
            tag, kind, number = struct.unpack_from(order + ("HHQ" if big else "HHL"), data, entry)
            place = entry + width - inline
            if kind not in _SIZES or number == 0 or tag in entries:
                continue
            if number * _SIZES[kind] > inline:
                (place,) = struct.unpack_from(order + ("Q" if big else "L"), data, place)
            entries[tag] = Entry(kind, number, place)
        (following,) = struct.unpack_from(
            order + ("Q" if big else "L"), data, start + width * count
        )
    except (struct.error, OverflowError):  # it lies beyond the bytes at hand, or any file
        pass
    return Directory(data, order, big, entries, following)


def directories(data: bytes) -> Iterator[Directory]:
    """The file's pages in order, each with the directories below it behind it."""
    page = first_directory(data)
    seen: set[int] = set()
    while len(seen) < MOST_PAGES:
        yield page
        yield from below(page)
        if page.following == 0 or page.following in seen:
            return
        seen.add(page.following)
        page = directory_at(data, page.following, page.order, page.big)


def below(page: Directory) -> list[Directory]:
    """The directories that a page lists as its own: other sizes of it, as a rule."""
    places = page.numbers(SUB_IFDS, MOST_PAGES)
    return [directory_at(page.data, place, page.order, page.big) for place in places]


def picture_page(data: bytes) -> Directory:
    """The page that is the picture: the first one that is neither a mask nor a smaller copy.

    If all are copies, the largest. A larger page of the same shape takes the place of a small
    first page: not all programs mark their thumbnails.
    """
    pages = (page for page in directories(data) if min(page.size) > 0 and not page.is_mask)
    reduced = []
    for page in pages:
        if page.is_reduced:
            reduced.append(page)
            continue
        if max(page.size) > _LARGEST_THUMBNAIL:
            return page
        larger = (other for other in pages if _enlarges(other, page))
        return max(larger, key=_pixels, default=page)
    return max(reduced, key=_pixels, default=first_directory(data))


def _pixels(page: Directory) -> int:
    return page.size[0] * page.size[1]


def _enlarges(page: Directory, small: Directory) -> bool:
    """Whether a page is larger and has the same shape; sizes are rounded to whole pixels."""
    (width, height), (across, down) = page.size, small.size
    if page.is_reduced or width < _THUMBNAIL_SCALE * across:
        return False
    return abs(width * down - height * across) <= max(width, height)
