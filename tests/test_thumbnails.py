"""Thumbnails: upright, small, in their true colours, with nothing else of the file; or refused."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageOps

from clipindex.errors import FileFault
from clipindex.pictures.thumbnails import thumbnail
from conftest import picture
from test_images import png_header
from test_raw import raw_file

ORIENTATION, DESCRIPTION, GPS = 0x0112, 0x010E, 0x8825


def encoded(image: Image.Image, kind: str = "JPEG", **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def shown(data: bytes, longest: int = 320) -> Image.Image:
    image = Image.open(io.BytesIO(thumbnail(data, longest)))
    assert image.format == "JPEG"
    image.load()
    return image


def difference(one: Image.Image, other: Image.Image) -> float:
    """The mean difference of two pictures' samples, of 255."""
    assert one.size == other.size
    pair = [np.asarray(image.convert("RGB"), np.int16) for image in (one, other)]
    return float(np.abs(pair[0] - pair[1]).mean())


@pytest.mark.parametrize(
    ("size", "small"),
    [
        ((1000, 500), (320, 160)),
        ((500, 1000), (160, 320)),
        ((321, 320), (320, 319)),
        ((200, 100), (200, 100)),
        ((3000, 1), (320, 1)),
        ((1, 1), (1, 1)),
        ((2000, 1500), (320, 240)),
        ((2001, 401), (320, 64)),
    ],
)
def test_a_thumbnail_keeps_the_aspect_and_is_never_enlarged(
    size: tuple[int, int], small: tuple[int, int]
) -> None:
    assert shown(encoded(Image.new("RGB", size))).size == small
    assert shown(encoded(Image.new("RGB", size), "PNG")).size == small


@given(st.integers(1, 700), st.integers(1, 700), st.integers(1, 400))
def test_a_thumbnail_of_any_size_lies_within_its_square(w: int, h: int, longest: int) -> None:
    width, height = shown(encoded(Image.new("RGB", (w, h))), longest).size
    assert max(width, height) == min(longest, max(w, h))
    assert abs(width / max(w, h) - w / max(w, h) * max(width, height) / max(w, h)) < 1


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_a_thumbnail_is_upright(orientation: int, kind: str) -> None:
    turned = picture(2, (450, 300))
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    upright = Image.open(io.BytesIO(encoded(turned, "PNG", exif=exif)))
    ImageOps.exif_transpose(upright, in_place=True)
    small = shown(encoded(turned, kind, exif=exif), 160)
    assert difference(small, upright.resize(small.size)) < 3


@pytest.mark.parametrize("options", [{}, {"progressive": True}], ids=["baseline", "progressive"])
@pytest.mark.parametrize("size", [(2603, 1951), (2001, 401)])
def test_a_jpeg_decoded_at_a_reduced_scale_shows_the_whole_picture(
    size: tuple[int, int], options: dict[str, object]
) -> None:
    whole = picture(3, size)
    small = shown(encoded(whole, quality=92, **options))
    assert difference(small, whole.resize(small.size, Image.Resampling.LANCZOS)) < 2


def test_transparent_parts_are_white() -> None:
    clear = Image.new("RGBA", (400, 300), (255, 0, 0, 0))
    palette = Image.new("P", (400, 300))
    for data in (encoded(clear, "PNG"), encoded(clear, "WEBP", lossless=True)):
        assert shown(data).convert("RGB").getextrema() == ((255, 255),) * 3
    assert shown(encoded(palette, "PNG", transparency=0)).getpixel((5, 5)) == (255, 255, 255)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "I;16", "CMYK"])
def test_a_picture_of_any_mode_has_a_thumbnail(mode: str) -> None:
    source = picture(4, (500, 400)).convert("L")
    if mode == "I;16":
        image = Image.fromarray(np.asarray(source, np.uint16) * 257)
    else:
        image = source.convert(mode)
    small = shown(encoded(image, "TIFF" if mode in ("CMYK", "I;16") else "PNG"))
    assert difference(small, source.resize(small.size)) < (60 if mode == "1" else 4)


