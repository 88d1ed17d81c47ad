"""JPEG XL pictures with the extra `jxl`; a word without it. Never half a picture."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import clipindex
from clipindex.cli.filter_options import formats
from clipindex.errors import FileFault
from clipindex.pictures import jxl, jxl_header
from clipindex.pictures.decode import Pixels, decode, decoders
from clipindex.pictures.exif import PictureFacts
from clipindex.pictures.formats import picture_format
from clipindex.pictures.preprocessing import Geometry, Preprocessing
from conftest import TINY, ingest, picture, reconciles
from test_heic import exif
from test_holes import encoded, photograph

imagecodecs = pytest.importorskip("imagecodecs")

CROP = Geometry(224, "crop")
SEEN = picture(1, (320, 240))
SIGNATURE = b"\xff\x0a"


def jxl_file(image: Image.Image | np.ndarray[Any, Any], **options: Any) -> bytes:
    """Lossless, but where `distance` says otherwise."""
    if "distance" not in options:
        options["lossless"] = True
    return bytes(imagecodecs.jpegxl_encode(np.asarray(image), **options))


def box(kind: bytes, content: bytes) -> bytes:
    return (len(content) + 8).to_bytes(4, "big") + kind + content


HEAD = box(b"JXL ", b"\r\n\x87\n") + box(b"ftyp", b"jxl \0\0\0\0jxl ")


def boxed(stream: bytes, *before: bytes) -> bytes:
    return HEAD + b"".join(before) + box(b"jxlc", stream)


def read(data: bytes) -> tuple[Pixels, PictureFacts]:
    return decode(data, CROP, Preprocessing.DCT_SCALED)


def fault(data: bytes) -> FileFault:
    with pytest.raises(FileFault) as caught:
        read(data)
    return caught.value


def same(one: bytes, other: bytes, within: int = 0) -> bool:
    difference = read(one)[0].astype(int) - read(other)[0].astype(int)
    return int(np.abs(difference).max()) <= within


PNG = encoded(SEEN, "PNG")

# --- what is read ----------------------------------------------------------------------------


def test_both_containers_give_the_pixels_of_the_picture() -> None:
    naked = jxl_file(SEEN)
    in_parts = HEAD + box(b"jxlp", bytes(4) + naked[:9]) + box(b"jxlp", b"\x80\0\0\1" + naked[9:])
    for data in (naked, jxl_file(SEEN, usecontainer=True), boxed(naked), in_parts):
        assert picture_format(data[:64]) == "JXL"
        assert same(data, PNG)
        assert read(data)[1] == PictureFacts(320, 240, "JXL")


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_grey_and_alpha_are_seen_as_in_a_png(mode: str) -> None:
    image = SEEN.copy()
    image.putalpha(picture(2).convert("L"))
    image = image.convert(mode)
    assert same(jxl_file(image), encoded(image, "PNG"))


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("bits", [10, 16])
def test_deep_pictures_are_rescaled_not_clipped(bits: int, channels: int) -> None:
    white = 2**bits - 1
    image = SEEN.convert({1: "L", 3: "RGB", 4: "RGBA"}[channels])
    deep = np.rint(np.asarray(image).astype(float) * white / 255).astype(np.uint16)
    assert same(jxl_file(deep, bitspersample=bits), encoded(image, "PNG"), within=1)


def test_floats_are_shares_of_white() -> None:
    floats = (np.asarray(SEEN) / 255).astype(np.float32)
    assert same(jxl_file(floats), PNG, within=1)


def test_grey_with_other_channels_than_alpha_is_grey() -> None:
    planes = np.stack([np.asarray(SEEN.convert("L")), np.zeros((240, 320), np.uint8)] * 2)[:3]
    data = jxl_file(planes, planar=True, photometric="gray")
    assert jxl_header.parse(data).more == 2
    assert same(data, encoded(SEEN.convert("L"), "PNG"))


def test_the_first_frame_of_an_animation_is_the_picture() -> None:
    frames = np.stack([np.asarray(picture(n)) for n in (1, 2, 3)])
    data = jxl_file(frames)
    assert np.shape(imagecodecs.jpegxl_decode(data)) == (3, 240, 320, 3)
    assert same(data, PNG)


# --- made from a JPEG ------------------------------------------------------------------------


def from_jpeg(jpeg: bytes) -> bytes:
    return bytes(imagecodecs.jpegxl_encode_jpeg(jpeg))


def without_the_way_back(data: bytes) -> bytes:
    """Without the box from which the JPEG can be made again."""
    boxes = [(each.kind, data[each.start : each.end]) for each in jxl_header._boxes(data)]
    return b"".join(box(kind, content) for kind, content in boxes if kind != b"jbrd")


@pytest.mark.parametrize("orientation", [1, 3, 6, 7])
def test_one_made_from_a_jpeg_has_the_pixels_and_facts_of_the_jpeg(orientation: int) -> None:
    large = picture(3, (1600, 1000))
    jpeg = encoded(large, "JPEG", quality=92, exif=exif(orientation))
    data = from_jpeg(jpeg)
    assert len(data) < len(jpeg)
    assert same(data, jpeg)  # decoded at a reduced scale, as the JPEG is
    pixels, facts = read(data)
    assert facts == PictureFacts(**{**_fields(read(jpeg)[1]), "format": "JXL"})
    stripped = without_the_way_back(data)
    turned, told = read(stripped)  # turned by the codestream, and not again by EXIF
    assert np.abs(turned.astype(int) - pixels.astype(int)).mean() < 3
    assert told == facts
    assert facts.camera == "Acme Phone"


def _fields(facts: PictureFacts) -> dict[str, Any]:
    return {name: getattr(facts, name) for name in PictureFacts.__slots__}


# --- EXIF ------------------------------------------------------------------------------------


def tiff_of(orientation: int) -> bytes:
    return exif(orientation).removeprefix(b"Exif\0\0")


@pytest.mark.parametrize("brotli", [False, True])
def test_exif_says_when_and_where_but_not_how_to_turn(brotli: bool) -> None:
    content = bytes(4) + tiff_of(6)
    if brotli:
        block = box(b"brob", b"Exif" + bytes(imagecodecs.brotli_encode(content)))
    else:
        block = box(b"Exif", content)
    for data in (boxed(jxl_file(SEEN), block), boxed(jxl_file(SEEN)) + block):
        assert same(data, PNG)
        facts = read(data)[1]
        assert (facts.width, facts.height, facts.camera) == (320, 240, "Acme Phone")
        assert facts.taken == "2024-05-06T07:08:09"
        assert facts.location == (52.5, -13.25)


@pytest.mark.parametrize(
    "block",
    [
        box(b"Exif", b""),
        box(b"Exif", b"\xff\xff\xff\xffII*\0"),
        box(b"Exif", bytes(4) + b"II*\0\xff\xff\xff\x7f"),
        box(b"Exif", bytes(4) + tiff_of(6)[:40]),
        box(b"brob", b"Exifnot brotli"),
        box(b"brob", b"Exif"),
        box(b"brob", b""),
    ],
)
def test_damaged_exif_costs_no_picture(block: bytes) -> None:
    data = boxed(jxl_file(SEEN), block)
    assert same(data, PNG)
    assert read(data)[1].taken is None


def test_packed_exif_that_would_fill_the_memory_is_left_out() -> None:
    bomb = bytes(imagecodecs.brotli_encode(bytes(4) + tiff_of(1) + bytes(1 << 24)))
    assert len(bomb) < 1000
    assert read(boxed(jxl_file(SEEN), box(b"brob", b"Exif" + bomb)))[1].taken is None


# --- damage ----------------------------------------------------------------------------------

KINDS: dict[str, dict[str, Any]] = {
    "lossy": {"distance": 1.0},
    "lossless": {},
    "fast": {"effort": 1},
    "boxes": {"distance": 1.0, "usecontainer": True},
    "deep": {"effort": 1, "deep": True},
}


@cache
def whole(name: str) -> bytes:
    if name == "jpeg":
        return from_jpeg(encoded(photograph(), "JPEG"))
    options = dict(KINDS[name])
    values = np.asarray(photograph())
    return jxl_file(
        values.astype(np.uint16) * 257 if options.pop("deep", False) else values, **options
    )


@cache
def pixels_of(name: str) -> Pixels:
    return read(whole(name))[0]


def refused_or_the_same(name: str, damaged: bytes) -> None:
    try:
        pixels, _ = read(damaged)
    except FileFault:
        return
    assert np.array_equal(pixels, pixels_of(name))


@pytest.mark.parametrize("name", [*KINDS, "jpeg"])
@given(share=st.floats(0, 0.9999))
@settings(max_examples=25, deadline=None)
def test_a_cut_anywhere_is_refused_or_changes_nothing(name: str, share: float) -> None:
    data = whole(name)
    cut = data[: max(12, int(len(data) * share))]
    refused_or_the_same(name, cut)
    refused_or_the_same(name, cut + bytes(len(data) - len(cut)))  # the space was reserved


@pytest.mark.parametrize("name", [*KINDS, "jpeg"])
@given(place=st.floats(0, 1), length=st.integers(512, 8192))
@settings(max_examples=12, deadline=None)
def test_a_hole_is_refused(name: str, place: float, length: int) -> None:
    data = whole(name)
    start = 100 + int((len(data) - 100 - length - 2) * place)
    refused_or_the_same(name, data[:start] + bytes(length) + data[start + length :])


def test_a_reason_says_what_is_wrong_in_plain_words() -> None:
    data = whole("lossy")
    assert "cut short" in fault(data[: len(data) // 2]).reason
    assert "is broken" in fault(data[:2000] + bytes(range(1, 200)) + data[2199:]).reason


def test_zeros_behind_a_whole_picture_change_nothing() -> None:
    assert np.array_equal(read(whole("lossy") + bytes(5000))[0], pixels_of("lossy"))


@given(noise=st.binary(max_size=300))
@settings(max_examples=150, deadline=None)
def test_no_bytes_upset_the_parser(noise: bytes) -> None:
    for data in (SIGNATURE + noise, HEAD + noise, boxed(SIGNATURE + noise)):
        with suppress(ValueError):
            assert jxl_header.parse(data).width >= 0


# --- headers, budget -------------------------------------------------------------------------


def header(*fields: tuple[int, int]) -> bytes:
    """A codestream that ends with its metadata: values and their bits, the lowest first."""
    value = at = 0
    for number, bits in fields:
        value |= number << at
        at += bits
    return SIGNATURE + value.to_bytes((at + 7) // 8 + 4, "little")


FLAG, NO = (1, 1), (0, 1)
THREE_BY_TWO = (NO, (0, 2), (199, 9), (4, 3))  # 200 rows, ratio 3:2
EIGHT_BITS = (NO, (0, 2))
RGB = (NO, FLAG)  # not XYB, the usual colours


def test_size_orientation_preview_and_animation_are_read() -> None:
    preview = (FLAG, NO, (0, 2), (15, 6), (1, 3))
    animation = (FLAG, (0, 2), (0, 2), (0, 2), NO)
    own_size = (FLAG, FLAG, (3, 5), (0, 3), (4, 5))
    extra = (NO, FLAG, (5, 3), *own_size, *preview, *animation)
    found = jxl_header.parse(header(*THREE_BY_TWO, *extra, *EIGHT_BITS, NO, (0, 2), *RGB))
    assert (found.width, found.height, found.mode, found.bits) == (200, 300, "RGB", 8)


def channel(kind: int, *more: tuple[int, int]) -> tuple[tuple[int, int], ...]:
    number = ((kind, 2),) if kind < 2 else ((2, 2), (kind - 2, 4))
    return (NO, *number, *EIGHT_BITS, (0, 2), (0, 2), *more)


def test_alpha_black_and_other_channels_are_told_apart() -> None:
    spot, black = channel(2, (0, 64)), channel(4)
    alpha = channel(0, FLAG)
    three = (NO, NO, *EIGHT_BITS, NO, (2, 2), (1, 4), *spot, *alpha, *black, *RGB)
    found = jxl_header.parse(header(*THREE_BY_TWO, *three))
    assert (found.mode, found.more, found.has_black) == ("RGBa", 2, True)


def test_cmyk_is_skipped_with_a_word() -> None:
    one = (NO, NO, *EIGHT_BITS, NO, (1, 2), *channel(4), *RGB)
    refused = fault(header(*THREE_BY_TWO, *one))
    assert "CMYK" in refused.reason
    assert refused.skipped


def test_premultiplied_alpha_is_not_applied_twice() -> None:
    from clipindex.pictures.jxl_file import _image

    colours = np.full((8, 8, 4), 128, np.uint8)  # white, half of it clear
    found = jxl_header.Header(width=8, height=8, has_alpha=True, is_premultiplied=True)
    assert _image(colours, found).convert("RGBA").getpixel((0, 0)) == (255, 255, 255, 128)


@pytest.mark.parametrize(("side", "word"), [(30_000, "megapixels"), (12_000, "GB to decode")])
def test_a_large_picture_is_refused_before_it_is_decoded(side: int, word: str) -> None:
    data = header(NO, (3, 2), (side - 1, 30), (1, 3), FLAG)
    for bomb in (data, boxed(data), boxed(data, box(b"jbrd", b""))):
        assert word in fault(bomb).reason


def test_many_extra_channels_count() -> None:
    many = (NO, NO, *EIGHT_BITS, NO, (3, 2), (2999, 12), *(channel(1) * 3000), *RGB)
    assert "GB to decode" in fault(header(NO, (0, 2), (299, 9), (1, 3), *many)).reason


# --- whole runs ------------------------------------------------------------------------------


def test_the_command_line_knows_the_type() -> None:
    assert formats("jxl") == ("JXL",)


def fill(folder: Path) -> None:
    folder.mkdir()
    (folder / "a picture.jxl").write_bytes(jxl_file(SEEN))
    (folder / "other name.jpg").write_bytes(boxed(jxl_file(picture(2))))
    (folder / "cut.jxl").write_bytes(whole("lossy")[:3000])
    (folder / "text.jxl").write_text("no picture")


def test_jxl_files_go_through_a_whole_run(index: clipindex.Index, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    fill(folder)
    run = ingest(index, folder)
    assert {run.status(folder / name) for name in ("a picture.jxl", "other name.jpg")} == {"new"}
    assert {run.status(folder / name) for name in ("cut.jxl", "text.jxl")} == {"quarantined"}
    assert reconciles(run.summary)
    assert index.query(folder / "a picture.jxl")[0].score == pytest.approx(1.0, abs=1e-6)


def test_without_the_extra_they_are_skipped_until_it_is_there(
    index: clipindex.Index, tmp_path: Path
) -> None:
    folder = tmp_path / "pictures"
    fill(folder)
    code = (
        "import sys\nsys.modules['imagecodecs'] = None\nimport clipindex\n"
        f"index = clipindex.Index({str(tmp_path / 'store')!r}, model={str(TINY)!r})\n"
        f"for event in index.ingest_events([{str(folder)!r}]):\n"
        "    if isinstance(event, clipindex.FileDone): print(event.status.value, event.reason)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert sorted(done.stdout.splitlines())[1:] == [f"skipped {jxl.MISSING}"] * 3
    assert "imagecodecs" in decoders()
    run = ingest(index, folder)
    assert run.status(folder / "a picture.jxl") == "new"
    assert run.status(folder / "cut.jxl") == "quarantined"
    assert ingest(index, folder).summary.unchanged == 2
