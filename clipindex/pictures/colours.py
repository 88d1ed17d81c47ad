"""From whatever a picture file holds to 8-bit RGB or grey, as a person expects to see it."""

from __future__ import annotations

import numpy as np
from PIL import Image

WHITE = (255, 255, 255)


def to_rgb(image: Image.Image) -> Image.Image:
    """RGB or grey as a person expects: alpha on white, deep pictures rescaled, not clipped."""
    if image.mode.startswith("I") or image.mode == "F":
        return _rescaled(image)
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image if image.mode == "RGBA" else image.convert("RGBA")
        white = Image.new("RGB", image.size, WHITE)
        white.paste(image, mask=image.getchannel("A"))
        return white
    if image.mode == "1":
        return image.convert("L")
    return image if image.mode in ("RGB", "L") else image.convert("RGB")


def _rescaled(image: Image.Image) -> Image.Image:
    """16-bit, 32-bit and float pictures to 8 bit, over the range their kind implies.

    Integers up to 65535 are 16-bit pictures, floats within [0, 1] shares of white; anything
    else is spread from its least to its greatest value.
    """
    values = np.asarray(image).astype(np.float32)
    finite = np.isfinite(values)
    if not finite.all():
        values[~finite] = values[finite].min() if finite.any() else 0.0
    low, high = float(values.min()), float(values.max())
    full = 1.0 if image.mode == "F" else 65535.0
    if not (low >= 0.0 and high <= full):
        values -= low
        full = (high - low) or 1.0
    values *= 255.0 / full
    return Image.fromarray(np.rint(values, out=values).astype(np.uint8))
