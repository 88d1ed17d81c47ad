"""Pictures of the user's own, prepared just as an ingest prepares them.

Static int8 needs to see what the tower will see.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clipindex.errors import FileFault, UsageError
from clipindex.files.access import is_folder
from clipindex.files.file_system import FileRecord
from clipindex.files.walk import Root, walk
from clipindex.pictures.content import read_content
from clipindex.pictures.decode import Pixels, decode
from clipindex.pictures.preprocessing import Geometry, Preprocessing

# Half to calibrate with, half held back. On ViT-B/32 20, 40, 80 and 100 were equally good to
# calibrate with; it is the figures of the others that want many.
MOST = 200
FEWEST = 50


@dataclass(frozen=True, slots=True)
class Pictures:
    """Two sets with no picture in common, each uint8 [count, size, size, 3]."""

    calibration: Pixels
    held_back: Pixels


def read_pictures(folder: Path, geometry: Geometry) -> Pictures:
    """Up to 200 pictures from all over the folder. Raises UsageError if there are under 50."""
    if not is_folder(os.fsencode(folder)):
        raise UsageError("no such folder of pictures to calibrate with", path=str(folder))
    pictures: dict[bytes, Pixels] = {}  # by content: a copy would stand on both sides
    faults: list[str] = []
    for record in _in_any_order(folder):
        try:
            content = read_content(record.path)
            pixels, _ = decode(content.data, geometry, Preprocessing.DCT_SCALED)
        except FileFault as fault:
            faults.append(f"{os.fsdecode(record.path)}: {fault.reason}")
            continue
        pictures[content.sha256] = pixels
        if len(pictures) == MOST:
            break
    if len(pictures) < FEWEST:
        others = f"; of {len(faults)} other files, one is {faults[0]}" if faults else ""
        raise UsageError(
            f"{len(pictures)} different pictures to calibrate with, at least {FEWEST} are needed"
            f"{others}",
            path=str(folder),
            hint="name a folder with more pictures, typical of those that you index",
        )
    stack = np.stack(list(pictures.values()))
    return Pictures(stack[::2], stack[1::2])


def _in_any_order(folder: Path) -> Iterator[FileRecord]:
    """Every file below, shuffled but each time alike: the first few come from all over."""
    root = Root(os.fsencode(folder.absolute()))
    records = [record for below in walk([root]) for record in below.files]
    random.Random(0).shuffle(records)
    return iter(records)
