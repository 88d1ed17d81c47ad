"""Texts that options take, as values: durations, parts, servers."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from clipindex.cli.options import API_KEY
from clipindex.errors import UsageError
from clipindex.ingest.options import PruneOptions
from clipindex.stores.address import Server

if TYPE_CHECKING:
    from clipindex.ingest.scope import Part

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
LARGEST_PART = 1_000_000


def server(url: str | None) -> Server | None:
    """The server of a URL, with the key from the environment; None without a URL.

    Raises UsageError and Refused, as `Server` does.
    """
    if url is None:
        return None

    if not url.isprintable():
        raise UsageError("--url holds characters that no URL has", hint="type it again")
    return Server(url, os.environ.get(API_KEY, ""))


def seconds(duration: str | None) -> float | None:
    """`90s`, `30m`, `4h`, `1d` or a bare number of seconds. Raises UsageError.

    >>> seconds("1.5m")
    90.0
    """
    if duration is None:
        return None
    match = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,15})?)([smhd]?)", duration.strip().lower())
    if match is None:
        raise UsageError(
            f"--max-duration: '{duration}' is not a duration", hint="such as 90s, 30m, 4h or 1d"
        )
    return float(match[1]) * SECONDS[match[2] or "s"]


def part(text: str | None) -> Part:
    """`K/N` as a part; None is the whole. Raises UsageError."""
    from clipindex.ingest.scope import Part

    if text is None:
        return Part()
    match = re.fullmatch(r"([0-9]{1,7})/([0-9]{1,7})", text.strip())
    if match is None or not 1 <= int(match[1]) <= int(match[2]) <= LARGEST_PART:
        raise UsageError(
            f"--part: '{text}' is not a part", hint="three machines take 1/3, 2/3 and 3/3"
        )
    return Part(int(match[1]), int(match[2]))


def most_deleted(text: str | None, *, excluded: bool = False) -> PruneOptions:
    """`--max-delete`: a number of files (`500`) or a percentage (`20%`). Raises UsageError."""
    if text is None:
        return PruneOptions(excluded=excluded)
    match = re.fullmatch(r"([0-9]{1,12}(?:\.[0-9]{1,6})?)(%?)", text.strip())
    if match is None or ("." in match[1] and not match[2]):
        raise UsageError(
            f"--max-delete: '{text}' is not a number of files", hint="such as 500, or 20%"
        )
    if match[2]:
        if float(match[1]) > 100:
            raise UsageError(f"--max-delete: {text} is more than all", hint="100% is all")
        return PruneOptions(excluded=excluded, max_percent=float(match[1]))
    return PruneOptions(excluded=excluded, max_files=int(match[1]))
