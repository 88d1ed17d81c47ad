"""Seeded photograph-like pictures: they weigh and decode like a camera's, a phone's, the web's.

    python -m benchmarks.pictures SET FOLDER [--count N]

camera: JPEGs of 2 to 12 megapixels.   web: JPEGs of 0.3.   png: PNGs of 2 to 12.
phone:  HEICs of 12 megapixels in tiles of 512 pixels, with a thumbnail, as phones write them.
home:   of 20 pictures 11 as of the camera set, 5 as of the phone set, 2 screenshots (PNG) and 2
        small JPEGs of the web.

Light varies as 1/f over all sizes, a few shapes give edges, grain gives noise. One JPEG in seven
is progressive, one in four is turned by its EXIF tag. HEICs need pillow-heif.
"""

from __future__ import annotations

import argparse
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

Plane = np.ndarray[tuple[int, ...], np.dtype[np.float32]]  # [height, width]
Draw = Callable[[np.random.Generator, float], Image.Image]

SEED = 1
ASPECTS = ((4, 3), (3, 4), (3, 2), (2, 3), (16, 9), (1, 1))
SCREENS = ((1179, 2556), (1080, 2400), (1920, 1080))
PROGRESSIVE, TURNED = 0.15, 0.25  # of the JPEGs
ORIENTATION = 0x0112
TILE = 512  # pixels, of a HEIC
THUMBNAILS = (320, 320, 416, 512)  # pixels of the long side: older iPhones, newer ones, Samsungs


@dataclass(frozen=True)
class Sort:
    """Pictures of one kind: sizes in megapixels from, to; the suffix; what draws one."""

    megapixels: tuple[float, float]
    suffix: str
    draw: Draw


@dataclass(frozen=True)
class Kind:
    """What a set is made of: its sorts, taken in turn, and how many pictures it has."""

    sorts: tuple[Sort, ...]
    count: int


def make(name: str, folder: Path, count: int | None = None) -> list[Path]:
    """The pictures of a set, in name order; those that are there are kept.

    Raises ImportError for HEICs without pillow-heif.
    """
    kind = KINDS[name]
    sorts = [kind.sorts[n % len(kind.sorts)] for n in range(count or kind.count)]
    paths = [folder / f"{name}-{n:05d}{sort.suffix}" for n, sort in enumerate(sorts)]
    folder.mkdir(parents=True, exist_ok=True)
    seed = [SEED, zlib.crc32(name.encode())]
    tasks = [
        (sort, [*seed, number], path)
        for number, (sort, path) in enumerate(zip(sorts, paths, strict=True))
        if not path.exists()
    ]
    if tasks:
        with ProcessPoolExecutor() as pool:
            list(pool.map(_make_one, tasks))
    return paths


def _make_one(task: tuple[Sort, list[int], Path]) -> None:
    sort, seed, path = task
    rng = np.random.default_rng(seed)
    unfinished = path.with_name(f".{path.name}")
    picture = sort.draw(rng, rng.uniform(*sort.megapixels))
    save(rng, picture, unfinished, path.suffix)
    unfinished.rename(path)


def photograph(
    rng: np.random.Generator, megapixels: float, aspects: Sequence[tuple[int, int]] = ASPECTS
) -> Image.Image:
    """A picture of this size, different for each state of the generator."""
    across, down = aspects[int(rng.integers(len(aspects)))]
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


def screenshot(rng: np.random.Generator, _: float) -> Image.Image:
    """A screen of messages: plain areas, lines of text, a photograph or two among them."""
    size = width, height = SCREENS[rng.integers(len(SCREENS))]
    dark = bool(rng.random() < 0.3)
    ground, ink = ((18, 18, 20), (235, 235, 235)) if dark else ((250, 250, 252), (30, 30, 32))
    picture = Image.new("RGB", size, ground)
    draw = ImageDraw.Draw(picture)
    draw.rectangle((0, 0, width, 120), fill=tuple(int(level) for level in rng.integers(40, 200, 3)))
    top = 160
    while top < height - 100:
        left, right = sorted(int(x) for x in rng.integers(20, width - 20, 2))
        if rng.random() < 0.15:
            picture.paste(photograph(rng, 0.2), (left, top))
            top += 480
        draw.rounded_rectangle((left, top, right + 200, top + 90), 24, outline=ink, width=2)
        words = rng.integers(97, 123, (6, 7), dtype=np.uint8)
        line = " ".join(bytes(word).decode()[: rng.integers(2, 8)] for word in words)
        draw.text((left + 24, top + 28), line, fill=ink, font_size=34)
        top += int(rng.integers(110, 160))
    return picture


def save(rng: np.random.Generator, picture: Image.Image, path: Path, suffix: str) -> None:
    if suffix == ".png":
        picture.save(path, "PNG", compress_level=3)
    elif suffix == ".heic":
        save_heic(rng, picture, path)
    else:
        picture.save(
            path,
            "JPEG",
            exif=perhaps_turned(rng),
            quality=int(rng.integers(70, 96)),
            subsampling=str(rng.choice(["4:2:0", "4:2:0", "4:2:2", "4:4:4"])),
            progressive=bool(rng.random() < PROGRESSIVE),
        )


def save_heic(rng: np.random.Generator, picture: Image.Image, path: Path) -> None:
    """In tiles, with one thumbnail; the container turns it, not the EXIF tag."""
    import pillow_heif

    pillow_heif.register_heif_opener()
    picture.save(
        path,
        "HEIF",
        exif=perhaps_turned(rng),
        quality=int(rng.integers(56, 66)),
        tile_size=TILE,
        thumbnails=[int(rng.choice(THUMBNAILS))],
        enc_params={"preset": "ultrafast"},  # slower ones gain nothing here
    )


def perhaps_turned(rng: np.random.Generator) -> Image.Exif:
    """An EXIF block that turns one picture in four."""
    exif = Image.Exif()
    if rng.random() < TURNED:
        exif[ORIENTATION] = int(rng.choice([3, 6, 8]))
    return exif


def _grey_levels(values: Plane) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return values.clip(0, 255).astype(np.uint8)


CAMERA = Sort((2, 12), ".jpg", photograph)
PHONE = Sort((12.2, 12.2), ".heic", partial(photograph, aspects=((4, 3), (3, 4))))
SCREEN = Sort((0, 0), ".png", screenshot)
SMALL = Sort((0.1, 0.5), ".jpg", photograph)
KINDS = {
    "camera": Kind((CAMERA,), 108),
    "web": Kind((Sort((0.3, 0.3), ".jpg", photograph),), 108),
    "png": Kind((Sort((2, 12), ".png", photograph),), 36),
    "phone": Kind((PHONE,), 36),
    "home": Kind(
        (
            *(CAMERA, PHONE, CAMERA, SMALL, CAMERA, CAMERA, PHONE, CAMERA, SCREEN, CAMERA),
            *(CAMERA, PHONE, CAMERA, SMALL, CAMERA, PHONE, CAMERA, SCREEN, PHONE, CAMERA),
        ),
        100,
    ),
    "calibration": Kind((Sort((1, 3), ".jpg", photograph),), 100),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("set", choices=KINDS)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int)
    options = parser.parse_args()
    make(options.set, options.folder, options.count)


if __name__ == "__main__":
    main()
