"""The files of metadata that a collection remembers, so that later pictures get theirs."""

from __future__ import annotations

import json
from dataclasses import dataclass

from clipindex.collection.schema import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class MetadataFile:
    """A file whose columns are joined to pictures."""

    path: bytes
    key: str | None  # the column that names pictures; None: found by its name
    texts: tuple[str, ...] = ()  # columns that are text whatever they look like
    fields: tuple[str, ...] = ()  # of the payload, that it brought when it was last joined
    sha256: str = ""  # of the bytes that were last joined to all pictures


class MetadataFiles(Database):
    """The remembered files of one catalogue."""

    def metadata_files(self) -> list[MetadataFile]:
        """In the order in which they are joined: of two values of one field the later holds."""
        with self._held() as database:
            rows = database.execute("SELECT path, about FROM metadata ORDER BY rowid").fetchall()
        return [_file(path, json.loads(about)) for path, about in rows]

    def remember_metadata(self, file: MetadataFile) -> None:
        """Remember a file, or what is new of one."""
        about = {"key": file.key, "texts": file.texts, "fields": file.fields, "sha256": file.sha256}
        with self._held() as database:
            database.execute(
                "INSERT INTO metadata (path, about) VALUES (?, ?)"
                " ON CONFLICT (path) DO UPDATE SET about = excluded.about",
                (file.path, json.dumps(about)),
            )

    def forget_metadata(self, path: bytes) -> None:
        """Forget a file."""
        with self._held() as database:
            database.execute("DELETE FROM metadata WHERE path = ?", (path,))


def _file(path: bytes, about: dict[str, object]) -> MetadataFile:
    texts, fields = about["texts"], about["fields"]
    assert isinstance(texts, list)
    assert isinstance(fields, list)
    return MetadataFile(
        path=path,
        key=None if about["key"] is None else str(about["key"]),
        texts=tuple(texts),
        fields=tuple(fields),
        sha256=str(about["sha256"]),
    )
