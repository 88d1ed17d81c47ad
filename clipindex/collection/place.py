"""Where a collection is kept: in a folder, or on a server with its catalogue on this machine."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, runtime_checkable

from clipindex.collection.contract import StoredContract
from clipindex.collection.sharing.hold import Hold
from clipindex.errors import StoreError, UsageError
from clipindex.stores.points import Points, ReadablePoints
from clipindex.stores.search_method import EXACT, SearchMethod


class Place(Protocol):
    """A collection's place. Nothing is opened or held between calls."""

    @property
    def collection(self) -> str:
        """The collection's name."""

    @property
    def source(self) -> str:
        """Whose files: a run judges only files of its own source."""

    @property
    def source_is_default(self) -> bool:
        """Whether nobody named the source, and this machine's name stands for it."""

    @property
    def name(self) -> str:
        """The store as messages name it: a folder or a URL."""

    @property
    def folder(self) -> Path:
        """The collection's files on this machine: lock and catalogue, embedded all of them."""

    @property
    def lock(self) -> Path:
        """The lock file that every run holds while it writes."""

    @property
    def excluded_folder(self) -> Path:
        """A folder that is never walked."""

    def for_part(self, number: int, of: int) -> Place:
        """The place of a run that takes part `number` of `of`."""

    def locate(self, *, for_writing: bool = False) -> Located:
        """Look once for the collection: follow an alias, read the contract. A command that is
        going to write waits as long for a server as its writes do.

        Whoever switches the alias later does not move a run that has begun.
        """

    def catalogue_for(self, stored: StoredContract) -> Path:
        """Path of the catalogue of this very collection, whether the file exists or not."""

    def open(self, wanted: StoredContract, *, create: bool) -> Opened:
        """Open the points for writing, under the lock; with `create`, create a missing collection.

        The contract is read again: another run may have created the collection meanwhile. Raises
        ContractMismatch when it did so with another contract, StoreError when there is no
        collection.
        """

    @property
    def patience(self) -> float:
        """Seconds that a writer waits for the lock."""

    def hold(self, purpose: str) -> AbstractContextManager[Hold]:
        """Hold the lock for writing. `purpose`, the command, is named to whoever is refused
        meanwhile. Raises CollectionBusy when another process still holds it after `patience`
        seconds."""

    def save_contract(self, stored: StoredContract) -> None:
        """Write the contract. Of a new collection it is written last: then it exists."""

    def begin_beside(self, wanted: StoredContract) -> Beside:
        """Create an empty collection beside this live one, for a switch to it later. It exists
        once this returns, and after a kill not at all.

        Raises Refused where the name cannot be switched, StoreError, DiskFull.
        """

    def make_live(self, beside: Beside) -> None:
        """Let the name stand for the collection beside from now on, in one durable step. The
        caller holds the locks, and nobody is answered meanwhile."""

    def drop(self, beside: Beside) -> None:
        """Delete the collection beside this live one. After a kill, `finish_drop` goes on."""

    def finish_drop(self) -> bool:
        """Finish a deletion that was begun; whether there was one."""

    def open_for_reading(
        self, stored: StoredContract, purpose: str
    ) -> AbstractContextManager[ReadablePoints]:
        """Open the points for reading. `purpose` ("query", "export") is named to whoever is
        refused meanwhile.

        Raises ContractMismatch when this is no longer the collection that `stored` describes,
        Switched when the name stands for another one by now.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """The other collection while a name changes to another model: the new one until it is live,
    then the old one. Only who holds the live one's lock opens it, with `place.open`."""

    place: Place
    stored: StoredContract
    is_new: bool
    began: str  # ISO 8601, UTC


@dataclass(frozen=True, slots=True)
class Health:
    """What a server says of a collection."""

    status: str  # green, yellow, grey or red
    error: str | None  # of its optimizer, in the server's words

    @property
    def is_good(self) -> bool:
        """Whether there is nothing to say about it."""
        return self.status == "green" and self.error is None

    def __str__(self) -> str:
        meaning = MEANINGS.get(self.status)
        return self.status + "".join(f": {text}" for text in (meaning, self.error) if text)


MEANINGS = {  # of each status but green
    "yellow": "it is building its index, queries may be slower meanwhile",
    "grey": "it was restarted, and builds its index after the next write",
    "red": "an operation failed on the server, see its log",
}


@dataclass(frozen=True, slots=True)
class Located:
    """What one look at a place found; handed on, so that nothing is read twice in a run."""

    place: Place  # under the collection's own name
    stored: StoredContract | None  # None: there is no collection
    aliases: tuple[str, ...] = ()  # other names of the collection, on a server
    search: SearchMethod = EXACT  # how a query is answered
    health: Health | None = None  # None: embedded, or there is no collection
    beside: Beside | None = None  # None: no switch to another model is under way

    def require(self) -> StoredContract:
        """The contract. Raises StoreError when there is no collection."""
        return required(self.stored, self.place)

    def for_part(self, number: int, of: int) -> Located:
        """The same collection for a run that takes part `number` of `of`."""
        return replace(self, place=self.place.for_part(number, of))

    @property
    def catalogue(self) -> Path | None:
        """The catalogue's file, None when it does not exist yet."""
        path = None if self.stored is None else self.place.catalogue_for(self.stored)
        return path if path is not None and path.exists() else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A collection's points, open for writing, and what was there before."""

    points: Points
    catalogue: Path
    stored: StoredContract  # as it is stored; of a new collection the wanted one
    is_new: bool


@runtime_checkable
class Aliases(Protocol):
    """What only a server can do: other names for a collection, switched in one step."""

    def set_alias(self, alias: str) -> str | None:
        """Let an alias stand for this collection; returns the collection it stood for.

        Raises UsageError when a collection has that name, ContractMismatch when the alias stands
        for a collection that clipindex did not make.
        """

    def delete_alias(self, alias: str) -> str:
        """Delete an alias; returns the collection it stood for.

        Raises UsageError when there is none, and as `set_alias` does.
        """


def aliases_of(place: Place) -> Aliases:
    """The place's aliases. Raises UsageError for a folder, which has none."""
    if not isinstance(place, Aliases):
        raise UsageError(
            "only a Qdrant server has aliases, not an embedded store",
            path=place.name,
            hint="name the server with --url, or the collection itself with --collection",
        )
    return place


def is_shared(place: Place) -> bool:
    """Whether others may write to the collection at the same time: on a server."""
    return isinstance(place, Aliases)


def required(stored: StoredContract | None, place: Place) -> StoredContract:
    """The contract. Raises StoreError when it is None: there is no collection."""
    if stored is None:
        raise StoreError(
            f"there is no collection '{place.collection}' in {place.name}",
            path=place.name,
            hint="make one: clipindex ingest FOLDER (with the same --store or --url)",
        )
    return stored
