"""All checks, in the order in which one would look."""

from __future__ import annotations

from collections.abc import Iterator

from clipindex.collection.contract import bundle_for
from clipindex.collection.folder_place import FolderPlace
from clipindex.collection.place import Located, Place
from clipindex.errors import ClipIndexError
from clipindex.model.bundle import DEFAULT_MODEL, Bundle, find_bundle
from clipindex.stores.address import Server
from clipindex.upkeep.doctor.checks import Check, State, guarded, of_error
from clipindex.upkeep.doctor.collection import check_collection
from clipindex.upkeep.doctor.machine import check_machine
from clipindex.upkeep.doctor.model import Load, check_model
from clipindex.upkeep.doctor.store import check_folders, check_store


def examine(
    place: Place | ClipIndexError, server: Server | None, load: Load, model: str | None
) -> Iterator[Check]:
    """Look at everything; each look is finished before its check is yielded.

    `place` may be the error that naming it raised; `model` the bundle that was asked for, None for
    the collection's own, or the default. Raises nothing: what is broken is a check.
    """
    yield from guarded("machine", check_machine)
    yield from guarded("folders", check_folders)
    located: Located | None = None
    if isinstance(place, ClipIndexError):
        yield of_error("store", place)
    else:
        checks = list(_around(place, server))
        yield from checks
        if server is None or all(check.state is not State.PROBLEM for check in checks):
            try:
                located = place.locate()
            except ClipIndexError as error:
                yield of_error("collection", error)
        if located is not None:
            yield from check_collection(located)
    yield from check_model(lambda: _bundle(located, model), load)


def _around(place: Place, server: Server | None) -> Iterator[Check]:
    """What keeps the collection: a folder or a server."""
    if server is not None:
        from clipindex.upkeep.doctor.server import check_server  # 0.5 s to load

        yield from guarded("server", lambda: check_server(server, place.collection))
    elif isinstance(place, FolderPlace):
        yield from check_store(place)


def _bundle(located: Located | None, model: str | None) -> Bundle:
    if located is not None and located.stored is not None:
        return bundle_for(located.stored, model)
    return find_bundle(model or DEFAULT_MODEL)
