"""How well `clipindex duplicates` tells the same picture from a like one, and what it costs.

    python -m benchmarks.duplicates captioned-500.tar [--points 100000] [--json FILE]

quality: of each photograph, versions: smaller, larger, re-encoded, cropped, bordered, mirrored.
         A pair of a photograph and its version should be found; a pair of different photographs, or
         of versions of these, should not. The photographs are split in halves by a hash of their
         names: the bounds are chosen on the first, and judged on the second.
scale:   made points in an embedded store, one in a hundred with a near one beside it.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import resource
import tarfile
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from benchmarks import machine, report
from benchmarks.scale import AT_ONCE, FACTS, made_vectors, unit
from clipindex.collection.folder_place import FolderPlace
from clipindex.collection.opening import Settings, choose, open_for_import
from clipindex.files.file_system import FileRecord
from clipindex.files.identity import LOCAL, point_id
from clipindex.model.bundle import find_bundle
from clipindex.model.encoder import Model
from clipindex.pictures import likeness
from clipindex.pictures.decode import decode
from clipindex.pictures.preprocessing import Preprocessing
from clipindex.stores.payload import make_payload
from clipindex.stores.points import Point
from clipindex.stores.verified import write_verified
from clipindex.upkeep.duplicates import findings
from clipindex.upkeep.duplicates.findings import DuplicatesOptions, DuplicatesProgress, Step
from clipindex.upkeep.duplicates.run import duplicates

Random = np.random.Generator
Make = Callable[[Image.Image, Random], bytes]
Table = list[dict[str, Any]]

NEAR = 100  # one made point in so many has a near one beside it
COSINES = (0.70, 0.75, 0.80, 0.85, 0.90)
DIFFERENCES = (0.12, 0.16, 0.18, 0.20, 0.22, 0.24, 0.28)


def encoded(image: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **(options or {"quality": 90}))
    return out.getvalue()


def scaled(image: Image.Image, factor: float) -> Image.Image:
    width, height = (max(1, round(side * factor)) for side in image.size)
    return image.resize((width, height), Image.Resampling.LANCZOS)


def cropped(image: Image.Image, share: float, random: Random) -> Image.Image:
    """What is left of both sides without `share` of them, at a random place."""
    width, height = (round(side * (1 - share)) for side in image.size)
    left = int(random.integers(0, image.width - width + 1))
    top = int(random.integers(0, image.height - height + 1))
    return image.crop((left, top, left + width, top + height))


def without_a_side(image: Image.Image, share: float, random: Random) -> Image.Image:
    box, side = [0, 0, image.width, image.height], int(random.integers(4))
    cut = round(image.size[side % 2] * share)
    box[side] += cut if side < 2 else -cut
    return image.crop((box[0], box[1], box[2], box[3]))


def bordered(image: Image.Image, random: Random) -> Image.Image:
    colour = "white" if random.random() < 0.5 else "black"
    return ImageOps.expand(image, round(0.04 * max(image.size)), colour)


VERSIONS: dict[str, Make] = {  # those that must be found
    "half the size": lambda image, _: encoded(scaled(image, 0.5)),
    "1.5 times the size": lambda image, _: encoded(scaled(image, 1.5)),
    "JPEG quality 30": lambda image, _: encoded(image, quality=30),
    "JPEG quality 75": lambda image, _: encoded(image, quality=75),
    "WebP quality 50": lambda image, _: encoded(image, "WEBP", quality=50),
    "PNG": lambda image, _: encoded(image, "PNG", compress_level=1),
    "2 % cropped": lambda image, random: encoded(cropped(image, 0.02, random)),
    "5 % cropped": lambda image, random: encoded(cropped(image, 0.05, random)),
    "10 % cropped": lambda image, random: encoded(cropped(image, 0.10, random)),
    "10 % off one side": lambda image, random: encoded(without_a_side(image, 0.10, random)),
    "border of 4 %": lambda image, random: encoded(bordered(image, random)),
    "4 % cropped, half the size, quality 60": lambda image, random: encoded(
        scaled(cropped(image, 0.04, random), 0.5), quality=60
    ),
}
MIRRORED = "mirrored"
BEYOND: dict[str, Make] = {  # reported, and no part of the recall
    "grey": lambda image, _: encoded(ImageOps.grayscale(image).convert("RGB")),
    "a quarter of the size (100 pixels)": lambda image, _: encoded(scaled(image, 0.25)),
}
ALL: dict[str, Make] = {
    **VERSIONS,
    MIRRORED: lambda image, _: encoded(ImageOps.mirror(image)),
    **BEYOND,
}


@dataclass(frozen=True)
class Half:
    """Photographs and their versions: vectors and hashes [photographs, 1 + versions, ...]."""

    vectors: np.ndarray[Any, np.dtype[np.float32]]
    hashes: likeness.Hashes

    def cosines(self, version: int) -> np.ndarray[Any, Any]:
        cosines: np.ndarray[Any, Any] = (self.vectors[:, 0] * self.vectors[:, version]).sum(axis=1)
        return cosines

    def differences(self, version: int, *, mirrored: bool) -> likeness.Shares:
        count, each = self.hashes.shape[:2]
        first = np.arange(count) * each
        flat = self.hashes.reshape(count * each, *self.hashes.shape[2:])
        return likeness.differences(flat, np.stack([first, first + version], 1), mirrored=mirrored)

    def like_scenes(self, least: float) -> tuple[np.ndarray[Any, Any], likeness.Shares]:
        """Cosines and differences of all near pairs of different photographs, versions too."""
        count = len(self.hashes)
        versions = 1 + len(VERSIONS)
        flat = self.vectors[:, :versions].reshape(count * versions, -1)
        owner = np.repeat(np.arange(count), versions)
        products = flat @ flat.T
        near = np.argwhere(np.triu(products >= least, 1) & (owner[:, None] != owner[None]))
        hashes = self.hashes[:, :versions].reshape(-1, *self.hashes.shape[2:])
        return products[near[:, 0], near[:, 1]], likeness.differences(hashes, near)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photographs", type=Path, help="a tar file of them")
    parser.add_argument("--points", type=int, default=100_000, help="0: leave `scale` out")
    parser.add_argument("--most", type=int, help="use only so many photographs")
    parser.add_argument("--json", type=Path, help="write all figures there")
    options = parser.parse_args(arguments)
    results: dict[str, Any] = {"machine": machine.described()}
    if options.points:
        results["scale"] = scale(options.points)
        print(report.rows_table(results["scale"]), "\n", flush=True)
    tuning, test = halves(options.photographs, options.most)
    results["tuning"] = [
        judged(tuning, cosine, difference) for cosine in COSINES for difference in DIFFERENCES
    ]
    print(report.rows_table(results["tuning"]), "\n", flush=True)
    chosen = findings.LEAST_COSINE, findings.MOST_DIFFERENT
    results["test"] = [judged(test, *chosen)]
    results["versions"] = by_version(test, *chosen)
    print(report.rows_table(results["test"]), "\n")
    print(report.rows_table(results["versions"]), flush=True)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n", "utf-8")
    return 0


# --- quality -------------------------------------------------------------------------------


def halves(tar: Path, most: int | None = None) -> tuple[Half, Half]:
    """The photographs for tuning, and those for the test."""
    model = Model(find_bundle("mini"))
    made: tuple[list[Any], list[Any]] = ([], [])
    for name, data in photographs(tar, most):
        made[zlib.crc32(name.encode()) % 2].append(measured(name, data, model))
    tuning, test = (
        Half(np.stack([vectors for vectors, _ in half]), np.stack([hashes for _, hashes in half]))
        for half in made
    )
    return tuning, test


def photographs(tar: Path, most: int | None) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(tar) as files:
        members = sorted((m for m in files.getmembers() if m.isfile()), key=lambda m: m.name)
        for member in members[:most]:
            file = files.extractfile(member)
            assert file is not None
            yield member.name, file.read()


def measured(name: str, data: bytes, model: Model) -> tuple[np.ndarray[Any, Any], likeness.Hashes]:
    """Embeddings and hashes of a photograph and its versions."""
    image = Image.open(io.BytesIO(data)).convert("RGB")
    files = [data]
    for number, make in enumerate(ALL.values()):
        files.append(make(image, np.random.default_rng([zlib.crc32(name.encode()), number])))
    spec = model.bundle.manifest.image
    assert spec is not None
    pixels = [decode(file, spec.geometry, Preprocessing.DCT_SCALED)[0] for file in files]
    hashes = likeness.unpacked([likeness.perceptual_hash(file) for file in files])
    return model.encode_images(np.stack(pixels)), hashes


def judged(half: Half, cosine: float, difference: float) -> dict[str, Any]:
    """Precision and recall of pairs."""
    cosines, differences = half.like_scenes(cosine)
    wrong = int((differences <= difference).sum())
    right = sum(row["found"] for row in by_version(half, cosine, difference)[: len(VERSIONS)])
    wanted = len(half.vectors) * len(VERSIONS)
    return {
        "cosine": cosine,
        "bits that differ": difference,
        "pairs": wanted,
        "found": right,
        "recall": right / wanted,
        "like pairs": len(cosines),
        "wrong": wrong,
        "precision": right / max(1, right + wrong),
    }


def by_version(half: Half, cosine: float, difference: float) -> Table:
    """The recall of each kind of version."""
    rows: Table = []
    for number, name in enumerate(ALL, 1):
        cosines = half.cosines(number)
        shares = half.differences(number, mirrored=name == MIRRORED)
        found = int(((cosines >= cosine) & (shares <= difference)).sum())
        rows.append(
            {
                "version": name,
                "found": found,
                "of": len(cosines),
                "recall": found / len(cosines),
                "cosine, lowest 5 %": float(np.quantile(cosines, 0.05)),
                "bits, highest 5 %": float(np.quantile(shares, 0.95)),
            }
        )
    return rows


# --- scale ---------------------------------------------------------------------------------


def scale(count: int) -> Table:
    """Seconds of each step over made points, none of whose files exist."""
    with tempfile.TemporaryDirectory() as folder:
        place = FolderPlace(Path(folder) / "store")
        stored = choose(None, Settings(str(find_bundle("mini").folder))).stored
        with open_for_import(place, stored) as collection:
            for start in range(0, count, AT_ONCE):
                write_verified(collection.points, made_points(start, min(count, start + AT_ONCE)))
        return [timed(place, count, cores) for cores in (1, 2)]


def made_points(start: int, end: int) -> list[Point]:
    """In clusters, as an encoder's are; each hundredth near the one before."""
    random = np.random.default_rng(start)
    vectors = made_vectors(end - start, random)
    base = vectors[::NEAR]
    vectors[1::NEAR] = unit(base + 0.2 * unit(random.standard_normal(base.shape)))
    points = []
    for number, vector in enumerate(vectors, start):
        record = FileRecord(f"/made/{number // 1000:04d}/{number:06d}.jpg".encode(), 1, 1, 1)
        payload = make_payload(LOCAL, record, hashlib.sha256(record.path).digest(), FACTS, {})
        points.append(Point(point_id(LOCAL, record.path), vector, payload))
    return points


def timed(place: FolderPlace, count: int, cores: int) -> dict[str, Any]:
    started, before = time.monotonic(), time.process_time()
    last = started
    seconds: dict[str, float] = {}
    for event in duplicates(place, [], DuplicatesOptions(), cores=cores):
        now = time.monotonic()
        step = event.step if isinstance(event, DuplicatesProgress) else Step.PICTURES
        seconds[step.value] = seconds.get(step.value, 0.0) + now - last
        last = now
    return {
        "points": count,
        "cores": cores,
        **{f"{name}, s": value for name, value in seconds.items()},
        "seconds": time.monotonic() - started,
        "CPU s": time.process_time() - before,
        "peak MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000,
    }


if __name__ == "__main__":
    raise SystemExit(main())
