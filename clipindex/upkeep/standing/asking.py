"""Asking: vectors in, hits out, each tagged once and remembered.

A tag is written and verified before its hit is remembered. So a run that is interrupted between the
two does it again, and a remembered hit whose tag is missing lost it by somebody's hand: it is not
given again.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from clipindex.collection.contract import Contract
from clipindex.collection.opening import Collection
from clipindex.collection.own_bundle import bundle_for_query
from clipindex.collection.place import Located
from clipindex.collection.questions import FROM_THE_FIRST, FoundContent, StandingQuestion
from clipindex.collection.verdicts import now
from clipindex.errors import ClipIndexError, ModelError
from clipindex.files.identity import display_path, path_from_payload, point_id
from clipindex.model.bundle import Bundle
from clipindex.model.encoder import Encoder
from clipindex.search.background import sample_of
from clipindex.search.embedded_terms import embed_terms
from clipindex.search.filters import Condition, PictureFilter, filter_of
from clipindex.search.judging import Calibration, Sample, calibration_for
from clipindex.search.questioning import Answer, answers
from clipindex.search.terms import Term, TermKind
from clipindex.stores.filter import Filter
from clipindex.stores.payload import TAG, Payload, tag_fields
from clipindex.stores.points import POINTS_AT_ONCE, Point
from clipindex.stores.verified import BatchVerified
from clipindex.upkeep.tagging import rewrite

COPIES_LOOKED_AT = 8
Load = Callable[[Bundle], Encoder]


@dataclass(frozen=True, slots=True, kw_only=True)
class StandingHit:
    """A picture that answers a standing question, found just now. `tag` is the KEY=VALUE that it
    was given; None: the question gives none, or the picture has another value of that key."""

    question: str
    path: str
    id: str
    score: float
    z: float | None
    tag: str | None


@dataclass(frozen=True, slots=True)
class QuestionUnasked:
    """A standing question could not be asked; its pictures wait for the next run."""

    question: str
    reason: str


StandingEvent = BatchVerified | StandingHit | QuestionUnasked
TOO_FEW = "the pictures are too few or too alike to tell what stands out"


@dataclass(slots=True)
class Asker:
    """What asking needs, of one collection that is held for writing."""

    collection: Collection
    load: Load
    located: Located = field(init=False)
    sample: Sample = field(init=False)
    calibration: Calibration | None = field(init=False, default=None)
    _known: dict[str, set[bytes]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        place, points = self.collection.place, self.collection.points
        self.located = place.locate()
        stored = self.located.require()
        self.sample = sample_of(points, place, stored)
        try:
            self.calibration = calibration_for(bundle_for_query(stored, None).manifest)
        except ModelError:  # it is away; questions with a z need none
            self.calibration = None

    def ask(
        self, questions: Sequence[StandingQuestion], ids: Iterable[uuid.UUID]
    ) -> Generator[StandingEvent, None, set[str]]:
        """Ask questions of points, read once in blocks. Returns the names of those that could be
        asked."""
        remaining, unable = iter(ids), set[str]()
        for question in questions:
            if question.tag is not None:
                self.collection.points.index_field(TAG + question.tag[0])
        while names := list(islice(remaining, POINTS_AT_ONCE)):
            read = self.collection.points.retrieve(names).values()
            block = [point for point in read if isinstance(point.payload.get("sha256"), str)]
            for question in questions if block else ():
                calibration = self.calibration if question.is_text else None
                found = answers(question, block, self.sample, calibration)
                if found is None:
                    unable.add(question.name)
                yield from self._settle(question, self._wanted(question, found or []))
        yield from (QuestionUnasked(name, TOO_FEW) for name in sorted(unable))
        return {question.name for question in questions} - unable

    def embedded(self, question: StandingQuestion) -> StandingQuestion:
        """The question as the collection's model embeds it. Raises ClipIndexError."""
        terms = [Term(value, TermKind(kind), weight) for value, kind, weight in question.terms]
        for trusting in (True, False):
            asked = embed_terms(self.located, terms, None, self.load, trusting=trusting)
            query = asked.query(self.collection.points)
            if query is not None:
                break
        assert query is not None  # the second time nothing is taken from a point
        neutral = asked.judge(query).neutral
        made = question.with_vectors(query.vector, neutral, identity(self.collection.contract))
        return replace(made, is_text=query.is_text)

    def _wanted(self, question: StandingQuestion, found: list[Answer]) -> list[Answer]:
        """Those that the question's filters leave."""
        if not found or not (question.under or question.filters):
            return found
        folders = list(map(Path, question.under))
        points = self.collection.points
        try:
            only, _ = filter_of(points, picture_filter(question), folders)
        except ClipIndexError:  # a camera or a key that no picture has yet
            return []
        contents = {str(answer.point.payload["sha256"]) for answer in found}
        names = {name for name, _ in points.scroll(only.also_among("sha256", sorted(contents)))}
        return [answer for answer in found if answer.point.id in names]

    def _settle(self, question: StandingQuestion, found: list[Answer]) -> Iterator[StandingEvent]:
        """Tag the hits that are new to the question, then remember them."""
        if not found:
            return
        catalogue = self.collection.catalogue
        known = self._known.get(question.name)
        if known is None:
            known = {content.sha256 for content in catalogue.found_by(question.name)}
            self._known[question.name] = known
        news = [each for each in found if _content(each.point) not in known]
        copies = [each for each in found if _content(each.point) in known]
        given: set[str] = set()
        if question.tag is not None:
            fields = tag_fields(dict([question.tag]))
            copies = [each for each in copies if self._has_tagged_copy(each.point, fields)]
            ids = [each.point.id for each in (*news, *copies)]
            for batch in rewrite(self.collection.points, ids, lambda payload: fields | payload):
                given.update(batch.ids)
                yield batch
        time = now()
        catalogue.add_found(
            question.name,
            [
                FoundContent(sha256=_content(e.point), score=e.score, z=e.z, found=time)
                for e in news
            ],
        )
        known.update(_content(each.point) for each in news)
        for each in [*news, *(copy for copy in copies if str(copy.point.id) in given)]:
            yield _hit(question, each, given)

    def _has_tagged_copy(self, point: Point, fields: Payload) -> bool:
        """Whether another picture with this content still has the tag: a new copy gets it too."""
        catalogue, source = self.collection.catalogue, self.collection.source
        paths = catalogue.indexed_copies(_content(point), COPIES_LOOKED_AT)
        names = [name for path in paths if (name := point_id(source, path)) != point.id]
        copies = self.collection.points.retrieve(names).values() if names else ()
        return any(fields.items() <= copy.payload.items() for copy in copies)


