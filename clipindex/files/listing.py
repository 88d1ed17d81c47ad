"""All files below one folder, known at once: what a walk asks of them, folder by folder.

The answer of a store to one listing, and the members of an archive, are such files. They come as
paths; the folders are found in them.
"""

from __future__ import annotations

import errno
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import NamedTuple

from clipindex.files.file_system import PROGRESS_EVERY, Entry, FileRecord, FolderRecord


class Odd(NamedTuple):
    """What no path can name or nobody can read, as a path, and why; None: it is to be left out,
    as a pipe is."""

    path: bytes
    fault: str | None


class Listing:
    """Files below `root`, and names below it that no path can have."""

    def __init__(self, root: bytes) -> None:
        self._root = root
        self._files: dict[bytes, list[FileRecord]] = {root: []}  # by the folder they are in
        self._below: dict[bytes, set[bytes]] = {}  # folder -> names of the folders directly in it
        self._odd: dict[bytes, str | None] = {}  # path -> fault

    def add(self, item: FileRecord | Odd) -> None:
        """Add a file, or what cannot be one."""
        if isinstance(item, Odd):
            self._odd[item.path] = item.fault
            return
        folder = item.path.rpartition(b"/")[0]
        files = self._files.get(folder)
        if files is None:
            files = self._files[folder] = []
            while folder != self._root:
                folder, _, name = folder.rpartition(b"/")
                names = self._below.setdefault(folder, set())
                if name in names:
                    break
                names.add(name)
        files.append(item)

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


class ListedFileSystem(ABC):
    """A place that tells in one listing what is in all of its folders. Of a single name it can
    only be asked what it leads to."""

    def ready(self, root: bytes) -> Iterator[int]:  # noqa: ARG002 - of most places nothing
        """What takes long before the first item; yields how many are known. Raises OSError."""
        return iter(())

    @abstractmethod
    def items(self, root: bytes) -> Iterator[FileRecord | Odd]:
        """Everything below a root. Raises OSError; what was told until then is not to be used."""

    @abstractmethod
    def folder_record(self, path: bytes) -> FolderRecord:
        """A folder that is there."""

    @abstractmethod
    def stat(self, path: bytes) -> FileRecord | FolderRecord | None: ...

    @abstractmethod
    def is_folder(self, path: bytes) -> bool: ...

    def note(self, root: bytes, listing: Listing) -> None:  # noqa: B027 - most need no note
        """Called with each listing that came to its end."""

    def for_walk(self, root: bytes) -> ListedTree:
        return ListedTree(self, root)

    def exists(self, path: bytes) -> bool:
        return not self.is_gone(path)

    def is_gone(self, path: bytes) -> bool:
        """Only if the place says so: one that does not answer has deleted nothing."""
        try:
            self.stat(path)
        except FileNotFoundError:
            return True
        except OSError:
            return False
        return False

    def is_file(self, path: bytes) -> bool:
        """Also where the place does not say so: reading it then fails with the reason."""
        try:
            return isinstance(self.stat(path), FileRecord)
        except FileNotFoundError:
            return False
        except OSError:
            return True


class ListedTree:
    """All below a root, by one listing."""

    def __init__(self, files: ListedFileSystem, root: bytes) -> None:
        self._files, self._root = files, root
        self._listing: Listing | OSError | None = None  # None: not asked yet

    def prepare(self) -> Iterator[int]:
        listing = Listing(self._root)
        try:
            yield from self._files.ready(self._root)
            for number, item in enumerate(self._files.items(self._root), 1):
                listing.add(item)
                if number % PROGRESS_EVERY == 0:
                    yield number
        except OSError as error:
            self._listing = error
            return
        self._listing = listing
        self._files.note(self._root, listing)

    def list(self, folder: bytes) -> list[Entry]:
        if self._listing is None:
            for _ in self.prepare():
                pass
        if isinstance(self._listing, OSError):
            raise self._listing
        assert self._listing is not None
        return self._listing.take(folder)

    def stat(self, path: bytes) -> FileRecord | FolderRecord | None:
        if isinstance(self._listing, Listing) and self._listing.check_odd(path):
            return None
        return self._files.folder_record(path)

    def is_folder(self, path: bytes) -> bool:
        return self._files.is_folder(path)
