"""Which way pixels are made: named, versioned, part of a collection's contract.

`decode` makes them. Apart from it, so that a name can be checked without an image library.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

Fit = Literal["crop", "squash"]
Interpolation = Literal["bicubic", "bilinear"]  # both with antialias


class Preprocessing(StrEnum):
    """How pixels are made; part of a collection's contract, as is its version."""

    EXACT = "exact"
    DCT_SCALED = "dct-scaled"

    @property
    def version(self) -> int:
        """Rises with any change of a pixel."""
        return {Preprocessing.EXACT: 1, Preprocessing.DCT_SCALED: 2}[self]


@dataclass(frozen=True, slots=True)
class Geometry:
    """What a model wants to see: a square of `size` pixels, cropped or squashed into shape."""

    size: int
    fit: Fit
    interpolation: Interpolation = "bicubic"
