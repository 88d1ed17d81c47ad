"""From a TIFF's samples to 8-bit grey or RGB, for each photometric interpretation."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image

from clipindex.errors import FileFault
from clipindex.pictures.colours import Bytes, Scale
from clipindex.pictures.tiff.directory import Directory
from clipindex.pictures.tiff.layout import (
    CMYK,
    ICC_LAB,
    LAB,
    NO_COMPRESSION,
    PALETTE,
    WHITE_IS_ZERO,
    YCBCR,
    Layout,
)
from clipindex.pictures.tiff.samples import Samples

_BT_601 = (0.299, 0.587, 0.114)  # shares of red, green and blue in brightness

Converter = Callable[[Samples], Bytes]  # [rows, width, any] -> [rows, width, 1 or 3]


def converters(
    page: Directory, layout: Layout, read: Callable[[], Iterator[Samples]]
) -> tuple[Converter, Converter]:
    """Functions that turn the samples of colour, and of alpha, into 8-bit grey or RGB."""
    if layout.kind == "unsigned" and layout.bits <= 16:
        to_bytes = alpha = _table(layout.bits)
    else:
        most = 2.0 ** (layout.bits - (layout.kind == "signed")) - 1
        opaque = 1.0 if layout.kind == "float" else most
        colours_only = (samples[:, :, : layout.colours] for samples in read())
        scale = Scale.of(colours_only, white=opaque, is_16_bits=layout.bits > 16)
        to_bytes, alpha = scale.to_bytes, Scale(0.0, opaque).to_bytes
    if layout.photometric == PALETTE:
        colours = _palette(page, layout.bits)
        return lambda samples: colours[samples[:, :, 0]], alpha
    if layout.photometric == WHITE_IS_ZERO:
        return lambda samples: 255 - to_bytes(samples), alpha
    if layout.photometric == CMYK:
        return lambda samples: _converted("CMYK", to_bytes(samples)), alpha
    if layout.photometric in (LAB, ICC_LAB):
        return lambda samples: _converted("LAB", _lab(samples, layout)), alpha
    if layout.photometric == YCBCR and layout.compression == NO_COMPRESSION:
        return _from_ycbcr(page), alpha
    return to_bytes, alpha


def is_mislabelled(parts: Iterator[Samples]) -> bool:
    """Whether numbers are unsigned although the file calls them signed.

    Then neighbours are nearer to each other without the sign. ImageMagick, for one, writes such
    files. If no number is negative, both readings are the same.
    """
    steps = [0.0, 0.0]  # as they are called, and without the sign
    for samples in parts:
        views = samples, samples.view(f"u{samples.dtype.itemsize}")
        for number, view in enumerate(views):
            steps[number] += float(np.abs(np.diff(view.astype(np.float64), axis=1)).sum())
    return steps[1] < steps[0]


def _table(bits: int) -> Converter:
    """Looks up unsigned samples of up to 16 bits: the nearest share of 255."""
    if bits == 8:
        return lambda samples: samples
    most = (1 << bits) - 1
    table = np.rint(np.arange(most + 1) * (255 / most)).astype(np.uint8)
    return lambda samples: table[samples]


def _palette(page: Directory, bits: int) -> Bytes:
    """[2^bits, 3]: the high bytes of a 16-bit colour map; the low ones if all high ones are 0."""
    entries = page.numbers(320)
    if len(entries) != 3 << bits:
        raise FileFault("damaged: its palette is missing or of the wrong size")
    divisor = 256 if max(entries) > 255 else 1
    table = np.array(entries, np.uint16).reshape(3, -1).T // divisor
    return table.astype(np.uint8)


def _converted(mode: str, values: Bytes) -> Bytes:
    """[rows, width, samples of `mode`] to RGB, as Pillow does."""
    size = (values.shape[1], values.shape[0])
    image = Image.frombuffer(mode, size, np.ascontiguousarray(values).tobytes(), "raw", mode, 0, 1)
    return np.asarray(image.convert("RGB"))


def _lab(samples: Samples, layout: Layout) -> Bytes:
    """L* in 0..255 for 0..100, a* and b* from -128, as bytes that Pillow unpacks as LAB.

    CIELAB has a* and b* signed, in 16 bits with 8 binary places, and L* up to the greatest
    number. ICC's has them from -128 upwards, and in 16 bits 65280 for 100 (TIFF technical note 4).
    """
    values = samples.astype(np.int32)
    if layout.photometric == ICC_LAB:
        values = np.minimum((values + 128) >> 8, 255) if layout.bits == 16 else values
        return (values ^ [0, 128, 128]).astype(np.uint8)
    if layout.bits == 16:
        signed = samples[:, :, 1:].view(np.int16).astype(np.int32)
        values[:, :, 0] = (values[:, :, 0] + 128) // 257
        values[:, :, 1:] = np.minimum((signed + 128) >> 8, 127) & 255
    return values.astype(np.uint8)


def _from_ycbcr(page: Directory) -> Converter:
    """Uses the codes of black and white that the file names (TIFF 6.0, section 20)."""
    weights = page.rationals(529) or _BT_601
    if len(weights) != 3 or not all(0 < share < 1 for share in weights):
        raise FileFault("damaged: its coefficients of brightness are none")
    codes = page.rationals(532) or (0, 255, 128, 255, 128, 255)
    if len(codes) != 6 or any(codes[at] >= codes[at + 1] for at in (0, 2, 4)):
        raise FileFault("damaged: its codes for black and white are none")
    every = np.arange(256.0)
    bright = (every - codes[0]) * (255 / (codes[1] - codes[0]))
    blue, red = ((every - codes[at]) * (127 / (codes[at + 1] - codes[at])) + 128 for at in (2, 4))
    table = np.clip(np.rint([bright, blue, red]), 0, 255).astype(np.uint8)
    if max(map(abs, np.subtract(weights, _BT_601))) < 0.01:
        return lambda samples: _converted("YCbCr", table[[0, 1, 2], samples])
    return lambda samples: _weighted(table[[0, 1, 2], samples], weights)


def _weighted(values: Bytes, weights: tuple[float, ...]) -> Bytes:
    """Y, Cb and Cr to RGB: brightness has these shares of the three (TIFF 6.0, section 21)."""
    bright, blue, red = np.moveaxis(values.astype(np.float32), 2, 0)
    out = np.empty(values.shape, np.float32)
    out[:, :, 0] = bright + (red - 128) * (2 - 2 * weights[0])
    out[:, :, 2] = bright + (blue - 128) * (2 - 2 * weights[2])
    out[:, :, 1] = (bright - weights[0] * out[:, :, 0] - weights[2] * out[:, :, 2]) / weights[1]
    return np.clip(np.rint(out), 0, 255).astype(np.uint8)
