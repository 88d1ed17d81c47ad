"""From a file's bytes to pixels: equal to the golden crops, and to what a person expects."""

from __future__ import annotations

import contextlib
import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps, features
from PIL.TiffImagePlugin import IFDRational

from clipindex.errors import FileFault
from clipindex.model.bundle import open_bundle
from clipindex.pictures.decode import (
    MAX_PIXELS,
    MAX_SCANS,
    Pixels,
    decode,
    decoders,
    library_versions,
)
from clipindex.pictures.exif import PictureFacts
from clipindex.pictures.preprocessing import Geometry, Preprocessing
from conftest import TINY, picture

CROP = Geometry(224, "crop")
SQUASH = Geometry(224, "squash")
EXACT, SCALED = Preprocessing.EXACT, Preprocessing.DCT_SCALED
BOTH = pytest.mark.parametrize("preprocessing", list(Preprocessing), ids=str)
BICUBIC = Image.Resampling.BICUBIC

if not features.check("avif"):  # pragma: no cover - the wheels have it
    pytest.skip("this Pillow reads no AVIF", allow_module_level=True)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    """The bytes of a picture file."""
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def pixels(
    data: bytes, preprocessing: Preprocessing = EXACT, geometry: Geometry = CROP
) -> npt.NDArray[np.int16]:
    """Pixels of a file, wide enough to subtract."""
    return decode(data, geometry, preprocessing)[0].astype(np.int16)


def facts(data: bytes) -> PictureFacts:
    return decode(data, CROP, SCALED)[1]


def difference(one: npt.NDArray[np.int16], other: npt.NDArray[np.int16]) -> int:
    """The largest difference of any sample."""
    return int(np.abs(one - other).max())


def fault(data: bytes, preprocessing: Preprocessing = EXACT) -> str:
    """Why a file cannot be decoded."""
    with pytest.raises(FileFault) as caught:
        decode(data, CROP, preprocessing)
    assert not caught.value.skipped
    assert not caught.value.transient
    return caught.value.reason


def flat(colour: object, mode: str = "RGB") -> Image.Image:
    return Image.new(mode, (300, 260), colour)  # type: ignore[arg-type]


def torchvision_crop(image: Image.Image) -> npt.NDArray[np.int16]:
    """Resize(224, bicubic) and CenterCrop(224), written down once more from torchvision."""
    width, height = image.size
    if width <= height:
        width, height = 224, int(224 * height / width)
    else:
        width, height = int(224 * width / height), 224
    left, top = round((width - 224) / 2.0), round((height - 224) / 2.0)
    resized = image.resize((width, height), BICUBIC)
    return np.asarray(resized.crop((left, top, left + 224, top + 224)).convert("RGB")).astype(
        np.int16
    )


# --- golden crops ----------------------------------------------------------------------------

GOLDEN = {
    "astronaut_square.jpg": "crop",
    "camera_grey_289x251.png": "crop",
    "chelsea_451x300.jpg": "crop",
    "china.jpg": "crop",
    "coffee_exif6.jpg": "crop_exif",
    "coffee_small_171x114.png": "crop",
    "flower_portrait_283x427.jpg": "crop",
    "chelsea_palette_267x178.png": "crop_rgbfirst",
}


@BOTH
@pytest.mark.parametrize("name", GOLDEN)
def test_pixels_equal_the_golden_crop(
    test_data: Path, name: str, preprocessing: Preprocessing
) -> None:
    """To the bit for PNG; a JPEG under another libjpeg may differ by one of 255."""
    golden = np.load(test_data / "reference" / "golden.npz")[f"{GOLDEN[name]}/{name}"]
    mine = pixels((test_data / "reference" / "photos" / name).read_bytes(), preprocessing)
    assert difference(mine, golden) <= (0 if name.endswith(".png") else 1)


@pytest.mark.parametrize("name", [n for n, kind in GOLDEN.items() if kind == "crop"])
def test_the_golden_tensor_follows_from_the_pixels(test_data: Path, name: str) -> None:
    """The manifest's mean and std make CLIP's input of them, as the graph does."""
    golden = np.load(test_data / "reference" / "golden.npz")[f"tensor/{name}"]
    spec = open_bundle(TINY).manifest.image
    mean, std = np.float32(spec.mean), np.float32(spec.std)
    mine = pixels((test_data / "reference" / "photos" / name).read_bytes())
    tensor = ((mine.astype(np.float32) / np.float32(255) - mean) / std).transpose(2, 0, 1)
    one_of_255 = 0 if name.endswith(".png") else float((1 / 255 / std).max())
    assert np.abs(tensor - golden).max() <= one_of_255 + 1e-6


