"""An embedded collection: all of it is in one folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from clipindex.collection.contract import StoredContract, read_contract, write_contract
from clipindex.collection.lock import PATIENCE
from clipindex.collection.names import DEFAULT_COLLECTION, check_names
from clipindex.collection.place import Located, Opened, required
from clipindex.collection.sharing.hold import Hold, held
from clipindex.collection.sharing.reading import Readable, Reader
from clipindex.errors import StoreError
from clipindex.files.durable import disk_errors
from clipindex.files.identity import LOCAL
from clipindex.files.replacing import as_it_is, go_back, settle
from clipindex.stores import readable_shard
from clipindex.stores.edge import EdgePoints


@dataclass(frozen=True, slots=True)
class FolderPlace:
    """An embedded collection: STORE/COLLECTION/ and the files in it."""

    store: Path
    collection: str = DEFAULT_COLLECTION
    source: str = LOCAL
    patience: float = field(default=PATIENCE, compare=False)

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
    def contract(self) -> Path:
        return self.folder / "contract.json"

    @property
    def catalogue(self) -> Path:
        tail = "" if self.source == LOCAL else f"-{self.source}"
        return self.folder / f"catalogue{tail}.sqlite"

    @property
    def shard(self) -> Path:
        return self.folder / "shard"

    def for_part(self, number: int, of: int) -> FolderPlace:  # noqa: ARG002
        """All parts share one lock and one catalogue: they take turns."""
        return self

    def locate(self, *, for_writing: bool = False) -> Located:  # noqa: ARG002
        with suppress(OSError):  # a replacement may have been interrupted
            if not self.folder.exists():
                go_back(self.folder)
        return Located(self, read_contract(self.contract))

    def catalogue_for(self, stored: StoredContract) -> Path:  # noqa: ARG002
        return self.catalogue

    def open(self, wanted: StoredContract, *, create: bool) -> Opened:
        """Points without a contract are never taken over: the contract was lost."""
        current = read_contract(self.contract)
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
        write_contract(self.contract, stored)

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
        return Reader(self._readable(stored), "an open Index", keeps=True)

    def _readable(self, stored: StoredContract) -> Readable:
        def check() -> None:
            stored.contract.check(required(read_contract(self.contract), self).contract)

        def open_points(alone: bool) -> AbstractContextManager[EdgePoints]:
            """A collection that may not be written to is read from a temporary copy."""
            if alone:
                with suppress(OSError):  # where nothing may be renamed
                    settle(self.shard)
            shard, dimension = as_it_is(self.shard), stored.contract.dimension
            return readable_shard.open_for_reading(shard, dimension, in_place=alone)

        return Readable(lock=self.lock, location=str(self.shard), check=check, opened=open_points)
