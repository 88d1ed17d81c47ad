"""The runs of a collection, as its catalogue remembers them.

`finished` says that points and catalogue agree: the next run need not reconcile them. `ended` says
that the process came to an end by itself, in whatever way; a run that was killed has neither.
"""

from __future__ import annotations

import json
import os
import socket
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from clipindex.collection.schema import Connection, Database, transaction

KEPT = 500  # runs that are remembered
NOTHING_DONE: Mapping[str, int] = MappingProxyType({})
COLUMNS = (
    "id, started, finished, ended, command, pid, host, exit_code, reason, counts, summary, refused"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """What is remembered of one run. Times are ISO 8601, UTC. What a run of an earlier version did
    not note is None."""

    number: int
    started: str
    finished: str | None  # None: it runs, or did not do all its work
    ended: str | None  # None: it runs, or was killed
    command: str | None
    pid: int | None
    host: str | None
    exit_code: int | None
    reason: str | None  # of a bad end
    counts: dict[str, int]  # what was done so far
    summary: dict[str, object] | None  # of a finished ingest or reindex
    refused: bool  # it ended before it began


class RunHistory(Database):
    """The part of the catalogue that remembers runs."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._run: int | None = None  # the number of the run under way
        self._counts: Counter[str] = Counter()

    def begin_run(self, started: str, command: str = "") -> tuple[int, bool]:
        """Note that a run begins. Returns its number and whether the one before it finished."""
        with self._held() as database, transaction(database):
            last = database.execute(
                "SELECT finished FROM runs WHERE NOT refused ORDER BY id DESC LIMIT 1"
            ).fetchone()
            database.execute("UPDATE runs SET finished = '' WHERE finished IS NULL")
            number = database.execute(
                "INSERT INTO runs (started, command, pid, host) VALUES (?, ?, ?, ?)",
                (started, command, os.getpid(), socket.gethostname()),
            ).lastrowid
            assert number is not None  # SQLite gives every insert a row id
            _forget_old_runs(database, number)
        self._run = number
        self._counts.clear()
        return number, last is not None and last[0] is not None

    def count(self, **done: int) -> None:
        """Add to the counts of the run under way."""
        with self._change(done):
            pass

    @contextmanager
    def _change(self, done: Mapping[str, int] = NOTHING_DONE) -> Iterator[Connection]:
        """A transaction, in which `done` is added to the counts of the run under way."""
        counts = self._counts.copy()
        counts.update(done)
        with self._held() as database:
            with transaction(database):
                yield database
                if done and self._run is not None:
                    database.execute(
                        "UPDATE runs SET counts = ? WHERE id = ?", (json.dumps(counts), self._run)
                    )
            self._counts = counts

    def finish_run(
        self,
        number: int,
        finished: str,
        summary: dict[str, object] | None,
        points: int | None = None,
    ) -> None:
        """Note that a run ended, so that the next one need not reconcile points and catalogue.
        `summary` is None for a change that is not an ingest, such as tags; `points` is the number
        of points of this source."""
        code = int(str((summary or {}).get("exit_code", 0)))
        with self._held() as database:
            database.execute(
                "UPDATE runs SET finished = ?, ended = ?, exit_code = ?, summary = ?, points = ?"
                " WHERE id = ?",
                (finished, finished, code, summary and json.dumps(summary), points, number),
            )

    def stop_run(self, ended: str, exit_code: int | None, reason: str) -> None:
        """Note that the run under way ended before it was done; the next one reconciles. A run
        that has ended keeps what it noted."""
        with self._held() as database:
            database.execute(
                "UPDATE runs SET ended = ?, exit_code = ?, reason = ?"
                " WHERE id = ? AND ended IS NULL",
                (ended, exit_code, reason, self._run),
            )

    def refuse_run(self, ended: str, command: str, exit_code: int | None, reason: str) -> None:
        """Note a run that ended before it began, perhaps while another one is under way."""
        with self._held() as database, transaction(database):
            number = database.execute(
                "INSERT INTO runs"
                " (started, finished, ended, command, pid, host, exit_code, reason, refused)"
                " VALUES (?, '', ?, ?, ?, ?, ?, ?, 1)",
                (ended, ended, command, os.getpid(), socket.gethostname(), exit_code, reason),
            ).lastrowid
            assert number is not None
            _forget_old_runs(database, number)

    @property
    def has_begun(self) -> bool:
        """Whether a run began through this very object."""
        return self._run is not None

    def noted_points(self) -> int | None:
        """How many points this source had when a run last ended; None when no run noted it."""
        with self._held():
            noted = self._database.execute(
                "SELECT points FROM runs WHERE points IS NOT NULL ORDER BY id DESC LIMIT 1"
            ).fetchone()
        return None if noted is None else int(noted[0])

    def latest_begun(self) -> RunRecord | None:
        """The latest run of any command, without those that could not begin. While it is not
        finished, points and catalogue may differ."""
        return self._latest("NOT refused")

    def last_run(self) -> RunRecord | None:
        """The latest ingest or reindex, or a later change that did not finish."""
        return self._latest("finished IS NULL OR finished = '' OR summary IS NOT NULL")

    def last_success(self) -> RunRecord | None:
        """The latest ingest or reindex that did all its work: it ended with exit code 0 or 3."""
        return self._latest("summary IS NOT NULL AND finished <> ''")

    def unended_run(self) -> RunRecord | None:
        """The latest run that began, if it has not ended: it is under way, or was killed."""
        run = self.latest_begun()
        return run if run is not None and run.finished is None and run.ended is None else None

    def _latest(self, condition: str) -> RunRecord | None:
        with self._held() as database:
            values = database.execute(
                f"SELECT {COLUMNS} FROM runs WHERE {condition} ORDER BY id DESC LIMIT 1"
            ).fetchone()
        if values is None:
            return None
        number, started, finished, ended, command, pid, host, code, reason, *texts = values
        counts, summary, refused = texts
        return RunRecord(
            number=number,
            started=started,
            finished=finished or None,
            ended=ended,
            command=command or None,
            pid=pid,
            host=host,
            exit_code=code,
            reason=reason,
            counts=json.loads(counts) if counts else {},
            summary=json.loads(summary) if summary else None,
            refused=bool(refused),
        )


def _forget_old_runs(database: Connection, number: int) -> None:
    """Keep the last runs, the last one that did all its work, the last number of points, and every
    run that has not ended."""
    database.execute(
        "DELETE FROM runs WHERE id <= ? AND finished IS NOT NULL"
        " AND id <> (SELECT coalesce(max(id), 0) FROM runs WHERE points IS NOT NULL)"
        " AND id <> (SELECT coalesce(max(id), 0) FROM runs WHERE summary IS NOT NULL)"
        " AND id <> (SELECT coalesce(max(id), 0) FROM runs WHERE NOT refused)",
        (number - KEPT,),
    )
