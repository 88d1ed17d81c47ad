"""What the program warns of while it works for a request, collected for the answer.

Python's warnings belong to the whole process. So the service hears all of them, and hands each to
the request whose thread it came from.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from clipindex.errors import ClipIndexWarning

_thread = threading.local()


@contextmanager
def hearing() -> Iterator[None]:
    """While it lasts, `collected` works in every thread; other warnings go where they went."""
    with warnings.catch_warnings():
        elsewhere = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *where: Any) -> None:
            notes = getattr(_thread, "notes", None)
            if notes is None or not issubclass(category, ClipIndexWarning):
                elsewhere(message, category, *where)
            elif str(message) not in notes:
                notes.append(str(message))

        warnings.showwarning = show  # type: ignore[assignment]  # it hands on what it does not use
        warnings.simplefilter("always", ClipIndexWarning)
        yield


@contextmanager
def collected() -> Iterator[list[str]]:
    """The warnings of this thread while it lasts, as texts."""
    notes: list[str] = []
    _thread.notes = notes
    try:
        yield notes
    finally:
        _thread.notes = None
