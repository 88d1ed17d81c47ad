"""From whatever a picture file holds to 8-bit RGB or grey, as a person expects to see it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

WHITE = (255, 255, 255)

Values = np.ndarray[tuple[int, ...], np.dtype[Any]]
Bytes = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]

# Floats are shares of white if at least so many of them lie between 0 and 1; the others, such as
# highlights of an HDR picture, are clipped.
_SHARES = 0.9
_16_BITS, _32_BITS = 65535.0, 2.0**31 - 1


def to_rgb(image: Image.Image) -> Image.Image:
    """RGB or grey as a person expects: alpha on white, deep pictures rescaled, not clipped."""
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image)
        return Image.fromarray(Scale.of([values], white=_32_BITS).to_bytes(values))
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        if image.mode == "La":
            image = image.convert("LA")
        image = image if image.mode == "RGBA" else image.convert("RGBA")
        white = Image.new("RGB", image.size, WHITE)
        white.paste(image, mask=image.getchannel("A"))
        return white
    if image.mode == "1":
        return image.convert("L")
    return image if image.mode in ("RGB", "L") else image.convert("RGB")


@dataclass(frozen=True, slots=True)
class Scale:
    """How deep samples become 8-bit ones: `low` becomes 0, `low` + `span` 255."""

    low: float
    span: float

    @classmethod
    def of(cls, parts: Iterable[Values], *, white: float, is_16_bits: bool = True) -> Scale:
        """The range that samples imply, whatever their type allows.

        Integers from 0 to 65535 are a 16-bit picture (unless `is_16_bits` is false), floats
        between 0 and 1 shares of white. `white` is the type's greatest integer: the scale of
        pictures that use more than half of it, from its negative where there are such numbers.
        Anything else is spread from its least to its greatest value. Infinities and NaN count
        for nothing.
        """
        low, high, shares, count, floats = np.inf, -np.inf, 0, 0, False
        for values in parts:
            floats = values.dtype.kind == "f"
            finite = values[np.isfinite(values)] if floats else values
            if finite.size:
                low, high = min(low, float(finite.min())), max(high, float(finite.max()))
            shares += int(np.count_nonzero((finite >= 0) & (finite <= 1))) if floats else 0
            count += finite.size
        if count == 0 or (floats and shares >= _SHARES * count):
            return cls(0.0, 1.0)
        if not floats and low >= 0 and is_16_bits and high <= _16_BITS:
            return cls(0.0, _16_BITS)
        if not floats and max(high, -low) > white / 2:
            return cls(0.0, white) if low >= 0 else cls(-white - 1, 2 * white + 1)
        return cls(low, (high - low) or 1.0)

    def to_bytes(self, values: Values) -> Bytes:
        """The nearest 8-bit values; what is outside the range is clipped, NaN is 0."""
        wide = np.float64 if values.dtype.itemsize > 4 else np.float32
        scaled: Values = values.astype(wide)
        finite = np.isfinite(scaled)
        if not finite.all():
            scaled[~finite] = self.low
        if self.low:
            np.subtract(scaled, self.low, out=scaled)
        np.multiply(scaled, 255.0 / self.span, out=scaled)
        np.clip(np.rint(scaled, out=scaled), 0, 255, out=scaled)
        return scaled.astype(np.uint8)
