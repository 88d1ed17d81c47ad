"""What the preprocessing `previews` saves and costs, on a folder of real pictures given by hand.

    python -m benchmarks.previews FOLDER [--bundle DIR]... [--photos captioned-500.tar] [--made N]

Of each kind of file: how many are read by their preview, CPU time a picture before and after, how
close the vectors are to those of the full decode (with `mini`, and with each --bundle, such as the
random ViT-B/32 of benchmarks.weights), and whether a picture's own original comes first among 200
others. Then previews made stale: how many the comparison catches, and how many true ones it
doubts. With --made, N of the folder's large JPEGs are also written as a phone writes HEICs.
"""

from __future__ import annotations

import argparse
import io
import json
import tarfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from benchmarks import report
from clipindex.errors import FileFault
from clipindex.model.bundle import find_bundle
from clipindex.model.encoder import Embeddings, Model
from clipindex.pictures import previews
from clipindex.pictures.decode import Pixels, decode
from clipindex.pictures.formats import picture_format
from clipindex.pictures.opening import open_picture
from clipindex.pictures.preprocessing import Geometry, Preprocessing, Way

GEOMETRY = Geometry(224, "crop")
DISTRACTORS = 200
AT_ONCE = 16
SHAPES = ((4032, 3024), (320,), 512)  # of a made one: the picture, its thumbnail, its tiles


@dataclass(frozen=True, kw_only=True, eq=False)
class Seen:
    """A picture that its preview stands for: both ways, and what each took in CPU seconds."""

    kind: str
    preview: Pixels
    full: Pixels
    seconds: tuple[float, float]


def files_in(folder: Path) -> Iterator[tuple[str, bytes]]:
    """The HEIC and JPEG files in a folder by kind, each content once."""
    seen = set()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        data = path.read_bytes()
        kind = picture_format(data[:4096])
        if kind in ("HEIC", "JPEG") and data not in seen:
            seen.add(data)
            yield kind, data


def phone_heic(photo: Image.Image) -> bytes:
    """A photograph as a phone writes it: a grid of tiles, and a thumbnail."""
    import pillow_heif

    size, thumbnails, tile = SHAPES
    fitted = np.asarray(ImageOps.fit(photo.convert("RGB"), size))  # without the photograph's EXIF
    file = pillow_heif.from_pillow(Image.fromarray(fitted))
    info: dict[str, Any] = file[0].info
    info["thumbnails"] = list(thumbnails)
    out = io.BytesIO()
    file.save(out, quality=50, tile_size=tile)
    return out.getvalue()


def timed(data: bytes, preprocessing: Preprocessing) -> tuple[Pixels, Way | None, float]:
    """Pixels, way and CPU seconds."""
    began = time.process_time()
    pixels, facts = decode(data, GEOMETRY, preprocessing)
    return pixels, facts.decoded, time.process_time() - began


def both_ways(files: Iterator[tuple[str, bytes]], counts: Counter[tuple[str, str]]) -> list[Seen]:
    """The pictures that are read by their previews; `counts` gets every file's way."""
    result = []
    for kind, data in files:
        try:
            preview, way, took = timed(data, Preprocessing.PREVIEWS)
        except FileFault:
            counts[kind, "refused"] += 1
            continue
        counts[kind, str(way)] += 1
        if way is Way.PREVIEW:
            full, _, full_took = timed(data, Preprocessing.DCT_SCALED)
            result.append(Seen(kind=kind, preview=preview, full=full, seconds=(took, full_took)))
    return result


def cost(seen: list[Seen], counts: Counter[tuple[str, str]], kind: str) -> dict[str, Any]:
    """Medians for a kind of file."""
    own = [one.seconds for one in seen if one.kind == kind]
    before, after = np.median(own, axis=0)[::-1] * 1000 if own else (np.nan, np.nan)
    ways = {way: counts[kind, way] for way in ("preview", "full", "refused")}
    pixels = [np.abs(one.preview.astype(int) - one.full).mean() for one in seen if one.kind == kind]
    diff = float(np.median(pixels)) if pixels else np.nan
    return {"kind": kind, **ways, "ms before": before, "ms after": after, "pixels differ": diff}


def vectors(model: Model, pixels: list[Pixels]) -> Embeddings:
    """Of pictures, in batches."""
    starts = range(0, len(pixels), AT_ONCE)
    batches = [np.stack(pixels[start : start + AT_ONCE]) for start in starts]
    return np.concatenate([model.encode_images(batch) for batch in batches])


