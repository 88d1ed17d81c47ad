"""What a collection remembers of its files, beside the points: one SQLite file.

Path -> size, times, digest, state; the roots with their options; the runs. A point is durable
and verified before its row is written. When the file is deleted, the next ingest makes the rows
again from the payloads and the notes of quarantine from the files; roots and runs are lost.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from clipindex.collection.marks import QUARANTINED as QUARANTINED
from clipindex.collection.marks import Marks
from clipindex.collection.metadata_files import MetadataFiles
from clipindex.collection.questions import QuestionTables
from clipindex.collection.run_history import NOTHING_DONE, RunHistory
from clipindex.collection.schema import transaction
from clipindex.collection.verdicts import VerdictTables
from clipindex.files.file_system import FileRecord
from clipindex.files.identity import is_below

INDEXED, SKIPPED = "indexed", "skipped"
NEWEST = 50  # points written last; of those in a lost shard of a cluster some are among them


class Row(NamedTuple):
    """What is remembered of one file. Times are in nanoseconds since 1970; `ctime_ns` is None when
    the row was made from a payload. `sha256` is None for a file that was never read whole.

    A named tuple, as `FileRecord` is: a run over unchanged files makes one for each."""

    path: bytes
    size: int
    mtime_ns: int
    ctime_ns: int | None
    sha256: bytes | None
    state: str
    reason: str | None = None
    decoders: str | None = None  # versions that failed: clipindex, Pillow, extras
    transient: bool = False  # a permission or I/O error: read again in every run
    described: int = 0  # by which version its keywords and captions were read; 0: by none
    sidecars: str | None = None  # a stamp of those that its point was given

    @property
    def is_indexed(self) -> bool:
        """Whether the file has a point."""
        return self.state == INDEXED

    def agrees_with(self, record: FileRecord) -> bool:
        """Whether the file looks untouched: size, mtime, and ctime where both have one."""
        return (
            self.size == record.size
            and self.mtime_ns == record.mtime_ns
            and (self.ctime_ns is None or self.ctime_ns == record.ctime_ns or not record.ctime_ns)
        )


@dataclass(frozen=True, slots=True)
class KnownFolder:
    """What tells a folder from another of the same name. `is_mount`: it lay on another device
    than the folder above it. (Device numbers themselves change with every start of a machine.)"""

    inode: int  # stored as text: some file systems use all 64 bits, or more
    is_mount: bool


_OF_FOLDER = (
    "name, size, mtime_ns, ctime_ns, sha256, state, reason, decoders, transient, described,"
    " sidecars"
)
_COLUMNS = f"folder, {_OF_FOLDER}"
_MARKS = ",".join("?" * 12)

Values = tuple[Any, ...]  # in the order of the columns


def _row(values: Values) -> Row:
    folder: bytes = values[0]
    return Row(os.path.join(folder, values[1]), *values[2:])


def _values(row: Row) -> Values:
    folder, name = os.path.split(row.path)
    return (
        folder,
        name,
        row.size,
        row.mtime_ns,
        row.ctime_ns,
        row.sha256,
        row.state,
        row.reason,
        row.decoders,
        int(row.transient),
        row.described,
        row.sidecars,
    )


class Catalogue(RunHistory, Marks, VerdictTables, MetadataFiles, QuestionTables):
    """The remembered files of one collection and source; one writer, many threads reading."""

    # --- files -----------------------------------------------------------------------------

    def get(self, path: bytes) -> Row | None:
        """The row of one path."""
        with self._held():
            values = self._database.execute(
                f"SELECT {_COLUMNS} FROM files WHERE folder = ? AND name = ?", os.path.split(path)
            ).fetchone()
        return None if values is None else _row(values)

    def in_folder(self, folder: bytes) -> dict[bytes, Row]:
        """All rows directly in a folder, by path."""
        with self._held():
            rows = self._database.execute(
                f"SELECT {_OF_FOLDER} FROM files WHERE folder = ?", (folder,)
            ).fetchall()
        prefix = os.path.join(folder, b"")
        made = (Row(prefix + name, *rest) for name, *rest in rows)
        return {row.path: row for row in made}

    def indexed_copies(self, sha256: bytes, most: int) -> list[bytes]:
        """The first `most` paths, in path order, of indexed files with these bytes."""
        with self._held() as database:
            names = database.execute(
                "SELECT folder, name FROM files WHERE sha256 = ? AND state = 'indexed'"
                " ORDER BY folder, name LIMIT ?",
                (sha256, most),
            ).fetchall()
        return [os.path.join(folder, name) for folder, name in names]

    def refusal(self, sha256: bytes, decoders: str) -> str | None:
        """Why these decoders refused these bytes; None when they did not, or only because of a
        permission or I/O error."""
        with self._held() as database:
            reason = database.execute(
                "SELECT reason FROM files WHERE sha256 = ? AND decoders = ?"
                " AND state = 'quarantined' AND transient = 0 LIMIT 1",
                (sha256, decoders),
            ).fetchone()
        return None if reason is None else reason[0] or "damaged"

    def indexed_by_folder(self) -> dict[bytes, int]:
        """How many indexed files each folder holds."""
        with self._held():
            return dict(
                self._database.execute(
                    "SELECT folder, count(*) FROM files WHERE state = ? GROUP BY folder", (INDEXED,)
                ).fetchall()
            )

    def folders_with_rows(self) -> dict[bytes, int]:
        """How many indexed files each folder holds of which any file is remembered."""
        with self._held() as database:
            return dict(
                database.execute(
                    "SELECT folder, sum(state = ?) FROM files GROUP BY folder", (INDEXED,)
                ).fetchall()
            )

    def counts(self) -> dict[str, int]:
        """Rows by state."""
        with self._held():
            return dict(
                self._database.execute(
                    "SELECT state, count(*) FROM files GROUP BY state"
                ).fetchall()
            )

    def rows(self) -> Iterator[Row]:
        """Every row; all are read before the first is yielded, so the catalogue may be written."""
        with self._held():
            rows = self._database.execute(f"SELECT {_COLUMNS} FROM files").fetchall()
        yield from map(_row, rows)

    def write(
        self,
        rows: Iterable[Row] = (),
        gone: Iterable[bytes] = (),
        newest: Sequence[bytes] = (),
        *,
        new: Iterable[bytes] = (),
        done: Mapping[str, int] = NOTHING_DONE,
    ) -> None:
        """Write rows, delete paths, and forget the moves of those, in one durable transaction.
        `newest`: those of the rows whose points were written just now; `new`: pictures that the
        standing questions, if there are any, are still to be asked of. `done` is added to the
        counts of the run under way."""
        written, deletions = list(rows), list(gone)
        values = list(map(_values, written))
        if not values and not deletions and not any(done.values()):
            return
        with self._change(done) as database:
            database.executemany("DELETE FROM moves WHERE old = ?", zip(deletions))
            database.executemany(
                "DELETE FROM files WHERE folder = ? AND name = ?", map(os.path.split, deletions)
            )
            database.executemany(
                f"INSERT OR REPLACE INTO files ({_COLUMNS}) VALUES ({_MARKS})", values
            )
            marks = ((row.path, row.size, row.mtime_ns, row.state) for row in written)
            self._mark(database, marks, deletions)
            self._let_wait(database, new)
            if newest:
                paths = zip(newest[-NEWEST:], strict=False)
                database.executemany("INSERT INTO newest (path) VALUES (?)", paths)
                database.execute(
                    "DELETE FROM newest WHERE number <= (SELECT max(number) FROM newest) - ?",
                    (NEWEST,),
                )

    def newest(self) -> list[Row]:
        """The indexed files whose points were written last, at most 50: a run looks whether they
        are still there."""
        with self._held() as database:
            paths = database.execute("SELECT DISTINCT path FROM newest").fetchall()
        rows = [self.get(path) for (path,) in paths]
        return [row for row in rows if row is not None and row.state == INDEXED]

    # --- moves -----------------------------------------------------------------------------

    def begin_moves(self, moves: Mapping[bytes, bytes]) -> None:
        """Note, before any point is written, which old path becomes which new one: after a kill
        the next run finishes just these. `write` forgets a move together with its old path."""
        if moves:
            with self._held() as database, transaction(database):
                database.executemany("INSERT OR REPLACE INTO moves VALUES (?, ?)", moves.items())

    def begun_moves(self) -> dict[bytes, bytes]:
        """Old path -> new path of every move that was not finished."""
        with self._held() as database:
            return dict(database.execute("SELECT old, new FROM moves").fetchall())

    def forget_moves(self) -> None:
        """Forget every move that was not finished."""
        with self._held() as database:
            database.execute("DELETE FROM moves")

    # --- folders ---------------------------------------------------------------------------

    def folders(self) -> dict[bytes, KnownFolder]:
        """The folders of all walks so far."""
        with self._held() as database:
            rows = database.execute("SELECT path, inode, is_mount FROM folders").fetchall()
        return {path: KnownFolder(int(inode), bool(mount)) for path, inode, mount in rows}

    def remember_folders(self, folders: Mapping[bytes, KnownFolder]) -> None:
        """Remember folders as they are now."""
        if folders:
            values = [(path, str(known.inode), known.is_mount) for path, known in folders.items()]
            with self._held() as database, transaction(database):
                database.executemany("INSERT OR REPLACE INTO folders VALUES (?,?,?)", values)

    def forget_folders(self, path: bytes) -> None:
        """Forget the folders at and below a path."""
        below = [(folder,) for folder in self.folders() if is_below(folder, path)]
        with self._held() as database, transaction(database):
            database.executemany("DELETE FROM folders WHERE path = ?", below)

    # --- roots -----------------------------------------------------------------------------

    def roots(self) -> dict[bytes, dict[str, Any]]:
        """Every root that was ingested, with the options it had."""
        with self._held():
            rows = self._database.execute(
                "SELECT path, options FROM roots ORDER BY path"
            ).fetchall()
        return {path: json.loads(options) for path, options in rows}

    def remember_root(self, path: bytes, options: dict[str, object]) -> None:
        """Remember a root, for `status` and `reindex`; writes nothing when it is known so."""
        text = json.dumps(options)
        with self._held() as database:
            known = database.execute("SELECT options FROM roots WHERE path = ?", (path,)).fetchone()
            if known is None or json.dumps(json.loads(known[0])) != text:
                database.execute(
                    "INSERT OR REPLACE INTO roots (path, options) VALUES (?, ?)", (path, text)
                )

    def forget_root(self, path: bytes) -> bool:
        """Forget a root; whether it was remembered. Its points and rows stay."""
        with self._held():
            deletion = self._database.execute("DELETE FROM roots WHERE path = ?", (path,))
        return deletion.rowcount > 0
