"""Holding a collection: the lock, and the socket on which its holder answers the others."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from clipindex.collection.lock import PATIENCE, POLL, LockFile, busy, holder_of, locked
from clipindex.collection.sharing.answering import Answering
from clipindex.collection.sharing.asking import ask_for_hand_over
from clipindex.collection.sharing.socket_file import listen
from clipindex.errors import ClipIndexWarning
from clipindex.stores.points import PagedPoints, Points

ASK_EVERY = 0.5  # seconds between two requests to hand over
HANDING_OVER = 3.0  # seconds that an idle holder may take to close the collection


@dataclass(frozen=True, slots=True)
class Hold:
    """A held lock. `answering` is None where nobody can ask: on a server, which answers itself,
    and where there are no Unix sockets."""

    answering: Answering | None

    def answer_from(self, points: Points) -> AbstractContextManager[None]:
        """While it lasts, other processes are answered from these points."""
        if self.answering is None or not isinstance(points, PagedPoints):
            return nullcontext()
        return self.answering.answering_from(points)


@contextmanager
def held(
    path: Path,
    purpose: str,
    patience: float = PATIENCE,
    hand_over: Callable[[], bool] = lambda: False,
) -> Iterator[Hold]:
    """Hold a collection for writing, and answer on its socket meanwhile. An idle holder is asked
    to hand over; `hand_over` is called when this one is. Raises
    CollectionBusy after `patience` seconds, and as `LockFile` does."""
    with closing(LockFile(path)) as file:
        wait_for(file, patience)
        with answering(path.parent, purpose, hand_over) as answers:
            file.sign(purpose, None if answers is None else answers.address)
            yield Hold(answers)


@contextmanager
def held_alone(path: Path, purpose: str, patience: float = PATIENCE) -> Iterator[Hold]:
    """The same without a socket."""
    with locked(path, purpose, patience):
        yield Hold(None)


def wait_for(file: LockFile, patience: float) -> None:
    """Take the lock, asking an idle holder to hand over. Raises CollectionBusy after `patience`
    seconds, and as `LockFile` does."""
    deadline = time.monotonic() + patience
    next_request = 0.0
    is_told = patience <= PATIENCE
    while not file.try_to_take():
        if time.monotonic() >= next_request:
            is_told = is_told or _tell(file.path)
            if ask_for_hand_over(file.path, holder_of(file.path)):
                deadline = max(deadline, time.monotonic() + HANDING_OVER)
            next_request = time.monotonic() + ASK_EVERY
        if time.monotonic() > deadline:
            raise busy(file.path)
        time.sleep(POLL)


def _tell(path: Path) -> bool:
    """A wait of hours does not look like a program that hangs."""
    holder = holder_of(path) or "another process"
    warnings.warn(f"waiting for {holder}, which holds the collection", ClipIndexWarning, 2)
    return True


def never() -> bool:
    """A holder at work hands over to nobody."""
    return False


@contextmanager
def answering(
    folder: Path, purpose: str, hand_over: Callable[[], bool] = never
) -> Iterator[Answering | None]:
    """Listen on the socket of the collection in `folder`, whose lock is held; None where there
    can be none."""
    listener = listen(folder)
    if listener is None:
        yield None
        return
    with closing(Answering(listener, purpose, hand_over)) as answers:
        yield answers
