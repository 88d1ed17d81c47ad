"""One collection, opened: lock, contract, points and catalogue, agreed with one another."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from clipindex.collection import lock
from clipindex.collection.catalogue import INDEXED, Catalogue, Row
from clipindex.collection.contract import (
    Contract,
    StoredContract,
    bundle_for,
    contract_of,
    recipe_of,
)
from clipindex.collection.place import Place
from clipindex.errors import StoreError
from clipindex.files.identity import path_from_payload
from clipindex.model.bundle import DEFAULT_MODEL, Bundle, find_bundle
from clipindex.pictures.decode import library_versions
from clipindex.pictures.preprocessing import Preprocessing
from clipindex.stores.filter import Filter
from clipindex.stores.payload import Payload
from clipindex.stores.points import Points

if TYPE_CHECKING:
    from clipindex.model.encoder import Encoder


@dataclass(frozen=True, slots=True)
class Collection:
    """A collection held by this process for writing."""

    place: Place
    contract: Contract
    points: Points
    catalogue: Catalogue

    @property
    def source(self) -> str:
        """Whose files this process judges."""
        return self.place.source

    @property
    def preprocessing(self) -> Preprocessing:
        """How its pixels are made."""
        return Preprocessing(self.contract.preprocessing)


@dataclass(frozen=True, slots=True)
class Settings:
    """What an ingest asks of a collection; None leaves it to the collection or the default."""

    model: str | None = None
    preprocessing: Preprocessing | None = None


def settle(place: Place, settings: Settings) -> StoredContract:
    """The contract that an ingest will keep: the collection's own, or that of a new one.

    Raises ContractMismatch when a setting disagrees, ModelError when the model is not there.
    """
    stored = place.find_contract()
    if stored is None:
        bundle = find_bundle(settings.model or DEFAULT_MODEL)
        preprocessing = settings.preprocessing or Preprocessing.DCT_SCALED
        contract = contract_of(bundle, preprocessing.value, preprocessing.version)
        return StoredContract(contract, str(bundle.folder), library_versions())
    recipe = recipe_of(stored.contract)
    bundle = bundle_for(stored, settings.model)
    wanted = settings.preprocessing or recipe
    stored.contract.check(contract_of(bundle, wanted.value, wanted.version))
    return replace(stored, bundle=str(bundle.folder))


@contextmanager
def open_for_ingest(
    place: Place, settings: Settings, load: Callable[[Bundle], Encoder]
) -> Iterator[tuple[Collection, Encoder]]:
    """Hold a collection for writing, making it when it is missing.

    Nothing is made unless `load` accepts the bundle and, for a new one, its files are sound.
    """
    place = place.resolve_alias()
    bundle = bundle_for(settle(place, settings), settings.model)
    encoder = load(bundle)
    if place.find_contract() is None:
        bundle.verify()
    _make_folder(place)
    with lock.locked(place.lock, "ingest", lock.INGEST_PATIENCE):
        stored = settle(place, settings)  # again: another run may have made it meanwhile
        with _opened(place, stored) as collection:
            place.save_contract(stored)
            yield collection, encoder


@contextmanager
def open_for_change(place: Place, purpose: str) -> Iterator[Collection]:
    """Hold an existing collection for a change that needs no model; noted as a run, so that
    the next one compares points and catalogue if this one is interrupted."""
    place = place.resolve_alias()
    place.require_contract()
    _make_folder(place)
    with (
        lock.locked(place.lock, purpose, lock.INGEST_PATIENCE),
        _opened(place, place.require_contract()) as collection,
        _noted_run(collection),
    ):
        yield collection


@contextmanager
def open_for_import(place: Place, stored: StoredContract) -> Iterator[Collection]:
    """Hold a collection that is to receive points made elsewhere under `stored`, making it
    when it is missing. Raises ContractMismatch when it was made otherwise."""
    place = place.resolve_alias()
    _make_folder(place)
    with lock.locked(place.lock, "import", lock.INGEST_PATIENCE):
        there = place.find_contract()
        if there is not None:
            there.contract.check(stored.contract)
        with _opened(place, there or stored) as collection, _noted_run(collection):
            place.save_contract(there or stored)
            yield collection


@contextmanager
def _noted_run(collection: Collection) -> Iterator[None]:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    number, finished_before = collection.catalogue.begin_run(now)
    if not finished_before:
        reconcile(collection)
    yield
    collection.catalogue.finish_run(number, now, None)


def _make_folder(place: Place) -> None:
    try:
        place.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"the store's folder cannot be made: {error.strerror}",
            path=str(place.folder),
            hint="name another with --store, or mend the permissions",
        ) from error


@contextmanager
def _opened(place: Place, stored: StoredContract) -> Iterator[Collection]:
    store, remembered = place.open(stored)
    try:
        with closing(Catalogue(remembered)) as catalogue:
            yield Collection(place, stored.contract, store, catalogue)
    finally:
        store.close()


def reconcile(collection: Collection) -> None:
    """Make the catalogue say what the points say: after an interruption, or when it is new."""
    remembered = {row.path: row for row in collection.catalogue.rows()}
    learned: list[Row] = []
    pointed: set[bytes] = set()
    for _, payload in collection.points.scroll(Filter(equals=(("source", collection.source),))):
        row = row_from_payload(payload)
        pointed.add(row.path)
        mine = remembered.get(row.path)
        if mine is None and _may_have_moved(row, collection.catalogue):
            continue  # read again, so that the run recognises the move and takes the old point out
        if mine is None or (mine.state == INDEXED and mine.sha256 != row.sha256):
            learned.append(row)
    gone = [
        path for path, row in remembered.items() if row.state == INDEXED and path not in pointed
    ]
    collection.catalogue.write(learned, gone)


def _may_have_moved(row: Row, catalogue: Catalogue) -> bool:
    known = catalogue.with_content(row.sha256) if row.sha256 else []
    copies = (each.path for each in known if each.state == INDEXED)
    return os.path.lexists(row.path) and not all(map(os.path.lexists, copies))


def row_from_payload(payload: Payload) -> Row:
    """The catalogue's row of an indexed file; the change time is learned at the next stat."""
    return Row(
        path_from_payload(payload),
        int(str(payload["bytes"])),
        int(str(payload["mtime_ns"])),
        None,
        bytes.fromhex(str(payload["sha256"])),
        INDEXED,
    )
