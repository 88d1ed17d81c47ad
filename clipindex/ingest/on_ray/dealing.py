"""Which actor is handed which slice: a few at a time, and a suspected one alone."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from clipindex.ingest.on_ray import door
from clipindex.ingest.on_ray.slices import Slice

FIRST_PAUSE = 0.25  # seconds before an actor that died is asked again; doubled each time
LONGEST_PAUSE = 30.0  # seconds


@dataclass(slots=True, eq=False)
class Actor:
    """What the driver knows of one actor; `slices` are in its hands."""

    number: int
    is_ready: bool = False
    is_joining: bool = False
    failures: int = 0  # to join, in a row
    not_before: float = 0.0  # when it is asked again to join, as time.monotonic()
    node: str = ""
    slices: list[Slice] = field(default_factory=list)

    @property
    def has_room(self) -> bool:
        """Whether it can be handed a further slice."""
        is_alone = any(slice_.is_suspect for slice_ in self.slices)
        return self.is_ready and not is_alone and len(self.slices) < door.IN_HAND


@dataclass(frozen=True, slots=True)
class Answer:
    """An actor answered, or its answer is lost: to a slice, or (None) to being asked to join."""

    actor: Actor
    slice_: Slice | None
    ref: door.Ref


class Dealing:
    """Deals slices to actors until none is left. At most two are in an actor's hands, so that
    the driver's memory does not grow with the number of files."""

    def __init__(self, actors: door.Actors, slices: Iterator[Slice]) -> None:
        self._actors = actors
        self._slices = slices
        self._next = next(slices, None)
        self._again: deque[Slice] = deque()  # suspects
        self._handed: dict[door.Ref, Answer] = {}
        self.actors = [Actor(number) for number in range(actors.count)]

    @property
    def is_under_way(self) -> bool:
        """Whether a slice is in hand, or is still to be handed out."""
        return bool(self._next or self._again or any(actor.slices for actor in self.actors))

    def stop(self) -> None:
        """Hand out nothing more."""
        self._next = None
        self._slices = iter(())
        self._again.clear()

    def lost(self, actor: Actor) -> None:
        """An actor died. While Ray starts it again it answers nothing: ask now and then."""
        actor.is_ready = False
        if not actor.is_joining:
            pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2**actor.failures)
            actor.not_before = time.monotonic() + pause

    def _invite(self) -> None:
        """Ask actors to join: at the beginning, and after they were started again."""
        now = time.monotonic()
        for actor in self.actors:
            if not actor.is_ready and not actor.is_joining and now >= actor.not_before:
                actor.is_joining = True
                ref = self._actors.join(actor.number)
                self._handed[ref] = Answer(actor, None, ref)

    def again(self, slices: list[Slice]) -> None:
        """Have slices worked on once more, each by an actor that has nothing else in hand."""
        self._again.extend(slices)

    def deal(self) -> None:
        """Hand out what there is room for."""
        self._invite()
        actors = sorted((a for a in self.actors if a.has_room), key=lambda a: len(a.slices))
        for actor in actors:
            if self._again and not actor.slices:
                self._hand(actor, self._again.popleft())
        kept_free = len(self._again)  # these get nothing more, until they are empty-handed
        for actor in actors[kept_free:]:
            while actor.has_room and self._next is not None:
                self._hand(actor, self._next)
                self._next = next(self._slices, None)

    def _hand(self, actor: Actor, slice_: Slice) -> None:
        ref = self._actors.work(actor.number, slice_)
        actor.slices.append(slice_)
        self._handed[ref] = Answer(actor, slice_, ref)

    def answers(self, timeout: float) -> list[Answer]:
        """What is answered by now; waits `timeout` seconds for the first."""
        if not self._handed:  # every actor is being started again
            time.sleep(FIRST_PAUSE)
            return []
        answers = [self._handed.pop(ref) for ref in door.answered(list(self._handed), timeout)]
        for answer in answers:
            if answer.slice_ is None:
                answer.actor.is_joining = False
            else:
                answer.actor.slices.remove(answer.slice_)
        return answers