@pytest.mark.parametrize("kind", ["GIF", "WEBP"])
def test_of_an_animation_the_first_frame_is_shown(kind: str) -> None:
    frames = [Image.new("RGB", (360, 240), colour) for colour in ("#c00000", "#0000c0")]
    small = shown(encoded(frames[0], kind, save_all=True, append_images=frames[1:], duration=100))
    red, _, blue = small.convert("RGB").getpixel((9, 9))  # type: ignore[misc]
    assert red > 180 > 20 > blue


def test_a_heic_has_a_thumbnail() -> None:
    pytest.importorskip("pillow_heif").register_heif_opener()
    whole = picture(5, (640, 480))
    small = shown(encoded(whole, "HEIF", quality=90))
    assert difference(small, whole.resize(small.size)) < 4


def test_of_a_camera_raw_file_the_preview_is_shown_upright() -> None:
    pytest.importorskip("rawpy")
    small = shown(raw_file(encoded(picture(6, (800, 600))), SENSOR_SIZE, orientation=6))
    assert small.size == (240, 320)


SENSOR_SIZE = (800, 600)


def test_nothing_else_of_the_file_reaches_the_thumbnail() -> None:
    exif = Image.Exif()
    exif[DESCRIPTION] = "at home"
    exif.get_ifd(GPS)[1] = "N"
    data = encoded(picture(7), exif=exif, comment=b"a comment", icc_profile=SRGB)
    image = shown(data)
    assert not image.getexif()
    assert {"comment", "exif", "icc_profile"}.isdisjoint(image.info)
    assert b"at home" in data
    assert b"at home" not in thumbnail(data, 320)


def profile(colours: str) -> bytes:
    made = ImageCms.createProfile(colours)  # type: ignore[arg-type]
    return ImageCms.ImageCmsProfile(made).tobytes()


SRGB = profile("sRGB")


def swapped_primaries() -> bytes:
    """An sRGB profile whose red and blue primaries are exchanged."""
    red, blue = SRGB.index(b"rXYZ"), SRGB.index(b"bXYZ")
    data = bytearray(SRGB)
    data[red : red + 4], data[blue : blue + 4] = b"bXYZ", b"rXYZ"
    return bytes(data)


def test_colours_are_what_the_profile_of_a_jpeg_means() -> None:
    red = Image.new("RGB", (1300, 1300), "#d02020")
    data = encoded(red, icc_profile=swapped_primaries())
    got = shown(data).convert("RGB").getpixel((9, 9))
    assert max(abs(a - b) for a, b in zip(got, (0x20, 0x20, 0xD0), strict=True)) < 25  # type: ignore[arg-type]


# Names, because a profile has the time at which it was made, and workers are to see the same tests.
@pytest.mark.parametrize(
    "broken", [b"no profile", SRGB[:200], profile("LAB")], ids=["none", "cut short", "of LAB"]
)
def test_a_profile_that_does_not_fit_costs_no_picture(broken: bytes) -> None:
    red = Image.new("RGB", (400, 300), "#d02020")
    small = shown(encoded(red, icc_profile=broken))
    assert difference(small, red.resize(small.size)) < 3


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no picture",
        encoded(picture(8))[:-400],
        encoded(picture(8), "PNG")[:-400],
        png_header(40_000, 40_000),
    ],
    ids=["empty", "text", "cut JPEG", "cut PNG", "bomb"],
)
def test_what_cannot_be_indexed_has_no_thumbnail(data: bytes) -> None:
    with pytest.raises(FileFault):
        thumbnail(data, 320)


def test_the_same_bytes_give_the_same_thumbnail() -> None:
    data = encoded(picture(9, (1400, 1000)))
    assert thumbnail(data, 320) == thumbnail(data, 320)


def test_a_thumbnail_without_pixels_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="0 pixels"):
        thumbnail(encoded(picture(9)), 0)
