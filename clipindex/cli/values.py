"""Texts that options take, as values: durations, parts, tags, servers. Each function raises
UsageError for a text that is none."""

from __future__ import annotations

import os
import re
import time
from typing import TYPE_CHECKING

from clipindex.collection.names import check_name
from clipindex.errors import UsageError
from clipindex.ingest.options import PruneOptions
from clipindex.stores.address import Server, normalised

if TYPE_CHECKING:
    from clipindex.ingest.scope import Part
    from clipindex.upkeep.verify.findings import Sample

PICTURES = "CLIPINDEX_TERMINAL"  # how pictures are drawn, a matter of the terminal in use
API_KEY = "CLIPINDEX_API_KEY"  # never an option: every user of a machine can read those
TOKEN = "CLIPINDEX_TOKEN"  # the same
WRITE_TOKEN = "CLIPINDEX_WRITE_TOKEN"  # the same
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
LARGEST_PART = 1_000_000

PATH_WORDS = ("FOLDER", "FILE", "PATH", "DIR")  # in an option's metavar
NAME_WORDS = ("NAME", "URL", "OLD", "NEW")


def names_a_thing(metavar: str) -> bool:
    """Whether an option or argument is a path or a name, and so never empty."""
    return any(word in metavar for word in (*PATH_WORDS, *NAME_WORDS))


def url(text: str) -> str:
    """A server's URL in one spelling."""
    if not text.isprintable():
        raise UsageError("this holds characters that no URL has", hint="type it again")
    return normalised(text)


def server(text: str | None, timeout: int | None = None) -> Server | None:
    """The server of a URL, with the key from the environment; None without a URL.

    Raises UsageError and Refused, as `Server` does.
    """
    return None if text is None else Server(url(text), os.environ.get(API_KEY, ""), timeout)


def collection(text: str) -> str:
    """The name of a collection, or of an alias."""
    return check_name("collection", text)


def source(text: str) -> str:
    """The name of a source."""
    return check_name("source", text)


def tag(text: str) -> tuple[str, str]:
    """`KEY=VALUE`."""
    from clipindex.stores.payload import parse_tag

    return parse_tag(text)


def seconds(duration: str | None) -> float | None:
    """`90s`, `30m`, `4h`, `1d` or a bare number of seconds.

    >>> seconds("1.5m")
    90.0
    """
    if duration is None:
        return None
    match = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,15})?)([smhd]?)", duration.strip().lower())
    if match is None:
        raise UsageError(f"'{duration}' is not a duration", hint="such as 90s, 30m, 4h or 1d")
    return float(match[1]) * SECONDS[match[2] or "s"]


def part(text: str | None) -> Part:
    """`K/N` as a part; None is the whole."""
    from clipindex.ingest.scope import Part

    if text is None:
        return Part()
    match = re.fullmatch(r"([0-9]{1,7})/([0-9]{1,7})", text.strip())
    if match is None or not 1 <= int(match[1]) <= int(match[2]) <= LARGEST_PART:
        raise UsageError(f"'{text}' is not a part", hint="three machines take 1/3, 2/3 and 3/3")
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


def sample(text: str | None, day: int | None = None) -> Sample:
    """`K/N` as a sample, `auto/N` as that of the day; None is the whole. `day`: days since 1970,
    by default today. Raises UsageError."""
    from clipindex.upkeep.verify.findings import Sample

    if text is None:
        return Sample()
    match = re.fullmatch(r"([0-9]{1,7}|auto)/([0-9]{1,7})", text.strip())
    of = int(match[2]) if match else 0
    if match is None or not 1 <= of <= LARGEST_PART:
        raise _no_sample(text)
    today = int(time.time() // SECONDS["d"]) if day is None else day
    number = today % of + 1 if match[1] == "auto" else int(match[1])
    if not 1 <= number <= of:
        raise _no_sample(text)
    return Sample(number, of)


def _no_sample(text: str) -> UsageError:
    return UsageError(
        f"'{text}' is not a sample",
        hint="1/30 is the first thirtieth; auto/30 takes another one each day",
    )
