"""`clipindex.Index`: all that the command line does, for Python."""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path

from clipindex.collection.names import DEFAULT_COLLECTION
from clipindex.collection.opening import Settings
from clipindex.collection.place import aliases_of
from clipindex.collection.places import AnyPath, place_at
from clipindex.collection.status import CollectionStatus, open_catalogue, status_of
from clipindex.files.walk import WalkPolicy
from clipindex.ingest import prune as pruning
from clipindex.ingest import runs
from clipindex.ingest.cores import usable_cores
from clipindex.ingest.dry_run import DryRun, dry_run
from clipindex.ingest.events import Event, Summary
from clipindex.ingest.options import IngestOptions, PruneOptions
from clipindex.ingest.prunable import PrunePlan
from clipindex.ingest.prune import PruneReport
from clipindex.ingest.scope import Part, scope_of
from clipindex.model.bundle import Bundle
from clipindex.model.encoder import Model
from clipindex.model.providers import Provider
from clipindex.pictures.preprocessing import Preprocessing
from clipindex.search import query as search
from clipindex.search.query import Hit, QueryOptions
from clipindex.search.terms import Term
from clipindex.stores.address import Server
from clipindex.upkeep import quarantine as refused
from clipindex.upkeep import relocate as relocating
from clipindex.upkeep import roots, tagging, transfer
from clipindex.upkeep.doctor.checks import Check
from clipindex.upkeep.doctor.run import examine
from clipindex.upkeep.quarantine import Quarantined
from clipindex.upkeep.roots import Below
from clipindex.upkeep.transfer import Progress
from clipindex.upkeep.verify import run as verifying
from clipindex.upkeep.verify.findings import Verification, VerifyEvent, VerifyOptions


