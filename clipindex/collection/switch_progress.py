"""How full the collection beside the live one is: a small file, as `status` opens neither."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

from clipindex.collection.place import Beside
from clipindex.files.durable import write_durably


def progress_file(beside: Beside) -> Path:
    """Where it is noted."""
    return beside.place.folder / "switch-progress.json"


def note_progress(beside: Beside, done: int, total: int) -> None:
    """Note how many points it has, of how many that the live one has. Nothing depends on it."""
    file = progress_file(beside)
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_durably(file, json.dumps({"done": done, "of": total}).encode())


def read_progress(beside: Beside) -> tuple[int, int] | None:
    """What was noted last on this machine; None: nothing."""
    try:
        note = json.loads(progress_file(beside).read_bytes())
        return int(note["done"]), int(note["of"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
