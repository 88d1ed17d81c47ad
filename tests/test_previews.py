"""The preprocessing `previews`: a camera's own small copy stands for a picture, never in doubt."""

from __future__ import annotations

import io
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

import previews_made as made
from clipindex.errors import FileFault
from clipindex.pictures import heic_preview, jpeg, jpeg_preview, previews
from clipindex.pictures.decode import Pixels, decode
from clipindex.pictures.exif import PictureFacts
from clipindex.pictures.preprocessing import Geometry, Preprocessing, Way
from previews_made import camera_jpeg, heic, scene, stale_heic
from test_heic import exif

pytest.importorskip("pillow_heif")  # the encoder

CROP = Geometry(224, "crop")


def seen(
    data: bytes, preprocessing: Preprocessing = Preprocessing.PREVIEWS, geometry: Geometry = CROP
) -> tuple[Pixels, PictureFacts]:
    return decode(data, geometry, preprocessing)


def way(data: bytes) -> Way | None:
    return seen(data)[1].decoded


def stands(data: bytes) -> None:
    """The preview stands for the picture, with the facts of the picture."""
    pixels, facts = seen(data)
    whole, whole_facts = seen(data, Preprocessing.DCT_SCALED)
    assert facts == replace(whole_facts, decoded=Way.PREVIEW)
    assert 0 < np.abs(pixels.astype(int) - whole).mean() < 8


def is_read_in_full(data: bytes, geometry: Geometry = CROP) -> None:
    """Bit for bit as the default preprocessing does it."""
    pixels, facts = seen(data, geometry=geometry)
    whole, whole_facts = seen(data, Preprocessing.DCT_SCALED, geometry)
    assert np.array_equal(pixels, whole)
    assert facts == replace(whole_facts, decoded=Way.FULL)


def is_refused(data: bytes) -> None:
    """For the same reason as by the default preprocessing."""
    with pytest.raises(FileFault) as usual:
        seen(data, Preprocessing.DCT_SCALED)
    with pytest.raises(FileFault) as fault:
        seen(data)
    assert fault.value.reason == usual.value.reason


# --- HEIC ------------------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_thumbnail_stands_for_a_phones_picture_however_it_is_turned(orientation: int) -> None:
    stands(heic(1, orientation=orientation))


def test_the_largest_thumbnail_is_taken() -> None:
    data = heic(1, thumbnails=(320, 480, 400))
    found = heic_preview.find(data, 224)
    assert found is not None
    assert made.main_of(found.thumbnail).size == (480, 360)


def test_other_geometries_have_their_own_least_size() -> None:
    data = heic(1)
    assert way(data) is Way.PREVIEW
    is_read_in_full(data, Geometry(256, "crop"))
    is_read_in_full(data, Geometry(224, "crop", resize=256))


def renamed(data: bytes, kind: bytes, other: bytes) -> bytes:
    return data.replace(kind, other, 1)


DOUBTFUL = {
    "no thumbnail": lambda: heic(1, thumbnails=()),
    "too small": lambda: heic(1, thumbnails=(280,)),  # 210 pixels at its short side
    "no grid": lambda: heic(1, tile=0),  # no tile to compare it with
    "an odd reference": lambda: renamed(heic(1), b"thmb", b"thmc"),
    "an odd property": lambda: renamed(heic(1, orientation=6), b"irot", b"free"),
}


@pytest.mark.parametrize("kind", DOUBTFUL)
def test_in_any_doubt_a_heic_is_read_in_full(kind: str) -> None:
    is_read_in_full(DOUBTFUL[kind]())