class Index:
    """A collection, embedded or on a server. Between calls only the model stays loaded."""

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
        """`store` is a folder; None: one in the user's data folder, unless a `server` is given.
        `model` is the name or the folder of a bundle; None: the collection's own. `source`: whose
        files these are; None: `local`, with a `server` this machine's name. `provider` runs the
        vision tower of an ingest.

        Raises UsageError for a name that no collection or source can have.
        """
        self.place = place_at(store, server, collection, source)
        self._settings = Settings(model, preprocessing)
        self._provider = provider
        self._model: Model | None = None

    def ingest(
        self,
        paths: AnyPath | Sequence[AnyPath] = (),
        options: IngestOptions = IngestOptions(),
        *,
        policy: WalkPolicy | None = None,
        files: Sequence[AnyPath | bytes] | None = None,
        part: Part = Part(),
        tags: Mapping[str, str] | None = None,
        remember: bool = False,
    ) -> Summary:
        """Bring the collection up to date with folders or files; returns when it is done.

        `paths` are walked, each with `policy`, and remembered for `reindex`; `files` are taken
        one by one. A remembered root keeps its options for `reindex`, and uses them where `policy`
        or `tags` is None; with `remember` it gets those of this call. What went
        wrong with single files is counted in the summary, and listed by `ingest_events`. Raises
        ClipIndexError: UsageError when nothing is named, or a path does not exist.
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
        files: Sequence[AnyPath | bytes] | None = None,
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
        (located := self.place.locate(for_writing=True)).require()
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
        return search.find(
            self.place, wanted, options, model=self._settings.model, load=self._loaded
        )

    def tag(self, tags: Mapping[str, str], paths: Sequence[AnyPath]) -> int:
        """Put tags on every indexed picture at or below the paths; returns how many lacked them.

        Raises UsageError for a key that no tag can have, and for a path at or below which nothing
        is indexed.
        """
        return tagging.tag(self.place, tags, paths)

    def untag(self, keys: Sequence[str], paths: Sequence[AnyPath]) -> int:
        """Take tags off every indexed picture at or below the paths; returns how many had them.
        Raises as `tag` does, and for a key that none of them has."""
        return tagging.untag(self.place, keys, paths)

    def relocate(self, old: AnyPath, new: AnyPath) -> int:
        """Rewrite the paths of everything below `old` to lie below `new`; returns how many.

        Raises UsageError when `new` is not a folder, or nothing is remembered below `old`.
        """
        return relocating.relocate(self.place, old, new)

    def forget(self, path: AnyPath) -> None:
        """Forget a root: `reindex` no longer looks there; its points stay.

        Raises UsageError when it is not remembered.
        """
        roots.forget(self.place, path)

    def forget_and_prune(self, path: AnyPath) -> int:
        """Remove every file at or below a path from the index, whether it exists or not, and
        forget the roots there; returns how many. Raises UsageError when nothing is remembered
        there, and on a server without a `source`."""
        return roots.forget_and_prune(self.place, path)

    def remembered_below(self, path: AnyPath) -> Below:
        """What `forget_and_prune` would remove. Raises UsageError for nothing."""
        return roots.remembered_below(self.place, path)

    def prune(
        self,
        paths: Sequence[AnyPath] = (),
        options: PruneOptions = PruneOptions(),
        *,
        part: Part = Part(),
        agree: pruning.Agree | None = None,
    ) -> PruneReport:
        """Remove the points and rows of files that are proved to be gone, at or below `paths`;
        none named: below every remembered root. `agree` is called with the plan and answers
        whether to go on; None: go on.

        Raises Refused when a disk is away or too many pictures would go, UsageError when nothing
        there was ever ingested, and on a server without a `source`.
        """
        return pruning.prune(self.place, paths, options, part, agree)

    def foresee_prune(
        self,
        paths: Sequence[AnyPath] = (),
        options: PruneOptions = PruneOptions(),
        *,
        part: Part = Part(),
    ) -> PrunePlan:
        """What `prune` would remove; nothing is locked or written. A refusal is in the plan."""
        return pruning.foresee(self.place, paths, options, part)

    def quarantine(self, paths: Sequence[AnyPath] = ()) -> list[Quarantined]:
        """Pictures that were refused, at or below `paths`; none named: all. Nothing is locked."""
        return refused.listed(self.place, paths)

    def retry_quarantine(self, paths: Sequence[AnyPath] = ()) -> int:
        """Have the next run read pictures in quarantine once more; returns how many."""
        return refused.retry(self.place, paths)

    def clear_quarantine(self, paths: Sequence[AnyPath] = ()) -> int:
        """Forget that pictures were refused; the next run reads what exists as new files."""
        return refused.clear(self.place, paths)

    def accept_quarantine(self, paths: Sequence[AnyPath] = ()) -> int:
        """Accept that pictures are refused: until their files change they are counted, but
        neither reported nor a reason for exit code 3; returns how many."""
        return refused.accept(self.place, paths)

    def verify(self, options: VerifyOptions = VerifyOptions()) -> Verification:
        """Read every point back and check it: vector, payload, id, the catalogue's row; with
        `options.files` also the files' bytes, with `options.embed` their embeddings.

        What is wrong is counted in the result, and listed by `verify_events`.
        """
        return verifying.verify_all(self.verify_events(options))[0]

    def verify_events(
        self, options: VerifyOptions = VerifyOptions()
    ) -> Generator[VerifyEvent, None, None]:
        """`verify`, step by step: the work is done while the events are read. A `Finding` is a
        point, row or file that is not as it should be; the last event has the result. Closed
        early, the next call with the same options goes on."""
        model, cores = self._settings.model, usable_cores()
        return verifying.verify(self.place, options, self._loaded, model=model, cores=cores)

    def doctor(self) -> list[Check]:
        """Look at everything that clipindex needs, the collection and the model among it. Raises
        nothing: what is broken is a check whose `state` is `problem`, with what to do."""
        return list(examine(lambda: self.place, self._settings.model, self._loaded))

    def status(self) -> CollectionStatus:
        """Contract, counts, roots and latest run; works while another process ingests."""
        return status_of(self.place)

    def export(self, folder: AnyPath, progress: Progress | None = None) -> int:
        """Write the collection into a folder: JSON lines, .npy files and its contract; returns how
        many points it holds. `progress` is called with (points done, points in all).

        Raises UsageError when the folder holds anything else.
        """
        return transfer.export(self.place, Path(folder), progress or transfer.no_progress)

    def import_(self, folder: AnyPath, progress: Progress | None = None) -> int:
        """Read an export into this collection, which is created when it is missing; every point
        is verified. Returns how many were written: equal ones that exist already are not.

        Raises StoreError when the export is unfinished or damaged, ContractMismatch when the
        collection has another contract.
        """
        return transfer.import_(Path(folder), self.place, progress or transfer.no_progress)

    def copy_to(self, other: Index, progress: Progress | None = None) -> int:
        """Copy every point into another collection, as `import_` would; returns how many were
        written. Raises UsageError when both are the same collection."""
        return transfer.copy(self.place, other.place, progress or transfer.no_progress)

    def alias(self, name: str) -> str | None:
        """Let `name` stand for this collection of a server from now on, in one step; returns the
        collection it stood for. Raises UsageError when a collection has that name, or for a
        folder."""
        return aliases_of(self.place).set_alias(name)

    def unalias(self, name: str) -> str:
        """Delete an alias; returns the collection it stood for. Raises UsageError when there is
        none, or for a folder."""
        return aliases_of(self.place).delete_alias(name)

    def _loaded(self, bundle: Bundle) -> Model:
        if self._model is None or self._model.bundle != bundle:
            self._model = Model(bundle, self._provider)
        return self._model
