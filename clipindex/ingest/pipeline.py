"""A run in one visible line: survey -> workers -> recorder -> summary."""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Collection as Sized
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from itertools import chain

from clipindex.collection.agreement import PointCount, begin_run, count_points, end_run
from clipindex.collection.opening import Collection
from clipindex.collection.run_history import NOTHING_DONE
from clipindex.errors import ExitCode
from clipindex.files.access import is_folder
from clipindex.files.file_system import FileRecord
from clipindex.files.identity import point_id
from clipindex.ingest.describing import Describer, describe_again
from clipindex.ingest.events import (
    Event,
    NodesSeen,
    PointsMissing,
    RunFinished,
    RunPlanned,
    RunStarted,
    Status,
    Summary,
    Undescribed,
    Untouched,
)
from clipindex.ingest.labels import is_accepted
from clipindex.ingest.options import IngestOptions
from clipindex.ingest.outcomes import Embedded, Faulty, Known, WrittenElsewhere
from clipindex.ingest.plan import defer, quarantined
from clipindex.ingest.reasons import grouped
from clipindex.ingest.recorder import Recorder, Tally
from clipindex.ingest.redecode import contents_again
from clipindex.ingest.remembered import with_memory
from clipindex.ingest.scope import Scope, memory_of
from clipindex.ingest.survey import Survey, memory_from, survey
from clipindex.ingest.vanished import note_vanished, renamed_roots
from clipindex.ingest.workers import ContentClaims, Workers
from clipindex.model.encoder import Encoder
from clipindex.pictures.decode import decoders
from clipindex.pictures.preprocessing import Preprocessing
from clipindex.stores.payload import TAG
from clipindex.upkeep.fill_in import fill_in
from clipindex.upkeep.metadata import Joiner, join_all, joiner_for
from clipindex.upkeep.standing.asking import StandingHit, ask_new
from clipindex.upkeep.tagging import put_tags


def ingest(
    collection: Collection, model: Encoder, scope: Scope, options: IngestOptions
) -> Iterator[Event]:
    """Bring a collection up to date with the files of a scope, yielding an event at each step.

    Closing the iterator at any point is safe: finished batches stay, the next run goes on.
    Raises UsageError for a missing root, DiskNotMounted for an empty one that held pictures.
    """
    start = time.monotonic()
    catalogue = collection.catalogue
    again = contents_again(collection, options.redecode)
    scope, remarks = with_memory(scope, catalogue.roots())
    number, loss = begin_run(collection)
    yield RunStarted(
        model=collection.contract.model,
        preprocessing=collection.preprocessing.value,
        store=collection.place.name,
        collection=collection.place.collection,
    )
    yield from remarks
    if loss.pictures:
        yield PointsMissing(loss.pictures, loss.remembered)
    files = yield from survey(
        scope, memory_from(catalogue), decoders(), reread=options.reread, again=again.keys()
    )
    renamed = list(renamed_roots(catalogue, scope, files))
    _remember_roots(collection, scope, files)
    plan = files.plan
    deferred = defer(plan, options.limit)
    reading = {"found": files.found, "to_read": len(plan.to_read)}
    catalogue.write(plan.refreshed, done=reading if plan.to_read else NOTHING_DONE)
    yield from _planned(collection, files, deferred)
    if plan.undescribed:
        yield Undescribed(plan.undescribed)
    tagged = yield from _tag_unchanged(collection, plan.unchanged, scope)
    joiner = joiner_for(collection)
    filled = join_all(collection, joiner) if joiner.is_new else ()
    describer = Describer(files.sidecars)
    redescribed = describe_again(collection, plan.redescribed, describer, joiner)
    for batch in chain(fill_in(collection), filled, redescribed):
        tagged += batch.points
        yield batch

    in_full = frozenset(again.values())
    workers = _workers(collection, model, scope, files, options, describer, joiner, in_full)
    deadline = None if options.max_seconds is None else start + options.max_seconds
    is_timed = deadline is not None
    recorder = Recorder(collection, workers, scope, files, options.batch_size, joiner, is_timed)
    with collection.points.bulk_load(len(plan.to_read)):
        late = yield from _read(plan.to_read, workers, recorder, deadline)
    if late:
        yield Untouched(source=collection.source, deferred=late)

    describer.warn()
    standing = yield from _ask_standing(collection, model)
    newly_vanished = yield from note_vanished(collection, files, recorder.tally.moved_from)
    yield from renamed
    points = count_points(collection)
    counts = _Counts(
        deferred=len(deferred) + len(late),
        tagged=tagged,
        newly_vanished=newly_vanished,
        points=points,
        start=start,
        fail_on_vanished=options.fail_on_vanished,
        standing=standing,
        provider=workers.provider_in_use,
    )
    summary = _summary(collection, files, recorder.tally, counts)
    end_run(collection, number, points, asdict(summary))
    yield RunFinished(summary)


def _remember_roots(collection: Collection, scope: Scope, files: Survey) -> None:
    """Remember the folders, and the roots for `reindex` unless they held no file at all. A root
    that is remembered keeps its options, unless the run is told to store them."""
    collection.catalogue.remember_folders(files.learned)
    if files.found:
        known = {} if scope.remember else collection.catalogue.roots()
        for root in scope.roots:
            if root.path not in known and is_folder(root.path):
                collection.catalogue.remember_root(root.path, memory_of(root))


