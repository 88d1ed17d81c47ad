"""The models on this machine: those that come with clipindex, and those in the user's cache."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from clipindex.errors import ModelError, Refused, UsageError
from clipindex.files.durable import sync_folder
from clipindex.files.replacing import old_beside
from clipindex.files.user_folders import NO_HOME, cache_folder
from clipindex.model.bundle import MANIFEST, Bundle, model_folders, open_bundle
from clipindex.model.manifest import FILE_NAME


@dataclass(frozen=True, slots=True)
class Installed:
    """A model's folder. `bundle` is None where it cannot be used, and `fault` says why."""

    name: str
    folder: Path
    bundle: Bundle | None
    fault: str = ""

    @property
    def is_ours(self) -> bool:
        """Whether it came with clipindex."""
        own = user_models()
        return own is None or self.folder.parent != own


def user_models() -> Path | None:
    """Where pulled models are kept; None for a user without a home."""
    cache = cache_folder()
    return None if cache is None else cache / "models"


def folder_for(name: str) -> Path:
    """Where a model of this name is to be installed. Raises UsageError for a user without home."""
    folder = user_models()
    if folder is None:
        raise UsageError(NO_HOME, hint="set XDG_CACHE_HOME or HOME to a folder")
    return folder / name


def downloads_of(name: str) -> Path:
    """Where the files of a model arrive until it is installed. No model's name begins with a dot.
    Raises UsageError for a user without home."""
    return folder_for(name).parent / ".downloads" / name


def installed_models() -> dict[str, Installed]:
    """All of them by name; of two with one name the one that --model would take."""
    models: dict[str, Installed] = {}
    for folder in model_folders():
        for path in sorted(folder.glob(f"*/{MANIFEST}")):
            name = path.parent.name
            if FILE_NAME.fullmatch(name) and name not in models:  # not one under construction
                models[name] = _opened(name, path.parent)
    return models


def _opened(name: str, folder: Path) -> Installed:
    try:
        return Installed(name, folder, open_bundle(folder))
    except ModelError as error:
        return Installed(name, folder, None, error.message)


def remove_downloads(name: str) -> bool:
    """Delete what had arrived of a model that was never installed; whether there was anything."""
    folder = downloads_of(name)
    is_there = folder.is_dir()
    shutil.rmtree(folder, ignore_errors=True)
    return is_there


def remove(model: Installed) -> None:
    """Delete a model's folder; half removed it counts as gone. Raises Refused for one that came
    with clipindex, ModelError where the folder cannot be removed."""
    if model.is_ours:
        raise Refused(
            f"{model.name} came with clipindex and stays",
            path=str(model.folder),
            hint="only what `clipindex models pull` downloaded is removed",
        )
    aside = old_beside(model.folder)
    try:
        shutil.rmtree(aside, ignore_errors=True)
        model.folder.rename(aside)
        sync_folder(aside.parent)
        shutil.rmtree(aside)
    except OSError as error:
        raise ModelError(
            f"{model.name} cannot be removed: {error.strerror}",
            path=str(error.filename or model.folder),
            hint="correct the folder's permissions",
        ) from error
