"""Promise: nights of edits, renames, deletions, tags and kills end where a fresh index begins: the
same points, vectors and payloads, in at most twice the space.

CLIPINDEX_TEST_NIGHTS=365 simulates a year.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import clipindex
from clipindex.collection.folder_place import FolderPlace
from clipindex.files.replacing import size_on_disk
from clipindex.stores import shard_size
from conftest import TINY, picture_bytes

NIGHTS = int(os.environ.get("CLIPINDEX_TEST_NIGHTS", "50"))
PICTURES = 40
NIGHTS_BETWEEN_KILLS = 7  # about

# A call that ends the process, as a kill would, when it has come so far.
KILLED = """
import os, sys
import clipindex
from clipindex.collection.catalogue import Catalogue
from clipindex.stores.edge import EdgePoints
left = {calls}
def counted(function):
    def call(*args, **options):
        global left
        left -= 1
        if left == 0:
            os._exit(9)
        return function(*args, **options)
    return call
for owner, names in ((EdgePoints, ("upsert", "flush", "delete", "close")), (Catalogue, ("write",))):
    for name in names:
        setattr(owner, name, counted(getattr(owner, name)))
index = clipindex.Index({store!r}, model={model!r})
{action}
"""
REINDEX = "index.reindex(clipindex.IngestOptions(batch_size=3, compact=False))"
COMPACT = "index.compact()"
TAG = "index.tag({{'night': 'cut'}}, [{folder!r}])"


@dataclass
class Album:
    """A folder of pictures, and the tags that its pictures should have."""

    folder: Path
    chance: random.Random
    next_seed: int = 0
    tags: dict[Path, dict[str, str]] = field(default_factory=dict)

    def add(self) -> None:
        path = self.folder / f"{self.chance.choice('abc')}" / f"IMG_{self.next_seed:05d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        self.write(path)
        self.tags[path] = {}

    def write(self, path: Path) -> None:
        path.write_bytes(picture_bytes(self.next_seed))
        self.next_seed += 1

    def day(self) -> None:
        """Some pictures are edited, renamed, deleted, added; none twice."""
        chosen = self.chance.sample(sorted(self.tags), 6)
        for path in chosen[:2]:
            self.write(path)
        for path in chosen[2:4]:
            new = path.with_name(f"renamed_{self.next_seed:05d}.jpg")
            self.next_seed += 1
            path.rename(new)
            self.tags[new] = self.tags.pop(path)
        for path in chosen[4 : 4 + self.chance.randint(0, 2)]:
            path.unlink()
            del self.tags[path]
        while len(self.tags) < PICTURES:
            self.add()


def contents(index: clipindex.Index) -> dict[object, tuple[bytes, dict[str, Any]]]:
    """Every point: its vector's bytes, and its payload without the time it was indexed."""
    place = index.place
    with place.open_for_reading(place.locate().require(), "test") as points:
        stored = points.retrieve([name for name, _ in points.scroll()])
    return {
        name: (
            point.vector.tobytes(),
            {key: value for key, value in point.payload.items() if key != "indexed_at"},
        )
        for name, point in stored.items()
    }


def size_of(index: clipindex.Index) -> int:
    assert isinstance(index.place, FolderPlace)
    return size_on_disk(index.place.shard)


def kill(album: Album, store: Path, actions: Sequence[str]) -> bool:
    """Whether one of the actions was killed; else it was done before so many calls."""
    action = album.chance.choice(actions)
    code = KILLED.format(
        calls=album.chance.randint(1, 8),
        store=str(store),
        model=str(TINY),
        action=action.format(folder=str(album.folder)),
    )
    run = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True)
    assert run.returncode in (0, 9), run.stderr.decode()
    if action == TAG:  # some have it now: done to the end, all of them
        clipindex.Index(store, model=str(TINY)).tag({"night": "cut"}, [album.folder])
        for tags in album.tags.values():
            tags["night"] = "cut"
    return run.returncode == 9


@pytest.mark.slow
def test_nights_of_changes_and_kills_end_where_a_fresh_index_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shard_size, "WORTHWHILE", 0)  # so few points waste little
    chance = random.Random(20)
    album = Album(tmp_path / "pictures", chance)
    for _ in range(PICTURES):
        album.add()
    store = tmp_path / "store"
    index = clipindex.Index(store, model=str(TINY))
    index.ingest(album.folder)
    kills = compactions = largest = 0
    for night in range(NIGHTS):
        if night % NIGHTS_BETWEEN_KILLS == 3:
            kills += kill(album, store, (COMPACT, TAG))
        album.day()
        if night % NIGHTS_BETWEEN_KILLS == 5:
            kills += kill(album, store, (REINDEX, REINDEX, COMPACT))
        index.reindex(clipindex.IngestOptions(compact=False))  # it is done below
        index.prune()
        tagged = chance.sample(sorted(album.tags), 3)
        for path in tagged:
            album.tags[path]["night"] = str(night)
        index.tag({"night": str(night)}, tagged)
        compactions += index.compact(only_if_worthwhile=True) is not None
        largest = max(largest, size_of(index))
    fresh = clipindex.Index(tmp_path / "fresh", model=str(TINY))
    fresh.ingest(album.folder)
    for path, tags in album.tags.items():
        if tags:
            fresh.tag(tags, [path])
    assert contents(index) == contents(fresh)
    assert size_of(index) < 2 * size_of(fresh)
    print(
        f"{NIGHTS} nights, {kills} kills, {compactions} compactions; "
        f"{size_of(index):,} bytes, at most {largest:,}; fresh {size_of(fresh):,}"
    )
    assert kills > NIGHTS // 10
    assert compactions
