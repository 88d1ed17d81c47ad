"""Pure: from a video decoder's planes to RGB, to the last bit as libheif computes it.

Full range, 8 bits, colours at half the resolution both ways, each taken for four pixels:
red = Y + (r Cr + 128) / 256, rounded down and clipped, the others alike (ITU-T H.273, 8.3).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

Bytes = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]  # [height, width]
Steps = np.ndarray[tuple[int, ...], np.dtype[np.int16]]  # [height, width]


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """What a step of Cr or Cb adds to red, green and blue, in 256ths."""

    red_cr: int
    green_cr: int
    green_cb: int
    blue_cb: int


BT601 = Matrix(red_cr=359, green_cr=-183, green_cb=-88, blue_cb=454)
BT709 = Matrix(red_cr=403, green_cr=-120, green_cb=-48, blue_cb=475)


def to_rgb(y: Bytes, cb: Bytes, cr: Bytes, matrix: Matrix) -> Image.Image:
    """A picture of y's size, which is even both ways; cb and cr have half of it."""
    return Image.merge("RGB", [_band(y, added) for added in _added(cb, cr, matrix)])


def _added(cb: Bytes, cr: Bytes, matrix: Matrix) -> tuple[Steps, Steps, Steps]:
    """What the colours add to red, green and blue. Whole 256ths are added last, as 16 bits hold no
    product of a byte and more than 255."""
    blueness, redness = cb.astype(np.int16) - np.int16(128), cr.astype(np.int16) - np.int16(128)
    red = _over_256(redness * np.int16(matrix.red_cr - 256)) + redness
    green = redness * np.int16(matrix.green_cr + 256) + blueness * np.int16(matrix.green_cb)
    blue = _over_256(blueness * np.int16(matrix.blue_cb - 256)) + blueness
    return red, _over_256(green) - redness, blue


def _over_256(steps: Steps) -> Steps:
    steps += np.int16(128)
    steps >>= np.int16(8)
    return steps


def _band(y: Bytes, added: Steps) -> Image.Image:
    """One colour's band: bytes that stop at 0 and 255, as they need a quarter of the time that
    clipping wider numbers takes."""
    band = np.minimum(~y, _for_four(np.maximum(added, 0)))
    band += y
    band -= np.minimum(y, _for_four(np.maximum(-added, 0)))
    return Image.frombuffer("L", band.shape[::-1], band, "raw", "L", 0, 1)


def _for_four(steps: Steps) -> Bytes:
    """Each value, now a byte, for two columns and two rows."""
    both = steps.astype(np.uint16)
    both *= np.uint16(0x101)
    return np.repeat(both.view(np.uint8), 2, axis=0)
