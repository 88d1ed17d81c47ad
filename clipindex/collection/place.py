"""Where a collection lives: in a folder, or on a server with its catalogue in the state folder."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from clipindex.collection.contract import StoredContract
from clipindex.errors import StoreError
from clipindex.stores.points import Points


class Place(Protocol):
    """What the rest of the program asks of the place of a collection."""

    @property
    def collection(self) -> str:
        """The collection's name."""

    @property
    def source(self) -> str:
        """Whose files: each source judges only its own."""

    @property
    def name(self) -> str:
        """The store, as it is reported: a folder or a URL."""

    @property
    def folder(self) -> Path:
        """What lies on this machine: lock, catalogue; for an embedded store all of it."""

    @property
    def lock(self) -> Path:
        """Held by every run that writes."""

    @property
    def excluded_folder(self) -> Path:
        """Never walked."""

    def resolve_alias(self) -> Place:
        """The place under the collection's own name. An alias is followed here and no further:
        a run stays with the collection it began with, whoever switches the alias meanwhile."""

    def aliases(self) -> dict[str, str]:
        """Every alias in the store, and the collection that it stands for."""

    def set_alias(self, alias: str) -> str | None:
        """Let an alias stand for this collection; returns what it stood for. Raises UsageError
        where a collection has that name, ContractMismatch where the alias is another's."""

    def delete_alias(self, alias: str) -> str:
        """Take an alias away; returns what it stood for. Raises UsageError where there is none,
        and as `set_alias` does."""

    def for_part(self, number: int, of: int) -> Place:
        """The place as a run of one part sees it."""

    def find_contract(self) -> StoredContract | None:
        """The contract, None where no collection is."""

    def require_contract(self) -> StoredContract:
        """The contract. Raises StoreError where no collection is."""

    def open(self, stored: StoredContract) -> tuple[Points, Path]:
        """The points, open for writing and made where there are none; and where the catalogue
        of this very collection lies."""

    def save_contract(self, stored: StoredContract) -> None:
        """Put the contract in its place, last of all: from then on the collection exists."""

    def open_for_reading(self, stored: StoredContract) -> AbstractContextManager[Points]:
        """The points, open for one search.

        Raises ContractMismatch when this is no longer the collection that `stored` describes.
        """

    def find_catalogue(self) -> Path | None:
        """The catalogue's file, None where there is none yet."""


def required(stored: StoredContract | None, place: Place) -> StoredContract:
    """The contract. Raises StoreError where there is none."""
    if stored is None:
        raise StoreError(
            f"there is no collection '{place.collection}' in {place.name}",
            path=place.name,
            hint="make one: clipindex ingest FOLDER (with the same --store or --url)",
        )
    return stored
