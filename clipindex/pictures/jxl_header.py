"""Pure: what a JPEG XL file says before it is decoded, and whether a part of it is zeros.

    ff 0a  size  metadata  [colour profile]  frames ..            a naked codestream, or
    'JXL '  ftyp  [jbrd  Exif  brob  xml ..]  jxlc or jxlp ..      boxes around one

ISO/IEC 18181-1 (codestream: size and metadata come first, bits from the lowest), 18181-2 (boxes).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

_NAKED = b"\xff\x0a"
_CODESTREAM, _PART = b"jxlc", b"jxlp"
_RATIOS = ((1, 1), (6, 5), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
_ALPHA, _SPOT, _BLACK, _COLOUR_FILTER = 0, 2, 4, 5  # extra channels
_GREY = 1  # colour space
_MOST_HEADER = 1 << 16  # bytes; names of extra channels may be long
_MOST_BOXES = 100_000
# The longest run in 90 sound files had 73, in flat pictures. Most damage upsets the entropy
# decoder; zeros in a file made by the fastest lossless encoders decode without an error.
_HOLE = bytes(256)
_CUT = "cut short: its data ends before the picture begins"

Range = tuple[int, int]  # start and end in a file


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """`width` and `height` are those of the picture turned upright, as the decoder hands it out.

    `bits`: of a sample. `is_premultiplied`: the colours are multiplied by alpha. `more`: channels
    beside colours and alpha. `has_black`: one of them makes it a CMYK picture. `has_jpeg`: made
    from a JPEG, which can be made again. `exif`: the box's content, `packed` if Brotli has made
    it smaller.
    """

    width: int
    height: int
    bits: int = 8
    is_float: bool = False
    is_grey: bool = False
    has_alpha: bool = False
    is_premultiplied: bool = False
    more: int = 0
    has_black: bool = False
    has_jpeg: bool = False
    exif: bytes | None = None
    packed: bool = False

    @property
    def mode(self) -> str:
        """Pillow's, at 8 bits."""
        if self.is_grey:
            return ("La" if self.is_premultiplied else "LA") if self.has_alpha else "L"
        return ("RGBa" if self.is_premultiplied else "RGBA") if self.has_alpha else "RGB"


@dataclass(frozen=True, slots=True)
class _Box:
    kind: bytes
    start: int
    end: int


def parse(data: bytes) -> Header:
    """Raises ValueError where the file ends before its picture begins, or has no codestream."""
    if data.startswith(_NAKED):
        return _codestream(data[:_MOST_HEADER])
    boxes = list(_boxes(data))
    stream = b"".join(data[start : min(end, start + _MOST_HEADER)] for start, end in _parts(boxes))
    exif = next((box for box in boxes if _kind(data, box) == b"Exif"), None)
    packed = exif is not None and exif.kind == b"brob"
    start = 0 if exif is None else exif.start + (4 if packed else 0)
    return _codestream(
        stream[:_MOST_HEADER],
        has_jpeg=any(_kind(data, box) == b"jbrd" for box in boxes),
        exif=None if exif is None else data[start : exif.end],
        packed=packed,
    )


