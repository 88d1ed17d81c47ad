"""The driver: it hands slices to actors, and makes their answers the outcomes that the recorder
takes. Catalogue, labels and moves stay with it."""

from __future__ import annotations

import time
import warnings
from collections.abc import Collection as Sized
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager

from clipindex.collection.label import LabelledPoints
from clipindex.collection.opening import Collection
from clipindex.collection.place import Place
from clipindex.collection.server_place import ServerPlace
from clipindex.errors import (
    ClipIndexError,
    ClipIndexWarning,
    DiskNotMounted,
    FileFault,
    UsageError,
)
from clipindex.files.access import is_gone, is_readable
from clipindex.files.addresses import is_address
from clipindex.files.file_system import FileRecord
from clipindex.files.identity import display_path
from clipindex.files.local import DENIED
from clipindex.ingest.describing import Describer
from clipindex.ingest.events import EmbeddingOn
from clipindex.ingest.on_ray import door
from clipindex.ingest.on_ray.agreement import Job, versions_here
from clipindex.ingest.on_ray.dealing import Actor, Answer, Dealing
from clipindex.ingest.on_ray.slices import DEATHS, Slice, after_death, slices_of
from clipindex.ingest.on_ray.station import Done, Joined
from clipindex.ingest.on_ray.watching import Watch
from clipindex.ingest.options import IngestOptions, RayOptions
from clipindex.ingest.outcomes import Faulty, WrittenElsewhere
from clipindex.ingest.scope import Scope
from clipindex.ingest.survey import Survey
from clipindex.ingest.workers import ContentClaims, Step, Workers
from clipindex.model.encoder import Encoder
from clipindex.upkeep.metadata import Joiner

KILLS = f"{DEATHS} processes died one after another while they read it"
MOST_IN_A_ROW = 50  # deaths without a finished slice between: then it is not the files
TRIES = 9  # of an actor to join while no other one works: two minutes
GRACE = 30.0  # seconds after the deadline, for slices in hand: they hold few files
WAITING_AFTER = 20.0  # seconds without an actor, after which that is said


def check_place(place: Place) -> None:
    """Raises UsageError for an embedded store, and without Ray."""
    if not isinstance(place, ServerPlace):
        raise UsageError(
            "--engine ray needs a Qdrant server: an embedded store is a folder that one process "
            "writes, and the actors are many, on several machines",
            path=place.name,
            hint="name a server that every node reaches with --url",
        )
    door.check_installed()