@given(width=st.integers(1, 600), height=st.integers(1, 600), seed=st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_every_size_is_cropped_as_torchvision_crops_it(width: int, height: int, seed: int) -> None:
    """To the bit up to eight times as long as wide; beyond, up to single-precision boxes."""
    image = picture(seed, (width, height))
    ratio = max(width, height) / min(width, height)
    if ratio <= 40:  # torchvision's way takes gigabytes beyond
        allowed = 0 if ratio <= 8 else 2
        assert difference(pixels(encoded(image, "PNG")), torchvision_crop(image)) <= allowed


def test_squash_takes_the_whole_picture_out_of_shape() -> None:
    image = picture(3, (500, 300))
    squashed = np.asarray(image.resize((224, 224), BICUBIC)).astype(np.int16)
    assert difference(pixels(encoded(image, "PNG"), geometry=SQUASH), squashed) == 0


@BOTH
def test_the_geometry_decides_the_size(preprocessing: Preprocessing) -> None:
    data = encoded(picture(1, (900, 700)), "JPEG")
    assert decode(data, Geometry(336, "crop"), preprocessing)[0].shape == (336, 336, 3)


@pytest.mark.parametrize("size", [(500, 300), (300, 500), (257, 256), (4000, 300)])
def test_a_short_side_larger_than_the_crop_shows_the_middle_alone(size: tuple[int, int]) -> None:
    """DINOv2's way: the short side to 256, of which the middle 224 are kept; torchvision's pixels,
    within a level of 255 beyond eight times as long as wide."""
    image = picture(4, size)
    resized = [int(256 * side / min(size)) for side in size]
    left, top = (round((side - 224) / 2) for side in resized)
    expected = image.resize(resized, BICUBIC).crop((left, top, left + 224, top + 224))
    got = pixels(encoded(image, "PNG"), geometry=Geometry(224, "crop", "bicubic", 256))
    assert difference(got, np.asarray(expected).astype(np.int16)) <= (max(size) > 8 * min(size))


@pytest.mark.parametrize("size", [(2400, 1800), (1800, 2403)])
def test_a_reduced_decode_keeps_the_larger_short_side(size: tuple[int, int]) -> None:
    """A JPEG decoded at an eighth shows the same middle as the whole one."""
    geometry = Geometry(224, "crop", "bicubic", 256)
    data = encoded(picture(2, size), "JPEG")
    whole, reduced = (
        decode(data, geometry, way)[0].astype(np.int16)
        for way in (Preprocessing.EXACT, Preprocessing.DCT_SCALED)
    )
    assert whole.shape == (224, 224, 3)
    assert np.abs(whole - reduced).mean() < 1.5


MODES = {
    "1": "PNG BMP TIFF",
    "L": "PNG JPEG WEBP BMP TIFF GIF AVIF",
    "P": "PNG GIF BMP TIFF",
    "RGB": "PNG JPEG WEBP BMP TIFF GIF AVIF",
    "RGBA": "PNG WEBP TIFF AVIF",
    "LA": "PNG TIFF",
    "CMYK": "JPEG TIFF",
    "YCbCr": "JPEG TIFF",
    "LAB": "TIFF",
    "I;16": "PNG TIFF",
    "I": "TIFF",
    "F": "TIFF",
}
ENCODINGS = [(mode, kind) for mode, kinds in MODES.items() for kind in kinds.split()]


@given(
    encoding=st.sampled_from(ENCODINGS),
    size=st.tuples(st.integers(1, 600), st.integers(1, 600)),
    preprocessing=st.sampled_from(list(Preprocessing)),
    geometry=st.sampled_from([CROP, SQUASH]),
)
@settings(max_examples=60, deadline=None)
def test_pixels_are_always_a_square_of_rgb_bytes(
    encoding: tuple[str, str],
    size: tuple[int, int],
    preprocessing: Preprocessing,
    geometry: Geometry,
) -> None:
    mode, kind = encoding
    image = picture(5, size)
    if mode == "LAB":
        image = Image.frombytes("LAB", size, image.tobytes())
    elif mode == "I;16":
        image = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    else:
        image = image.convert(mode)
    made, told = decode(encoded(image, kind), geometry, preprocessing)
    assert made.shape == (224, 224, 3)
    assert made.dtype == np.uint8
    assert (told.width, told.height, told.format) == (*size, kind)


# --- the reduced decode ----------------------------------------------------------------------

LARGE = [  # photograph, size, how it is saved: 2 MP and more, short side 896 and more
    ("astronaut", (1700, 1200), {"quality": 95, "subsampling": "4:4:4"}),
    ("astronaut", (1449, 1449), {"quality": 85}),
    ("coffee", (2400, 900), {"quality": 80, "progressive": True}),
    ("coffee", (2339, 897), {"quality": 92, "subsampling": "4:2:2"}),
    ("chelsea", (1500, 2001), {"quality": 75, "subsampling": "4:2:0", "progressive": True}),
    ("chelsea", (1351, 1801), {"quality": 90}),
    ("camera", (1791, 1343), {"quality": 90}),
    ("coffee", (3600, 2702), {"quality": 85}),
    ("astronaut", (2449, 3265), {"quality": 70, "progressive": True}),
    ("chelsea", (7200, 896), {"quality": 85}),
]


def large(name: str, size: tuple[int, int]) -> Image.Image:
    """One of scikit-image's photographs, enlarged, with the grain of a sensor on it."""
    import skimage.data

    wide = Image.fromarray(getattr(skimage.data, name)()).resize(size, BICUBIC)
    values = np.asarray(wide).astype(np.int16)
    noise = np.random.default_rng(sum(size)).integers(-14, 15, values.shape, dtype=np.int16)
    return Image.fromarray(np.clip(values + noise, 0, 255).astype(np.uint8))


@pytest.mark.parametrize(("name", "size", "options"), LARGE, ids=lambda value: str(value)[:14])
def test_a_reduced_decode_differs_by_at_most_three_of_255(
    name: str, size: tuple[int, int], options: dict[str, object]
) -> None:
    data = encoded(large(name, size), "JPEG", **options)
    reduced, exact = pixels(data, SCALED), pixels(data, EXACT)
    assert np.abs(reduced - exact).mean() <= 3
    assert difference(reduced, exact) > 0  # it was reduced
    assert facts(data) == PictureFacts(*size, "JPEG")


@given(
    size=st.tuples(st.integers(896, 1500), st.integers(896, 1500)),
    orientation=st.integers(1, 8),
)
@settings(max_examples=25, deadline=None)
def test_a_reduced_picture_is_cropped_where_the_whole_one_would_be(
    size: tuple[int, int], orientation: int
) -> None:
    """Only its middle is resized: to the same samples, but for rounding (once across, once down).

    One pixel beside, they would differ by ten and more.
    """
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(picture(2, size), "JPEG", exif=exif)
    with Image.open(io.BytesIO(data)) as image:
        drafted = image.draft(None, (448, 448))
        assert drafted is not None
        whole = tuple(int(224 * side / min(size)) for side in size)
        resized = image.resize(whole, BICUBIC, box=drafted[1])
    expected = torchvision_crop(ImageOps.exif_transpose(resized))
    assert difference(pixels(data, SCALED), expected) <= 2


@pytest.mark.parametrize("orientation", [3, 6])
def test_a_reduced_decode_is_turned_as_well(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(large("coffee", (1700, 1200)), "JPEG", exif=exif)
    assert np.abs(pixels(data, SCALED) - pixels(data, EXACT)).mean() <= 3
    assert facts(data).width == (1200 if orientation == 6 else 1700)


@pytest.mark.parametrize("size", [(895, 2400), (1300, 895), (640, 480)])
def test_a_jpeg_with_a_short_side_below_896_is_decoded_whole(size: tuple[int, int]) -> None:
    data = encoded(picture(1, size), "JPEG")
    assert difference(pixels(data, SCALED), pixels(data, EXACT)) == 0


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "BMP", "GIF"])
def test_only_jpegs_are_decoded_reduced(kind: str) -> None:
    data = encoded(picture(1, (1300, 1000)), kind)
    assert difference(pixels(data, SCALED), pixels(data, EXACT)) == 0


