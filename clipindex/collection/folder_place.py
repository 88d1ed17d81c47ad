"""An embedded collection: all of it is in one folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from clipindex.collection import generations
from clipindex.collection.contract import StoredContract
from clipindex.collection.generations import FIRST
from clipindex.collection.lock import KEPT_OPEN, PATIENCE
from clipindex.collection.names import DEFAULT_COLLECTION, check_names
from clipindex.collection.place import Beside, Located, Opened, required
from clipindex.collection.sharing.hold import Hold, held
from clipindex.collection.sharing.reading import Readable, Reader
from clipindex.errors import StoreError, Switched
from clipindex.files.durable import disk_errors
from clipindex.files.identity import LOCAL
from clipindex.files.replacing import as_it_is, go_back, settle
from clipindex.stores import readable_shard
from clipindex.stores.edge import EdgePoints


@dataclass(frozen=True, slots=True)
class FolderPlace:
    """An embedded collection: STORE/COLLECTION/ and the files in it. `generation`: which of its
    collections, where it was switched to another model (see `generations`)."""

    store: Path
    collection: str = DEFAULT_COLLECTION
    source: str = LOCAL
    patience: float = field(default=PATIENCE, compare=False)
    generation: str = FIRST
    is_beside: bool = field(default=False, compare=False)  # it need not be the live one

    def __post_init__(self) -> None:
        check_names(self.collection, self.source)

    @property
    def source_is_default(self) -> bool:
        return False  # an embedded store is this machine's alone

    @property
    def name(self) -> str:
        return str(self.store)

    @property
    def folder(self) -> Path:
        return self.store / self.collection

    @property
    def lock(self) -> Path:
        return self.folder / "lock"

    @property
    def excluded_folder(self) -> Path:
        return self.store

    @property
    def files(self) -> Path:
        """Where this generation's own files lie."""
        return self.folder / self.generation

    @property
    def contract(self) -> Path:
        return self.files / "contract.json"

    @property
    def catalogue(self) -> Path:
        tail = "" if self.source == LOCAL else f"-{self.source}"
        return self.files / f"catalogue{tail}.sqlite"

    @property
    def shard(self) -> Path:
        return self.files / "shard"

    def for_part(self, number: int, of: int) -> FolderPlace:  # noqa: ARG002
        """All parts share one lock and one catalogue: they take turns."""
        return self

    def locate(self, *, for_writing: bool = False) -> Located:  # noqa: ARG002
        with suppress(OSError):  # a replacement may have been interrupted
            if not self.folder.exists():
                go_back(self.folder)
        live, stored = generations.read_live(self.folder)
        place = replace(self, generation=live, is_beside=False)
        if stored is None and live != FIRST:
            raise StoreError(
                f"the collection '{live}' that contract.json names is gone",
                path=str(place.files),
                hint="restore the whole collection from a backup",
            )
        return Located(place, stored, beside=place._beside())

    def catalogue_for(self, stored: StoredContract) -> Path:  # noqa: ARG002
        return self.catalogue

    def open(self, wanted: StoredContract, *, create: bool) -> Opened:
        """Points without a contract are never taken over: the contract was lost."""
        current = self._current()
        if current is None and not create:
            current = required(None, self)
        if current is not None:
            current.contract.check(wanted.contract)
        with disk_errors(self.shard, "the collection's points cannot be put back in their place"):
            settle(self.shard)
        points = EdgePoints(self.shard, wanted.contract.dimension, make=current is None)
        if current is None and points.count():
            points.close()
            raise StoreError(
                "the collection has points, but its contract.json is gone",
                path=str(self.contract),
                hint="restore that file from a backup, or ingest into a new --collection",
            )
        return Opened(
            points=points,
            catalogue=self.catalogue,
            stored=current or wanted,
            is_new=current is None,
        )

    def save_contract(self, stored: StoredContract) -> None:
        generations.write_stored(self.folder, self.generation, stored)

    def hold(self, purpose: str) -> AbstractContextManager[Hold]:
        return held(self.lock, purpose, self.patience)

    @contextmanager
    def open_for_reading(self, stored: StoredContract, purpose: str) -> Iterator[Reader]:
        """Holds the lock, or asks the process that does. A query has loaded its model before, so
        it holds the lock for 0.1 s, and those that wait for it are answered at once."""
        reader = Reader(self._readable(stored), purpose, keeps=False)
        with closing(reader):
            reader.begin()
            yield reader

    def kept_reader(self, stored: StoredContract) -> Reader:
        """A reader that may stay open for long: it hands the lock over to a writer."""
        return Reader(self._readable(stored), KEPT_OPEN, keeps=True)

    def _readable(self, stored: StoredContract) -> Readable:
        def check() -> None:
            stored.contract.check(required(self._current(), self).contract)

        def open_points(alone: bool) -> AbstractContextManager[EdgePoints]:
            """A collection that may not be written to is read from a temporary copy."""
            if alone:
                with suppress(OSError):  # where nothing may be renamed
                    settle(self.shard)
            shard, dimension = as_it_is(self.shard), stored.contract.dimension
            return readable_shard.open_for_reading(shard, dimension, in_place=alone)

        return Readable(lock=self.lock, location=str(self.shard), check=check, opened=open_points)

    # --- a switch to another model -------------------------------------------------------------

    def begin_beside(self, wanted: StoredContract) -> Beside:
        name = generations.next_generation(self.folder)
        place = replace(self, generation=name, is_beside=True)
        with disk_errors(place.files, "the new collection cannot be created"):
            place.files.mkdir()
            EdgePoints(place.shard, wanted.contract.dimension, make=True).close()
        place.save_contract(wanted)
        generations.begin(self.folder, name)
        beside = self._beside()
        assert beside is not None  # it was just begun
        return beside

    def make_live(self, beside: Beside) -> None:
        assert isinstance(beside.place, FolderPlace)
        generations.forget_bookmarks(self.folder)
        generations.make_live(self.folder, beside.place.generation)

    def drop(self, beside: Beside) -> None:
        assert isinstance(beside.place, FolderPlace)
        generations.drop(self.folder, beside.place.generation)

    def finish_drop(self) -> bool:
        return generations.finish_drop(self.folder)

    def _beside(self) -> Beside | None:
        names = generations.read_generations(self.folder)
        other = None if names is None else names.other(self.generation)
        if names is None or other is None or names.dropping is not None:
            return None
        stored = generations.read_stored(self.folder, other)
        if stored is None:
            return None
        place = replace(self, generation=other, is_beside=True)
        return Beside(place=place, stored=stored, is_new=other == names.new, began=names.began)

    def _current(self) -> StoredContract | None:
        """This generation's contract as it is now. Raises Switched where it is no longer live."""
        if self.is_beside:
            return generations.read_stored(self.folder, self.generation)
        live, stored = generations.read_live(self.folder)
        if live != self.generation:
            raise Switched(
                f"'{self.collection}' was switched to another model meanwhile",
                path=str(self.folder),
                hint="run the same command again",
            )
        return stored
