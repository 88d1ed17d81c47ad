"""Which way pixels are made: named, versioned, part of a collection's contract.

`decode` makes them. Apart from it, so that a name can be checked without an image library.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

Fit = Literal["crop", "squash"]
Interpolation = Literal["bicubic", "bilinear", "lanczos"]  # all with antialias


class Preprocessing(StrEnum):
    """How pixels are made; part of a collection's contract, as is its version."""

    EXACT = "exact"
    DCT_SCALED = "dct-scaled"
    FRAMES = "frames"  # as dct-scaled, and of an animation several frames, see `frames`
    PREVIEWS = "previews"  # as dct-scaled, but from a sound preview in the file, see `previews`

    @property
    def version(self) -> int:
        """Rises with any change of a pixel."""
        return {"exact": 1, "dct-scaled": 2, "frames": 1, "previews": 1}[self]


class Way(StrEnum):
    """What the pixels of a picture were made from, with the preprocessing `previews`."""

    PREVIEW = "preview"
    FULL = "full"  # from the picture itself, as with dct-scaled


@dataclass(frozen=True, slots=True)
class Geometry:
    """What a model wants to see: a square of `size` pixels, cropped or squashed into shape.

    Before a crop the short side becomes `resize` pixels, where that is given, otherwise `size`.
    """

    size: int
    fit: Fit
    interpolation: Interpolation = "bicubic"
    resize: int | None = None

    @property
    def short(self) -> int:
        """Pixels of the picture's short side before it is cropped."""
        return self.resize or self.size

    def as_facts(self) -> dict[str, str | int]:
        """As a contract has it: what is not given is not in it."""
        facts: dict[str, str | int] = {
            "size": self.size,
            "fit": self.fit,
            "interpolation": self.interpolation,
        }
        return facts if self.resize is None else {**facts, "resize": self.resize}
