"""The tables of the catalogue, and the steps that bring an older catalogue up to date.

The schema's version is the number of steps. A new step goes at the end, and it only adds: tables,
columns with a default, better indexes for old ones. A process of an earlier version may have the
file open and must be able to go on.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from clipindex.errors import DiskFull, StoreError
from clipindex.files.durable import MORE_ROOM, has_room

Connection = sqlite3.Connection
Step = tuple[str, ...]  # SQL statements; step N makes version N of version N - 1

STEPS: tuple[Step, ...] = (
    (
        """CREATE TABLE files (
            folder BLOB NOT NULL, name BLOB NOT NULL,
            size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, ctime_ns INTEGER,
            sha256 BLOB, state TEXT NOT NULL, reason TEXT, decoders TEXT,
            transient INTEGER NOT NULL,
            PRIMARY KEY (folder, name)
        ) WITHOUT ROWID""",
        "CREATE INDEX files_by_content ON files (sha256) WHERE sha256 IS NOT NULL",
        "CREATE TABLE roots (path BLOB PRIMARY KEY, options TEXT NOT NULL) WITHOUT ROWID",
        """CREATE TABLE runs (
            id INTEGER PRIMARY KEY, started TEXT NOT NULL, finished TEXT, summary TEXT
        )""",
    ),
    (
        # One content may be that of a hundred thousand files: the index leads straight to the
        # rows that are asked for, in path order, without reading those of all other copies.
        "CREATE INDEX files_indexed ON files (sha256) WHERE state = 'indexed'",
        """CREATE INDEX files_refused ON files (sha256, decoders)
            WHERE state = 'quarantined' AND transient = 0""",
        "DROP INDEX files_by_content",
        """CREATE TABLE folders (
            path BLOB PRIMARY KEY, inode TEXT NOT NULL, is_mount INTEGER NOT NULL
        ) WITHOUT ROWID""",
        "CREATE TABLE moves (old BLOB PRIMARY KEY, new BLOB NOT NULL) WITHOUT ROWID",
    ),
    (
        "ALTER TABLE runs ADD COLUMN points INTEGER",  # of this source, when the run ended
        "CREATE TABLE newest (number INTEGER PRIMARY KEY, path BLOB NOT NULL)",
    ),
    (
        """CREATE TABLE missing (
            path BLOB PRIMARY KEY, since TEXT NOT NULL, doubt TEXT
        ) WITHOUT ROWID""",
        """CREATE TABLE quarantine (
            path BLOB PRIMARY KEY, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
            first_seen TEXT NOT NULL, accepted INTEGER NOT NULL DEFAULT 0
        ) WITHOUT ROWID""",
    ),
    (
        "ALTER TABLE runs ADD COLUMN command TEXT",
        "ALTER TABLE runs ADD COLUMN pid INTEGER",
        "ALTER TABLE runs ADD COLUMN host TEXT",
        "ALTER TABLE runs ADD COLUMN ended TEXT",  # in whatever way; NULL: running, or killed
        "ALTER TABLE runs ADD COLUMN exit_code INTEGER",
        "ALTER TABLE runs ADD COLUMN reason TEXT",  # of an exit code that is not 0 or 3
        "ALTER TABLE runs ADD COLUMN counts TEXT",  # JSON, written with each batch
        # It ended before it began: busy, a disk away, no model. The points were not touched.
        "ALTER TABLE runs ADD COLUMN refused INTEGER NOT NULL DEFAULT 0",
    ),
    (
        # Of contents, by SHA-256: what people decided about look-alikes, and what shows those.
        """CREATE TABLE different (
            one BLOB NOT NULL, other BLOB NOT NULL, made TEXT NOT NULL, PRIMARY KEY (one, other)
        ) WITHOUT ROWID""",
        "CREATE INDEX different_other ON different (other)",
        "CREATE TABLE keep (sha256 BLOB PRIMARY KEY, made TEXT NOT NULL) WITHOUT ROWID",
        """CREATE TABLE likeness (
            sha256 BLOB PRIMARY KEY, version INTEGER NOT NULL, hashes BLOB NOT NULL
        )""",
    ),
    ("CREATE TABLE metadata (path BLOB NOT NULL UNIQUE, about TEXT NOT NULL)",),
    (
        "ALTER TABLE files ADD COLUMN described INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE files ADD COLUMN sidecars TEXT",
    ),
    (
        # Standing questions, what they found, and the pictures that were not asked yet.
        "CREATE TABLE questions (name TEXT NOT NULL UNIQUE, about TEXT NOT NULL)",
        """CREATE TABLE answers (
            name TEXT NOT NULL, sha256 BLOB NOT NULL, score REAL NOT NULL, z REAL,
            found TEXT NOT NULL, PRIMARY KEY (name, sha256)
        ) WITHOUT ROWID""",
        "CREATE TABLE unasked (path BLOB PRIMARY KEY) WITHOUT ROWID",
    ),
)

WAIT_FOR_JOURNAL = 5.0  # seconds


class Database:
    """An open catalogue file: one thread at a time, and SQLite's errors become ours."""

    def __init__(self, path: Path) -> None:
        """Open the file at `path`, creating it or bringing it up to date.

        Raises StoreError when it cannot be used, or a newer clipindex wrote it.
        """
        self._path = path
        # A signal may end `_held` between its `yield` and the caller's block. Its frame then keeps
        # the lock for as long as the exception lives: this thread must get past that.
        self._lock = threading.RLock()
        try:
            self._database = open_database(path)
        except sqlite3.Error as error:
            raise unusable(error, path) from error

    @contextmanager
    def _held(self) -> Iterator[sqlite3.Connection]:
        """The connection, for this thread alone."""
        with self._lock:
            try:
                yield self._database
            except sqlite3.Error as error:
                raise unusable(error, self._path) from error

    def close(self) -> None:
        """Close the file; further calls fail.

        Under the lock: SQLite crashes when a connection is closed under a thread that uses it.
        """
        with self._lock:
            self._database.close()


