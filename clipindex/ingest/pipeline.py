"""The way of the data, in one visible loop: survey -> workers -> recorder -> summary."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from clipindex.collection.opening import Collection, reconcile
from clipindex.errors import ExitCode
from clipindex.files.identity import point_id
from clipindex.files.walk import FileRecord, Root, WalkPolicy
from clipindex.ingest.events import (
    Event,
    RunFinished,
    RunPlanned,
    RunStarted,
    Status,
    Summary,
    Untouched,
)
from clipindex.ingest.options import IngestOptions
from clipindex.ingest.plan import defer, quarantined
from clipindex.ingest.recorder import Recorder
from clipindex.ingest.survey import Scope, Survey, survey
from clipindex.ingest.workers import ContentClaims, Outcome, Workers
from clipindex.model.encoder import Encoder
from clipindex.pictures.decode import decoders
from clipindex.stores.payload import TAG
from clipindex.upkeep.tagging import put_tags


def ingest(
    collection: Collection, model: Encoder, scope: Scope, options: IngestOptions
) -> Iterator[Event]:
    """Bring a collection up to date with the files of a scope, telling of each step.

    Closing the iterator at any point is safe: finished batches stay, the next run goes on.
    """
    clock, catalogue, claims = (
        time.monotonic(),
        collection.catalogue,
        ContentClaims(collection.catalogue),
    )
    number, finished_before = catalogue.begin_run(_now())
    if not finished_before:
        reconcile(collection)
    yield RunStarted(
        collection.contract.model,
        collection.preprocessing.value,
        collection.place.name,
        collection.place.collection,
    )
    found = yield from survey(scope, catalogue.in_folder, catalogue.indexed_by_folder(), decoders())
    if found.found:
        for root in scope.roots:
            if os.path.isdir(root.path):
                catalogue.remember_root(root.path, memory_of(root))
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
    yield Untouched(plan.unchanged, deferred, plan.known_faults, collection.source, found.left_out)
    tagged = yield from _tag_unchanged(collection, plan.unchanged, scope)
    workers = Workers(model, collection.preprocessing, claims, options.workers)
    recorder = Recorder(
        collection,
        claims,
        workers.embed_again,
        options.batch_size,
        scope,
        found.whole_roots,
        plan.vanished,
    )
    deadline = None if options.max_seconds is None else clock + options.max_seconds
    with collection.points.bulk_load(len(plan.to_read)):
        late = yield from _read(plan.to_read, workers, recorder, deadline)
    if late:
        yield Untouched((), late, (), collection.source)

    left = len(deferred) + len(late)
    summary = _summary(collection, model, found, left, tagged, recorder, clock)
    catalogue.finish_run(number, _now(), asdict(summary))
    yield RunFinished(summary)


def _read(
    records: Sequence[FileRecord], workers: Workers, recorder: Recorder, deadline: float | None
) -> Generator[Event, None, list[FileRecord]]:
    """Have the files read and recorded; returns those for which the time was too short."""
    # Closed here and now, whatever ends the loop: the workers use the catalogue, which is
    # closed soon after.
    with closing(workers.run(records, deadline)) as outcomes:
        for outcome in outcomes:
            if isinstance(outcome, Outcome):
                yield from recorder.take(outcome)
            else:
                yield outcome
    yield from recorder.finish()
    return [record for record in records if record.path not in recorder.settled]


def memory_of(root: Root) -> dict[str, object]:
    """What the catalogue keeps of a root, for `reindex`."""
    return {"policy": asdict(root.policy), "tags": dict(root.tags)}


def root_from_memory(path: bytes, memory: Mapping[str, Any]) -> Root:
    """The root that `memory_of` described."""
    policy = memory["policy"]
    globs = {name: tuple(policy[name]) for name in ("exclude", "include")}
    return Root(path, WalkPolicy(**{**policy, **globs}), tuple(sorted(memory["tags"].items())))


def _tag_unchanged(
    collection: Collection, unchanged: Sequence[FileRecord], scope: Scope
) -> Generator[Event, None, int]:
    """Put the roots' tags on files that this run does not read; returns how many lacked them."""
    if not scope.retag:
        return 0
    keys = {key for tags in (scope.tags, *(r.tags for r in scope.roots)) for key, _ in tags}
    if not keys:
        return 0
    for key in keys:
        collection.points.index_field(TAG + key)
    by_tags: dict[tuple[tuple[str, str], ...], list[uuid.UUID]] = {}
    for record in unchanged:
        tags = tuple(scope.tags_for(record.path).items())
        by_tags.setdefault(tags, []).append(point_id(collection.source, record.path))
    tagged = 0
    for tags, ids in by_tags.items():
        for batch in put_tags(collection.points, ids, dict(tags)):
            tagged += batch.points
            yield batch
    return tagged


def _summary(
    collection: Collection,
    model: Encoder,
    found: Survey,
    deferred: int,
    tagged: int,
    recorder: Recorder,
    clock: float,
) -> Summary:
    tally, plan, seconds = recorder.tally, found.plan, time.monotonic() - clock
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
        tagged=tagged,
        vanished=len(plan.vanished) - recorder.moved,
        unreadable=unreadable,
        points=collection.points.count(),
        embedded=recorder.embedded,
        written=recorder.written + tagged,
        seconds=round(seconds, 3),
        pictures_per_second=round(recorder.written / max(seconds, 0.001), 1),
        model=collection.contract.model,
        provider=model.provider_in_use if recorder.embedded else "",
        store=collection.place.name,
        collection=collection.place.collection,
        exit_code=int(ExitCode.ATTENTION if attention else ExitCode.DONE),
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
