"""What filters ask of the points of an embedded store: one small SQLite file beside the engine's.

Without an index the engine reads every payload for a filter: 0.3 s of CPU for 100,000 points. With
one it reads the index whole at each open, and takes 0.4 to 0.6 kB of memory a point. So the fields
that filters use are kept here, and the contents that have copies, written with each batch and asked
in 10 ms.

The file is a copy and may be deleted. It carries a stamp of the engine's, the number of the last
change to each segment: where that is another one (an earlier clipindex wrote, a run was killed)
the file is made anew from the payloads, by the next query with a filter or run that writes.
"""

from __future__ import annotations

import sqlite3
import threading
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path

from clipindex.stores.filter import Filter, Value
from clipindex.stores.labels import Kind, kind_of
from clipindex.stores.lookup_sql import (
    COLUMNS,
    FOLDERS,
    NAME,
    condition,
    condition_of_few,
    folders_above,
    labels_of,
    row_of,
    value_of,
)
from clipindex.stores.payload import Payload

VERSION = 1  # of the tables: a file with another one is made anew
ROWS_AT_ONCE = 5_000
IDS_AT_ONCE = 500  # in one statement: SQLite takes 999 values everywhere

TABLES = f"""
    CREATE TABLE about (stamp TEXT NOT NULL);
    CREATE TABLE points (
        n INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, sha256 TEXT,
        {", ".join(COLUMNS)}, folder TEXT, x REAL, y REAL, z REAL
    );
    CREATE TABLE labels (
        field TEXT NOT NULL, value NOT NULL, n INTEGER NOT NULL, PRIMARY KEY (field, value, n)
    ) WITHOUT ROWID;
    CREATE INDEX labels_by_point ON labels (n);
    CREATE INDEX undated ON points (n) WHERE taken IS NULL;
    CREATE INDEX unplaced ON points (n) WHERE x IS NULL;
    CREATE INDEX unmade ON points (n) WHERE camera IS NULL;
"""
INSERT = f"INSERT INTO points VALUES (NULL,{','.join('?' * (len(COLUMNS) + 6))})"

Changes = Mapping[bytes, Payload | None]  # id -> payload, None: deleted


def labels_at_rest(shard: Path, most: int) -> dict[str, list[Value]]:
    """Fields that people made, each with at most `most` values, as the file in a shard's folder
    has them. Nothing is locked or written, and what a writer has not put there yet is missing.
    Empty where there is no such file, or it cannot be read."""
    address = f"{(shard / NAME).absolute().as_uri()}?mode=ro&immutable=1"
    values: dict[str, list[Value]] = {}
    try:
        with closing(sqlite3.connect(address, uri=True)) as database:
            sql = "SELECT DISTINCT field, value FROM labels ORDER BY field, value"
            for field, value in database.execute(sql):
                if len(values.setdefault(field, [])) < most:
                    values[field].append(value_of(value))
    except sqlite3.Error:
        return {}
    return values


