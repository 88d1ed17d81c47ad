"""Files that are written whole or not at all, and survive a power cut."""

from __future__ import annotations

import os
from pathlib import Path


def write_durably(path: Path, data: bytes) -> None:
    """Replace the file at `path` in one step; its name and bytes are on the disk on return.

    Raises OSError; the old file then stays. A link that stands at the temporary name is removed,
    not written through: who may write into the folder might have put it there.
    """
    partial = path.with_name(path.name + ".partial")
    partial.unlink(missing_ok=True)
    with open(partial, "xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Make the new name durable. Windows opens no folders; there the rename has to do."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
