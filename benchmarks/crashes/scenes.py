"""The commands that are disturbed: what each starts from, and where it ends undisturbed."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.crashes.processes import Timing, finished, timed
from benchmarks.crashes.state import State, copy_store, read_state

TINY = Path(__file__).parents[2] / "tests" / "data" / "tiny"
SMALL_BATCHES = ["--batch-size", "3", "--json"]
FEW = 24


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One command on one store. Photographs stay as they are while it runs."""

    name: str
    folder: Path
    arguments: tuple[str, ...]
    before: State
    after: State
    timing: Timing

    @property
    def base(self) -> Path:
        """The store that the command starts from; it may be missing."""
        return self.folder / "base"

    def command(self, store: Path) -> list[str]:
        """The command line, on a copy of the store."""
        return [*self.arguments, "--store", str(store)]

    def lock(self, store: Path) -> Path:
        """The file in which the lock's holder notes itself."""
        return store / "image_embeddings" / "lock"

    def reset(self, store: Path) -> None:
        """`store` as before the command."""
        copy_store(self.base, store)

    def may_end(self, code: int) -> bool:
        """Whether an undisturbed run may end so: a picture is damaged (3); where the disturbed
        call had moved everything, the next one finds nothing there (2)."""
        return code in ({0, 2} if self.name == "relocate" else {0, 3})


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


def indexed(folder: Path, count: int) -> None:
    """Photographs, and a store that knows them; one folder is tagged."""
    photographs(folder / "photos", count)
    base = ["--store", str(folder / "base"), "--json"]
    finished(["ingest", str(folder / "photos"), "--model", str(TINY), *base])
    finished(["tag", "place=home", str(folder / "photos" / "1"), *base])


def _ingest(folder: Path, _many: int) -> list[str]:
    photographs(folder / "photos", FEW)
    return ["ingest", str(folder / "photos"), "--model", str(TINY), *SMALL_BATCHES]


def _reindex(folder: Path, _many: int) -> list[str]:
    indexed(folder, FEW)
    changed(folder)
    return ["reindex", *SMALL_BATCHES]


def _relocate(folder: Path, many: int) -> list[str]:
    indexed(folder, many)
    (folder / "photos").rename(folder / "moved")
    return ["relocate", str(folder / "photos"), str(folder / "moved"), "--json"]


def _tag(folder: Path, many: int) -> list[str]:
    indexed(folder, many)
    return ["tag", "owner=ann", str(folder / "photos"), "--json"]


def _import(folder: Path, many: int) -> list[str]:
    indexed(folder, many)
    finished(["export", str(folder / "export"), "--store", str(folder / "base"), "--json"])
    shutil.rmtree(folder / "base")
    return ["import", str(folder / "export"), "--json"]


def _prune(folder: Path, _many: int) -> list[str]:
    indexed(folder, 4 * FEW)
    for path in sorted((folder / "photos").rglob("*.jpg"))[::4]:
        path.unlink()
    return ["prune", "--yes", "--max-delete", "50%", "--json"]


MAKERS: dict[str, Callable[[Path, int], list[str]]] = {
    "ingest": _ingest,
    "reindex": _reindex,
    "relocate": _relocate,
    "tag": _tag,
    "import": _import,
    "prune": _prune,
}


def scene_names() -> list[str]:
    """The commands that this version has."""
    return [
        name
        for name in MAKERS
        if name != "prune" or find_spec("clipindex.cli.commands.prune") is not None
    ]


def make_scene(name: str, folder: Path, many: int) -> Scene:
    """Prepare a command below `folder`, and run it once undisturbed. `many`: pictures of the
    commands that write 250 points at once."""
    folder.mkdir(parents=True)
    arguments = MAKERS[name](folder, many)
    base, store = folder / "base", folder / "store"
    copy_store(base, store)
    timing = timed([*arguments, "--store", str(store)], store / "image_embeddings" / "lock")
    after = read_state(store)
    copy_store(base, store)
    before = read_state(store)
    return Scene(
        name=name,
        folder=folder,
        arguments=tuple(arguments),
        before=before,
        after=after,
        timing=timing,
    )
