"""After a switch: the old collection gets what the live one gets; going back loses nothing."""

from __future__ import annotations

import time
import warnings
from contextlib import closing

from clipindex.collection.opening import Collection
from clipindex.collection.own_bundle import bundle_for
from clipindex.collection.place import Beside, is_shared
from clipindex.collection.switch_progress import note_progress
from clipindex.errors import ClipIndexError, ClipIndexWarning
from clipindex.pictures.preprocessing import Preprocessing
from clipindex.upkeep.switch.embedding import Embedding, Load
from clipindex.upkeep.switch.filling import Compared, Filler, bring_all_along
from clipindex.upkeep.switch.report import no_progress


def feed(
    collection: Collection, beside: Beside, load: Load, cores: int, seconds: float | None
) -> Compared | None:
    """Bring the old collection in step with the live one, which this process holds, for at most
    `seconds`. Where that fails the live one has everything all the same, so it is a warning, and
    None is returned; the next run tries it again."""
    stored = beside.stored
    recipe = Preprocessing(stored.contract.preprocessing)
    deadline = None if seconds is None else time.monotonic() + seconds
    try:
        opened = beside.place.open(stored, create=False)
        with closing(opened.points) as points:
            filler = Filler(
                live=collection.points,
                beside=points,
                dimension=stored.contract.dimension,
                embedding=Embedding(lambda: bundle_for(stored, None), load, recipe, cores),
                only_source=collection.source if is_shared(collection.place) else None,
            )
            compared = bring_all_along(filler, (), no_progress, exactly=False, deadline=deadline)
            note_progress(beside, compared.pictures, compared.of)
            return compared
    except ClipIndexError as error:
        warnings.warn(
            f"the old collection of {stored.contract.model} could not be brought in step: "
            f"{error.message}. The next run tries it again; `clipindex switch-model --drop-old` "
            "ends the switch",
            ClipIndexWarning,
            stacklevel=2,
        )
        return None
