"""No file takes more memory or time than a header allows, and importing changes nothing global."""

from __future__ import annotations

import struct
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clipindex.errors import FileFault
from clipindex.pictures import budget, jpeg
from clipindex.pictures.decode import decode
from clipindex.pictures.formats import picture_format
from clipindex.pictures.preprocessing import Geometry, Preprocessing
from conftest import TINY, make_pictures, picture
from test_holes import encoded

CROP = Geometry(224, "crop")


def fault(data: bytes) -> str:
    began = time.process_time()  # which other processes do not lengthen
    with pytest.raises(FileFault) as caught:
        decode(data, CROP, Preprocessing.DCT_SCALED)
    assert time.process_time() - began < 5
    return caught.value.reason


def progressive(side: int, scans: int, marker: int = 0xC2) -> bytes:
    """A grey JPEG of a few bytes a scan, that all go over the whole picture."""
    frame = struct.pack(">BHHB3B", 8, side, side, 1, 1, 0x11, 0)
    tables = b"".join(
        b"\xff\xc4\0\x14" + bytes([kind << 4, 1]) + bytes(15) + bytes([symbol])
        for kind, symbol in ((0, 0), (1, 0xE0))
    )
    head = b"\xff\xd8\xff\xdb\0\x43\0" + bytes([1]) * 64 + bytes([0xFF, marker])
    head += struct.pack(">H", len(frame) + 2) + frame + tables
    scan = b"\xff\xda\0\x08\x01\x01\0"
    first = scan + bytes([0, 0, 1]) + bytes(8) + scan + bytes([1, 63, 1]) + bytes(8)
    return head + first + (scan + bytes([1, 63, 0x10]) + bytes(8)) * scans + b"\xff\xd9"


@pytest.mark.parametrize("marker", [0xC2, 0xCA], ids=["Huffman", "arithmetic"])
@pytest.mark.parametrize(("side", "scans"), [(13_370, 490), (6_685, 490), (13_370, 30)])
def test_scans_times_pixels_are_bounded(side: int, scans: int, marker: int) -> None:
    assert "would decode for minutes" in fault(progressive(side, scans, marker))


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:0"])
def test_a_progressive_picture_of_a_hundred_megapixels_is_within_the_time(subsampling: str) -> None:
    data = encoded(picture(1), "JPEG", progressive=True, subsampling=subsampling)
    at = data.index(b"\xff\xc2") + 5
    large = data[:at] + struct.pack(">HH", 10_000, 10_000) + data[at + 4 :]
    budget.refuse_time(jpeg.parse(large))


WEBP_178 = (
    b"RIFF\x22\0\0\0WEBPVP8L\x16\0\0\0/" + struct.pack("<I", 13_369 | 13_369 << 14) + bytes(17)
)


def test_a_small_webp_that_would_take_gigabytes_is_refused_by_its_header() -> None:
    assert "13370x13370 pixels of this kind take 2.3 GB" in fault(WEBP_178)


HELD = """
import sys
from pathlib import Path
from clipindex.pictures import budget
from clipindex.pictures.decode import decode
from clipindex.pictures.formats import picture_format
from clipindex.pictures.preprocessing import Geometry, Preprocessing

def held():
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) << 10

small, large = (Path(name).read_bytes() for name in sys.argv[1:])
decode(small, Geometry(224, "crop"), Preprocessing.EXACT)
before = held()
decode(large, Geometry(224, "crop"), Preprocessing.EXACT)
print(held() - before)
"""
MODES = {
    "RGB": ["JPEG", "PNG", "WEBP", "AVIF", "BMP", "TIFF"],
    "RGBA": ["PNG", "WEBP", "AVIF"],
    "P": ["PNG", "GIF", "BMP"],
    "L": ["PNG", "JPEG"],
    "LA": ["PNG"],
    "CMYK": ["JPEG", "TIFF"],
    "F": ["TIFF"],
}


