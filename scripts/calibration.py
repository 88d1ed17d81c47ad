"""Pictures of the user's own, prepared just as `clipindex ingest` prepares them.

Static int8 needs to see what the tower will see: the folder is walked, read and decoded by
clipindex itself.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clipindex.errors import FileFault
from clipindex.files.file_system import FileRecord
from clipindex.files.walk import Root, walk
from clipindex.model.manifest import ImageSpec
from clipindex.pictures.content import read_content
from clipindex.pictures.decode import decode
from clipindex.pictures.preprocessing import Preprocessing
from exporter.bundle import BundleRefused
from exporter.parity import Array

# Half to calibrate with, half held back. On ViT-B/32 20, 40, 80 and 100 were equally good to
# calibrate with; it is the figures of the others that want many.
MOST = 200
FEWEST = 50


@dataclass(frozen=True)
class Pictures:
    """Two sets with no picture in common, each uint8 (count, size, size, 3)."""

    calibration: Array
    held_back: Array


def read_pictures(folder: Path, spec: ImageSpec) -> Pictures:
    """Up to 200 pictures from all over the folder, as a model takes them.

    Raises BundleRefused if there are under 50.
    """
    if not folder.is_dir():
        raise BundleRefused(f"--calibrate {folder}: no such folder")
    found: dict[bytes, Array] = {}  # by content: a copy would stand on both sides
    faults: list[str] = []
    for record in in_any_order(folder):
        try:
            content = read_content(record.path)
            pixels, _ = decode(content.data, spec.geometry, Preprocessing.DCT_SCALED)
        except FileFault as fault:
            faults.append(f"{os.fsdecode(record.path)}: {fault.reason}")
            continue
        found[content.sha256] = pixels
        if len(found) == MOST:
            break
    if len(found) < FEWEST:
        raise BundleRefused(too_few(folder, len(found), faults))
    pictures = np.stack(list(found.values()))
    return Pictures(pictures[::2], pictures[1::2])


def in_any_order(folder: Path) -> Iterator[FileRecord]:
    """Every file below, shuffled but each time alike: the first few come from all over."""
    root = Root(os.fsencode(folder.absolute()))
    records = [record for below in walk([root]) for record in below.files]
    random.Random(0).shuffle(records)
    return iter(records)


def too_few(folder: Path, found: int, faults: list[str]) -> str:
    reason = f"; of {len(faults)} files that are none, one is {faults[0]}" if faults else ""
    return f"--calibrate {folder}: {found} different pictures, at least {FEWEST} are needed{reason}"