def open_database(path: Path, steps: Sequence[Step] = STEPS) -> sqlite3.Connection:
    """Open a catalogue's file, creating it or bringing it up to date in one transaction.

    Raises StoreError for the catalogue of a newer clipindex and the database of another program,
    which are not changed; sqlite3.Error when the file cannot be used.
    """
    database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
    try:
        version = _version(database)
        if version == 0 and _is_foreign(database):
            raise StoreError(
                "this database was not made by clipindex, which keeps its catalogue there",
                path=str(path),
                hint="name another --store or --collection",
            )
        if not 0 <= version <= len(steps):
            raise StoreError(
                f"the catalogue has schema {version}, this clipindex knows {len(steps)}",
                path=str(path),
                hint="a newer clipindex wrote it: update clipindex. Nothing was changed",
            )
        _write_ahead(database)
        database.execute("PRAGMA synchronous=FULL")
        if version < len(steps):
            _migrate(database, steps)
    except BaseException:
        database.close()
        raise
    return database


def unusable(error: sqlite3.Error, path: Path) -> StoreError | DiskFull:
    """An error of SQLite, as ours."""
    code = getattr(error, "sqlite_errorcode", 0)
    kind = code & 0xFF  # the primary code
    if kind == sqlite3.SQLITE_FULL or (kind == sqlite3.SQLITE_IOERR and not has_room(path.parent)):
        return DiskFull(
            "there is no room for the catalogue",
            path=str(path),
            hint=MORE_ROOM,
        )
    damaged = kind in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
    return StoreError(
        f"the catalogue cannot be {'read' if damaged else 'used'}: {error}",
        path=str(path),
        hint="delete that file; the next ingest makes it again from the points"
        if damaged
        else "check the permissions of file and folder, the disk, and limits on the size of files",
    )


@contextmanager
def transaction(database: sqlite3.Connection) -> Iterator[None]:
    """All statements of the block take effect, or none."""
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
        database.execute("COMMIT")
    except BaseException:
        if database.in_transaction:  # after some errors SQLite has rolled it back itself
            database.execute("ROLLBACK")
        raise


def _migrate(database: sqlite3.Connection, steps: Sequence[Step]) -> None:
    """Run the steps that the file has not had. The version is read again: another process may
    have run them while this one waited for the transaction."""
    with transaction(database):
        for step in steps[_version(database) :]:
            for statement in step:
                database.execute(statement)
        database.execute(f"PRAGMA user_version={len(steps)}")


def _version(database: sqlite3.Connection) -> int:
    return int(database.execute("PRAGMA user_version").fetchone()[0])


def _is_foreign(database: sqlite3.Connection) -> bool:
    """Whether it has tables but no version. The version is read again, after the tables: another
    process may just have created both."""
    tables = database.execute("SELECT 1 FROM sqlite_master").fetchone()
    return tables is not None and _version(database) == 0


def _write_ahead(database: sqlite3.Connection) -> None:
    """Retry for 5 s: SQLite's own busy timeout does not cover `PRAGMA journal_mode`."""
    deadline = time.monotonic() + WAIT_FOR_JOURNAL
    while True:
        try:
            database.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
        time.sleep(0.01)
