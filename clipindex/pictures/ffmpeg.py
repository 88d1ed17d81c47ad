"""HEIC pictures decoded by FFmpeg, in two thirds of libheif's time. The door to PyAV, the extra
`heic-fast`.

HEVC leaves a decoder no choice: the planes of a sound picture are the same from both, and `ycbcr`
makes the same colours of them. Only what phones write comes here: a grid of tiles, 8 bits, full
range, colours at half the resolution, no alpha. The tile that is entered last is decoded by libheif
as well, and the others are entered as that one is. Where the two differ, and for anything else,
libheif decodes all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of
from typing import Any

import numpy as np
from PIL import Image

from clipindex.pictures import heif_items, ycbcr
from clipindex.pictures.heif_items import Item, Items

Size = tuple[int, int]  # width, height
Turn = Image.Transpose
Decode = Callable[[bytes], Image.Image]

# Of fewer tiles the one that is decoded twice costs too much.
FEWEST_TILES = 12
# Properties of which libheif does nothing that this module does not.
_KNOWN = {b"hvcC", b"ispe", b"colr", b"pixi", b"pasp", b"uuid", b"irot", b"imir"}
_TURNS = {1: Turn.ROTATE_90, 2: Turn.ROTATE_180, 3: Turn.ROTATE_270}  # anticlockwise
_FLIPS = {0: Turn.FLIP_TOP_BOTTOM, 1: Turn.FLIP_LEFT_RIGHT}
_FORMATS = {"yuvj420p", "yuv420p"}
_FULL_RANGE = 2  # FFmpeg's AVCOL_RANGE_JPEG
# By ITU-T H.273's number. Where nothing is said (2), libheif takes BT.601.
_MATRICES = {1: ycbcr.BT709, 2: ycbcr.BT601, 5: ycbcr.BT601, 6: ycbcr.BT601}
_LONGEST_LAYOUT = 12  # bytes
_PADDING = 64  # pixels that HEVC codes beyond an edge, at most


class _UncommonError(Exception):
    """A picture that is left to libheif."""


@cache
def version() -> str | None:
    """PyAV's, without loading it; None without the extra."""
    try:
        return version_of("av")
    except PackageNotFoundError:
        return None


def decoded(data: bytes, size: Size, by_libheif: Decode) -> Image.Image | None:
    """The primary picture as RGB, turned as the container says; None in any doubt.

    `size`: how large libheif says it is. One thread: clipindex decodes several files side by side.
    Other threads go on meanwhile.
    """
    if version() is None:
        return None
    try:
        grid = _grid(data)
        return _drawn(data, grid, by_libheif) if grid.turned_size == size else None
    except Exception:  # PyAV's errors, a broken directory, or a picture that is not for here
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Grid:
    """`size` is seen of the tiles, which lie in rows of `columns`; `turns` follow."""

    items: Items
    numbers: list[int]  # of the tiles, in order
    columns: int
    size: Size
    turns: list[Turn]
    colours: list[bytes]  # what is said of them, of the whole and of the tiles

    @property
    def turned_size(self) -> Size:
        """How large it is at last."""
        return self.place((0, 0), self.size)[1]

    def place(self, at: Size, part: Size) -> tuple[Size, Size]:
        """Where the upper left corner of a part lies when all is turned, and the size of all."""
        whole = self.size
        for turn in self.turns:
            left, top = at
            right, below = whole[0] - left - part[0], whole[1] - top - part[1]
            at = {
                Turn.ROTATE_90: (top, right),
                Turn.ROTATE_180: (right, below),
                Turn.ROTATE_270: (below, left),
                Turn.FLIP_LEFT_RIGHT: (right, top),
                Turn.FLIP_TOP_BOTTOM: (left, below),
            }[turn]
            if turn in (Turn.ROTATE_90, Turn.ROTATE_270):
                part, whole = part[::-1], whole[::-1]
        return at, whole


def _drawn(data: bytes, grid: _Grid, by_libheif: Decode) -> Image.Image:
    """Raises what PyAV raises, and _UncommonError where libheif gives another tile."""
    tiles = [grid.items.items[number] for number in grid.numbers]
    decoder = _Decoder(data, tiles[0], grid.colours)
    sample = max(range(len(tiles)), key=lambda number: tiles[number].flags_at)
    twice = decoder.rgb(tiles[sample])
    alone = by_libheif(bytes(heif_items.as_primary(data, grid.items, grid.numbers[sample])))
    if twice.size != alone.size or twice.tobytes() != alone.tobytes():
        raise _UncommonError
    canvas = Image.new("RGB", grid.turned_size, None)
    width, height = tiles[0].size
    for number, tile in enumerate(tiles):
        left, top = number % grid.columns * width, number // grid.columns * height
        seen = min(width, grid.size[0] - left), min(height, grid.size[1] - top)
        part = twice if number == sample else decoder.rgb(tile)
        part = part.crop((0, 0, *seen))
        for turn in grid.turns:
            part = part.transpose(turn)
        canvas.paste(part, grid.place((left, top), seen)[0])
    return canvas