class Lookup:
    """An open lookup file. Any thread may call; errors are sqlite3's."""

    def __init__(self, folder: Path, *, make: bool) -> None:
        """Open the file in a shard's folder; `make` it anew where it is missing or of another
        version. Raises sqlite3.Error where it cannot be used."""
        self._lock = threading.Lock()
        path = folder / NAME
        mode = "rwc" if make else "rw"
        address = f"{path.absolute().as_uri()}?mode={mode}"
        self._database = sqlite3.connect(
            address, uri=True, check_same_thread=False, isolation_level=None
        )
        try:
            self._prepare(make)
        except BaseException:
            self._database.close()
            raise

    def _prepare(self, make: bool) -> None:
        self._database.execute("PRAGMA locking_mode=EXCLUSIVE")  # the collection's lock is held
        version = self._database.execute("PRAGMA user_version").fetchone()[0]
        if version != VERSION and not make:
            raise sqlite3.DatabaseError("of another version")
        self._database.execute("PRAGMA journal_mode=WAL")
        # Not synced with each change: what a power cut takes, the stamp tells.
        self._database.execute("PRAGMA synchronous=NORMAL")
        if version != VERSION:
            with self._transaction():
                for table in ("about", "points", "labels"):
                    self._database.execute(f"DROP TABLE IF EXISTS {table}")
                for statement in TABLES.split(";"):
                    self._database.execute(statement)
                self._database.execute(f"PRAGMA user_version={VERSION}")
        if make:  # one that an earlier clipindex made has no index of contents
            self._database.execute("CREATE INDEX IF NOT EXISTS contents ON points (sha256)")

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield self._database
            self._database.execute("COMMIT")
        except BaseException:
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
            raise

    @property
    def stamp(self) -> str | None:
        """The engine's stamp when the file was last changed; None in a new file."""
        with self._lock:
            row = self._database.execute("SELECT stamp FROM about").fetchone()
        return None if row is None else str(row[0])

    def change(self, changes: Changes, stamp: str) -> None:
        """Take over written and deleted points; the file then has this stamp."""
        with self._lock, self._transaction():
            self._replace(changes)
            self._set_stamp(stamp)

    def fill(self, points: Iterable[tuple[uuid.UUID, Payload]], stamp: str) -> None:
        """Make the content anew from all points."""
        remaining = iter(points)
        with self._lock, self._transaction() as database:
            for table in ("points", "labels", "about"):
                database.execute(f"DELETE FROM {table}")
            while page := {
                name.bytes: payload for name, payload in islice(remaining, ROWS_AT_ONCE)
            }:
                self._insert(page)
            self._set_stamp(stamp)

    def _set_stamp(self, stamp: str) -> None:
        self._database.execute("DELETE FROM about")
        self._database.execute("INSERT INTO about VALUES (?)", (stamp,))

    def _replace(self, changes: Changes) -> None:
        database, names = self._database, [(name,) for name in changes]
        database.executemany(
            "DELETE FROM labels WHERE n = (SELECT n FROM points WHERE id = ?)", names
        )
        database.executemany("DELETE FROM points WHERE id = ?", names)
        self._insert(changes)

    def _insert(self, changes: Changes) -> None:
        database = self._database
        for name, payload in changes.items():
            if payload is not None:
                n = database.execute(INSERT, row_of(name, payload)).lastrowid
                rows = [(field, value, n) for field, value in labels_of(payload)]
                database.executemany("INSERT INTO labels VALUES (?,?,?)", rows)

    def ids(self, only: Filter, most: int | None = None) -> list[uuid.UUID] | None:
        """The ids of the points that match; None where they are more than `most`."""
        where, parameters = condition(only)
        limit = -1 if most is None else most + 1
        sql = f"SELECT id FROM points WHERE {where} LIMIT {limit}"
        with self._lock:
            rows = self._database.execute(sql, parameters).fetchall()
        if most is not None and len(rows) > most:
            return None
        return [uuid.UUID(bytes=name) for (name,) in rows]

    def contents(self, only: Filter, names: Sequence[uuid.UUID]) -> dict[uuid.UUID, str]:
        """Those of the points that match, with their SHA-256."""
        where, parameters = condition_of_few(only)
        contents: dict[uuid.UUID, str] = {}
        for start in range(0, len(names), IDS_AT_ONCE):
            some = {name.bytes: name for name in names[start : start + IDS_AT_ONCE]}
            marks = ",".join("?" * len(some))
            sql = f"SELECT id, sha256 FROM points WHERE id IN ({marks}) AND {where}"
            with self._lock:
                rows = self._database.execute(sql, (*some, *parameters)).fetchall()
            contents.update((some[name], sha256) for name, sha256 in rows if sha256 is not None)
        return contents

    def count(self, only: Filter) -> int:
        """How many points match."""
        where, parameters = condition(only)
        with self._lock:
            row = self._database.execute(
                f"SELECT count(*) FROM points WHERE {where}", parameters
            ).fetchone()
        return int(row[0])

    def values(self, field: str) -> dict[Value, int]:
        """The values of a column or a label, with how many points have each; of folders, all of
        those above a point."""
        if field == FOLDERS:
            return self._folders()
        is_column = field in COLUMNS
        sql = f"SELECT {field}, count(*) FROM points GROUP BY 1"
        if not is_column:
            sql = "SELECT value, count(*) FROM labels WHERE field = ? GROUP BY 1"
        with self._lock:
            rows = self._database.execute(sql, () if is_column else (field,)).fetchall()
        return {
            value if is_column else value_of(value): count
            for value, count in rows
            if value is not None
        }

    def _folders(self) -> dict[Value, int]:
        counts: Counter[Value] = Counter()
        sql = "SELECT folder, count(*) FROM points WHERE folder IS NOT NULL GROUP BY 1"
        with self._lock:
            rows = self._database.execute(sql).fetchall()
        for folder, count in rows:
            counts.update(dict.fromkeys((folder, *folders_above(folder)), count))
        return dict(counts)

    def labels(self) -> dict[str, Kind]:
        """The fields that people made, by their names in the payload, and what they contain."""
        sql = """WITH RECURSIVE names (field) AS (
            SELECT min(field) FROM labels
            UNION ALL SELECT (SELECT min(field) FROM labels WHERE field > names.field)
            FROM names WHERE names.field IS NOT NULL
        ) SELECT field, (SELECT value FROM labels WHERE field = names.field LIMIT 1)
        FROM names WHERE field IS NOT NULL"""
        with self._lock:
            rows = self._database.execute(sql).fetchall()
        return {field: kind_of(value_of(value)) for field, value in rows}

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._database.close()
