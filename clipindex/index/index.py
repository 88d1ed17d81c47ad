"""A collection, for Python: ingest, search, and through its two halves everything else."""

from __future__ import annotations

import os
import uuid
from collections.abc import Generator, Mapping, Sequence
from typing import Self

from clipindex.collection.contract import recipe_of
from clipindex.collection.kept import Kept
from clipindex.collection.names import DEFAULT_COLLECTION
from clipindex.collection.opening import Settings
from clipindex.collection.own_bundle import bundle_for_query
from clipindex.collection.places import AnyPath, place_at
from clipindex.collection.status import CollectionStatus, open_catalogue, status_of
from clipindex.files.walk import WalkPolicy
from clipindex.index.copies import Copies
from clipindex.index.switching import Switching
from clipindex.index.upkeep import Upkeep
from clipindex.ingest import runs
from clipindex.ingest.dry_run import DryRun, dry_run
from clipindex.ingest.events import Event, Summary
from clipindex.ingest.options import IngestOptions
from clipindex.ingest.scope import Files, Part, scope_of
from clipindex.model.encoder import Encoder
from clipindex.model.providers import Provider
from clipindex.pictures.preprocessing import Preprocessing
from clipindex.search import query as search
from clipindex.search.facets import Facets, facets_of, metadata_keys
from clipindex.search.hits import Hit
from clipindex.search.indexed import IndexedPicture, picture_of, picture_with
from clipindex.search.query import QueryOptions
from clipindex.search.scoped import Scope
from clipindex.search.terms import Term
from clipindex.stores.address import Server
from clipindex.upkeep.doctor.checks import Check
from clipindex.upkeep.doctor.run import examine


