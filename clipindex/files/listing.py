"""All files below one folder, known at once: what a walk asks of them, folder by folder.

The answer of a store to one listing, and the members of an archive, are such files. They come as
paths; the folders are found in them.
"""

from __future__ import annotations

import errno

from clipindex.files.file_system import Entry, FileRecord


class Listing:
    """Files below `root`, and names below it that no path can have."""

    def __init__(self, root: bytes) -> None:
        self._root = root
        self._files: dict[bytes, list[FileRecord]] = {root: []}  # by the folder they are in
        self._below: dict[bytes, set[bytes]] = {}  # folder -> names of the folders directly in it
        self._odd: dict[bytes, str | None] = {}  # what is no file, as a path, and why

    def add(self, record: FileRecord) -> None:
        """Add a file."""
        folder = record.path.rpartition(b"/")[0]
        files = self._files.get(folder)
        if files is None:
            files = self._files[folder] = []
            while folder != self._root:
                folder, _, name = folder.rpartition(b"/")
                names = self._below.setdefault(folder, set())
                if name in names:
                    break
                names.add(name)
        files.append(record)

    def add_odd(self, path: bytes, fault: str | None) -> None:
        """Add what cannot be read, and why; None: it is to be left out, as a pipe is."""
        self._odd[path] = fault

    def folders(self) -> set[bytes]:
        """Every folder with a file in it or below it."""
        if not self._below and not self._files[self._root]:
            return set()
        return {*self._files, *self._below}

    def take(self, folder: bytes) -> list[Entry]:
        """The names in a folder, sorted; asked once for each."""
        below = self._below.get(folder, set())
        entries = [Entry(name, folder + b"/" + name, "folder") for name in below]
        start = len(folder) + 1
        for record in self._files.pop(folder, ()):
            name = record.path[start:]
            if record.size or name not in below:  # else it only marks a folder
                entries.append(Entry(name, record.path, "file", record))
        if folder == self._root:
            odd = ((path.rstrip(b"/").rpartition(b"/")[2], path) for path in self._odd)
            entries += [Entry(name, path, "file") for name, path in odd]
        entries.sort(key=lambda entry: entry.name)
        return entries

    def check_odd(self, path: bytes) -> bool:
        """Whether a path is to be left out. Raises OSError for what cannot be read."""
        if path not in self._odd:
            return False
        fault = self._odd[path]
        if fault is not None:
            raise OSError(errno.EINVAL, fault)
        return True
