"""Small files that can be made again at any time, in the user's state folder.

Whatever goes wrong with them is no fault: what cannot be read is made again, and what cannot be
written is not kept. Several processes may read and write at once: a file is written under a name
of its own and then renamed. Files have mode 0600, their folder 0700: they tell what was asked.
"""

from __future__ import annotations

import os
import threading
import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from clipindex.errors import UsageError
from clipindex.files.user_folders import state_folder

SUM = 4  # bytes of the checksum in front: a power cut may leave a file of zeros


@dataclass(frozen=True, slots=True)
class PrivateCache:
    """The files of one kind, at most `most` of them: beyond that the ones not used for longest
    are deleted."""

    name: str
    most: int

    def get(self, key: str) -> bytes | None:
        """What was put under `key`, a file name; None where nothing whole is there."""
        folder = self._folder()
        if folder is None:
            return None
        return read_whole(folder / key)

    def put(self, key: str, data: bytes) -> None:
        """Keep `data` under `key`, if that is possible."""
        folder = self._folder()
        if folder is None:
            return
        with suppress(OSError):
            write_whole(folder / key, data)
            self._shrink(folder)

    def _folder(self) -> Path | None:
        try:
            return state_folder() / self.name
        except UsageError:  # a user without a home
            return None

    def _shrink(self, folder: Path) -> None:
        """Delete what was not used for longest, a tenth at a time; partial files of a process
        that was killed are among it."""
        with os.scandir(folder) as entries:
            paths = [entry.path for entry in entries]
        if len(paths) <= self.most:
            return
        used = []
        for path in paths:
            with suppress(FileNotFoundError):  # another process deleted it
                used.append((os.stat(path).st_mtime_ns, path))
        for _, path in sorted(used)[: len(used) - self.most * 9 // 10]:
            with suppress(FileNotFoundError):
                os.unlink(path)


def read_whole(path: Path) -> bytes | None:
    """What `write_whole` wrote, noted as used; None where nothing whole is there."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    if len(data) < SUM or _sum(data[SUM:]) != data[:SUM]:
        return None
    with suppress(OSError):
        os.utime(path)  # it was used
    return data[SUM:]


def write_whole(path: Path, data: bytes) -> None:
    """Write a file that is there whole or not at all. Raises OSError."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}")
    try:
        with open(partial, "xb", opener=_private) as file:
            file.write(_sum(data) + data)
        os.replace(partial, path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _sum(data: bytes) -> bytes:
    return zlib.crc32(data).to_bytes(SUM, "little")
