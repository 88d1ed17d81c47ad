"""What EXIF may say: nothing implausible and nothing unprintable gets into the payload."""

from __future__ import annotations

import io
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from clipindex.pictures.decode import decode
from clipindex.pictures.exif import LONGEST_NAME, PictureFacts
from clipindex.pictures.preprocessing import Geometry, Preprocessing
from conftest import picture

SEEN = picture(3, (64, 48))
ASCII, RATIONAL, UNDEFINED, LONG, DOUBLE, SIGNED_RATIONAL = 2, 5, 7, 4, 12, 10
Tags = dict[int, tuple[int, int, bytes]]  # tag -> type, count, values


def exif(main: Tags, photo: Tags | None = None, gps: Tags | None = None) -> bytes:
    """An EXIF block with any bytes as values, which no library would write."""
    out = bytearray(b"Exif\0\0II*\0\x08\0\0\0")
    start = len(out) - 6  # offsets count from behind "Exif" and two NUL

    def size(tags: Tags) -> int:
        return 6 + 12 * len(tags)

    directories = [dict(main), dict(photo or {}), dict(gps or {})]
    directories[0][0x8769] = (LONG, 1, b"")
    directories[0][0x8825] = (LONG, 1, b"")
    places = [start]
    for tags in directories[:2]:
        places.append(places[-1] + size(tags))
    directories[0][0x8769] = (LONG, 1, struct.pack("<L", places[1]))
    directories[0][0x8825] = (LONG, 1, struct.pack("<L", places[2]))
    at, values = places[2] + size(directories[2]), b""
    for tags in directories:
        out += struct.pack("<H", len(tags))
        for tag, (kind, count, data) in sorted(tags.items()):
            if len(data) > 4:
                place = struct.pack("<L", at + len(values))
                values += data
                data = place
            out += struct.pack("<HHL", tag, kind, count) + data.ljust(4, b"\0")
        out += bytes(4)
    return bytes(out + values)


def facts(block: bytes) -> PictureFacts:
    out = io.BytesIO()
    SEEN.save(out, "JPEG", exif=block)
    return decode(out.getvalue(), Geometry(224, "crop"), Preprocessing.EXACT)[1]


def text(value: bytes, kind: int = ASCII) -> tuple[int, int, bytes]:
    return kind, len(value) + 1, value + b"\0"


def rationals(*pairs: tuple[int, int], kind: int = RATIONAL) -> tuple[int, int, bytes]:
    code = "<LL" if kind == RATIONAL else "<ll"
    return kind, len(pairs), b"".join(struct.pack(code, *pair) for pair in pairs)


@pytest.mark.parametrize(
    ("model", "camera"),
    [
        (b"Leica M\xc3\xa9tro", "Leica Métro"),
        ("写ルンです".encode(), "写ルンです"),
        (b"Caf\xe9 100", "Café 100"),
        (b"X\x1b[31mRED\x1b[0m", "X [31mRED [0m"),
        (b"X\x9b31mRED", "X 31mRED"),
        (b"a\nb\tc\rd\x07e\x7ff", "a b c d e f"),
        ("a\u202eb\u200bc\ufeffd".encode(), "a b c d"),
        (b"X100\0 and what lay behind it", "X100"),
        (b"\x01\x02\x03", None),
        (b"y" * 5000, "y" * LONGEST_NAME),
    ],
)
def test_a_camera_s_name_is_readable_text(model: bytes, camera: str | None) -> None:
    assert facts(exif({0x0110: text(model)})).camera == camera


def test_a_name_in_bytes_is_a_name_and_one_in_numbers_is_none() -> None:
    assert facts(exif({0x010F: text(b"Acme", UNDEFINED)})).camera == "Acme"
    assert facts(exif({0x010F: rationals((1, 3), (2, 3))})).camera is None


N, E = (ASCII, 2, b"N\0"), (ASCII, 2, b"E\0")
TEN = rationals((10, 1), (30, 1), (0, 1))


