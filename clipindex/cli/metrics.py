"""Metrics of a run in a file, for a monitor's textfile collector. The door to prometheus_client.

The file is replaced in one step at every ending of the command. What a run that failed does not
know (the last success, the number of points) keeps the value that the file had.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from clipindex.cli.output import Output
from clipindex.collection.place import Place
from clipindex.errors import ExitCode, UsageError
from clipindex.files.durable import may_write, write_durably
from clipindex.files.user_folders import expand_user
from clipindex.ingest.events import Event, NodesSeen, NodeState, RunFinished, Status, Summary

LAST_RUN = "clipindex_last_run_timestamp_seconds"
LAST_SUCCESS = "clipindex_last_success_timestamp_seconds"
SECONDS = "clipindex_run_duration_seconds"
EXIT_CODE = "clipindex_exit_code"
FILES = "clipindex_run_files"
POINTS = "clipindex_points"
QUARANTINED = "clipindex_quarantined_files"
VANISHED = "clipindex_vanished_files"
OF_NODE = "clipindex_run_node_"

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
ON_NODES = {  # by field of NodeState
    "pictures": "Pictures that each node of a Ray cluster wrote in the latest run.",
    "deaths": "Actors that died on each node in the latest run.",
    "slices": "Batches of files that each node has in hand, while a run goes on.",
    "actors": "Actors of each node that are ready, while a run goes on.",
}
AT_THE_END = ("pictures", "deaths")
SECONDS_BETWEEN = 15.0  # the file is replaced while a run on a cluster goes on
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
        self._nodes: dict[str, NodeState] = {}
        self._next = 0.0  # as time.monotonic()
        if self.path.is_dir() or not may_write(self.path.parent):
            raise UsageError(
                "the metrics file cannot be written",
                path=str(self.path),
                hint="name a file in a folder that you may write to with --metrics-file",
            )

    def take(self, event: Event) -> None:
        """Take what a run does into the metrics. How the nodes of a cluster are doing is written
        while it goes on; a file that cannot be written is reported at the end."""
        if isinstance(event, RunFinished):
            self._summary = event.summary
        elif isinstance(event, NodesSeen):
            self._nodes = event.nodes
            if time.monotonic() >= self._next:
                self._next = time.monotonic() + SECONDS_BETWEEN
                with suppress(OSError):
                    self._replace(self._running())

    def write(self, code: int, output: Output) -> int:
        """Replace the file; returns the exit code, which is 1 where a good run's metrics could
        not be written."""
        try:
            self._replace(self._text(code))
        except OSError as error:
            output.problem(f"the metrics file cannot be written: {error.strerror} ({self.path})")
            return int(ExitCode.FAILED) if code in SUCCESS else code
        return code

    def _replace(self, text: bytes) -> None:
        write_durably(self.path, text)
        os.chmod(self.path, 0o644)  # the collector is another user

    def _running(self) -> bytes:
        """What the file says of earlier runs, and of the nodes by now."""
        registry = CollectorRegistry()
        gauges: dict[str, Gauge] = {}
        for sample in self._samples():
            if not sample.name.startswith(OF_NODE):
                if sample.name not in gauges:
                    names = list(sample.labels)
                    gauges[sample.name] = Gauge(
                        sample.name, HELP[sample.name], names, registry=registry
                    )
                gauges[sample.name].labels(**sample.labels).set(sample.value)
        self._add_nodes(registry, ON_NODES)
        return generate_latest(registry)

    def _add_nodes(self, registry: CollectorRegistry, fields: Iterable[str]) -> None:
        for field in fields if self._nodes else ():
            labels = [*self._labels, "node"]
            gauge = Gauge(OF_NODE + field, ON_NODES[field], labels, registry=registry)
            for node, state in self._nodes.items():
                gauge.labels(**self._labels, node=node).set(getattr(state, field))

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
        self._add_nodes(registry, AT_THE_END)
        return generate_latest(registry)

    def _known_before(self) -> dict[str, float]:
        """What the file says of this collection, as far as a run may not know it."""
        return {
            sample.name: sample.value
            for sample in self._samples()
            if sample.name in (LAST_SUCCESS, POINTS, QUARANTINED, VANISHED)
        }

    def _samples(self) -> list[Sample]:
        """What the file says of this collection."""
        try:
            families = list(text_string_to_metric_families(self.path.read_text("utf-8")))
        except (OSError, ValueError, KeyError):  # none yet, or not made by clipindex
            return []
        return [
            sample
            for family in families
            for sample in family.samples
            if (sample.name in HELP or sample.name.startswith(OF_NODE))
            and sample.labels.items() >= self._labels.items()
        ]
