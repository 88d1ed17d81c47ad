"""The runs of a collection, as its catalogue remembers them."""

from __future__ import annotations

import json

from clipindex.collection.schema import Database


class RunHistory(Database):
    """The part of the catalogue that remembers runs."""

    def begin_run(self, started: str) -> tuple[int, bool]:
        """Note that a run begins. Returns its number and whether the one before it finished."""
        with self._held():
            last = self._database.execute(
                "SELECT finished FROM runs ORDER BY id DESC LIMIT 1"
            ).fetchone()
            self._database.execute("UPDATE runs SET finished = '' WHERE finished IS NULL")
            number = self._database.execute(
                "INSERT INTO runs (started) VALUES (?)", (started,)
            ).lastrowid
        assert number is not None  # SQLite gives every insert a row id
        return number, last is not None and last[0] is not None

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
        with self._held():
            self._database.execute(
                "UPDATE runs SET finished = ?, summary = ?, points = ? WHERE id = ?",
                (finished, summary and json.dumps(summary), points, number),
            )

    def noted_points(self) -> int | None:
        """How many points this source had when a run last ended; None when no run noted it."""
        with self._held():
            noted = self._database.execute(
                "SELECT points FROM runs WHERE points IS NOT NULL ORDER BY id DESC LIMIT 1"
            ).fetchone()
        return None if noted is None else int(noted[0])

    def last_run(self) -> tuple[str, str | None, dict[str, object] | None] | None:
        """When the latest run started and finished, and its summary."""
        with self._held():
            run = self._database.execute(
                "SELECT started, finished, summary FROM runs"
                " WHERE finished IS NULL OR finished = '' OR summary IS NOT NULL"
                " ORDER BY id DESC LIMIT 1"
            ).fetchone()
        if run is None:
            return None
        started, finished, summary = run
        return started, finished or None, json.loads(summary) if summary else None