# --- deep, transparent and unusual pictures --------------------------------------------------


def ramp(depth: int) -> npt.NDArray[np.int64]:
    """A ramp from black to white, left to right, in a square that needs no resizing."""
    return np.tile(np.arange(224) * depth // 223, (224, 1))


def eight_bit_ramp() -> npt.NDArray[np.int16]:
    return np.repeat(ramp(255)[:, :, None], 3, axis=2).astype(np.int16)


def png(width: int, height: int, depth: int, colour: int, rows: bytes, *extra: bytes) -> bytes:
    """A PNG made by hand, for what Pillow reads but does not write."""

    def chunk(name: bytes, data: bytes) -> bytes:
        check = zlib.crc32(name + data)
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", check)

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    middle = b"".join(chunk(each[:4], each[4:]) for each in extra)
    body = chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + header + middle + body


def deep_rows(values: npt.NDArray[np.int64]) -> bytes:
    """PNG rows, unfiltered, of 16-bit samples."""
    return b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_grey_is_rescaled_not_clipped(kind: str) -> None:
    data = encoded(Image.fromarray(ramp(65535).astype(np.uint16)), kind)
    assert difference(pixels(data), eight_bit_ramp()) <= 1


def test_16_bit_grey_of_the_other_byte_order_is_rescaled() -> None:
    image = Image.frombytes("I;16B", (224, 224), ramp(65535).astype(">u2").tobytes())
    assert difference(pixels(encoded(image, "TIFF")), eight_bit_ramp()) <= 1


def test_16_bit_colour_is_rescaled() -> None:
    values = np.repeat(ramp(65535), 3, axis=1)
    data = png(224, 224, 16, 2, deep_rows(values))
    assert difference(pixels(data), eight_bit_ramp()) <= 1


def test_16_bit_grey_with_alpha_lies_on_white() -> None:
    values = np.stack([ramp(65535), ramp(65535) * 0], axis=2).reshape(224, 448)
    data = png(224, 224, 16, 4, deep_rows(values))
    assert pixels(data).min() == 255


def test_32_bit_integers_in_the_range_of_16_bits_are_taken_as_such() -> None:
    data = encoded(Image.fromarray(ramp(65535).astype(np.int32)), "TIFF")
    assert difference(pixels(data), eight_bit_ramp()) <= 1


@pytest.mark.parametrize(("low", "high"), [(0, 2**31 - 1), (-40_000, 40_000), (-9, -5)])
def test_other_integers_are_spread_from_least_to_greatest(low: int, high: int) -> None:
    values = low + ramp(255) * (high - low) // 255
    data = encoded(Image.fromarray(values.astype(np.int32)), "TIFF")
    made = pixels(data)
    assert (made.min(), made.max()) == (0, 255)
    assert np.all(np.diff(made[100, :, 0]) >= 0)


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (0.0, 4.5), (-1.0, 1.0), (2000.0, 2100.0)])
def test_floats_are_rescaled(low: float, high: float) -> None:
    """0..1 is share of white; any other range is spread from its least to its greatest value."""
    values = (low + ramp(255) / 255 * (high - low)).astype(np.float32)
    assert difference(pixels(encoded(Image.fromarray(values), "TIFF")), eight_bit_ramp()) <= 1


