"""A look at the actors that work: which file is slow, who no longer answers, how the nodes are."""

from __future__ import annotations

import time
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence

from clipindex.errors import ClipIndexError, ClipIndexWarning
from clipindex.ingest.events import ActorLost, NodesSeen, NodeState, SlowFile
from clipindex.ingest.on_ray import door
from clipindex.ingest.on_ray.dealing import Actor
from clipindex.ingest.on_ray.station import Looked

EVERY = 5.0  # seconds between two looks
QUIET = 60.0  # seconds
HEADLESS = 30.0  # seconds without the cluster's head: Ray itself gives up after 60
SILENCE = 300.0  # seconds without an answer, after which an actor is ended: its process is frozen


class Watch:
    """Asks each actor that has work what it has in hand. Ray notices a process that died, not one
    that stands still; the answer, whatever it is, shows that it does not."""

    def __init__(self, actors: door.Actors, dealt: Sequence[Actor]) -> None:
        self._actors = actors
        self._dealt = dealt
        self._asked: dict[door.Ref, tuple[Actor, float]] = {}  # since when
        self._head_seen = time.monotonic()
        self._next = self._head_seen + EVERY
        self._written: Counter[str] = Counter()
        self._deaths: Counter[str] = Counter()
        self._quiet: dict[str, float] = {}  # remark -> until when it is not repeated

    def wrote(self, node: str, pictures: int) -> None:
        """A node wrote so many pictures."""
        self._written[node] += pictures

    def died(self, actor: Actor, files: int) -> ActorLost:
        """An actor died with so many files in hand."""
        self._deaths[actor.node] += 1
        return ActorLost(node=actor.node, files=files)

    def note(self, node: str, notes: Iterable[str]) -> None:
        """Hand on what an actor remarks; what many say at once, of one server, is said once."""
        now = time.monotonic()
        for text in notes:
            if now >= self._quiet.get(text, 0.0):
                self._quiet[text] = now + QUIET
                warnings.warn(f"node {node}: {text}", ClipIndexWarning, stacklevel=2)

    def look(self) -> Iterator[SlowFile | NodesSeen]:
        """Yield the slowest file, if one is slow, and the state of the nodes, when it is time."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + EVERY
        slow = self._answers()
        if slow:
            yield max(slow, key=lambda file: file.seconds)
        yield self.seen()
        self._check_head(now)
        self._end_frozen(now)
        asked = {actor.number for actor, _ in self._asked.values()}
        for actor in self._dealt:
            if actor.slices and actor.is_ready and actor.number not in asked:
                self._asked[self._actors.look(actor.number)] = actor, now

    def _answers(self) -> list[SlowFile]:
        slow = []
        for ref in door.answered(list(self._asked), 0) if self._asked else ():
            del self._asked[ref]
            try:
                value = door.answer(ref)
            except door.Lost:  # the answers to its slices say so as well
                continue
            if isinstance(value, Looked):
                self.note(value.node, value.notes)
                slow += [value.slow] if value.slow else []
        return slow

    def _check_head(self, now: float) -> None:
        """Raises ClipIndexError when the cluster's head is gone for good."""
        if door.is_head_there():
            self._head_seen = now
        elif now - self._head_seen >= HEADLESS:
            raise ClipIndexError(
                f"the head of the Ray cluster has been away for {now - self._head_seen:.0f} s",
                hint="finished batches are safe; run the same command again once the cluster is "
                "there",
            )

    def _end_frozen(self, now: float) -> None:
        for ref, (actor, since) in list(self._asked.items()):
            if now - since >= SILENCE:
                del self._asked[ref]
                self._actors.kill(actor.number)
                why = f"an actor has not answered for {now - since:.0f} s; it is started again"
                self.note(actor.node, [why])

    def seen(self) -> NodesSeen:
        """What the nodes have done, and have in hand."""
        working: dict[str, list[Actor]] = defaultdict(list)
        for actor in self._dealt:
            if actor.is_ready:
                working[actor.node].append(actor)
        return NodesSeen(
            {
                node: NodeState(
                    pictures=self._written[node],
                    deaths=self._deaths[node],
                    slices=sum(len(actor.slices) for actor in working[node]),
                    actors=len(working[node]),
                )
                for node in sorted({*self._written, *self._deaths, *working})
            }
        )
