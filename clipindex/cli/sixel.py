"""Pixels as sixels, DEC's way of sending a picture to a terminal: six rows at a time, by colour."""

from __future__ import annotations

import numpy as np

from clipindex.pictures.fitting import Pixels

LEVELS = 6  # of red, green and blue: 216 colours of the 256 that terminals have
# Bayer's matrix: which pixels of a square take the next level first.
_ORDER = np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]])
Numbers = np.ndarray[tuple[int, ...], np.dtype[np.int64]]
_FIRST = 63  # the character of six pixels that are not set


def sixels(pixels: Pixels) -> bytes:
    """`pixels`: [height, width, 3] uint8 RGB. Dithered to a fixed palette."""
    height, width, _ = pixels.shape
    colours = _dithered(pixels)
    out = [f'\x1bP0;1;0q"1;1;{width};{height}', *map(_definition, np.unique(colours).tolist())]
    for top in range(0, height, 6):
        band = colours[top : top + 6]
        weights = 1 << np.arange(len(band))[:, None]
        rows = [
            f"#{colour}{_row(((band == colour) * weights).sum(axis=0))}"
            for colour in np.unique(band).tolist()
        ]
        out.append("$".join(rows) + "-")
    return "".join([*out, "\x1b\\"]).encode()


def _dithered(pixels: Pixels) -> Numbers:
    """The number of each pixel's colour in the palette: [height, width]."""
    height, width, _ = pixels.shape
    tiles = np.tile(_ORDER, (height // 4 + 1, width // 4 + 1))[:height, :width]
    threshold = (tiles[..., None] + 0.5) / 16
    levels = np.floor(pixels * ((LEVELS - 1) / 255) + threshold).astype(np.int64)
    red, green, blue = np.moveaxis(np.minimum(levels, LEVELS - 1), 2, 0)
    colours: Numbers = (red * LEVELS + green) * LEVELS + blue
    return colours


def _definition(colour: int) -> str:
    """A colour of the palette in percent."""
    parts = (colour // LEVELS**2, colour // LEVELS % LEVELS, colour % LEVELS)
    percent = (str(round(100 * part / (LEVELS - 1))) for part in parts)
    return f"#{colour};2;{';'.join(percent)}"


def _row(bits: Numbers) -> str:
    """One colour's share of six rows; runs of the same character are counted."""
    ends = np.flatnonzero(np.append(np.diff(bits) != 0, True)) + 1
    lengths = np.diff(np.append(0, ends))
    out = ""
    for end, length in zip(ends.tolist(), lengths.tolist(), strict=True):
        letter = chr(_FIRST + int(bits[end - 1]))
        out += f"!{length}{letter}" if length > 3 else letter * length
    return out
