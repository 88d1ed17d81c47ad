"""Whether a point that a server returned is the one that was written."""

from __future__ import annotations

import numpy as np

from clipindex.stores.points import Vector


def cosine_of(one: Vector, other: Vector) -> float:
    """The cosine of two vectors in float64; 0 where one of them is zero. A server may store
    vectors that are not quite of length 1 (float16: off by up to 4e-5)."""
    a, b = one.astype(np.float64), other.astype(np.float64)
    length = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / length if length > 0 else 0.0


def equal_values(written: object, stored: object) -> bool:
    """Equal JSON values; floats up to a relative 1e-12."""
    if isinstance(written, dict) and isinstance(stored, dict):
        return written.keys() == stored.keys() and all(
            equal_values(written[key], stored[key]) for key in written
        )
    if isinstance(written, list) and isinstance(stored, list):
        return len(written) == len(stored) and all(map(equal_values, written, stored))
    if isinstance(written, float) and isinstance(stored, float | int):
        return abs(written - stored) <= 1e-12 * max(1.0, abs(written))
    return written == stored
