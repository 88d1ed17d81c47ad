"""What people decided about pictures that look alike, and the perceptual hashes that show it.

Both belong to contents, by their SHA-256, not to paths or points: a verdict outlives a rename, a
new model and a new machine, and a content that comes back finds it again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from clipindex.collection.schema import Database, transaction

Digest = bytes  # SHA-256
Apart = tuple[Digest, Digest]  # in order


@dataclass(frozen=True, slots=True)
class Verdicts:
    """All verdicts, each with the time it was made (ISO 8601, UTC). `different`: these two are
    not the same picture. `keep`: this one is the best of its group."""

    different: Mapping[Apart, str] = field(default_factory=dict)
    keep: Mapping[Digest, str] = field(default_factory=dict)


def apart(one: Digest, other: Digest) -> Apart:
    """Two contents in the order in which a verdict names them."""
    return (one, other) if one < other else (other, one)


class VerdictTables(Database):
    """The verdicts and the perceptual hashes of one catalogue."""

    def verdicts(self) -> Verdicts:
        """All of them."""
        with self._held() as database:
            different = database.execute("SELECT one, other, made FROM different").fetchall()
            keep = database.execute("SELECT sha256, made FROM keep").fetchall()
        return Verdicts({(one, other): made for one, other, made in different}, dict(keep))

    def add_verdicts(self, verdicts: Verdicts) -> int:
        """Add verdicts, those of an import among them; returns how many are new."""
        with self._held() as database, transaction(database):
            before = database.total_changes
            database.executemany(
                "INSERT OR IGNORE INTO different VALUES (?, ?, ?)",
                ((*pair, made) for pair, made in verdicts.different.items()),
            )
            database.executemany("INSERT OR IGNORE INTO keep VALUES (?, ?)", verdicts.keep.items())
            return database.total_changes - before

    def forget_verdicts(self, contents: Iterable[Digest]) -> int:
        """Forget every verdict that names one of the contents; returns how many."""
        names = [(content,) for content in contents]
        with self._held() as database, transaction(database):
            before = database.total_changes
            database.executemany("DELETE FROM different WHERE one = ?", names)
            database.executemany("DELETE FROM different WHERE other = ?", names)
            database.executemany("DELETE FROM keep WHERE sha256 = ?", names)
            return database.total_changes - before

    def likenesses(self, version: int) -> dict[Digest, bytes]:
        """The perceptual hashes of this version, by content: 1 kB each."""
        with self._held() as database:
            rows = database.execute(
                "SELECT sha256, hashes FROM likeness WHERE version = ?", (version,)
            )
            return dict(rows.fetchall())

    def add_likenesses(self, version: int, hashes: Mapping[Digest, bytes]) -> None:
        """Keep perceptual hashes, in place of those of other versions."""
        rows = [(content, version, value) for content, value in hashes.items()]
        with self._held() as database, transaction(database):
            database.executemany("INSERT OR REPLACE INTO likeness VALUES (?, ?, ?)", rows)

    def drop_likenesses(self, existing: Iterable[Digest]) -> None:
        """Forget the hashes of contents that the collection no longer has."""
        with self._held() as database:
            known = {row[0] for row in database.execute("SELECT sha256 FROM likeness")}
        gone = [(content,) for content in known.difference(existing)]
        if gone:
            with self._held() as database, transaction(database):
                database.executemany("DELETE FROM likeness WHERE sha256 = ?", gone)


def now() -> str:
    """ISO 8601, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
