"""Opening a collection: lock, contract, points and catalogue, checked against one another."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING

from clipindex.collection.catalogue import INDEXED, Catalogue, Row
from clipindex.collection.contract import (
    Contract,
    StoredContract,
    bundle_for,
    contract_of,
    recipe_of,
)
from clipindex.collection.place import Located, Opened, Place
from clipindex.files.durable import disk_errors
from clipindex.files.identity import path_from_payload, point_id
from clipindex.model.bundle import DEFAULT_MODEL, Bundle, find_bundle
from clipindex.pictures.decode import library_versions
from clipindex.pictures.preprocessing import Preprocessing
from clipindex.stores.filter import Filter
from clipindex.stores.payload import Payload, mtime_of, tags_of
from clipindex.stores.points import POINTS_AT_ONCE, Point, Points
from clipindex.stores.validation import healed_payload, payload_fault

if TYPE_CHECKING:
    from clipindex.model.encoder import Encoder


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    """A collection held by this process for writing."""

    place: Place
    contract: Contract
    points: Points
    catalogue: Catalogue

    @property
    def source(self) -> str:
        """Whose files this run judges."""
        return self.place.source

    @property
    def preprocessing(self) -> Preprocessing:
        """How pictures become pixels."""
        return Preprocessing(self.contract.preprocessing)


@dataclass(frozen=True, slots=True)
class Settings:
    """What an ingest asks of a collection; None: what the collection has, or the default."""

    model: str | None = None
    preprocessing: Preprocessing | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """The contract that an ingest keeps, and the model that goes with it."""

    stored: StoredContract
    bundle: Bundle


def choose(current: StoredContract | None, settings: Settings) -> Choice:
    """The collection's own contract and model; of a new collection, those of the settings.

    Raises ContractMismatch when a setting disagrees, ModelError when the model is missing.
    """
    if current is None:
        bundle = find_bundle(settings.model or DEFAULT_MODEL)
        preprocessing = settings.preprocessing or Preprocessing.DCT_SCALED
        contract = contract_of(bundle, preprocessing.value, preprocessing.version)
        return Choice(StoredContract(contract, str(bundle.folder), library_versions()), bundle)
    recipe = recipe_of(current.contract)
    bundle = bundle_for(current, settings.model)
    wanted = settings.preprocessing or recipe
    current.contract.check(contract_of(bundle, wanted.value, wanted.version))
    return Choice(replace(current, bundle=str(bundle.folder)), bundle)


@contextmanager
def open_for_ingest(
    located: Located, settings: Settings, load: Callable[[Bundle], Encoder]
) -> Iterator[tuple[Collection, Encoder]]:
    """Hold a collection for writing, creating a missing one.

    Creates nothing until the model loads and, for a new collection, its files verify.
    """
    choice = choose(located.stored, settings)
    encoder = load(choice.bundle)
    if located.stored is None:
        choice.bundle.verify()
    with _opened(located.place, choice.stored, purpose="ingest") as (collection, opened):
        stored = replace(opened.stored, bundle=choice.stored.bundle)
        if opened.is_new or stored != opened.stored:
            located.place.save_contract(stored)
        yield collection, encoder


@contextmanager
def open_for_change(place: Place, purpose: str) -> Iterator[Collection]:
    """Hold an existing collection for a change that needs no model. It is noted as a run, so that
    the next one reconciles points and catalogue when this one is interrupted."""
    located = place.locate()
    stored = located.require()
    with (
        _opened(located.place, stored, purpose=purpose, create=False) as (collection, _),
        _noted_run(collection),
    ):
        yield collection


@contextmanager
def open_for_import(place: Place, stored: StoredContract) -> Iterator[Collection]:
    """Hold a collection that is to receive points made elsewhere under `stored`, creating a
    missing one. Raises ContractMismatch when it has another contract."""
    place = place.locate().place
    with (
        _opened(place, stored, purpose="import") as (collection, opened),
        _noted_run(collection),
    ):
        if opened.is_new:
            place.save_contract(stored)
        yield collection


@contextmanager
def _noted_run(collection: Collection) -> Iterator[None]:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    number, finished_before = collection.catalogue.begin_run(now)
    if is_doubtful(collection, finished_before):
        reconcile(collection)
    yield
    collection.catalogue.finish_run(number, now, None)


def _make_folder(place: Place) -> None:
    what = "the store's folder cannot be created"
    with disk_errors(place.folder, what, "name another with --store, or fix the permissions"):
        place.folder.mkdir(parents=True, exist_ok=True)


@contextmanager
def _opened(
    place: Place, wanted: StoredContract, *, purpose: str, create: bool = True
) -> Iterator[tuple[Collection, Opened]]:
    """Take the lock, then open points and catalogue."""
    _make_folder(place)
    with place.hold(purpose) as hold:
        opened = place.open(wanted, create=create)
        with closing(opened.points), closing(Catalogue(opened.catalogue)) as catalogue:
            contract = opened.stored.contract
            collection = Collection(
                place=place, contract=contract, points=opened.points, catalogue=catalogue
            )
            with hold.answer_from(opened.points):
                yield collection, opened


def is_doubtful(collection: Collection, finished_before: bool) -> bool:
    """Whether points and catalogue may disagree: the run before did not finish, or the source has
    fewer points than its catalogue remembers (a shard that was deleted, or an old backup)."""
    if not finished_before:
        return True
    remembered = collection.catalogue.counts().get(INDEXED, 0)
    points = collection.points.count() if remembered else 0
    if points > remembered:  # others' points, or old ones of files gone bad: count exactly
        points = collection.points.count(_of_source(collection))
    return points < remembered


def reconcile(collection: Collection) -> int:
    """Make the catalogue agree with the points: after an interruption, or when one is new or was
    lost. Returns how many remembered files have no point; their rows are deleted.

    Flushes first: the run before may have been killed between a write and its flush. What is
    believed here must survive a power cut.
    """
    catalogue = collection.catalogue
    collection.points.flush()
    unfinished = _finish_moves(collection)
    remembered = {row.path: row for row in catalogue.rows()}
    learned: list[Row] = []
    with_point: set[bytes] = set()
    for _, payload in collection.points.scroll(_of_source(collection)):
        if payload_fault(healed_payload(payload)) is not None:
            continue  # its file is read again, and its point written anew
        row = row_from_payload(payload)
        with_point.add(row.path)
        known = remembered.get(row.path)
        if known is None and row.path in unfinished:
            continue  # its file is read again, and the move done once more
        if known is None or (known.state == INDEXED and known.sha256 != row.sha256):
            learned.append(row)
    gone = [
        path for path, row in remembered.items() if row.state == INDEXED and path not in with_point
    ]
    catalogue.write(learned, gone)
    catalogue.forget_moves()
    return len(gone)


def _of_source(collection: Collection) -> Filter:
    return Filter(equals=(("source", collection.source),))


def _finish_moves(collection: Collection) -> set[bytes]:
    """Finish the moves that were interrupted after their new point was written. Returns the new
    paths of the others."""
    unfinished: set[bytes] = set()
    catalogue, points, source = collection.catalogue, collection.points, collection.source
    begun = iter(catalogue.begun_moves().items())
    while moves := list(islice(begun, POINTS_AT_ONCE // 2)):
        stored = points.retrieve([point_id(source, path) for pair in moves for path in pair])
        rows: dict[bytes, Row] = {}
        for old, new in moves:
            before, after = stored.get(point_id(source, old)), stored.get(point_id(source, new))
            if (
                after is not None
                and payload_fault(healed_payload(after.payload)) is None
                and (before is None or _took_over(points, before, after))
            ):
                rows[old] = row_from_payload(after.payload)
            else:
                unfinished.add(new)
        points.delete([point_id(source, old) for old in rows])
        points.flush()
        catalogue.write(rows.values(), rows)
    return unfinished


def _took_over(points: Points, before: Point, after: Point) -> bool:
    """Whether the point at the new path holds all that the old one does: vector and tags."""
    tags = tags_of(before.payload).keys() <= tags_of(after.payload).keys()
    return tags and points.same(replace(after, vector=before.vector), after)


def row_from_payload(payload: Payload) -> Row:
    """The catalogue's row of an indexed file; the change time is learned at the next stat."""
    return Row(
        path=path_from_payload(payload),
        size=int(str(payload["bytes"])),
        mtime_ns=mtime_of(payload),
        ctime_ns=None,
        sha256=bytes.fromhex(str(payload["sha256"])),
        state=INDEXED,
    )