class ClusterWorkers(Workers):
    """Actors of a Ray cluster in place of threads. What has to be embedded again later, a rare
    file, is done by this process."""

    def __init__(
        self,
        encoder: Encoder,
        collection: Collection,
        survey: Survey,
        describer: Describer,
        scope: Scope,
        joiner: Joiner,
        options: IngestOptions,
        in_full: frozenset[bytes],
    ) -> None:
        claims, recipe = ContentClaims(collection.catalogue, in_full), collection.preprocessing
        super().__init__(encoder, recipe, claims, None, describer, in_full)
        place, points = collection.place, collection.points
        assert isinstance(place, ServerPlace)
        assert isinstance(points, LabelledPoints)
        self._options = options.ray or RayOptions()
        self._count_asked = options.workers
        self._batch_size = options.batch_size
        self._survey = survey
        self._describer = describer
        self._providers: set[str] = set()
        self._refused: list[Faulty] = []  # they wait until an actor has finished something
        self._in_a_row = 0  # deaths
        self._job = Job(
            place=place,
            contract=collection.contract,
            label=points.label,
            bundle=str(encoder.bundle.folder),
            versions=versions_here(),
            provider=self._options.provider,
            threads=self._options.cpus_per_actor,
            scope=scope,
            joiner=joiner,
            in_full=in_full,
        )

    @property
    def provider_in_use(self) -> str:
        """What runs the actors' towers."""
        return ", ".join(sorted(self._providers))

    def run(
        self, records: Sized[FileRecord], deadline: float | None = None
    ) -> Generator[Step, None, None]:
        """Yield what becomes of all records, as `Workers.run` does; what the actors have written
        comes as WrittenElsewhere.

        Raises what an actor raised: ContractMismatch for one that holds something else,
        StoreError. Raises DiskNotMounted for a node that does not see a file which is there.
        """
        if not records or (deadline is not None and time.monotonic() >= deadline):
            return  # without a cluster
        with self._dealing(records) as (dealing, watch):
            began = time.monotonic()
            while dealing.is_under_way:
                now = time.monotonic()
                if deadline is not None and now >= deadline:
                    dealing.stop()
                    if now >= deadline + GRACE:
                        break
                dealing.deal()
                for answer in dealing.answers(timeout=1.0):
                    yield from self._take(dealing, watch, answer)
                yield from watch.look()
                if not any(actor.is_ready for actor in dealing.actors):
                    began = self._say_waiting(dealing, began)
                else:
                    began = now
            yield from self._take_refused()
            yield watch.seen()

    @contextmanager
    def _dealing(self, records: Sized[FileRecord]) -> Iterator[tuple[Dealing, Watch]]:
        sizes = {old.row.size for old in self._survey.absent}
        slices = slices_of(records, self._batch_size, self._survey.sidecars, sizes)
        useful = -(-len(records) // self._batch_size)
        with door.connected(self._options):
            count = min(self._count_asked or door.room_for(self._options), useful)
            with closing(door.Actors(self._job, self._options, count)) as actors:
                dealing = Dealing(actors, slices)
                yield dealing, Watch(actors, dealing.actors)

    def _say_waiting(self, dealing: Dealing, began: float) -> float:
        """A cluster may be full, or its nodes on their way."""
        if time.monotonic() - began < WAITING_AFTER:
            return began
        message = f"waiting for the cluster: none of {len(dealing.actors)} actors has started yet"
        warnings.warn(message, ClipIndexWarning, stacklevel=2)
        return float("inf")

    def _take(self, dealing: Dealing, watch: Watch, answer: Answer) -> Iterator[Step]:
        try:
            value = door.answer(answer.ref)
        except door.Lost as loss:
            if answer.slice_ is None:
                self._not_joined(dealing, answer.actor, loss)
            else:
                yield from self._lost(dealing, watch, answer.actor, answer.slice_)
            return
        if isinstance(value, Joined):
            yield from self._joined(answer.actor, value)
        elif isinstance(value, Done):
            watch.wrote(value.node, len(value.written))
            watch.note(value.node, value.notes)
            yield from self._take_refused()
            yield from self._done(value)

    def _joined(self, actor: Actor, joined: Joined) -> Iterator[Step]:
        actor.is_ready, actor.failures = True, 0
        actor.node = joined.node
        if joined.provider not in self._providers:
            self._providers.add(joined.provider)
            yield EmbeddingOn(joined.provider)

    def _done(self, done: Done) -> Iterator[Step]:
        self._describer.broken.extend(done.broken)
        if done.written:
            yield WrittenElsewhere(done.written)
        yield from done.known
        for outcome in done.faulty:
            _check_sight(outcome, done.node)
            yield outcome

    def _not_joined(self, dealing: Dealing, actor: Actor, loss: door.Lost) -> None:
        """An actor died, or was not there yet, when it was asked to join."""
        actor.failures += 1
        others = any(other.is_ready for other in dealing.actors)
        if isinstance(loss, door.Gone) or (actor.failures >= TRIES and not others):
            raise ClipIndexError(
                f"an actor does not start: {loss}",
                hint="is clipindex installed on every node, in the Python that Ray runs there, and "
                "has the node enough memory? `ray logs actor` says more",
            )
        dealing.lost(actor)

    def _lost(self, dealing: Dealing, watch: Watch, actor: Actor, slice_: Slice) -> Iterator[Step]:
        """An actor died over a slice. Ray starts another one, which has to join first."""
        if actor.is_ready:  # else it died with two slices in hand, and this is the second
            in_hand = (slice_, *actor.slices)
            yield watch.died(actor, sum(len(one.records) for one in in_hand))
        self._in_a_row += 1
        if self._in_a_row >= MOST_IN_A_ROW:
            raise ClipIndexError(
                f"{self._in_a_row} actors died one after another and finished nothing: the files "
                "are hardly to blame",
                hint="have the nodes enough memory? --workers starts fewer actors; `ray logs` says "
                "why they died. No file was put in quarantine for it",
            )
        slices = after_death(slice_)
        dealing.again(slices)
        if not slices:
            self._refused.append(Faulty(slice_.records[0], FileFault(KILLS)))
        dealing.lost(actor)

    def _take_refused(self) -> Iterator[Faulty]:
        """Files that killed their readers, once it shows that others do not."""
        self._in_a_row = 0
        yield from self._refused
        self._refused.clear()


def _check_sight(outcome: Faulty, node: str) -> None:
    """Raises DiskNotMounted for a file that a node does not see, or may not read, while this
    process can: else a wrong mount would look like many deleted files."""
    fault, path = outcome.fault, outcome.record.path
    if fault.skipped and fault.transient and not is_gone(path):
        what = "does not see a file that is there"
    elif fault.reason == DENIED and is_readable(path):
        what = "may not read a file that this machine reads"
    else:
        return
    same = (
        "every node must reach the store with credentials and settings like those of this machine"
        if is_address(path)
        else "every node must see the pictures under the same path, as a user who may read them"
    )
    raise DiskNotMounted(
        f"node {node} {what}",
        path=display_path(path),
        hint=f"{same}; then run the same command again",
    )
