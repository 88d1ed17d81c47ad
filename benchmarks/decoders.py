"""Full decoding by the libraries that are installed: CPU time a picture, and whether pixels agree.

    python -m benchmarks.decoders FILE... [--rounds N]

Each file goes to every reader of its format, in turn, in one process, so that other load on the
machine meets all alike. The first is what clipindex does.
"""

from __future__ import annotations

import argparse
import io
import time
from collections import defaultdict
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from PIL import Image

from clipindex.pictures.formats import picture_format
from clipindex.pictures.plugins import open_jpeg, plugin

Reader = Callable[[bytes], Any]  # an image, or an array of its pixels


def _png(data: bytes) -> Image.Image:
    image: Image.Image = plugin("PNG")(io.BytesIO(data))
    return image


def _of_imagecodecs(name: str) -> Reader:
    return getattr(import_module("imagecodecs"), name)  # type: ignore[no-any-return]


def _simplejpeg() -> Reader:
    decode = import_module("simplejpeg").decode_jpeg
    return lambda data: decode(data, fastdct=False, fastupsample=False)


def _gdal() -> Reader:
    memory_file = import_module("rasterio.io").MemoryFile

    def read(data: bytes) -> Image.Image:
        with memory_file(data) as file, file.open(driver="PNG") as picture:
            bands = [Image.fromarray(band) for band in picture.read()]
        return bands[0] if len(bands) == 1 else Image.merge("RGBA"[: len(bands)], bands)

    return read


READERS: dict[str, dict[str, Callable[[], Reader]]] = {
    "PNG": {
        "clipindex (Pillow)": lambda: _png,
        "imagecodecs": lambda: _of_imagecodecs("png_decode"),
        "imagecodecs, spng": lambda: _of_imagecodecs("spng_decode"),
        "pyspng": lambda: import_module("pyspng").load,
        "rasterio (GDAL)": _gdal,
    },
    "JPEG": {
        "clipindex (Pillow)": lambda: open_jpeg,
        "imagecodecs": lambda: _of_imagecodecs("jpeg8_decode"),
        "simplejpeg": _simplejpeg,
    },
}


def installed(kind: str) -> dict[str, Reader]:
    """The readers of a format whose libraries are there."""
    readers: dict[str, Reader] = {}
    for name, load in READERS.get(kind, {}).items():
        try:
            readers[name] = load()
        except ImportError:
            continue
    return readers


def measure(data: bytes, readers: dict[str, Reader], rounds: int) -> dict[str, tuple[float, bool]]:
    """For each reader its least CPU time in seconds, and whether its pixels are the first's."""
    seconds = dict.fromkeys(readers, float("inf"))
    pixels: dict[str, bytes] = {}
    for _ in range(rounds):
        for name, read in readers.items():
            start = time.process_time()
            image = read(data)
            if not isinstance(image, Image.Image):
                image = Image.fromarray(image)  # for Pillow's resize
            image.load()
            seconds[name] = min(seconds[name], time.process_time() - start)
            pixels.setdefault(name, image.tobytes())
    first = pixels[next(iter(readers))]
    return {name: (seconds[name], pixels[name] == first) for name in readers}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    results: dict[tuple[str, str], list[tuple[float, bool]]] = defaultdict(list)
    for file in options.files:
        data = file.read_bytes()
        kind = picture_format(data) or ""
        for name, result in measure(data, installed(kind), options.rounds).items():
            results[kind, name].append(result)
    print("| format | reader | files | CPU ms | equal pixels |\n| --- | --- | --- | --- | --- |")
    for (kind, name), measured in results.items():
        mean = 1000 * sum(seconds for seconds, _ in measured) / len(measured)
        equal = sum(equal for _, equal in measured)
        print(f"| {kind} | {name} | {len(measured)} | {mean:.0f} | {equal} |")


if __name__ == "__main__":
    main()
