"""A switch to another model, and the way back.

While the new collection is filled, the live one answers queries and takes tags and new pictures
as ever. What came meanwhile is made up for at the end, under the lock of the live one; then the
name stands for the new one. From there on every change is made to both, until the old one is
dropped.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace

from clipindex.collection.contract import Contract, StoredContract, contract_of
from clipindex.collection.folder_place import FolderPlace
from clipindex.collection.kept import Kept
from clipindex.collection.lock import locked
from clipindex.collection.noted import computed_with
from clipindex.collection.own_bundle import bundle_for
from clipindex.collection.place import Beside, Located, Place, is_shared
from clipindex.collection.switch_progress import note_progress
from clipindex.errors import ContractMismatch, DiskFull, Refused, StoreError, UsageError
from clipindex.files.durable import MORE_ROOM, free_space
from clipindex.model.bundle import Bundle, find_bundle
from clipindex.pictures.preprocessing import Preprocessing
from clipindex.stores.edge import HEADROOM
from clipindex.stores.points import Points, ReadablePoints
from clipindex.stores.shard_size import needed
from clipindex.upkeep.switch.carrying import carry_catalogues, remembered_roots
from clipindex.upkeep.switch.embedding import Embedding, Load
from clipindex.upkeep.switch.filling import PAGE, Compared, Filled, Filler, bring_all_along
from clipindex.upkeep.switch.report import (
    BACK,
    FILLING,
    SWITCHED,
    Progress,
    SwitchOptions,
    SwitchReport,
    no_progress,
)

PURPOSE = "switch-model"
LOCK = "switch-lock"  # held by whoever fills, switches, goes back or drops


def switch_model(
    place: Place, new: str, options: SwitchOptions, load: Load, moved: Progress = no_progress
) -> SwitchReport:
    """Fill a collection with the model `new` beside the live one, and switch to it once every
    picture of the live one is in it. Where `max_seconds` end before that, or after a kill, the
    same call goes on.

    The report's `missing` are the pictures that keep it from being switched. Raises UsageError
    for the model that the collection has, Refused where another switch is under way,
    ContractMismatch for another preprocessing than the filling began with, ModelError, DiskFull,
    CollectionBusy.
    """
    started = time.monotonic()
    deadline = None if options.max_seconds is None else started + options.max_seconds
    bundle = find_bundle(new)
    with alone(place) as located:
        stored = located.require()
        contract = contract_for(bundle, stored, options.preprocessing)
        _check_that_it_may_begin(located, contract)
        beside = located.beside or _begin(located, contract, bundle)
        recipe = Preprocessing(contract.preprocessing)
        embedding = Embedding(lambda: bundle, load, recipe, options.cores)
        run = _Run(place.collection, located.place, stored, beside, embedding, started, moved)
        embedded = 0
        while True:
            filled = run.fill(deadline)
            embedded += filled.embedded
            if filled.left or (filled.lacking and not options.leave_out):
                return run.unfinished(filled, embedded)
            if filled.embedded <= PAGE:  # else many came meanwhile, and no lock is held for them
                break
        report = run.finish(SWITCHED, leave_out=options.leave_out, exactly=True)
        return replace(report, embedded=report.embedded + embedded)


def switch_back(
    place: Place, options: SwitchOptions, load: Load, moved: Progress = no_progress
) -> SwitchReport:
    """Make the old collection the live one again, with everything that came since the switch.

    Raises UsageError where there is nothing to go back to, and as `switch_model` does.
    """
    started = time.monotonic()
    with alone(place) as located:
        stored, beside = located.require(), located.beside
        if beside is None or beside.is_new:
            raise UsageError(
                "there is nothing to go back to: no other model's collection was live before",
                path=located.place.name,
                hint="`clipindex status` shows the model, and whether a switch is under way",
            )
        old = beside.stored
        recipe = Preprocessing(old.contract.preprocessing)
        embedding = Embedding(lambda: bundle_for(old, None), load, recipe, options.cores)
        run = _Run(place.collection, located.place, stored, beside, embedding, started, moved)
        return run.finish(BACK, leave_out=options.leave_out, exactly=False)


def contract_for(
    bundle: Bundle, stored: StoredContract, preprocessing: Preprocessing | None
) -> Contract:
    """The contract of a collection with another model; None: the preprocessing stays the same, in
    its present version."""
    recipe = preprocessing or Preprocessing(stored.contract.preprocessing)
    return contract_of(bundle, recipe.value, recipe.version)


def is_same(one: Contract, other: Contract) -> bool:
    """Whether vectors of both may meet."""
    try:
        one.check(other)
    except ContractMismatch:
        return False
    return True


@contextmanager
def alone(place: Place) -> Iterator[Located]:
    """The collection, located, while no other process of this machine fills, switches or drops.
    A deletion that was interrupted is finished first. Raises CollectionBusy."""
    before = place.locate(for_writing=True)
    before.require()
    before.place.folder.mkdir(parents=True, exist_ok=True)  # of a server this machine's own
    with locked(before.place.folder / LOCK, PURPOSE, before.place.patience):
        before.place.finish_drop()
        yield place.locate(for_writing=True)


def _check_that_it_may_begin(located: Located, contract: Contract) -> None:
    live, beside = located.require().contract, located.beside
    name, before = contract.model, live.model
    if beside is not None and not beside.is_new:
        old = beside.stored.contract.model
        if is_same(live, contract):
            raise UsageError(
                f"the collection was switched to '{before}' already",
                hint="end it with `clipindex switch-model --drop-old`, or go back with --back",
            )
        raise Refused(
            f"another switch is under way: from '{old}' to '{before}'",
            hint="end it first: `clipindex switch-model --drop-old`, or --back and then --cancel",
        )
    if is_same(live, contract):
        raise UsageError(
            f"the collection has the model '{before}' already", hint="name another model"
        )
    if beside is None:
        return
    wanted = replace(
        contract,
        preprocessing=beside.stored.contract.preprocessing,
        preprocessing_version=beside.stored.contract.preprocessing_version,
    )
    if not is_same(beside.stored.contract, wanted):
        raise Refused(
            f"another switch is under way: to '{beside.stored.contract.model}', not to '{name}'",
            hint="finish it, or give it up with `clipindex switch-model --cancel`",
        )
    beside.stored.contract.check(contract)


def _begin(located: Located, contract: Contract, bundle: Bundle) -> Beside:
    bundle.verify()
    place, stored = located.place, located.require()
    if isinstance(place, FolderPlace):
        with place.open_for_reading(stored, PURPOSE) as points:
            need = needed(points.count(), contract.dimension) + HEADROOM
        if (free := free_space(place.folder)) < need:
            raise DiskFull(
                f"the new collection takes its place beside the old one: {need >> 20} MiB are "
                f"needed, {free >> 20} are free",
                path=str(place.folder),
                hint=MORE_ROOM,
            )
    return place.begin_beside(StoredContract(contract, str(bundle.folder), computed_with()))


@dataclass(frozen=True, slots=True)
class _Run:
    """One collection that is filled from the live one at `place`; `name`: as the caller knows it,
    on a server an alias."""

    name: str
    place: Place
    stored: StoredContract
    beside: Beside
    embedding: Embedding
    started: float  # a time.monotonic() value
    moved: Progress

    def fill(self, deadline: float | None) -> Filled:
        """Bring along what the new collection lacks. The live one is free for others meanwhile."""
        kept = Kept()
        with closing(kept), ExitStack() as stack:
            live = stack.enter_context(kept.open_for_reading(self.place, self.stored, PURPOSE))
            other = stack.enter_context(self._opened(self.beside.place, self.beside.stored))
            filler = self._filler(live, other)
            ids = filler.lacking_ids()
            total = live.count()
            before = total - len(ids)

            def moved(done: int, _of: int) -> None:
                note_progress(self.beside, before + done, total)
                self.moved(before + done, total)

            moved(0, len(ids))
            with other.bulk_load(len(ids)):
                return filler.fill(ids, deadline, moved)

    def finish(self, state: str, *, leave_out: bool, exactly: bool) -> SwitchReport:
        """Bring along what came meanwhile, compare everything, and switch."""
        place, stored, beside = self.place, self.stored, self.beside
        with ExitStack() as held:
            hold = held.enter_context(place.hold(PURPOSE))
            if beside.place.lock != place.lock:  # on a server
                beside.place.folder.mkdir(parents=True, exist_ok=True)
                held.enter_context(beside.place.hold(PURPOSE))
            self._check_that_it_is_still_there()
            live = held.enter_context(self._opened(place, stored))
            other = held.enter_context(self._opened(beside.place, beside.stored))
            with hold.answer_from(live):
                compared = bring_all_along(
                    self._filler(live, other),
                    remembered_roots(place, stored),
                    self.moved,
                    exactly=exactly,
                )
                lacking = compared.filled.lacking
                if not lacking or leave_out:
                    carry_catalogues(place, stored, beside, compared.left_out)
            # Nobody is answered from here on: a query has the old collection or the new one.
            note_progress(beside, compared.pictures, compared.of)
            if lacking and not leave_out:
                return self._report(FILLING, compared)
            place.make_live(beside)
            note_progress(replace(beside, place=place), compared.of, compared.pictures)
        return self._report(state, compared)

    def unfinished(self, filled: Filled, embedded: int) -> SwitchReport:
        """What there is to say of a filling that is not at its end."""
        with self.place.open_for_reading(self.stored, PURPOSE) as points:
            total = points.count()
        lacking = len(filled.lacking) + filled.left
        compared = Compared(
            filled=filled, pictures=total - lacking, of=total, roots=[], left_out=[]
        )
        return replace(self._report(FILLING, compared), embedded=embedded)

    def _report(self, state: str, compared: Compared) -> SwitchReport:
        filled, other = self.beside.stored.contract, self.stored.contract
        return SwitchReport(
            state=state,
            collection=self.name,
            model=filled.model,
            preprocessing=filled.preprocessing,
            before=other.model,
            preprocessing_before=other.preprocessing,
            pictures=compared.pictures,
            of=compared.of,
            embedded=compared.filled.embedded,
            seconds=round(time.monotonic() - self.started, 3),
            roots=compared.roots,
            missing=sorted(compared.filled.lacking.values(), key=lambda one: one.path),
        )

    def _filler(self, live: ReadablePoints, other: Points) -> Filler:
        return Filler(
            live=live,
            beside=other,
            dimension=self.beside.stored.contract.dimension,
            embedding=self.embedding,
            only_source=self.place.source if is_shared(self.place) else None,
        )

    def _check_that_it_is_still_there(self) -> None:
        current = self.place.locate(for_writing=True).beside
        if current is None or not is_same(current.stored.contract, self.beside.stored.contract):
            raise StoreError(
                "the collection was replaced while the other one was filled",
                path=self.place.name,
                hint="`clipindex status` shows what is there; run the same command again",
            )

    @staticmethod
    @contextmanager
    def _opened(place: Place, stored: StoredContract) -> Iterator[Points]:
        opened = place.open(stored, create=False)
        with closing(opened.points):
            yield opened.points
