"""An embedded collection: all of it is in one folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from clipindex.collection import lock
from clipindex.collection.contract import StoredContract, read_contract, write_contract
from clipindex.collection.names import DEFAULT_COLLECTION, check_names
from clipindex.collection.place import Located, Opened, required
from clipindex.errors import StoreError
from clipindex.files.identity import LOCAL
from clipindex.stores import edge
from clipindex.stores.edge import EdgePoints
from clipindex.stores.points import Points


@dataclass(frozen=True, slots=True)
class FolderPlace:
    """An embedded collection: STORE/COLLECTION/ and the files in it."""

    store: Path
    collection: str = DEFAULT_COLLECTION
    source: str = LOCAL

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

    @contextmanager
    def open_for_reading(self, stored: StoredContract, purpose: str) -> Iterator[Points]:
        """Holds the lock; a query has loaded its model before, so it holds it for 0.1 s. A
        collection that may not be written to is read from a temporary copy."""
        with lock.locked_for_reading(self.lock, purpose) as alone:
            current = required(read_contract(self.contract), self)
            stored.contract.check(current.contract)
            dimension = stored.contract.dimension
            with edge.open_for_reading(self.shard, dimension, in_place=alone) as points:
                yield points