def without_hole(data: bytes) -> bytes:
    """The file; a naked codestream without the zeros behind it. Raises ValueError for a hole."""
    if not data.startswith(_NAKED):
        parts = _parts(list(_boxes(data)))
        if any(data.find(_HOLE, start, end) >= 0 for start, end in parts):
            raise ValueError("a part of the picture is filled with zeros")
        return data
    hole = data.find(_HOLE)
    if hole < 0:
        return data
    if data[hole:].strip(b"\0"):
        raise ValueError("a part of the picture is filled with zeros")
    return data[: hole + len(_HOLE) // 2]  # whether it is whole, the decoder finds out


def _boxes(data: bytes) -> Iterator[_Box]:
    at = 0
    for _ in range(_MOST_BOXES):
        if at + 8 > len(data):
            return
        size, start = int.from_bytes(data[at : at + 4], "big"), at + 8
        kind = data[at + 4 : at + 8]
        if size == 1:
            size, start = int.from_bytes(data[start : start + 8], "big"), start + 8
        end = at + size if size else len(data)
        if end < start:
            raise ValueError("its boxes are broken")
        yield _Box(kind, start, min(end, len(data)))
        at = end
    raise ValueError(f"more than {_MOST_BOXES} boxes: no picture has so many")


def _kind(data: bytes, box: _Box) -> bytes:
    """Of what is inside, if the box is one that Brotli has made smaller."""
    return data[box.start : box.start + 4] if box.kind == b"brob" else box.kind


def _parts(boxes: list[_Box]) -> list[Range]:
    """Where the codestream is: a part has its number first."""
    skipped = {_CODESTREAM: 0, _PART: 4}
    return [
        (box.start + skipped[box.kind], box.end)
        for box in boxes
        if box.kind in skipped and box.end > box.start + skipped[box.kind]
    ]


class _Bits:
    """A codestream's bits, the lowest of each byte first. Raises ValueError behind the end."""

    def __init__(self, data: bytes) -> None:
        self._value, self._left = int.from_bytes(data, "little"), 8 * len(data)

    def number(self, count: int) -> int:
        self._left -= count
        if self._left < 0:
            raise ValueError(_CUT)
        value = self._value & ((1 << count) - 1)
        self._value >>= count
        return value

    def flag(self) -> bool:
        return bool(self.number(1))

    def choice(self, *ways: tuple[int, int]) -> int:
        """`U32` of the standard: two bits choose an offset and how many bits are added to it."""
        offset, count = ways[self.number(2)]
        return offset + self.number(count)

    def name(self) -> int:
        """`Enum` of the standard."""
        return self.choice((0, 0), (1, 0), (2, 4), (18, 6))


def _codestream(
    data: bytes, *, has_jpeg: bool = False, exif: bytes | None = None, packed: bool = False
) -> Header:
    if not data.startswith(_NAKED):
        raise ValueError(_CUT)
    bits = _Bits(data[2:])
    width, height = _size(bits, _SIDES)
    turned, depth, is_float = False, 8, False
    kinds: list[int] = []
    grey = premultiplied = False
    if not bits.flag():  # not everything as usual: 8 bits, RGB, upright
        turned = bits.flag() and _turned(bits)
        depth, is_float = _depth(bits)
        bits.flag()
        for _ in range(bits.choice((0, 0), (1, 0), (2, 4), (1, 12))):
            kind, associated = _extra(bits)
            premultiplied |= associated
            kinds.append(kind)
        bits.flag()
        if not bits.flag():  # a colour encoding of its own
            bits.flag()
            grey = bits.name() == _GREY
    return Header(
        width=height if turned else width,
        height=width if turned else height,
        bits=depth,
        is_float=is_float,
        is_grey=grey,
        has_alpha=_ALPHA in kinds,
        is_premultiplied=premultiplied,
        more=len(kinds) - (_ALPHA in kinds),
        has_black=_BLACK in kinds,
        has_jpeg=has_jpeg,
        exif=exif,
        packed=packed,
    )


_SIDES = ((1, 9), (1, 13), (1, 18), (1, 30))
_PREVIEW_SIDES = ((1, 6), (65, 8), (321, 10), (1345, 12))
_PREVIEW_EIGHTHS = ((16, 0), (32, 0), (1, 5), (33, 9))


def _size(bits: _Bits, sides: tuple[Range, ...]) -> tuple[int, int]:
    """Width and height; of the picture, or of the preview before it."""
    in_eighths = bits.flag()

    def side() -> int:
        if not in_eighths:
            return bits.choice(*sides)
        return 8 * (1 + bits.number(5) if sides is _SIDES else bits.choice(*_PREVIEW_EIGHTHS))

    height = side()
    ratio = bits.number(3)
    if ratio == 0:
        return side(), height
    across, down = _RATIOS[ratio - 1]
    return height * across // down, height


def _turned(bits: _Bits) -> bool:
    """Whether width and height change places; passes over preview and animation."""
    orientation = 1 + bits.number(3)
    if bits.flag():
        _size(bits, _SIDES)
    if bits.flag():
        _size(bits, _PREVIEW_SIDES)
    if bits.flag():
        bits.choice((100, 0), (1000, 0), (1, 10), (1, 30))
        bits.choice((1, 0), (1001, 0), (1, 8), (1, 10))
        bits.choice((0, 0), (0, 3), (0, 16), (0, 32))
        bits.flag()
    return orientation >= 5


def _depth(bits: _Bits) -> tuple[int, bool]:
    """Bits of a sample, and whether it is a float."""
    if bits.flag():
        depth = bits.choice((32, 0), (16, 0), (24, 0), (1, 6))
        bits.number(4)
        return depth, True
    return bits.choice((8, 0), (10, 0), (12, 0), (1, 6)), False


def _extra(bits: _Bits) -> tuple[int, bool]:
    """What an extra channel is, and whether it is alpha that the colours are multiplied by."""
    if bits.flag():
        return _ALPHA, False
    kind = bits.name()
    _depth(bits)
    bits.choice((0, 0), (3, 0), (4, 0), (1, 3))
    bits.number(8 * bits.choice((0, 0), (0, 4), (16, 5), (48, 10)))
    if kind == _SPOT:
        bits.number(64)
    elif kind == _COLOUR_FILTER:
        bits.choice((1, 0), (0, 2), (3, 4), (19, 8))
    return kind, kind == _ALPHA and bits.flag()
