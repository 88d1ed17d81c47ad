"""The two collections of an alias on a server while it changes to another model.

The alias ALIAS.switch stands for the new collection, from its creation until one of the two is
deleted; the new one's label says which it was made beside. The live one is that for which ALIAS
stands: the switch, and the way back, change one alias, in one step of the server's.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from clipindex.collection import label
from clipindex.collection.contract import StoredContract
from clipindex.collection.place import Beside
from clipindex.errors import ContractMismatch, Refused, StoreError
from clipindex.stores import server_collections
from clipindex.stores.connection import Connection
from clipindex.stores.server_collections import CollectionInfo, describe

if TYPE_CHECKING:
    from clipindex.collection.server_place import ServerPlace

MARK = ".switch"  # the end of the alias that stands for the new collection
FROM, BEGAN = "switched_from", "switch_began"  # notes in the new one's contract


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A switch as the server's aliases and labels tell it."""

    alias: str
    live: str
    old: str
    new: str

    @property
    def mark(self) -> str:
        """The alias that stands for the new one."""
        return self.alias + MARK

    @property
    def other(self) -> str:
        """The one that is not live."""
        return self.old if self.live == self.new else self.new


def find_pair(
    place: ServerPlace, aliases: Mapping[str, str], own_name: str, connection: Connection
) -> Pair | None:
    """The switch that a collection is part of; None without one."""
    for mark, new in aliases.items():
        alias = mark.removesuffix(MARK)
        live = aliases.get(alias)
        if alias == mark or live is None:
            continue
        old = _made_beside(place, new, connection)
        if old is not None and live in (old, new) and own_name in (old, new):
            return Pair(alias=alias, live=live, old=old, new=new)
    return None


def beside_of(place: ServerPlace, pair: Pair, connection: Connection) -> Beside | None:
    """The other collection; None where it is gone."""
    other = replace(place, collection=pair.other, is_beside=True)
    stored = other.stored_in(label.look(connection, pair.other))
    if stored is None:
        return None
    new = stored if pair.other == pair.new else place.stored_in(describe(connection, pair.new))
    began = "" if new is None else new.noted.get(BEGAN, "")
    return Beside(place=other, stored=stored, is_new=pair.other == pair.new, began=began)


def begin(place: ServerPlace, wanted: StoredContract, connection: Connection) -> Beside:
    """Create the new collection and its mark. That the key may change aliases is tried first."""
    aliases = server_collections.all_aliases(connection)
    alias = place.alias
    if aliases.get(alias) != place.collection:
        raise Refused(
            f"'{place.collection}' on {place.name} is a collection itself; a server switches only "
            "an alias from one collection to another",
            hint=f"make one, clipindex alias NAME --collection {place.collection}, and use NAME as "
            "--collection from then on",
        )
    if (alias + MARK) not in aliases and describe(connection, alias + MARK) is not None:
        raise Refused(
            f"a collection has the name '{alias + MARK}', which marks a switch",
            hint="switch another alias of the collection",
        )
    server_collections.set_alias(connection, alias + MARK, place.collection)
    noted = {
        **wanted.noted,
        FROM: place.collection,
        BEGAN: datetime.now(UTC).isoformat(timespec="seconds"),
    }
    name = _name_for(alias, wanted)
    new = replace(place, collection=name, is_beside=True)
    info = describe(connection, name)
    if info is not None and (info.note is not None or info.points):
        _check_that_it_is_ours(new, info, wanted, place.collection)
    else:
        dimension = wanted.contract.dimension
        label.create(
            connection, name, dimension, replace(wanted, noted=noted), exists=info is not None
        )
    server_collections.set_alias(connection, alias + MARK, name)
    new.folder.mkdir(parents=True, exist_ok=True)
    new.save_contract(wanted)
    pair = Pair(alias=alias, live=place.collection, old=place.collection, new=name)
    beside = beside_of(place, pair, connection)
    if beside is None:
        raise StoreError(
            f"the new collection '{name}' on {place.name} is gone",
            path=place.name,
            hint="run the same command again",
        )
    return beside


def drop(place: ServerPlace, beside: Beside, connection: Connection) -> None:
    """Delete the other collection, then the mark, then what this machine remembers of it."""
    name = beside.place.collection
    assert name != place.collection  # what is live is never deleted
    info = label.look(connection, name)
    if info is not None:
        stored = place.stored_in(info)
        if stored is None or stored.noted.get(label.ID) != beside.stored.noted.get(label.ID):
            raise StoreError(
                f"'{name}' on {place.name} is another collection by now; it was not deleted",
                path=place.name,
                hint="`clipindex status` shows what is there",
            )
        server_collections.delete(connection, name)
    unmark(place, connection)
    shutil.rmtree(beside.place.folder, ignore_errors=True)


def finish_drop(place: ServerPlace, connection: Connection) -> bool:
    """Delete the mark of a switch of which the other collection is gone; whether there was one."""
    aliases = server_collections.aliases(connection)
    new = aliases.get(place.alias + MARK)
    if new is None or new != place.collection:
        return False  # of a filling the mark went with the new collection
    old = _made_beside(place, new, connection)
    if old is not None and describe(connection, old) is not None:
        return False
    unmark(place, connection)
    return old is not None


def unmark(place: ServerPlace, connection: Connection) -> None:
    """Delete the mark."""
    if (place.alias + MARK) in server_collections.aliases(connection):
        server_collections.set_alias(connection, place.alias + MARK, None)


def not_live(pair: Pair, name: str) -> Refused:
    """The error of whoever would write to the collection that is not live."""
    return Refused(
        f"'{name}' is kept beside '{pair.live}', the live collection of '{pair.alias}', until the "
        "switch to another model is ended; it gets what is written to the live one",
        hint=f"use --collection {pair.alias}",
    )


def _made_beside(place: ServerPlace, new: str, connection: Connection) -> str | None:
    try:
        stored = place.stored_in(describe(connection, new))
    except (StoreError, ContractMismatch):  # another program's
        return None
    return None if stored is None else stored.noted.get(FROM)


def _name_for(alias: str, wanted: StoredContract) -> str:
    """The same on every machine: those that fill it together find one collection."""
    digest = hashlib.sha256(json.dumps(asdict(wanted.contract), sort_keys=True).encode())
    model = re.sub(r"[^A-Za-z0-9._-]+", "-", wanted.contract.model)
    return f"{alias}-{model}-{digest.hexdigest()[:8]}"


def _check_that_it_is_ours(
    new: ServerPlace, info: CollectionInfo, wanted: StoredContract, old: str
) -> None:
    """One that an interrupted call made is taken."""
    stored = new.stored_in(info)
    if stored is None or stored.contract != wanted.contract or stored.noted.get(FROM) != old:
        raise Refused(
            f"a collection '{new.collection}' exists on {new.name}, from another switch",
            hint="delete it on the server, if nobody needs it",
        )
