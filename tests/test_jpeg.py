"""JPEG files taken apart, and what becomes of them: reduced, refused, never refused in error."""

from __future__ import annotations

import io
import re
import struct
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from clipindex.errors import FileFault
from clipindex.pictures import jpeg
from clipindex.pictures.decode import MAX_SCANS, decode
from clipindex.pictures.preprocessing import Geometry, Preprocessing
from conftest import picture

CROP = Geometry(224, "crop")
EXACT, SCALED = Preprocessing.EXACT, Preprocessing.DCT_SCALED
BOTH = pytest.mark.parametrize("preprocessing", list(Preprocessing), ids=str)
EOI = b"\xff\xd9"

SMALL, LARGE = picture(1, (301, 207)), picture(2, (1400, 1000))


def saved(image: Image.Image, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", **options)
    return out.getvalue()


def in_parts(image: Image.Image) -> bytes:
    """A sequential JPEG with a scan for each colour, made of three grey ones."""
    grey = [saved(band) for band in image.convert("YCbCr").split()]
    streams = [jpeg.parse(each) for each in grey]
    size = struct.pack(">HH", image.height, image.width)
    out = b"\xff\xd8"
    for part in parts(grey[0], *streams[0].segments[1:]):
        if part[1] == 0xC0:
            colours = b"".join(bytes((number, 0x11, 0)) for number in (1, 2, 3))
            out += b"\xff\xc0\0\x11\x08" + size + b"\x03" + colours
        elif part[1] == 0xDA:
            break
        else:
            out += part
    for number, (data, stream) in enumerate(zip(grey, streams, strict=True), 1):
        (scan,) = parts(data, *(each for each in stream.segments if each.marker == 0xDA))
        out += scan[:5] + bytes((number,)) + scan[6:]
    return out + EOI


def parts(data: bytes, *segments: jpeg.Segment) -> Iterator[bytes]:
    return (data[each.start : each.end] for each in segments)


def tables(stream: jpeg.Stream) -> list[bytes]:
    """Huffman tables, some of which stand between the scans."""
    return [*parts(stream.data, *(each for each in stream.segments if each.marker == 0xC4))]


def cut(data: bytes, share: float) -> bytes:
    """A share of a picture's compressed data, and an end marker as if that were all."""
    segments = jpeg.parse(data).segments
    first = next(each.start for each in segments if each.marker == 0xDA) + 20
    kept = data[: first + int((len(data) - 2 - first) * share)]
    return kept.removesuffix(b"\xff") + EOI


def pixels(data: bytes, preprocessing: Preprocessing = EXACT) -> npt.NDArray[np.int16]:
    return decode(data, CROP, preprocessing)[0].astype(np.int16)


def samples(data: bytes) -> tuple[tuple[int, int], bytes]:
    """Size and all samples of a JPEG, as it is."""
    with Image.open(io.BytesIO(data)) as image:
        return image.size, image.tobytes()


def fault(data: bytes, preprocessing: Preprocessing = EXACT) -> str:
    with pytest.raises(FileFault) as caught:
        decode(data, CROP, preprocessing)
    return caught.value.reason


def whole(data: bytes) -> jpeg.Stream:
    """Taken apart, and found to be whole."""
    stream = jpeg.parse(data)
    assert stream.ended
    assert stream.complete
    return stream


# --- taken apart -----------------------------------------------------------------------------

KINDS: dict[str, Callable[[], bytes]] = {
    "baseline": lambda: saved(SMALL),
    "progressive": lambda: saved(SMALL, progressive=True),
    "grey": lambda: saved(SMALL.convert("L")),
    "grey progressive": lambda: saved(SMALL.convert("L"), progressive=True),
    "cmyk": lambda: saved(SMALL.convert("CMYK")),
    "restarts": lambda: saved(SMALL, restart_marker_blocks=5),
    "in parts": lambda: in_parts(SMALL),
    "large": lambda: saved(LARGE, quality=60),
    "large progressive": lambda: saved(LARGE, quality=60, progressive=True),
    "large in parts": lambda: in_parts(LARGE),
}
KIND = pytest.mark.parametrize("kind", KINDS)


def covered(data: bytes) -> bytes:
    return b"".join(parts(data, *jpeg.parse(data).segments))


@given(st.binary(max_size=300) | st.lists(st.sampled_from(
    [b"\xff", b"\0", b"\xd8", b"\xd9", b"\xda", b"\xc2", b"\xc4", b"\xd0", b"\x01", b"\x04", b"x"]
), max_size=60).map(b"".join))  # fmt: skip
@settings(max_examples=400)
def test_any_bytes_are_covered_by_their_segments(data: bytes) -> None:
    stream = jpeg.parse(data)
    assert covered(data) == data
    assert stream.reduced(2) == data or stream.complete
    assert stream.may_lack_data(ends_in_grey=True) or stream.held_whole


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_any_damage_to_a_picture_is_covered_as_well(data: st.DataObject) -> None:
    """Taking it apart, and making it smaller, raises nothing whatever it holds."""
    damaged = bytearray(data.draw(st.sampled_from([_SMALLEST, _SMALLEST_PROGRESSIVE])))
    for _ in range(data.draw(st.integers(1, 12))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        damaged[at] = data.draw(st.sampled_from([0, 1, 0xC0, 0xC2, 0xD9, 0xDA, 0xFF]))
    assert covered(bytes(damaged)) == damaged
    stream = jpeg.parse(bytes(damaged))
    for scale in (1, 2, 4, 8):
        assert len(stream.reduced(scale)) <= len(damaged) + 1
    assert stream.held_whole in (True, False)


_SMALLEST = saved(picture(3, (24, 16)))
_SMALLEST_PROGRESSIVE = saved(picture(3, (24, 16)), progressive=True)


@KIND
def test_a_picture_is_whole_and_has_its_size(kind: str) -> None:
    data = KINDS[kind]()
    frame = whole(data).frame
    assert frame is not None
    assert (frame.width, frame.height) == (LARGE if "large" in kind else SMALL).size
    assert frame.progressive == ("progressive" in kind)


def test_the_scans_of_a_progressive_picture_are_told_apart() -> None:
    """The order that libjpeg and nearly all programs use."""
    stream = whole(KINDS["progressive"]())
    scans = [
        (*each.components, each.first, each.last, each.high, each.low) for each in stream.scans
    ]
    assert scans == [
        (1, 2, 3, 0, 0, 0, 1),
        (1, 1, 5, 0, 2),
        (3, 1, 63, 0, 1),
        (2, 1, 63, 0, 1),
        (1, 6, 63, 0, 2),
        (1, 1, 63, 2, 1),
        (1, 2, 3, 0, 0, 1, 0),
        (3, 1, 63, 1, 0),
        (2, 1, 63, 1, 0),
        (1, 1, 63, 1, 0),
    ]


@KIND
def test_what_follows_the_end_is_not_the_picture_s(kind: str) -> None:
    data = KINDS[kind]()
    alone = jpeg.parse(data)
    for behind in (b"\0" * 9, b"ftypmp42" + b"\xff\xda" * 2000, KINDS["progressive"]()):
        stream = whole(data + behind)
        assert (stream.frame, stream.scans) == (alone.frame, alone.scans)
        assert stream.segments[-1] == jpeg.Segment(0, len(data), len(data) + len(behind))


def test_a_thumbnail_inside_the_metadata_is_passed_over() -> None:
    thumbnail = saved(picture(3, (160, 120)), progressive=True)
    stream = whole(saved(SMALL, exif=b"Exif\0\0" + thumbnail))
    assert len(stream.scans) == 1
    assert stream.frame == whole(saved(SMALL)).frame


def test_padding_before_a_marker_is_passed_over() -> None:
    data = KINDS["progressive"]()
    segments = jpeg.parse(data).segments
    padded = b"\xff\xff\xff".join(parts(data, *segments))
    assert whole(padded).scans == whole(data).scans
    assert np.array_equal(pixels(padded), pixels(data))


def test_a_file_of_nothing_but_markers_is_refused_before_it_takes_memory() -> None:
    assert len(jpeg.parse(b"\xff\x01" * jpeg.MOST_SEGMENTS).segments) == jpeg.MOST_SEGMENTS
    with pytest.raises(ValueError, match="segments"):
        jpeg.parse(b"\xff\x01" * 10_000_000)


@KIND
def test_a_file_cut_short_has_no_end(kind: str) -> None:
    data = KINDS[kind]()
    for length in (len(data) - 1, len(data) - 2, len(data) // 2, 700):
        assert not jpeg.parse(data[:length]).ended


@pytest.mark.parametrize("lost", range(10))
def test_a_progressive_picture_that_lacks_a_scan_is_not_complete(lost: int) -> None:
    data = KINDS["progressive"]()
    segments = list(jpeg.parse(data).segments)
    del segments[[at for at, each in enumerate(segments) if each.marker == 0xDA][lost]]
    stream = jpeg.parse(b"".join(parts(data, *segments)))
    assert stream.ended
    assert not stream.complete


# --- reduced ---------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [2, 4, 8])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_progressive_picture_gets_smaller_and_keeps_its_tables_in_order(
    scale: int, mode: str
) -> None:
    data = saved(LARGE.convert(mode), progressive=True, quality=90, icc_profile=b"profile")
    before, after = whole(data), jpeg.parse(whole(data).reduced(scale))
    assert len(after.data) < 0.7 * len(data)
    assert after.ended
    assert after.frame == before.frame
    assert tables(after) == tables(before)
    assert set(after.scans) < set(before.scans)
    assert [scan for scan in before.scans if scan in after.scans] == list(after.scans)
    means = [scan for scan in before.scans if scan.first == 0]
    assert set(means) <= set(after.scans)
    assert 0xE2 in {each.marker for each in before.segments}
    assert 0xE2 not in {each.marker for each in after.segments}


def quantisers(data: bytes) -> dict[int, list[int]]:
    with Image.open(io.BytesIO(data)) as image:
        return image.quantization  # type: ignore[attr-defined, no-any-return]


@pytest.mark.parametrize("quality", [30, 90, [[300] * 64, [400] * 64]], ids=str)
def test_one_quantiser_of_the_reduced_picture_is_zero(quality: int | list[list[int]]) -> None:
    """With it libjpeg does not guess at what was left out; at 8 and 16 bits a quantiser."""
    options = {"qtables": quality} if isinstance(quality, list) else {"quality": quality}
    data = saved(LARGE, progressive=True, **options)
    before, after = quantisers(data), quantisers(whole(data).reduced(4))
    changed = [(t, at) for t in before for at in range(64) if before[t][at] != after[t][at]]
    assert changed == [(0, 24)]  # not in zigzag order here: the fourth row's first
    assert after[0][24] == 0


def headers(*scans: tuple[int, int, int, int, int]) -> bytes:
    """A progressive picture without data, with colour at half resolution: (component, first,
    last, high, low) of each scan; component 0 stands for all three."""
    out = b"\xff\xd8\xff\xc2\0\x11\x08\3\xe8\3\xe8\x03\1\x22\0\2\x11\1\3\x11\1"
    for component, *band, high, low in scans:
        named = [component] if component else [1, 2, 3]
        each = b"".join(bytes((number, 0)) for number in named)
        parameters = bytes((len(named),)) + each + bytes((*band, high << 4 | low))
        out += struct.pack(">BBH", 0xFF, 0xDA, len(parameters) + 2) + parameters
    return out + EOI


MEAN = (0, 0, 0, 0, 0)
COLOURS = ((2, 1, 8, 0, 0), (2, 9, 63, 0, 0), (3, 1, 63, 0, 0))


@pytest.mark.parametrize(
    ("scale", "spare"), [(2, {(1, 25, 63, 0, 0)}), (4, {(1, 5, 24, 0, 0), (1, 25, 63, 0, 0)}),
                         (8, {(1, 1, 4, 0, 0), (1, 5, 24, 0, 0), (1, 25, 63, 0, 0)})]
)  # fmt: skip
def test_only_coefficients_finer_than_the_scale_are_left_out(
    scale: int, spare: set[tuple[int, int, int, int, int]]
) -> None:
    """Of colour at half the resolution none are: its blocks are scaled less."""
    scans = [MEAN, (1, 1, 4, 0, 0), *COLOURS, (1, 5, 24, 0, 0), (1, 25, 63, 0, 0)]
    reduced = whole(headers(*scans)).reduced(scale)
    assert reduced == headers(*(each for each in scans if each not in spare))


def quantiser_table(step: int) -> bytes:
    return struct.pack(">BBHB", 0xFF, 0xDB, 67, 0) + bytes([step] * 64)


@pytest.mark.parametrize(("step", "spare"), [(1, 2), (2, 2), (3, 1), (6, 1), (7, 0), (255, 0)])
def test_bits_are_left_out_as_long_as_they_are_worth_little(step: int, spare: int) -> None:
    """A bit is worth its place times the step of its quantiser; one of no known step is kept."""
    first = [MEAN, *COLOURS, (1, 1, 63, 0, 4), (1, 1, 63, 4, 3), (1, 1, 63, 3, 2)]
    refining = [(1, 1, 63, 2, 1), (1, 1, 63, 1, 0)]
    scans = len(first) + len(refining)
    assert len(whole(headers(*first, *refining)).reduced(2)) == len(headers(*first, *refining))
    data = headers(*first, *refining)
    reduced = jpeg.parse(whole(data[:2] + quantiser_table(step) + data[2:]).reduced(2))
    assert len(reduced.scans) == scans - spare


@pytest.mark.parametrize("quality", [25, 50, 75, 90, 97])
def test_what_is_left_out_moves_pixels_little_at_any_quality(quality: int) -> None:
    data = saved(LARGE, progressive=True, quality=quality)
    assert np.abs(pixels(data, SCALED) - pixels(data, EXACT)).mean() < 2


@pytest.mark.parametrize(
    "scans",
    [
        [],
        [MEAN, *COLOURS],
        [MEAN, *COLOURS, (1, 1, 62, 0, 0)],
        [MEAN, *COLOURS, (1, 1, 63, 0, 1)],
        [MEAN, *COLOURS, (1, 1, 63, 0, 2), (1, 1, 63, 2, 0)],
        [MEAN, *COLOURS, (1, 1, 63, 1, 0), (1, 1, 63, 0, 1)],
        [MEAN, *COLOURS, (1, 1, 63, 0, 0), (1, 1, 63, 0, 0)],
        [MEAN, *COLOURS, (1, 1, 63, 0, 0), (1, 1, 63, 1, 0)],
        [MEAN, *COLOURS, (1, 1, 63, 0, 0), (4, 1, 63, 0, 0)],
        [MEAN, *COLOURS, (1, 1, 63, 0, 0), (1, 9, 5, 0, 0)],
        [MEAN, *COLOURS, (1, 1, 40, 0, 0), (1, 40, 63, 0, 0)],
    ],
    ids=str,
)
def test_scans_in_no_usual_order_are_kept_whole(
    scans: list[tuple[int, int, int, int, int]],
) -> None:
    stream = jpeg.parse(headers(*scans))
    assert not stream.complete
    assert stream.reduced(2) is stream.data
    assert stream.may_lack_data(ends_in_grey=False)


@KIND
def test_what_is_no_common_progressive_picture_is_kept_whole(kind: str) -> None:
    data = KINDS[kind]()
    for scale in (1, 3):
        assert whole(data).reduced(scale) is data
    if "progressive" not in kind:
        assert whole(data).reduced(4) is data
    else:
        for odd in (data[:-2], cut(data, 0.3), data.replace(b"\xff\xc2", b"\xff\xca", 1)):
            assert jpeg.parse(odd).reduced(4) is odd


@pytest.mark.parametrize("size", [(1000, 1400), (2000, 1900), (3700, 3600)])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_progressive_picture_differs_as_little_as_a_baseline_one(
    size: tuple[int, int], mode: str
) -> None:
    """Scales of 2, 4 and 8. What refinement scans bring is gone once the picture is smaller."""
    image = picture(4, size).convert(mode)
    exact = pixels(saved(image, quality=85))
    of_baseline = np.abs(pixels(saved(image, quality=85), SCALED) - exact)
    of_progressive = np.abs(pixels(saved(image, quality=85, progressive=True), SCALED) - exact)
    assert of_progressive.mean() <= of_baseline.mean() + 0.7
    assert of_progressive.max() <= of_baseline.max() + 8


def test_a_reduced_decode_reads_no_refinement_scan() -> None:
    data = bytearray(saved(LARGE, progressive=True))
    last = [each for each in jpeg.parse(bytes(data)).segments if each.marker == 0xDA][-1]
    before = {each: pixels(bytes(data), each) for each in Preprocessing}
    for at in range(last.start + 40, last.end - 8, 7):
        if 0xFF not in data[at - 1 : at + 1]:
            data[at] = 0x55
    assert np.array_equal(pixels(bytes(data), SCALED), before[SCALED])
    assert not np.array_equal(pixels(bytes(data), EXACT), before[EXACT])


@pytest.mark.parametrize("progressive", [False, True])
def test_facts_and_turning_survive_the_reduction(progressive: bool) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x0110] = 6, "X100"
    profile = bytes(200_000)  # in pieces, as large profiles are
    options = {"quality": 95, "progressive": progressive}
    data = saved(LARGE, exif=exif, icc_profile=profile, **options)
    made, facts = decode(data, CROP, SCALED)
    upright = saved(LARGE.transpose(Image.Transpose.ROTATE_270), **options)
    assert (facts.width, facts.height, facts.format, facts.camera) == (1000, 1400, "JPEG", "X100")
    assert np.abs(made.astype(np.int16) - pixels(upright, SCALED)).mean() < 1


@BOTH
def test_a_progressive_double_picture_gives_its_first(preprocessing: Preprocessing) -> None:
    out = io.BytesIO()
    options = {"save_all": True, "append_images": [SMALL], "progressive": True}
    LARGE.save(out, "MPO", **options)
    alone = pixels(saved(LARGE, progressive=True), preprocessing)
    assert np.array_equal(pixels(out.getvalue(), preprocessing), alone)
    assert np.array_equal(pixels(out.getvalue()[:-100], preprocessing), alone)


# --- an end that comes too early -------------------------------------------------------------


@BOTH
@KIND
def test_an_end_marker_in_the_middle_of_the_data_is_damage_not_grey(
    kind: str, preprocessing: Preprocessing
) -> None:
    """libjpeg fills up with grey and Pillow says nothing of it."""
    data = KINDS[kind]()
    for share in (0.01, 0.2, 0.45):
        early = cut(data, share)
        for behind in (b"", data[-2000:], KINDS["baseline"]()):
            assert "ends before the picture" in fault(early + behind, preprocessing)


@BOTH
@pytest.mark.parametrize("kind", ["baseline", "grey", "cmyk", "restarts", "in parts", "large"])
def test_of_a_sequential_picture_not_even_the_last_part_may_be_missing(
    kind: str, preprocessing: Preprocessing
) -> None:
    for share in (0.7, 0.9, 0.97):
        early = cut(KINDS[kind](), share)
        assert "ends before the picture" in fault(early, preprocessing)


@BOTH
@pytest.mark.parametrize("options", [{}, {"progressive": True}], ids=["baseline", "progressive"])
def test_restart_markers_must_all_be_there_in_order(
    options: dict[str, object], preprocessing: Preprocessing
) -> None:
    data = saved(LARGE, restart_marker_rows=1, **options)
    markers = [match.start() for match in re.finditer(rb"\xff[\xd0-\xd7]", data)]
    at, following = markers[len(markers) // 2], markers[len(markers) // 2 + 1]
    without = data[: at - 300] + data[at + 2 :]
    swapped = data[:at] + data[following : following + 2] + data[at + 2 :]
    swapped = swapped[:following] + data[at : at + 2] + swapped[following + 2 :]
    for bad in (without, swapped):
        assert "a part is missing" in fault(bad, preprocessing)


@BOTH
def test_one_restart_marker_too_many_is_passed_over(preprocessing: Preprocessing) -> None:
    """Some encoders write one behind the last interval."""
    data = saved(LARGE, restart_marker_rows=1)
    count = len(re.findall(rb"\xff[\xd0-\xd7]", data))
    more = data[:-2] + bytes((0xFF, 0xD0 + count % 8)) + data[-2:]
    assert np.array_equal(pixels(more, preprocessing), pixels(data, preprocessing))


def test_a_progressive_picture_without_its_last_bits_is_nearly_the_same() -> None:
    """Cut in the scan that brings the lowest bit: told from the whole by no header, taken."""
    data = saved(LARGE, quality=90, progressive=True)
    assert np.abs(pixels(cut(data, 0.95)) - pixels(data)).mean() < 1
    assert np.array_equal(pixels(cut(data, 0.95), SCALED), pixels(data, SCALED))


@pytest.mark.parametrize("kept", [1, 3, 5, 7])
def test_a_progressive_picture_may_end_after_any_scan(kept: int) -> None:
    """T.81 lets encoders leave out the rest, and nothing of those scans is missing."""
    for image in (SMALL, LARGE):
        data = saved(image, progressive=True)
        starts = [each.start for each in jpeg.parse(data).segments if each.marker == 0xDA]
        for preprocessing in Preprocessing:
            pixels(data[: starts[kept]] + EOI, preprocessing)


GREY = (128, 128, 128)
QUALITIES = [{}, {"quality": 100, "subsampling": "4:4:4"}, {"progressive": True},
             {"restart_marker_blocks": 3}, {"optimize": True}]  # fmt: skip


@BOTH
@pytest.mark.parametrize("options", QUALITIES, ids=str)
@pytest.mark.parametrize("size", [(300, 260), (301, 203), (1300, 1001)])
def test_a_picture_that_is_grey_or_ends_in_grey_is_a_picture(
    size: tuple[int, int], options: dict[str, object], preprocessing: Preprocessing
) -> None:
    width, height = size
    below = picture(5, size)
    below.paste(GREY, (0, height // 3, width, height))
    corner = picture(5, size)
    corner.paste(GREY, (width - 9, height - 9, width, height))
    for image in (Image.new("RGB", size, GREY), below, corner, below.convert("L")):
        pixels(saved(image, **options), preprocessing)
    for image in (below, corner):
        assert "ends before" in fault(cut(saved(image), 0.1), preprocessing)
        pixels(in_parts(image), preprocessing)


SETTINGS = st.fixed_dictionaries(
    {},
    optional={
        "quality": st.integers(1, 100),
        "progressive": st.booleans(),
        "optimize": st.booleans(),
        "subsampling": st.sampled_from(["4:4:4", "4:2:2", "4:2:0"]),
        "restart_marker_blocks": st.integers(1, 50),
        "restart_marker_rows": st.integers(1, 3),
        "comment": st.binary(max_size=99),
        "exif": st.binary(max_size=99).map(lambda more: b"Exif\0\0" + more),
        "icc_profile": st.binary(min_size=1, max_size=99),
        "dpi": st.tuples(st.integers(1, 600), st.integers(1, 600)),
        "streamtype": st.just(0),
    },
)


@given(
    options=SETTINGS,
    mode=st.sampled_from(["RGB", "L", "CMYK", "YCbCr"]),
    size=st.tuples(st.integers(1, 400), st.integers(1, 400)) | st.just((1000, 900)),
    colour=st.none() | st.integers(0, 255),
    behind=st.binary(max_size=50),
)
@settings(max_examples=80, deadline=None)
def test_no_whole_picture_is_refused_and_filling_changes_none(
    options: dict[str, object],
    mode: str,
    size: tuple[int, int],
    colour: int | None,
    behind: bytes,
) -> None:
    """Whatever Pillow can be told when saving one."""
    image = picture(6, size) if colour is None else Image.new("RGB", size, (colour,) * 3)
    data = saved(image.convert(mode), **options)
    stream = whole(data + behind)
    assert samples(stream.with_filling()) == samples(data)
    for preprocessing in Preprocessing:
        pixels(data + behind, preprocessing)
    if options.get("progressive"):
        for scale in (2, 4, 8):
            assert samples(stream.reduced(scale))[0] == size


def test_the_500_photographs_are_whole(captioned: Path) -> None:
    for path in captioned.iterdir():
        whole(path.read_bytes())


def test_an_arithmetic_picture_is_decoded_whole(test_data: Path) -> None:
    with tarfile.open(test_data / "nasty" / "nasty.tar") as tar:
        file = tar.extractfile("nasty/jpeg_arithmetic_progressive.jpg")
        assert file is not None
        data = file.read()
    assert whole(data).reduced(2) is data
    pixels(data, SCALED)


def lossless(side: int) -> bytes:
    """A square of middle grey as lossless JPEG: each pixel a bit that says "no difference"."""

    def segment(marker: int, parameters: bytes) -> bytes:
        return struct.pack(">BBH", 0xFF, marker, len(parameters) + 2) + parameters

    frame = segment(0xC3, struct.pack(">BHHB", 8, side, side, 1) + b"\1\x11\0")
    table = segment(0xC4, b"\0" + bytes([1] + [0] * 15) + b"\0")
    data = bytes(side * side // 8 + 1)
    return b"\xff\xd8" + frame + table + segment(0xDA, b"\1\1\0\1\0\0") + data + EOI


@BOTH
@pytest.mark.parametrize("side", [300, 1000])
def test_a_lossless_jpeg_is_decoded_whole(side: int, preprocessing: Preprocessing) -> None:
    made = pixels(lossless(side), preprocessing)
    assert (made.min(), made.max()) == (128, 128)


# --- bombs -----------------------------------------------------------------------------------


@BOTH
def test_scans_are_counted_in_sequential_pictures_too(preprocessing: Preprocessing) -> None:
    data = in_parts(SMALL)
    (*_, scan) = parts(data, *(e for e in jpeg.parse(data).segments if e.marker == 0xDA))
    bomb = data[:-2] + scan * MAX_SCANS + EOI
    assert f"more than {MAX_SCANS} scans" in fault(bomb, preprocessing)


@BOTH
@pytest.mark.parametrize("kind", ["baseline", "progressive", "large progressive"])
def test_scan_markers_behind_the_end_are_no_bomb(kind: str, preprocessing: Preprocessing) -> None:
    data = KINDS[kind]()
    made = pixels(data + b"\xff\xda" * 3000, preprocessing)
    assert np.array_equal(made, pixels(data, preprocessing))


def test_a_picture_in_parts_is_held_against_the_budget_whole() -> None:
    """200 megapixels: as one scan they may be read at an eighth, not as three."""
    size = struct.pack(">HH", 10_000, 20_000)
    for data, held in ((saved(SMALL), False), (in_parts(SMALL), True)):
        stream = jpeg.parse(data)
        assert stream.held_whole == held
        at = next(each.start for each in stream.segments if each.marker == 0xC0) + 5
        bomb = data[:at] + size + data[at + 4 :]
        assert ("over the budget" in fault(bomb, SCALED)) == held
