"""Which file system a path belongs to: the one place where that is decided."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING

from clipindex.errors import FileFault, UsageError
from clipindex.files.addresses import TAR, is_address, tar_in
from clipindex.files.file_system import FileRecord, FileSystem, FolderRecord
from clipindex.files.local import LocalFileSystem

if TYPE_CHECKING:
    from clipindex.files.objects import ObjectFileSystem
    from clipindex.files.remote_tars import RemoteTarFileSystem

Looked = FileRecord | FolderRecord | None | OSError

LOCAL_FILE_SYSTEM: FileSystem = LocalFileSystem()


def file_system_of(path: bytes) -> FileSystem:
    """The file system that keeps what is at `path`."""
    if path[:1] == b"/" or not is_address(path):
        return _tar_files() if TAR in path and tar_in(path) else LOCAL_FILE_SYSTEM
    return _remote_tars() if TAR in path and _remote_tars().tar_in(path) else _object_stores()


@cache
def _object_stores() -> ObjectFileSystem:
    from clipindex.files.objects import ObjectFileSystem  # a folder needs nothing of them
    from clipindex.files.stores import bucket_of  # neither

    return ObjectFileSystem(bucket_of)


@cache
def _tar_files() -> FileSystem:
    from clipindex.files.tars import TarFileSystem  # a folder needs nothing of it

    return TarFileSystem()


@cache
def _remote_tars() -> RemoteTarFileSystem:
    from clipindex.files.remote_tars import RemoteTarFileSystem  # neither

    return RemoteTarFileSystem(_object_stores())


def check_stores(paths: Iterable[bytes]) -> None:
    """Raises UsageError if none of these paths can be reached from here, because a library or the
    credentials for its store are missing. Where one can be reached, a walk tells of the others."""
    refused: dict[bytes, UsageError] = {}
    for path in paths:
        if not is_address(path):
            return
        bucket = b"/".join(path.split(b"/", 3)[:3])
        if bucket in refused:
            continue
        try:
            _object_stores().check(bucket)
        except UsageError as error:
            refused[bucket] = error
        else:
            return
    if refused:
        raise next(iter(refused.values()))


def exists(path: bytes) -> bool:
    """Whether the name is there, be it of a link that leads nowhere."""
    return file_system_of(path).exists(path)


def is_gone(path: bytes) -> bool:
    """Whether the name is no longer there, spelled like this (another case is another name)."""
    return file_system_of(path).is_gone(path)


def is_readable(path: bytes) -> bool:
    """Whether this process can read the file that is there now."""
    try:
        with file_system_of(path).open(path) as file:
            file.head(1)
    except FileFault:
        return False
    return True


def is_file(path: bytes) -> bool:
    """Whether a regular file is there, or a link to one."""
    return file_system_of(path).is_file(path)


def is_folder(path: bytes) -> bool:
    """Whether a folder is there, or a link to one."""
    return file_system_of(path).is_folder(path)


def file_record(path: bytes) -> FileRecord | None:
    """The regular file at `path`; None if there is none, or it may not be looked at."""
    try:
        record = file_system_of(path).stat(path)
    except OSError:
        return None
    return record if isinstance(record, FileRecord) else None


def folder_record(path: bytes) -> FolderRecord | None:
    """What identifies the folder at `path`; None if there is none, or it may not be looked at."""
    try:
        record = file_system_of(path).stat(path)
    except OSError:
        return None
    return record if isinstance(record, FolderRecord) else None


AT_ONCE = 32  # addresses that are looked at together: each takes a way to a store and back
_CHUNK = 1024


def looked_at(paths: Sequence[bytes]) -> Iterator[tuple[bytes, Looked]]:
    """What each path leads to, in their order, or why it cannot be looked at."""
    if not any(map(is_address, paths)):
        yield from ((path, _looked_at(path)) for path in paths)
        return
    from concurrent.futures import ThreadPoolExecutor  # a folder needs nothing of it

    with ThreadPoolExecutor(AT_ONCE) as pool:
        for start in range(0, len(paths), _CHUNK):
            chunk = paths[start : start + _CHUNK]
            yield from zip(chunk, pool.map(_looked_at, chunk), strict=True)


def _looked_at(path: bytes) -> Looked:
    try:
        return file_system_of(path).stat(path)
    except OSError as error:
        return error
