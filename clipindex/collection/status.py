"""What a collection holds and how its latest run went."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from clipindex.collection.catalogue import INDEXED, QUARANTINED, SKIPPED, Catalogue
from clipindex.collection.folder_place import FolderPlace
from clipindex.collection.lock import is_held_by
from clipindex.collection.place import Beside, Health, Located, Place
from clipindex.collection.readable_catalogue import readable
from clipindex.collection.root_options import RootOptions, root_options
from clipindex.collection.run_history import RunRecord
from clipindex.collection.switch_progress import read_progress
from clipindex.files.identity import display_path
from clipindex.stores.shard_size import ShardSize, shard_size


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchStatus:
    """Where a switch to another model stands. `state`: `filling`, or `switched` until the old
    collection is dropped."""

    state: str
    model: str  # of the collection that is not live
    preprocessing: str
    collection: str  # its name on a server; in a folder the same
    pictures: int | None  # in it, when a run last looked; None: that is not known here
    of: int | None  # in the live one, then
    began: str  # ISO 8601, UTC


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionStatus:
    """What a collection holds and how its latest run went; read without opening the points."""

    store: str
    collection: str
    model: str
    revision: str
    preprocessing: str
    precision: str
    dimension: int
    bundle: str
    indexed: int
    quarantined: int
    skipped: int
    roots: list[str]
    last_run: dict[str, object] | None  # also one that is under way
    vanished: int  # of the indexed, those that the latest run did not find
    accepted: int  # of the quarantined, those that are no longer reported
    aliases: list[str]  # names on a server that stand for this collection
    search: str = "exact"  # how a query is answered: exact or approximate
    ef: int | None = None  # how many candidates an approximate search keeps
    health: Health | None = None  # what a server says of it; None: embedded
    disk_bytes: int | None = None  # that the points take on the disk; None: on a server
    reclaimable_bytes: int | None = None  # about how many of them `compact` would free
    running: dict[str, object] | None = None  # the run under way
    last_success: dict[str, object] | None = None  # the last that ended with exit code 0 or 3
    root_options: list[RootOptions] = field(default_factory=list)  # what each is remembered with
    switch: SwitchStatus | None = None  # to another model, under way


def status_of(place: Place) -> CollectionStatus:
    """Contract, counts, roots and latest run; an alias is followed. Nothing is locked.

    Raises StoreError when there is no collection.
    """
    located = place.locate()
    stored = located.require()
    contract = stored.contract
    status = CollectionStatus(
        store=place.name,
        collection=located.place.collection,
        model=contract.model,
        revision=contract.revision,
        preprocessing=contract.preprocessing,
        precision=contract.precision,
        dimension=contract.dimension,
        bundle=stored.bundle,
        indexed=0,
        quarantined=0,
        skipped=0,
        roots=[],
        last_run=None,
        vanished=0,
        accepted=0,
        aliases=list(located.aliases),
        search=located.search.name,
        ef=located.search.ef,
        health=located.health,
        switch=None if located.beside is None else _switch(located.beside),
    )
    with open_catalogue(located) as catalogue:
        if catalogue is None:
            return status
        counts, roots = catalogue.counts(), catalogue.roots()
        options = [root_options(display_path(path), memory) for path, memory in roots.items()]
        running = catalogue.unended_run()
        if running is not None and not is_held_by(located.place.lock, running.pid):
            running = None  # it was killed
        size = _shard_size(located, counts.get(INDEXED, 0))
        return replace(
            status,
            disk_bytes=size.on_disk if size else None,
            reclaimable_bytes=size.reclaimable if size else None,
            indexed=counts.get(INDEXED, 0),
            quarantined=counts.get(QUARANTINED, 0),
            skipped=counts.get(SKIPPED, 0),
            roots=[root.path for root in options],
            root_options=options,
            vanished=catalogue.count_missing(),
            accepted=sum(mark.accepted for mark in catalogue.refusals().values()),
            last_run=_shown(catalogue.last_run()),
            last_success=_shown(catalogue.last_success()),
            running=_shown(running),
        )


def _switch(beside: Beside) -> SwitchStatus:
    done = read_progress(beside)
    return SwitchStatus(
        state="filling" if beside.is_new else "switched",
        model=beside.stored.contract.model,
        preprocessing=beside.stored.contract.preprocessing,
        collection=beside.place.collection,
        pictures=None if done is None else done[0],
        of=None if done is None else done[1],
        began=beside.began,
    )


def _shown(run: RunRecord | None) -> dict[str, object] | None:
    if run is None:
        return None
    fields = asdict(run)
    del fields["number"]
    return fields


def _shard_size(located: Located, points: int) -> ShardSize | None:
    if not isinstance(located.place, FolderPlace):
        return None
    return shard_size(located.place.shard, points, located.require().contract.dimension)


@contextmanager
def open_catalogue(located: Located) -> Iterator[Catalogue | None]:
    """A collection's catalogue without its lock, for reading; None when there is none yet."""
    path = located.catalogue
    if path is None:
        yield None
        return
    with readable(path) as file, closing(Catalogue(file)) as catalogue:
        yield catalogue


def remembered_roots(located: Located) -> dict[bytes, dict[str, Any]]:
    """Every root that was ingested, with the options it had."""
    with open_catalogue(located) as catalogue:
        return {} if catalogue is None else catalogue.roots()
