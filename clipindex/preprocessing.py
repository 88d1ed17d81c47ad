"""Which way pixels are made: named, versioned, part of a collection's contract.

`images` goes these ways; whoever only has to name one needs no image library for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal


class Preprocessing(StrEnum):
    """How pixels are made; part of a collection's contract. Both are at version 1."""

    EXACT = "exact"
    DCT_SCALED = "dct-scaled"


PREPROCESSING_VERSION = 1


@dataclass(frozen=True, slots=True)
class Geometry:
    """What a model wants to see: a square of `size` pixels, cropped or squashed into shape."""

    size: int
    fit: Literal["crop", "squash"]
