"""The label of a server's collection: the contract in its metadata, with an id of its own.

A name on a server may come to mean another collection: an alias is switched, a collection is
dropped and created anew, two first writers label the same empty one. The id tells them apart, and
nothing is written where another label is. Nodes of a cluster may show an older description for a
moment, so nothing is concluded from a single look.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from clipindex.collection.contract import StoredContract
from clipindex.errors import StoreError
from clipindex.stores import server_collections
from clipindex.stores.connection import Connection
from clipindex.stores.points import Point
from clipindex.stores.server import ServerPoints
from clipindex.stores.server_collections import CollectionInfo, describe, identity

ID = "collection"  # a note in the contract: tells a collection from an earlier namesake
LOOKS = (0.0, 0.5, 2.0)  # seconds before each look
SETTLED = 2.0  # seconds until a label that was put on an existing collection is believed


def new_label(stored: StoredContract) -> dict[str, object]:
    """The contract as metadata, with a new id. The model's folder is reduced to its name: each
    machine has its own path."""
    noted = {**stored.noted, ID: uuid.uuid4().hex[:12]}
    return replace(stored, bundle=Path(stored.bundle).name, noted=noted).to_json()


def look(connection: Connection, collection: str) -> CollectionInfo | None:
    """Describe a collection; one without a label is looked at again for 2.5 s."""
    info = None
    for pause in LOOKS:
        time.sleep(pause)
        info = describe(connection, collection)
        if info is None or info.note is not None:
            break
    return info


def create(
    connection: Connection,
    collection: str,
    dimension: int,
    stored: StoredContract,
    *,
    exists: bool,
) -> CollectionInfo | None:
    """Create a collection, or label an empty one that `exists` already; returns what is there
    then, which another writer may have created or labelled.

    Creating is one step on the server, and the slower writer is refused. A label is not: the last
    one stays. Whoever wrote one therefore waits before reading it back, until every writer that
    saw the collection without a label has written its own.
    """
    server_collections.create(connection, collection, dimension, new_label(stored))
    if exists:
        time.sleep(SETTLED)
    return look(connection, collection)


class LabelledPoints(ServerPoints):
    """Points of the collection that was opened, whatever its name comes to mean: each batch is
    written only while the label is the same."""

    def __init__(
        self, connection: Connection, collection: str, dimension: int, info: CollectionInfo
    ) -> None:
        super().__init__(connection, collection, dimension, info)
        self.label = identity(info.note)  # tells this collection from any namesake

    def upsert(self, batch: Sequence[Point]) -> None:
        """As ServerPoints. Raises StoreError when the name means another collection by now."""
        self._check_label()
        super().upsert(batch)

    def delete(self, ids: Sequence[uuid.UUID]) -> None:
        """As ServerPoints. Raises StoreError when the name means another collection by now."""
        if ids:
            self._check_label()
            super().delete(ids)

    def _check_label(self) -> None:
        info = None
        for pause in LOOKS:
            time.sleep(pause)
            info = describe(self._connection, self._collection)
            if info is not None and identity(info.note) == self.label:
                return
        now = "is gone" if info is None else "is another collection by now"
        raise StoreError(
            f"{self.location} {now}: since this run began it was dropped or created anew, its "
            "alias was switched, or another writer labelled it at the same time",
            path=self._connection.url,
            hint="what was verified is safe where it was written, and nothing was written to the "
            "other one. Run the same command again: it takes the collection that is there",
        )
