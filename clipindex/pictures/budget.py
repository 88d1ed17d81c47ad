"""What decoding a picture may cost: memory, time, and how many are decoded side by side.

Measured with Pillow 13.0, libwebp 1.6, libavif 1.4, pi-heif 1.4 and libjxl 0.11: the peak of a
process that decodes a picture of 36 megapixels, for each kind and mode. A header tells all of it,
so that a file that would take too much is refused before anything is decoded.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from clipindex.errors import OverBudget
from clipindex.pictures import jpeg

# 179 megapixels, Pillow's own limit for a decompression bomb (PIL.Image.MAX_IMAGE_PIXELS * 2),
# held against what will really be decoded.
MAX_PIXELS = 178_956_970
# A JPEG that is decoded at a reduced scale may declare more, up to this.
MAX_DECLARED_PIXELS = 1_000_000_000
# With what the model takes, a process stays below 1.5 GB.
MAX_BYTES_HELD = 1_250_000_000
# Decoded alone: two side by side would need as much again.
LARGE_PICTURE = 100_000_000  # bytes
# Progressive JPEGs have some ten scans; thousands keep a decoder busy for minutes.
MAX_SCANS = 500
# Samples that the scans of a JPEG go over, one after the other: about a nanosecond each.
MAX_SAMPLES = 2_500_000_000
# An arithmetic decoder may spend as much more on each.
_ARITHMETIC = 5

# Bytes a pixel: of Pillow's picture, and what `colours.to_rgb` makes beside it.
_PICTURE = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2}
_CONVERSION = {
    "RGB": 0,
    "L": 0,
    "1": 1,
    "RGBA": 5,
    "CMYK": 4,
    "YCbCr": 4,
    "LAB": 4,
    "P": 4,
    "I;16": 6,
    "I;16B": 6,
    "I;16L": 6,
}
_CLEAR = 9  # RGBA, white, and the mask
# Bytes a pixel that a decoder holds beside the picture.
_DECODER = {"WEBP": 9, "AVIF": 10, "HEIC": 7, "JXL": 12}
CHANNEL = 8  # of a JPEG XL picture, beside colours and alpha

_large = threading.Lock()


def refuse_bombs(pixels: int, declared: tuple[int, int]) -> None:
    """`pixels`: how many are decoded, of a picture that says it has `declared`."""
    if pixels > MAX_PIXELS or declared[0] * declared[1] > MAX_DECLARED_PIXELS:
        raise OverBudget(
            f"{declared[0]}x{declared[1]} pixels are over the budget of "
            f"{MAX_PIXELS // 1_000_000} megapixels"
        )


def refuse_bytes(held: int, size: tuple[int, int]) -> None:
    """`held`: the bytes that decoding a picture of that size takes at its peak."""
    if held > MAX_BYTES_HELD:
        raise OverBudget(
            f"{size[0]}x{size[1]} pixels of this kind take {held / 1e9:.1f} GB to decode, "
            f"over the budget of {MAX_BYTES_HELD / 1e9:.2f} GB"
        )


def bytes_held(
    kind: str, mode: str, size: tuple[int, int], *, clear: bool = False, coefficients: int = 0
) -> int:
    """At the peak, for a picture of Pillow's `mode`; `clear`: with a colour that is transparent.

    `coefficients`: bytes, of a JPEG. They are given back before the picture is converted.
    """
    pixels = size[0] * size[1]
    conversion = _CLEAR if clear and mode != "RGBA" else _CONVERSION.get(mode, _CLEAR)
    beside = max(pixels * conversion, pixels * _DECODER.get(kind, 0) + coefficients)
    return pixels * _PICTURE.get(mode, 4) + beside


def coefficients_held(stream: jpeg.Stream) -> int:
    """Bytes: a JPEG of several scans keeps two for each sample until the last one is read."""
    frame = stream.frame
    if frame is None or not stream.held_whole:
        return 0
    return 2 * _samples(frame, frame.components)


def refuse_time(stream: jpeg.Stream) -> None:
    """A JPEG whose scans would keep a decoder busy for minutes."""
    if len(stream.scans) > MAX_SCANS:
        raise OverBudget(f"more than {MAX_SCANS} scans: it would decode for minutes")
    frame = stream.frame
    if frame is None or not (frame.arithmetic or len(stream.scans) > len(frame.components)):
        return  # what a Huffman decoder goes over once, its bytes pay for
    cost = sum(_samples(frame, scan.components) for scan in stream.scans)
    if cost * (_ARITHMETIC if frame.arithmetic else 1) > MAX_SAMPLES:
        raise OverBudget(
            f"{len(stream.scans)} scans of {frame.width}x{frame.height} pixels"
            f"{', arithmetic coding' if frame.arithmetic else ''}: it would decode for minutes"
        )


def _samples(frame: jpeg.Frame, components: tuple[int, ...]) -> int:
    """How many samples those components of a picture have."""
    most = max(frame.samples) or 1
    own = dict(zip(frame.components, frame.samples, strict=True))
    share = sum(own.get(component, most) for component in components)
    return frame.width * frame.height * share // most


@contextmanager
def one_large_picture_at_a_time(held: int) -> Iterator[None]:
    """`held`: bytes that decoding takes."""
    if held < LARGE_PICTURE:
        yield
    else:
        with _large:
            yield
