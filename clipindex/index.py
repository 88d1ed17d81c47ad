"""`clipindex.Index`: everything the command line does, for Python."""

from __future__ import annotations

import os
import uuid
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from types import MappingProxyType
from typing import Any

from clipindex.collection.names import DEFAULT_COLLECTION
from clipindex.collection.opening import (
    Collection,
    Settings,
    open_for_change,
    open_for_ingest,
)
from clipindex.collection.place import Place
from clipindex.collection.places import AnyPath, place_at
from clipindex.collection.status import CollectionStatus, catalogue_of, status_of
from clipindex.errors import UsageError
from clipindex.files.identity import display_path, is_below, point_id, resolve_root
from clipindex.files.walk import Root, WalkPolicy
from clipindex.ingest import pipeline
from clipindex.ingest.dry_run import DryRun, dry_run
from clipindex.ingest.events import Event
from clipindex.ingest.options import IngestOptions
from clipindex.ingest.pipeline import root_from_memory
from clipindex.ingest.survey import Part, Scope, check_roots
from clipindex.model.bundle import Bundle
from clipindex.model.encoder import Model
from clipindex.model.providers import Provider
from clipindex.pictures.preprocessing import Preprocessing
from clipindex.search import query as search
from clipindex.search.query import Hit, QueryOptions
from clipindex.search.terms import Term
from clipindex.stores.address import Server
from clipindex.stores.filter import Filter
from clipindex.stores.payload import TAG, check_key
from clipindex.upkeep.relocate import relocate, remembers_below
from clipindex.upkeep.tagging import put_tags, take_tags


