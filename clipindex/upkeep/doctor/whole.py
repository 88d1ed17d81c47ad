"""The checks that need every library: the place, the collection in it, the model."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from clipindex.collection.folder_place import FolderPlace
from clipindex.collection.own_bundle import bundle_for_query
from clipindex.collection.place import Located, Place
from clipindex.errors import ClipIndexError
from clipindex.model.bundle import DEFAULT_MODEL, Bundle, find_bundle
from clipindex.model.loading import open_model
from clipindex.upkeep.doctor.checks import Check, State, guarded, of_error
from clipindex.upkeep.doctor.collection import check_collection
from clipindex.upkeep.doctor.model import Load, check_model
from clipindex.upkeep.doctor.store import check_store


def examine_rest(
    find_place: Callable[[], Place], model: str | None, load: Load | None
) -> Iterator[Check]:
    """See `run.examine`."""
    located: Located | None = None
    try:
        place = find_place()
    except ClipIndexError as error:
        yield of_error("store", error)
    else:
        checks = list(_around(place))
        yield from checks
        is_there = isinstance(place, FolderPlace) or not any(map(_is_problem, checks))
        try:
            located = place.locate() if is_there else None
        except ClipIndexError as error:
            yield of_error("collection", error)
        if located is not None:
            yield from check_collection(located)
    yield from check_model(lambda: _bundle(located, model), load or open_model)


def _around(place: Place) -> Iterator[Check]:
    """What keeps the collection: a folder or a server."""
    if isinstance(place, FolderPlace):
        yield from check_store(place)
        return
    from clipindex.upkeep.doctor.server import check_server  # 0.5 s to load

    yield from guarded("server", lambda: check_server(place))


def _is_problem(check: Check) -> bool:
    return check.state is State.PROBLEM


def _bundle(located: Located | None, model: str | None) -> Bundle:
    if located is not None and located.stored is not None:
        return bundle_for_query(located.stored, model)
    return find_bundle(model or DEFAULT_MODEL)
