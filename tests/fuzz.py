"""Damaged pictures of every format, each told by a seed and its number.

By hand, more of them than the tests take, with the time of each file and the peak of memory:

    python tests/fuzz.py --count 5000 --seed 2
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from itertools import chain, pairwise
from pathlib import Path

import numpy as np
from PIL import Image

from clipindex.errors import FileFault
from clipindex.pictures.content import read_content
from clipindex.pictures.decode import decode
from clipindex.pictures.preprocessing import Geometry, Preprocessing
from conftest import TINY, picture, picture_bytes
from test_raw import raw_file
from test_tiff import DEFLATE, LZW, PACKBITS, PLAIN, coded, page, tiff

SLOW = 10.0  # seconds for one file
Damage = Callable[[random.Random, bytes], bytes]


# --- sound files -----------------------------------------------------------------------------


@cache
def sound() -> dict[str, bytes]:
    """One small file of each kind, by a name that ends in its extension."""
    return dict([*_jpegs(), *_others(), *_tiffs(), *_containers(), *_raws(), *_jxls()])


def _jpegs() -> Iterator[tuple[str, bytes]]:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif.get_ifd(0x8825).update({1: "N", 2: (52.0, 30.0, 0.0), 3: "W", 4: (13.0, 15.0, 0.0)})
    yield "baseline.jpg", picture_bytes(1, exif=exif)
    yield "progressive.jpg", picture_bytes(2, progressive=True)
    yield "restarts.jpg", picture_bytes(3, restart_marker_rows=1, optimize=True)
    large = picture(4, (1200, 900))
    yield "large.jpg", _coded(large, "JPEG")
    yield "large-progressive.jpg", _coded(large, "JPEG", progressive=True)
    yield "cmyk.jpg", _coded(picture(5).convert("CMYK"), "JPEG")
    yield "pair.mpo", _coded(picture(6), "MPO", save_all=True, append_images=[picture(7)])


def _others() -> Iterator[tuple[str, bytes]]:
    clear = picture(8)
    clear.putalpha(picture(9).convert("L"))
    several = {"save_all": True, "append_images": [picture(10), picture(11)]}
    yield "rgb.png", picture_bytes(12, "PNG")
    yield "alpha.png", _coded(clear, "PNG")
    yield "palette.png", _coded(_coloured(13, 60), "PNG", transparency=3)
    yield "deep.png", _coded(Image.fromarray(_grey16(14)), "PNG")
    yield "animated.png", picture_bytes(15, "PNG", **several)
    yield "lossy.webp", picture_bytes(16, "WEBP")
    yield "lossless.webp", picture_bytes(17, "WEBP", lossless=True)
    yield "alpha.webp", _coded(clear, "WEBP")
    yield "animated.webp", picture_bytes(18, "WEBP", **several)
    yield "still.gif", _coded(_coloured(19, 256), "GIF")
    frames = {"save_all": True, "append_images": [_coloured(10, 256), _coloured(11, 256)]}
    yield "animated.gif", _coded(_coloured(20, 256), "GIF", **frames)
    yield "rgb.bmp", picture_bytes(21, "BMP")
    yield "palette.bmp", _coded(_coloured(22, 200), "BMP")
    yield "bits.bmp", _coded(picture(23).convert("1"), "BMP")
    yield "runs.bmp", _run_length(_coloured(24, 200))


def _tiffs() -> Iterator[tuple[str, bytes]]:
    values = np.asarray(picture(25))
    kinds = {"plain": PLAIN, "lzw": LZW, "deflate": DEFLATE, "packbits": PACKBITS}
    for name, compression in kinds.items():
        predictor = 2 if compression in (LZW, DEFLATE) else 1
        made = page(values, 2, compression=compression, predictor=predictor)
        yield f"{name}.tif", tiff(made)
    deep = page(_grey16(26)[:, :, None], 1, order=">", tile=(64, 64), compression=DEFLATE)
    yield "tiles.tif", tiff(deep, order=">")
    yield "planes.tif", tiff(page(values, 2, planes=True), big=True)
    yield "fax.tif", coded(picture(27).convert("1"), "group4")
    yield "jpeg.tif", coded(picture(28), "jpeg")
    yield "pages.tif", coded(picture(29), "tiff_lzw", save_all=True, append_images=[picture(30)])


def _containers() -> Iterator[tuple[str, bytes]]:
    clear = picture(31)
    clear.putalpha(picture(32).convert("L"))
    yield "plain.avif", picture_bytes(33, "AVIF", speed=10)
    yield "alpha.avif", _coded(clear, "AVIF", speed=10)
    yield (
        "animated.avif",
        picture_bytes(34, "AVIF", speed=10, save_all=True, append_images=[picture(35)]),
    )
    try:
        import pillow_heif  # clipindex itself only decodes
    except ImportError:
        return
    for name, image, options in (
        ("plain.heic", picture(36), {}),
        ("tiles.heic", picture(37), {"tile_size": 128}),
        ("alpha.heic", clear, {}),
    ):
        out = io.BytesIO()
        pillow_heif.encode(image.mode, image.size, image.tobytes(), out, quality=80, **options)
        yield name, out.getvalue()


def _jxls() -> Iterator[tuple[str, bytes]]:
    try:
        import imagecodecs
    except ImportError:
        return
    image = np.asarray(picture(38))
    yield "lossy.jxl", imagecodecs.jpegxl_encode(image, distance=1.0)
    yield "lossless.jxl", imagecodecs.jpegxl_encode(image, lossless=True, usecontainer=True)
    yield "fast.jxl", imagecodecs.jpegxl_encode(image, lossless=True, effort=1)
    yield "from-jpeg.jxl", imagecodecs.jpegxl_encode_jpeg(picture_bytes(39))


def _raws() -> Iterator[tuple[str, bytes]]:
    preview = _coded(picture(38, (640, 480)), "JPEG")
    yield "preview.dng", raw_file(preview)
    yield "preview.nef", raw_file(preview, maker="NIKON CORPORATION", dng=False, order=">")


def _coded(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def _coloured(seed: int, colours: int) -> Image.Image:
    """A picture with a palette; an octree's, which takes a tenth of the default's time."""
    return picture(seed).quantize(colours, Image.Quantize.FASTOCTREE)


def _grey16(seed: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint16]]:
    return np.asarray(picture(seed).convert("L")).astype(np.uint16) * 257


def _run_length(image: Image.Image) -> bytes:
    """A bitmap of 256 colours, its rows as pairs of a count and a colour."""
    plain = _coded(image, "BMP")
    start = int.from_bytes(plain[10:14], "little")
    rows = np.asarray(image)[::-1]
    coded = b"".join(b"".join(bytes((1, value)) for value in row) + b"\0\0" for row in rows)
    head = bytearray(plain[:start])
    struct.pack_into("<LL", head, 30, 1, len(coded) + 2)
    return bytes(head) + coded + b"\0\1"


# --- damage ----------------------------------------------------------------------------------


def _flip(rng: random.Random, data: bytes) -> bytes:
    out = bytearray(data)
    for _ in range(rng.choice((1, 4, 32, 256))):
        out[rng.randrange(len(out))] ^= 1 << rng.randrange(8)
    return bytes(out)


def _cut(rng: random.Random, data: bytes) -> bytes:
    return data[: rng.randrange(len(data))]


def _without_a_range(rng: random.Random, data: bytes) -> bytes:
    start, end = _range(rng, data)
    return data[:start] + data[end:]


def _zeros(rng: random.Random, data: bytes) -> bytes:
    start, end = _range(rng, data)
    return data[:start] + bytes(end - start) + data[end:]


def _noise(rng: random.Random, data: bytes) -> bytes:
    start, end = _range(rng, data)
    return data[:start] + rng.randbytes(end - start) + data[end:]


def _range(rng: random.Random, data: bytes) -> tuple[int, int]:
    start = rng.randrange(len(data))
    return start, min(len(data), start + rng.choice((1, 16, 512, 4096, len(data) // 2)))


def _extremes(rng: random.Random, data: bytes) -> bytes:
    """Numbers of the header, where sizes, counts and offsets are, set to what nobody expects."""
    out = bytearray(data)
    # The directory of a TIFF may be at the end.
    heads = [0, 0, 0, len(out) - 512] if data[:2] in (b"II", b"MM") else [0]
    for _ in range(rng.choice((1, 1, 2, 4))):
        size = rng.choice((1, 2, 4))
        start = max(0, rng.choice(heads))
        at = start + rng.randrange(max(1, min(512, len(out) - start - size)))
        most = (1 << 8 * size) - 1
        value = rng.choice(
            (0, 1, 2, most, most - 1, most >> 1, (most >> 1) + 1, rng.randint(0, most))
        )
        out[at : at + size] = value.to_bytes(size, rng.choice(("big", "little")))
    return bytes(out)


def _splice(rng: random.Random, data: bytes) -> bytes:
    """The beginning of one file, the end of another, often of the same kind."""
    names = sorted(sound())
    others = [sound()[name] for name in names]
    alike = [each for each in others if each[:4] == data[:4]]
    other = rng.choice(alike if alike and rng.random() < 0.7 else others)
    return data[: rng.randrange(len(data))] + other[rng.randrange(len(other)) :]


def _parts_doubled(rng: random.Random, data: bytes) -> bytes:
    parts = parts_of(data)
    at = rng.randrange(len(parts))
    return b"".join(parts[: at + 1] + parts[at:] * rng.choice((1, 1, 2)))


def _parts_swapped(rng: random.Random, data: bytes) -> bytes:
    parts = parts_of(data)
    one, other = rng.randrange(len(parts)), rng.randrange(len(parts))
    parts[one], parts[other] = parts[other], parts[one]
    return b"".join(parts)


def _part_left_out(rng: random.Random, data: bytes) -> bytes:
    parts = parts_of(data)
    del parts[rng.randrange(len(parts))]
    return b"".join(parts)


def _with_checksums(damage: Damage) -> Damage:
    """The same damage with a PNG's checksums made right: decoders look no further otherwise."""

    def damaged(rng: random.Random, data: bytes) -> bytes:
        out = bytearray(damage(rng, data))
        at = 8
        while data.startswith(b"\x89PNG") and at + 12 <= len(out):
            end = at + 8 + int.from_bytes(out[at : at + 4], "big")
            if end + 4 > len(out):
                break
            out[end : end + 4] = zlib.crc32(out[at + 4 : end]).to_bytes(4, "big")
            at = end + 4
        return bytes(out)

    return damaged


