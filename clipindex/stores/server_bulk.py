"""A large first load: the search graph is off meanwhile, and built once at its end."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from clipindex.errors import ClipIndexError, ClipIndexWarning
from clipindex.stores.connection import Connection, RetryPolicy
from clipindex.stores.server_collections import METADATA_KEY, CollectionInfo, describe, identity

LARGE = 100_000  # points of a first load from which on this pays
ON_THE_WAY_OUT = RetryPolicy(5, 5.0)  # an interrupt does not wait for a server


@contextmanager
def bulk_load(
    connection: Connection, collection: str, info: CollectionInfo, count: int
) -> Iterator[None]:
    """Switch the search graph off during a first load of more than LARGE points, and on again
    afterwards.

    The earlier setting is noted in the metadata, so that the run after a killed one restores it.
    A key that may not change the collection loads without: that is slower and nothing else.
    """
    note = dict(info.note or {})
    is_first = info.points == 0 and info.graph_links != 0  # 0: somebody wants no graph
    if note.get("graph_links") is None and is_first and count > LARGE:
        off = {**note, "graph_links": info.graph_links or 16}
        if _set_graph(connection, collection, 0, off):
            note = off
        else:
            _warn(f"'{collection}' is loaded with its search index on, which takes longer")
    links = note.get("graph_links")
    try:
        yield
    except BaseException:
        if links is not None:  # else, and where this fails, the next run restores it
            connection.wait_at_most(ON_THE_WAY_OUT)
            _try_to_restore(connection, collection, links, note)
        raise
    if links is not None and not _set_graph(
        connection, collection, links, {**note, "graph_links": None}
    ):
        _warn(f"the search index of '{collection}' is off, and queries are slow")


def _try_to_restore(
    connection: Connection, collection: str, links: int, note: Mapping[str, object]
) -> None:
    try:
        _set_graph(connection, collection, links, {**note, "graph_links": None})
    except ClipIndexError as error:
        _warn(f"the search index of '{collection}' stays off until the next run: {error}")


def _set_graph(
    connection: Connection, collection: str, links: int, note: Mapping[str, object]
) -> bool:
    """Whether the key may do it. Nothing is done to another collection that has taken the name:
    its own note would be lost."""
    info = describe(connection, collection)
    if info is None or identity(info.note) != identity(note):
        return True
    return connection.call(
        f"setting the index of '{collection}'",
        lambda session: session.writes.update(collection, {METADATA_KEY: dict(note)}, links),
        instead={403: False},
    )


def _warn(text: str) -> None:
    warnings.warn(
        f"{text}: it takes a key that may change collections", ClipIndexWarning, stacklevel=3
    )