def _planned(collection: Collection, files: Survey, deferred: Sized[FileRecord]) -> Iterator[Event]:
    plan = files.plan
    yield RunPlanned(
        found=files.found,
        to_read=len(plan.to_read),
        bytes_to_read=plan.to_read.size,
        unchanged=len(plan.unchanged),
        vanished=len(plan.vanished),
        unmatched_globs=tuple(sorted(files.unmatched_globs)),
    )
    yield Untouched(
        source=collection.source,
        unchanged=plan.unchanged,
        deferred=deferred,
        known_faults=plan.known_faults,
        left_out=files.left_out,
    )


def _workers(
    collection: Collection,
    model: Encoder,
    scope: Scope,
    files: Survey,
    options: IngestOptions,
    describer: Describer,
    joiner: Joiner,
    in_full: frozenset[bytes],
) -> Workers:
    """Threads of this process, or actors of a cluster. `in_full`: see `Workers`."""
    if options.ray is None:
        claims, recipe = ContentClaims(collection.catalogue, in_full), collection.preprocessing
        return Workers(model, recipe, claims, options.workers, describer, in_full)
    from clipindex.ingest.on_ray.driver import ClusterWorkers  # needs an extra, few use it

    return ClusterWorkers(model, collection, files, describer, scope, joiner, options, in_full)


def _read(
    records: Sized[FileRecord], workers: Workers, recorder: Recorder, deadline: float | None
) -> Generator[Event, None, list[FileRecord]]:
    """Read and record the files; returns those that were not read before the deadline."""
    # Closed here, whatever ends the loop: the workers use the catalogue, which is closed next.
    with closing(workers.run(records, deadline)) as outcomes:
        try:
            for outcome in outcomes:
                match outcome:
                    case Embedded() | Known() | Faulty():
                        yield from recorder.take(outcome)
                    case WrittenElsewhere():
                        yield from recorder.take_written(outcome)
                    case NodesSeen():
                        recorder.tally.nodes = outcome.nodes
                        yield outcome
                    case _:
                        yield outcome
        finally:
            recorder.write_notes()
    yield from recorder.finish()
    if deadline is None:
        return []
    return [record for record in records if record.path not in recorder.tally.paths]


def _tag_unchanged(
    collection: Collection, unchanged: Sized[FileRecord], scope: Scope
) -> Generator[Event, None, int]:
    """Put the roots' tags on files that this run does not read; returns how many lacked them."""
    if not scope.retag:
        return 0
    keys = scope.keys()
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


def _ask_standing(collection: Collection, model: Encoder) -> Generator[Event, None, Counter[str]]:
    """Ask the standing questions of what is new; returns how many hits each has."""
    hits: Counter[str] = Counter()
    for event in ask_new(collection, lambda _bundle: model):
        if isinstance(event, StandingHit):
            hits[event.question] += 1
        yield event
    return hits


@dataclass(frozen=True, slots=True, kw_only=True)
class _Counts:
    """What a run knows beside the survey and the tally; `start` is a time.monotonic() value."""

    deferred: int
    tagged: int
    newly_vanished: int
    points: PointCount
    start: float
    fail_on_vanished: bool
    standing: Counter[str]  # hits of the standing questions
    provider: str  # what runs the vision tower


def _summary(collection: Collection, files: Survey, tally: Tally, counts: _Counts) -> Summary:
    plan, statuses = files.plan, tally.statuses
    seconds = time.monotonic() - counts.start
    known_quarantine = quarantined(plan)
    marks = collection.catalogue.refusals()
    reasons = [(Status(row.state), row.reason) for row in plan.known_faults] + tally.reasons
    unreadable = tally.unreadable + len(files.faults)
    has_previews = collection.preprocessing is Preprocessing.PREVIEWS
    summary = Summary(
        found=files.found,
        new=statuses[Status.NEW],
        changed=statuses[Status.CHANGED],
        duplicate=statuses[Status.DUPLICATE],
        moved=statuses[Status.MOVED],
        unchanged=statuses[Status.UNCHANGED] + len(plan.unchanged),
        quarantined=statuses[Status.QUARANTINED] + known_quarantine,
        newly_quarantined=tally.newly_quarantined,
        skipped=statuses[Status.SKIPPED] + len(plan.known_faults) - known_quarantine,
        deferred=counts.deferred,
        left_out=len(files.left_out),
        tagged=counts.tagged,
        vanished=len(plan.vanished) - statuses[Status.MOVED],
        newly_vanished=counts.newly_vanished,
        vanished_notes=len(plan.vanished_notes),
        accepted=tally.accepted + sum(is_accepted(marks, row) for row in plan.known_faults),
        unreadable=unreadable,
        points=counts.points.total,
        embedded=tally.embedded,
        by_preview=tally.by_preview if has_previews else None,
        written=tally.written + counts.tagged,
        seconds=round(seconds, 3),
        pictures_per_second=round(tally.written / max(seconds, 0.001), 1),
        model=collection.contract.model,
        provider=counts.provider if tally.embedded else "",
        store=collection.place.name,
        collection=collection.place.collection,
        quarantine_reasons=grouped(why for status, why in reasons if status is Status.QUARANTINED),
        skip_reasons=grouped(why for status, why in reasons if status is Status.SKIPPED),
        standing=dict(counts.standing),
        nodes={node: state.pictures for node, state in tally.nodes.items() if state.pictures},
        deaths={node: state.deaths for node, state in tally.nodes.items() if state.deaths},
    )
    attention = summary.needs_attention(fail_on_vanished=counts.fail_on_vanished)
    return replace(summary, exit_code=int(ExitCode.ATTENTION if attention else ExitCode.DONE))