def test_a_dark_float_picture_stays_dark() -> None:
    values = (ramp(255) / 255 * 0.5).astype(np.float32)
    assert pixels(encoded(Image.fromarray(values), "TIFF")).max() == 128


@pytest.mark.parametrize("nothing", [np.nan, np.inf, -np.inf])
def test_floats_that_are_no_numbers_are_black_and_spoil_nothing_else(nothing: float) -> None:
    """Elevation maps mark what is missing so; the heights keep their contrast."""
    values = (2000 + ramp(255) / 255 * 100).astype(np.float32)
    values[:20] = nothing
    made = pixels(encoded(Image.fromarray(values), "TIFF"))
    assert made[:18].max() == 0
    assert difference(made[30:], eight_bit_ramp()[30:]) <= 1


@pytest.mark.parametrize("value", [np.nan, 0.0, 7.0])
def test_a_float_picture_of_one_value_is_a_picture(value: float) -> None:
    data = encoded(Image.fromarray(np.full((300, 300), value, np.float32)), "TIFF")
    assert np.ptp(pixels(data)) == 0


def half_clear(mode: str) -> Image.Image:
    """Black, opaque on the left and clear on the right."""
    image = Image.new("RGBA", (448, 448), (0, 0, 0, 255))
    image.paste((0, 0, 0, 0), (224, 0, 448, 448))
    return image.convert(mode)


@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        ("RGBA", "PNG"),
        ("LA", "PNG"),
        ("RGBA", "TIFF"),
        ("LA", "TIFF"),
        ("RGBA", "WEBP"),
        ("RGBA", "AVIF"),
        ("RGBA", "GIF"),
    ],
)
def test_what_is_clear_is_white(mode: str, kind: str) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    made = pixels(encoded(half_clear(mode), kind, **options))
    assert made[:, :108].max() <= 3
    assert made[:, 116:].min() >= 252


def test_what_is_half_clear_is_mixed_with_white() -> None:
    made = pixels(encoded(flat((200, 0, 0, 128), "RGBA"), "PNG"))
    assert difference(made, np.full_like(made, 0) + np.int16([227, 127, 127])) <= 1


def test_hidden_colours_under_clear_pixels_do_not_bleed() -> None:
    """A clear red border around blue: the edge is blue on white, with no red in it."""
    image = Image.new("RGBA", (448, 448), (255, 0, 0, 0))
    image.paste((0, 0, 255, 255), (100, 100, 348, 348))
    made = pixels(encoded(image, "PNG"))
    assert (made[:, :, 0] - made[:, :, 1]).max() <= 1


@pytest.mark.parametrize("clear", [3, bytes([255, 255, 128, 0])])
def test_a_clear_colour_of_a_palette_is_white(clear: int | bytes) -> None:
    image = Image.new("P", (300, 260), 3)
    image.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255])
    assert pixels(encoded(image, "PNG", transparency=clear)).min() == 255
    assert pixels(encoded(image, "PNG"))[0, 0].tolist() == [0, 0, 255]


def test_a_clear_colour_of_an_rgb_png_is_white() -> None:
    assert pixels(encoded(flat((9, 8, 7)), "PNG", transparency=(9, 8, 7))).min() == 255
    assert pixels(encoded(flat((9, 8, 7)), "PNG", transparency=(7, 8, 9))).max() == 9


def test_a_clear_grey_of_a_grey_png_is_white() -> None:
    assert pixels(encoded(flat(5, "L"), "PNG", transparency=5)).min() == 255
    assert pixels(encoded(flat(5, "L"), "PNG", transparency=6)).max() == 5


def test_a_palette_is_resolved_before_the_resize() -> None:
    image = picture(2, (500, 400)).quantize(64)
    assert difference(pixels(encoded(image, "PNG")), torchvision_crop(image.convert("RGB"))) == 0


def test_black_and_white_becomes_grey_when_it_is_made_smaller() -> None:
    board = np.indices((448, 448)).sum(axis=0) % 2 == 0
    made = pixels(encoded(Image.fromarray(board), "PNG"))[10:-10, 10:-10]
    assert 120 <= made.min() <= made.max() <= 135


def test_grey_becomes_three_equal_channels() -> None:
    made = pixels(encoded(picture(4).convert("L"), "JPEG"))
    assert np.ptp(made, axis=2).max() == 0


