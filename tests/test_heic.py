"""HEIC pictures: read everywhere, turned once, refused before they take the memory."""

from __future__ import annotations

import io
import struct
import tarfile
import threading
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

import clipindex
from clipindex.errors import FileFault
from clipindex.pictures.decode import decode, decoders
from clipindex.pictures.exif import PictureFacts
from clipindex.pictures.formats import picture_format
from clipindex.pictures.preprocessing import Geometry, Preprocessing
from conftest import TINY, ingest, picture, picture_bytes
from test_architecture import modules_after

pillow_heif = pytest.importorskip("pillow_heif")  # the encoder; clipindex only decodes

CROP = Geometry(224, "crop")
MADE = ("phone_photo.heic", "heic_named_jpg.jpg", "pil_hopper.heif")


def heic(image: Image.Image, **options: object) -> bytes:
    """A HEIC file as a phone writes it: EXIF's orientation in the container as well."""
    out = io.BytesIO()
    options = {"quality": 90, **options}
    pillow_heif.encode(image.mode, image.size, image.tobytes(), out, **options)
    return out.getvalue()


def exif(orientation: int = 1) -> bytes:
    told = Image.Exif()
    told[0x010F], told[0x0110], told[0x0112] = "Acme", "Acme Phone", orientation
    told.get_ifd(0x8769)[0x9003] = "2024:05:06 07:08:09"
    told.get_ifd(0x8825).update({1: "N", 2: (52.0, 30.0, 0.0), 3: "W", 4: (13.0, 15.0, 0.0)})
    return told.tobytes()


def read(data: bytes) -> tuple[npt.NDArray[np.int16], PictureFacts]:
    pixels, facts = decode(data, CROP, Preprocessing.DCT_SCALED)
    return pixels.astype(np.int16), facts


def pixels_of(image: Image.Image) -> npt.NDArray[np.int16]:
    """What an exact copy of a picture gives."""
    out = io.BytesIO()
    image.save(out, "PNG")
    return read(out.getvalue())[0]


def fault(data: bytes) -> FileFault:
    with pytest.raises(FileFault) as caught:
        read(data)
    return caught.value


@pytest.fixture
def nasty(test_data: Path, tmp_path: Path) -> Path:
    """The three HEIC files of the damaged and odd ones."""
    folder = tmp_path / "pictures"
    with tarfile.open(test_data / "nasty" / "nasty.tar") as tar:
        for member in tar:
            member.name = Path(member.name).name
            if member.name in MADE:
                tar.extract(member, folder, filter="data")
    return folder


# --- reading ---------------------------------------------------------------------------------


def test_phone_pictures_are_indexed_by_content(index: clipindex.Index, nasty: Path) -> None:
    run = ingest(index, nasty)
    assert {run.status(nasty / name) for name in MADE} == {"new", "duplicate"}
    for name in MADE:
        _, facts = read((nasty / name).read_bytes())
        assert facts.format == "HEIC"
    (hit,) = index.query(nasty / "pil_hopper.heif", clipindex.QueryOptions(limit=1))
    assert (Path(hit.path).name, hit.score) == ("pil_hopper.heif", pytest.approx(1.0, abs=1e-6))


def test_a_heic_gives_the_pixels_of_its_picture() -> None:
    image = picture(1, (640, 480))
    pixels, facts = read(heic(image, exif=exif()))
    assert np.abs(pixels - pixels_of(image)).mean() < 2
    assert facts == PictureFacts(
        640, 480, "HEIC", "2024-05-06T07:08:09", "Acme Phone", (52.5, -13.25)
    )


TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@pytest.mark.parametrize("orientation", TURNS)
def test_a_picture_is_turned_once(orientation: int) -> None:
    """The container says how (irot, imir), EXIF says it again."""
    stored = picture(2, (640, 480))
    data = heic(stored, exif=exif(orientation))
    assert b"irot" in data or b"imir" in data
    upright = stored.transpose(TURNS[orientation])
    pixels, facts = read(data)
    assert np.abs(pixels - pixels_of(upright)).mean() < 2
    assert (facts.width, facts.height) == upright.size


def test_exif_alone_turns_nothing() -> None:
    """ISO 23008-12: the container's properties decide, EXIF's orientation is a remark."""
    stored = picture(2, (640, 480))
    data = heic(stored, exif=exif(6)).replace(b"irot", b"free")
    pixels, facts = read(data)
    assert np.abs(pixels - pixels_of(stored)).mean() < 2
    assert (facts.width, facts.height) == stored.size


@pytest.mark.parametrize("mode", ["RGB;16", "I;16"])
def test_ten_bits_are_rescaled_to_eight(mode: str) -> None:
    image = picture(3, (640, 480)).convert("RGB" if mode == "RGB;16" else "L")
    deep = np.asarray(image).astype(np.uint16) * 257
    out = io.BytesIO()
    pillow_heif.encode(mode, image.size, deep.tobytes(), out, quality=90)
    assert np.abs(read(out.getvalue())[0] - pixels_of(image)).mean() < 2


