"""An embedded collection: all of it lies in one folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from clipindex import lock
from clipindex.contract import StampedContract, read_contract, write_contract
from clipindex.errors import StoreError, UsageError
from clipindex.identity import LOCAL
from clipindex.places import DEFAULT_COLLECTION, check_names, there
from clipindex.stores import Store
from clipindex.stores.edge import EdgeStore


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
    def avoid(self) -> Path:
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

    def followed(self) -> FolderPlace:
        return self

    def aliases(self) -> dict[str, str]:
        return {}

    def point_alias(self, alias: str) -> str | None:
        raise UsageError(
            f"'{alias}' cannot be an alias in a folder: only a Qdrant server has them (--url)",
            path=self.name,
            hint="here each query names the collection that it means with --collection",
        )

    def drop_alias(self, alias: str) -> str:
        raise UsageError(f"'{alias}' is no alias: a folder has none", path=self.name)

    def of_part(self, number: int, of: int) -> FolderPlace:  # noqa: ARG002
        """One lock, one catalogue for all parts: they take turns."""
        return self

    def read(self) -> StampedContract | None:
        return read_contract(self.contract)

    def stamped(self) -> StampedContract:
        return there(self.read(), self)

    def open(self, stamped: StampedContract) -> tuple[Store, Path]:
        """The contract is written before the first point: if points are there, it was lost."""
        is_new = self.read() is None
        store = EdgeStore(self.shard, stamped.contract.dimension, make=is_new)
        if is_new and store.count():
            store.close()
            raise StoreError(
                "the collection has points, but its contract.json is gone",
                path=str(self.contract),
                hint="restore that file from a backup, or ingest into a new --collection",
            )
        return store, self.catalogue

    def stamp(self, stamped: StampedContract) -> None:
        if self.read() != stamped:
            write_contract(self.contract, stamped)

    @contextmanager
    def asked(self, stamped: StampedContract) -> Iterator[Store]:
        """Under the lock; the model was loaded before, so it takes 0.1 s."""
        with lock.locked(self.lock, "query", lock.QUERY_PATIENCE):
            stamped.contract.check(self.stamped().contract)
            store = EdgeStore(self.shard, stamped.contract.dimension, make=False)
            try:
                yield store
            finally:
                store.close()

    def find_catalogue(self) -> Path | None:
        return self.catalogue if self.catalogue.exists() else None
