"""Memory that ran out: one message for it, whichever library noticed and in whatever words."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator

from clipindex.errors import ClipIndexError

# As Python, numpy, onnxruntime, the loader of native libraries and Qdrant's engine say it.
SAID = re.compile(
    r"bad_alloc|bfc_arena|failed to (allocate|map segment)|cannot (allocate|reserve) memory"
    r"|out of memory|\(os error 12\)|can't (start new thread|allocate lock)",
    re.IGNORECASE,
)
NEEDED = "an ingest maps about 1.6 GiB, a query 0.9, and both use far less"
LEAST = 128 << 20  # bytes of address space; below, numpy ends the process by itself
LARGEST_REASON = 200  # letters


def check() -> None:
    """Raises MemoryError under a limit with which nothing can be loaded."""
    limit = _limit()
    if limit is not None and limit < LEAST:
        raise MemoryError("numpy cannot be loaded")


def explained(error: Exception) -> ClipIndexError | None:
    """The error in plain words, with its own exit code, where memory ran out; else None."""
    limit = _limit()
    causes = [cause for cause in _chain(error) if _ran_out(cause, limit)]
    if not causes:
        return None
    kind = type(error) if isinstance(error, ClipIndexError) else ClipIndexError
    path = error.path if isinstance(error, ClipIndexError) else ""
    first = causes[-1]
    words = getattr(first, "strerror", None) or str(first) or "no memory for Python's own objects"
    reason = " ".join(words.split())[:LARGEST_REASON]
    if limit is not None:
        return kind(
            f"the limit on memory (ulimit -v), {limit >> 20} MiB, is too low: {reason}",
            path=path,
            hint=f"raise it: {NEEDED}; to limit memory that is used, take a container's limit or "
            "systemd's MemoryMax",
        )
    if isinstance(error, ClipIndexError):
        return kind(error.message, path=path, hint="free some memory, or use fewer --workers")
    if "thread" in reason:
        return kind(
            f"no more threads can be started: {reason}",
            path=path,
            hint="raise the limit on processes (ulimit -u, a container's limit), or use fewer "
            "--workers",
        )
    return kind(
        f"there is not enough memory: {reason}",
        path=path,
        hint="free some, or use fewer --workers",
    )


def _ran_out(error: BaseException, limit: int | None) -> bool:
    if isinstance(error, MemoryError) or bool(SAID.search(str(error))):
        return True
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return True
    return isinstance(error, SystemError) and limit is not None  # "returned NULL without an error"


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error and what caused it."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def _limit() -> int | None:
    """The limit on address space in bytes; None where there is none."""
    try:
        import resource  # not on Windows
    except ImportError:
        return None
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    return None if limit == resource.RLIM_INFINITY else limit
