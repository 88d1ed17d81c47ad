"""The orders in which hits can be shown."""

from __future__ import annotations

from enum import StrEnum


class Sort(StrEnum):
    """The order in which the best hits are shown."""

    SCORE = "score"
    TAKEN = "taken"
    PATH = "path"