def ask_new(collection: Collection, load: Load) -> Generator[StandingEvent, None, None]:
    """Ask the standing questions of all pictures that wait for it; after a switch to another
    model, of all that they were asked of before. Without any, nothing is read."""
    catalogue = collection.catalogue
    questions = catalogue.questions()
    waiting = catalogue.waiting() if questions else []
    model = identity(collection.contract)
    current = [question for question in questions if question.model == model]
    if not waiting and len(current) == len(questions):
        return
    asker = Asker(collection, load)
    ids = [point_id(collection.source, path) for path in waiting]
    able = yield from asker.ask(current, ids)
    for question in questions:
        if question.model != model:
            able |= yield from _ask_again(asker, question)
    if len(able) == len(questions):
        catalogue.asked(waiting)


def _ask_again(
    asker: Asker, question: StandingQuestion
) -> Generator[StandingEvent, None, set[str]]:
    try:
        made = asker.embedded(question)
    except ClipIndexError as error:  # such as a picture in it that is gone
        yield QuestionUnasked(question.name, error.message)
        return set()
    able = yield from asker.ask([made], since(asker.collection, question.since))
    if able:
        asker.collection.catalogue.save_question(made)
    return able


def since(collection: Collection, time: str) -> Iterator[uuid.UUID]:
    """The points of this source that were indexed since then."""
    for name, payload in collection.points.scroll(Filter().also(("source", collection.source))):
        if time == FROM_THE_FIRST or str(payload.get("indexed_at", "")) >= time:
            yield name


def identity(contract: Contract) -> str:
    """What tells the vectors of one model and preprocessing from all others."""
    facts = json.dumps(asdict(contract), sort_keys=True)
    return f"{contract.model} {hashlib.sha256(facts.encode()).hexdigest()[:16]}"


def picture_filter(question: StandingQuestion) -> PictureFilter:
    """The filter that a question remembers."""
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in question.filters.items()
    }
    for name in ("where", "where_not"):
        values[name] = tuple(Condition(*parts) for parts in values.get(name, ()))
    return PictureFilter(**values)


def _content(point: Point) -> bytes:
    return bytes.fromhex(str(point.payload["sha256"]))


def _hit(question: StandingQuestion, answer: Answer, given: set[str]) -> StandingHit:
    name = str(answer.point.id)
    return StandingHit(
        question=question.name,
        path=display_path(path_from_payload(answer.point.payload)),
        id=name,
        score=answer.score,
        z=answer.z,
        tag="=".join(question.tag) if question.tag is not None and name in given else None,
    )
