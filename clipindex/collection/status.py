"""What a collection holds and how its latest run went."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, replace

from clipindex.collection.catalogue import Catalogue
from clipindex.collection.place import Place
from clipindex.files.identity import display_path


@dataclass(frozen=True, slots=True)
class CollectionStatus:
    """What a collection holds and how its latest run went; read without opening the points."""

    store: str
    collection: str
    model: str
    revision: str
    preprocessing: str
    precision: str
    dimension: int
    bundle: str
    indexed: int
    quarantined: int
    skipped: int
    roots: list[str]
    last_run: dict[str, object] | None
    aliases: list[str]  # names on a server that stand for this collection


def status_of(place: Place) -> CollectionStatus:
    """Contract, counts, roots and latest run; an alias is followed. Nothing is locked.

    Raises StoreError where no collection is.
    """
    place = place.resolve_alias()
    stored = place.require_contract()
    contract = stored.contract
    status = CollectionStatus(
        store=place.name,
        collection=place.collection,
        model=contract.model,
        revision=contract.revision,
        preprocessing=contract.preprocessing,
        precision=contract.precision,
        dimension=contract.dimension,
        bundle=stored.bundle,
        indexed=0,
        quarantined=0,
        skipped=0,
        roots=[],
        last_run=None,
        aliases=sorted(a for a, named in place.aliases().items() if named == place.collection),
    )
    catalogue = catalogue_of(place)
    if catalogue is None:
        return status
    with closing(catalogue):
        counts, run = catalogue.counts(), catalogue.last_run()
        return replace(
            status,
            indexed=counts.get("indexed", 0),
            quarantined=counts.get("quarantined", 0),
            skipped=counts.get("skipped", 0),
            roots=[display_path(path) for path in catalogue.roots()],
            last_run=run and {"started": run[0], "finished": run[1], "summary": run[2]},
        )


def catalogue_of(place: Place) -> Catalogue | None:
    """What is remembered of the files, None where nothing is yet; the caller closes it."""
    path = place.find_catalogue()
    return None if path is None else Catalogue(path)
