"""One lock for each collection: a second process is refused before it can open the engine."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import filelock

from clipindex.errors import CollectionBusy, StoreError

PATIENCE = 10.0  # seconds a run waits for a reader
QUERY = "query"
QUERY_PATIENCE = 0.8  # seconds a query waits: it answers, or says "busy", within one second


@contextmanager
def locked(path: Path, purpose: str) -> Iterator[None]:
    """Hold the lock file; the kernel frees it when the process dies, however it dies.

    `purpose` is named to the process that is refused meanwhile. Raises CollectionBusy, naming
    the holder, after 10 s (a query: 0.8 s); StoreError when the file cannot be locked.
    """
    patience = QUERY_PATIENCE if purpose == QUERY else PATIENCE
    lock = filelock.FileLock(path, timeout=patience, poll_interval=0.02)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise CollectionBusy(
            f"the collection is in use: {_holder(path)}",
            path=str(path.parent),
            hint="wait until it is done and try again",
        ) from None
    except OSError as error:
        raise StoreError(
            f"the collection's lock cannot be taken: {error.strerror}",
            path=str(path),
            hint="check the folder's permissions",
        ) from error
    try:
        note = {
            "pid": os.getpid(),
            "purpose": purpose,
            "since": datetime.now().isoformat(timespec="seconds"),
        }
        path.write_text(json.dumps(note), "utf-8")
        yield
    finally:
        lock.release()


def _holder(path: Path) -> str:
    try:
        note = json.loads(path.read_text("utf-8"))
        return f"{note['purpose']}, process {note['pid']}, since {note['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "by another process"
