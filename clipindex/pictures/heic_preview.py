"""Pure: the thumbnail that a HEIC file holds of its picture, and how to have it decoded.

A decoder decodes what the directory calls the primary picture. `as_primary` writes another item's
number there; no byte moves. A phone's picture is a grid of tiles, and each tile can be decoded in
the same way: one of them shows whether the thumbnail is still that of this picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

from clipindex.pictures import heif_items
from clipindex.pictures.heif_items import IN_FILE, IN_IDAT, MOST_PROPERTIES, Item, Items

Part = tuple[float, float, float, float]  # left, top, right, bottom, from 0 to 1

_CODED = (b"hvc1", b"hev1")
# Properties that change no pixel beside these; with any other an item is left alone.
_HARMLESS = {b"ispe", b"hvcC", b"colr", b"pixi", b"pasp", b"clli", b"mdcv", b"cclv", b"amve"}
_GRID_HEAD = 20  # bytes at most
_LOW, _HIGH = 0.25, 0.75  # the tile that is compared has its middle there, across and down
_MOST_PIXELS = 8_000_000  # of a tile
_NO_KIND = b"free"


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """A thumbnail of the whole picture, and the tile to compare it with.

    `part`: what the tile shows of the picture, before that is turned; `turns`: what is then done
    to both, in order: quarter turns to the left (1 to 3), or mirrored: MIRROR_ACROSS, MIRROR_DOWN.
    """

    thumbnail: bytes  # the file with the thumbnail as its primary picture
    tile: bytes  # likewise
    part: Part
    turns: tuple[int, ...]


MIRROR_ACROSS, MIRROR_DOWN = 4, 5  # left and right, top and bottom are exchanged


def find(data: bytes, shortest: int) -> Preview | None:
    """The largest thumbnail that can stand for the picture, with a short side of at least
    `shortest` pixels; None where there is none, or anything is not as it should be."""
    try:
        meta = heif_items.directory(data)
        if meta is None or not meta.whole:
            return None
        items = heif_items.read(data, meta)
        if not all(_is_inside(data, items, item) for item in items.items.values()):
            return None
        return _found(data, items, shortest)
    except (LookupError, ValueError, ArithmeticError):  # the directory is broken
        return None


def _found(data: bytes, items: Items, shortest: int) -> Preview | None:
    main = items.item(items.primary or 0)
    turns = _turns(data, main)
    if main.kind != b"grid" or turns is None or any(items.items[n].is_alpha for n in main.alpha):
        return None
    tile, part = _middle_tile(data, items, main)
    if _turns(data, items.items[tile]) != ():
        return None
    profiles = _profiles(data, main) | _profiles(data, items.items[tile])
    suited = [
        (min(item.size), number, at)
        for number, at in main.thumbnails
        if (item := items.items[number]).kind in _CODED
        and min(item.size) >= shortest
        and _has_shape(item.size, main.size)
        and _turns(data, item) == turns
        and _profiles(data, item) == profiles
    ]
    if not suited:
        return None
    _, thumbnail, at = max(suited)
    shown = heif_items.as_primary(data, items, thumbnail)
    shown[at : at + 4] = _NO_KIND  # a thumbnail is no primary picture
    compared = bytes(heif_items.as_primary(data, items, tile))
    return Preview(thumbnail=bytes(shown), tile=compared, part=part, turns=turns)


def _is_inside(data: bytes, items: Items, item: Item) -> bool:
    """Whether the file has all bytes of an item."""
    base, limit = (0, len(data)) if item.construction == IN_FILE else items.idat
    return item.construction in (IN_FILE, IN_IDAT) and all(
        base + start + length <= limit for start, length in item.extents
    )


def _turns(data: bytes, item: Item) -> tuple[int, ...] | None:
    """How it is turned once it is decoded; None where something else is done to it, too."""
    turns = []
    for box in item.properties:
        if box.kind == b"irot":
            turns.append(data[box.start] & 3)
        elif box.kind == b"imir":
            turns.append(MIRROR_ACROSS if data[box.start] & 1 else MIRROR_DOWN)
        elif box.kind not in _HARMLESS:
            return None
    is_known = len(item.properties) < MOST_PROPERTIES
    return tuple(turn for turn in turns if turn) if is_known else None


def _profiles(data: bytes, item: Item) -> set[bytes]:
    """Its ICC profiles. How it codes its colours otherwise (`nclx`) is the decoder's to undo."""
    colours = (data[box.start : box.end] for box in item.properties if box.kind == b"colr")
    return {colour for colour in colours if not colour.startswith(b"nclx")}


def _has_shape(size: tuple[int, int], whole: tuple[int, int]) -> bool:
    """Whether a picture is the whole one scaled, but for one pixel."""
    return abs(size[0] * whole[1] - size[1] * whole[0]) <= max(whole)


def _middle_tile(data: bytes, items: Items, grid: Item) -> tuple[int, Part]:
    """Of the tiles around the middle the one with most data, and so with most to see, and the part
    of the picture that it shows. Raises ValueError where no tile lies there."""
    head = heif_items.content(data, items, grid, _GRID_HEAD)
    rows, columns = head[2] + 1, head[3] + 1
    wide, high = items.items[grid.made_of[0]].size
    if wide * high > _MOST_PIXELS:
        raise ValueError("large tiles")
    tiles = []
    for row, column in product(range(rows), range(columns)):
        left, right = (wide * n / grid.size[0] for n in (column, column + 1))
        top, bottom = (high * n / grid.size[1] for n in (row, row + 1))
        middle = (left + right) / 2, (top + bottom) / 2
        number = grid.made_of[row * columns + column]
        is_inside = min(middle) >= _LOW and max(middle) <= _HIGH and max(right, bottom) <= 1
        if is_inside and items.items[number].size == (wide, high):
            length = sum(length for _, length in items.items[number].extents)
            tiles.append((length, number, (left, top, right, bottom)))
    _, number, part = max(tiles)
    return number, part
