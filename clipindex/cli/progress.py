"""How far a run is, and how long it will take."""

from __future__ import annotations

import time

from clipindex.ingest.events import FileDone, RunPlanned


class ProgressEstimate:
    """How far a run is, by files and bytes alike: many small files and few large ones both
    mislead when only one of the two is counted."""

    def __init__(self, plan: RunPlanned) -> None:
        self.files, self._bytes = plan.to_read, plan.bytes_to_read
        self.done, self._bytes_done = 0, 0
        self._started = time.monotonic()

    def add(self, file: FileDone) -> None:
        """Count a finished file."""
        self.done += 1
        self._bytes_done += file.bytes

    @property
    def fraction(self) -> float:
        """Between 0 and 1."""
        by_files = self.done / max(self.files, 1)
        by_bytes = self._bytes_done / self._bytes if self._bytes else by_files
        return min(1.0, (by_files + by_bytes) / 2)

    def __str__(self) -> str:
        seconds = max(time.monotonic() - self._started, 0.001)
        return f"{self.done:,}/{self.files:,} files, {self.done / seconds:.1f}/s"

    def left(self) -> str:
        """The time left, in words."""
        if not self.fraction:
            return "time left unknown"
        seconds = (time.monotonic() - self._started) * (1 - self.fraction) / self.fraction
        if seconds < 90:
            return f"about {seconds:.0f} s left"
        minutes = seconds / 60
        return (
            f"about {minutes:.0f} min left" if minutes < 90 else f"about {minutes / 60:.1f} h left"
        )
