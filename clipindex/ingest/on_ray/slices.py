"""Which files an actor is handed at once, and what becomes of a slice that kills actors."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from clipindex.files.addresses import NOTHING_GIVEN, Given, given_with
from clipindex.files.file_system import FileRecord
from clipindex.files.sidecars import Sidecars

MOST_BYTES = 64 << 20  # of a slice's files, which an actor holds in memory; one file may be larger
DEATHS = 3  # of actors, after which a slice is cut in halves, and a file alone is refused


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """Files that are read, embedded and written together, with their sidecars.

    `may_have_moved`: new files of known content among these are labelled, and written, by the
    driver. `given`: what their addresses need. A `suspect` was in hand when an actor died: it gets
    an actor of its own, so that the next death is surely its own.
    """

    records: tuple[FileRecord, ...]
    sidecars: Mapping[bytes, Sidecars] = field(default_factory=dict)
    may_have_moved: frozenset[bytes] = frozenset()
    given: Given = NOTHING_GIVEN
    deaths: int = 0
    is_suspect: bool = False


def slices_of(
    records: Iterable[FileRecord],
    most: int,
    sidecars: Mapping[bytes, Sidecars],
    moved_sizes: Container[int],
) -> Iterator[Slice]:
    """Cut files into slices of at most `most` files and MOST_BYTES, lazily. `moved_sizes` are the
    sizes of files that are gone."""

    def cut() -> Slice:
        paths = [record.path for record in batch]
        return Slice(
            records=tuple(batch),
            sidecars={path: sidecars[path] for path in paths if path in sidecars},
            may_have_moved=frozenset(r.path for r in batch if r.size in moved_sizes),
            given=given_with(paths),
        )

    batch: list[FileRecord] = []
    size = 0
    for record in records:
        if batch and (len(batch) == most or size + record.size > MOST_BYTES):
            yield cut()
            batch, size = [], 0
        batch.append(record)
        size += record.size
    if batch:
        yield cut()


def after_death(slice_: Slice) -> list[Slice]:
    """What to do instead of a slice whose actor died; nothing: its one file is to be refused.

    Actors also die with their node. So a slice is tried again before it is suspected, its halves
    are cut at once, and a file alone must kill as many actors again.
    """
    deaths = slice_.deaths + 1
    if deaths < DEATHS:
        return [replace(slice_, deaths=deaths, is_suspect=True)]
    if len(slice_.records) == 1:
        return []
    middle = len(slice_.records) // 2
    halves = slice_.records[:middle], slice_.records[middle:]
    return [
        replace(slice_, records=half, is_suspect=True, deaths=0 if len(half) == 1 else DEATHS - 1)
        for half in halves
    ]
