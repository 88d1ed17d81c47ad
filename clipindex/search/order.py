"""The orders in which hits can be shown."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Any


class Sort(StrEnum):
    """The order in which the best hits are shown."""

    SCORE = "score"
    TAKEN = "taken"
    PATH = "path"


ORDER: dict[Sort, Callable[[Any], Any]] = {  # of hits, which come ordered by score
    Sort.SCORE: lambda _: 0,
    Sort.TAKEN: lambda hit: (hit.taken is None, hit.taken or ""),
    Sort.PATH: lambda hit: hit.path,
}