DAMAGE: dict[str, Damage] = {
    "flip": _flip,
    "cut": _cut,
    "shorter": _without_a_range,
    "zeros": _zeros,
    "noise": _noise,
    "extremes": _extremes,
    "sound-extremes": _with_checksums(_extremes),
    "sound-flip": _with_checksums(_flip),
    "splice": _splice,
    "doubled": _parts_doubled,
    "swapped": _parts_swapped,
    "left-out": _part_left_out,
}


def parts_of(data: bytes) -> list[bytes]:
    """Chunks, segments, boxes, or pieces of the same length where a format has none of these."""
    if data.startswith(b"\x89PNG"):
        cuts = [8, *_cuts(data, 8, ">", tail=12)]
    elif data[:4] == b"RIFF":
        cuts = [12, *_cuts(data, 12, "<", tail=8, even=True)]
    elif data[4:8] == b"ftyp":
        cuts = [*_cuts(data, 0, ">", tail=0)]
        meta = data.find(b"meta", 4)
        if meta >= 0:
            end = min(len(data), meta - 4 + _long(data, meta - 4))
            cuts += _cuts(data, meta + 8, ">", tail=0, end=end)
    elif data.startswith(b"\xff\xd8"):
        cuts = [at for at in range(2, len(data) - 1) if data[at] == 0xFF and data[at + 1]]
    else:
        step = max(1, len(data) // 40)
        cuts = [*range(step, len(data), step)]
    edges = [0, *sorted(set(cuts)), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


def _cuts(
    data: bytes, at: int, order: str, *, tail: int, even: bool = False, end: int | None = None
) -> Iterator[int]:
    """Where parts end that begin with a length (in RIFF files: have it behind their name)."""
    end = len(data) if end is None else end
    while at + 8 <= end:
        size = _long(data, at + (4 if even else 0), order) + tail
        at += max(8, size + (size & 1 if even else 0))
        if at < end:
            yield at


def _long(data: bytes, at: int, order: str = ">") -> int:
    return int(struct.unpack_from(order + "L", data, at)[0])


def damaged(seed: int, number: int) -> tuple[str, bytes]:
    """A file's name, which says what was done to what, and its bytes."""
    rng = random.Random(f"{seed}/{number}")
    name = rng.choice(sorted(sound()))
    data, done = sound()[name], []
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        done.append(rng.choice(sorted(DAMAGE)))
        data = DAMAGE[done[-1]](rng, data) or b"\0"
    return f"{number:05d}-{'-'.join(done)}-{name}", data


def fill(folder: Path, seed: int, count: int) -> list[Path]:
    """All sound files, and so many damaged ones."""
    folder.mkdir()
    for name, data in chain(sound().items(), (damaged(seed, number) for number in range(count))):
        (folder / name).write_bytes(data)
    return sorted(folder.iterdir())


# --- by hand ---------------------------------------------------------------------------------


def main() -> None:
    """Ingest many of them in one process, then time each file by itself."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        paths = fill(Path(place, "pictures"), options.seed, options.count)
        _ingest(Path(place), len(paths))
        _time_each(paths)


def _ingest(place: Path, count: int) -> None:
    run = [sys.executable, "-m", "clipindex", "ingest", place / "pictures", "--json"]
    store = ["--store", place / "store", "--model", TINY]
    out, err = place / "out", place / "err"
    start = time.monotonic()
    with out.open("wb") as lines, err.open("wb") as errors:
        process = subprocess.Popen([*run, *store], stdout=lines, stderr=errors)
        _, status, usage = os.wait4(process.pid, 0)
    events = [json.loads(line) for line in out.read_text("utf-8").splitlines()]
    files = [event for event in events if event["type"] == "file"]
    print(
        f"exit code {os.waitstatus_to_exitcode(status)}, {time.monotonic() - start:.0f} s, "
        f"peak {usage.ru_maxrss / 1e6:.2f} GB, traceback: {'Traceback' in err.read_text()}"
    )
    print(f"{count - len(files)} of {count} files unaccounted", Counter(f["status"] for f in files))
    for event in files:
        if event["status"] not in ("new", "duplicate") and not event["reason"]:
            print("no reason:", event["path"])


def _time_each(paths: list[Path]) -> None:
    times: list[tuple[float, str]] = []
    for path in paths:
        start = time.monotonic()
        with suppress(FileFault):
            decode(read_content(os.fsencode(path)).data, Geometry(224, "crop"), Preprocessing.EXACT)
        times.append((time.monotonic() - start, path.name))
    print(f"{sum(seconds > SLOW for seconds, _ in times)} files took longer than {SLOW:.0f} s")
    for seconds, name in sorted(times, reverse=True)[:5]:
        print(f"{seconds:.2f} s {name}")


if __name__ == "__main__":
    main()
