"""A list of files that may be longer than memory: beyond the first ones it lies in a temporary
file."""

from __future__ import annotations

import marshal
import tempfile
import threading
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import IO, overload

from clipindex.files.file_system import FileRecord

BLOCK = 1000  # records that are written, and read again, together
IN_MEMORY = 50 * BLOCK  # at most; about 15 MB


class Records(Sequence[FileRecord]):
    """Files in the order in which they were appended. Where the temporary file cannot be written,
    all stay in memory."""

    def __init__(self, records: Iterable[FileRecord] = ()) -> None:
        self._tail: list[FileRecord] = []  # what comes after the blocks in the file
        self._blocks: list[tuple[int, int]] = []  # offset and size of each
        self._file: IO[bytes] | None = None
        self._seeking = threading.Lock()
        self._spills = True
        self.extend(records)

    def append(self, record: FileRecord) -> None:
        """Add a file."""
        self._tail.append(record)
        if len(self._tail) >= IN_MEMORY and self._spills:
            self._spill()

    def extend(self, records: Iterable[FileRecord]) -> None:
        """Add files."""
        for record in records:
            self.append(record)

    def _spill(self) -> None:
        """Move whole blocks of the tail to the file."""
        try:
            self._file = self._file or tempfile.TemporaryFile()  # noqa: SIM115  # for its life
            with self._seeking:
                blocks = self._write(self._file)
        except OSError:
            self._spills = False
            return
        self._blocks += blocks
        del self._tail[: len(blocks) * BLOCK]

    def _write(self, file: IO[bytes]) -> list[tuple[int, int]]:
        end = sum(self._blocks[-1]) if self._blocks else 0
        file.seek(end)
        blocks = []
        for start in range(0, len(self._tail) // BLOCK * BLOCK, BLOCK):
            data = marshal.dumps(list(map(tuple, self._tail[start : start + BLOCK])))
            file.write(data)
            blocks.append((end, len(data)))
            end += len(data)
        file.flush()
        return blocks

    def _read(self, block: int) -> list[FileRecord]:
        assert self._file is not None
        offset, size = self._blocks[block]
        with self._seeking:
            self._file.seek(offset)
            data = self._file.read(size)
        return [FileRecord(*fields) for fields in marshal.loads(data)]

    def _from(self, start: int) -> Iterator[FileRecord]:
        """All from an index on, a block at a time."""
        first, skipped = divmod(start, BLOCK)
        for block in range(first, len(self._blocks)):
            yield from islice(self._read(block), skipped, None)
            skipped = 0
        yield from islice(self._tail, max(0, start - len(self._blocks) * BLOCK), None)

    def __len__(self) -> int:
        return len(self._blocks) * BLOCK + len(self._tail)

    def __iter__(self) -> Iterator[FileRecord]:
        return self._from(0)

    @overload
    def __getitem__(self, index: int) -> FileRecord: ...
    @overload
    def __getitem__(self, index: slice) -> list[FileRecord]: ...
    def __getitem__(self, index: int | slice) -> FileRecord | list[FileRecord]:
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            return list(islice(self._from(start), 0, max(0, stop - start), step))
        return next(self._from(range(len(self))[index]))

    def cut(self, length: int) -> Records:
        """Keep the first `length` files; returns the others."""
        others = Records(self._from(length))
        whole, rest = divmod(length, BLOCK)
        if whole < len(self._blocks):
            self._tail = self._read(whole)[:rest]
            del self._blocks[whole:]
        else:
            del self._tail[length - len(self._blocks) * BLOCK :]
        return others

    def __eq__(self, other: object) -> bool:
        """Equal to any sequence of the same files."""
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Records({len(self)})"
