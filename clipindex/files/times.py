"""File times as a store can keep them."""

from __future__ import annotations

import hashlib

EARLIEST, LATEST = -(2**63), 2**63 - 1  # SQLite and the engine store signed 64-bit integers


def storable_time(nanoseconds: float) -> int:
    """Nanoseconds since 1970 within 64 bits, which is 21 September 1677 to 11 April 2262.

    File systems allow other times, and broken clocks produce them. A file dated outside is
    remembered by the nearest end, so that it is unchanged in the next run, too; a change from one
    such time to another is seen by the size or the change time only.
    """
    if EARLIEST <= nanoseconds <= LATEST:  # two calls of `min` and `max` would take longer
        return int(nanoseconds)
    return EARLIEST if nanoseconds < 0 else LATEST


def number_of(text: bytes) -> int:
    """A number that stands for a text, in place of a time or an inode: 63 bits of its SHA-1."""
    return int.from_bytes(hashlib.sha1(text, usedforsecurity=False).digest()[:8]) >> 1
