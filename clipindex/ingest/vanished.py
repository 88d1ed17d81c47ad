"""What became of remembered pictures that the walk did not meet, once all moves are known."""

from __future__ import annotations

from collections.abc import Collection as Sized
from collections.abc import Generator, Iterator, Mapping
from datetime import UTC, datetime

from clipindex.collection.catalogue import INDEXED, Catalogue
from clipindex.collection.marks import Missing
from clipindex.collection.opening import Collection
from clipindex.files.access import exists, is_gone
from clipindex.files.identity import display_path, is_below, point_id
from clipindex.ingest.events import FileVanished, RootRenamed
from clipindex.ingest.evidence import Evidence, doubt_of_swap, folders_above
from clipindex.ingest.scope import Scope
from clipindex.ingest.survey import Survey


def note_vanished(
    collection: Collection, files: Survey, moved_from: Sized[bytes]
) -> Generator[FileVanished, None, int]:
    """Note which remembered pictures are missing; yields them. Returns how many of them the run
    before did not miss.

    A doubt is noted with the first night: when another card is in the reader, its own pictures
    make the place look familiar from the next run on. Only a picture that comes back there shows
    that the place is the old one, and lifts the doubt.
    """
    catalogue, evidence = collection.catalogue, files.evidence
    now = datetime.now(UTC).isoformat(timespec="seconds")
    before = catalogue.missing()
    vanished = [path for path in sorted(files.plan.vanished) if path not in moved_from]
    returned = returned_pictures(catalogue, before, set(vanished))
    regained = folders_above(returned)
    lifted = {before[path].doubt for path in returned}
    marks: dict[bytes, Missing] = {}
    for path in vanished:
        known = before.get(path)
        if known is None:
            marks[path] = Missing(now, _first_doubt(evidence, path, regained))
        elif known.doubt is not None and known.doubt in lifted:
            doubt = evidence.doubt_of_place(path)
            marks[path] = Missing(known.since, None if doubt is None else doubt.reason)
    catalogue.note_missing(marks, returned)
    for path in vanished:
        yield FileVanished(
            path=display_path(path),
            id=str(point_id(collection.source, path)),
            since=(marks.get(path) or before[path]).since,
            is_new=path not in before,
        )
    return sum(path not in before for path in vanished)


def _first_doubt(evidence: Evidence, path: bytes, regained: set[bytes]) -> str | None:
    doubt = evidence.doubt_of_place(path)
    return doubt_of_swap(evidence, path, regained) if doubt is None else doubt.reason


def returned_pictures(
    catalogue: Catalogue, before: Mapping[bytes, Missing], vanished: Sized[bytes]
) -> set[bytes]:
    """Pictures that were missing before and exist again, or are no longer remembered. Those
    below other roots than this run's stay as they are noted."""
    returned = set()
    for path in before:
        if path not in vanished:
            row = catalogue.get(path)
            if row is None or row.state != INDEXED or not is_gone(path):
                returned.add(path)
    return returned


def renamed_roots(catalogue: Catalogue, scope: Scope, files: Survey) -> Iterator[RootRenamed]:
    """Remembered roots that are gone and whose pictures lie, by place, size and time, below a
    root of this run that was never ingested before. To be asked before the run reads anything."""
    remembered = catalogue.roots()
    gone = [root for root in remembered if not exists(root)]
    new = [root.path for root in scope.roots if root.path not in remembered]
    if not gone or not new:
        return
    counts = catalogue.indexed_by_folder()
    for old in gone:
        held = sum(count for folder, count in counts.items() if is_below(folder, old))
        for root in new:
            read = same = 0
            for record in files.plan.to_read:
                if is_below(record.path, root):
                    read += 1
                    row = catalogue.get(old + record.path[len(root) :])
                    same += row is not None and (row.state, row.size, row.mtime_ns) == (
                        INDEXED,
                        record.size,
                        record.mtime_ns,
                    )
            if same and 2 * same >= min(held, read):
                yield RootRenamed(old=display_path(old), new=display_path(root), files=same)
