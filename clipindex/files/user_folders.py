"""The user's own folders: configuration, data, state, cache.

A process may have no home at all (a container with `--user 12345`, a service without HOME and
without an entry in passwd). Only what really needs a folder then fails.
"""

from __future__ import annotations

from pathlib import Path

import platformdirs

from clipindex.errors import UsageError

NO_HOME = "this user has no home folder"


def config_folder() -> Path | None:
    """Where the configuration file is looked for; None for a user without a home."""
    try:
        return Path(platformdirs.user_config_dir("clipindex", appauthor=False))
    except RuntimeError:
        return None


def cache_folder() -> Path | None:
    """Where downloaded models are kept; None for a user without a home."""
    try:
        return Path(platformdirs.user_cache_dir("clipindex"))
    except RuntimeError:
        return None


def data_folder() -> Path:
    """Where the default store is kept. Raises UsageError for a user without a home."""
    try:
        return Path(platformdirs.user_data_dir("clipindex", appauthor=False))
    except RuntimeError:
        raise UsageError(NO_HOME, hint="name a folder with --store, or set HOME") from None


def state_folder() -> Path:
    """Where the catalogues of servers are kept. Raises UsageError for a user without a home."""
    try:
        return Path(platformdirs.user_state_dir("clipindex", appauthor=False))
    except RuntimeError:
        raise UsageError(NO_HOME, hint="set XDG_STATE_HOME or HOME to a folder") from None


def expand_user(path: Path) -> Path:
    """`~` and `~user` at the beginning of a path replaced, as a shell does.

    Raises UsageError when there is no such home.
    """
    try:
        return path.expanduser()
    except RuntimeError:
        raise UsageError("there is no such home folder", path=str(path)) from None
