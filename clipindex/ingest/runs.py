"""A whole run: the collection is opened, the pipeline runs, the collection is closed."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator

from clipindex.collection.endings import noted_refusal
from clipindex.collection.opening import Collection, Settings, open_for_ingest
from clipindex.collection.place import Located, Place
from clipindex.collection.status import open_catalogue, remembered_roots
from clipindex.errors import DiskNotMounted, UsageError
from clipindex.ingest import pipeline
from clipindex.ingest.cores import usable_cores
from clipindex.ingest.events import Event, OldCollectionFed, RunFinished, Summary
from clipindex.ingest.options import IngestOptions
from clipindex.ingest.scope import Part, Scope, check_roots, excluded_path, root_from_memory
from clipindex.model.bundle import Bundle
from clipindex.model.encoder import Encoder
from clipindex.upkeep.compact_after import is_worth_compacting, start_compacting
from clipindex.upkeep.switch.feeding import feed

Events = Generator[Event, None, None]
Load = Callable[[Bundle], Encoder]


def check_scope(scope: Scope, place: Place) -> None:
    """Raises UsageError or DiskNotMounted for a missing root; looks at the place only then."""
    located: list[Located] = []

    def folders_remembered() -> dict[bytes, int]:
        located.append(place.locate(for_writing=True))
        with open_catalogue(located[0]) as catalogue:
            return {} if catalogue is None else catalogue.indexed_by_folder()

    try:
        check_roots([root.path for root in scope.roots], folders_remembered, scope.files)
    except DiskNotMounted as error:
        with noted_refusal(located[0], "ingest"):
            raise error


def ingest(
    place: Place, scope: Scope, options: IngestOptions, settings: Settings, load: Load
) -> Events:
    """Bring a collection up to date with the files of a scope, creating a missing one."""
    _check_engine(place, options)
    with open_for_ingest(place.locate(for_writing=True), settings, load) as (collection, model):
        yield from _in_step(
            collection, pipeline.ingest(collection, model, scope, options), load, options
        )
        is_wasteful = options.compact and is_worth_compacting(collection)
    if is_wasteful:
        start_compacting(place)


def reindex(
    whole: Located, part: Part, options: IngestOptions, settings: Settings, load: Load
) -> Events:
    """Bring an existing collection up to date with its remembered roots, or a part of them.

    Raises UsageError when none is remembered.
    """
    _check_engine(whole.place, options)
    located = whole.for_part(part.number, part.of)
    with open_for_ingest(located, settings, load, "reindex") as (collection, model):
        catalogue = collection.catalogue
        memories = catalogue.roots()
        if not memories and part.of > 1:  # on a server each part has a catalogue: this one is new
            memories = remembered_roots(whole)
        if not memories:
            raise UsageError(
                f"the collection remembers no folder of source '{collection.source}'",
                hint="ingest one by hand: clipindex ingest FOLDER. Folders are remembered for each "
                "--source, of a server's collection by the machine that ingested them",
            )
        roots = tuple(root_from_memory(path, memory) for path, memory in memories.items())
        check_roots(list(memories), catalogue.indexed_by_folder)
        scope = Scope(
            roots=roots,
            part=part,
            excluded_folder=excluded_path(collection.place),
            retag=False,
        )
        yield from _in_step(
            collection, pipeline.ingest(collection, model, scope, options), load, options
        )
        is_wasteful = options.compact and is_worth_compacting(collection)
    if is_wasteful:
        start_compacting(located.place)


def _check_engine(place: Place, options: IngestOptions) -> None:
    """Raises UsageError for a cluster that is to write into an embedded store, and without Ray."""
    if options.ray is not None:
        from clipindex.ingest.on_ray.driver import check_place  # needs an extra, few use it

        check_place(place)


def _in_step(
    collection: Collection, run: Iterator[Event], load: Load, options: IngestOptions
) -> Iterator[Event]:
    """A run, and before its last event the same for the old collection of a switch, if one is
    kept: all of both is compared, and what the old one lacks is embedded with its model."""
    started = time.monotonic()
    beside = collection.beside
    for event in run:
        if isinstance(event, RunFinished) and beside is not None and not beside.is_new:
            left = None
            if options.max_seconds is not None:
                left = max(0.0, options.max_seconds - (time.monotonic() - started))
            fed = feed(collection, beside, load, options.workers or usable_cores(), left)
            if fed is not None:
                yield OldCollectionFed(
                    model=beside.stored.contract.model,
                    embedded=fed.filled.embedded,
                    lacking=fed.of - fed.pictures,
                )
        yield event


def summary_of(events: Iterator[Event]) -> Summary:
    """Run to the end; the last event has the summary."""
    summary = Summary()
    for event in events:
        if isinstance(event, RunFinished):
            summary = event.summary
    return summary
