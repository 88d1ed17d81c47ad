"""Where an unfinished verification stopped: a small file beside the collection's catalogue."""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from clipindex.collection.place import Place
from clipindex.files.durable import write_durably

VERSION = 1

Position = tuple[bytes, uuid.UUID]  # points are checked in this order: path, then id


@dataclass(slots=True)
class Bookmark:
    """The last point that was checked, and how many were, from the beginning."""

    since: str
    after: Position | None = None
    checked: int = 0
    done: bool = False

    def passed(self, position: Position) -> bool:
        """Whether a point was checked before."""
        return self.after is not None and position <= self.after

    def move(self, position: Position) -> None:
        """One more is checked."""
        self.after = position
        self.checked += 1


@contextmanager
def bookmark(place: Place, mode: str, *, restart: bool) -> Iterator[Bookmark]:
    """The bookmark of an unfinished verification of the same `mode`, or a new one. It is saved at
    the end, whatever ends the block, and deleted where everything is done."""
    file = place.folder / f"verify-{place.source}.json"
    mark = None if restart else _read(file, mode)
    if mark is None:
        mark = Bookmark(datetime.now(UTC).isoformat(timespec="seconds"))
    try:
        yield mark
    finally:
        save(place, mode, mark)


def save(place: Place, mode: str, mark: Bookmark) -> None:
    """Write the bookmark durably. In a collection that may only be read there is none."""
    file = place.folder / f"verify-{place.source}.json"
    with suppress(OSError):
        if mark.done:
            file.unlink(missing_ok=True)
        elif mark.after is not None:
            path, point = mark.after
            file.parent.mkdir(parents=True, exist_ok=True)
            note = {
                "version": VERSION,
                "mode": mode,
                "since": mark.since,
                "checked": mark.checked,
                "path": base64.b64encode(path).decode("ascii"),
                "id": str(point),
            }
            write_durably(file, json.dumps(note).encode())


def _read(file: Path, mode: str) -> Bookmark | None:
    """None: there is none, or none that is of use."""
    try:
        note = json.loads(file.read_bytes())
        if (note["version"], note["mode"]) != (VERSION, mode):
            return None
        after = base64.b64decode(note["path"], validate=True), uuid.UUID(note["id"])
        return Bookmark(str(note["since"]), after, int(note["checked"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
