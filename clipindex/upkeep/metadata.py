"""Metadata from files of people: joined to the pictures, remembered, and joined again."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from clipindex.collection.metadata_files import MetadataFile
from clipindex.collection.opening import Collection, open_for_change
from clipindex.collection.place import Place
from clipindex.errors import ClipIndexWarning, UsageError
from clipindex.files.identity import display_path
from clipindex.stores.described import own_fields
from clipindex.stores.filter import Filter
from clipindex.stores.labels import INDEX_KINDS
from clipindex.stores.payload import META, Payload
from clipindex.stores.verified import BatchVerified
from clipindex.upkeep.metadata_table import Row, Table, read_table
from clipindex.upkeep.tagging import rewrite


@dataclass(frozen=True, slots=True, kw_only=True)
class MetadataReport:
    """What became of a file's rows."""

    file: str
    rows: int
    matched: int  # rows that name at least one picture
    pictures: int  # that have metadata of the file
    changed: int  # pictures whose metadata is another one now
    fields: dict[str, str]  # key -> kind
    unmatched: tuple[Row, ...]


@dataclass(slots=True)
class Joiner:
    """The remembered files of a collection, read."""

    files: list[MetadataFile] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    owned: set[str] = field(default_factory=set)  # fields that no other value may stay in
    is_new: bool = False  # whether a file differs from what all pictures were joined to

    def payload(self, payload: Payload) -> Payload:
        """A picture's payload with its metadata; where the files say nothing of a field, that is
        what the picture's own file says."""
        fields = self.fields_of(str(payload.get("path", "")))
        kept = {name: value for name, value in payload.items() if name not in self.owned}
        return {**own_fields(payload), **kept, **fields}

    def fields_of(self, path: str) -> Payload:
        """The fields that the files give the picture at this path, of several the last one."""
        fields: Payload = {}
        for table in self.tables:
            fields.update(table.fields_of(path))
        return fields


def joiner_for(collection: Collection, *, forgotten: Sequence[MetadataFile] = ()) -> Joiner:
    """Reads the remembered files. One that cannot be read keeps what it brought: a warning."""
    joiner = Joiner(owned={name for file in forgotten for name in file.fields})
    unread: set[str] = set()
    for file in collection.catalogue.metadata_files():
        try:
            data = read_file(file.path)
            table = read_table(data, display_path(file.path), file.key, file.texts)
        except UsageError as error:
            message = f"metadata stays as it is: {error.message} ({display_path(file.path)})"
            warnings.warn(message, ClipIndexWarning, stacklevel=2)
            unread.update(file.fields)
            continue
        digest = hashlib.sha256(data).hexdigest()
        joiner.is_new |= digest != file.sha256
        joiner.files.append(replace(file, sha256=digest, fields=tuple(sorted(table.kinds))))
        joiner.tables.append(table)
        joiner.owned |= {*file.fields, *table.kinds}
    joiner.owned -= unread
    return joiner


def join_all(collection: Collection, joiner: Joiner) -> Iterator[BatchVerified]:
    """Give all pictures of this source what the files say of them, and remember that."""
    _index(collection, joiner)
    points = collection.points
    changed = [
        name
        for name, payload in points.scroll(Filter().also(("source", collection.source)))
        if joiner.payload(payload) != payload
    ]
    yield from rewrite(points, changed, joiner.payload)
    for file in joiner.files:
        collection.catalogue.remember_metadata(file)
    joiner.is_new = False


def _index(collection: Collection, joiner: Joiner) -> None:
    for table in joiner.tables:
        for name, kind in table.kinds.items():
            collection.points.index_field(name, INDEX_KINDS[kind])


def join(
    place: Place, file: Path, *, key: str | None = None, texts: Sequence[str] = ()
) -> MetadataReport:
    """Join a file's columns to the pictures, and remember the file. Raises UsageError for a file
    that cannot be read as a table; then nothing is changed."""
    path = check_table(file, key, texts)
    with open_for_change(place, "metadata") as collection:
        collection.catalogue.remember_metadata(_known(collection, path, key, tuple(texts)))
        joiner = joiner_for(collection)
        changed = sum(batch.points for batch in join_all(collection, joiner))
        index = [known.path for known in joiner.files].index(path)
        table = joiner.tables[index]
        pictures = sum(
            1
            for _, payload in collection.points.scroll(Filter().also(("source", collection.source)))
            if table.fields_of(str(payload.get("path", "")))
        )
    unmatched = tuple(table.unmatched())
    return MetadataReport(
        file=display_path(path),
        rows=len(table.rows),
        matched=len(table.rows) - len(unmatched),
        pictures=pictures,
        changed=changed,
        fields={name.removeprefix(META): str(kind) for name, kind in sorted(table.kinds.items())},
        unmatched=unmatched,
    )


def check_table(file: Path, key: str | None = None, texts: Sequence[str] = ()) -> bytes:
    """The absolute path of a file of metadata. Raises UsageError for a file that is no table."""
    path = os.fsencode(os.path.abspath(os.path.expanduser(file)))
    read_table(read_file(path), display_path(path), key, texts)
    return path


def forget(place: Place, file: Path) -> int:
    """Forget a file and take what it brought off the pictures; returns off how many. Raises
    UsageError for a file that is not remembered."""
    path = os.fsencode(os.path.abspath(os.path.expanduser(file)))
    with open_for_change(place, "metadata") as collection:
        files = collection.catalogue.metadata_files()
        known = next((each for each in files if each.path == path), None)
        if known is None:
            names = ", ".join(display_path(each.path) for each in files)
            raise UsageError(
                "this file's metadata was never joined",
                path=display_path(path),
                hint=f"remembered: {names}" if names else "no file is remembered",
            )
        collection.catalogue.forget_metadata(path)
        joiner = joiner_for(collection, forgotten=[known])
        return sum(batch.points for batch in join_all(collection, joiner))


def _known(
    collection: Collection, path: bytes, key: str | None, texts: tuple[str, ...]
) -> MetadataFile:
    for file in collection.catalogue.metadata_files():
        if file.path == path:
            return replace(file, key=key, texts=texts)
    return MetadataFile(path=path, key=key, texts=texts)


def read_file(path: bytes) -> bytes:
    """The bytes of a table. Raises UsageError for a file that cannot be read."""
    try:
        return Path(os.fsdecode(path)).read_bytes()
    except OSError as error:
        raise UsageError(
            f"the file cannot be read: {error.strerror}",
            path=display_path(path),
            hint="correct the path",
        ) from error
