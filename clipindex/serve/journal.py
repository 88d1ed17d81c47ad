"""What a service has done: a line for each request, counts and times for `/metrics`.

A line never says what was searched for: it has the path of a request without its query.
"""

from __future__ import annotations

import math
import traceback
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

LATEST = 1024  # requests of a route, whose times the quantiles are of
LONGEST = 200  # characters of a path

Say = Callable[[str], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A request that was answered. `route`: as it is declared, such as `/points/{id}`; `seconds`
    from its headers to the end of the answer."""

    method: str
    route: str
    path: str
    status: int
    seconds: float
    caller: str = ""  # the name of its token


@dataclass(slots=True)
class Journal:
    """Kept by the event loop's thread alone. `say` takes a line for whoever runs the service."""

    say: Say
    counts: Counter[tuple[str, str, int]] = field(default_factory=Counter)
    seconds: dict[str, deque[float]] = field(default_factory=dict)

    def note(self, done: Done) -> None:
        """Count a request and write its line."""
        self.counts[done.route, done.method, done.status] += 1
        self.seconds.setdefault(done.route, deque(maxlen=LATEST)).append(done.seconds)
        caller = f" {done.caller}" if done.caller else ""
        took = f"{1000 * done.seconds:.0f} ms"
        self.say(f"{done.method} {done.path[:LONGEST]} {done.status} {took}{caller}")

    def failed(self, error: BaseException) -> None:
        """Write down an error that nobody expected."""
        for line in "".join(traceback.format_exception(error)).splitlines():
            self.say(line)

    def quantiles(self, *shares: float) -> Iterator[tuple[str, float, float]]:
        """Route, share and seconds: so many of the latest requests of a route took at most as
        long."""
        for route, latest in sorted(self.seconds.items()):
            ordered = sorted(latest)
            for share in shares:
                yield route, share, ordered[max(0, math.ceil(share * len(ordered)) - 1)]
