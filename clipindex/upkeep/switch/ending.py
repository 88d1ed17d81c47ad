"""The end of a switch: the collection that is not live is deleted."""

from __future__ import annotations

from dataclasses import dataclass

from clipindex.collection.place import Beside, Place
from clipindex.collection.switch_progress import progress_file
from clipindex.errors import UsageError
from clipindex.upkeep.switch.run import PURPOSE, alone


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """A deleted collection; `model` is None where only an interrupted deletion was finished."""

    model: str | None
    live: str  # the model of the collection that stays


def drop_old(place: Place) -> Dropped:
    """Delete the old collection after a switch. Raises UsageError where there is none."""
    return _drop(place, is_new=False)


def cancel(place: Place) -> Dropped:
    """Delete the new collection that is not live, and so give up the switch to it. Raises
    UsageError where there is none."""
    return _drop(place, is_new=True)


def _drop(place: Place, *, is_new: bool) -> Dropped:
    located = place.locate(for_writing=True)
    live = located.require().contract.model
    if located.place.finish_drop():
        return Dropped(model=None, live=live)
    with alone(place) as located:
        beside = located.beside
        if beside is None or beside.is_new != is_new:
            raise _nothing(beside)
        with located.place.hold(PURPOSE):
            progress_file(beside).unlink(missing_ok=True)
            located.place.drop(beside)
        return Dropped(model=beside.stored.contract.model, live=live)


def _nothing(beside: Beside | None) -> UsageError:
    if beside is None:
        return UsageError(
            "no switch to another model is under way, so there is nothing to delete",
            hint="`clipindex status` shows what there is",
        )
    if beside.is_new:
        return UsageError(
            f"the collection was not switched to '{beside.stored.contract.model}' yet, so there is "
            "no old one",
            hint="--cancel deletes the new one, which is not live",
        )
    return UsageError(
        f"the collection was switched; the old one, of '{beside.stored.contract.model}', is kept",
        hint="--drop-old deletes it, --back goes back to it",
    )
