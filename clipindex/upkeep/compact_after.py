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

from clipindex.collection.catalogue import INDEXED
from clipindex.collection.folder_place import FolderPlace
from clipindex.collection.opening import Collection
from clipindex.collection.place import Place
from clipindex.stores.shard_size import shard_size


def is_worth_compacting(collection: Collection) -> bool:
    """Whether more than half of an embedded collection's points' files is waste."""
    if not isinstance(collection.place, FolderPlace):
        return False
    points = collection.catalogue.counts().get(INDEXED, 0)
    dimension = collection.contract.dimension
    return shard_size(collection.place.shard, points, dimension).is_worth_compacting


def start_compacting(place: Place) -> None:
    """Start the process, once the lock is free. Raises nothing: whether it can be started is no
    concern of the run's."""
    assert isinstance(place, FolderPlace)  # others are not worth it
    with suppress(OSError):
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
