"""An embedded collection: all of it lies in one folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from clipindex.collection import lock
from clipindex.collection.contract import StoredContract, read_contract, write_contract
from clipindex.collection.names import DEFAULT_COLLECTION, check_names
from clipindex.collection.place import required
from clipindex.errors import StoreError, UsageError
from clipindex.files.identity import LOCAL
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

    def resolve_alias(self) -> FolderPlace:
        return self

    def aliases(self) -> dict[str, str]:
        return {}

    def set_alias(self, alias: str) -> str | None:
        raise UsageError(
            f"'{alias}' cannot be an alias in a folder: only a Qdrant server has them (--url)",
            path=self.name,
            hint="here each query names the collection that it means with --collection",
        )

    def delete_alias(self, alias: str) -> str:
        raise UsageError(f"'{alias}' is no alias: a folder has none", path=self.name)

    def for_part(self, number: int, of: int) -> FolderPlace:  # noqa: ARG002
        """One lock, one catalogue for all parts: they take turns."""
        return self

    def find_contract(self) -> StoredContract | None:
        return read_contract(self.contract)

    def require_contract(self) -> StoredContract:
        return required(self.find_contract(), self)

    def open(self, stored: StoredContract) -> tuple[Points, Path]:
        """The contract is written before the first point: if points are there, it was lost."""
        is_new = self.find_contract() is None
        store = EdgePoints(self.shard, stored.contract.dimension, make=is_new)
        if is_new and store.count():
            store.close()
            raise StoreError(
                "the collection has points, but its contract.json is gone",
                path=str(self.contract),
                hint="restore that file from a backup, or ingest into a new --collection",
            )
        return store, self.catalogue

    def save_contract(self, stored: StoredContract) -> None:
        if self.find_contract() != stored:
            write_contract(self.contract, stored)

    @contextmanager
    def open_for_reading(self, stored: StoredContract) -> Iterator[Points]:
        """Under the lock; the model was loaded before, so it takes 0.1 s."""
        with lock.locked(self.lock, "query", lock.QUERY_PATIENCE):
            stored.contract.check(self.require_contract().contract)
            store = EdgePoints(self.shard, stored.contract.dimension, make=False)
            try:
                yield store
            finally:
                store.close()

    def find_catalogue(self) -> Path | None:
        return self.catalogue if self.catalogue.exists() else None
