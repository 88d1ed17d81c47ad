"""Seeded photograph-like pictures: files that weigh and decode like a camera's, or the web's.

    python -m benchmarks.pictures SET FOLDER [--count N]

Light varies as 1/f over all sizes, a few shapes give edges, grain gives noise. One JPEG in seven
is progressive, one in four is turned by its EXIF tag.
"""

from __future__ import annotations

import argparse
import zlib
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

Plane = np.ndarray[tuple[int, ...], np.dtype[np.float32]]  # [height, width]

SEED = 1
ASPECTS = ((4, 3), (3, 4), (3, 2), (2, 3), (16, 9), (1, 1))
PROGRESSIVE, TURNED = 0.15, 0.25  # of the JPEGs
ORIENTATION = 0x0112


@dataclass(frozen=True)
class Kind:
    """What a set is made of: sizes in megapixels from, to; formats, taken in turn."""

    megapixels: tuple[float, float]
    formats: tuple[str, ...]
    count: int


KINDS = {
    "camera": Kind((2, 12), ("jpg",), 108),
    "mixed": Kind((2, 12), (*("jpg",) * 9, "png", *("jpg",) * 9, "webp"), 120),
    "web": Kind((0.3, 0.3), ("jpg",), 108),
    "png": Kind((2, 12), ("png",), 36),
    "calibration": Kind((1, 3), ("jpg",), 100),
}


def make(name: str, folder: Path, count: int | None = None) -> list[Path]:
    """The pictures of a set, in name order; those that are there are kept."""
    kind = KINDS[name]
    formats = kind.formats * (count or kind.count)
    paths = [
        folder / f"{name}-{number:05d}.{formats[number]}" for number in range(count or kind.count)
    ]
    folder.mkdir(parents=True, exist_ok=True)
    seed = [SEED, zlib.crc32(name.encode())]
    tasks = [
        (kind, [*seed, number], path) for number, path in enumerate(paths) if not path.exists()
    ]
    if tasks:
        with ProcessPoolExecutor() as pool:
            list(pool.map(_make_one, tasks))
    return paths


def _make_one(task: tuple[Kind, list[int], Path]) -> None:
    kind, seed, path = task
    rng = np.random.default_rng(seed)
    unfinished = path.with_name(f".{path.name}")
    save(rng, photograph(rng, rng.uniform(*kind.megapixels)), unfinished, path.suffix)
    unfinished.rename(path)


def photograph(rng: np.random.Generator, megapixels: float) -> Image.Image:
    """A picture of this size, different for each state of the generator."""
    across, down = ASPECTS[rng.integers(len(ASPECTS))]
    side = (megapixels * 1e6 / (across * down)) ** 0.5
    size = width, height = round(across * side), round(down * side)
    tint = [clouds(rng, (width // 8, height // 8), loudness=45) for _ in range(3)]
    colours = Image.fromarray(_grey_levels(128 + np.stack(tint, axis=-1)))
    picture = colours.resize(size, Image.Resampling.BICUBIC)
    draw_shapes(rng, picture)
    light = clouds(rng, size, loudness=rng.uniform(20, 60))
    grain = rng.standard_normal((height, width), dtype=np.float32) * rng.uniform(1, 6)
    return Image.fromarray(_grey_levels(np.asarray(picture) + (light + grain)[..., None]))


def clouds(rng: np.random.Generator, size: tuple[int, int], loudness: float) -> Plane:
    """[height, width]: noise of ever finer grid, each octave 0.6 times as loud as the last."""
    width, height = size
    total = np.zeros((height, width), np.float32)
    cells = 2
    while cells < max(size):
        grid = (max(2, height * cells // max(size)), max(2, width * cells // max(size)))
        noise = Image.fromarray(rng.standard_normal(grid, dtype=np.float32) * np.float32(loudness))
        total += np.asarray(noise.resize(size, Image.Resampling.BICUBIC))
        cells, loudness = 2 * cells, 0.6 * loudness
    return total


def draw_shapes(rng: np.random.Generator, picture: Image.Image) -> None:
    draw = ImageDraw.Draw(picture)
    for _ in range(rng.integers(4, 16)):
        corners = rng.uniform(0, 1, (rng.integers(3, 7), 2)) * rng.uniform(0.1, 0.7)
        points = (corners + rng.uniform(-0.1, 0.8, 2)) * picture.size
        colour = tuple(int(level) for level in rng.integers(0, 256, 3))
        draw.polygon([(float(x), float(y)) for x, y in points], fill=colour)


def save(rng: np.random.Generator, picture: Image.Image, path: Path, suffix: str) -> None:
    if suffix == ".png":
        picture.save(path, "PNG", compress_level=3)
    elif suffix == ".webp":
        picture.save(path, "WEBP", quality=int(rng.integers(75, 92)), method=2)
    else:
        exif = Image.Exif()
        if rng.random() < TURNED:
            exif[ORIENTATION] = int(rng.choice([3, 6, 8]))
        picture.save(
            path,
            "JPEG",
            quality=int(rng.integers(70, 96)),
            subsampling=str(rng.choice(["4:2:0", "4:2:0", "4:2:2", "4:4:4"])),
            progressive=bool(rng.random() < PROGRESSIVE),
            exif=exif,
        )


def _grey_levels(values: Plane) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return values.clip(0, 255).astype(np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("set", choices=KINDS)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int)
    options = parser.parse_args()
    make(options.set, options.folder, options.count)


if __name__ == "__main__":
    main()
