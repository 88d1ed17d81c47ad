"""Millions of file records in little memory."""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterator, Sequence

from clipindex.files.file_system import FileRecord

NUMBERS = 3  # of a record: its size and two times


class FileList(Collection[FileRecord]):
    """File records, a folder at a time, in the order in which they were added.

    One takes 24 bytes and its name; as a tuple of objects it takes 300. Records are made when they
    are iterated over.
    """

    def __init__(self) -> None:
        # What all paths of a folder begin with, their names joined by NUL, their numbers.
        self._folders: list[tuple[bytes, bytes, array[int]]] = []
        self._length = 0

    def add(self, files: Sequence[FileRecord]) -> None:
        """Add files that lie directly in one folder."""
        if files:
            start = files[0].path.rfind(b"/") + 1
            names = [file.path[start:] for file in files]
            numbers = array("q", [number for file in files for number in file[1:]])
            self._add(files[0].path[:start], names, numbers)

    def _add(self, beginning: bytes, names: list[bytes], numbers: array[int]) -> None:
        if names:
            self._folders.append((beginning, b"\0".join(names), numbers))
            self._length += len(names)

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[FileRecord]:
        for beginning, names, numbers in self._folders:
            values = iter(numbers)
            for name, *rest in zip(names.split(b"\0"), values, values, values, strict=True):
                yield FileRecord(beginning + name, *rest)

    def __contains__(self, record: object) -> bool:
        return any(record == other for other in self)

    @property
    def size(self) -> int:
        """Bytes in all files together."""
        return sum(sum(numbers[::NUMBERS]) for _, _, numbers in self._folders)

    def split(self, limit: int) -> tuple[FileList, FileList]:
        """The first `limit` files, and the others."""
        first, others = FileList(), FileList()
        for beginning, joined, numbers in self._folders:
            names, room = joined.split(b"\0"), max(0, limit - len(first))
            first._add(beginning, names[:room], numbers[: NUMBERS * room])
            others._add(beginning, names[room:], numbers[NUMBERS * room :])
        return first, others
