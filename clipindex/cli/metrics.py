"""Metrics of a run in a file, for a monitor's textfile collector. The door to prometheus_client.

The file is replaced in one step at every ending of the command. What a run that failed does not
know (the last success, the number of points) keeps the value that the file had.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from clipindex.cli.output import Output
from clipindex.collection.place import Place
from clipindex.errors import ExitCode, UsageError
from clipindex.files.durable import may_write, write_durably
from clipindex.files.user_folders import expand_user
from clipindex.ingest.events import Status, Summary

LAST_RUN = "clipindex_last_run_timestamp_seconds"
LAST_SUCCESS = "clipindex_last_success_timestamp_seconds"
SECONDS = "clipindex_run_duration_seconds"
EXIT_CODE = "clipindex_exit_code"
FILES = "clipindex_run_files"
POINTS = "clipindex_points"
QUARANTINED = "clipindex_quarantined_files"
VANISHED = "clipindex_vanished_files"
NODES = "clipindex_run_node_pictures"

HELP = {
    LAST_RUN: "When the latest run ended, in seconds since 1970.",
    LAST_SUCCESS: "When the latest run that did all its work (exit code 0 or 3) ended.",
    SECONDS: "How long the latest run took.",
    EXIT_CODE: "Exit code of the latest run.",
    FILES: "Files that the latest finished run found, by what it did with them.",
    POINTS: "Points in the collection.",
    QUARANTINED: "Files in quarantine.",
    VANISHED: "Remembered pictures that the latest finished run did not find.",
}
ON_NODES = "Pictures that each node of a Ray cluster wrote in the latest finished run."
SUCCESS = {ExitCode.DONE, ExitCode.ATTENTION}


class RunMetrics:
    """The metrics of one run of a collection."""

    def __init__(self, path: Path, place: Place) -> None:
        """Raises UsageError when the file cannot be written."""
        self.path = expand_user(path).absolute()
        self._labels = {
            "store": place.name,
            "collection": place.collection,
            "source": place.source,
        }
        self._began = time.time()
        self._summary: Summary | None = None
        if self.path.is_dir() or not may_write(self.path.parent):
            raise UsageError(
                "the metrics file cannot be written",
                path=str(self.path),
                hint="name a file in a folder that you may write to with --metrics-file",
            )

    def finished(self, summary: Summary) -> None:
        """Take what a run did into the metrics."""
        self._summary = summary

    def write(self, code: int, output: Output) -> int:
        """Replace the file; returns the exit code, which is 1 where a good run's metrics could
        not be written."""
        try:
            write_durably(self.path, self._text(code))
            os.chmod(self.path, 0o644)  # the collector is another user
        except OSError as error:
            output.problem(f"the metrics file cannot be written: {error.strerror} ({self.path})")
            return int(ExitCode.FAILED) if code in SUCCESS else code
        return code

    def _text(self, code: int) -> bytes:
        now = time.time()
        values = self._known_before() | {
            LAST_RUN: now,
            SECONDS: now - self._began,
            EXIT_CODE: float(code),
        }
        if code in SUCCESS:
            values[LAST_SUCCESS] = now
        if self._summary is not None:
            values[POINTS] = float(self._summary.points)
            values[QUARANTINED] = float(self._summary.quarantined)
            values[VANISHED] = float(self._summary.vanished)
        registry = CollectorRegistry()
        for name, value in values.items():
            gauge = Gauge(name, HELP[name], list(self._labels), registry=registry)
            gauge.labels(**self._labels).set(value)
        if self._summary is not None:
            files = Gauge(FILES, HELP[FILES], [*self._labels, "status"], registry=registry)
            for status in Status:
                count = getattr(self._summary, status.value)
                files.labels(**self._labels, status=status.value).set(count)
            if self._summary.nodes:
                nodes = Gauge(NODES, ON_NODES, [*self._labels, "node"], registry=registry)
                for node, count in self._summary.nodes.items():
                    nodes.labels(**self._labels, node=node).set(count)
        return generate_latest(registry)

    def _known_before(self) -> dict[str, float]:
        """What the file says of this collection, as far as a run may not know it."""
        try:
            families = list(text_string_to_metric_families(self.path.read_text("utf-8")))
        except (OSError, ValueError, KeyError):  # none yet, or not made by clipindex
            return {}
        return {
            sample.name: sample.value
            for family in families
            for sample in family.samples
            if sample.name in (LAST_SUCCESS, POINTS, QUARANTINED, VANISHED)
            and sample.labels == self._labels
        }
