"""What a catalogue notes beside the rows of its files: which of them are missing, and since when;
which refused ones a person has accepted.

Tables of their own: a row is written anew with every change of its file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from clipindex.collection.schema import Database, transaction

if TYPE_CHECKING:
    import sqlite3

QUARANTINED = "quarantined"


@dataclass(frozen=True, slots=True)
class Missing:
    """A remembered picture that a run did not find. `doubt` says why it may exist all the same:
    its disk may be away; None: the place where it lay was recognised without it."""

    since: str  # ISO 8601, UTC
    doubt: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QuarantineMark:
    """Since when a file is in quarantine, with this size and time; `accepted`: it is known to be
    damaged, and not reported again while it stays as it is."""

    size: int
    mtime_ns: int
    first_seen: str  # ISO 8601, UTC
    accepted: bool


class Marks(Database):
    """The marks of one catalogue."""

    # --- missing pictures --------------------------------------------------------------------

    def missing(self) -> dict[bytes, Missing]:
        """Every picture that was missing in the latest run that looked for it."""
        with self._held() as database:
            rows = database.execute("SELECT path, since, doubt FROM missing").fetchall()
        return {path: Missing(since, doubt) for path, since, doubt in rows}

    def count_missing(self) -> int:
        """How many pictures are missing."""
        with self._held() as database:
            return int(database.execute("SELECT count(*) FROM missing").fetchone()[0])

    def note_missing(self, missing: Mapping[bytes, Missing], returned: Iterable[bytes]) -> None:
        """Note pictures as missing, and others as no longer missing."""
        back = list(returned)
        if not missing and not back:
            return
        values = [(path, mark.since, mark.doubt) for path, mark in missing.items()]
        with self._held() as database, transaction(database):
            database.executemany("INSERT OR REPLACE INTO missing VALUES (?,?,?)", values)
            database.executemany("DELETE FROM missing WHERE path = ?", zip(back))

    # --- quarantine --------------------------------------------------------------------------

    def refusals(self) -> dict[bytes, QuarantineMark]:
        """The marks of files in quarantine. A row that an earlier version wrote has none."""
        with self._held() as database:
            rows = database.execute(
                "SELECT path, size, mtime_ns, first_seen, accepted FROM quarantine"
            ).fetchall()
        return {
            path: QuarantineMark(
                size=size, mtime_ns=mtime, first_seen=first, accepted=bool(accepted)
            )
            for path, size, mtime, first, accepted in rows
        }

    def accept(self, files: Sequence[tuple[bytes, int, int]]) -> None:
        """Accept files in quarantine, given as path, size and mtime_ns."""
        now = _now()
        with self._held() as database, transaction(database):
            database.executemany(
                "INSERT INTO quarantine (path, size, mtime_ns, first_seen, accepted)"
                f" VALUES (?, ?, ?, '{now}', 1) ON CONFLICT (path) DO UPDATE SET"
                " size = excluded.size, mtime_ns = excluded.mtime_ns, accepted = 1",
                files,
            )

    def carry_refusals(self, moves: Mapping[bytes, bytes]) -> None:
        """Copy the marks of files in quarantine to their new paths, old path -> new path; the
        mark of a new path stays."""
        with self._held() as database, transaction(database):
            database.executemany(
                "INSERT OR IGNORE INTO quarantine SELECT ?, size, mtime_ns, first_seen, accepted"
                " FROM quarantine WHERE path = ?",
                ((new, old) for old, new in moves.items()),
            )

    # --- with the rows -----------------------------------------------------------------------

    def _mark(
        self,
        database: sqlite3.Connection,
        written: Iterable[tuple[bytes, int, int, str]],
        deleted: Sequence[bytes],
    ) -> None:
        """Keep the marks in step with rows, in the transaction that writes them. `written` are
        path, size, mtime_ns and state. A file that is refused once more, unchanged, keeps its
        mark; one that changed gets a new one."""
        now = _now()
        refused, others = [], list(deleted)
        for path, size, mtime_ns, state in written:
            if state == QUARANTINED:
                refused.append((path, size, mtime_ns, now))
            else:
                others.append(path)
        database.executemany("DELETE FROM missing WHERE path = ?", zip(deleted))
        database.executemany("DELETE FROM quarantine WHERE path = ?", zip(others))
        database.executemany(
            "INSERT INTO quarantine (path, size, mtime_ns, first_seen) VALUES (?,?,?,?)"
            " ON CONFLICT (path) DO UPDATE SET size = excluded.size,"
            " mtime_ns = excluded.mtime_ns, first_seen = excluded.first_seen, accepted = 0"
            " WHERE size <> excluded.size OR mtime_ns <> excluded.mtime_ns",
            refused,
        )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