class Index:
    """A collection, embedded or on a server. Nothing is held open between calls but the model."""

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
    ) -> None:
        """`model` is a name or the folder of a bundle; None: the collection's own. `source`:
        whose files these are; None: `local`, or this machine's name where a `server` is given.
        `provider` runs the vision tower.

        Raises UsageError for a name that no collection or source can have.
        """
        self.place = place_at(store, server, collection, source)
        self._settings = Settings(model, preprocessing)
        self._provider = provider
        self._model: Model | None = None

    def ingest(
        self,
        paths: Sequence[AnyPath] = (),
        options: IngestOptions = IngestOptions(),
        *,
        policy: WalkPolicy = WalkPolicy(),
        files: Sequence[AnyPath | bytes] = (),
        part: Part = Part(),
        tags: Mapping[str, str] = MappingProxyType({}),
    ) -> Generator[Event, None, None]:
        """Bring the collection up to date with folders or files, yielding events.

        `files` are taken one by one, beside the `paths`, which are walked and remembered.
        Stopping early is safe. Raises ClipIndexError; the faults of single files are events.
        """
        place = self.place.for_part(part.number, part.of)
        yield from self._run(place, self._scope(paths, policy, files, part, tags), options)

    def reindex(
        self, options: IngestOptions = IngestOptions(), *, part: Part = Part()
    ) -> Generator[Event, None, None]:
        """`ingest` of every remembered root, each with the policy and the tags it had; a tag
        that was set or changed by hand meanwhile stays as it is.

        Raises UsageError when no root is remembered.
        """
        whole = self.place.resolve_alias()
        whole.require_contract()
        place = whole.for_part(part.number, part.of)
        memories = _roots_remembered(place) or _roots_remembered(whole)
        if not memories:
            raise UsageError(
                f"the collection remembers no folder of source '{whole.source}'",
                hint="ingest one by hand: clipindex ingest FOLDER. Folders are remembered for each "
                "--source, of a server's collection by the very machine that ingested them",
            )
        roots = tuple(root_from_memory(path, memory) for path, memory in memories.items())
        scope = Scope(roots, part=part, excluded_folder=self._own_folder(), retag=False)
        yield from self._run(place, scope, options)

    def _run(
        self, place: Place, scope: Scope, options: IngestOptions
    ) -> Generator[Event, None, None]:
        check_roots([root.path for root in scope.roots], _folders_remembered(place))
        with open_for_ingest(place, self._settings, self._loaded) as (collection, model):
            yield from pipeline.ingest(collection, model, scope, options)

    def dry_run(
        self,
        paths: Sequence[AnyPath],
        limit: int | None = None,
        *,
        policy: WalkPolicy = WalkPolicy(),
        files: Sequence[AnyPath | bytes] = (),
        part: Part = Part(),
        checksum: bool = False,
    ) -> DryRun:
        """What `ingest` would read. Nothing is written or locked, and without `checksum`
        nothing is opened."""
        catalogue = catalogue_of(self.place.for_part(part.number, part.of))
        try:
            scope = self._scope(paths, policy, files, part)
            return dry_run(scope, catalogue, limit, checksum=checksum)
        finally:
            if catalogue is not None:
                catalogue.close()

    def query(
        self, terms: AnyPath | Sequence[Term], options: QueryOptions = QueryOptions()
    ) -> list[Hit]:
        """Pictures nearest to a text, to a picture where `terms` names an existing file, or to
        the weighted sum of several terms."""
        wanted = [Term(os.fspath(terms))] if isinstance(terms, str | os.PathLike) else terms
        return search.find(
            self.place, wanted, options, model=self._settings.model, load=self._loaded
        )

    def tag(self, tags: Mapping[str, str], paths: Sequence[AnyPath]) -> int:
        """Put tags on every indexed picture at or below the paths; returns how many lacked them.

        Raises UsageError for a path at or below which nothing is indexed.
        """
        with open_for_change(self.place, "tag") as collection:
            ids = _points_below(collection, paths)
            for key in tags:
                collection.points.index_field(TAG + key)
            return sum(batch.points for batch in put_tags(collection.points, ids, tags))

    def untag(self, keys: Sequence[str], paths: Sequence[AnyPath]) -> int:
        """Take tags off every indexed picture at or below the paths; returns how many had them.

        Raises UsageError for a path at or below which nothing is indexed.
        """
        for key in keys:
            check_key(key)
        with open_for_change(self.place, "untag") as collection:
            ids = _points_below(collection, paths)
            return sum(batch.points for batch in take_tags(collection.points, ids, keys))

    def relocate(self, old: AnyPath, new: AnyPath) -> int:
        """Rewrite the paths of everything below `old` to lie below `new`; returns how many.

        Raises UsageError when `new` is not a folder, or nothing is remembered below `old`.
        """
        before, after = os.fsencode(os.path.abspath(old)), resolve_root(new)
        if not os.path.isdir(after):
            raise UsageError(
                "no such folder", path=display_path(after), hint="mount the disk first"
            )
        if is_below(after, before) or is_below(before, after):
            raise UsageError(
                "one of the two paths lies below the other",
                path=display_path(after),
                hint="ingest the new place instead: what moved is recognised without inference",
            )
        with open_for_change(self.place, "relocate") as collection:
            if not remembers_below(collection, before):
                raise UsageError(
                    "the collection remembers nothing below it", path=display_path(before)
                )
            return sum(batch.points for batch in relocate(collection, before, after))

    def forget(self, path: AnyPath) -> None:
        """Forget a root: `reindex` no longer looks there; its points stay.

        Raises UsageError when it is not remembered.
        """
        with open_for_change(self.place, "forget") as collection:
            for name in (resolve_root(path), os.fsencode(os.path.abspath(path))):
                if collection.catalogue.forget_root(name):
                    return
        raise UsageError(
            "not a remembered root", path=str(path), hint="`clipindex status` lists them"
        )

    def status(self) -> CollectionStatus:
        """Contract, counts, roots and latest run; works while another process ingests."""
        return status_of(self.place)

    def alias(self, name: str) -> str | None:
        """Let `name` stand for this collection of a server from now on, in one step; returns
        what it stood for. Raises UsageError where a collection has that name, or in a folder."""
        return self.place.set_alias(name)

    def unalias(self, name: str) -> str:
        """Take an alias away; returns what it stood for."""
        return self.place.delete_alias(name)

    def _scope(
        self,
        paths: Sequence[AnyPath],
        policy: WalkPolicy,
        files: Sequence[AnyPath | bytes],
        part: Part,
        tags: Mapping[str, str] = MappingProxyType({}),
    ) -> Scope:
        pairs = tuple(sorted(tags.items()))
        roots = tuple(Root(resolve_root(path), policy, pairs) for path in paths)
        named = frozenset(map(resolve_root, files))
        return Scope(roots, named, part, pairs, self._own_folder())

    def _own_folder(self) -> bytes:
        return os.path.realpath(os.fsencode(self.place.excluded_folder))

    def _loaded(self, bundle: Bundle) -> Model:
        if self._model is None or self._model.bundle != bundle:
            self._model = Model(bundle, self._provider)
        return self._model


def _roots_remembered(place: Place) -> dict[bytes, dict[str, Any]]:
    if (catalogue := catalogue_of(place)) is None:
        return {}
    with closing(catalogue):
        return catalogue.roots()


def _folders_remembered(place: Place) -> dict[bytes, int]:
    if (catalogue := catalogue_of(place)) is None:
        return {}
    with closing(catalogue):
        return catalogue.indexed_by_folder()


def _points_below(collection: Collection, paths: Sequence[AnyPath]) -> list[uuid.UUID]:
    """Points of this source at or below any of the paths, whether these still exist or not.

    Raises UsageError for a path at or below which nothing is indexed.
    """
    ids: dict[uuid.UUID, None] = {}
    for path in paths:
        name = resolve_root(path)
        only = Filter().also(("source", collection.source), ("folders", display_path(name)))
        below = dict.fromkeys(point for point, _ in collection.points.scroll(only))
        below.update(dict.fromkeys(collection.points.retrieve([point_id(collection.source, name)])))
        if not below:
            raise UsageError(
                "nothing is indexed at or below this path",
                path=display_path(name),
                hint="correct the path, or ingest it first; `clipindex status` lists the folders",
            )
        ids |= below
    return list(ids)
