"""Camera raw files: their preview with the extra `raw`, a word without; never the thumbnail.

The files are made here: TIFFs with sensor pixels, a thumbnail and a JPEG preview, as cameras
and DNG converters lay them out, read by the real LibRaw.
"""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import clipindex
from clipindex.errors import FileFault
from clipindex.files.access import LOCAL_FILE_SYSTEM
from clipindex.files.file_system import FileRecord
from clipindex.pictures.content import read_content
from clipindex.pictures.decode import Pixels, decode, decoders
from clipindex.pictures.exif import PictureFacts
from clipindex.pictures.formats import HEAD, RAW_FORMATS, picture_format
from clipindex.pictures.preprocessing import Geometry, Preprocessing
from conftest import TINY, ingest, picture, reconciles

CROP = Geometry(224, "crop")
RED = (255, 0, 0)  # the thumbnails' colour: whoever sees it has taken the wrong picture

Value = tuple[int, bytes | list[int] | list[tuple[int, int]]]
Directory = dict[int, Value]
CODES = {1: "B", 3: "H", 4: "L"}
SENSOR = (1640, 1240)
MODELS = {"NIKON CORPORATION": "NIKON D90"}  # LibRaw must know a camera whose file is no DNG


@pytest.fixture
def rawpy() -> object:
    return pytest.importorskip("rawpy")


def tiff(*directories: Directory, order: str = "<", magic: bytes = b"*\0", first: int = 8) -> bytes:
    """A TIFF: the first directory, the others as its SubIFDs. bytes of type 4: placed data."""
    mark = b"II" + magic if order == "<" else b"MM" + magic[::-1]
    head = bytearray((mark + struct.pack(order + "L", first)).ljust(first, b"\0"))
    main = dict(directories[0])
    sizes = [2 + 12 * len(each) + 4 for each in directories]
    if len(directories) > 1:
        sizes[0] += 12
        starts = [first + sum(sizes[: number + 1]) for number in range(len(directories) - 1)]
        main[330] = (4, starts)
    rest, at = bytearray(), first + sum(sizes)

    def put(data: bytes) -> int:
        rest.extend(data + bytes(len(data) % 2))
        return at + len(rest) - len(data) - len(data) % 2

    for each in (main, *directories[1:]):
        head += struct.pack(order + "H", len(each))
        for tag, (kind, value) in sorted(each.items()):
            count = len(value)
            if kind == 4 and isinstance(value, bytes):
                count, data = 1, struct.pack(order + "L", put(value))
            elif isinstance(value, bytes):
                data = value
            elif kind == 5:
                data = b"".join(struct.pack(order + "LL", *pair) for pair in value)  # type: ignore[attr-defined]
            else:
                data = struct.pack(order + CODES[kind] * count, *value)
            if len(data) > 4:
                data = struct.pack(order + "L", put(data))
            head += struct.pack(order + "HHL", tag, kind, count) + data.ljust(4, b"\0")
        head += bytes(4)
    return bytes(head + rest)


