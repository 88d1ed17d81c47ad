"""A collection on a server: the points and the contract there, a catalogue on this machine.

qdrant-client takes half a second to import, so the modules that need it are imported when used.
"""

from __future__ import annotations

import hashlib
import re
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import platformdirs

from clipindex.collection.contract import Contract, StoredContract, read_contract, write_contract
from clipindex.collection.names import DEFAULT_COLLECTION, check_names
from clipindex.collection.place import required
from clipindex.errors import ContractMismatch, StoreError, UsageError
from clipindex.files.identity import LOCAL
from clipindex.stores.address import Server
from clipindex.stores.points import Points

if TYPE_CHECKING:
    from clipindex.stores.connection import Connection, RetryPolicy

_OTHER_ALIAS = "choose another name for the alias"
ID = "collection"  # among the contract's notes: tells a collection from an earlier namesake


@dataclass(frozen=True, slots=True)
class ServerPlace:
    """A collection on a server. Its contract is there; in the user's state folder lie, for each
    source (and part), a lock and a catalogue that comes back from the points when it is lost."""

    address: Server
    collection: str = DEFAULT_COLLECTION
    source: str = LOCAL
    part: str = ""
    is_resolved: bool = False  # the name is the collection's own, no alias

    def __post_init__(self) -> None:
        check_names(self.collection, self.source)

    @property
    def name(self) -> str:
        return self.address.url

    @property
    def folder(self) -> Path:
        key = hashlib.sha256(f"{self.address.url}\0{self.collection}".encode()).hexdigest()[:16]
        state = platformdirs.user_state_path("clipindex", appauthor=False)
        return state / "servers" / f"{self.collection}-{key}"

    @property
    def lock(self) -> Path:
        return self.folder / f"lock-{self.source}{self.part}"

    @property
    def excluded_folder(self) -> Path:
        return self.folder.parent

    def resolve_alias(self) -> ServerPlace:
        if self.is_resolved:
            return self
        from clipindex.stores.connection import READING

        with self._connected(READING) as connection:
            return self._resolve_alias(connection)

    def _resolve_alias(self, connection: Connection) -> ServerPlace:
        if self.is_resolved:
            return self
        from clipindex.stores.server_collections import aliases

        own_name = aliases(connection).get(self.collection, self.collection)
        return replace(self, collection=own_name, is_resolved=True)

    def aliases(self) -> dict[str, str]:
        from clipindex.stores.connection import READING
        from clipindex.stores.server_collections import aliases

        with self._connected(READING) as connection:
            return aliases(connection)

    def set_alias(self, alias: str) -> str | None:
        """One step on the server: whoever asks by the alias meets one collection or the other."""
        from clipindex.stores.connection import WRITING
        from clipindex.stores.server_collections import set_alias

        with self._connected(WRITING) as connection:
            place = self._resolve_alias(connection)
            required(place._read(connection), place)
            before = self._meaning(alias, connection)
            if before != place.collection:
                set_alias(connection, alias, place.collection)
        return before

    def delete_alias(self, alias: str) -> str:
        from clipindex.stores.connection import WRITING
        from clipindex.stores.server_collections import set_alias

        with self._connected(WRITING) as connection:
            before = self._meaning(alias, connection)
            if before is None:
                raise UsageError(f"there is no alias '{alias}' on {self.name}")
            set_alias(connection, alias, None)
        return before

    def _meaning(self, alias: str, connection: Connection) -> str | None:
        """What an alias stands for. Refused is the name of a collection, or another's alias."""
        from clipindex.stores.server_collections import aliases, describe

        check_names(alias, self.source)
        stands_for = aliases(connection).get(alias)
        found = describe(connection, stands_for or alias)
        if stands_for is None and found is not None:
            raise UsageError(
                f"'{alias}' is a collection of its own on {self.name}, no alias", hint=_OTHER_ALIAS
            )
        if found is not None and found.note is None:
            raise ContractMismatch(
                f"'{alias}' on {self.name} stands for '{stands_for}', which was not made by "
                "clipindex",
                hint=_OTHER_ALIAS,
            )
        return stands_for

    def for_part(self, number: int, of: int) -> ServerPlace:
        """Each part has its own lock and catalogue: all may run at once."""
        return self if of == 1 else replace(self, part=f"-{number}-of-{of}")

    def find_contract(self) -> StoredContract | None:
        """The contract from the server; where the model lies is this machine's own matter."""
        from clipindex.stores.connection import READING

        with self._connected(READING) as connection:
            return self._resolve_alias(connection)._read(connection)

    def _read(self, connection: Connection) -> StoredContract | None:
        from clipindex.stores.server_collections import describe

        found = describe(connection, self.collection)
        if found is None or (found.note is None and found.points == 0):
            return None
        if found.note is None:
            raise ContractMismatch(
                f"'{self.collection}' on {self.name} was not made by clipindex",
                hint="name another --collection",
            )
        try:
            note: Any = found.note
            contract, noted = Contract(**note["contract"]), dict(note["noted"])
            bundle = f"{note['bundle']} (not on this machine yet)"  # no path that might exist
        except (KeyError, TypeError) as error:
            raise StoreError(
                f"the contract of '{self.collection}' on {self.name} cannot be read: {error}",
                hint="a newer clipindex may have made it; update this one",
            ) from error
        mine = read_contract(self._memory)
        return StoredContract(contract, bundle if mine is None else mine.bundle, noted)

    def require_contract(self) -> StoredContract:
        return required(self.find_contract(), self)

    def open(self, stored: StoredContract) -> tuple[Points, Path]:
        """Open the collection, making it with its contract and payload indexes.

        Raises ContractMismatch where another writer made it with another contract meanwhile.
        """
        from clipindex.stores.connection import WRITING, Connection
        from clipindex.stores.server import ServerPoints
        from clipindex.stores.server_collections import create

        connection = Connection(self.address, WRITING)
        try:
            found = self._read(connection)
            if found is None:
                create(connection, self.collection, stored.contract.dimension, _note(stored))
                found = required(self._read(connection), self)
            found.contract.check(stored.contract)
            store = ServerPoints(connection, self.collection, stored.contract.dimension)
            store.index_missing_fields()
        except BaseException:
            connection.close()
            raise
        return store, self._catalogue(found)

    def save_contract(self, stored: StoredContract) -> None:
        """The server has the contract; remember where the model lies."""
        if read_contract(self._memory) != stored:
            write_contract(self._memory, stored)

    @contextmanager
    def open_for_reading(self, stored: StoredContract) -> Iterator[Points]:
        """Without a lock: the server answers many at once."""
        from clipindex.stores.connection import READING
        from clipindex.stores.server import ServerPoints

        with self._connected(READING) as connection:
            found = required(self._read(connection), self)
            stored.contract.check(found.contract)
            yield ServerPoints(connection, self.collection, stored.contract.dimension)

    def find_catalogue(self) -> Path | None:
        place = self.resolve_alias()
        found = place.find_contract()
        path = None if found is None else place._catalogue(found)
        return path if path is not None and path.exists() else None

    def _catalogue(self, found: StoredContract) -> Path:
        """Named after the very collection, so that one made anew does not inherit it."""
        return self.folder / f"{found.noted.get(ID, 'unknown')}-{self.source}{self.part}.sqlite"

    @property
    def _memory(self) -> Path:
        return self.folder / f"contract-{self.source}{self.part}.json"

    @contextmanager
    def _connected(self, policy: RetryPolicy) -> Iterator[Connection]:
        from clipindex.stores.connection import Connection

        connection = Connection(self.address, policy)
        try:
            yield connection
        finally:
            connection.close()


def host_source() -> str:
    """This machine's name, as the source of its files on a server."""
    return re.sub(r"^[^A-Za-z0-9]+|[^A-Za-z0-9._-]", "", socket.gethostname()) or "unnamed"


def _note(stored: StoredContract) -> dict[str, object]:
    """The contract as metadata. Of the model's place only its name: paths are each machine's."""
    noted = {**stored.noted, ID: uuid.uuid4().hex[:12]}
    return asdict(replace(stored, bundle=Path(stored.bundle).name, noted=noted))
