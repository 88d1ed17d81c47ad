"""A collection on a server: points and contract there, lock and catalogue on this machine.

Imported only when a server is named: httpx takes a while to load.
"""

from __future__ import annotations

import hashlib
import re
import socket
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from clipindex.collection import label, server_pair
from clipindex.collection.contract import (
    StoredContract,
    foreign_contract,
    read_contract,
    write_contract,
)
from clipindex.collection.label import LabelledPoints
from clipindex.collection.lock import PATIENCE
from clipindex.collection.names import DEFAULT_COLLECTION, check_names
from clipindex.collection.place import Beside, Health, Located, Opened, required
from clipindex.collection.sharing.hold import Hold, held_alone
from clipindex.errors import ClipIndexWarning, ContractMismatch, StoreError, UsageError
from clipindex.files.identity import LOCAL, escaped
from clipindex.files.user_folders import state_folder
from clipindex.stores import server_collections
from clipindex.stores.address import Server
from clipindex.stores.connection import READING, WRITING, Connection, RetryPolicy
from clipindex.stores.points import Points
from clipindex.stores.search_method import EXACT
from clipindex.stores.server import ServerPoints
from clipindex.stores.server_collections import CollectionInfo, describe
from clipindex.stores.server_search import method_for

_OTHER_ALIAS = "choose another name for the alias"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerPlace:
    """A collection on a server. The user's state folder has, for each source and part, a lock and
    a catalogue, which is made again from the points when it is lost."""

    address: Server
    collection: str = DEFAULT_COLLECTION
    source: str = LOCAL
    part: str = ""
    patience: float = field(default=PATIENCE, compare=False)
    source_is_default: bool = field(default=False, compare=False)
    alias: str = field(default="", compare=False)  # that led to the collection; empty: none
    is_beside: bool = field(default=False, compare=False)  # it need not be the live one

    def __post_init__(self) -> None:
        check_names(self.collection, self.source)

    @property
    def name(self) -> str:
        return self.address.url

    @property
    def folder(self) -> Path:
        key = hashlib.sha256(f"{self.address.url}\0{self.collection}".encode()).hexdigest()[:16]
        return state_folder() / "servers" / f"{self.collection}-{key}"

    @property
    def lock(self) -> Path:
        return self.folder / f"lock-{self.source}{self.part}"

    @property
    def excluded_folder(self) -> Path:
        return self.folder.parent

    @property
    def _local_contract(self) -> Path:
        """The contract as this machine last saw it: it knows where the model is here."""
        return self.folder / f"contract-{self.source}{self.part}.json"

    def for_part(self, number: int, of: int) -> ServerPlace:
        """Each part has its own lock and catalogue: all may run at once."""
        return self if of == 1 else replace(self, part=f"-{number}-of-{of}")

    # --- contract and points -----------------------------------------------------------------

    def locate(self, *, for_writing: bool = False) -> Located:
        with self._connected(WRITING if for_writing else READING) as connection:
            return self._locate(connection, for_writing=for_writing)

    def _locate(self, connection: Connection, *, for_writing: bool = False) -> Located:
        aliases = server_collections.aliases(connection)
        own_name = aliases.get(self.collection, self.collection)
        pair = server_pair.find_pair(self, aliases, own_name, connection)
        alias = self.collection if self.collection in aliases else self.alias
        if pair is not None and own_name != pair.live:
            if for_writing:
                raise server_pair.not_live(pair, own_name)
            pair = None
        elif pair is not None:
            alias = pair.alias
        mark = None if pair is None else pair.mark  # it is ours, not the user's
        place = replace(self, collection=own_name, alias=alias, is_beside=False)
        info = label.look(connection, own_name)
        return Located(
            place,
            place.stored_in(info),
            beside=None if pair is None else server_pair.beside_of(place, pair, connection),
            aliases=tuple(sorted(a for a, c in aliases.items() if c == own_name and a != mark)),
            health=None if info is None else _health(info),
            search=EXACT if info is None else method_for(info),
        )

    def stored_in(self, info: CollectionInfo | None) -> StoredContract | None:
        """The contract in a collection's metadata. None: the collection is not there, or it is
        empty and without a contract, so that an ingest may adopt it."""
        if info is None or (info.note is None and info.points == 0):
            return None
        if info.note is None:
            raise ContractMismatch(
                f"'{self.collection}' on {self.name} was not made by clipindex",
                hint="name another --collection",
            )
        try:
            stored = foreign_contract(info.note)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise StoreError(
                f"the contract of '{self.collection}' on {self.name} cannot be read: "
                f"{escaped(str(error)[:300])}",
                hint="a newer clipindex may have made it; update this one",
            ) from error
        local = read_contract(self._local_contract)
        if local is not None:
            return replace(stored, bundle=local.bundle)
        # Not a path, so that no file of this machine is taken for the model by accident.
        return replace(stored, bundle=f"{stored.bundle} (not on this machine yet)")

    def catalogue_for(self, stored: StoredContract) -> Path:
        """Named after this very collection: one created anew does not inherit the file."""
        key = stored.noted.get(label.ID, "unknown")
        if not re.fullmatch("[0-9a-f]{12}|unknown", key):  # anybody may have written it
            key = hashlib.sha256(key.encode()).hexdigest()[:12]
        return self.folder / f"{key}-{self.source}{self.part}.sqlite"

    def open(self, wanted: StoredContract, *, create: bool) -> Opened:
        connection = Connection(self.address, WRITING)
        try:
            return self._open(connection, wanted, create=create)
        except BaseException:
            connection.close()
            raise

    def _open(self, connection: Connection, wanted: StoredContract, *, create: bool) -> Opened:
        """Of several first writers one creates or labels the collection; the others meet it."""
        dimension = wanted.contract.dimension
        if create:  # the caller has just looked for a label
            info = describe(connection, self.collection)
        else:
            info = label.look(connection, self.collection)
        stored = self.stored_in(info)
        is_new = stored is None
        if stored is None and create:
            exists = info is not None
            info = label.create(connection, self.collection, dimension, wanted, exists=exists)
            stored = self.stored_in(info)
        stored = required(stored, self)
        assert info is not None  # it has a contract
        stored.contract.check(wanted.contract)
        health = _health(info)
        if health.status == "red":
            warnings.warn(
                f"'{self.collection}' on {self.name} is {health}", ClipIndexWarning, stacklevel=2
            )
        points = LabelledPoints(connection, self.collection, dimension, info)
        points.index_missing_fields()
        return Opened(
            points=points, catalogue=self.catalogue_for(stored), stored=stored, is_new=is_new
        )

    def save_contract(self, stored: StoredContract) -> None:
        """The server has the contract already; remember where the model is on this machine."""
        write_contract(self._local_contract, stored)

    def hold(self, purpose: str) -> AbstractContextManager[Hold]:
        """Nobody needs to be answered: the server does that."""
        return held_alone(self.lock, purpose, self.patience)

    @contextmanager
    def open_for_reading(self, stored: StoredContract, purpose: str) -> Iterator[Points]:  # noqa: ARG002
        """Takes no lock: the server answers many at once."""
        with self._connected(READING) as connection:
            info = label.look(connection, self.collection)
            current = required(self.stored_in(info), self)
            stored.contract.check(current.contract)
            yield ServerPoints(connection, self.collection, stored.contract.dimension, info)

    # --- a switch to another model -----------------------------------------------------------

    def begin_beside(self, wanted: StoredContract) -> Beside:
        with self._connected(WRITING) as connection:
            return server_pair.begin(self, wanted, connection)

    def make_live(self, beside: Beside) -> None:
        with self._connected(WRITING) as connection:
            server_collections.set_alias(connection, self.alias, beside.place.collection)

    def drop(self, beside: Beside) -> None:
        with self._connected(WRITING) as connection:
            server_pair.drop(self, beside, connection)

    def finish_drop(self) -> bool:
        with self._connected(WRITING) as connection:
            return server_pair.finish_drop(self, connection)

    # --- aliases -----------------------------------------------------------------------------

    def set_alias(self, alias: str) -> str | None:
        """One step on the server: a query by the alias gets one collection or the other."""
        with self._connected(WRITING) as connection:
            located = self._locate(connection)
            located.require()
            before = self._meaning(alias, connection)
            if before != located.place.collection:
                server_collections.set_alias(connection, alias, located.place.collection)
        return before

    def delete_alias(self, alias: str) -> str:
        with self._connected(WRITING) as connection:
            before = self._meaning(alias, connection)
            if before is None:
                raise UsageError(f"there is no alias '{alias}' on {self.name}")
            server_collections.set_alias(connection, alias, None)
        return before

    def _meaning(self, alias: str, connection: Connection) -> str | None:
        """The collection that an alias stands for, None when it is free.

        Raises UsageError for the name of a collection, ContractMismatch for an alias of another
        program.
        """
        check_names(alias, self.source)
        stands_for = server_collections.aliases(connection).get(alias)
        info = describe(connection, stands_for or alias)
        if stands_for is None and info is not None:
            raise UsageError(
                f"'{alias}' is a collection of its own on {self.name}, no alias", hint=_OTHER_ALIAS
            )
        if info is not None and info.note is None:
            raise ContractMismatch(
                f"'{alias}' on {self.name} stands for '{stands_for}', which was not made by "
                "clipindex",
                hint=_OTHER_ALIAS,
            )
        return stands_for

    @contextmanager
    def _connected(self, policy: RetryPolicy) -> Iterator[Connection]:
        connection = Connection(self.address, policy)
        try:
            yield connection
        finally:
            connection.close()


def _health(info: CollectionInfo) -> Health:
    error = None if info.optimizer_error is None else escaped(info.optimizer_error[:300])
    return Health(escaped(info.status), error)


def host_source() -> str:
    """This machine's name, as the source of its files on a server."""
    return re.sub(r"^[^A-Za-z0-9]+|[^A-Za-z0-9._-]", "", socket.gethostname()) or "unnamed"
