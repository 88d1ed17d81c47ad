"""What a collection remembers of the files, beside the points: one SQLite file.

Path -> size, times, digest, state; the roots and their options; the runs. It can be deleted:
what is indexed comes back from the payloads, notes of quarantine and skip are made again.
Rows follow the points: first a point is durable and verified, then its row is written.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clipindex.errors import StoreError
from clipindex.files.file_system import FileRecord

SCHEMA = 1

TABLES = """
CREATE TABLE files (
    folder BLOB NOT NULL, name BLOB NOT NULL,
    size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, ctime_ns INTEGER,
    sha256 BLOB, state TEXT NOT NULL, reason TEXT, decoders TEXT, transient INTEGER NOT NULL,
    PRIMARY KEY (folder, name)
) WITHOUT ROWID;
CREATE INDEX files_by_content ON files (sha256) WHERE sha256 IS NOT NULL;
CREATE TABLE roots (path BLOB PRIMARY KEY, options TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE runs (id INTEGER PRIMARY KEY, started TEXT NOT NULL, finished TEXT, summary TEXT);
"""

INDEXED, QUARANTINED, SKIPPED = "indexed", "quarantined", "skipped"


@dataclass(frozen=True, slots=True)
class Row:
    """What is remembered of one file. `ctime_ns` is None where only a payload was known."""

    path: bytes
    size: int
    mtime_ns: int
    ctime_ns: int | None
    sha256: bytes | None
    state: str
    reason: str | None = None
    decoders: str | None = None  # what could not read it: clipindex, Pillow, extras
    transient: bool = False

    def agrees_with(self, record: FileRecord) -> bool:
        """Whether the file looks untouched: size, mtime, and ctime where it is remembered."""
        return (
            self.size == record.size
            and self.mtime_ns == record.mtime_ns
            and (self.ctime_ns is None or self.ctime_ns == record.ctime_ns)
        )


_COLUMNS = "folder, name, size, mtime_ns, ctime_ns, sha256, state, reason, decoders, transient"


def _row(
    values: tuple[bytes, bytes, int, int, int | None, bytes | None, str, str, str, int],
) -> Row:
    folder, name, size, mtime_ns, ctime_ns, sha256, state, reason, decoders, transient = values
    return Row(
        os.path.join(folder, name),
        size,
        mtime_ns,
        ctime_ns,
        sha256,
        state,
        reason,
        decoders,
        bool(transient),
    )


class Catalogue:
    """The remembered files of one collection and source; one writer, many threads reading."""

    def __init__(self, path: Path) -> None:
        """Open or make the catalogue at `path`. Raises StoreError when it cannot be read."""
        self._path = path
        self._lock = threading.Lock()
        try:
            self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            self._write_ahead()
            self._db.execute("PRAGMA synchronous=FULL")
            version = self._version() or self._make_tables()
        except sqlite3.Error as error:
            raise _unreadable(error, path) from error
        if version != SCHEMA:
            self._db.close()
            raise StoreError(
                f"the catalogue has schema {version}, this clipindex knows {SCHEMA}",
                path=str(path),
                hint="use the clipindex that wrote it, or delete the file to have it made again",
            )

    def _write_ahead(self) -> None:
        """Another process that opens or closes the file just now is waited for: to this one
        statement SQLite applies no time-out of its own."""
        patience = time.monotonic() + 5
        while True:
            try:
                self._db.execute("PRAGMA journal_mode=WAL")
                return
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > patience:
                    raise
            time.sleep(0.01)

    def _version(self) -> int:
        return int(self._db.execute("PRAGMA user_version").fetchone()[0])

    def _make_tables(self) -> int:
        """Two processes may open a new catalogue at once: the second finds it made."""
        with _transaction(self._db):
            if self._version() == 0:
                for statement in TABLES.split(";"):
                    self._db.execute(statement)
                self._db.execute(f"PRAGMA user_version={SCHEMA}")
        return self._version()

    @contextmanager
    def _held(self) -> Iterator[None]:
        """One thread at a time; SQLite's errors become ours."""
        with self._lock:
            try:
                yield
            except sqlite3.Error as error:
                raise _unreadable(error, self._path) from error

    def close(self) -> None:
        """Close the file; further calls fail.

        Under the lock: SQLite crashes when a connection is closed under a thread that uses it.
        """
        with self._lock:
            self._db.close()

    # --- files -----------------------------------------------------------------------------

    def get(self, path: bytes) -> Row | None:
        """The row of one path."""
        with self._held():
            found = self._db.execute(
                f"SELECT {_COLUMNS} FROM files WHERE folder = ? AND name = ?", os.path.split(path)
            ).fetchone()
        return None if found is None else _row(found)

    def in_folder(self, folder: bytes) -> dict[bytes, Row]:
        """All rows directly in a folder, by path."""
        with self._held():
            found = self._db.execute(
                f"SELECT {_COLUMNS} FROM files WHERE folder = ?", (folder,)
            ).fetchall()
        return {row.path: row for row in map(_row, found)}

    def with_content(self, sha256: bytes) -> list[Row]:
        """Rows of every remembered file with these bytes, in path order."""
        with self._held():
            found = self._db.execute(
                f"SELECT {_COLUMNS} FROM files WHERE sha256 = ? ORDER BY folder, name", (sha256,)
            ).fetchall()
        return [_row(values) for values in found]

    def indexed_by_folder(self) -> dict[bytes, int]:
        """How many indexed files each folder holds."""
        with self._held():
            return dict(
                self._db.execute(
                    "SELECT folder, count(*) FROM files WHERE state = ? GROUP BY folder", (INDEXED,)
                ).fetchall()
            )

    def counts(self) -> dict[str, int]:
        """Rows by state."""
        with self._held():
            return dict(
                self._db.execute("SELECT state, count(*) FROM files GROUP BY state").fetchall()
            )

    def rows(self) -> Iterator[Row]:
        """Every row (read at once, so that the writer may go on)."""
        with self._held():
            found = self._db.execute(f"SELECT {_COLUMNS} FROM files").fetchall()
        yield from map(_row, found)

    def write(self, rows: Iterable[Row] = (), gone: Iterable[bytes] = ()) -> None:
        """Put rows in and take paths out, in one durable transaction."""
        values = [
            (
                *os.path.split(row.path),
                row.size,
                row.mtime_ns,
                row.ctime_ns,
                row.sha256,
                row.state,
                row.reason,
                row.decoders,
                int(row.transient),
            )
            for row in rows
        ]
        deletions = [os.path.split(path) for path in gone]
        if not values and not deletions:
            return
        with self._held(), _transaction(self._db):
            self._db.executemany("DELETE FROM files WHERE folder = ? AND name = ?", deletions)
            self._db.executemany(
                f"INSERT OR REPLACE INTO files ({_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?)", values
            )

    # --- roots and runs --------------------------------------------------------------------

    def roots(self) -> dict[bytes, dict[str, Any]]:
        """Every root that was ingested, with the options it had."""
        with self._held():
            found = self._db.execute("SELECT path, options FROM roots ORDER BY path").fetchall()
        return {path: json.loads(options) for path, options in found}

    def remember_root(self, path: bytes, options: dict[str, object]) -> None:
        """Remember a root, for `status` and `reindex`; nothing is written when nothing is new."""
        text = json.dumps(options)
        if json.dumps(self.roots().get(path)) == text:
            return
        with self._held():
            self._db.execute("INSERT OR REPLACE INTO roots VALUES (?, ?)", (path, text))

    def forget_root(self, path: bytes) -> bool:
        """Forget a root; whether it was remembered. Its points and rows stay."""
        with self._held():
            gone = self._db.execute("DELETE FROM roots WHERE path = ?", (path,))
        return gone.rowcount > 0

    def begin_run(self, started: str) -> tuple[int, bool]:
        """Note that a run begins. Returns its number and whether the one before it finished."""
        with self._held():
            last = self._db.execute("SELECT finished FROM runs ORDER BY id DESC LIMIT 1").fetchone()
            self._db.execute("UPDATE runs SET finished = '' WHERE finished IS NULL")
            number = self._db.execute("INSERT INTO runs (started) VALUES (?)", (started,)).lastrowid
        assert number is not None  # SQLite gives every insert a row id
        return number, last is not None and last[0] is not None

    def finish_run(self, number: int, finished: str, summary: dict[str, object] | None) -> None:
        """Note that the run came to its end, so that the next one need not compare; changes
        such as tags, which are no ingest, have no summary."""
        with self._held():
            self._db.execute(
                "UPDATE runs SET finished = ?, summary = ? WHERE id = ?",
                (finished, summary and json.dumps(summary), number),
            )

    def last_run(self) -> tuple[str, str | None, dict[str, object] | None] | None:
        """When the latest run started and finished, and its summary."""
        with self._held():
            found = self._db.execute(
                "SELECT started, finished, summary FROM runs"
                " WHERE finished IS NULL OR finished = '' OR summary IS NOT NULL"
                " ORDER BY id DESC LIMIT 1"
            ).fetchone()
        if found is None:
            return None
        started, finished, summary = found
        return started, finished or None, json.loads(summary) if summary else None


def _unreadable(error: sqlite3.Error, path: Path) -> StoreError:
    kind = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the primary code
    damaged = kind in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
    return StoreError(
        f"the catalogue cannot be {'read' if damaged else 'used'}: {error}",
        path=str(path),
        hint="delete that file; the next ingest makes it again from the points"
        if damaged
        else "check the permissions of file and folder, and the disk",
    )


class _transaction:  # noqa: N801 - reads as the word it is: `with _transaction(db):`
    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __enter__(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: object, *_: object) -> None:
        self._db.execute("COMMIT" if kind is None else "ROLLBACK")
