"""Pure: which new path a picture moved to, when old paths of its content are gone.

Several files may be renamed and copied at once. Which of the new paths takes an old one's place,
and so its tags, is decided once all new files of that size have been read: it depends on names,
times and paths only, never on which worker was faster.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from clipindex.collection.catalogue import Row
from clipindex.files.file_system import FileRecord
from clipindex.files.identity import folders_of
from clipindex.ingest.landmarks import ANYWHERE
from clipindex.ingest.outcomes import Known


@dataclass(frozen=True, slots=True)
class Absent:
    """An indexed file that is gone, and the folder below which it may have moved, or ANYWHERE."""

    row: Row
    area: bytes


@dataclass(frozen=True, slots=True)
class Decided:
    """A new file of known content, and the old path that it moved from; None: it is a copy."""

    outcome: Known
    moved_from: bytes | None


class Moves:
    """Holds new files whose content had a path that is gone, until their group is complete.

    Files of one content have one size, so a group is complete when every file of this size that
    the run is to read was read: for photographs that is the file itself. Each old path serves
    once.
    """

    def __init__(
        self,
        absent: Iterable[Absent],
        to_read: Iterable[FileRecord],
        is_gone: Callable[[bytes], bool],
    ) -> None:
        """`is_gone` looks again, at the last moment, whether an old path is not there."""
        self._is_gone = is_gone
        self._absent: dict[bytes, list[Absent]] = {}  # by digest
        for old in absent:
            if old.row.sha256 is not None:
                self._absent.setdefault(old.row.sha256, []).append(old)
        sizes = {old.row.size for group in self._absent.values() for old in group}
        self._size_of = {
            file.path: file.size for file in (to_read if sizes else ()) if file.size in sizes
        }
        self._unread = Counter(self._size_of.values())  # by size
        self._held: defaultdict[int, list[Known]] = defaultdict(list)  # by size
        self._complete: set[int] = set()

    def concern(self, sha256: bytes) -> bool:
        """Whether a path of this content is gone, so that a new file of it may have moved."""
        return bool(self._absent.get(sha256))

    def hold(self, outcome: Known) -> None:
        """Take a new file whose content these moves concern."""
        size = self._absent[outcome.sha256][0].row.size
        self._held[size].append(outcome)
        if not self._unread[size]:
            self._complete.add(size)

    def read(self, path: bytes) -> list[Decided]:
        """Note that a file was read, whatever came of it. Returns the files decided by that."""
        size = self._size_of.pop(path, None)
        if size is not None:
            self._unread[size] -= 1
            if not self._unread[size]:
                self._complete.add(size)
        decided = [file for size in sorted(self._complete) for file in self._decide(size)]
        self._complete.clear()
        return decided

    def rest(self) -> list[Decided]:
        """The files still held when the run ends; those that it did not read are no rivals."""
        return [file for size in sorted(self._held) for file in self._decide(size)]

    def _decide(self, size: int) -> Iterator[Decided]:
        by_content: defaultdict[bytes, list[Known]] = defaultdict(list)
        for outcome in sorted(self._held.pop(size, ()), key=lambda known: known.record.path):
            by_content[outcome.sha256].append(outcome)
        for sha256, outcomes in by_content.items():
            absent = self._absent.get(sha256, [])
            pairs = pair_paths(absent, [outcome.record for outcome in outcomes], self._is_gone)
            used = set(pairs.values())
            self._absent[sha256] = [old for old in absent if old.row.path not in used]
            yield from (Decided(known, pairs.get(known.record.path)) for known in outcomes)


def pair_paths(
    absent: Sequence[Absent], files: Sequence[FileRecord], is_gone: Callable[[bytes], bool]
) -> dict[bytes, bytes]:
    """New path -> old path, for paths of one content; the strongest evidence goes first.

    A rename keeps the modification time, a move keeps the name, and a copy often neither.
    """
    pairs: dict[bytes, bytes] = {}
    olds = sorted((old for old in absent if is_gone(old.row.path)), key=lambda old: old.row.path)
    news = sorted(files, key=lambda file: file.path)
    for key in (_name_and_time, _time, _name, _nothing):
        used = set(pairs.values())
        waiting: defaultdict[tuple[bytes, Hashable], deque[bytes]] = defaultdict(deque)
        for old in olds:
            if old.row.path not in used:
                waiting[old.area, key(old.row)].append(old.row.path)
        for file in news:
            if file.path not in pairs:
                areas = (ANYWHERE, *folders_of(file.path))
                queues = [waiting.get((area, key(file))) for area in areas]
                if queue := min(filter(None, queues), default=None):
                    pairs[file.path] = queue.popleft()
    return pairs


def _name_and_time(file: Row | FileRecord) -> Hashable:
    return os.path.basename(file.path), file.mtime_ns


def _time(file: Row | FileRecord) -> Hashable:
    return file.mtime_ns


def _name(file: Row | FileRecord) -> Hashable:
    return os.path.basename(file.path)


def _nothing(_file: Row | FileRecord) -> Hashable:
    return None
