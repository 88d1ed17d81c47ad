"""Damaged or huge metadata never costs a picture: the pixels are those of the picture alone."""

from __future__ import annotations

import io
import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from clipindex.errors import FileFault
from clipindex.pictures.decode import decode
from clipindex.pictures.exif import PictureFacts
from clipindex.pictures.preprocessing import Geometry, Preprocessing
from conftest import picture
from test_holes import encoded

PHOTO = picture(7, (301, 207))


def read(data: bytes) -> tuple[bytes, PictureFacts]:
    pixels, facts = decode(data, Geometry(224, "crop"), Preprocessing.EXACT)
    return pixels.tobytes(), facts


def chunk(kind: bytes, data: bytes, checksum: int | None = None) -> bytes:
    """A chunk of a PNG."""
    own = zlib.crc32(kind + data) if checksum is None else checksum
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", own)


LONG_TEXT = os.urandom(700_000).hex().encode()
ANCILLARY = {
    "large zTXt": chunk(b"zTXt", b"workflow\0\0" + zlib.compress(LONG_TEXT)),
    "large iTXt": chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(LONG_TEXT)),
    "large iCCP": chunk(b"iCCP", b"scanner\0\0" + zlib.compress(os.urandom(1_400_000))),
    "iCCP that is none": chunk(b"iCCP", b"x\0\0garbage"),
    "tEXt with a wrong checksum": chunk(b"tEXt", b"Comment\0hello", 1),
    "pHYs with a wrong checksum": chunk(b"pHYs", struct.pack(">IIB", 2835, 2835, 1), 1),
    "pHYs cut short": chunk(b"pHYs", b"\0\0"),
    "gAMA cut short": chunk(b"gAMA", b""),
    "cHRM cut short": chunk(b"cHRM", b"\0"),
    "sRGB cut short": chunk(b"sRGB", b""),
    "eXIf of garbage": chunk(b"eXIf", b"garbage of some length"),
    "eXIf of nothing": chunk(b"eXIf", b""),
    "broken zTXt": chunk(b"zTXt", b"Raw profile type exif\0\0garbage"),
    "broken iTXt": chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0garbage"),
    "iTXt of its name alone": chunk(b"iTXt", b"XML:com.adobe.xmp\0"),
    "acTL of garbage": chunk(b"acTL", b"\xff"),
    "fcTL of garbage": chunk(b"fcTL", b"\0" * 3),
    "tIME of garbage": chunk(b"tIME", b"\xff" * 40),
    "an unknown chunk": chunk(b"abCd", b"\0" * 100_000),
}


@pytest.mark.parametrize("name", ANCILLARY)
@pytest.mark.parametrize("behind", [False, True], ids=["before the data", "behind the data"])
def test_no_chunk_beside_the_picture_costs_it(name: str, behind: bool) -> None:
    png = encoded(PHOTO, "PNG")
    at = len(png) - 12 if behind else 33
    assert read(png[:at] + ANCILLARY[name] + png[at:]) == read(png)


def test_a_png_still_says_how_it_is_turned_and_what_is_clear() -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "Acme"
    clear = PHOTO.convert("P")
    data = encoded(clear, "PNG", exif=exif, transparency=3)
    noisy = data[:33] + ANCILLARY["large zTXt"] + data[33:]
    assert read(noisy) == read(data)
    assert (read(noisy)[1].width, read(noisy)[1].camera) == (207, "Acme")


def test_an_orientation_in_a_text_of_a_png_is_followed() -> None:
    xmp = b'XML:com.adobe.xmp\0\0\0\0\0<x tiff:Orientation="6"/>'
    png = encoded(PHOTO, "PNG")
    turned = read(png[:33] + chunk(b"iTXt", xmp) + png[33:])
    assert turned[0] != read(png)[0]


