"""All checks, in the order in which one would look."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from clipindex.upkeep.doctor.checks import Check, State, guarded
from clipindex.upkeep.doctor.folders import check_folders
from clipindex.upkeep.doctor.machine import check_imports, check_machine

if TYPE_CHECKING:
    from clipindex.collection.place import Place
    from clipindex.upkeep.doctor.model import Load


def examine(
    find_place: Callable[[], Place], model: str | None, load: Load | None = None
) -> Iterator[Check]:
    """Look at everything; each look is finished before its check is yielded.

    `find_place` names the place, and may raise; `model` is the bundle that was asked for, None for
    the collection's own, or the default; `load` loads it. Raises nothing: what is broken is a
    check. Where a library cannot be loaded, what needs one is left out.
    """
    yield from guarded("machine", check_machine)
    yield from guarded("folders", check_folders)
    imports = list(guarded("imports", check_imports))
    yield from imports
    if all(check.state is not State.PROBLEM for check in imports):
        from clipindex.upkeep.doctor.whole import examine_rest  # it loads all of these libraries

        yield from examine_rest(find_place, model, load)
