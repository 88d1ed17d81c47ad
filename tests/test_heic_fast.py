"""HEIC pictures decoded by FFmpeg: to the last bit as by libheif, or by libheif."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from clipindex.errors import FileFault
from clipindex.pictures import ffmpeg, heif_items, ycbcr
from clipindex.pictures.decode import decode
from clipindex.pictures.heic import open_heic
from clipindex.pictures.preprocessing import Geometry, Preprocessing
from test_heic import exif

pillow_heif = pytest.importorskip("pillow_heif")  # the encoder
pytest.importorskip("av")


SIZE = (256, 192)  # twelve tiles


def photo(size: tuple[int, int] = SIZE, mode: str = "RGB", seed: int = 1) -> Image.Image:
    """A picture with bright, dark and strong colours."""
    random = np.random.default_rng(seed)
    bands = len(Image.new(mode, (1, 1)).getbands())
    grid = random.integers(0, 256, (size[1] // 8, size[0] // 8, bands), np.uint8)
    return Image.fromarray(grid.squeeze(), mode).resize(size, Image.Resampling.BICUBIC)


def heic(image: Image.Image, **options: object) -> bytes:
    out = io.BytesIO()
    pillow_heif.from_pillow(image).save(out, **{"quality": 80, "tile_size": 64, **options})
    return out.getvalue()


def by_libheif(data: bytes) -> Image.Image:
    from pi_heif import HeifImageFile

    image: Image.Image = HeifImageFile(io.BytesIO(data))
    image.load()
    return image


def by_ffmpeg(data: bytes, size: tuple[int, int]) -> Image.Image | None:
    return ffmpeg.decoded(data, size, by_libheif)


def alone(patch: pytest.MonkeyPatch) -> None:
    """As without the extra."""
    patch.setattr(ffmpeg, "version", lambda: None)


COMMON: dict[str, dict[str, Any]] = {
    "coarse": {"quality": 10},
    "fine": {"quality": 100},
    "BT.709": {"matrix_coefficients": 1},
    "edges": {"size": (250, 130)},  # within the last column and the last row
    "larger": {"size": (520, 512), "tile_size": 128},
    **{f"orientation {turn}": {"size": (226, 178), "exif": exif(turn)} for turn in range(1, 9)},
}
UNCOMMON: dict[str, dict[str, Any]] = {
    "grey": {"mode": "L"},
    "alpha": {"mode": "RGBA"},
    "full colours": {"chroma": 444},
    "half colours": {"chroma": 422},
    "limited range": {"full_range_flag": 0},
    "BT.2020": {"matrix_coefficients": 9},
    "one tile": {"tile_size": None},
    "few tiles": {"size": (190, 190)},
    "two matrices": {"replaced": (b"nclx\0\1\0\x0d\0\6", b"nclx\0\1\0\x0d\0\1")},
}


@cache
def made(name: str) -> bytes:
    options = dict({**COMMON, **UNCOMMON}[name])
    image = photo(options.pop("size", SIZE), options.pop("mode", "RGB"))
    old, new = options.pop("replaced", (b"", b""))
    data = heic(image, **options)
    assert old in data
    return data.replace(old, new) if old else data


@pytest.mark.parametrize("name", COMMON)
def test_common_pictures_are_decoded_by_ffmpeg_to_the_last_bit_as_by_libheif(name: str) -> None:
    data = made(name)
    whole = by_libheif(data)
    fast = by_ffmpeg(data, whole.size)
    assert fast is not None
    assert (fast.mode, fast.size, fast.tobytes()) == (whole.mode, whole.size, whole.tobytes())
    image = open_heic(data)
    image.load()
    assert (image.size, image.tobytes()) == (whole.size, whole.tobytes())
    assert image.getexif() == whole.getexif()


@pytest.mark.parametrize(("name", "turn"), list(itertools.product(("irot", "imir"), range(4))))
def test_every_turn_of_the_container_is_libheifs(name: str, turn: int) -> None:
    turned = made("orientation 8")
    data = turned.replace(b"irot" + bytes([1]), name.encode() + bytes([turn]))
    assert data != turned or (name, turn) == ("irot", 1)
    whole = by_libheif(data)
    fast = by_ffmpeg(data, whole.size)
    assert fast is not None
    assert fast.tobytes() == whole.tobytes()


@pytest.mark.parametrize("name", UNCOMMON)
def test_other_pictures_are_left_to_libheif(name: str) -> None:
    data = made(name)
    whole = by_libheif(data)
    assert by_ffmpeg(data, whole.size) is None or whole.mode != "RGB"
    image = open_heic(data)
    image.load()
    assert (image.mode, image.size, image.tobytes()) == (whole.mode, whole.size, whole.tobytes())


def test_a_picture_of_another_size_than_libheif_says_is_left_to_it() -> None:
    assert by_ffmpeg(made("fine"), (256, 191)) is None


def judged(data: bytes) -> str:
    try:
        decode(data, Geometry(32, "crop"), Preprocessing.EXACT)
    except FileFault as fault:
        return fault.reason
    return "sound"


def damaged(data: bytes) -> Iterator[bytes]:
    """With a bit flipped at many places, most of them in headers, and cut at others."""
    directory = heif_items.directory(data)
    assert directory is not None
    in_headers, in_data = range(8, directory.end, 4), range(directory.end, len(data), 701)
    for n, place in enumerate((*in_headers, *in_data)):
        yield data[:place] + bytes([data[place] ^ (1 << n % 8)]) + data[place + 1 :]
    yield from (data[:end] for end in range(16, len(data), 1501))


@pytest.mark.parametrize("name", ["fine", "orientation 8"])
def test_damaged_pictures_are_judged_alike_with_and_without_ffmpeg(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = list(damaged(made(name)))
    verdicts = [judged(data) for data in files]
    alone(monkeypatch)
    assert [judged(data) for data in files] == verdicts
    assert 0.1 < verdicts.count("sound") / len(verdicts) < 0.9


def test_what_ffmpeg_finds_damaged_is_decoded_by_libheif() -> None:
    data, size = made("fine"), SIZE
    start = data.index(b"mdat") + 12
    changed = (data[:place] + b"\xfe" + data[place + 1 :] for place in range(start, len(data)))
    broken = next(data for data in changed if by_ffmpeg(data, size) is None)
    image = open_heic(broken)
    image.load()
    assert image.tobytes() == by_libheif(broken).tobytes()


def test_without_the_extra_libheif_decodes_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    alone(monkeypatch)
    assert by_ffmpeg(made("fine"), SIZE) is None
    image = open_heic(made("fine"))
    image.load()
    assert image.tobytes() == by_libheif(made("fine")).tobytes()


@given(st.integers(0, 2**32 - 1), st.sampled_from([ycbcr.BT601, ycbcr.BT709]))
@settings(max_examples=25, deadline=None)
def test_colours_are_the_formulas_rounded_down_and_clipped(seed: int, matrix: ycbcr.Matrix) -> None:
    random = np.random.default_rng(seed)
    y = random.integers(0, 256, (64, 48), np.uint8)
    cb, cr = (random.integers(0, 256, (32, 24), np.uint8) for _ in range(2))
    wide = [np.kron(plane.astype(np.int64) - 128, np.ones((2, 2), np.int64)) for plane in (cb, cr)]
    expected = [
        y + ((matrix.red_cr * wide[1] + 128) >> 8),
        y + ((matrix.green_cb * wide[0] + matrix.green_cr * wide[1] + 128) >> 8),
        y + ((matrix.blue_cb * wide[0] + 128) >> 8),
    ]
    made = np.asarray(ycbcr.to_rgb(y, cb, cr, matrix))
    assert np.array_equal(made, np.clip(np.stack(expected, axis=-1), 0, 255))
