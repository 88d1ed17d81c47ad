"""A picture that is cut short or has a hole is refused, or gives the pixels of the whole one."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from clipindex.errors import FileFault
from clipindex.pictures import hevc_av1, isobmff, jpeg, jpeg_holes, webp
from clipindex.pictures.decode import Pixels, decode
from clipindex.pictures.preprocessing import Geometry, Preprocessing
from conftest import picture

pillow_heif = pytest.importorskip("pillow_heif")  # the encoder; clipindex only decodes
CROP = Geometry(224, "crop")


def photograph(size: tuple[int, int] = (480, 360)) -> Image.Image:
    """A picture with the grain of a sensor: no part of its data is flat."""
    values = np.asarray(picture(3, size)).astype(np.int16)
    noise = np.random.default_rng(5).integers(-14, 15, values.shape, dtype=np.int16)
    return Image.fromarray(np.clip(values + noise, 1, 255).astype(np.uint8))


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    if kind == "HEIC":
        pillow_heif.encode(image.mode, image.size, image.tobytes(), out, **options)
    else:
        image.save(out, kind, **options)
    return out.getvalue()


def result(data: bytes) -> Pixels | str:
    """Pixels, or why there are none."""
    try:
        return decode(data, CROP, Preprocessing.EXACT)[0]
    except FileFault as fault:
        return "skipped" if fault.skipped else fault.reason


KINDS: dict[str, tuple[str, dict[str, object]]] = {
    "jpeg": ("JPEG", {}),
    "optimised jpeg": ("JPEG", {"optimize": True, "quality": 92}),
    "progressive jpeg": ("JPEG", {"progressive": True}),
    "jpeg with restarts": ("JPEG", {"restart_marker_rows": 1}),
    "png": ("PNG", {}),
    "gif": ("GIF", {}),
    "webp": ("WEBP", {"quality": 90}),
    "lossless webp": ("WEBP", {"lossless": True}),
    "avif": ("AVIF", {"quality": 85, "speed": 9}),
    "heic": ("HEIC", {"quality": 85}),
    "heic of tiles": ("HEIC", {"quality": 85, "tile_size": 128}),
}


@cache
def whole(name: str) -> bytes:
    kind, options = KINDS[name]
    return encoded(photograph(), kind, **options)


@cache
def pixels_of(name: str) -> Pixels:
    made = result(whole(name))
    assert not isinstance(made, str), made
    return made


def refused_or_the_same(name: str, damaged: bytes) -> None:
    made = result(damaged)
    assert isinstance(made, str) or np.array_equal(made, pixels_of(name))


@pytest.mark.parametrize("name", KINDS)
@given(share=st.floats(0.05, 0.99))
@settings(max_examples=12, deadline=None)
def test_a_cut_is_refused_or_changes_nothing(name: str, share: float) -> None:
    data = whole(name)
    refused_or_the_same(name, data[: int(len(data) * share)])


@pytest.mark.parametrize("name", KINDS)
@given(place=st.floats(0, 1), length=st.integers(2048, 8192))
@settings(max_examples=12, deadline=None, derandomize=True)
def test_a_hole_is_refused_or_changes_nothing(name: str, place: float, length: int) -> None:
    data = whole(name)
    first = data.index(b"mdat") + 4 if KINDS[name][0] in ("HEIC", "AVIF") else 700
    start = first + int((len(data) - first - length - 2) * place)
    refused_or_the_same(name, data[:start] + bytes(length) + data[start + length :])


@pytest.mark.parametrize("name", [name for name in KINDS if KINDS[name][0] in ("HEIC", "AVIF")])
@pytest.mark.parametrize("share", [0.4, 0.6, 0.8])
def test_a_lost_sector_of_512_bytes_is_refused(name: str, share: float) -> None:
    data = whole(name)
    start = int(len(data) * share)
    assert isinstance(result(data[:start] + bytes(512) + data[start + 512 :]), str)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("share", [0.3, 0.5, 0.9])
def test_a_file_of_which_the_rest_is_zeros_is_refused(name: str, share: float) -> None:
    data = whole(name)
    kept = int(len(data) * share)
    assert isinstance(result(data[:kept] + bytes(len(data) - kept)), str)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
def test_a_bitmap_of_which_the_rest_is_zeros_is_refused(share: float) -> None:
    data = encoded(photograph((641, 363)), "BMP")
    kept = int(len(data) * share) | 1
    assert "zeros" in str(result(data[:kept] + bytes(len(data) - kept)))
    hole = data[:kept] + bytes(6000) + data[kept + 6000 :]
    assert "zeros" in str(result(hole))


# --- sound pictures --------------------------------------------------------------------------


def page() -> Image.Image:
    """White paper with a line of text at its end."""
    image = Image.new("RGB", (1200, 900), "white")
    ImageDraw.Draw(image).text((1100, 880), "page 1", fill="black")
    return image


def half_flat() -> Image.Image:
    values = np.full((900, 1200, 3), 200, np.uint8)
    values[450:] = np.random.default_rng(1).integers(0, 255, (450, 1200, 3))
    return Image.fromarray(values)


FLAT = {
    "white": Image.new("RGB", (1200, 900), "white"),
    "black": Image.new("RGB", (1200, 900)),
    "grey": Image.new("RGB", (1200, 900), (128, 128, 128)),
    "page": page(),
    "half flat": half_flat(),
    "half flat, upside down": half_flat().rotate(180),
}
SOUND: list[tuple[str, dict[str, object]]] = [
    ("JPEG", {}),
    ("JPEG", {"optimize": True, "quality": 30}),
    ("JPEG", {"progressive": True, "quality": 30}),
    ("JPEG", {"optimize": True, "restart_marker_rows": 1}),
    ("PNG", {}),
    ("BMP", {}),
    ("GIF", {}),
    ("WEBP", {"method": 0, "quality": 90}),
    ("WEBP", {"method": 0, "quality": 0, "lossless": True}),
    ("AVIF", {"speed": 10}),
    ("HEIC", {"quality": 30}),
]


@pytest.mark.parametrize(("kind", "options"), SOUND, ids=str)
@pytest.mark.parametrize("name", FLAT)
def test_a_flat_picture_has_zeros_in_its_data_and_is_whole(
    name: str, kind: str, options: dict[str, object]
) -> None:
    made = result(encoded(FLAT[name], kind, **options))
    assert not isinstance(made, str), made


def test_some_of_those_have_thousands_of_zeros_in_a_row() -> None:
    """Else the tests above would show nothing."""
    assert bytes(2_000) in encoded(FLAT["white"], "JPEG", progressive=True, quality=30)
    lossy = [encoded(image, "WEBP", method=0, quality=90) for image in FLAT.values()]
    assert any(bytes(2_000) in data for data in lossy)


def test_alpha_that_is_clear_from_end_to_end_is_no_hole() -> None:
    image = photograph().convert("RGBA")
    image.putalpha(0)
    for kind, options in (("WEBP", {}), ("AVIF", {}), ("HEIC", {}), ("PNG", {})):
        made = result(encoded(image, kind, **options))
        assert not isinstance(made, str), made
        assert made.min() == 255


@pytest.mark.parametrize("name", [name for name in KINDS if name != "gif"])
@pytest.mark.parametrize("tail", [bytes(5000), b"\0\0\0\x18ftypmp42" + bytes(range(256)) * 40])
def test_what_follows_a_picture_changes_nothing(name: str, tail: bytes) -> None:
    made = result(whole(name) + tail)
    assert np.array_equal(made, pixels_of(name))


# --- the container of HEIC and AVIF ----------------------------------------------------------


def box(kind: bytes, *content: bytes) -> bytes:
    inner = b"".join(content)
    return struct.pack(">I", len(inner) + 8) + kind + inner


def moved(data: bytes, by: int) -> bytes:
    """The file with every offset of its items larger by `by` (as pillow_heif writes them)."""
    at = data.index(b"iloc") + 4
    assert data[at] == 0 or data[at] == 1
    out = bytearray(data)
    for place in _offsets(data, at):
        (value,) = struct.unpack_from(">I", data, place)
        struct.pack_into(">I", out, place, value + by)
    return bytes(out)


def _offsets(data: bytes, at: int) -> Iterator[int]:
    version, sizes = data[at], data[at + 4]
    assert sizes == 0x44
    base = data[at + 5] >> 4
    (count,) = struct.unpack_from(">H", data, at + 6)
    at += 8
    for _ in range(count):
        in_idat = version and data[at + 3] & 15
        at += 2 + (2 if version else 0) + 2
        is_in_base = base > 0 and any(data[at : at + base])  # so libheif writes it since 1.21
        if is_in_base and not in_idat:
            yield at
        at += base
        (parts,) = struct.unpack_from(">H", data, at)
        at += 2
        for _ in range(parts):
            if not in_idat and not is_in_base:
                yield at
            at += 8


def in_a_64_bit_box(data: bytes) -> bytes:
    at = data.rindex(b"mdat") - 4
    size = struct.unpack_from(">I", data, at)[0]
    return data[:at] + struct.pack(">I4sQ", 1, b"mdat", size + 8) + data[at + 8 :]


def to_the_end(data: bytes) -> bytes:
    at = data.rindex(b"mdat") - 4
    return data[:at] + bytes(4) + data[at + 4 :]


@pytest.mark.parametrize("name", ["heic", "heic of tiles"])
def test_large_boxes_and_boxes_to_the_end_are_understood(name: str) -> None:
    made = result(moved(in_a_64_bit_box(whole(name)), 8))
    assert np.array_equal(made, pixels_of(name))
    assert np.array_equal(result(to_the_end(whole(name))), pixels_of(name))
    assert "cut short" in str(result(moved(in_a_64_bit_box(whole(name)), 8)[:-200]))


@pytest.mark.parametrize("missing", [1, 5, 11])
def test_every_tile_must_be_there(missing: int) -> None:
    """A decoder leaves the others black, and says nothing."""
    data = whole("heic of tiles")
    offsets = _offsets(data, data.index(b"iloc") + 4)
    start = sorted(struct.unpack_from(">I", data, at)[0] for at in offsets)[missing]
    assert "the coded data" in str(result(data[:start] + bytes(64) + data[start + 64 :]))


@given(st.binary(max_size=300))
def test_any_bytes_are_judged_or_left_to_the_decoder(noise: bytes) -> None:
    head = box(b"ftyp", b"heic", bytes(4))
    for data in (head + noise, head + box(b"meta", bytes(4), noise)):
        try:
            isobmff.check(data)
        except ValueError:
            continue


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_any_damage_to_the_directory_is_judged_or_left_to_the_decoder(data: st.DataObject) -> None:
    bad = bytearray(whole("heic of tiles")[:1500])
    for _ in range(data.draw(st.integers(1, 4))):
        bad[data.draw(st.integers(0, len(bad) - 1))] = data.draw(st.integers(0, 255))
    try:
        isobmff.check(bytes(bad))
    except ValueError:
        return


def test_a_grid_that_is_made_of_itself_is_refused() -> None:
    """Nested for ever, or 65,536 times the same tile: refused by the directory."""
    entry = box(b"infe", b"\2\0\0\0", struct.pack(">HH4s", 1, 0, b"grid"))
    meta = box(
        b"meta",
        bytes(4),
        box(b"pitm", bytes(4), b"\0\1"),
        box(b"iinf", bytes(4), b"\0\1", entry),
        box(b"iref", bytes(4), box(b"dimg", struct.pack(">HHHH", 1, 2, 1, 1))),
    )
    with pytest.raises(ValueError, match="too many parts"):
        isobmff.check(box(b"ftyp", b"heic", bytes(4)) + meta)


def test_units_of_hevc_fill_their_item() -> None:
    unit = struct.pack(">IB", 40, 1 << 1) + bytes(range(1, 40))
    hevc_av1.check_hevc(unit * 2, 0, len(unit) * 2, 4)
    for bad in (unit[:-1], unit + bytes(4), bytes(50), b""):
        with pytest.raises(ValueError):
            hevc_av1.check_hevc(bad, 0, len(bad), 4)


# --- parts -----------------------------------------------------------------------------------


def test_a_webp_is_reduced_to_its_first_picture() -> None:
    frames = [picture(seed) for seed in range(3)]
    data = encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    still = webp.still(data)
    assert len(still.data) < len(data)
    assert (still.width, still.height) == frames[0].size
    assert np.array_equal(result(still.data), result(encoded(frames[0], "PNG")))


def test_a_jpeg_without_zeros_gives_no_doubt() -> None:
    for name in ("jpeg", "progressive jpeg", "optimised jpeg", "jpeg with restarts"):
        assert jpeg_holes.doubts(jpeg.parse(whole(name))) == ()


def test_zeros_that_pad_a_scan_are_no_hole() -> None:
    """Some encoders fill a scan up before the end marker."""
    data = whole("jpeg")
    padded = data[:-2] + bytes(4096) + data[-2:]
    assert np.array_equal(result(padded), pixels_of("jpeg"))
