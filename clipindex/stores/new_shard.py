"""The folder of a new shard: known to be ours, and to be empty, by a mark.

The mark is durable before the engine makes its first file, and goes before the first point is
written. Whatever a kill or a power cut leaves of a shard that has it may be deleted: no point was
ever in it. Nothing else is: neither a damaged shard nor a folder of somebody else's.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from clipindex.errors import StoreError
from clipindex.files.durable import sync_folder, write_durably

MARK = "clipindex-new"
TEXT = b"This shard is new and holds no points. clipindex deletes this file with the first one.\n"
POINTS = "segments/*/mutable_id_tracker.mappings"  # the engine makes it for the first point

ENGINES_OWN = re.compile(r"wal|segments|edge_config\.json|\.atomicwrite\w+")

# What a kill may leave without a mark: the mark's own beginning, and what an earlier clipindex,
# which knew no mark, had the engine create first.
HALF_MADE = re.compile(
    rf"{MARK}\.partial|wal/(first-index|(tmp-)?open-\d+)|(wal/)?\.atomicwrite\w+/.*"
)


def is_new(folder: Path) -> bool:
    """Whether the shard in `folder` has never held a point."""
    return (folder / MARK).is_file() and not any(folder.glob(POINTS))


def prepare(folder: Path) -> None:
    """Make `folder`, with the mark and nothing of the engine's: what is left of a new shard goes.

    Raises StoreError when it holds anything else, OSError when it cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if not (is_new(folder) or _is_half_made(folder)):
        raise StoreError(
            "a folder of this name exists, and clipindex did not create it",
            path=str(folder),
            hint="name another --store or --collection, or move the folder away",
        )
    write_durably(folder / MARK, TEXT)
    sync_folder(folder.parent)
    for entry in list(folder.iterdir()):
        if ENGINES_OWN.fullmatch(entry.name):
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


def begin_use(folder: Path) -> None:
    """Remove the mark, durably: a point is about to be written."""
    mark = folder / MARK
    if mark.exists():
        mark.unlink()
        sync_folder(folder)


def _is_half_made(folder: Path) -> bool:
    """Whether all files in it, if any, are the first that are made."""
    files = (path for path in folder.rglob("*") if not path.is_dir() or path.is_symlink())
    return all(HALF_MADE.fullmatch(path.relative_to(folder).as_posix()) for path in files)
