"""The progress bar. The door to tqdm."""

from __future__ import annotations

from contextlib import suppress
from threading import RLock

from tqdm import tqdm


class Bar(tqdm):  # type: ignore[misc]  # tqdm has no types
    """tqdm's, which may be interrupted while it is made: it draws before it is whole, and what is
    not whole cannot be closed when it is deleted."""

    def __del__(self) -> None:
        with suppress(AttributeError):
            super().__del__()


# Only threads draw. tqdm's own lock is for processes too: where multiprocessing starts afresh
# (macOS, Python 3.14) it costs a helper process and a warning of leaked semaphores at the end.
Bar.set_lock(RLock())
