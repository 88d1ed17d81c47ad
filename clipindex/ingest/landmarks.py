"""Whether a picture that the walk did not meet is gone, or only the disk that it lies on.

A disk may be mounted below a root. When it is away, its folder is empty or missing; when another
one is in its place, other pictures are there. Neither may pass for a move, which would give the
pictures' tags to some copy of them. So every walk remembers how it knew the folders again, and the
next one believes that a picture is gone only where it recognises the place.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from clipindex.collection.catalogue import KnownFolder
from clipindex.files.access import file_system_of, folder_record, is_folder
from clipindex.files.identity import display_path, folders_of, is_below

ANYWHERE = b""  # an area without limits


@dataclass(frozen=True, slots=True)
class Doubt:
    """Why a file that was not met may exist all the same."""

    folder: bytes  # that is not as it is remembered
    reason: str
    is_disk: bool = False  # a disk was mounted there


class Landmarks:
    """What a walk saw of its folders, beside what earlier walks remember of them.

    A folder is *recognised* when a remembered picture is in it or below it, unchanged.
    """

    def __init__(
        self, remembered: Mapping[bytes, KnownFolder], with_pictures: Iterable[bytes]
    ) -> None:
        """`with_pictures`: every folder that directly holds remembered pictures."""
        self._remembered = remembered
        self._with_pictures = with_pictures
        self._now: dict[bytes, KnownFolder] = {}
        self._devices: dict[bytes, int | None] = {}
        self._recognised: set[bytes] = set()
        self._by_inode: dict[int, bytes] | None = None  # of folders that are not as remembered

    def add(self, folder: bytes, *, recognised: bool) -> None:
        """Note a folder that the walk has listed, after the folder above it; `recognised`: a
        remembered picture is directly in it."""
        record = folder_record(folder)
        if record is None:
            return
        above = folders_of(folder)[:1]
        for parent in above:
            if parent not in self._devices:
                parent_record = folder_record(parent)
                self._devices[parent] = parent_record and parent_record.device
        self._devices[folder] = record.device
        is_mount = any(self._devices[parent] != record.device for parent in above)
        self._now[folder] = KnownFolder(record.inode, is_mount)
        if recognised:
            _add_with_folders_above(self._recognised, folder)

    def area(self, folder: bytes, root: bytes) -> bytes | None:
        """Where a picture may have moved to that was directly in `folder`, below a root, and that
        the walk did not meet: below the path returned, ANYWHERE, or None: nothing proves it gone.

        Looks upwards from the folder to the root, until one is recognised. A disk may be another
        one where no picture is; so may a root that has another inode, too. Then the picture may
        have moved there, but not from there to elsewhere.
        """
        area: bytes | None = None
        is_nearest = True  # of the folders that exist
        for path in (folder, *folders_of(folder)):
            if path in self._recognised or not is_below(path, root):
                break
            now, before = self._now.get(path), self._remembered.get(path)
            if now is None:
                if is_folder(path) or (before is not None and before.is_mount):
                    return None  # it was not walked, or its disk is away
                continue
            if before is not None and before.is_mount != now.is_mount:
                return None  # unmounted, or something is mounted over it
            is_same = before is not None and before.inode == now.inode
            if is_nearest and not is_same and _is_empty(path):
                area = self._renamed(before)
                if area is None:
                    return None  # an empty folder in place of the one that held pictures
            elif area is None and (now.is_mount or (path == root and not is_same)):
                area = path
            is_nearest = False
        return ANYWHERE if area is None else area

    def doubt(self, folder: bytes, root: bytes) -> Doubt | None:
        """Why a file directly in `folder`, below a root, may exist although the walk did not meet
        it; None: it is gone.

        It is gone when every folder on the way up to one that is recognised, or to the root, is
        the one that is remembered, or was deleted from one that is. No disk was mounted at any of
        them: of a disk where no picture is recognised nobody knows whether it is the same.
        """
        for path in (folder, *folders_of(folder)):
            if path in self._recognised:
                return None
            now, before = self._now.get(path), self._remembered.get(path)
            name = display_path(path)
            if (before is not None and before.is_mount) or (now is not None and now.is_mount):
                return Doubt(path, f"the disk at {name} is away, or it is another one", True)
            if now is None and is_folder(path):
                return Doubt(path, f"this folder was not walked: {name}")
            if before is None:
                return Doubt(path, f"this folder is not known from an earlier run: {name}")
            if now is not None and now.inode != before.inode:
                return Doubt(path, f"this is not the folder that was indexed: {name}")
            if path == root:
                return None
        return None

    def voucher(self, folder: bytes) -> bytes | None:
        """The nearest folder at or above `folder` that is recognised."""
        for path in (folder, *folders_of(folder)):
            if path in self._recognised:
                return path
        return None

    def learned(self) -> dict[bytes, KnownFolder]:
        """What is to be remembered: folders that were recognised or are new, and look different
        from what is remembered. Where pictures are missing, the old memory stays."""
        expected: set[bytes] = set()
        for folder in self._with_pictures:
            _add_with_folders_above(expected, folder)
        return {
            folder: now
            for folder, now in self._now.items()
            if (folder in self._recognised or folder not in expected)
            and now != self._remembered.get(folder)
        }

    def _renamed(self, before: KnownFolder | None) -> bytes | None:
        """The new path of a folder that was renamed: it has the remembered inode now."""
        if before is None:
            return None
        if self._by_inode is None:
            self._by_inode = {
                now.inode: folder
                for folder, now in self._now.items()
                if self._remembered.get(folder) != now
            }
        return self._by_inode.get(before.inode)


def _is_empty(folder: bytes) -> bool:
    try:
        return not file_system_of(folder).for_walk(folder).list(folder)
    except OSError:
        return True


def _add_with_folders_above(folders: set[bytes], folder: bytes) -> None:
    """Add a folder and all above it; those above a folder that is in the set are in it, too."""
    for path in (folder, *folders_of(folder)):
        if path in folders:
            return
        folders.add(path)
