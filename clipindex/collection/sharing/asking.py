"""The asker's side: the points of a collection that another process holds."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from pathlib import Path

from clipindex.collection.lock import WAIT, Note
from clipindex.collection.sharing import wire
from clipindex.collection.sharing.socket_file import Forbidden, connect
from clipindex.collection.sharing.wire import Channel, ChannelClosed, Message
from clipindex.stores.filter import Filter, Value
from clipindex.stores.labels import Kind
from clipindex.stores.payload import Payload
from clipindex.stores.points import Point, ScoredContent, Vector

GREETING_PATIENCE = 3.0  # seconds; the holder's engine may stop all its threads while it flushes
ANSWER_PATIENCE = 10.0  # seconds; the holder may still be opening the collection
HAND_OVER_PATIENCE = 1.0
SAME_VERSION = "wait until it is done, or use the same version of clipindex for both"


class NoAnswer(Exception):
    """The holder did not answer. `reason` goes into the message, `hint` says what helps;
    `passing`: it just ended, or has not begun to listen: trying again helps."""

    def __init__(self, reason: str = "", hint: str = WAIT, *, passing: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint
        self.passing = passing


def open_channel(
    lock: Path, note: Note | None, patience: float = GREETING_PATIENCE
) -> tuple[Channel, Message]:
    """A connection to the process that signed the lock file, and its greeting.

    Raises NoAnswer.
    """
    if note is None or note.socket is None:
        raise NoAnswer("it answers no queries", passing=True)
    try:
        channel = Channel(connect(lock.parent, note.socket, patience))
    except Forbidden:
        raise _not_for_this_user() from None
    except OSError:
        raise NoAnswer("it does not answer", passing=True) from None
    try:
        return channel, _greet(channel, patience)
    except BaseException:
        channel.close()
        raise


def _greet(channel: Channel, patience: float) -> Message:
    try:
        channel.send(wire.greeting(), patience)
        reply = channel.receive(patience)
    except TimeoutError:
        raise _silent(patience) from None
    except ChannelClosed:
        raise NoAnswer("it does not answer", passing=True) from None
    if reply.get("forbidden"):
        raise _not_for_this_user()
    if reply.get("protocol") != wire.PROTOCOL:
        own = wire.greeting()["clipindex"]
        raise NoAnswer(
            f"it runs clipindex {reply.get('clipindex')}, which answers no clipindex {own}",
            SAME_VERSION,
        )
    return reply


def ask_for_hand_over(lock: Path, note: Note | None) -> bool:
    """Whether the holder is idle and frees the lock for a writer now. A holder that does not
    answer is not idle."""
    try:
        channel, _ = open_channel(lock, note, HAND_OVER_PATIENCE)
    except NoAnswer:
        return False
    try:
        channel.send({"ask": "hand_over"}, HAND_OVER_PATIENCE)
        return channel.receive(HAND_OVER_PATIENCE).get("handed_over") is True
    except (ChannelClosed, TimeoutError):
        return False
    finally:
        channel.close()


class AskedPoints:
    """Points that the holder reads for this process. One thread at a time.

    Every method raises NoAnswer when the holder ends or falls silent, and the holder's own error
    where it had one.
    """

    def __init__(self, lock: Path, note: Note | None) -> None:
        self._channel, self._greeting = open_channel(lock, note)

    def close(self) -> None:
        """Hang up."""
        self._channel.close()

    def search(self, vector: Vector, *, limit: int, only: Filter = Filter()) -> list[ScoredContent]:
        """As `Points.search`."""
        answer = self._ask("search", vector=wire.vector_to(vector), limit=limit, only=only)
        return [ScoredContent(str(sha256), float(score)) for sha256, score in answer["contents"]]

    def scroll_page(
        self, only: Filter, after: uuid.UUID | None
    ) -> tuple[list[tuple[uuid.UUID, Payload]], uuid.UUID | None]:
        """As `PagedPoints.scroll_page`."""
        return wire.page_from(
            self._ask("scroll", only=only, after=None if after is None else str(after))
        )

    def retrieve(self, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, Point]:
        """As `Points.retrieve`."""
        return wire.points_from(self._ask("retrieve", ids=list(map(str, ids)))["points"])

    def count(self, only: Filter = Filter()) -> int:
        """As `Points.count`."""
        return int(self._ask("count", only=only)["count"])

    def labels(self) -> dict[str, Kind]:
        """As `Points.labels`."""
        self._require_filters()
        return {field: Kind(kind) for field, kind in self._ask("labels")["labels"].items()}

    def values(self, field: str) -> dict[Value, int]:
        """As `Points.values`."""
        self._require_filters()
        return {value: int(count) for value, count in self._ask("values", field=field)["values"]}

    def _require_filters(self) -> None:
        if wire.FILTERS not in self._greeting.get("can", ()):
            version = self._greeting.get("clipindex")
            raise NoAnswer(f"it runs clipindex {version}, which knows no such filter", SAME_VERSION)

    def _ask(self, ask: str, **request: object) -> Message:
        only = request.get("only")
        if isinstance(only, Filter):
            if not only.is_plain:
                self._require_filters()
            request["only"] = wire.filter_to(only)
        try:
            self._channel.send({"ask": ask, **request}, ANSWER_PATIENCE)
            answer = self._channel.receive(ANSWER_PATIENCE)
        except TimeoutError:
            raise _silent(ANSWER_PATIENCE) from None
        except ChannelClosed:
            raise NoAnswer("it ended", passing=True) from None
        if "error" in answer:
            raise wire.error_from(answer)
        return answer


def _silent(patience: float) -> NoAnswer:
    return NoAnswer(
        f"it did not answer within {patience:.0f} s",
        "wait until it is done and try again; if it was stopped (Ctrl-Z), let it go on",
    )


def _not_for_this_user() -> NoAnswer:
    return NoAnswer(
        "it answers only the user who started it, and root",
        "query as that user, or wait until it is done",
    )