@pytest.mark.parametrize(
    ("colour", "rgb"), [((0, 255, 255, 0), (255, 0, 0)), ((0, 0, 0, 255), (0, 0, 0))]
)
def test_a_cmyk_jpeg_has_its_colours(
    colour: tuple[int, int, int, int], rgb: tuple[int, int, int]
) -> None:
    made = pixels(encoded(flat(colour, "CMYK"), "JPEG", quality=95))
    assert difference(made, np.full_like(made, 0) + np.int16(rgb)) <= 4


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF", "AVIF"])
def test_of_an_animation_the_first_frame_is_taken(kind: str) -> None:
    frames = [flat((200, 0, 0)), flat((0, 0, 200)), flat((0, 200, 0))]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    assert pixels(data)[100, 100, 0] > 180
    assert pixels(data)[100, 100, 2] < 20


@BOTH
def test_of_a_camera_s_double_picture_the_first_is_taken(preprocessing: Preprocessing) -> None:
    """An MPO is a JPEG with another behind it; damage in the second does not matter."""
    first, second = picture(1, (1400, 1000)), picture(2, (1400, 1000))
    data = encoded(first, "MPO", save_all=True, append_images=[second])
    alone = pixels(encoded(first, "JPEG"), preprocessing)
    assert np.abs(pixels(data, preprocessing) - alone).mean() < 1
    assert np.abs(pixels(data[:-100], preprocessing) - alone).mean() < 1
    assert facts(data).format == "JPEG"


# --- which way is up -------------------------------------------------------------------------