def _grid(data: bytes) -> _Grid:
    """The primary picture. Raises _UncommonError, and KeyError or IndexError for a broken file."""
    directory = heif_items.directory(data)
    items = heif_items.read(data, directory) if directory else Items()
    primary = items.items[items.primary or 0]
    tiles = [items.items[number] for number in primary.made_of]
    if len(tiles) < FEWEST_TILES or len({_entry(data, tile) for tile in tiles}) != 1:
        raise _UncommonError
    rows, columns, size = _layout(heif_items.content(data, items, primary, _LONGEST_LAYOUT))
    if any(box.kind not in _KNOWN for part in (primary, tiles[0]) for box in part.properties):
        raise _UncommonError
    width, height = tiles[0].size
    across, down = columns * width - size[0], rows * height - size[1]
    if len(tiles) != rows * columns or not (0 <= across < width and 0 <= down < height):
        raise _UncommonError
    return _Grid(
        items=items,
        numbers=primary.made_of,
        columns=columns,
        size=size,
        turns=list(_turns(data, primary)),
        colours=[*_contents(data, primary, b"colr"), *_contents(data, tiles[0], b"colr")],
    )


def _layout(content: bytes) -> tuple[int, int, Size]:
    """Rows, columns and size: version, flags, rows - 1, columns - 1, width, height."""
    wide = 4 if content[1] & 1 else 2
    width, height = (heif_items.number(content, 4 + wide * n, wide) for n in (0, 1))
    return content[2] + 1, content[3] + 1, (width, height)


def _entry(data: bytes, tile: Item) -> tuple[object, ...]:
    """All that a file says of a tile, but for its number and where its data is."""
    version = data[tile.flags_at - 3]
    flags, behind = tile.flags_at + 1, tile.flags_at + 1 + (2 if version == 2 else 4)
    if tile.kind != b"hvc1" or tile.construction != heif_items.IN_FILE or len(tile.extents) != 1:
        raise _UncommonError
    properties = tuple((box.kind, box.start) for box in tile.properties)
    return data[flags - 4 : flags], data[behind : behind + 6], properties


def _contents(data: bytes, item: Item, kind: bytes) -> Iterator[bytes]:
    return (data[box.start : box.end] for box in item.properties if box.kind == kind)


def _turns(data: bytes, item: Item) -> Iterator[Turn]:
    """In the file's order; a rotation by nothing is none."""
    for box in item.properties:
        if box.kind == b"irot" and data[box.start] & 3:
            yield _TURNS[data[box.start] & 3]
        elif box.kind == b"imir":
            yield _FLIPS[data[box.start] & 1]


class _Decoder:
    """FFmpeg's for HEVC, with the settings of a tile."""

    def __init__(self, data: bytes, tile: Item, colours: list[bytes]) -> None:
        import av

        self._data, self._colours, self._size = data, colours, tile.size
        self._packet = av.Packet
        self._context: Any = av.CodecContext.create("hevc", "r")
        (self._context.extradata,) = _contents(data, tile, b"hvcC")
        self._context.thread_count = 1
        most = (tile.size[0] + _PADDING) * (tile.size[1] + _PADDING)
        self._context.options = {"err_detect": "explode", "max_pixels": str(most)}

    def rgb(self, tile: Item) -> Image.Image:
        """A tile's picture. Raises what PyAV raises where it is damaged."""
        ((start, length),) = tile.extents
        coded = self._data[start : start + length] if length else self._data[start:]
        frames = [*self._context.decode(self._packet(coded)), *self._context.decode(None)]
        self._context.flush_buffers()
        if len(frames) != 1 or frames[0].is_corrupt:
            raise _UncommonError
        if (frames[0].width, frames[0].height) != self._size:
            raise _UncommonError
        y, cb, cr = (_pixels(plane) for plane in frames[0].planes)
        return ycbcr.to_rgb(y, cb, cr, _matrix(frames[0], self._colours))


def _pixels(plane: Any) -> ycbcr.Bytes:
    rows = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)
    return rows[:, : plane.width]


def _matrix(frame: Any, colours: list[bytes]) -> ycbcr.Matrix:
    """The frame's, if all that is said of the colours agrees. Raises _UncommonError otherwise."""
    matrix = _MATRICES.get(int(frame.colorspace))
    if frame.format.name not in _FORMATS or int(frame.color_range) != _FULL_RANGE:
        raise _UncommonError
    for said in colours:  # kind, primaries, transfer, matrix, range
        if said[:4] == b"nclx" and (_MATRICES.get(said[9]) != matrix or not said[10] & 0x80):
            raise _UncommonError
    if matrix is None:
        raise _UncommonError
    return matrix
