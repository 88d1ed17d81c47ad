"""Whether files that the walk did not meet are proved to be gone, and if not, why not.

A move asks where a picture may have gone (`landmarks.Landmarks.area`). A deletion asks for more:
every folder between the file and a place that is recognised must be the one that is remembered.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Set
from dataclasses import dataclass, field

from clipindex.files.identity import display_path, folders_of
from clipindex.ingest.landmarks import Doubt, Landmarks

NOT_WALKED = "this folder was not walked to its end"


@dataclass(slots=True, kw_only=True)
class Evidence:
    """What a walk proves: its landmarks, its roots, and those that it walked to their end."""

    landmarks: Landmarks = field(default_factory=lambda: Landmarks({}, ()))
    roots: Set[bytes] = frozenset()
    whole: Set[bytes] = frozenset()
    listed: Set[bytes] = frozenset()  # every folder that the walk listed
    _of_places: dict[bytes, Doubt | None] = field(init=False, default_factory=dict)

    def doubt(self, path: bytes) -> Doubt | None:
        """Why a file that was not met may exist all the same; None: it is proved to be gone."""
        root = topmost(os.path.dirname(path), self.roots)
        if root is not None and root not in self.whole:
            return Doubt(root, f"{NOT_WALKED}: {display_path(root)}")
        return self.doubt_of_place(path)

    def doubt_of_place(self, path: bytes) -> Doubt | None:
        """The same, were every folder walked without an error."""
        folder = os.path.dirname(path)
        if folder not in self._of_places:
            root = topmost(folder, self.roots)
            self._of_places[folder] = (
                Doubt(folder, f"{NOT_WALKED}: {display_path(folder)}")
                if root is None
                else self.landmarks.doubt(folder, root)
            )
        return self._of_places[folder]


def doubt_of_swap(evidence: Evidence, path: bytes, regained: Set[bytes]) -> str | None:
    """Why a picture that is missed for the first time may exist: to the very place that vouches
    for it others came back, at or below the folders in `regained`. Two disks may take turns."""
    place = evidence.landmarks.voucher(os.path.dirname(path))
    if place is None or place not in regained:
        return None
    return f"missing pictures came back, it may be another disk: {display_path(place)}"


def folders_above(paths: Iterable[bytes]) -> set[bytes]:
    """Every folder above any of the paths."""
    return {folder for path in paths for folder in folders_of(path)}


def topmost(folder: bytes, roots: Set[bytes]) -> bytes | None:
    """The highest of the roots that a folder lies below, or is."""
    for path in reversed((folder, *folders_of(folder))):
        if path in roots:
            return path
    return None