class Index(Upkeep, Copies, Switching):
    """A collection, embedded or on a server; its methods may be called from several threads.

    Between calls only the model stays loaded. `with Index(...) as index:` also keeps an embedded
    collection open, so that a query takes milliseconds; other processes that query are answered
    meanwhile, and one that writes gets the collection for as long as it takes.
    """

    def __init__(
        self,
        store: AnyPath | None = None,
        *,
        collection: str = DEFAULT_COLLECTION,
        model: str | None = None,
        preprocessing: Preprocessing | None = None,
        source: str | None = None,
        server: Server | None = None,
        provider: Provider = Provider.AUTO,
        wait: float | None = None,
    ) -> None:
        """`store` is a folder; None: one in the user's data folder, unless a `server` is given.
        `model` is the name or the folder of a bundle; None: the collection's own. `source`: whose
        files these are; None: `local`, with a `server` this machine's name. `provider` runs the
        vision tower of an ingest. A method that writes waits `wait` seconds (None: 10) while
        another process writes to the collection, then raises CollectionBusy.

        Raises UsageError for a name that no collection or source can have.
        """
        place = place_at(store, server, collection, source, wait)
        super().__init__(place, Settings(model, preprocessing), provider)
        self._kept: Kept | None = None

    def __enter__(self) -> Self:
        """Keep the collection open between queries."""
        self._kept = self._kept or Kept()
        return self

    def __exit__(self, *_: object) -> None:
        """Close the collection."""
        kept, self._kept = self._kept, None
        if kept is not None:
            kept.close()

    def ingest(
        self,
        paths: AnyPath | Sequence[AnyPath] = (),
        options: IngestOptions = IngestOptions(),
        *,
        policy: WalkPolicy | None = None,
        files: Files | None = None,
        part: Part = Part(),
        tags: Mapping[str, str] | None = None,
        remember: bool = False,
    ) -> Summary:
        """Bring the collection up to date with folders or files; returns when it is done.

        `paths` are walked, each with `policy`, and remembered for `reindex`; `files` are taken
        one by one, each with its own tags where they are a mapping. A remembered root keeps its
        options for `reindex`, and uses them where `policy` or `tags` is None; with `remember` it
        gets those of this call. What went wrong with single files is counted in the summary, and
        listed by `ingest_events`. Raises ClipIndexError: UsageError when nothing is named, or a
        path does not exist.
        """
        events = self.ingest_events(
            paths, options, policy=policy, files=files, part=part, tags=tags, remember=remember
        )
        return runs.summary_of(events)

    def ingest_events(
        self,
        paths: AnyPath | Sequence[AnyPath] = (),
        options: IngestOptions = IngestOptions(),
        *,
        policy: WalkPolicy | None = None,
        files: Files | None = None,
        part: Part = Part(),
        tags: Mapping[str, str] | None = None,
        remember: bool = False,
    ) -> Generator[Event, None, None]:
        """`ingest`, step by step: the work is done while the events are read.

        Closing the generator early is safe: verified batches stay. Wrong arguments raise here,
        not at the first event.
        """
        scope = scope_of(paths, files, policy, part, tags, self.place, remember=remember)
        place = self.place.for_part(part.number, part.of)
        runs.check_scope(scope, place)
        return runs.ingest(place, scope, options, self._settings, self._loaded)

    def reindex(self, options: IngestOptions = IngestOptions(), *, part: Part = Part()) -> Summary:
        """`ingest` of every remembered root, each with the policy and the tags it had; a tag
        that was set or changed by hand meanwhile stays as it is.

        Raises UsageError when no root is remembered, StoreError when there is no collection.
        """
        return runs.summary_of(self.reindex_events(options, part=part))

    def reindex_events(
        self, options: IngestOptions = IngestOptions(), *, part: Part = Part()
    ) -> Generator[Event, None, None]:
        """`reindex`, step by step, as `ingest_events` is `ingest`."""
        located = self.place.locate(for_writing=True)
        located.require()
        return runs.reindex(located, part, options, self._settings, self._loaded)

    def dry_run(
        self,
        paths: AnyPath | Sequence[AnyPath] = (),
        limit: int | None = None,
        *,
        policy: WalkPolicy | None = None,
        files: Sequence[AnyPath | bytes] | None = None,
        part: Part = Part(),
        checksum: bool = False,
    ) -> DryRun:
        """What `ingest` would read. Nothing is written or locked, and without `checksum` no
        picture is opened. Raises as `ingest` does."""
        scope = scope_of(paths, files, policy, part, None, self.place)
        located = self.place.for_part(part.number, part.of).locate()
        with open_catalogue(located) as catalogue:
            return dry_run(scope, catalogue, limit, checksum=checksum)

    def query(
        self, terms: AnyPath | Sequence[Term], options: QueryOptions = QueryOptions()
    ) -> list[Hit]:
        """Pictures nearest to a text, to a picture where `terms` names an existing file, or to
        the weighted sum of several terms."""
        wanted = [Term(os.fspath(terms))] if isinstance(terms, str | os.PathLike) else terms
        model, kept = self._settings.model, self._kept
        return search.find(self.place, wanted, options, model=model, load=self._loaded, kept=kept)

    def picture(self, name: uuid.UUID, scope: Scope = ()) -> IndexedPicture | None:
        """The indexed picture with this id; None where there is none that meets the `scope`."""
        return picture_of(self.place, name, scope, self._kept)

    def picture_with(self, sha256: bytes, scope: Scope = ()) -> IndexedPicture | None:
        """An indexed picture with these bytes, by their SHA-256; None where there is none that
        meets the `scope`."""
        return picture_with(self.place, sha256, scope, self._kept)

    def facets(self, scope: Scope = ()) -> Facets:
        """What there is to filter by, in the whole collection or in the part within a `scope`."""
        return facets_of(self.place, scope, self._kept)

    def metadata_keys(self) -> frozenset[str]:
        """Keys of metadata that are not keys of tags as well."""
        return metadata_keys(self.place, self._kept)

    def encoder(self) -> tuple[Encoder, Preprocessing]:
        """The collection's model, loaded, and how its pictures become pixels. Raises StoreError
        where there is no collection, ModelError."""
        stored = self.place.locate().require()
        bundle = bundle_for_query(stored, self._settings.model)
        return self._loaded(bundle), recipe_of(stored.contract)

    def doctor(self) -> list[Check]:
        """Look at everything that clipindex needs, the collection and the model among it. Raises
        nothing: what is broken is a check whose `state` is `problem`, with what to do."""
        return list(examine(lambda: self.place, self._settings.model, self._loaded))

    def status(self) -> CollectionStatus:
        """Contract, counts, roots and latest run; works while another process ingests."""
        return status_of(self.place)
