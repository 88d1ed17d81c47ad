"""The Hugging Face hub: what it says of a file, and the file's bytes.

What its users know holds here as well: HF_ENDPOINT names a mirror, HF_TOKEN or `hf auth login` a
token, HF_HUB_OFFLINE forbids the network, and a file in its cache is not downloaded again. That is
`huggingface_hub`'s, of which this is the only door. The bytes we fetch ourselves: an interrupted
download of its version 2 begins anew, and here it goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from clipindex.errors import ModelError, UsageError
from clipindex.model.hub_requests import (
    ATTEMPTS,
    WAYS_OUT,
    WORTH_ANOTHER_TRY,
    Interrupted,
    Requests,
    in_words,
    pause,
)
from clipindex.model.imports import guarded_import
from clipindex.model.registry import RemoteFile

with guarded_import():
    from huggingface_hub import constants, get_token, try_to_load_from_cache

CHUNK = 1 << 20  # bytes read at a time

Moved = Callable[[int], object]  # takes the number of bytes of a file that are here


@dataclass(frozen=True, slots=True)
class Remote:
    """What the hub says of a file. Its etag is the content's SHA-256 for large files, Git's SHA-1
    for small ones; a mirror may give another one, which says nothing about the content."""

    commit: str
    bytes: int
    etag: str

    @property
    def sha256(self) -> str | None:
        """The content's SHA-256, where the etag is one."""
        return self.etag if re.fullmatch("[0-9a-f]{64}", self.etag) else None

    @property
    def git_sha1(self) -> str | None:
        """Git's name of the content, where the etag is one."""
        return self.etag if re.fullmatch("[0-9a-f]{40}", self.etag) else None


class Partial:
    """A file that arrives: bytes are appended and hashed as they come."""

    def __init__(self, file: IO[bytes]) -> None:
        """Hash what an earlier call left in the file. Raises OSError."""
        self._file = file
        self._digest = hashlib.sha256()
        self.size = 0
        file.seek(0)
        while chunk := file.read(CHUNK):
            self._digest.update(chunk)
            self.size += len(chunk)

    def add(self, chunk: bytes) -> None:
        """Append bytes. Raises OSError."""
        self._file.write(chunk)
        self._digest.update(chunk)
        self.size += len(chunk)

    def empty(self) -> None:
        """Begin again. Raises OSError."""
        self._file.seek(0)
        self._file.truncate()
        self._digest = hashlib.sha256()
        self.size = 0

    @property
    def sha256(self) -> str:
        """The digest of all that is there."""
        return self._digest.hexdigest()


class Hub:
    """A conversation with the hub, or with the mirror that HF_ENDPOINT names."""

    def __init__(self) -> None:
        """Raises UsageError when HF_ENDPOINT is no URL."""
        self.endpoint: str = constants.ENDPOINT.rstrip("/")
        where = urlsplit(self.endpoint)
        if where.scheme not in ("http", "https") or not where.hostname:
            raise UsageError(
                f"HF_ENDPOINT is no URL: {self.endpoint}", hint="such as https://mirror.example"
            )
        self._requests = Requests(self.endpoint, get_token(), constants.HF_HUB_DOWNLOAD_TIMEOUT)

    def close(self) -> None:
        """Close its connections."""
        self._requests.close()

    def cached(self, file: RemoteFile) -> tuple[Path, Remote] | None:
        """The file in the hub's own cache, where another program put it; only a pinned one. The
        cache calls a content by its etag, and links to it. Raises OSError."""
        if not file.revision:
            return None
        where = try_to_load_from_cache(
            file.repository, file.path, constants.HF_HUB_CACHE, revision=file.revision
        )
        if not isinstance(where, str):
            return None
        local = Path(where).resolve()
        return local, Remote(file.revision, local.stat().st_size, local.name)

    def look_up(self, file: RemoteFile) -> Remote:
        """Ask about a file, without its bytes. Raises ModelError."""
        self._check_online(file)
        with in_words(file, self.endpoint):
            said = self._requests.head(self._url(file, file.revision))
        etag = (said.get("x-linked-etag") or said.get("etag") or "").removeprefix("W/").strip('"')
        commit = said.get("x-repo-commit", "")
        size = said.get("x-linked-size") or said.get("content-length") or ""
        if not commit or not etag or not size.isdecimal():
            raise ModelError(
                f"what answers at {self.endpoint} is no hub: it does not say which commit, size and"
                f" content {file.path} has",
                hint="correct HF_ENDPOINT; or a proxy or a login page of the network is in between",
            )
        return Remote(commit, int(size), etag)

    def download(self, file: RemoteFile, remote: Remote, target: Path, moved: Moved) -> str:
        """Append to `target` what it lacks of a file; returns the SHA-256 of all of it.

        What has arrived stays whatever happens, and the next call goes on from there. Raises
        ModelError; OSError for the disk.
        """
        with open(target, "ab+") as opened, in_words(file, self.endpoint):
            partial = Partial(opened)
            moved(partial.size)
            best, failed = partial.size, 0
            while partial.size != remote.bytes:
                try:
                    self._append(file, remote, partial, moved)
                except WORTH_ANOTHER_TRY:
                    failed = 0 if partial.size > best else failed + 1
                    if failed == ATTEMPTS:
                        raise
                    best = max(best, partial.size)
                    pause(failed)
            return partial.sha256

    def _append(self, file: RemoteFile, remote: Remote, partial: Partial, moved: Moved) -> None:
        self._check_online(file)
        if partial.size > remote.bytes:
            partial.empty()
        for chunk in self._requests.bytes_from(self._url(file, remote.commit), partial.size):
            if chunk is None:
                partial.empty()
            else:
                partial.add(chunk)
            moved(partial.size)
            if partial.size > remote.bytes:
                break
        if partial.size != remote.bytes:
            raise Interrupted(f"{file.path} ended after {partial.size:,} of {remote.bytes:,} bytes")

    def _url(self, file: RemoteFile, revision: str) -> str:
        return f"{self.endpoint}/{file.repository}/resolve/{revision or 'main'}/{file.path}"

    def _check_online(self, file: RemoteFile) -> None:
        if constants.HF_HUB_OFFLINE:
            raise ModelError(
                f"HF_HUB_OFFLINE forbids the network, and {file.path} of {file.repository} is not"
                " in the hub's cache",
                hint=f"unset HF_HUB_OFFLINE; {WAYS_OUT}",
            )
