"""`clipindex.Index`: everything the command line does, for Python."""

from __future__ import annotations

import os
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import platformdirs

from clipindex import pipeline, search
from clipindex.bundle import Bundle
from clipindex.catalogue import Catalogue
from clipindex.collection import (
    DEFAULT_COLLECTION,
    Place,
    Settings,
    open_for_ingest,
    open_for_query,
)
from clipindex.contract import bundle_for
from clipindex.events import Event, FolderFault, Scanning
from clipindex.identity import resolve_root, shown
from clipindex.images import Preprocessing, decoders
from clipindex.model import Model
from clipindex.pipeline import IngestOptions
from clipindex.plan import defer, quarantined
from clipindex.search import Hit, QueryOptions
from clipindex.survey import Survey, check_roots, survey

AnyPath = str | os.PathLike[str]


@dataclass(frozen=True, slots=True)
class Preview:
    """What an ingest would do, by names and times alone: no file was opened."""

    found: int
    unchanged: int
    to_read: int
    bytes_to_read: int
    deferred: int
    quarantined: int
    skipped: int
    vanished: int
    left_out: int
    faults: list[str] = field(default_factory=list)


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


def default_store() -> Path:
    """The embedded store in the user's data folder."""
    return Path(platformdirs.user_data_dir("clipindex", appauthor=False)) / "store"


def _outcome(walk: Generator[Scanning | FolderFault, None, Survey]) -> Survey:
    """Run a survey to its end, without a listener for its progress."""
    while True:
        try:
            next(walk)
        except StopIteration as end:
            survey_done: Survey = end.value
            return survey_done


class Index:
    """A collection in an embedded store. Nothing is held open between calls but the model."""

    def __init__(
        self,
        store: AnyPath | None = None,
        *,
        collection: str = DEFAULT_COLLECTION,
        model: str | None = None,
        preprocessing: Preprocessing | None = None,
    ) -> None:
        """`model` is a name or the folder of a bundle; None: the collection's own.

        Raises UsageError for a name that no collection can have.
        """
        folder = Path(store) if store is not None else default_store()
        self.place = Place(folder.expanduser().absolute(), collection)
        self._settings = Settings(model, preprocessing)
        self._model: Model | None = None

    def ingest(
        self, paths: Sequence[AnyPath], options: IngestOptions = IngestOptions()
    ) -> Generator[Event, None, None]:
        """Bring the collection up to date with folders or files, yielding events.

        Stopping early is safe. Raises ClipIndexError; the faults of single files are events.
        """
        roots = [resolve_root(path) for path in paths]
        check_roots(roots, self._folders_remembered())
        with open_for_ingest(self.place, self._settings) as collection:
            model = self._loaded(collection.bundle)
            yield from pipeline.ingest(collection, model, roots, options)

    def preview(self, paths: Sequence[AnyPath], limit: int | None = None) -> Preview:
        """What `ingest` would read: nothing is opened, written or locked."""
        roots = [resolve_root(path) for path in paths]
        catalogue = self._catalogue()
        try:
            walk = survey(
                roots,
                catalogue.in_folder if catalogue else lambda _: {},
                catalogue.indexed_by_folder() if catalogue else {},
                decoders(),
            )
            found = _outcome(walk)
        finally:
            if catalogue is not None:
                catalogue.close()
        plan, deferred = found.plan, defer(found.plan, limit)
        known_quarantine = quarantined(plan)
        return Preview(
            found.found,
            len(plan.unchanged),
            len(plan.to_read),
            sum(record.size for record in plan.to_read),
            len(deferred),
            known_quarantine,
            len(plan.known_faults) - known_quarantine,
            len(plan.vanished),
            len(found.left_out),
            [f"{shown(path)}: {reason}" for path, reason in found.faults],
        )

    def query(self, term: AnyPath, options: QueryOptions = QueryOptions()) -> list[Hit]:
        """Pictures nearest to a text, or to a picture where `term` names an existing file."""
        stamped = self.place.stamped()
        bundle = bundle_for(stamped, self._settings.model)
        preprocessing = Preprocessing(stamped.contract.preprocessing)
        query = search.embed_term(term, self._loaded(bundle), preprocessing)
        with open_for_query(self.place, stamped) as store:
            return search.search(store, query, options)

    def status(self) -> CollectionStatus:
        """Contract, counts, roots and latest run; works while another process ingests."""
        stamped = self.place.stamped()
        contract = stamped.contract
        counts: dict[str, int] = {}
        roots: list[str] = []
        last_run: dict[str, object] | None = None
        if catalogue := self._catalogue():
            counts, roots = catalogue.counts(), [shown(path) for path in catalogue.roots()]
            if run := catalogue.last_run():
                last_run = {"started": run[0], "finished": run[1], "summary": run[2]}
            catalogue.close()
        return CollectionStatus(
            str(self.place.store),
            self.place.collection,
            contract.model,
            contract.revision,
            contract.preprocessing,
            contract.precision,
            contract.dimension,
            stamped.bundle,
            counts.get("indexed", 0),
            counts.get("quarantined", 0),
            counts.get("skipped", 0),
            roots,
            last_run,
        )

    def _catalogue(self) -> Catalogue | None:
        return Catalogue(self.place.catalogue) if self.place.catalogue.exists() else None

    def _folders_remembered(self) -> dict[bytes, int]:
        if (catalogue := self._catalogue()) is None:
            return {}
        try:
            return catalogue.indexed_by_folder()
        finally:
            catalogue.close()

    def _loaded(self, bundle: Bundle) -> Model:
        if self._model is None or self._model.bundle != bundle:
            self._model = Model(bundle)
        return self._model
