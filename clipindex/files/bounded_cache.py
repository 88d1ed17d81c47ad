"""Many small files that can be made again at any time, bounded in bytes together.

As with `PrivateCache`, whatever goes wrong with them is no fault, and several processes may read
and write at once. The files are spread over 256 folders by their keys, and each folder keeps its
256th of the bytes: to make room, one small folder is looked at and no process counts for others.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from clipindex.files.private_cache import read_whole, write_whole

FOLDERS = 256
KEPT = 0.9  # of a folder's bytes, when it is full


@dataclass(frozen=True, slots=True)
class BoundedCache:
    """Files of at most `most_bytes` together below `folder`; the ones not used for longest are
    deleted first. None as the folder: a user without a home, for whom nothing is kept."""

    folder: Path | None
    most_bytes: int

    def get(self, key: str) -> bytes | None:
        """What was put under `key`, which begins with hexadecimal digits of a checksum; None
        where nothing whole is there."""
        path = self._path(key)
        return None if path is None else read_whole(path)

    def put(self, key: str, data: bytes) -> None:
        """Keep `data` under `key`, if that is possible."""
        path = self._path(key)
        if path is None:
            return
        with suppress(OSError):
            write_whole(path, data)
            _shrink(path.parent, self.most_bytes // FOLDERS)

    def _path(self, key: str) -> Path | None:
        return None if self.folder is None else self.folder / key[:2] / key


def _shrink(folder: Path, most_bytes: int) -> None:
    """Partial files of a process that was killed are among what is deleted."""
    used = []
    with os.scandir(folder) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):  # another process deleted it
                status = entry.stat()
                used.append((status.st_mtime_ns, status.st_size, entry.path))
    total = sum(size for _, size, _ in used)
    if total <= most_bytes:
        return
    for _, size, path in sorted(used):
        if total <= KEPT * most_bytes:
            return
        with suppress(FileNotFoundError):
            os.unlink(path)
        total -= size
