"""The collection: contract, catalogue, remembered folders, points."""

from __future__ import annotations

from collections.abc import Iterator

from clipindex.collection.catalogue import INDEXED
from clipindex.collection.contract import StoredContract, recipe_of
from clipindex.collection.lock import QUERY
from clipindex.collection.place import Located
from clipindex.collection.status import open_catalogue
from clipindex.errors import CollectionBusy
from clipindex.files.access import is_folder
from clipindex.files.identity import display_path
from clipindex.upkeep.doctor.checks import Check, guarded, note, ok, problem

FIRST = "make one: clipindex ingest FOLDER"


def check_collection(located: Located) -> Iterator[Check]:
    """What is there of a collection, a line for each part of it."""
    place, stored = located.place, located.stored
    if stored is None:
        yield note("collection", f"no '{place.collection}' in {place.name} yet", FIRST)
        return
    yield from guarded("collection", lambda: _contract(place.collection, stored))
    yield from guarded("catalogue", lambda: _catalogue(located))
    yield from guarded("points", lambda: _points(located, stored))


def _contract(name: str, stored: StoredContract) -> Check:
    contract = stored.contract
    recipe_of(contract)
    made_with = f"made with {contract.model} ({contract.preprocessing}, {contract.precision})"
    return ok("collection", f"'{name}', {made_with}")


def _catalogue(located: Located) -> Iterator[Check]:
    with open_catalogue(located) as catalogue:
        if catalogue is None:
            hint = "the next ingest makes it from the points"
            yield note("catalogue", "none on this machine yet", hint)
            return
        counts, run, roots = catalogue.counts(), catalogue.latest_begun(), list(catalogue.roots())
    said = ", ".join(f"{number:,} {state}" for state, number in sorted(counts.items()))
    yield ok("catalogue", f"remembers {said or 'no files'}")
    if run is not None and run.finished is None:
        hint = "if none is running, the next one goes on from there"
        yield note("latest run", f"begun {run.started}, not finished", hint)
    elif run is not None:
        yield ok("latest run", f"finished {run.finished}")
    for root in roots:
        if not is_folder(root):
            text = f"{display_path(root)} is not there"
            hint = "mount its disk; if it is gone for good: clipindex forget, or relocate"
            yield problem("folder", text, hint)
    if not roots:
        yield note("folders", "none is remembered for `reindex`", "ingest one by hand")


def _points(located: Located, stored: StoredContract) -> Check:
    try:
        with located.place.open_for_reading(stored, QUERY) as points:
            count = points.count()
    except CollectionBusy as error:
        return note("points", error.message, "look again when it is done")
    with open_catalogue(located) as catalogue:
        remembered = 0 if catalogue is None else catalogue.counts().get(INDEXED, 0)
    if count < remembered:
        text = f"{count:,}, and the catalogue remembers {remembered:,}"
        hint = "`clipindex reindex` embeds the missing ones again; `clipindex verify` names them"
        return problem("points", text, hint)
    return ok("points", f"{count:,}; `clipindex verify` checks each of them")