def place(latitude: Any, north: Any = N, longitude: Any = TEN, east: Any = E) -> bytes:
    return exif({0x0110: text(b"One")}, gps={1: north, 2: latitude, 3: east, 4: longitude})


@pytest.mark.parametrize(
    "latitude",
    [
        rationals((2**32 - 1, 1), (0, 1), (0, 1)),
        rationals((10, 0), (0, 1), (0, 1)),
        rationals((0, 0), (0, 0), (0, 0)),
        rationals((10, 1), (0, 1)),
        rationals((-10, 1), (30, 1), (0, 1), kind=SIGNED_RATIONAL),
        (DOUBLE, 3, struct.pack("<3d", float("nan"), 0, 0)),
        (DOUBLE, 3, struct.pack("<3d", float("inf"), 0, 0)),
        (DOUBLE, 3, struct.pack("<3d", 1e308, 1e308, 0)),
        text(b"10,30,0"),
        (LONG, 1, struct.pack("<L", 10)),
    ],
    ids=["huge", "infinite", "0/0", "two", "negative", "nan", "inf", "doubles", "text", "one"],
)
def test_a_place_that_is_no_place_is_left_out_alone(latitude: tuple[int, int, bytes]) -> None:
    assert facts(place(latitude)) == PictureFacts(64, 48, "JPEG", camera="One")


def test_the_hemisphere_may_be_in_bytes() -> None:
    assert facts(place(TEN)).location == (10.5, 10.5)
    south = (UNDEFINED, 2, b"S\0")
    assert facts(place(TEN, south)).location == (-10.5, 10.5)


@pytest.mark.parametrize(
    ("taken", "expected"),
    [
        (text(b"2019:07:04 10:11:12"), "2019-07-04T10:11:12"),
        (text(b"2019:07:04 10:11:12", UNDEFINED), "2019-07-04T10:11:12"),
        (text(b"1851:01:01 00:00:00"), "1851-01-01T00:00:00"),
        (text(b"0001:01:01 00:00:00"), None),
        (text(b"1601:01:01 00:00:00"), None),
        (text(b"2019:02:30 10:11:12"), None),
        (text(b"2019:07:04 25:11:12"), None),
        (text(b"\x1b[31m2019:07:04"), None),
        (rationals((2019, 7)), None),
    ],
)
def test_a_date_is_one_on_which_a_picture_can_have_been_taken(
    taken: tuple[int, int, bytes], expected: str | None
) -> None:
    seen = facts(exif({0x0110: text(b"One")}, {0x9003: taken}))
    assert (seen.taken, seen.camera) == (expected, "One")


@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_no_exif_costs_the_picture(data: st.DataObject) -> None:
    block = bytearray(exif({0x0110: text(b"One"), 274: (3, 1, b"\x06\0")}, {}, {2: TEN, 1: N}))
    for _ in range(data.draw(st.integers(1, 6))):
        block[data.draw(st.integers(6, len(block) - 1))] = data.draw(st.integers(0, 255))
    seen = facts(bytes(block))
    assert {seen.width, seen.height} == {64, 48}
    assert seen.camera is None or seen.camera.isprintable()


def test_a_broken_orientation_leaves_the_picture_as_it_is() -> None:
    for value in (0, 9, 65535):
        block = exif({274: (3, 1, struct.pack("<H", value))})
        assert facts(block) == PictureFacts(64, 48, "JPEG")
    assert facts(exif({274: text(b"six")})) == PictureFacts(64, 48, "JPEG")


def test_pictures_with_such_exif_open_in_pillow_too() -> None:
    """The blocks of these tests are EXIF, not noise."""
    out = io.BytesIO()
    SEEN.save(out, "JPEG", exif=place(TEN))
    with Image.open(io.BytesIO(out.getvalue())) as image:
        assert image.getexif()[0x0110] == "One"
