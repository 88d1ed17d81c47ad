"""Adding, listing, removing and asking standing questions by hand."""

from __future__ import annotations

import os
from collections.abc import Generator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from clipindex.collection.catalogue import Catalogue
from clipindex.collection.names import check_name
from clipindex.collection.opening import open_for_change
from clipindex.collection.place import Place
from clipindex.collection.questions import FROM_THE_FIRST, StandingQuestion
from clipindex.collection.status import open_catalogue
from clipindex.collection.verdicts import now
from clipindex.errors import UsageError
from clipindex.files.identity import display_path, resolve_root
from clipindex.search.filters import EVERY_PICTURE, PictureFilter
from clipindex.search.terms import Term, TermKind, picture_path
from clipindex.stores.payload import check_key, tag_fields
from clipindex.upkeep.standing.asking import Asker, Load, StandingEvent, since


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionOptions:
    """What makes a picture a hit, and what becomes of it. With neither `min_z` nor `min_score`, a
    hit is a picture that fits, as far as that was measured for the model."""

    tag: tuple[str, str] | None = None
    min_z: float | None = None
    min_score: float | None = None
    under: tuple[Path, ...] = ()  # of several folders, any
    pictures: PictureFilter = EVERY_PICTURE


@dataclass(frozen=True, slots=True, kw_only=True)
class StandingFound:
    """A content that a question found, at each path where it is indexed."""

    paths: tuple[str, ...]
    exact_paths: tuple[bytes, ...]
    score: float
    z: float | None
    found: str  # ISO 8601, UTC


def add(
    place: Place, name: str, terms: Sequence[Term], options: QuestionOptions, load: Load
) -> StandingQuestion:
    """Remember a question; from the next ingest on new pictures are asked.

    Raises UsageError for a name that is taken or none, terms that give no query, and where no
    border is given and none was measured for the model.
    """
    check_name("standing question", name)
    if options.tag is not None:
        check_key(options.tag[0])
        tag_fields(dict([options.tag]))
    question = StandingQuestion(
        name=name,
        terms=tuple(_remembered(term) for term in terms),
        tag=options.tag,
        min_z=options.min_z,
        min_score=options.min_score,
        under=tuple(os.fsdecode(resolve_root(folder)) for folder in options.under),
        filters=_filters(options.pictures),
        added=(time := now()),
        since=time,
    )
    with open_for_change(place, "standing") as collection:
        if any(known.name == name for known in collection.catalogue.questions()):
            raise UsageError(
                f"there is a standing question '{name}' already",
                hint=f"remove it first: clipindex standing remove {name}",
            )
        asker = Asker(collection, load)
        question = asker.embedded(question)
        by_fit = options.min_z is None and options.min_score is None
        if by_fit and not (question.is_text and asker.calibration):
            raise UsageError(
                "nothing says which pictures are hits",
                hint="say how far they must stand out, such as --min-z 3 (without it only texts "
                "can be asked, and only with a model for which that was measured)",
            )
        if not collection.points.estimate():
            question = replace(question, since=FROM_THE_FIRST)
        collection.catalogue.save_question(question)
    return question


def remove(place: Place, name: str) -> None:
    """Forget a question and what it found; tags stay. Raises UsageError for an unknown one."""
    with open_for_change(place, "standing") as collection:
        _named(collection.catalogue, name)
        collection.catalogue.remove_question(name)


def questions_of(place: Place, name: str | None = None) -> list[StandingQuestion]:
    """The standing questions of a collection, or the one of this name. Nothing is locked. Raises
    UsageError for an unknown one."""
    located = place.locate()
    located.require()
    with open_catalogue(located) as catalogue:
        if name is not None:
            return [_named(catalogue, name)]
        return [] if catalogue is None else catalogue.questions()


def found_by(place: Place, name: str, after: str | None = None) -> list[StandingFound]:
    """What a question found, those contents that are still indexed, in the order in which it did;
    `after`: only since this time (ISO 8601). Raises UsageError for an unknown question."""
    located = place.locate()
    located.require()
    with open_catalogue(located) as catalogue:
        _named(catalogue, name)
        assert catalogue is not None  # it has the question
        hits = []
        for content in catalogue.found_by(name):
            paths = catalogue.indexed_copies(content.sha256, -1)
            if paths and (after is None or content.found >= after):
                hits.append(
                    StandingFound(
                        paths=tuple(map(display_path, paths)),
                        exact_paths=tuple(paths),
                        score=content.score,
                        z=content.z,
                        found=content.found,
                    )
                )
        return hits


def run(place: Place, names: Sequence[str], load: Load) -> Generator[StandingEvent, None, None]:
    """Ask questions, or all of them, of every picture of this source. Raises UsageError for an
    unknown one."""
    with open_for_change(place, "standing") as collection:
        catalogue = collection.catalogue
        chosen = [_named(catalogue, name) for name in names] or catalogue.questions()
        waiting = catalogue.waiting()
        if not chosen:
            return
        asker = Asker(collection, load)
        made = [replace(asker.embedded(question), since=FROM_THE_FIRST) for question in chosen]
        able = yield from asker.ask(made, since(collection, FROM_THE_FIRST))
        for question in made:
            if question.name in able:
                catalogue.save_question(question)
        if len(able) == len(catalogue.questions()):
            catalogue.asked(waiting)


def _named(catalogue: Catalogue | None, name: str) -> StandingQuestion:
    known = [] if catalogue is None else catalogue.questions()
    for question in known:
        if question.name == name:
            return question
    names = ", ".join(question.name for question in known)
    raise UsageError(
        f"there is no standing question '{name}'",
        hint=f"there are: {names}" if names else "clipindex standing add NAME TERM makes one",
    )


def _remembered(term: Term) -> tuple[str, str, float]:
    """A term as it is stored: a picture by its whole path. Raises UsageError for bytes."""
    if isinstance(term.value, bytes):
        raise UsageError(
            "a standing question cannot remember standard input",
            hint="name a text, or a picture by its path",
        )
    path = picture_path(term)
    if path is not None:
        return os.fsdecode(path), TermKind.IMAGE.value, term.weight
    return term.value, TermKind.TEXT.value, term.weight


def _filters(pictures: PictureFilter) -> dict[str, Any]:
    """The values that are given, as JSON."""
    empty = asdict(EVERY_PICTURE)
    values = {name: value for name, value in asdict(pictures).items() if value != empty[name]}
    for name in {"where", "where_not"} & values.keys():
        values[name] = [tuple(condition.values()) for condition in values[name]]
    return values
