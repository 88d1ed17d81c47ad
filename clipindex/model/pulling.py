"""A model from the hub into the user's cache: downloaded, checked, brought into our form.

It is installed in one step at the end: until then `--model NAME` does not see it, whatever
interrupts the work. What has arrived stays for the next attempt, and goes once it is installed.
"""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

import filelock

from clipindex.errors import CollectionBusy, DiskFull, ModelError
from clipindex.files.durable import NO_ROOM, free_space
from clipindex.files.replacing import built_beside, replace, settle
from clipindex.model.adapt.bundle import adapt
from clipindex.model.bundle import Bundle, open_bundle
from clipindex.model.hub import Hub, Remote
from clipindex.model.installed import downloads_of, folder_for
from clipindex.model.registry import ModelDescription, RemoteFile

HEADROOM = 64 << 20  # bytes that stay free


class Watch(Protocol):
    """Whoever looks on."""

    def moved(self, done: int, total: int) -> None:
        """So many of so many bytes are here."""
        ...

    def said(self, text: str) -> None:
        """What is being done now."""
        ...

    def noted(self, text: str) -> None:
        """What the user should know."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """A file that was downloaded, or was in the hub's cache."""

    file: RemoteFile
    local: Path
    commit: str
    bytes: int
    sha256: str
    was_cached: bool


@dataclass(frozen=True, slots=True)
class Pulled:
    """An installed model, and the files that it was made from; none where it was here before."""

    bundle: Bundle
    files: tuple[Arrived, ...] = ()


def pull(description: ModelDescription, watch: Watch) -> Pulled:
    """Install a model that is not here yet.

    Raises ModelError when the hub does not give it or gives something else, DiskFull,
    CollectionBusy while another process pulls it, UsageError for a user without a home.
    """
    target = folder_for(description.id)
    downloads = downloads_of(description.id)
    with _disk(target.parent):
        downloads.mkdir(parents=True, exist_ok=True)
        with _alone(downloads, description.id):
            settle(target)
            if (here := _usable(target)) is not None:
                return Pulled(here)
            with closing(Hub()) as hub:
                files = _fetch(description, hub, downloads, watch)
            watch.said("installing it: its files are checked, and brought into clipindex's form")
            bundle = _install(description, files, target)
            shutil.rmtree(downloads, ignore_errors=True)
    return Pulled(bundle, files)


def _usable(folder: Path) -> Bundle | None:
    """The model that is there, unless it is damaged: then it is replaced."""
    try:
        bundle = open_bundle(folder)
        bundle.verify()
    except ModelError:
        return None
    return bundle


# --- the files ----------------------------------------------------------------------------------


def _fetch(
    description: ModelDescription, hub: Hub, downloads: Path, watch: Watch
) -> tuple[Arrived, ...]:
    cached = {file: arrived for file in description.files if (arrived := _from_cache(hub, file))}
    remotes = {
        file: _looked_up(hub, file, downloads) for file in description.files if file not in cached
    }
    _check_space(description, list(cached.values()), remotes, downloads)
    total = sum(remote.bytes for remote in remotes.values())
    fetched: dict[RemoteFile, Arrived] = {}
    for file, remote in remotes.items():
        before = sum(arrived.bytes for arrived in fetched.values())
        target = _place(downloads, file, remote)
        sha256 = hub.download(file, remote, target, _moved_after(before, total, watch))
        _check_content(file, remote, target, sha256)
        if file.sha256 is None:
            watch.noted(f"{file.path}: SHA-256 {sha256} (of the hub; clipindex knows none)")
        fetched[file] = Arrived(
            file=file,
            local=target,
            commit=remote.commit,
            bytes=remote.bytes,
            sha256=sha256,
            was_cached=False,
        )
    return tuple(cached.get(file) or fetched[file] for file in description.files)


def _moved_after(before: int, total: int, watch: Watch) -> Callable[[int], None]:
    return lambda size: watch.moved(before + size, total)


def _from_cache(hub: Hub, file: RemoteFile) -> Arrived | None:
    """The file in the hub's own cache, if its content is known and the right one."""
    cached = hub.cached(file)
    if cached is None:
        return None
    local, remote = cached
    with open(local, "rb") as opened:
        sha256 = hashlib.file_digest(opened, "sha256").hexdigest()
    if not _is_right(file, remote, local, sha256):
        return None
    return Arrived(
        file=file,
        local=local,
        commit=remote.commit,
        bytes=remote.bytes,
        sha256=sha256,
        was_cached=True,
    )


