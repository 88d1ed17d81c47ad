"""The place that a caller names: a folder, a server, or by default the user's data folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from clipindex.collection.folder_place import FolderPlace
from clipindex.collection.lock import PATIENCE
from clipindex.collection.place import Place
from clipindex.errors import UsageError
from clipindex.files.identity import LOCAL
from clipindex.files.user_folders import data_folder, expand_user

if TYPE_CHECKING:
    from clipindex.stores.address import Server

AnyPath = str | os.PathLike[str]


def default_store() -> Path:
    """The embedded store in the user's data folder."""
    return data_folder() / "store"


def place_at(
    store: AnyPath | None,
    server: Server | None,
    collection: str,
    source: str | None,
    wait: float | None = None,
) -> Place:
    """The place of a collection, where a writer waits `wait` seconds for the lock (None: 10).
    Raises UsageError when both kinds are named."""
    patience = PATIENCE if wait is None else wait
    if server is None:
        folder = Path(store) if store is not None else default_store()
        return FolderPlace(expand_user(folder).absolute(), collection, source or LOCAL, patience)
    if store is not None:
        raise UsageError(
            f"both a folder and a server are named: {store}, {server.url}",
            hint="give --store or --url, not both",
        )
    from clipindex.collection.server_place import ServerPlace, host_source  # 0.5 s to load

    return ServerPlace(
        address=server,
        collection=collection,
        source=source or host_source(),
        patience=patience,
        source_is_default=source is None,
    )
