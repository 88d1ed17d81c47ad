"""Pure: text out of a picture file, which anybody may have written."""

from __future__ import annotations

_JOINERS = "\u200c\u200d"  # not printable, but a part of Persian words and of emoji


def printable(text: str) -> str:
    """On one line, each run of blanks and of what cannot be printed a single space."""
    return " ".join("".join(letter if _is_kept(letter) else " " for letter in text).split())


def _is_kept(letter: str) -> bool:
    return letter.isprintable() or letter in _JOINERS
