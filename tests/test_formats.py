"""Which format a file's first bytes announce."""

from __future__ import annotations

import struct

import pytest

from clipindex.pictures.formats import (
    PICTURE_NAMES,
    RAW_FORMATS,
    TIFF_RAW_NAMES,
    UNREADABLE_FORMATS,
    picture_format,
)


def ftyp(major: bytes, *compatible: bytes, minor: bytes = bytes(4)) -> bytes:
    body = major + minor + b"".join(compatible)
    return struct.pack(">L", 8 + len(body)) + b"ftyp" + body + bytes(40)


@pytest.mark.parametrize(
    ("major", "compatible", "expected"),
    [
        (b"heic", (b"mif1",), "HEIC"),
        (b"heix", (b"mif1", b"heic"), "HEIC"),
        (b"mif1", (b"heic",), "HEIC"),
        (b"mif2", (b"mif1", b"heic"), "HEIC"),
        (b"mif2", (b"miaf", b"MiHE"), "HEIC"),
        (b"MiHE", (b"mif1", b"miaf"), "HEIC"),
        (b"1pic", (b"mif1", b"heic"), "HEIC"),
        (b"miaf", (b"heic",), "HEIC"),
        (b"mif1", (b"avif", b"miaf"), "AVIF"),
        (b"mif2", (b"avif",), "AVIF"),
        (b"1pic", (b"avif", b"mif1"), "AVIF"),
        (b"avif", (), "AVIF"),
        (b"mif1", (b"miaf", b"vvic"), "HEIF"),
        (b"mif2", (), "HEIF"),
        (b"1pic", (b"mif1",), "HEIF"),
        (b"jpeg", (b"mif1",), "HEIF"),
        (b"isom", (b"mp42",), None),
        (b"qt  ", (), None),
    ],
)
def test_heif_brands(major: bytes, compatible: tuple[bytes, ...], expected: str | None) -> None:
    assert picture_format(ftyp(major, *compatible)) == expected


@pytest.mark.parametrize(("codec", "expected"), [(b"heic", "HEIC"), (b"avif", "AVIF")])
def test_the_minimised_heif_names_its_codec_as_a_version(codec: bytes, expected: str) -> None:
    assert picture_format(ftyp(b"mif3", minor=codec)) == expected
    assert picture_format(ftyp(b"mif3")) == "HEIF"


def test_a_phase_one_raw_file_is_told_from_a_tiff() -> None:
    assert picture_format(b"II*\0\x10\0\0\0IIIITwaR" + bytes(40)) == "IIQ"
    assert picture_format(b"MM\0*\0\0\0\x10MMMMRawT" + bytes(40)) == "IIQ"
    assert "IIQ" in RAW_FORMATS


def test_every_unreadable_format_has_a_reason_and_raw_names_promise_a_picture() -> None:
    assert all("cannot read" in reason for reason in UNREADABLE_FORMATS.values())
    for name in b".dng .nef .cr2 .arw .iiq .srw".split():
        assert name in PICTURE_NAMES
        assert name in TIFF_RAW_NAMES
