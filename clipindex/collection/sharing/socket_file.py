"""The socket of a held collection: who may create it, where it lies, who may connect.

It lies in the collection's folder. Where that is impossible (the path is longer than the 107
bytes of a socket's address, or the file system has no sockets) it lies in a private folder in the
user's runtime folder or TMPDIR; the note in the lock file names it. That folder is named after user
and collection: what a killed holder leaves there the next one uses and deletes.
"""

from __future__ import annotations

import hashlib
import os
import socket
import stat
import struct
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

NAME = "sock"
PRIVATE = "clipindex-socket-"  # prefix of a folder made for one socket
BACKLOG = 128  # connections that may wait to be accepted
IS_SUPPORTED = hasattr(socket, "AF_UNIX")


class Forbidden(Exception):
    """The socket belongs to another user."""


@dataclass(frozen=True, slots=True)
class Listener:
    """A listening socket and its file."""

    socket: socket.socket
    path: Path

    def stop(self) -> None:
        """Wake the thread that accepts, and delete the file, so that nobody else connects; who has
        can still be accepted. To be called while the lock is still held: the next holder has no
        socket there yet."""
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as knock:
            knock.setblocking(False)
            knock.connect(os.fspath(self.path))
        with suppress(OSError):
            self.path.unlink()
        if self.path.parent.name.startswith(PRIVATE):
            with suppress(OSError):
                self.path.parent.rmdir()


def listen(folder: Path) -> Listener | None:
    """A socket of the collection in `folder`, for its own user alone; None where there can be
    none. To be called under the collection's lock: a socket that lies there is a dead holder's."""
    if not IS_SUPPORTED:
        return None
    with suppress(OSError):
        return _listen_at(folder.absolute() / NAME)
    for place in _runtime_folders():
        with suppress(OSError):
            private = _private_folder(place, folder)
            try:
                return _listen_at(private / NAME)
            except OSError:
                private.rmdir()
    return None


def _private_folder(place: str, folder: Path) -> Path:
    """A folder in `place` for the socket of the collection in `folder`, which only this user may
    enter. A name that somebody else has taken, or may write to, is left alone."""
    key = hashlib.sha256(os.fsencode(os.path.realpath(folder))).hexdigest()[:16]
    private = Path(place, f"{PRIVATE}{os.geteuid()}-{key}")
    try:
        private.mkdir(0o700)
    except FileExistsError:
        status = private.lstat()  # of a link itself
        is_folder = stat.S_ISDIR(status.st_mode) and stat.S_IMODE(status.st_mode) == 0o700
        if not is_folder or status.st_uid != os.geteuid():
            return Path(tempfile.mkdtemp(prefix=PRIVATE, dir=place))
    return private


def _listen_at(path: Path) -> Listener:
    with suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):  # a link or a file is somebody else's
            raise FileExistsError(path)
        path.unlink()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if sys.platform == "linux":
            os.fchmod(listener.fileno(), 0o600)  # the file is created so
            listener.bind(os.fspath(path))
        else:
            listener.bind(os.fspath(path))
            path.chmod(0o600)  # nobody can connect before `listen`
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    return Listener(listener, path)


def _runtime_folders() -> Iterator[str]:
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        yield runtime
    yield tempfile.gettempdir()
    yield "/tmp"  # where TMPDIR itself is too long


def connect(folder: Path, noted: str, timeout: float) -> socket.socket:
    """A connection to the holder of the collection in `folder`; `noted`: where its note says the
    socket is, which a container may see elsewhere.

    Raises Forbidden when the holder is another user's, OSError when nobody listens.
    """
    if not IS_SUPPORTED:
        raise ConnectionRefusedError
    last: OSError = ConnectionRefusedError()
    for path in dict.fromkeys((folder.absolute() / NAME, Path(noted))):
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            if not stat.S_ISSOCK(path.lstat().st_mode):
                raise FileNotFoundError(path)
            connection.settimeout(timeout)
            connection.connect(os.fspath(path))
            if _peer(connection) not in (None, os.geteuid(), 0, folder.stat().st_uid):
                raise PermissionError
        except PermissionError as error:
            connection.close()
            raise Forbidden from error
        except OSError as error:
            connection.close()
            last = error
            continue
        return connection
    raise last


def is_allowed(connection: socket.socket) -> bool:
    """Whether a process that connected runs as this process's user, or as root."""
    return _peer(connection) in (None, os.geteuid(), 0)


def _peer(connection: socket.socket) -> int | None:
    """The user at the other end; None where the system does not tell: there the file's own
    permissions have to do."""
    if sys.platform != "linux":
        return None
    credentials = connection.getsockopt(
        socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")
    )
    return int(struct.unpack("3i", credentials)[1])
