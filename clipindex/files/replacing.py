"""Replacing a whole folder by another, so that a kill or a power cut leaves one of the two.

No system renames over a folder that is not empty, so there are two renames: the old folder is set
aside, the new one takes its name. Between them the name is missing; whoever finds it so calls
`settle`, which goes back to the old one. Names begin with a dot: no collection has such a name.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from clipindex.files.durable import sync_file, sync_folder


def new_beside(folder: Path) -> Path:
    """Where the folder that is to replace `folder` is built."""
    return folder.with_name(f".{folder.name}-new")


def old_beside(folder: Path) -> Path:
    """Where the old folder lies while the new one takes its name."""
    return folder.with_name(f".{folder.name}-old")


@contextmanager
def built_beside(folder: Path) -> Iterator[Path]:
    """The path of a new folder to be built beside `folder`; deleted at the end unless `replace`
    has moved it. What an interruption left there goes first."""
    settle(folder)
    new = new_beside(folder)
    try:
        yield new
    finally:
        shutil.rmtree(new, ignore_errors=True)


def replace(folder: Path) -> None:
    """Put the folder that was built beside `folder` in its place, and keep the old one aside
    until `settle`. Raises OSError; the old folder then stays or comes back."""
    new, old = new_beside(folder), old_beside(folder)
    sync_tree(new)
    if folder.exists():
        folder.rename(old)
    try:
        new.rename(folder)
    except OSError:
        go_back(folder)
        raise
    sync_folder(folder.parent)


def go_back(folder: Path) -> None:
    """Give the old folder, which was set aside, its name again."""
    old = old_beside(folder)
    if old.exists():
        if folder.exists():
            folder.rename(new_beside(folder))
        old.rename(folder)
        sync_folder(folder.parent)


def settle(folder: Path) -> None:
    """End a replacement, also one that was interrupted: where the name is missing the old folder
    comes back, and what lies beside it goes. The caller holds whatever lock there is.

    Raises OSError when the old folder cannot come back.
    """
    if not folder.exists():
        go_back(folder)
    for leftover in (new_beside(folder), old_beside(folder)):
        shutil.rmtree(leftover, ignore_errors=True)


def as_it_is(folder: Path) -> Path:
    """The folder to read where nothing may be renamed: the old one while the name is missing."""
    old = old_beside(folder)
    return old if not folder.exists() and old.is_dir() else folder


def sync_tree(folder: Path) -> None:
    """Make everything in a folder durable, and its name too. What is renamed meanwhile, by a
    thread of the engine's, is looked for again. Raises OSError."""
    while not _is_synced(folder):
        pass
    sync_folder(folder.parent)


def _is_synced(folder: Path) -> bool:
    """Whether nothing vanished while it was made durable."""
    for parent, _, names in os.walk(folder):
        for path in (Path(parent, name) for name in names):
            try:
                if path.is_file():
                    sync_file(path)
                elif not os.path.lexists(path):
                    return False
            except FileNotFoundError:
                return False
        sync_folder(Path(parent))
    return True


def size_on_disk(folder: Path) -> int:
    """Bytes that the files in a folder take on the disk; holes take none. What vanishes meanwhile,
    or cannot be read, counts as empty: a run that is done does not fail for its size."""
    return sum(
        _blocks(Path(parent, name)) for parent, _, names in os.walk(folder) for name in names
    )


def _blocks(path: Path) -> int:
    try:
        status = path.lstat()
    except OSError:
        return 0
    return int(getattr(status, "st_blocks", status.st_size // 512)) * 512
