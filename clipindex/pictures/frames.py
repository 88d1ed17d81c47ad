"""The later frames of an animation, for the preprocessing `frames`.

A few at even distances stand for all. What they may cost is bounded by the file alone, so that the
same file gives the same frames on every machine. A frame that cannot be read ends the animation
before it; one that shows nothing (a fade from black, a white card) is left out.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import suppress

import numpy as np
from PIL import Image

from clipindex.pictures import budget, gif
from clipindex.pictures.colours import to_rgb
from clipindex.pictures.fitting import Pixels, fit
from clipindex.pictures.plugins import plugin
from clipindex.pictures.preprocessing import Geometry

ANIMATED = {"GIF", "WEBP", "PNG", "AVIF"}
AT_MOST = 4  # measured: eight retrieve no better
MOST_FRAMES = 256  # decoded; of a longer animation, its beginning
MOST_PIXELS = 200_000_000  # of all frames decoded: about two seconds
_BLANK = 8.0  # standard deviation of grey, of 255


def with_later_frames(first: Pixels, data: bytes, kind: str, geometry: Geometry) -> Pixels:
    """[frames, size, size, 3] of an animation of which more than the first frame shows something,
    else `first`, [size, size, 3]."""
    if kind not in ANIMATED:
        return first
    frames = [first, *_later(data, kind, geometry)]
    telling = [frame for frame in frames if _shows_something(frame)]
    if len(frames) == 1 or not telling:
        return first
    return np.stack(telling)


def _shows_something(pixels: Pixels) -> bool:
    return float(pixels.mean(axis=2).std()) >= _BLANK


def _later(data: bytes, kind: str, geometry: Geometry) -> Iterator[Pixels]:
    """Frames at even distances behind the first, in order; up to a damaged one."""
    with suppress(Exception):
        for image in _images(data, kind):
            yield fit(to_rgb(image), geometry)


def _images(data: bytes, kind: str) -> Iterator[Image.Image]:
    if kind == "GIF":
        data = gif.first_pictures(data, MOST_FRAMES)
    image = plugin(kind)(io.BytesIO(data))
    count = _count(image)
    with budget.one_large_picture_at_a_time(budget.bytes_held(kind, "RGBA", image.size)):
        for number in sorted({step * count // AT_MOST for step in range(1, AT_MOST)} - {0}):
            image.seek(number)
            yield image.copy()


def _count(image: Image.Image) -> int:
    """How many frames are looked at."""
    at_once = MOST_PIXELS // max(1, image.width * image.height)
    return min(getattr(image, "n_frames", 1), MOST_FRAMES, max(1, at_once))
