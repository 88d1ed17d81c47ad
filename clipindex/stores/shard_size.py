"""How large a shard is, how large it need be, and what a copy of its points would reclaim.

The engine writes a changed point anew and never uses the place of a deleted one again; its log
keeps what was written last. A copy of the points has neither.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from clipindex.files.durable import write_durably
from clipindex.files.replacing import size_on_disk

# Measured with qdrant-edge-py 0.7 on ext4: shards of 2,000 to 16,000 points of 512 numbers with
# payloads of 600 bytes take 2.84 kB a point beside the log, of which 2.05 kB are the vector, and
# the log 3.04 kB a point until it has two files of 32 MiB.
EMPTY = 256 << 10  # bytes of a shard without points, with the ends of its files
PAYLOAD = 800  # bytes of a point's payload and of the indexes
LOGGED_PAYLOAD = 1_000  # bytes of it in the log
LARGEST_LOG = 64 << 20

WORTHWHILE = 16 << 20  # bytes; less is not worth a process, or a sentence
NOTE = "compacted.json"


@dataclass(frozen=True, slots=True)
class Compacted:
    """What the last compaction ended with."""

    points: int
    on_disk: int  # bytes


@dataclass(frozen=True, slots=True)
class ShardSize:
    """Bytes on the disk, and how many of them a compaction would free, about."""

    on_disk: int
    reclaimable: int

    @property
    def is_worth_compacting(self) -> bool:
        """Whether more than half of it is waste, and not a trifle."""
        return self.reclaimable > max(self.on_disk // 2, WORTHWHILE)


def needed(points: int, dimension: int, last: Compacted | None = None) -> int:
    """Bytes that a fresh shard of so many points takes, about. `last` is what was really needed
    when the shard was compacted: payloads may be larger than usual."""
    vector = 4 * dimension
    log = min(points * (vector + LOGGED_PAYLOAD), LARGEST_LOG)
    usual = EMPTY + points * (vector + PAYLOAD) + log
    if last is None or not last.points:
        return usual
    return max(usual, points * last.on_disk // last.points)


def shard_size(shard: Path, points: int, dimension: int) -> ShardSize:
    """The size of a shard with so many points."""
    size = size_on_disk(shard)
    needs = needed(points, dimension, _last(shard))
    return ShardSize(size, max(0, size - needs))


def note_compacted(shard: Path, points: int) -> None:
    """Remember how large the compacted shard is, so that a collection with large payloads is not
    compacted each night for nothing."""
    note = Compacted(points, size_on_disk(shard))
    with suppress(OSError):
        write_durably(shard.with_name(NOTE), json.dumps(asdict(note)).encode())


def _last(shard: Path) -> Compacted | None:
    try:
        raw = json.loads(shard.with_name(NOTE).read_bytes())
        return Compacted(int(raw["points"]), int(raw["on_disk"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
