"""Photographs of a scene, and what a person does to them between two runs."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import numpy as np
from PIL import Image


def picture(path: Path, seed: int, size: tuple[int, int] = (64, 48)) -> None:
    """A picture of its own at `path`."""
    small = np.random.default_rng(seed).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(small).resize(size, Image.Resampling.BICUBIC).save(out, "JPEG")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(out.getvalue())


def photographs(folder: Path, count: int) -> None:
    """`count` pictures, two copies of one, one that is cut short, and a text."""
    for number in range(count):
        picture(folder / f"{number % 4}" / f"{number:04d}.jpg", number)
    shutil.copy(folder / "0" / "0000.jpg", folder / "copy.jpg")
    shutil.copy(folder / "0" / "0000.jpg", folder / "1" / "copy.jpg")
    (folder / "cut.jpg").write_bytes((folder / "1" / "0001.jpg").read_bytes()[:300])
    (folder / "notes.txt").write_text("not a picture")


def changed(folder: Path) -> None:
    """Edits, copies, renames, a renamed folder, deletions; the damaged picture is mended."""
    photos = folder / "photos"
    names = sorted((photos / "0").iterdir()) + sorted((photos / "2").iterdir())
    for number, path in enumerate(names):
        if number % 3 == 0:
            picture(path, 10_000 + number)
        elif number % 3 == 1:
            path.rename(path.with_name(f"moved-{path.name}"))
        else:
            shutil.copy(path, path.with_name(f"copy-{path.name}"))
    (photos / "3").rename(photos / "renamed")
    picture(photos / "cut.jpg", 20_000)
    (photos / "copy.jpg").unlink()
    for number in range(4):
        picture(photos / "new" / f"{number}.jpg", 30_000 + number)