def coded(image: Image.Image, kind: str = "JPEG", **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def raw_file(
    preview: bytes | None = None,
    size: tuple[int, int] = (640, 480),
    *,
    maker: str = "Acme",
    dng: bool = True,
    orientation: int = 1,
    thumbnail: tuple[int, int] = (160, 120),
    order: str = "<",
    **options: object,
) -> bytes:
    """A raw file: a red thumbnail first, sensor pixels, a JPEG preview if there is one."""
    width, height = thumbnail
    main: Directory = {
        254: (4, [1]),
        **_strip(thumbnail, bytes(RED) * (width * height), bits=[8, 8, 8], photometric=2),
        271: (2, maker.encode() + b"\0"),
        272: (2, MODELS.get(maker, f"{maker} One").encode() + b"\0"),
        274: (3, [orientation]),
        306: (2, b"2024:05:06 07:08:09\0"),
    }
    if dng:
        main |= {50706: (1, [1, 4, 0, 0]), 50708: (2, b"Acme One\0")}
    sensor = np.random.default_rng(2).integers(0, 4000, SENSOR[::-1]).astype(order + "u2")
    below: list[Directory] = [
        {
            254: (4, [0]),
            **_strip(SENSOR, sensor.tobytes(), bits=[16], photometric=32803),
            33421: (3, [2, 2]),
            33422: (1, [0, 1, 1, 2]),
        }
    ]
    if preview is not None:
        place = _strip(size, preview, bits=[8, 8, 8], photometric=6)
        below.append({254: (4, [1]), **place, 259: (3, [7])})
    return tiff(main, *below, order=order, **options)  # type: ignore[arg-type]


def _strip(size: tuple[int, int], data: bytes, *, bits: list[int], photometric: int) -> Directory:
    return {
        256: (4, [size[0]]),
        257: (4, [size[1]]),
        258: (3, bits),  # type: ignore[dict-item]
        259: (3, [1]),
        262: (3, [photometric]),
        273: (4, data),
        277: (3, [len(bits)]),
        278: (4, [size[1]]),
        279: (4, [len(data)]),
        284: (3, [1]),
    }


def read(data: bytes) -> tuple[Pixels, PictureFacts]:
    return decode(data, CROP, Preprocessing.DCT_SCALED)


def fault(data: bytes) -> FileFault:
    with pytest.raises(FileFault) as caught:
        read(data)
    return caught.value


def close(one: Pixels, other: Pixels) -> bool:
    return float(np.abs(one.astype(int) - other.astype(int)).mean()) < 2


SEEN = picture(1, (1600, 1200))

# --- which file ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"FUJIFILMCCD-RAW 0201", "RAF"),
        (b"IIRO\x08\0\0\0", "ORF"),
        (b"IIRS\x08\0\0\0", "ORF"),
        (b"MMOR\0\0\0\x08", "ORF"),
        (b"IIU\0\x18\0\0\0", "RW2"),
        (b"II*\0\x10\0\0\0CR\x02\0", "CR2"),
        (b"\0\0\0\x18ftypcrx \0\0\0\x01crx isom", "CR3"),
    ],
)
def test_raw_files_are_told_by_their_signature(head: bytes, kind: str) -> None:
    assert picture_format(head) == kind
    assert kind in RAW_FORMATS


@pytest.mark.parametrize("order", "<>")
def test_raw_files_built_as_tiffs_are_told_by_their_tags(order: str) -> None:
    assert picture_format(raw_file(order=order)[:HEAD]) == "DNG"
    makers = {"NIKON CORPORATION": "NEF", "SONY": "ARW", "PENTAX": "PEF", "Acme": "RAW"}
    for maker, kind in makers.items():
        assert picture_format(raw_file(maker=maker, dng=False, order=order)[:HEAD]) == kind
    assert picture_format(coded(SEEN, "TIFF")) == "TIFF"


def test_no_bytes_upset_the_look() -> None:
    data = raw_file(dng=False, thumbnail=(8, 6))
    random = np.random.default_rng(0)
    for _ in range(2000):
        bad = bytearray(data[: random.integers(9, 700)])
        for at in random.integers(0, len(bad), 4):
            bad[at] = random.integers(256)
        assert isinstance(picture_format(b"II*\0" + bytes(bad[4:])), str)


# --- with the extra --------------------------------------------------------------------------


@pytest.mark.usefixtures("rawpy")
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(
    ("maker", "dng", "kind"), [("Acme", True, "DNG"), ("NIKON CORPORATION", False, "NEF")]
)
def test_the_preview_stands_for_the_picture(maker: str, dng: bool, kind: str, order: str) -> None:
    jpeg = coded(SEEN, quality=92)
    pixels, facts = read(raw_file(jpeg, SEEN.size, maker=maker, dng=dng, order=order))
    assert np.array_equal(pixels, read(jpeg)[0])
    assert facts.format == kind
    assert facts.taken == "2024-05-06T07:08:09"
    assert facts.camera == " ".join((maker, "One" if dng else "NIKON D90"))


