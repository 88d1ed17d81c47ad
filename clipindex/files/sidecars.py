"""Which XMP files lie beside which pictures.

`cat.jpg.xmp` (darktable, digiKam) belongs to `cat.jpg`; `cat.xmp` (Lightroom, Bridge, and digiKam
on request) to every picture called `cat`. The first one holds where both say something. Names are
compared in any case.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from clipindex.files.access import file_system_of
from clipindex.files.file_system import FileRecord

SUFFIX = b".xmp"

Sidecars = tuple[FileRecord, ...]  # of one picture; what a later one says holds


def is_sidecar(path: bytes) -> bool:
    """Whether a file is called like one."""
    return path[-len(SUFFIX) :].lower() == SUFFIX


def sidecars_in(files: Sequence[FileRecord]) -> dict[bytes, Sidecars]:
    """Those of the pictures of one folder, by the picture's path; pictures without one are left
    out. `files` are all of the folder's."""
    by_name: dict[bytes, list[FileRecord]] = {}
    for file in files:
        if is_sidecar(file.path):
            by_name.setdefault(_picture_named(file).lower(), []).append(file)
    if not by_name:
        return {}
    sidecars: dict[bytes, Sidecars] = {}
    for file in files:
        names = [name for name in _names(file.path) if name.lower() in by_name]
        if names and not is_sidecar(file.path):
            several = (_nearest(by_name[name.lower()], name) for name in names)
            sidecars[file.path] = tuple(several)
    return sidecars


def sidecars_of(path: bytes) -> Sidecars:
    """Those of a picture whose folder is not listed."""
    folder = os.path.dirname(path)
    found = (_found(os.path.join(folder, name)) for name in _names(path))
    return tuple(file for file in found if file is not None)


def stamp_of(sidecars: Iterable[FileRecord]) -> str:
    """Names, sizes and times as one text: another text, and one of them may have changed."""
    return "/".join(
        f"{os.path.basename(file.path)!r} {file.size} {file.mtime_ns} {file.ctime_ns}"
        for file in sidecars
    )


def _names(path: bytes) -> list[bytes]:
    """What a sidecar of this picture is called, without its suffix."""
    name = os.path.basename(path)
    return [*dict.fromkeys((os.path.splitext(name)[0], name))]


def _picture_named(sidecar: FileRecord) -> bytes:
    return os.path.basename(sidecar.path)[: -len(SUFFIX)]


def _nearest(sidecars: Sequence[FileRecord], name: bytes) -> FileRecord:
    """The one whose name has the same case, where there is one."""
    return next((file for file in sidecars if _picture_named(file) == name), sidecars[0])


def _found(base: bytes) -> FileRecord | None:
    for suffix in (SUFFIX, SUFFIX.upper()):
        try:
            record = file_system_of(base).stat(base + suffix)
        except OSError:
            continue
        if isinstance(record, FileRecord):
            return record
    return None