def _looked_up(hub: Hub, file: RemoteFile, downloads: Path) -> Remote:
    """What the hub says of a file, and whether that is the one that we know. Nothing is asked of
    one that is known and here."""
    if file.sha256 is not None and file.bytes is not None and file.revision:
        known = Remote(file.revision, file.bytes, file.sha256)
        place = _place(downloads, file, known)
        if place.is_file() and place.stat().st_size == known.bytes:
            return known
    remote = hub.look_up(file)
    for what, ours, hubs in (
        ("commit", file.revision or None, remote.commit),
        ("SHA-256", file.sha256, remote.sha256),
        ("size", file.bytes, remote.bytes),
    ):
        if ours is not None and hubs is not None and ours != hubs:
            raise ModelError(
                f"{file.path} of {file.repository} is another file at {hub.endpoint}: its {what}"
                f" is {hubs}, and should be {ours}",
                hint="nothing was downloaded; a mirror may be wrong: unset HF_ENDPOINT",
            )
    return remote


def _place(downloads: Path, file: RemoteFile, remote: Remote) -> Path:
    """Where the file arrives. The name holds what its content is to be, so that two contents are
    never joined."""
    wanted = file.sha256 or remote.etag
    return downloads / f"{file.name}.{hashlib.sha256(wanted.encode()).hexdigest()[:16]}"


def _is_right(file: RemoteFile, remote: Remote, local: Path, sha256: str) -> bool:
    """Whether a content is the one that we know, else the one that the hub announced."""
    if wanted := file.sha256 or remote.sha256:
        return sha256 == wanted
    content = local.read_bytes() if remote.git_sha1 else b""  # large files have a SHA-256
    name = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False)
    return name.hexdigest() == remote.git_sha1


def _check_content(file: RemoteFile, remote: Remote, local: Path, sha256: str) -> None:
    if _is_right(file, remote, local, sha256):
        return
    local.unlink()
    raise ModelError(
        f"{file.path} of {file.repository} arrived with another content: its SHA-256 is {sha256},"
        f" and should be {file.sha256 or remote.sha256 or 'that of Git blob ' + remote.etag}",
        hint="it was deleted; run the same command again. If it happens again, a mirror or a proxy"
        " changes files: unset HF_ENDPOINT",
    )


def _check_space(
    description: ModelDescription,
    cached: Sequence[Arrived],
    remotes: Mapping[RemoteFile, Remote],
    downloads: Path,
) -> None:
    """Raises DiskFull unless there is room for what is still to come, and for the bundle."""
    places = {file: _place(downloads, file, remote) for file, remote in remotes.items()}
    to_come = sum(
        remote.bytes - (places[file].stat().st_size if places[file].is_file() else 0)
        for file, remote in remotes.items()
    )
    bundle = sum(r.bytes for r in remotes.values()) + sum(arrived.bytes for arrived in cached)
    free, needed = free_space(downloads), to_come + bundle + HEADROOM
    if free < needed:
        raise DiskFull(
            f"{description.id} needs {needed / 1e6:,.0f} MB while it is installed,"
            f" {free / 1e6:,.0f} MB are free",
            path=str(downloads.parent.parent),
            hint="free some space, or set XDG_CACHE_HOME to a folder on a larger disk",
        )


# --- the bundle ---------------------------------------------------------------------------------


def _install(description: ModelDescription, files: Sequence[Arrived], target: Path) -> Bundle:
    if description.origin == "export":
        downloaded = {arrived.file.path: arrived.local for arrived in files}
        return adapt(_as_it_came(description, files), downloaded, target)
    with built_beside(target) as new:
        new.mkdir()
        for arrived in files:
            shutil.copyfile(arrived.local, new / PurePosixPath(arrived.file.path).name)
        open_bundle(new).verify()
        replace(target)
    settle(target)
    return open_bundle(target)


def _as_it_came(description: ModelDescription, files: Sequence[Arrived]) -> ModelDescription:
    """The description with what the hub told: commits, sizes and digests that were not known."""
    told = (
        dataclasses.replace(
            arrived.file, revision=arrived.commit, bytes=arrived.bytes, sha256=arrived.sha256
        )
        for arrived in files
    )
    return dataclasses.replace(description, files=tuple(told))


# --- the disk -----------------------------------------------------------------------------------


@contextmanager
def _alone(downloads: Path, name: str) -> Iterator[None]:
    """Raises CollectionBusy while another process pulls the same model."""
    lock = filelock.FileLock(downloads.with_name(downloads.name + ".lock"))
    try:
        lock.acquire(blocking=False)
    except filelock.Timeout:
        raise CollectionBusy(
            f"another process is pulling {name}",
            path=lock.lock_file,
            hint="wait until it is done; what has arrived is not downloaded again",
        ) from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _disk(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        where = str(error.filename or folder)
        if error.errno in NO_ROOM:
            raise DiskFull(
                "the disk filled up while the model was installed",
                path=where,
                hint="free some space and run the same command again: what has arrived is kept",
            ) from error
        raise ModelError(
            f"the model cannot be installed: {error.strerror or error}",
            path=where,
            hint="correct the folder's permissions, or set XDG_CACHE_HOME to another",
        ) from error