@pytest.mark.usefixtures("rawpy")
@pytest.mark.parametrize(
    ("orientation", "turn"),
    [
        (3, Image.Transpose.ROTATE_180),
        (6, Image.Transpose.ROTATE_270),
        (8, Image.Transpose.ROTATE_90),
    ],
)
def test_the_preview_is_turned_as_the_raw_file_says(
    orientation: int, turn: Image.Transpose
) -> None:
    pixels, facts = read(raw_file(coded(SEEN, quality=92), SEEN.size, orientation=orientation))
    assert close(pixels, read(coded(SEEN.transpose(turn), quality=92))[0])
    upright = SENSOR if orientation == 3 else SENSOR[::-1]
    assert (facts.width, facts.height) == upright  # the sensor's, not the preview's


def with_exif_first(exif: Image.Exif) -> bytes:
    """A JPEG as cameras write it: EXIF before anything else."""
    block = b"Exif\0\0" + exif.tobytes().removeprefix(b"Exif\0\0")
    length = struct.pack(">H", len(block) + 2)
    return b"\xff\xd8\xff\xe1" + length + block + coded(SEEN, quality=92)[2:]


@pytest.mark.usefixtures("rawpy")
def test_an_orientation_in_the_preview_goes_before() -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    pixels, _ = read(raw_file(with_exif_first(exif), SEEN.size, orientation=6))
    assert close(pixels, read(coded(SEEN.transpose(Image.Transpose.ROTATE_180)))[0])


@pytest.mark.usefixtures("rawpy")
def test_exif_without_an_orientation_leaves_it_to_the_raw_file() -> None:
    exif = Image.Exif()
    exif[0x010F] = "Acme"
    pixels, _ = read(raw_file(with_exif_first(exif), SEEN.size, orientation=6))
    assert close(pixels, read(coded(SEEN.transpose(Image.Transpose.ROTATE_270)))[0])


@pytest.mark.usefixtures("rawpy")
@pytest.mark.parametrize(
    ("maker", "magic", "kind"),
    [("SONY", b"*\0", "ARW"), ("Panasonic", b"U\0", "RW2"), ("OLYMPUS", b"RO", "ORF")],
)
def test_near_tiffs_are_read_with_their_facts(maker: str, magic: bytes, kind: str) -> None:
    data = raw_file(coded(SEEN), SEEN.size, maker=maker, dng=False, magic=magic)
    assert read(data)[1] == PictureFacts(*SENSOR, kind, "2024-05-06T07:08:09", f"{maker} One")


@pytest.mark.usefixtures("rawpy")
def test_pixels_without_jpeg_are_a_preview_too() -> None:
    pixels, facts = read(raw_file(thumbnail=(400, 300), orientation=6))
    assert (pixels == RED).all()
    assert (facts.width, facts.height) == SENSOR[::-1]


@pytest.mark.usefixtures("rawpy")
@pytest.mark.parametrize("size", [(160, 120), (320, 223), (223, 320)])
def test_a_thumbnail_is_not_taken_for_the_picture(size: tuple[int, int]) -> None:
    for data in (raw_file(thumbnail=size), raw_file(coded(picture(1, size)), size)):
        refused = fault(data)
        assert "its preview is too small" in refused.reason
        assert not refused.skipped


@pytest.mark.usefixtures("rawpy")
@pytest.mark.parametrize("lost", [1, 20, 500, 6000, 0.5, 0.9])
def test_a_raw_file_cut_short_is_refused(lost: float) -> None:
    """LibRaw hands out a preview of the full length, its end whatever lay in memory."""
    jpeg = coded(SEEN, quality=92)
    data = raw_file(jpeg, SEEN.size)
    cut = data[: -int(lost if lost >= 1 else lost * len(jpeg))]
    assert not fault(cut).skipped


@pytest.mark.usefixtures("rawpy")
def test_any_byte_may_be_wrong() -> None:
    """A picture or a fault, never another error."""
    data = raw_file(coded(picture(1, (320, 240))), (320, 240), thumbnail=(8, 6))
    random = np.random.default_rng(0)
    for _ in range(200):
        bad = bytearray(data)
        for at in random.integers(8, 700, 3):
            bad[at] = random.integers(256)
        try:
            decode(bytes(bad), CROP, Preprocessing.EXACT)
        except FileFault:
            continue


@pytest.mark.usefixtures("rawpy")
def test_a_raw_file_of_no_known_camera_is_quarantined() -> None:
    for head in (b"FUJIFILMCCD-RAW 0201", b"IIRO\x08\0\0\0", b"\0\0\0\x18ftypcrx \0\0\0\x01crx "):
        assert not fault(head + bytes(3000)).skipped