def test_a_wrong_checksum_of_a_png_s_data_is_damage_unless_the_pixels_are_right() -> None:
    png = bytearray(encoded(PHOTO, "PNG"))
    at = png.index(b"IDAT")
    size = struct.unpack_from(">I", png, at - 4)[0]
    png[at + 4 + size] ^= 1  # the checksum alone
    assert read(bytes(png)) == read(encoded(PHOTO, "PNG"))
    png[at + 4 + size // 2] ^= 1
    with pytest.raises(FileFault, match="damaged"):
        read(bytes(png))


def segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


SEGMENTS = {
    "short JFIF": segment(0xE0, b"JFIF\0"),
    "short Adobe": segment(0xEE, b"Adobe\0"),
    "an empty comment": segment(0xFE, b""),
    "an MPF that is none": segment(0xE2, b"MPF\0garbage"),
    "an ICC profile that is none": segment(0xE2, b"ICC_PROFILE\0\x01"),
    "a profile in pieces that are missing": segment(0xE2, b"ICC_PROFILE\0\x02\x09abc"),
    "Photoshop's, cut short": segment(0xED, b"Photoshop 3.0\0" + b"8BIM\x03\xed\0"),
    "Photoshop's resolution": segment(0xED, b"Photoshop 3.0\0" + b"8BIM\x03\xed\0\0\0\0\0\x02ab"),
    "XMP of garbage": segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0\xff\xfe\0"),
    "EXIF of nothing": segment(0xE1, b"Exif\0\0"),
    "EXIF that ends": segment(0xE1, b"Exif\0\0II*\0\xff\xff\xff\x7f"),
}


@pytest.mark.parametrize("name", SEGMENTS)
def test_no_segment_beside_the_picture_costs_it(name: str) -> None:
    jpeg = encoded(PHOTO, "JPEG")
    at = 2 + 2 + struct.unpack_from(">H", jpeg, 4)[0]  # behind JFIF
    assert read(jpeg[:at] + SEGMENTS[name] + jpeg[at:]) == read(jpeg)


def webp_with(kind: bytes, content: bytes, flag: int) -> bytes:
    """An extended WebP with one more chunk."""
    plain = encoded(PHOTO, "WEBP", lossless=True)
    size = b"".join((side - 1).to_bytes(3, "little") for side in PHOTO.size)
    body = b"VP8X" + struct.pack("<IB3x", 10, flag) + size
    extra = kind + struct.pack("<I", len(content)) + content + bytes(len(content) & 1)
    body += (extra if kind == b"ICCP" else b"") + plain[12:] + (b"" if kind == b"ICCP" else extra)
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


@pytest.mark.parametrize(
    ("kind", "content", "flag"),
    [
        (b"ICCP", b"garbage", 0x20),
        (b"EXIF", b"garbage", 0x08),
        (b"EXIF", b"", 0x08),
        (b"XMP ", b"\xff\xfe\0", 0x04),
        (b"abcd", bytes(999), 0x2C),  # announced, but not there
    ],
)
def test_no_chunk_beside_a_webp_costs_it(kind: bytes, content: bytes, flag: int) -> None:
    assert read(webp_with(kind, content, flag)) == read(encoded(PHOTO, "WEBP", lossless=True))


@pytest.mark.parametrize("kind", ["AVIF", "HEIC"])
@pytest.mark.parametrize("damage", [b"\xee", b"\0"])
def test_damaged_exif_in_a_container_costs_nothing(kind: str, damage: bytes) -> None:
    """The container itself says how the picture is turned."""
    pytest.importorskip("pillow_heif")
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "Acme Phones and Cameras"
    data = encoded(PHOTO, kind, exif=exif.tobytes())
    name = data.index(b"Acme Phones")
    at, end = max(data.rfind(b"MM\0*", 0, name), data.rfind(b"II*\0", 0, name)), name + 20
    bad = data[:at] + damage * (end - at) + data[end:]
    pixels, facts = read(bad)
    assert np.array_equal(pixels, read(data)[0])
    assert (facts.width, facts.height, facts.camera) == (207, 301, None)


def test_a_comment_before_a_gif_costs_nothing() -> None:
    gif = encoded(PHOTO.quantize(64), "GIF")
    at = 13 + (3 << ((gif[10] & 7) + 1))
    comment = b"!\xfe" + (b"\xff" + bytes(255)) * 20_000 + b"\0"
    assert read(gif[:at] + comment + gif[at:]) == read(gif)
    assert read(gif[:at] + bytes(500) + gif[at:]) == read(gif)


def test_megabytes_between_the_segments_of_a_jpeg_cost_no_time() -> None:
    """Pillow passes over them one by one, in Python."""
    jpeg = encoded(PHOTO, "JPEG")
    at = 2 + 2 + struct.unpack_from(">H", jpeg, 4)[0]
    assert read(jpeg[:at] + bytes(50_000_000) + jpeg[at:]) == read(jpeg)


def test_facts_are_kept_where_they_can_be_read() -> None:
    out = io.BytesIO()
    exif = Image.Exif()
    exif[0x010F] = "Acme"
    PHOTO.save(out, "JPEG", exif=exif)
    data = out.getvalue()
    bad = data[:20] + SEGMENTS["Photoshop's, cut short"] + data[20:]
    assert read(bad)[1].camera == "Acme"