STORED = {  # how an upright picture is stored so that this EXIF orientation turns it back
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def turned(upright: Image.Image, orientation: int, kind: str, **options: object) -> bytes:
    """The file of a camera held another way."""
    way = STORED[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = upright if way is None else upright.transpose(way)
    return encoded(stored, kind, exif=exif, **options)


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_a_turned_picture_equals_the_upright_one(kind: str, orientation: int) -> None:
    upright = picture(6, (330, 250))
    options = {"lossless": True} if kind == "WEBP" else {}
    data = turned(upright, orientation, kind, **options)
    assert difference(pixels(data), pixels(encoded(upright, "PNG"))) == 0
    assert (facts(data).width, facts(data).height) == (330, 250)


@BOTH
@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("size", [(330, 250), (1300, 1000)])
def test_a_turned_jpeg_equals_the_upright_one(
    size: tuple[int, int], orientation: int, preprocessing: Preprocessing
) -> None:
    upright = picture(6, size)
    data = turned(upright, orientation, "JPEG", quality=100, subsampling="4:4:4")
    whole = pixels(encoded(upright, "JPEG", quality=100, subsampling="4:4:4"), preprocessing)
    apart = np.abs(pixels(data, preprocessing) - whole)
    assert apart.mean() < 1  # JPEG rounds a turned block otherwise
    assert apart.max() <= 10
    assert (facts(data).width, facts(data).height) == size


def test_a_turned_avif_equals_the_upright_one() -> None:
    upright = picture(6, (330, 250))
    data = turned(upright, 6, "AVIF", quality=100)
    assert np.abs(pixels(data) - pixels(encoded(upright, "PNG"))).mean() < 2
    assert (facts(data).width, facts(data).height) == (330, 250)


def test_an_orientation_that_does_not_exist_turns_nothing() -> None:
    for orientation in (0, 9, 65535):
        exif = Image.Exif()
        exif[0x0112] = orientation
        data = encoded(picture(6, (330, 250)), "PNG", exif=exif)
        assert difference(pixels(data), pixels(encoded(picture(6, (330, 250)), "PNG"))) == 0
        assert facts(data).width == 330


# --- damaged files ---------------------------------------------------------------------------

PHOTO, BIG = picture(7, (301, 207)), picture(8, (1400, 1000))
WHOLE = {
    "jpeg": lambda: encoded(PHOTO, "JPEG"),
    "progressive jpeg": lambda: encoded(PHOTO, "JPEG", progressive=True),
    "large jpeg": lambda: encoded(BIG, "JPEG"),
    "large progressive jpeg": lambda: encoded(BIG, "JPEG", progressive=True),
    "grey jpeg": lambda: encoded(PHOTO.convert("L"), "JPEG"),
    "png": lambda: encoded(PHOTO, "PNG"),
    "16-bit png": lambda: encoded(
        Image.fromarray(np.asarray(PHOTO.convert("L")).astype(np.uint16) * 257), "PNG"
    ),
    "webp": lambda: encoded(PHOTO, "WEBP"),
    "lossless webp": lambda: encoded(PHOTO, "WEBP", lossless=True),
    "gif": lambda: encoded(PHOTO, "GIF"),
    "bmp": lambda: encoded(PHOTO, "BMP"),
    "tiff": lambda: encoded(PHOTO, "TIFF"),
    "deflated tiff": lambda: encoded(PHOTO, "TIFF", compression="tiff_adobe_deflate"),
    "lzw tiff": lambda: encoded(PHOTO, "TIFF", compression="tiff_lzw"),
    "jpeg in tiff": lambda: encoded(PHOTO, "TIFF", compression="jpeg"),
    "avif": lambda: encoded(PHOTO, "AVIF"),
}


@BOTH
@pytest.mark.parametrize("name", WHOLE)
def test_a_truncated_file_is_an_error_not_grey(
    name: str, preprocessing: Preprocessing, capfd: pytest.CaptureFixture[str]
) -> None:
    whole = WHOLE[name]()
    pixels(whole, preprocessing)
    for share in (0.02, 0.2, 0.5, 0.8, 0.97):
        assert fault(whole[: int(len(whole) * share)], preprocessing)
    capfd.readouterr()  # libtiff has its say on standard error


@BOTH
@pytest.mark.parametrize("name", ["jpeg", "progressive jpeg", "large jpeg"])
def test_a_jpeg_without_its_end_is_an_error(name: str, preprocessing: Preprocessing) -> None:
    assert "truncated" in fault(WHOLE[name]()[:-2], preprocessing).lower()


@pytest.mark.parametrize("data", [b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"not a picture"])
def test_what_is_no_picture_is_a_fault_in_one_line(data: bytes) -> None:
    reason = fault(data)
    assert "\n" not in reason
    assert "0x" not in reason


@given(st.data())
@settings(max_examples=80, deadline=None)
def test_whatever_the_damage_it_is_pixels_or_a_fault(data: st.DataObject) -> None:
    """No flipped byte, wherever it is, gets out as any other error."""
    whole = bytearray(data.draw(st.sampled_from(_SMALL)))
    for _ in range(data.draw(st.integers(1, 8))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    made: Pixels | None = None
    with contextlib.suppress(FileFault):
        made, _ = decode(bytes(whole), CROP, SCALED)
    assert made is None or made.shape == (224, 224, 3)


_TINY_PICTURE = picture(9, (24, 16))
_SMALL = [
    encoded(_TINY_PICTURE, kind) for kind in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
]


# --- bombs -----------------------------------------------------------------------------------


def png_header(width: int, height: int) -> bytes:
    return png(width, height, 8, 2, b"\0" * 1000)


def gif_header(width: int, height: int) -> bytes:
    # Pillow makes room at once for what is left when such a picture is cleared away.
    whole = encoded(Image.new("P", (8, 8)), "GIF", disposal=2)
    size = struct.pack("<HH", width, height)
    frame = whole.index(b"\x2c" + bytes(4) + struct.pack("<HH", 8, 8))
    return whole[:6] + size + whole[10 : frame + 5] + size + whole[frame + 9 :]


def jpeg_header(width: int, height: int, **options: object) -> bytes:
    whole = encoded(Image.new("RGB", (8, 8)), "JPEG", **options)
    mark = b"\xff\xc2" if options.get("progressive") else b"\xff\xc0"
    at = whole.index(mark) + 5
    return whole[:at] + struct.pack(">HH", height, width) + whole[at + 4 :]


def bmp_header(width: int, height: int) -> bytes:
    whole = encoded(Image.new("RGB", (8, 8)), "BMP")
    return whole[:18] + struct.pack("<ii", width, height) + whole[26:]


BOMBS = {
    "png": png_header(40_000, 40_000),
    "gif": gif_header(65_535, 65_535),
    "bmp": bmp_header(40_000, 40_000),
    "jpeg": jpeg_header(65_500, 65_500),
    "progressive jpeg": jpeg_header(65_500, 65_500, progressive=True),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_picture_over_the_pixel_budget_is_refused_before_decoding(name: str) -> None:
    assert "over the budget of 178 megapixels" in fault(BOMBS[name])


def test_a_reduced_decode_does_not_help_a_progressive_bomb() -> None:
    """Its coefficients are held whole, whatever the scale."""
    assert "over the budget" in fault(BOMBS["progressive jpeg"], SCALED)


def test_the_budget_is_held_against_what_is_decoded() -> None:
    """A baseline JPEG of 200 megapixels is read at an eighth: it fails for its missing data."""
    assert MAX_PIXELS < 20_000 * 10_000
    data = jpeg_header(20_000, 10_000)[:-2]
    assert "over the budget" in fault(data, EXACT)
    assert "over the budget" not in fault(data, SCALED)


def test_a_picture_just_within_the_budget_is_not_refused() -> None:
    side = int(MAX_PIXELS**0.5)
    assert "over the budget" not in fault(bmp_header(side, side)[:100])


IN_LITTLE_MEMORY = """
import resource, sys
from pathlib import Path
from clipindex.errors import FileFault
from clipindex.pictures.decode import decode
from clipindex.pictures.preprocessing import Geometry, Preprocessing

for data in (Path(sys.argv[1]).read_bytes(), b"no picture: every decoder is loaded to find out"):
    try:
        decode(data, Geometry(224, "crop"), Preprocessing.EXACT)
    except FileFault:
        pass
held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (held + (64 << 20), held + (64 << 20)))
for name in sys.argv[2:]:
    for preprocessing in Preprocessing:
        for fit in ("crop", "squash"):
            try:
                pixels, _ = decode(Path(name).read_bytes(), Geometry(224, fit), preprocessing)
                said = "centre" if (pixels == [255, 0, 0]).all() else "other"
            except FileFault as fault:
                said = "budget" if "budget" in fault.reason else fault.reason
            print(fit, said)
"""


def decoded_in_64_mib(folder: Path, files: dict[str, bytes]) -> list[tuple[str, str]]:
    """Each file both ways, in a process that may take 64 MiB more: (fit, what became of it)."""
    if not Path("/proc/self/statm").exists():  # pragma: no cover
        pytest.skip("what a process holds is read from Linux's /proc")
    (folder / "warm.jpg").write_bytes(encoded(PHOTO, "JPEG"))
    for name, data in files.items():
        (folder / name).write_bytes(data)
    paths = [folder / name for name in ("warm.jpg", *files)]
    done = subprocess.run(
        [sys.executable, "-c", IN_LITTLE_MEMORY, *paths],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return [(line.split()[0], line.partition(" ")[2]) for line in done.stdout.splitlines()]


def test_the_little_memory_of_these_tests_is_enforced(tmp_path: Path) -> None:
    whole = encoded(Image.new("RGB", (8000, 8000)), "PNG")
    assert decoded_in_64_mib(tmp_path, {"large.png": whole})[0] == (
        "crop",
        "it needs more memory than there is",
    )


HELD_AT_MOST = """
import sys
from pathlib import Path
from clipindex.pictures.decode import decode
from clipindex.pictures.preprocessing import Geometry, Preprocessing

def held():
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) << 10

for name in sys.argv[1:]:
    data, before = Path(name).read_bytes(), held()
    decode(data, Geometry(224, "crop"), Preprocessing.EXACT)
print(held() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's /proc")
@pytest.mark.parametrize(("mode", "allowed"), [("RGB", 5), ("RGBA", 10)])
def test_a_large_picture_is_not_copied_needlessly(mode: str, allowed: int, tmp_path: Path) -> None:
    """Bytes a pixel: Pillow holds four; on white, as many again and a byte of alpha."""
    side = 5000
    for name, size in (("small.png", 300), ("large.png", side)):
        (tmp_path / name).write_bytes(encoded(Image.new(mode, (size, size), "red"), "PNG"))
    paths = [tmp_path / "small.png", tmp_path / "large.png"]
    done = subprocess.run(
        [sys.executable, "-c", HELD_AT_MOST, *paths], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) <= allowed * side**2


def test_a_bomb_takes_no_memory(tmp_path: Path) -> None:
    files = {
        "bomb.png": BOMBS["png"],
        "bomb.gif": BOMBS["gif"],
        "bomb.bmp": BOMBS["bmp"],
        "bomb.jpg": BOMBS["progressive jpeg"],
    }
    assert {said for _, said in decoded_in_64_mib(tmp_path, files)} == {"budget"}


def long_picture(width: int, height: int) -> Image.Image:
    """Green, with a little red around the centre."""
    image = Image.new("RGB", (width, height), (0, 255, 0))
    x, y = (max(0, side // 2 - 20) for side in (width, height))
    image.paste((255, 0, 0), (x, y, min(width, x + 40), min(height, y + 40)))
    return image


def test_a_picture_of_65000_by_1_costs_no_memory_and_gives_its_centre(tmp_path: Path) -> None:
    """Resized whole, as torchvision would, it would take 9.8 GB."""
    files = {
        "wide.png": encoded(long_picture(65_000, 1), "PNG"),
        "tall.png": encoded(long_picture(1, 65_000), "PNG"),
        "wide.tif": encoded(long_picture(65_000, 1), "TIFF"),
        "tall.bmp": encoded(long_picture(1, 65_000), "BMP"),
        "tall3.png": encoded(long_picture(3, 65_000), "PNG"),
    }
    assert set(decoded_in_64_mib(tmp_path, files)) == {("crop", "centre"), ("squash", "other")}


@pytest.mark.parametrize("size", [(65_000, 1), (1, 65_000), (60_000, 7)])
def test_a_long_jpeg_gives_its_centre(size: tuple[int, int]) -> None:
    for preprocessing in Preprocessing:
        made = pixels(encoded(long_picture(*size), "JPEG", quality=95), preprocessing)
        assert made[112, 112, 0] > 200
        assert made[112, 112, 1] < 60


def scans(data: bytes) -> list[bytes]:
    """A progressive JPEG taken apart: what precedes its first scan, and each scan."""
    starts = [at for at in range(len(data) - 1) if data[at : at + 2] == b"\xff\xda"]
    ends = [*starts[1:], len(data) - 2]
    return [data[: starts[0]], *[data[a:b] for a, b in zip(starts, ends, strict=True)]]


@BOTH
def test_a_jpeg_with_thousands_of_scans_is_refused(preprocessing: Preprocessing) -> None:
    """Each scan is another pass over all coefficients: 0.9 MB decoded for minutes."""
    head, *each = scans(encoded(picture(1), "JPEG", progressive=True))
    assert 5 < len(each) <= 20
    data = head + b"".join(each) + each[-1] * 3000 + b"\xff\xd9"
    assert f"more than {MAX_SCANS} scans" in fault(data, preprocessing)
    pixels(head + b"".join(each) + b"\xff\xd9", preprocessing)


# --- facts -----------------------------------------------------------------------------------


def with_exif(**entries: object) -> bytes:
    """A JPEG with EXIF: `taken`, `make`, `model`, `gps`."""
    exif = Image.Exif()
    if "make" in entries:
        exif[0x010F] = entries["make"]
    if "model" in entries:
        exif[0x0110] = entries["model"]
    if "taken" in entries:
        exif.get_ifd(0x8769)[0x9003] = entries["taken"]
    if "gps" in entries:
        exif.get_ifd(0x8825).update(entries["gps"])  # type: ignore[arg-type]
    return encoded(PHOTO, "JPEG", exif=exif)


def gps(north: str, latitude: list[float], east: str, longitude: list[float]) -> dict[int, object]:
    def rationals(values: list[float]) -> tuple[IFDRational, ...]:
        return tuple(IFDRational(int(value * 10_000), 10_000) for value in values)

    return {1: north, 2: rationals(latitude), 3: east, 4: rationals(longitude)}


def test_a_picture_without_exif_has_size_and_format_alone() -> None:
    for kind in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"):
        assert facts(encoded(PHOTO, kind)) == PictureFacts(301, 207, kind)


def test_the_time_it_was_taken_is_the_camera_s_local_time() -> None:
    assert facts(with_exif(taken="2019:07:04 23:59:58")).taken == "2019-07-04T23:59:58"
    assert facts(with_exif(taken="2019:07:04 23:59:58\0")).taken == "2019-07-04T23:59:58"


@pytest.mark.parametrize(
    "taken", ["0000:00:00 00:00:00", "    :  :     :  :  ", "2019:13:45 00:00:00", "yesterday", ""]
)
def test_a_time_that_is_none_is_left_out(taken: str) -> None:
    assert facts(with_exif(taken=taken)).taken is None


@pytest.mark.parametrize(
    ("make", "model", "camera"),
    [
        ("Canon", "Canon EOS 5D", "Canon EOS 5D"),
        ("NIKON CORPORATION", "NIKON D90", "NIKON CORPORATION NIKON D90"),
        ("Apple", "iPhone 12", "Apple iPhone 12"),
        ("  SONY\0", "DSC-RX100  \0\0", "SONY DSC-RX100"),
        ("Leica", "", "Leica"),
        ("", "X100", "X100"),
        ("", "", None),
    ],
)
def test_the_camera_names_its_maker_once(make: str, model: str, camera: str | None) -> None:
    assert facts(with_exif(make=make, model=model)).camera == camera


@pytest.mark.parametrize(
    ("north", "east", "location"),
    [
        ("N", "E", (48.8582222, 2.2945)),
        ("S", "E", (-48.8582222, 2.2945)),
        ("N", "W", (48.8582222, -2.2945)),
        ("S", "W", (-48.8582222, -2.2945)),
    ],
)
def test_north_and_east_are_positive_south_and_west_negative(
    north: str, east: str, location: tuple[float, float]
) -> None:
    where = gps(north, [48, 51, 29.6], east, [2, 17, 40.2])
    assert facts(with_exif(gps=where)).location == pytest.approx(location, abs=1e-6)


@pytest.mark.parametrize(
    "where",
    [
        {1: "N", 2: (IFDRational(1, 1),)},
        gps("N", [91, 0, 0], "E", [2, 0, 0]),
        gps("N", [1, 0, 0], "E", [181, 0, 0]),
        {**gps("N", [1, 0, 0], "E", [2, 0, 0]), 2: (IFDRational(0, 0),) * 3},
    ],
    ids=["half", "beyond the pole", "beyond the world", "0/0"],
)
def test_a_place_that_is_none_is_left_out(where: dict[int, object]) -> None:
    found = facts(with_exif(gps=where, make="Canon"))
    assert found.location is None
    assert found.camera == "Canon"


@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0",
        b"Exif\0\0garbage that is no TIFF",
        b"Exif\0\0II*\0\xff\xff\xff\x7f",
        b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\x12\x01\x02\0\xff\xff\xff\xff" * 4,
        b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x87\x69\0\x04\0\0\0\x01\0\0\0\x08",
    ],
    ids=["empty", "garbage", "far", "endless", "loop"],
)
def test_damaged_exif_tells_nothing_but_keeps_the_picture(exif: bytes) -> None:
    data = encoded(PHOTO, "JPEG", exif=exif)
    assert facts(data) == PictureFacts(301, 207, "JPEG")
    assert difference(pixels(data), pixels(encoded(PHOTO, "JPEG"))) == 0


def test_metadata_changes_no_pixel() -> None:
    profile = ImageOps.exif_transpose(PHOTO).tobytes()[:3000]
    plain = pixels(encoded(PHOTO, "JPEG"))
    assert difference(pixels(encoded(PHOTO, "JPEG", icc_profile=profile)), plain) == 0
    assert difference(pixels(with_exif(make="Canon")), plain) == 0


def test_the_versions_that_decide_are_named() -> None:
    assert Image.__version__ in decoders()
    assert set(library_versions()) == {"pillow", "libjpeg"}
