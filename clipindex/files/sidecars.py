"""Which XMP files lie beside which pictures.

`cat.jpg.xmp` (darktable, digiKam) belongs to `cat.jpg`; `cat.xmp` (Lightroom, Bridge, and digiKam
on request) to every picture called `cat`. The first one holds where both say something. Names are
compared in any case.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence

from clipindex.files.access import file_system_of
from clipindex.files.addresses import is_address
from clipindex.files.file_system import FileRecord

SUFFIX = b".xmp"

Sidecars = tuple[FileRecord, ...]  # of one picture; what a later one says holds


def is_sidecar(path: bytes) -> bool:
    """Whether a file is called like one."""
    return path[-len(SUFFIX) :].lower() == SUFFIX


def sidecars_in(files: Sequence[FileRecord]) -> dict[bytes, Sidecars]:
    """Those of the pictures of one folder, by the picture's path; pictures without one are left
    out. `files` are all of the folder's."""
    by_name: dict[bytes, list[tuple[bytes, FileRecord]]] = {}
    for file in files:
        if is_sidecar(file.path):
            name = os.path.basename(file.path)[: -len(SUFFIX)]
            by_name.setdefault(name.lower(), []).append((name, file))
    if not by_name:
        return {}
    pictures = (file.path for file in files if not is_sidecar(file.path))
    found = ((path, _beside(by_name, path)) for path in pictures)
    return {path: sidecars for path, sidecars in found if sidecars}


def _beside(by_name: Mapping[bytes, Sequence[tuple[bytes, FileRecord]]], path: bytes) -> Sidecars:
    """Of several whose names differ in case alone the one that has the picture's."""
    pairs = ((name, by_name.get(name.lower())) for name in _names(path))
    return tuple(dict(several).get(name, several[0][1]) for name, several in pairs if several)


def sidecars_of(path: bytes) -> Sidecars:
    """Those of a picture whose folder is not listed. An object in a store that is named by itself
    has none: each would be a request, and most are in vain."""
    if is_address(path):
        return ()
    folder = os.path.dirname(path)
    found = (_found(os.path.join(folder, name)) for name in _names(path))
    return tuple(file for file in found if file is not None)


def stamp_of(sidecars: Iterable[FileRecord]) -> str:
    """Names, sizes and times as one text: another text, and one of them may have changed."""
    return "/".join(
        f"{os.path.basename(file.path)!r} {file.size} {file.mtime_ns} {file.ctime_ns}"
        for file in sidecars
    )


def _names(path: bytes) -> tuple[bytes, ...]:
    """What a sidecar of this picture is called, without its suffix."""
    name = os.path.basename(path)
    dot = name.rfind(b".")
    return (name[:dot], name) if dot > 0 else (name,)


def _found(base: bytes) -> FileRecord | None:
    for suffix in (SUFFIX, SUFFIX.upper()):
        try:
            record = file_system_of(base).stat(base + suffix)
        except OSError:
            continue
        if isinstance(record, FileRecord):
            return record
    return None
