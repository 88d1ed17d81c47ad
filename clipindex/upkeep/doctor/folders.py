"""The user's own folders, and what a process may do with a path."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from clipindex.files.user_folders import cache_folder, config_folder, state_folder
from clipindex.upkeep.doctor.checks import Check, note, ok, problem


def check_folders() -> Iterator[Check]:
    """Configuration, models, the catalogues of servers."""
    for name, folder in (
        ("configuration", config_folder()),
        ("model folder", cache_folder()),
        ("state folder", state_folder()),
    ):
        if folder is None:
            yield note(name, "this user has no home folder", "set HOME to have one")
        elif not os.path.lexists(folder):
            yield ok(name, f"{folder} (not made yet)")
        elif not folder.is_dir() or not may_read(folder):
            yield problem(name, f"{folder} cannot be read", "fix its permissions and its owner")
        else:
            yield ok(name, str(folder))


def may_read(path: Path) -> bool:
    """Whether this process may read a file, or list a folder and open what is in it."""
    way = os.R_OK | (os.X_OK if path.is_dir() else 0)
    return os.access(path, way, effective_ids=os.access in os.supports_effective_ids)