@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's /proc")
@pytest.mark.parametrize(("mode", "kind"), [(m, k) for m, kinds in MODES.items() for k in kinds])
def test_no_picture_holds_more_than_its_header_says(mode: str, kind: str, tmp_path: Path) -> None:
    size = (3000, 3000)
    options: dict[str, object] = {"speed": 10} if kind == "AVIF" else {}
    options = {"method": 0} if kind == "WEBP" else options
    for name, sides in (("small", (300, 300)), ("large", size)):
        image = Image.linear_gradient("L").resize(sides).convert(mode)
        if mode in ("RGBA", "LA"):
            image.putalpha(Image.linear_gradient("L").resize(sides))
        (tmp_path / name).write_bytes(encoded(image, kind, **options))
    command = [sys.executable, "-c", HELD, tmp_path / "small", tmp_path / "large"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    allowed = budget.bytes_held(kind, mode, size) + 3 * (tmp_path / "large").stat().st_size
    assert int(done.stdout) <= allowed * 1.3 + (8 << 20)


@pytest.mark.parametrize("head", [b"GIF89a", b"\xff\xd8\xff", b"\xff\xd8\xff\xe0\0\x10JFIF\0"])
def test_a_file_of_zeros_costs_no_time(head: bytes) -> None:
    """Preallocated and never filled: Pillow reads it byte by byte, in Python."""
    assert "damaged" in fault(head + bytes(64_000_000))


def test_a_gif_of_empty_blocks_and_a_png_of_empty_chunks_cost_no_time() -> None:
    gif = encoded(picture(1).quantize(8), "GIF")
    at = 13 + (3 << ((gif[10] & 7) + 1))
    assert fault(gif[:at] + b"!\xfe" + b"\x01\0" * 4_000_000)
    png = encoded(picture(1), "PNG")
    assert "chunks" in fault(png[:33] + b"\0\0\0\0teXt\0\0\0\0" * 250_000 + png[33:])


def test_a_run_length_coded_bitmap_is_bounded() -> None:
    """Pillow takes it apart in Python, and a jump may ask for any amount of memory."""
    header = struct.pack("<IiiHHIIiiII", 40, 170_000_000, 1, 1, 8, 1, 0, 0, 0, 256, 0)
    head = b"BM" + struct.pack("<IHHI", 0, 0, 0, 54 + 1024) + header + bytes(1024)
    assert "would decode for minutes" in fault(head + b"\0\2\xff\xff" * 10 + b"\0\1")


# --- the process that imports this package ---------------------------------------------------

SETTINGS = """
import warnings
import numpy  # adds filters of its own
from PIL import Image, ImageFile, PngImagePlugin

def settings():
    return (Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY,
            ImageFile.LOAD_TRUNCATED_IMAGES, list(warnings.filters), warnings.showwarning)

before = settings()
import clipindex
index = clipindex.Index({store!r}, model={model!r})
index.ingest([{pictures!r}])
assert index.query({one!r})
assert settings() == before, (settings(), before)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    Image.open({bomb!r})
assert "DecompressionBombWarning" in {{each.category.__name__ for each in caught}}
"""


def test_an_ingest_leaves_the_settings_of_the_process_alone(tmp_path: Path) -> None:
    """A program's own Image.open of a bomb still warns."""
    one = make_pictures(tmp_path / "pictures", 2)[0]
    for kind in ("PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"):
        path = tmp_path / "pictures" / f"picture.{kind.lower()}"
        path.write_bytes(encoded(picture(5), kind))
    bomb = tmp_path / "bomb.png"
    bomb.write_bytes(encoded(Image.new("1", (10_000, 10_000)), "PNG"))
    code = SETTINGS.format(
        store=str(tmp_path / "store"),
        model=str(TINY),
        pictures=str(tmp_path / "pictures"),
        one=str(one),
        bomb=str(bomb),
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_picture_that_warns_an_importer_is_decoded_all_the_same() -> None:
    """A hundred megapixels: Pillow would warn of it, the budget has room for it."""
    data = encoded(Image.new("L", (10_000, 10_000), 77), "PNG")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made, _ = decode(data, CROP, Preprocessing.EXACT)
    assert np.all(made == 77)


def test_a_big_tiff_whose_directory_lies_beyond_any_file_is_no_surprise() -> None:
    """Asked for by content, before anything is decoded: no error may get out of it."""
    for order in ("<", ">"):
        head = (b"II" if order == "<" else b"MM") + struct.pack(order + "HHHQ", 43, 8, 0, 2**64 - 1)
        assert picture_format(head + bytes(100)) == "TIFF"
