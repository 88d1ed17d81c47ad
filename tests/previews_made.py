"""HEIC and JPEG files with previews, as phones and cameras write them, true and stale ones."""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from functools import cache

import numpy as np
from PIL import Image

from clipindex.pictures import heif_items
from test_heic import exif

SIZE = (768, 576)
LARGE_THUMBNAIL, VGA, FULL_HD, GAIN_MAP = 0x010001, 0x010001, 0x010002, 0
SOI_AND_MARKER = 2  # bytes


@cache
def scene(seed: int, size: tuple[int, int] = SIZE) -> Image.Image:
    """A picture with coarse and fine detail everywhere, and no symmetry."""
    random = np.random.default_rng(seed)
    sides = ((5, 7), (24, 32), (96, 128))
    layers = [
        np.asarray(
            Image.fromarray(random.integers(0, 256, (*side, 3), np.uint8)).resize(
                size, Image.Resampling.BICUBIC
            ),
            np.float64,
        )
        for side in sides
    ]
    return Image.fromarray((0.5 * layers[0] + 0.3 * layers[1] + 0.2 * layers[2]).astype(np.uint8))


@cache
def heic(
    seed: int,
    *,
    size: tuple[int, int] = SIZE,
    thumbnails: tuple[int, ...] = (320,),
    tile: int = 256,
    orientation: int = 1,
    about: bytes | None = None,
) -> bytes:
    """A grid of tiles with thumbnails of these long sides."""
    return heic_of(
        scene(seed, size),
        thumbnails=thumbnails,
        tile=tile,
        about=exif(orientation) if about is None else about,
    )


def heic_of(image: Image.Image, *, thumbnails: Sequence[int], tile: int, about: bytes) -> bytes:
    import pillow_heif  # the encoder: the tests of JPEGs need none

    out = io.BytesIO()
    file = pillow_heif.from_pillow(image)
    file[0].info["thumbnails"] = list(thumbnails)
    file.save(out, quality=60, tile_size=tile, exif=about, enc_params={"preset": "ultrafast"})
    return out.getvalue()


def items(data: bytes) -> heif_items.Items:
    """What the directory of a HEIC file lists."""
    directory = heif_items.directory(data)
    assert directory is not None
    return heif_items.read(data, directory)


def main_of(data: bytes) -> heif_items.Item:
    """Its primary picture."""
    listed = items(data)
    return listed.items[listed.primary or 0]


def with_data(data: bytes, number: int, content: bytes) -> bytes:
    """The file with other data for an item, at its end; what was there stays."""
    ((offset, length),) = items(data).items[number].extents
    place = data.index(struct.pack(">LHLL", offset, 1, 0, length), data.index(b"iloc"))
    entry = struct.pack(">LHLL", len(data), 1, 0, len(content))
    return data[:place] + entry + data[place + len(entry) :] + content


def data_of(data: bytes, number: int) -> bytes:
    """The data of an item."""
    ((offset, length),) = items(data).items[number].extents
    return data[offset : offset + length]


def with_thumbnail_of(data: bytes, other: bytes) -> bytes:
    """A HEIC file with the thumbnail of another one, coded with the same settings."""
    (own, _), (foreign, _) = main_of(data).thumbnails[0], main_of(other).thumbnails[0]
    return with_data(data, own, data_of(other, foreign))


def stale_heic(seed: int, image: Image.Image) -> bytes:
    """The picture `seed` with a thumbnail of `image`."""
    other = heic_of(image.resize(SIZE), thumbnails=(320,), tile=256, about=exif())
    return with_thumbnail_of(heic(seed), other)


def jpeg(image: Image.Image, *, about: bytes = b"", **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", **{"quality": 85, "exif": about, **options})  # type: ignore[arg-type]
    return out.getvalue()


def listing(main: bytes, others: Sequence[tuple[int, bytes]], order: str = "<") -> bytes:
    """A JPEG file and further pictures of these types behind it, with the list of all (MPF)."""
    count = 1 + len(others)
    head = struct.pack(order + "2sHL", b"II" if order == "<" else b"MM", 42, 8)
    fields = [(0xB000, 7, 4, b"0100"), (0xB001, 4, 1, struct.pack(order + "L", count))]
    at = 8 + 2 + 12 * 3 + 4
    fields.append((0xB002, 7, 16 * count, struct.pack(order + "L", at)))
    directory = struct.pack(order + "H", 3)
    for tag, kind, length, value in fields:
        directory += struct.pack(order + "HHL", tag, kind, length) + value
    directory += bytes(4)
    length = 2 + 4 + len(head) + len(directory) + 16 * count
    first = SOI_AND_MARKER + 2 + length + len(main) - SOI_AND_MARKER
    base = SOI_AND_MARKER + 2 + 2 + 4
    entries, offset = struct.pack(order + "LLLHH", 0x030000, first, 0, 0, 0), first
    for kind, other in others:
        entries += struct.pack(order + "LLLHH", kind, len(other), offset - base, 0, 0)
        offset += len(other)
    segment = b"\xff\xe2" + struct.pack(">H", length) + b"MPF\0" + head + directory + entries
    return main[:2] + segment + main[2:] + b"".join(other for _, other in others)


def camera_jpeg(
    seed: int,
    preview: Image.Image | None = None,
    *,
    kind: int = VGA,
    orientation: int = 1,
    order: str = "<",
    **options: object,
) -> bytes:
    """A camera's JPEG of 2048x1536 with a preview of 960x720, or with the one that is given."""
    whole = scene(seed, (2048, 1536))
    small = whole.resize((960, 720)) if preview is None else preview
    main = jpeg(whole, about=exif(orientation), **options)
    return listing(main, [(kind, jpeg(small))], order)