def closeness(name: str, model: Model, seen: list[Seen], others: list[Pixels]) -> Iterator[Any]:
    """For each kind: cosines of the two vectors of a picture, and whether that of the original is
    closer than those of all `others`."""
    distractors = vectors(model, others) if others else None
    for kind in sorted({one.kind for one in seen}):
        own = [one for one in seen if one.kind == kind]
        before = vectors(model, [one.full for one in own])
        after = vectors(model, [one.preview for one in own])
        cosines = (before * after).sum(axis=1)
        best = np.full(len(own), -1.0) if distractors is None else (after @ distractors.T).max(1)
        first = float((cosines > best).mean())
        low, middle = np.percentile(cosines, [5, 50])
        row = {"model": name, "kind": kind, "pictures": len(own), "median": float(middle)}
        worst = float(cosines.min())
        yield row | {"5 %": float(low), "worst": worst, "own first, %": 100 * first}


def cropped(image: Image.Image) -> Image.Image:
    """The upper left 70 % of each side."""
    return image.crop((0, 0, image.width * 7 // 10, image.height * 7 // 10)).resize(image.size)


STALE: dict[str, Callable[[Image.Image], Image.Image]] = {
    "as it is": lambda image: image,
    "turned": lambda image: image.transpose(Image.Transpose.ROTATE_180),
    "mirrored": ImageOps.mirror,
    "cropped": cropped,
    "black and white": lambda image: image.convert("L").convert("RGB"),
}


def doubted(files: Iterator[tuple[str, bytes]]) -> list[dict[str, Any]]:
    """How many previews, true and made stale, the comparison with the main picture refuses."""
    found: dict[str, list[tuple[previews.Preview, Image.Image]]] = defaultdict(list)
    for kind, data in files:
        try:
            opened = open_picture(data, kind, GEOMETRY.short, Preprocessing.PREVIEWS)
            preview = previews.find(data, opened, GEOMETRY.short)
            if preview is not None:
                preview.opened.image.load()
                found[kind].append((preview, preview.opened.image.convert("RGB")))
        except Exception:  # odd and damaged files are part of every collection
            continue
    rows = []
    for kind, pairs in found.items():
        row: dict[str, Any] = {"kind": kind, "previews": len(pairs)}
        for name, change in STALE.items():
            refused = [not preview.agrees(change(image)) for preview, image in pairs]
            row[f"{name}, %"] = 100 * float(np.mean(refused))
        others = [*pairs[1:], pairs[0]]
        swapped = [
            not preview.agrees(image.resize(own.size))
            for (preview, own), (_, image) in zip(pairs, others, strict=True)
        ]
        rows.append(row | {"replaced, %": 100 * float(np.mean(swapped))})
    return rows


def photos_in(tar: Path | None) -> list[Pixels]:
    """Pictures to tell the real ones from."""
    if tar is None:
        return []
    with tarfile.open(tar) as archive:
        files = [archive.extractfile(member) for member in archive if member.isfile()]
        data = [file.read() for file in files if file is not None]
    chosen = [one for one in data if picture_format(one[:4096]) == "JPEG"][:DISTRACTORS]
    return [decode(one, GEOMETRY, Preprocessing.DCT_SCALED)[0] for one in chosen]


def made_from(folder: Path, count: int) -> Iterator[tuple[str, bytes]]:
    """Phone pictures made of the folder's large JPEGs."""
    large = (data for kind, data in files_in(folder) if kind == "JPEG" and len(data) > 1 << 20)
    for _, data in zip(range(count), large, strict=False):
        yield "HEIC", phone_heic(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--bundle", action="append", default=[], metavar="DIR")
    parser.add_argument("--photos", type=Path, metavar="TAR")
    parser.add_argument("--made", type=int, default=0, metavar="N")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    counts: Counter[tuple[str, str]] = Counter()
    seen = both_ways(files_in(args.folder), counts)
    made_counts: Counter[tuple[str, str]] = Counter()
    made = both_ways(made_from(args.folder, args.made), made_counts)
    costs = [cost(seen, counts, kind) for kind in ("HEIC", "JPEG")]
    if args.made:
        costs.append(cost(made, made_counts, "HEIC") | {"kind": "HEIC, made"})
    others = photos_in(args.photos)
    close: list[dict[str, Any]] = []
    for name in ("mini", *args.bundle):
        model = Model(find_bundle(name))
        close += closeness(Path(name).name, model, seen, others)
    rows = {"cost": costs, "closeness": close, "doubted": doubted(files_in(args.folder))}
    for table in rows.values():
        print(report.rows_table(table), end="\n\n")
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
