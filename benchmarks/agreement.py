"""Whether all programs of a comparison give the same vectors for the same files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from clipindex.collection.folder_place import FolderPlace
from clipindex.files.identity import LOCAL, point_id, resolve_root
from clipindex.stores.edge import EdgePoints

Vectors = np.ndarray[tuple[int, ...], np.dtype[np.float32]]  # [files, 512], rows of length 1

# Mean cosines over upright pictures. ROUGHLY: one network's, whatever the decoding or precision.
# EXACTLY: the same pixels, which holds for those that decode in full and crop as torchvision does.
# transformers' way of rounding, which fastembed shares, moves the crop of some pictures by one.
# rclip decodes large JPEGs at a reduced scale, and of a HEIC it takes the thumbnail.
ROUGHLY, NEARLY, EXACTLY = 0.99, 0.999, 0.9999
AS_EXACT = {"open_clip": EXACTLY, "rclip": ROUGHLY}
ORIENTATION = 0x0112
HEIC = (".heic", ".heif", ".hif")


def from_store(store: Path, files: Sequence[Path]) -> Vectors:
    """The vectors that an ingest wrote, in the order of the files."""
    ids = [point_id(LOCAL, resolve_root(path)) for path in files]
    shard = EdgePoints(FolderPlace(store).shard, 512, make=False)
    try:
        found = shard.retrieve(ids)
    finally:
        shard.close()
    return np.stack([found[id].vector for id in ids])


def from_file(path: Path) -> Vectors:
    """The vectors that a peer's run left."""
    vectors: Vectors = np.load(path)
    return vectors


def upright(files: Sequence[Path]) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """Which pictures no EXIF tag turns: no peer turns any. A HEIC's container does, for all."""
    return ~np.array([path.suffix.lower() not in HEIC and _turned(path) for path in files])


def _turned(path: Path) -> bool:
    with Image.open(path) as image:
        return bool(image.getexif().get(ORIENTATION, 1) != 1)


def table(
    vectors: Mapping[str, Vectors],
    first: str,
    exact: Vectors,
    upright: np.ndarray[tuple[int, ...], np.dtype[np.bool_]],
) -> list[dict[str, Any]]:
    """`first` against all others, then `exact` against the peers."""
    ours = vectors[first][upright]
    rows = [
        _row(first, ours, name, theirs[upright], ROUGHLY)
        for name, theirs in vectors.items()
        if name != first
    ]
    rows += [
        _row(
            f"{first}, exact",
            exact[upright],
            name,
            theirs[upright],
            AS_EXACT.get(name, NEARLY),
        )
        for name, theirs in vectors.items()
        if not name.startswith("clipindex")
    ]
    return rows


def _row(first: str, ours: Vectors, second: str, theirs: Vectors, wanted: float) -> dict[str, Any]:
    cosines = (ours * theirs).sum(axis=1)
    return {
        "first": first,
        "second": second,
        "pictures": len(cosines),
        "mean": float(cosines.mean()),
        "least": float(cosines.min()),
        "wanted": wanted,
        "agrees": bool(cosines.mean() >= wanted),
    }
