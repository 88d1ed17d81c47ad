"""TIFFs of every compression with holes, empty ends and overwritten bytes are refused."""

from __future__ import annotations

import io
import random
import threading
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw
from PIL.TiffImagePlugin import TiffImageFile

from clipindex.errors import FileFault
from clipindex.pictures.decode import Pixels, decode
from clipindex.pictures.preprocessing import Geometry, Preprocessing
from clipindex.pictures.tiff import libtiff
from clipindex.pictures.tiff.directory import picture_page
from clipindex.pictures.tiff.layout import layout_of
from conftest import picture
from test_tiff import (
    DEFLATE,
    JPEG,
    LZW,
    OFFSETS,
    PACKBITS,
    PLAIN,
    TILE_OFFSETS,
    Page,
    Values,
    _blocks,
    coded,
    page,
    strips_of,
    tiff,
    without_jfif,
)

CROP = Geometry(224, "crop")
LZMA, ZSTD = 34925, 50000
SEEDS = 8


def photograph(size: tuple[int, int] = (480, 360)) -> Values:
    """Pixels with the grain of a sensor: no part of the data is flat."""
    values = np.asarray(picture(3, size)).astype(np.int16)
    noise = np.random.default_rng(5).integers(-14, 15, values.shape, dtype=np.int16)
    return np.clip(values + noise, 1, 255).astype(np.uint8)


def night() -> Values:
    """Noise around black, with many zeros in it, and a lamp."""
    values = np.abs(np.random.default_rng(7).normal(0, 4, (360, 480, 3)))
    values[100:140, 150:200] += 120
    return np.clip(values, 0, 255).astype(np.uint8)


def text() -> Image.Image:
    image = Image.new("L", (600, 600), 255)
    draw, rng = ImageDraw.Draw(image), random.Random(4)
    for top in range(10, 590, 14):
        draw.text((20, top), "".join(rng.choices("abcdefghij klmnop", k=90)), fill=0)
    return image.convert("1", dither=Image.Dither.NONE)


def fax(name: str, rows: int = 600, **tags: Any) -> bytes:
    """`name` is Pillow's for the compression; `tags` are named tNUMBER."""
    bits = np.asarray(text())
    own: Page = {int(tag.removeprefix("t")): value for tag, value in tags.items()}
    options = {292: own[292][0]} if 292 in own else {}
    strips: Any = []
    for top in range(0, 600, rows):
        part = Image.fromarray(bits[top : top + rows])
        strips += strips_of(coded(part, name, strip_size=1 << 20, tiffinfo=options))
    code = {"tiff_ccitt": 2, "group3": 3, "group4": 4}[name]
    made = page(bits[:, :, None].astype(np.uint8), 1, bits=1, rows=rows)
    return tiff(made | own | {OFFSETS: strips, 259: [code]})


def jpegs(tile: tuple[int, int] | None = None, **options: int) -> bytes:
    values, pieces = photograph(), []
    for block in _blocks(values, tile, 360):
        out = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(block)).save(out, "JPEG", quality=90, **options)
        pieces.append(without_jfif(out.getvalue()))
    made = page(values, 6, compression=JPEG, tile=tile, rows=360) | {530: [2, 2]}
    return tiff(made | {TILE_OFFSETS if tile else OFFSETS: pieces})  # type: ignore[dict-item]


def compressed(code: int, **options: Any) -> Callable[[], bytes]:
    return lambda: tiff(page(photograph(), 2, compression=code, **options))


FILES: dict[str, Callable[[], bytes]] = {
    "plain": compressed(PLAIN),
    "plain, one strip": compressed(PLAIN, rows=360),
    "plain, tiles": compressed(PLAIN, tile=(240, 112)),
    "plain, 16 bit": lambda: tiff(page(photograph().astype(np.uint16) * 257, 2)),
    "plain, at night": lambda: tiff(page(night(), 2, rows=360)),
    "LZW": compressed(LZW, predictor=2),
    "deflate": compressed(DEFLATE),
    "deflate, one strip": compressed(DEFLATE, rows=360),
    "PackBits": compressed(PACKBITS),
    "LZMA": compressed(LZMA),
    "Zstandard": compressed(ZSTD),
    "JPEG": jpegs,
    "JPEG, tiles": lambda: jpegs((128, 128)),
    "JPEG with restarts": lambda: jpegs(restart_marker_rows=1),
    "fax, 2": lambda: fax("tiff_ccitt"),
    "fax, group 3": lambda: fax("group3"),
    "fax, group 3 in two dimensions": lambda: fax("group3", t292=[1]),
    "fax, group 4": lambda: fax("group4"),
    "fax, group 4 in strips": lambda: fax("group4", 100),
}
CHECKED = [name for name in FILES if name.startswith(("fax", "deflate", "LZMA"))]