def cropped(image: Image.Image) -> Image.Image:
    width, height = image.size
    return image.crop((width // 10, height // 10, width * 8 // 10, height * 8 // 10))


STALE = {
    "replaced": lambda: scene(99),
    "turned": lambda: scene(1).transpose(Image.Transpose.ROTATE_180),
    "mirrored": lambda: ImageOps.mirror(scene(1)),
    "cropped": lambda: cropped(scene(1)),
    "grey": lambda: scene(1).convert("L").convert("RGB"),
    "black": lambda: Image.new("RGB", made.SIZE),
}


@pytest.mark.parametrize("kind", STALE)
def test_a_stale_thumbnail_stands_for_nothing(kind: str) -> None:
    data = stale_heic(1, STALE[kind]())
    assert heic_preview.find(data, 224) is not None
    is_read_in_full(data)


def test_a_thumbnail_written_anew_is_no_stale_one() -> None:
    stands(stale_heic(1, scene(1)))


def test_a_damaged_thumbnail_costs_no_picture() -> None:
    data = heic(1)
    (number, _), *_ = made.main_of(data).thumbnails
    content = made.data_of(data, number)
    is_read_in_full(made.with_data(data, number, content[: len(content) // 2]))
    is_read_in_full(made.with_data(data, number, bytes(len(content))))


def last(data: bytes) -> bytes:
    """A file whose last bytes are those of a tile in a corner: the thumbnail is before them."""
    corner = made.main_of(data).made_of[-1]
    return made.with_data(data, corner, made.data_of(data, corner))


def test_a_picture_cut_short_is_refused_though_its_thumbnail_is_whole() -> None:
    data = last(heic(1))
    assert way(data) is Way.PREVIEW
    for cut in (1, 100, len(made.data_of(data, made.main_of(data).made_of[-1]))):
        is_refused(data[:-cut])


def test_a_hole_in_a_picture_is_refused_though_its_thumbnail_is_whole() -> None:
    data = last(heic(1))
    is_refused(data[:-600] + bytes(512) + data[-88:])


def test_any_other_item_beyond_the_end_is_a_doubt() -> None:
    data = heic(1)
    number = next(n for n, item in made.items(data).items.items() if item.kind == b"Exif")
    moved = made.with_data(data, number, made.data_of(data, number))
    assert way(moved) is Way.PREVIEW
    assert way(moved[:-1]) is Way.FULL


@pytest.mark.parametrize("tag", ["software", "changed", "size"])
def test_an_edited_picture_is_read_in_full(tag: str) -> None:
    is_read_in_full(heic(1, about=edited(tag)))


def edited(tag: str) -> bytes:
    told = Image.Exif()
    told.load(exif())
    inner = told.get_ifd(0x8769)
    if tag == "software":
        told[0x0131] = "Adobe Photoshop Lightroom Classic 13.1"
    elif tag == "changed":
        told[0x0132] = "2024:05:07 07:08:09"
    else:
        inner[0xA002], inner[0xA003] = 4032, 3024
    return told.tobytes()


def test_a_cameras_own_words_are_no_edit() -> None:
    told = Image.Exif()
    told.load(exif())
    told[0x0131], told[0x0132] = "17.5.1", "2024:05:06 07:08:12"
    inner = told.get_ifd(0x8769)
    inner[0xA002], inner[0xA003] = made.SIZE
    stands(heic(1, about=told.tobytes()))


@given(st.data())
def test_no_directory_upsets_the_search_for_a_thumbnail(draw: st.DataObject) -> None:
    data = bytearray(heic(1)[:2000])
    for _ in range(draw.draw(st.integers(1, 6))):
        data[draw.draw(st.integers(0, len(data) - 1))] = draw.draw(st.integers(0, 255))
    end = draw.draw(st.integers(0, len(data)))
    found = heic_preview.find(bytes(data[:end]) + heic(1)[end:], 224)
    assert found is None or 0 <= found.part[0] < found.part[2] <= 1


@given(st.binary(max_size=300))
def test_bytes_that_are_no_heic_have_no_thumbnail(data: bytes) -> None:
    assert heic_preview.find(data, 1) is None


def test_a_picture_with_any_wrong_byte_is_read_as_ever_or_refused() -> None:
    data = heic(1)
    random = np.random.default_rng(0)
    for _ in range(40):
        bad = bytearray(data)
        for at in random.integers(0, 1500, 3):
            bad[at] = random.integers(256)
        try:
            seen(bytes(bad))
        except FileFault:
            continue


def test_want_of_memory_changes_no_vector(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tried again later: the same bytes never get another vector because memory was short."""

    def short(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(previews, "find", short)
    with pytest.raises(FileFault) as fault:
        seen(heic(1))
    assert fault.value.transient


# --- JPEG ------------------------------------------------------------------------------------


@cache  # made when a test needs it: every process of a run collects every test
def whole_scene() -> Image.Image:
    return scene(3, (2048, 1536))


@cache
def small_scene() -> Image.Image:
    return whole_scene().resize((960, 720))


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_large_preview_stands_for_a_cameras_jpeg(orientation: int) -> None:
    stands(camera_jpeg(3, orientation=orientation))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", [made.VGA, made.FULL_HD])
def test_both_kinds_of_preview_count_in_either_byte_order(kind: int, order: str) -> None:
    stands(camera_jpeg(3, kind=kind, order=order))


@pytest.mark.parametrize("kind", [made.GAIN_MAP, 0x020001, 0x020002, 0x020003, 0x030000])
def test_gain_maps_and_pictures_of_other_kinds_are_no_previews(kind: int) -> None:
    is_read_in_full(camera_jpeg(3, kind=kind))


def squeezed(share: float) -> Image.Image:
    return whole_scene().resize((round(960 * (1 - share)), 720))


def test_a_preview_may_be_squeezed_by_half_a_percent() -> None:
    stands(camera_jpeg(3, squeezed(0.005)))


OTHER_JPEGS = {
    "of another shape": lambda: camera_jpeg(3, squeezed(0.01)),
    "too small": lambda: camera_jpeg(3, whole_scene().resize((588, 441))),
    "replaced": lambda: camera_jpeg(3, scene(99, (960, 720))),
    "turned": lambda: camera_jpeg(3, small_scene().transpose(Image.Transpose.ROTATE_180)),
    "mirrored": lambda: camera_jpeg(3, ImageOps.mirror(small_scene())),
    "cropped": lambda: camera_jpeg(3, cropped(whole_scene()).resize((960, 720))),
    "grey": lambda: camera_jpeg(3, small_scene().convert("L").convert("RGB")),
    "of a progressive picture": lambda: camera_jpeg(3, progressive=True),
    "of an edited picture": lambda: listed(jpeg_of(whole_scene(), edited("software"))),
    "turned in its EXIF": lambda: listed(
        jpeg_of(whole_scene(), exif(1)), jpeg_of(small_scene(), exif(6))
    ),
    "that is itself progressive": lambda: listed(
        jpeg_of(whole_scene(), exif()), made.jpeg(small_scene(), progressive=True)
    ),
}


def jpeg_of(image: Image.Image, about: bytes) -> bytes:
    return made.jpeg(image, about=about)


def listed(main: bytes, preview: bytes | None = None) -> bytes:
    return made.listing(main, [(made.VGA, preview or made.jpeg(small_scene()))])


@pytest.mark.parametrize("kind", OTHER_JPEGS)
def test_a_preview_stands_for_nothing_when_it_is(kind: str) -> None:
    is_read_in_full(OTHER_JPEGS[kind]())


def test_a_jpeg_cut_short_is_refused_though_a_preview_is_whole() -> None:
    """Its data ends early, but an end marker and the preview follow, where the list says."""
    whole = made.jpeg(whole_scene(), about=exif())
    assert way(listed(whole)) is Way.PREVIEW
    is_refused(listed(whole[: len(whole) // 2]))
    data = listed(whole)
    end = data.index(made.jpeg(small_scene()))
    is_refused(data[: end // 2] + data[end:])
    is_refused(data[: end // 2] + b"\xff\xd9" + data[end:])
    is_refused(data[: end // 2] + bytes(end - end // 2 - 2) + b"\xff\xd9" + data[end:])


def test_a_jpeg_cut_in_its_preview_is_read_in_full() -> None:
    is_read_in_full(camera_jpeg(3)[:-100])


def test_a_jpeg_whose_main_picture_grew_is_read_in_full() -> None:
    """A program wrote the picture anew and copied the list."""
    data, plain = camera_jpeg(3), made.jpeg(whole_scene(), about=exif())
    end = data.index(made.jpeg(small_scene()))
    longer = data[: end - 2] + data[end - 2 :].replace(b"\xff\xd9", b"\xff\xd9" + bytes(9000), 1)
    assert len(longer) > len(data) > len(plain)
    is_read_in_full(longer)


@cache
def small_list() -> bytes:
    return listed(made.jpeg(small_scene().resize((96, 72))))


@given(st.data())
def test_no_list_upsets_the_search_for_previews(draw: st.DataObject) -> None:
    data = bytearray(small_list())
    for _ in range(draw.draw(st.integers(1, 6))):
        data[draw.draw(st.integers(0, 140))] = draw.draw(st.integers(0, 255))
    for start, end in jpeg_preview.previews(jpeg.parse(bytes(data))):
        assert 0 < start <= end <= len(data)


@given(st.binary(max_size=400))
def test_any_list_is_read_to_an_end(directory: bytes) -> None:
    main = made.jpeg(Image.new("RGB", (16, 16)))
    segment = b"\xff\xe2" + (len(directory) + 6).to_bytes(2, "big") + b"MPF\0" + directory
    data = main[:2] + segment + main[2:]
    for start, end in jpeg_preview.previews(jpeg.parse(data)):
        assert 0 < start <= end <= len(data)


def test_the_first_rows_of_a_jpeg_are_those_of_the_whole() -> None:
    data = made.jpeg(whole_scene(), quality=85)
    stream = jpeg.parse(data)
    assert stream.frame is not None
    first, rows = jpeg_preview.first_rows(stream, stream.frame)
    strip = np.asarray(Image.open(io.BytesIO(first)))
    assert strip.shape == (rows, 2048, 3)
    assert rows == 160
    difference = np.abs(strip.astype(int) - np.asarray(Image.open(io.BytesIO(data)))[:rows])
    assert difference[:-2].max() == 0  # smooth upsampling looks at the next row
