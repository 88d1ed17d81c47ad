"""How a collection is searched: every vector compared, or an approximate index asked."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Accuracy(StrEnum):
    """What a caller asks for; `auto`: exact where that is quick enough."""

    AUTO = "auto"
    EXACT = "exact"
    APPROXIMATE = "approximate"


@dataclass(frozen=True, slots=True)
class SearchMethod:
    """How a search is carried out. `ef` is how many candidates the graph of a server keeps; None
    for an exact search."""

    ef: int | None = None

    @property
    def name(self) -> str:
        """`exact` or `approximate`, as JSON has it."""
        return Accuracy.EXACT if self.ef is None else Accuracy.APPROXIMATE

    def __str__(self) -> str:
        return self.name if self.ef is None else f"{self.name} (ef {self.ef})"


EXACT = SearchMethod()
