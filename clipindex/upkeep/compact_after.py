"""After a run: compact a collection of which most is waste, in a process of its own.

The run is over, its batches are durable and its lock is free. The process gives way to any other
that wants to write, and may be killed at any moment.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress

from clipindex.collection.folder_place import FolderPlace
from clipindex.collection.place import Place
from clipindex.collection.status import shard_size_of
from clipindex.errors import ClipIndexError


def compact_if_worthwhile(place: Place) -> None:
    """Start the process where it is worthwhile; does nothing on a server. Raises nothing: whether
    it can be started is no concern of the run's."""
    if not isinstance(place, FolderPlace):
        return
    with suppress(OSError, ClipIndexError):
        size = shard_size_of(place.locate())
        if size is None or not size.is_worth_compacting:
            return
        process = subprocess.Popen(
            command_line(place),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # an interrupt at the terminal is not meant for it
        )
        process.returncode = 0 if not _ends_with_us() else process.wait()


def command_line(place: FolderPlace) -> Sequence[str]:
    """This very installation, whatever lies in the current folder (-P)."""
    program = [sys.executable, "-P", "-m", "clipindex", "compact", "--if-worthwhile", "--quiet"]
    return [*program, "--store", str(place.store), "--collection", place.collection]


def _ends_with_us() -> bool:
    """Whether all processes of a service or container end with this one: then it waits."""
    return os.getpid() == 1 or os.environ.get("SYSTEMD_EXEC_PID") == str(os.getpid())