@cache
def whole(name: str) -> bytes:
    return FILES[name]()


@cache
def pixels_of(name: str) -> Pixels:
    return decode(whole(name), CROP, Preprocessing.EXACT)[0]


def result(data: bytes) -> Pixels | str:
    """Pixels, or why there are none."""
    try:
        return decode(data, CROP, Preprocessing.EXACT)[0]
    except FileFault as fault:
        return fault.reason


@pytest.mark.parametrize("name", FILES)
def test_a_sound_file_stays_sound(name: str) -> None:
    assert pixels_of(name).std() > 1


def with_hole(rng: random.Random, data: bytes, start: int, end: int) -> bytes:
    length = min(4096, (end - start) // 3)
    at = rng.randrange(start, end - length)
    return data[:at] + bytes(length) + data[at + length :]


def with_empty_end(rng: random.Random, data: bytes, start: int, end: int) -> bytes:
    at = rng.randrange(start, end - (end - start) // 8)
    return data[:at] + bytes(end - at) + data[end:]


def cut(rng: random.Random, data: bytes, start: int, end: int) -> bytes:
    return data[: rng.randrange(start, end)]


def overwritten(rng: random.Random, data: bytes, start: int, end: int) -> bytes:
    at = rng.randrange(start + 100, end - 600)
    return data[:at] + rng.randbytes(500) + data[at + 500 :]


def with_bytes_missing(rng: random.Random, data: bytes, start: int, end: int) -> bytes:
    at = rng.randrange(start + 100, end - 600)
    return data[:at] + data[at + 500 : end] + bytes(500) + data[end:]


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        (name, damage)
        for name in FILES
        for damage in (with_hole, with_empty_end, cut)
        if not (name.endswith("night") and damage is with_empty_end)
    ]
    + [(name, damage) for name in CHECKED for damage in (overwritten, with_bytes_missing)],
)
def test_a_damaged_file_is_refused(name: str, damage: Callable[..., bytes]) -> None:
    """Or the pixels are the same: damage that no pixel depends on is none.

    In plain pixels, zeros that begin near the edge of a row prove nothing.
    """
    unseen = 0
    places = layout_of(picture_page(whole(name))).places
    start, end = min(places)[0], max(offset + length for offset, length in places)
    for seed in range(SEEDS):
        rng = random.Random(f"{name}/{damage.__name__}/{seed}")
        bad = damage(rng, whole(name), start, end)
        made = result(bad)
        refused = isinstance(made, str) and made.startswith("damaged")
        unseen += not (refused or np.array_equal(made, pixels_of(name)))
    assert unseen <= name.startswith("plain")


@pytest.mark.parametrize("options", [0, 1, 4, 5])
@pytest.mark.parametrize("rows", [600, 7])
def test_faxes_may_fill_their_lines_and_depend_on_the_line_above(options: int, rows: int) -> None:
    made = decode(fax("group3", rows, t292=[options]), CROP, Preprocessing.EXACT)[0]
    assert np.array_equal(made, pixels_of("fax, group 4"))


def test_a_fax_that_says_it_has_bad_lines_is_taken() -> None:
    """It came over a noisy line, and nobody has a better one."""
    noisy = fax("group3", t326=[3])
    bad = overwritten(random.Random(1), noisy, 8, len(noisy) - 400)
    assert decode(bad, CROP, Preprocessing.EXACT)[0].shape == (224, 224, 3)


# --- libtiff's errors ------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["LZW", "Zstandard", "fax, group 3", "fax, group 4"])
def test_libtiff_writes_nothing_to_stderr(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    places = layout_of(picture_page(whole(name))).places
    made = [overwritten(random.Random(n), whole(name), 8, sum(places[-1])) for n in range(20)]
    assert any(isinstance(result(data), str) for data in made)
    assert capfd.readouterr().err == ""


def test_other_users_of_pillow_see_what_libtiff_says(capfd: pytest.CaptureFixture[str]) -> None:
    """In another thread, while one of ours decodes; the handler is the whole process's."""
    bad = whole("LZW")[:3000] + bytes(range(256)) * 8 + whole("LZW")[3000 + 2048 :]
    assert "LZW data cannot be decoded" in str(result(bad))
    assert capfd.readouterr().err == ""

    def open_with_pillow() -> None:
        with pytest.raises(OSError):
            TiffImageFile(io.BytesIO(bad)).load()

    other = threading.Thread(target=open_with_pillow)
    other.start()
    other.join()
    assert capfd.readouterr().err != ""


def test_the_error_is_in_the_reason() -> None:
    made = page(photograph(), 2, compression=LZW)
    strips: Any = made[OFFSETS]
    broken = libtiff.grey([strips[0][:500] + bytes(range(256)) * 4], [50], 1440, LZW)
    with pytest.raises(FileFault, match=r"libtiff reports: \w+"):
        broken.load()
