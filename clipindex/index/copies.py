"""The part of an index that copies a collection, and names it on a server."""

from __future__ import annotations

from pathlib import Path

from clipindex.collection.place import aliases_of
from clipindex.collection.places import AnyPath
from clipindex.index.held import Held
from clipindex.upkeep import backup as backing_up
from clipindex.upkeep import restore as restoring
from clipindex.upkeep import transfer
from clipindex.upkeep.backup import Backup
from clipindex.upkeep.restore import Restored
from clipindex.upkeep.transfer import Progress


class Copies(Held):
    """Backups, exports, copies and aliases."""

    def backup(self, directory: AnyPath, progress: Progress | None = None) -> Backup:
        """Back up an embedded collection into `directory`/clipindex-COLLECTION, in place of an
        earlier backup, which stays until the new one is complete.

        Raises UsageError on a server, and where something else has that name.
        """
        progress = progress or transfer.no_progress
        return backing_up.backup(self.place, Path(directory), progress)

    def restore(
        self, directory: AnyPath, progress: Progress | None = None, *, replace: bool = False
    ) -> Restored:
        """Make this collection from its backup, which is verified first.

        Raises Refused where the collection exists, unless it is to be replaced; StoreError where
        there is no backup, VerificationFailed where it is damaged, UsageError on a server.
        """
        progress = progress or transfer.no_progress
        return restoring.restore(Path(directory), self.place, progress, replaces=replace)

    def export(self, folder: AnyPath, progress: Progress | None = None) -> int:
        """Write the collection into a folder: JSON lines, .npy files and its contract; returns how
        many points it holds. `progress` is called with (points done, points in all).

        Raises UsageError when the folder holds anything else.
        """
        return transfer.export(self.place, Path(folder), progress or transfer.no_progress)

    def import_(self, folder: AnyPath, progress: Progress | None = None) -> int:
        """Read an export into this collection, which is created when it is missing; every point
        is verified. Returns how many were written: equal ones that exist already are not.

        Raises StoreError when the export is unfinished or damaged, ContractMismatch when the
        collection has another contract.
        """
        return transfer.import_(Path(folder), self.place, progress or transfer.no_progress)

    def copy_to(self, other: Held, progress: Progress | None = None) -> int:
        """Copy every point into another collection, as `import_` would; returns how many were
        written. Raises UsageError when both are the same collection."""
        return transfer.copy(self.place, other.place, progress or transfer.no_progress)

    def alias(self, name: str) -> str | None:
        """Let `name` stand for this collection of a server from now on, in one step; returns the
        collection it stood for. Raises UsageError when a collection has that name, or for a
        folder."""
        return aliases_of(self.place).set_alias(name)

    def unalias(self, name: str) -> str:
        """Delete an alias; returns the collection it stood for. Raises UsageError when there is
        none, or for a folder."""
        return aliases_of(self.place).delete_alias(name)