def test_transparent_parts_are_white() -> None:
    image = picture(4, (640, 480)).convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    assert np.abs(read(heic(image))[0] - pixels_of(image)).mean() < 2


def test_the_primary_picture_counts() -> None:
    both = pillow_heif.from_pillow(picture(5, (300, 300)))
    both.add_from_pillow(picture(6, (640, 480)))
    out = io.BytesIO()
    both.save(out, primary_index=1, quality=90)
    pixels, facts = read(out.getvalue())
    assert (facts.width, facts.height) == (640, 480)
    assert np.abs(pixels - pixels_of(picture(6, (640, 480)))).mean() < 2


@pytest.mark.slow
def test_the_same_bytes_give_the_same_pixels_in_every_thread() -> None:
    files = [heic(picture(seed, (640, 480))) for seed in range(4)]
    expected = [read(data)[0] for data in files]
    wrong: list[int] = []

    def work(first: int) -> None:
        for turn in range(12):
            at = (first + turn) % len(files)
            if not np.array_equal(read(files[at])[0], expected[at]):
                wrong.append(at)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


# --- damage ----------------------------------------------------------------------------------


@pytest.mark.parametrize("part", [0.001, 0.01, 0.3, 0.5, 0.99])
def test_a_file_cut_short_is_damaged(part: float) -> None:
    data = heic(picture(7, (640, 480)))
    cut = data[: max(24, int(len(data) * part))]
    assert not fault(cut).skipped
    assert "damaged" in fault(cut).reason


def test_the_last_byte_is_missed() -> None:
    assert "damaged" in fault(heic(picture(7, (640, 480)))[:-1]).reason


@pytest.mark.parametrize(
    ("size", "words"),
    [
        ((20000, 20000), "over the budget"),
        ((65535, 65535), "over the budget"),
        ((2**31 - 1, 2**31 - 1), "over the budget"),
        ((100, 100), "damaged"),  # the coded picture is larger than the container says
        ((0, 0), "damaged"),
    ],
)
def test_a_lie_about_the_size_takes_no_memory(size: tuple[int, int], words: str) -> None:
    data = heic(picture(8, (640, 480)))
    at = data.index(b"ispe") + 8
    assert words in fault(data[:at] + struct.pack(">LL", *size) + data[at + 8 :]).reason


def test_any_byte_may_be_wrong() -> None:
    """A picture or a fault, never another error."""
    data = heic(picture(9, (320, 240)))
    random = np.random.default_rng(0)
    for _ in range(150):
        bad = bytearray(data)
        for at in random.integers(0, min(len(data), 700), 3):
            bad[at] = random.integers(256)
        try:
            decode(bytes(bad), CROP, Preprocessing.EXACT)
        except FileFault:
            continue


# --- which file, which library ---------------------------------------------------------------


@pytest.mark.parametrize("brand", ["heic", "heix", "heim", "heis", "hevc", "hevm", "hevs"])
def test_heic_is_told_by_its_brand(brand: str) -> None:
    assert picture_format(b"\0\0\0\x14ftyp" + brand.encode() + bytes(8)) == "HEIC"


def test_the_compatible_brands_tell_where_the_major_one_does_not() -> None:
    head = b"\0\0\0\x20ftypmif1\0\0\0\0miafMiHB%s\0\0\0\0meta"
    assert picture_format(head % b"heic") == "HEIC"
    assert picture_format(head % b"heix") == "HEIC"
    assert picture_format(head % b"avif") == "AVIF"
    assert picture_format(head % b"jpeg") == "HEIF"
    assert picture_format(b"\0\0\0\x10ftypmif1\0\0\0\0heic") == "HEIF"  # beyond the box's end
    assert picture_format(b"\0\0\0\x18ftypisom\0\0\0\0hvc1hevc") is None  # a film


def test_another_heif_is_skipped_with_its_reason(index: clipindex.Index, tmp_path: Path) -> None:
    path = tmp_path / "pictures" / "odd.heif"
    path.parent.mkdir()
    path.write_bytes(b"\0\0\0\x18ftypmif1\0\0\0\0miafjpeg" + bytes(100))
    run = ingest(index, path.parent)
    assert run.status(path) == "skipped"
    assert "not coded as HEVC" in str(run.files[str(path)].reason)


def test_the_library_is_loaded_when_such_a_file_comes(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(picture_bytes(1))
    code = (
        "import clipindex\n"
        f"index = clipindex.Index({str(tmp_path / 'store')!r}, model={str(TINY)!r})\n"
        f"index.ingest([{str(folder)!r}])\n"
    )
    assert not modules_after(code) & {"pi_heif", "rawpy"}
    (folder / "b.heic").write_bytes(heic(picture(1)))
    loaded = modules_after(code)
    assert "pi_heif" in loaded
    assert "rawpy" not in loaded


def test_other_users_of_pillow_see_no_change() -> None:
    read(heic(picture(1)))
    opener = Image.OPEN.get("HEIF")  # imageio, if loaded, registers pillow_heif's
    assert opener is None or not opener[0].__module__.startswith("pi_heif")


def test_notes_carry_the_decoders_version() -> None:
    assert "pi-heif" in decoders()
