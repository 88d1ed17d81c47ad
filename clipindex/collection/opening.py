"""Opening a collection: lock, contract, points and catalogue."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from clipindex.collection.agreement import begin_run, count_points, end_run
from clipindex.collection.catalogue import Catalogue
from clipindex.collection.contract import (
    Contract,
    StoredContract,
    contract_of,
    recipe_of,
)
from clipindex.collection.endings import noted_end, noted_refusal
from clipindex.collection.following import followed
from clipindex.collection.noted import computed_with
from clipindex.collection.own_bundle import bundle_for
from clipindex.collection.place import Beside, Located, Opened, Place
from clipindex.errors import ClipIndexWarning, Switched
from clipindex.files.durable import disk_errors
from clipindex.model.bundle import DEFAULT_MODEL, Bundle, find_bundle
from clipindex.pictures.preprocessing import Preprocessing
from clipindex.stores.points import Points

if TYPE_CHECKING:
    from clipindex.model.encoder import Encoder

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    """A collection held by this process for writing."""

    place: Place
    contract: Contract
    points: Points
    catalogue: Catalogue
    purpose: str = "ingest"  # the command, as its run is noted
    beside: Beside | None = None  # the other one of a switch to another model

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
        return Choice(StoredContract(contract, str(bundle.folder), computed_with()), bundle)
    recipe = recipe_of(current.contract)
    bundle = bundle_for(current, settings.model)
    wanted = settings.preprocessing or recipe
    current.contract.check(contract_of(bundle, wanted.value, wanted.version))
    return Choice(replace(current, bundle=str(bundle.folder)), bundle)


@contextmanager
def open_for_ingest(
    located: Located,
    settings: Settings,
    load: Callable[[Bundle], Encoder],
    purpose: str = "ingest",
) -> Iterator[tuple[Collection, Encoder]]:
    """Hold a collection for writing, creating a missing one.

    Creates nothing until the model loads and, for a new collection, its files verify.
    """
    with ExitStack() as stack:

        def enter(located: Located) -> tuple[Encoder, Choice, Collection, Opened]:
            with noted_refusal(located, purpose):
                choice = choose(located.stored, settings)
                encoder = load(choice.bundle)
                if located.stored is None:
                    choice.bundle.verify()
            opening = _opened(located, choice.stored, purpose=purpose)
            return encoder, choice, *stack.enter_context(opening)

        encoder, choice, collection, opened = live_one(located, enter)
        stored = replace(opened.stored, bundle=choice.stored.bundle)
        if opened.is_new or stored != opened.stored:
            collection.place.save_contract(stored)
        yield collection, encoder


@contextmanager
def open_for_change(place: Place, purpose: str) -> Iterator[Collection]:
    """Hold an existing collection for a change that needs no model. It is noted as a run, so that
    the next one reconciles points and catalogue when this one is interrupted."""
    with ExitStack() as stack:

        def enter(located: Located) -> Collection:
            stored = located.require()
            opening = _opened(located, stored, purpose=purpose, create=False)
            return stack.enter_context(opening)[0]

        collection = live_one(place.locate(for_writing=True), enter)
        points = stack.enter_context(followed(collection.points, collection.beside))
        collection = replace(collection, points=points)
        stack.enter_context(_noted_run(collection))
        yield collection


@contextmanager
def open_as_it_is(place: Place, purpose: str) -> Iterator[tuple[Collection, StoredContract]]:
    """Hold an existing collection so that nothing changes in it; nor does this, but for a note
    when it is busy."""
    located = place.locate(for_writing=True)
    stored = located.require()
    with _opened(located, stored, purpose=purpose, create=False) as (collection, opened):
        yield collection, opened.stored


@contextmanager
def open_for_import(place: Place, stored: StoredContract) -> Iterator[Collection]:
    """Hold a collection that is to receive points made elsewhere under `stored`, creating a
    missing one. Raises ContractMismatch when it has another contract."""
    located = place.locate(for_writing=True)
    with (
        _opened(located, stored, purpose="import") as (collection, opened),
        followed(collection.points, collection.beside) as points,
        _noted_run(receiving := replace(collection, points=points)),
    ):
        if opened.is_new:
            collection.place.save_contract(stored)
        yield receiving


def live_one(located: Located, enter: Callable[[Located], T]) -> T:
    """What `enter` makes of a located collection. Where its name was switched to another model's
    collection while `enter` waited for the lock, it is called again with that one."""
    while True:
        try:
            return enter(located)
        except Switched:
            located = located.place.locate(for_writing=True)


@contextmanager
def _noted_run(collection: Collection) -> Iterator[None]:
    number, loss = begin_run(collection)
    if loss.pictures:
        warnings.warn(
            f"{loss.pictures:,} of the {loss.remembered:,} remembered pictures are gone from the "
            "collection; the next reindex embeds them again",
            ClipIndexWarning,
            stacklevel=2,
        )
    yield
    end_run(collection, number, count_points(collection))


def _make_folder(place: Place) -> None:
    what = "the store's folder cannot be created"
    with disk_errors(place.folder, what, "name another with --store, or fix the permissions"):
        place.folder.mkdir(parents=True, exist_ok=True)


@contextmanager
def _opened(
    located: Located, wanted: StoredContract, *, purpose: str, create: bool = True
) -> Iterator[tuple[Collection, Opened]]:
    """Take the lock, then open points and catalogue. A run that cannot begin is noted too. Raises
    Switched when the name was switched to another model's collection meanwhile."""
    place = located.place
    with ExitStack() as stack:
        with noted_refusal(located, purpose):
            _make_folder(place)
            hold = stack.enter_context(place.hold(purpose))
            opened = place.open(wanted, create=create)
            points = stack.enter_context(closing(opened.points))
            catalogue = stack.enter_context(closing(Catalogue(opened.catalogue)))
        collection = Collection(
            place=place,
            contract=opened.stored.contract,
            points=points,
            catalogue=catalogue,
            purpose=purpose,
            beside=located.beside,
        )
        with noted_end(catalogue, purpose), hold.answer_from(points):
            yield collection, opened
