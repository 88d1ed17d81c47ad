"""The way of the data, in one visible loop: survey -> workers -> recorder -> summary."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from clipindex.collection import Collection, reconcile
from clipindex.errors import ExitCode
from clipindex.events import (
    Event,
    RunFinished,
    RunPlanned,
    RunStarted,
    Status,
    Summary,
    Untouched,
)
from clipindex.images import decoders
from clipindex.model import Model
from clipindex.plan import defer, quarantined
from clipindex.recorder import Recorder
from clipindex.survey import Survey, survey
from clipindex.workers import Claims, Workers

BATCH_SIZE = 25


@dataclass(frozen=True, slots=True)
class IngestOptions:
    """How to go about a run; nothing here changes a vector."""

    batch_size: int = BATCH_SIZE  # points written, made durable and read back together
    limit: int | None = None  # files newly read; the rest is deferred
    workers: int | None = None  # None: one for each usable core


def ingest(
    collection: Collection, model: Model, roots: Sequence[bytes], options: IngestOptions
) -> Iterator[Event]:
    """Bring a collection up to date with the files below the roots, telling of each step.

    Closing the iterator at any point is safe: finished batches stay, the next run goes on.
    """
    clock, catalogue = time.perf_counter(), collection.catalogue
    number, finished_before = catalogue.begin_run(_now())
    if not finished_before or catalogue.is_new:
        reconcile(collection)
    yield RunStarted(
        collection.bundle.manifest.model,
        model.provider,
        collection.preprocessing.value,
        str(collection.place.store),
        collection.place.collection,
    )
    found = yield from survey(roots, catalogue.in_folder, catalogue.indexed_by_folder(), decoders())
    if found.found:
        for root in roots:
            catalogue.remember_root(root, {"batch_size": options.batch_size})
    plan = found.plan
    deferred = defer(plan, options.limit)
    catalogue.write(plan.refreshed)
    yield RunPlanned(
        found.found,
        len(plan.to_read),
        sum(record.size for record in plan.to_read),
        len(plan.unchanged),
        len(plan.vanished),
    )
    yield Untouched(plan.unchanged, deferred, plan.known_faults, collection.source)

    claims = Claims(catalogue)
    workers = Workers(model, collection.preprocessing, claims, options.workers)
    recorder = Recorder(
        collection, claims, workers.embed_again, options.batch_size, found.whole_roots
    )
    for outcome in workers.run(plan.to_read):
        yield from recorder.take(outcome)
    yield from recorder.finish()

    summary = _summary(collection, model, found, len(deferred), recorder, clock)
    catalogue.finish_run(number, _now(), asdict(summary))
    yield RunFinished(summary)


def _summary(
    collection: Collection,
    model: Model,
    found: Survey,
    deferred: int,
    recorder: Recorder,
    clock: float,
) -> Summary:
    tally, plan, seconds = recorder.tally, found.plan, time.perf_counter() - clock
    known_quarantine = quarantined(plan)
    unreadable = recorder.unreadable + len(found.faults)
    attention = recorder.newly_quarantined or unreadable
    return Summary(
        found=found.found,
        new=tally[Status.NEW],
        changed=tally[Status.CHANGED],
        duplicate=tally[Status.DUPLICATE],
        moved=tally[Status.MOVED],
        unchanged=tally[Status.UNCHANGED] + len(plan.unchanged),
        quarantined=tally[Status.QUARANTINED] + known_quarantine,
        newly_quarantined=recorder.newly_quarantined,
        skipped=tally[Status.SKIPPED] + len(plan.known_faults) - known_quarantine,
        deferred=deferred,
        left_out=len(found.left_out),
        vanished=len(plan.vanished) - recorder.moved,
        unreadable=unreadable,
        points=collection.store.count(),
        embedded=recorder.embedded,
        written=recorder.written,
        seconds=round(seconds, 3),
        pictures_per_second=round(recorder.written / seconds, 1),
        model=collection.bundle.manifest.model,
        provider=model.provider,
        store=str(collection.place.store),
        collection=collection.place.collection,
        exit_code=int(ExitCode.ATTENTION if attention else ExitCode.DONE),
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
