"""Zero-shot labels for a whole collection: vectors are read once, in blocks, and labels written as
tags through the verified writer."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np

from clipindex.collection.contract import StoredContract, recipe_of
from clipindex.collection.opening import open_for_change
from clipindex.collection.own_bundle import bundle_for_query
from clipindex.collection.place import Place
from clipindex.errors import UsageError
from clipindex.files.identity import display_path, path_from_payload, resolve_root
from clipindex.model.bundle import Bundle
from clipindex.model.encoder import Encoder
from clipindex.search.background import sample_of
from clipindex.search.classifying import Classifier, Label, Labelled, classifier
from clipindex.search.filters import EVERY_PICTURE, PictureFilter, check_folder, filter_of
from clipindex.search.judging import calibration_for
from clipindex.search.remembered_texts import RememberingEncoder
from clipindex.search.terms import embed_picture
from clipindex.stores.payload import TAG, Payload, check_key, tag_fields
from clipindex.stores.points import POINTS_AT_ONCE, Point, Points, ReadablePoints
from clipindex.stores.verified import BatchVerified, write_verified

PURPOSE = "classify"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifyOptions:
    """Which pictures get a label, when, and what becomes of it."""

    tag: str | None = None  # key of the tag that says it; None: nothing is written
    replace: bool = False  # also where the picture has another value of the key
    always: bool = False  # the nearest label, however little it stands out
    min_z: float | None = None  # decides in place of what was measured for the model
    ensemble: bool = False
    under: tuple[Path, ...] = ()
    pictures: PictureFilter = EVERY_PICTURE


@dataclass(frozen=True, slots=True, kw_only=True)
class Classified:
    """A picture and its label. `label` is None where none stands out, and `nearest` names it
    all the same. `tagged`: the tag was written just now."""

    path: str
    id: str | None  # None: the file is not indexed
    label: str | None
    nearest: str
    score: float
    z: float | None
    fits: bool | None
    tagged: bool = False


@dataclass(frozen=True, slots=True)
class Unclassified:
    """A file that was named and cannot be read as a picture."""

    path: str
    reason: str


Results = Generator[Classified | Unclassified | BatchVerified, None, None]


def classify(
    place: Place,
    labels: Sequence[Label],
    files: Sequence[Path],
    options: ClassifyOptions,
    *,
    model: str | None,
    load: Callable[[Bundle], Encoder],
) -> Results:
    """Label every picture that the options leave; or these files, indexed or not.

    Raises UsageError for a key that no tag can have, and a tag for files that need not be indexed;
    as a query does besides.
    """
    if options.tag is not None:
        check_key(options.tag)
        for label in labels:
            tag_fields({options.tag: label.name})
        if files:
            raise UsageError("files named one by one get no tag: they need not be indexed")
    located = place.locate()
    stored = located.require()
    encoder = RememberingEncoder(bundle_for_query(stored, model), load)
    encoder.encode_texts([label.text for label in labels])  # before the collection is held
    with ExitStack() as stack:
        writable: Points | None = None
        if options.tag is not None:
            writable = stack.enter_context(open_for_change(place, PURPOSE)).points
            writable.index_field(TAG + options.tag)
        points: ReadablePoints = writable or stack.enter_context(
            located.place.open_for_reading(stored, PURPOSE)
        )
        sample = sample_of(points, located.place, stored)
        calibration = calibration_for(encoder.bundle.manifest)
        made = classifier(labels, encoder, sample, calibration, ensemble=options.ensemble)
        if files:
            yield from _files(files, made, encoder, stored, options)
            return
        only, _ = filter_of(points, options.pictures, options.under)
        names = (name for name, _ in points.scroll(only))
        if writable is None:
            seen = yield from _labelled(points, names, made, options)
        else:  # all names first: what is written moves within the collection
            seen = yield from _tagged(writable, list(names), made, options)
        for folder in options.under if not seen else ():
            check_folder(points, folder)


def _blocks(points: ReadablePoints, names: Iterable[uuid.UUID]) -> Iterator[list[Point]]:
    remaining = iter(names)
    while some := list(islice(remaining, POINTS_AT_ONCE)):
        read = points.retrieve(some).values()
        if block := [point for point in read if isinstance(point.payload.get("path"), str)]:
            yield block


def _labelled(
    points: ReadablePoints,
    names: Iterable[uuid.UUID],
    made: Classifier,
    options: ClassifyOptions,
) -> Generator[Classified, None, int]:
    seen = 0
    for block in _blocks(points, names):
        seen += len(block)
        for point, label in zip(block, _labels_of(block, made), strict=True):
            yield _classified(point, label, options)
    return seen


def _tagged(
    points: Points, names: Sequence[uuid.UUID], made: Classifier, options: ClassifyOptions
) -> Generator[Classified | BatchVerified, None, int]:
    seen = 0
    for block in _blocks(points, names):
        seen += len(block)
        results = [
            (point, _classified(point, label, options))
            for point, label in zip(block, _labels_of(block, made), strict=True)
        ]
        changed = [
            Point(point.id, point.vector, payload)
            for point, result in results
            if (payload := _with_label(point.payload, result, options)) != point.payload
        ]
        if changed:
            write_verified(points, changed)
        ids = {point.id for point in changed}
        for point, result in results:
            yield replace(result, tagged=point.id in ids)
        if changed:
            yield BatchVerified(len(changed), tuple(map(str, sorted(ids))))
    return seen


def _with_label(payload: Payload, result: Classified, options: ClassifyOptions) -> Payload:
    """The payload with the tag. What the picture has already stays, unless it is to be replaced;
    a tag is never taken off."""
    if result.label is None or options.tag is None:
        return payload
    fields = tag_fields({options.tag: result.label})
    return {**payload, **fields} if options.replace else {**fields, **payload}


def _labels_of(block: Sequence[Point], made: Classifier) -> list[Labelled]:
    return made.classify(np.array([point.vector for point in block], np.float32))


def _classified(point: Point, label: Labelled, options: ClassifyOptions) -> Classified:
    path = display_path(path_from_payload(point.payload))
    return _result(path, str(point.id), label, options)


def _files(
    files: Sequence[Path],
    made: Classifier,
    encoder: RememberingEncoder,
    stored: StoredContract,
    options: ClassifyOptions,
) -> Iterator[Classified | Unclassified]:
    for file in files:
        try:
            query = embed_picture(file, encoder, recipe_of(stored.contract))
        except UsageError as error:
            yield Unclassified(error.path or str(file), error.message)
            continue
        (label,) = made.classify(query.vector[np.newaxis])
        yield _result(display_path(resolve_root(file)), None, label, options)


def _result(path: str, name: str | None, label: Labelled, options: ClassifyOptions) -> Classified:
    is_one = label.fits is not False
    if options.min_z is not None:
        is_one = label.z is not None and label.z >= options.min_z
    return Classified(
        path=path,
        id=name,
        label=label.label if is_one or options.always else None,
        nearest=label.label,
        score=label.score,
        z=label.z,
        fits=label.fits,
    )