@pytest.mark.usefixtures("rawpy")
def test_raw_files_go_through_a_whole_run(index: clipindex.Index, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / "a.NEF").write_bytes(
        raw_file(coded(SEEN), SEEN.size, maker="NIKON CORPORATION", dng=False)
    )
    (folder / "same.tif").write_bytes((folder / "a.NEF").read_bytes())  # content wins
    (folder / "small.dng").write_bytes(raw_file())
    (folder / "text.cr3").write_bytes(b"no picture")
    run = ingest(index, folder)
    assert {run.status(folder / name) for name in ("a.NEF", "same.tif")} == {"new", "duplicate"}
    assert run.status(folder / "small.dng") == "quarantined"
    assert run.status(folder / "text.cr3") == "quarantined"
    assert reconciles(run.summary)
    assert index.query(folder / "a.NEF")[0].score == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("suffix", [".nef", ".DNG", ".arw"])
def test_a_plain_tiff_named_raw_is_not_guessed_at(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"odd{suffix}"
    path.write_bytes(coded(picture(1, (160, 120)), "TIFF"))
    with pytest.raises(FileFault, match="but is not one"):
        read_content(os.fsencode(path))


def test_a_directory_far_into_the_file_is_found() -> None:
    data = raw_file(thumbnail=(8, 6), dng=False, first=HEAD * 2)
    assert picture_format(data[:HEAD]) == "TIFF"
    assert picture_format(data) == "RAW"


def record(path: Path) -> FileRecord:
    record = LOCAL_FILE_SYSTEM.stat(os.fsencode(path))
    assert isinstance(record, FileRecord)
    return record


# --- without it ------------------------------------------------------------------------------

WITHOUT = "import sys\nsys.modules['rawpy'] = None\n"
REASON = "a camera raw file: install clipindex[raw] to read its preview"


@pytest.fixture
def without_rawpy() -> Callable[..., str]:
    """Runs code in a process in which rawpy is not installed."""

    def run(code: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", WITHOUT + code], capture_output=True, text=True, check=True
        )
        return done.stdout

    return run


@pytest.mark.usefixtures("rawpy")
def test_without_the_extra_a_raw_file_is_skipped_until_it_is_there(
    index: clipindex.Index, tmp_path: Path, without_rawpy: Callable[..., str]
) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / "a.dng").write_bytes(raw_file(coded(SEEN), SEEN.size))
    (folder / "far.nef").write_bytes(
        raw_file(coded(picture(2)), (320, 240), maker="NIKON", dng=False, first=HEAD * 2)
    )
    (folder / "b.RAF").write_bytes(b"FUJIFILMCCD-RAW 0201" + bytes(1000))
    code = (
        "import clipindex\n"
        f"index = clipindex.Index({str(tmp_path / 'store')!r}, model={str(TINY)!r})\n"
        f"for event in index.ingest_events([{str(folder)!r}]):\n"
        "    if isinstance(event, clipindex.FileDone): print(event.status.value, event.reason)\n"
    )
    assert without_rawpy(code).splitlines() == [f"skipped {REASON}"] * 3
    again = code + "    if hasattr(event, 'summary'): print(event.summary.skipped)\n"
    assert "new" not in without_rawpy(again)
    run = ingest(index, folder)
    assert run.status(folder / "a.dng") == "new"
    assert run.status(folder / "far.nef") == "new"
    assert run.status(folder / "b.RAF") == "quarantined"  # now looked at, and damaged
    assert ingest(index, folder).summary.unchanged == 2


@pytest.mark.usefixtures("rawpy")
def test_the_decoders_name_the_extras_that_are_there(
    without_rawpy: Callable[..., str],
) -> None:
    told = without_rawpy(
        "from clipindex.pictures.decode import decoders\nprint(decoders())\n"
        "assert 'numpy' in sys.modules"
    )
    assert "rawpy" not in told
    assert "rawpy" in decoders()
    with_rawpy = decoders().split(", ")
    assert told.strip().split(", ") == [name for name in with_rawpy if "rawpy" not in name]
