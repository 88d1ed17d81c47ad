"""A whole verification: points, then their files, then their embeddings, a slice at a time.

The lock is held while a slice of points is read, never while files are: a run that waits for it
begins in between, and so does a query.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import chain
from typing import TypeVar

from clipindex.collection.contract import recipe_of
from clipindex.collection.folder_place import FolderPlace
from clipindex.collection.noted import computed_with
from clipindex.collection.own_bundle import bundle_for
from clipindex.collection.place import Located, Place
from clipindex.model.bundle import Bundle
from clipindex.model.encoder import Encoder
from clipindex.stores.points import Point
from clipindex.upkeep.verify import points as reading
from clipindex.upkeep.verify.files import Compared, Comparer, Embedder, Target
from clipindex.upkeep.verify.findings import (
    Finding,
    Kind,
    Verification,
    VerifyEvent,
    VerifyFinished,
    VerifyOptions,
    VerifyProgress,
    VerifyStarted,
    with_counts,
)
from clipindex.upkeep.verify.remembered import Remembered, remembered
from clipindex.upkeep.verify.repair import repair
from clipindex.upkeep.verify.resume import Bookmark, Position, bookmark, save

SLICE = 2_500  # points of one opening: 0.5 s, of which the opening takes 0.1 to 0.3
SLICE_WITH_FILES = 250
CPU = "CPUExecutionProvider"  # as runs note it

Events = Generator[VerifyEvent, None, None]
Load = Callable[[Bundle], Encoder]
T = TypeVar("T")


def verify(
    place: Place, options: VerifyOptions, load: Load, *, model: str | None = None, cores: int = 1
) -> Events:
    """Verify a collection, step by step: the work is done while the events are read. Files are
    read, and pictures embedded, by `cores` threads; `model` names the bundle's place, as in a
    query.

    Raises StoreError when there is no collection, CollectionBusy when a run holds it for more
    than ten seconds; then, and when the generator is closed early, the next call goes on.
    """
    started = time.monotonic()
    located = place.locate()
    located.require()
    with remembered(located) as rows:
        embedder = _embedder(located, rows, load, model, cores) if options.embed else None
        run = _Run(located, rows, options, Comparer(embedder))
        yield from run.events(embedder.rule if embedder is not None else "", cores)
    result = run.result
    if options.repair and run.findings:
        result = replace(result, repaired=repair(located.place, run.findings))
    yield VerifyFinished(replace(result, seconds=round(time.monotonic() - started, 3)))


def verify_all(events: Events) -> tuple[Verification, list[Finding]]:
    """Run to the end: how it went, and everything that was found."""
    findings = []
    for event in events:
        if isinstance(event, Finding):
            findings.append(event)
        elif isinstance(event, VerifyFinished):
            return event.result, findings
    raise AssertionError("unreachable: the last event has the result")


def _embedder(
    located: Located, rows: Remembered, load: Load, model: str | None, cores: int
) -> Embedder:
    """Embeddings must be equal where nothing is known that may change them: neither the libraries
    nor the processor, nor another provider, nor a server that rounds what it is given."""
    stored = located.require()
    bundle = bundle_for(stored, model)
    encoder = load(bundle)
    bundle.verify()
    encoder.load(cores)
    same = all(stored.noted.get(name) == value for name, value in computed_with().items())
    on_cpu = encoder.provider_in_use == CPU and rows.provider() in ("", CPU)
    kept_exactly = isinstance(located.place, FolderPlace)
    return Embedder(encoder, recipe_of(stored.contract), same and on_cpu and kept_exactly)


@dataclass(frozen=True, slots=True)
class _Step:
    """One point of a slice: what is wrong with it, or else the file to compare with it."""

    position: Position
    finding: Finding | None = None
    target: Target | None = None


class _Run:
    """One call: it knows what it has found, and how far it came."""

    def __init__(
        self, located: Located, rows: Remembered, options: VerifyOptions, comparer: Comparer
    ) -> None:
        self._place = located.place
        self._stored = located.require()
        self._rows = rows
        self._options = options
        self._comparer = comparer
        seconds = options.max_seconds
        self._deadline = None if seconds is None else time.monotonic() + seconds
        self._why_not = ""  # rows are compared with points
        self.kinds: Counter[Kind] = Counter()
        self.findings: list[Finding] = []  # to be repaired
        self.result = Verification(collection=self._place.collection, sample=str(options.sample))
        self._counts: Counter[str] = Counter()  # by the fields of the result

    def events(self, rule: str, cores: int) -> Events:
        """Everything but the end."""
        options, place = self._options, self._place
        with ExitStack() as stack:
            opened = stack.enter_context(reading.reader(place, self._stored))
            mark = stack.enter_context(bookmark(place, options.mode, restart=options.restart))
            survey = reading.survey(opened, self._rows, place.source, options.sample)
            total = len(survey.positions)
            todo = [position for position in survey.positions if not mark.passed(position)]
            before = total - len(todo)
            mark.checked = before
            self._why_not = self._rows.why_not()
            yield VerifyStarted(
                points=total,
                checked_before=before,
                since=mark.since if before else "",
                rule=rule,
                note=self._why_not,
            )
            yield from self._noted(self._missing_points(opened, survey))
            executor = ThreadPoolExecutor(cores, "verify")
            stack.callback(executor.shutdown, wait=True, cancel_futures=True)
            yield from self._slices(todo, total, mark, opened, executor)
            left = total - mark.checked
            mark.done = left == 0
            self.result = replace(
                with_counts(self.result, self.kinds),
                points=total,
                checked=mark.checked - before,
                checked_before=before,
                left=left,
                rule=rule,
                files_read=self._counts["files"],
                bytes_read=self._counts["bytes"],
                embedded=self._counts["embedded"],
                bit_equal=self._counts["equal"],
            )

    def _missing_points(self, opened: reading.Opening, survey: reading.Survey) -> Iterator[Finding]:
        if survey.miscounted:
            hint = "restart the server, or restore the collection from a backup"
            yield Finding(kind=Kind.POINT, path="", id="", reason=survey.miscounted, hint=hint)
        if survey.without_point and not self._why_not:
            with opened() as points:
                yield from reading.check_pointless(
                    points, survey.without_point, self._rows, self._place.source
                )

    def _slices(
        self,
        todo: Sequence[Position],
        total: int,
        mark: Bookmark,
        opened: reading.Opening,
        executor: ThreadPoolExecutor,
    ) -> Events:
        with_files = self._options.files or self._options.embed
        size = SLICE_WITH_FILES if with_files else SLICE
        for positions in _groups(todo, size):
            steps = self._read(positions, opened)
            targets = [step.target for step in steps if step.target is not None]
            groups = _groups(targets if with_files else (), self._comparer.at_once)
            compared = chain.from_iterable(executor.map(self._comparer.compare, groups))
            for step in steps:
                found = [] if step.finding is None else [step.finding]
                if step.target is not None and with_files:
                    found += self._counted(next(compared))
                yield from self._noted(found)
                mark.move(step.position)
                yield VerifyProgress(mark.checked, total)
                if self._is_over():
                    return
            save(self._place, self._options.mode, mark)

    def _read(self, positions: Sequence[Position], opened: reading.Opening) -> list[_Step]:
        """Read a slice of points back and check them, each by itself and beside its row."""
        with opened() as points:
            stored = reading.read(points, [point for _, point in positions])
            steps = [self._step(position, stored.get(position[1])) for position in positions]
            if any(step.finding and step.finding.kind is Kind.CATALOGUE for step in steps):
                # On a server a run may have begun meanwhile, and be between a point and its row.
                self._why_not = self._rows.why_not()
                steps = [self._step(position, stored.get(position[1])) for position in positions]
            return steps

    def _step(self, position: Position, point: Point | None) -> _Step:
        if point is None:  # deleted since the survey
            return _Step(position)
        dimension, source = self._stored.contract.dimension, self._place.source
        fault = reading.check(point, dimension, self._rows)
        if fault is not None:
            return _Step(position, fault)
        if point.payload["source"] != source:
            return _Step(position)
        row = self._rows.get(reading.path_in(point.payload))
        target = Target(point, row.ctime_ns if row is not None else None)
        return _Step(position, None if self._why_not else reading.check_row(point, row), target)

    def _counted(self, compared: Compared) -> list[Finding]:
        self._counts["files"] += compared.bytes is not None
        self._counts["bytes"] += compared.bytes or 0
        self._counts["embedded"] += compared.is_embedded
        self._counts["equal"] += compared.is_bit_equal
        return [compared.finding] if compared.finding is not None else []

    def _noted(self, findings: Iterator[Finding] | Sequence[Finding]) -> Iterator[Finding]:
        for found in findings:
            self.kinds[found.kind] += 1
            if self._options.repair:
                self.findings.append(found)
            yield found

    def _is_over(self) -> bool:
        return self._deadline is not None and time.monotonic() >= self._deadline


def _groups(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
