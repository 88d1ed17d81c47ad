"""The folder in which pictures that were sent are kept, and the queue of jobs in it.

A job is on the disk before its sender is told of it: first the bytes, then its record, which makes
it one. Both lie in a hidden folder, which no walk enters; the bytes are moved to their place when
the job's turn comes. What is left there when the service ends is taken up at its next start.
"""

from __future__ import annotations

import errno
import json
import os
import sys
import threading
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from clipindex.collection.lock import LockFile
from clipindex.errors import CollectionBusy, DiskNotMounted, UsageError
from clipindex.files.durable import disk_errors, sync_folder, write_durably
from clipindex.files.identity import is_below, resolve_root
from clipindex.index import Index
from clipindex.ingest.scope import excluded_path
from clipindex.serve.indexing.jobs import Job, State, job_from

OWN = ".clipindex"  # a hidden folder in that of the pictures
RECORD, BYTES = ".json", ".bytes"
KEPT = 10_000  # jobs that have ended and are remembered
MOST = 10_000  # jobs that wait; more are refused
IGNORE_CASE = ("win32", "darwin")

Say = Callable[[str], object]


class Inbox:
    """The jobs of one folder. Any thread may call."""

    def __init__(self, folder: Path, say: Say) -> None:
        """`folder` is absolute, its links resolved."""
        self.folder = folder
        self._jobs_folder = folder / OWN / "jobs"
        self._say = say
        self._state = threading.Condition()
        self._jobs: dict[str, Job] = {}  # the oldest first
        self._queue: deque[str] = deque()
        self._running: set[str] = set()
        self._is_closing = False

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Hold the folder alone, and take up what is left in it. Raises CollectionBusy where
        another service holds it, StoreError, DiskFull."""
        with disk_errors(self.folder, "the folder of uploads cannot be used"):
            self._jobs_folder.mkdir(parents=True, exist_ok=True)
            for folder in (self._jobs_folder, *self._jobs_folder.parents[:3]):
                sync_folder(folder)
        with closing(LockFile(self.folder / OWN / "lock")) as lock:
            if not lock.try_to_take():
                raise CollectionBusy(
                    "another service keeps its uploads in this folder",
                    path=str(self.folder),
                    hint="name another folder with --uploads",
                )
            lock.sign("serve")
            with disk_errors(self.folder, "the folder of uploads cannot be read"):
                self._load()
            yield

    def _load(self) -> None:
        jobs: list[Job] = []
        for file in sorted(self._jobs_folder.iterdir()):
            if file.suffix == RECORD:
                try:
                    jobs.append(job_from(json.loads(file.read_bytes())))
                except (OSError, ValueError, TypeError, KeyError):
                    self._say(f"the record of an upload cannot be read: {file}")
            elif not file.with_suffix(RECORD).exists():  # nobody was told of it
                file.unlink()
        jobs.sort(key=lambda job: job.number)
        self._jobs = {job.id: self._placed(job) for job in jobs}
        self._queue.extend(job.id for job in jobs if not job.has_ended)
        self._forget_old()

    def _placed(self, job: Job) -> Job:
        """A job of before, whose folder may have been moved meanwhile."""
        return replace(job, path=self.place_of(job.part, job.name)) if job.name else job

    def place_of(self, part: str, name: str) -> str:
        """The path of the picture with this id."""
        return str(self.folder / part / name)

    @property
    def waiting(self) -> int:
        """How many jobs have not ended."""
        with self._state:
            return len(self._queue) + len(self._running)

    @property
    def is_full(self) -> bool:
        """Whether so many wait that another one is refused."""
        return self.waiting >= MOST

    def job(self, name: str) -> Job | None:
        """The job with this id."""
        with self._state:
            return self._jobs.get(name)

    def latest_at(self, path: str) -> Job | None:
        """The latest job of a file."""
        wanted = _folded(path)
        with self._state:
            jobs = reversed(self._jobs.values())
            return next((job for job in jobs if _folded(job.path) == wanted), None)

    def is_folder(self, path: str) -> bool:
        """Whether a folder stands in a picture's place."""
        return Path(path).is_dir()

    def spool(self, data: bytes) -> str:
        """Put bytes on the disk, and return the id of the job that is to be theirs. Raises DiskFull
        or StoreError."""
        name = str(uuid.uuid4())
        with disk_errors(self.folder, "the picture cannot be kept"):
            write_durably(self._file(name, BYTES), data)
        return name

    def discard(self, name: str) -> None:
        """Bytes that no job came of."""
        with suppress(OSError):
            self._file(name, BYTES).unlink()

    def add(self, job: Job, expected: Job | None) -> Job | None:
        """Queue a job, on the disk too; None where the latest job of its file is no longer the one
        that is `expected`: another request was faster. Raises DiskFull or StoreError."""
        with self._state:
            if self.latest_at(job.path) is not expected:
                return None
            latest = next(reversed(self._jobs.values()), None)
            job = replace(job, number=1 if latest is None else latest.number + 1)
            with disk_errors(self.folder, "the job cannot be kept"):
                self._write(job)
            self._jobs[job.id] = job
            self._queue.append(job.id)
            self._state.notify_all()
            return job

    def wait(self) -> None:
        """Wait until there is a job to do, or the inbox closes."""
        with self._state:
            self._state.wait_for(lambda: self._queue or self._is_closing)

    def take(self, most: int) -> list[Job]:
        """The next jobs, of as many different files; none once the inbox closes."""
        with self._state:
            taken: dict[str, Job] = {}
            later: list[str] = []
            while self._queue and len(taken) < most and not self._is_closing:
                job = self._jobs[self._queue.popleft()]
                if job.path in taken:  # its turn is after the one before it
                    later.append(job.id)
                else:
                    taken[job.path] = job
            self._queue.extendleft(reversed(later))
            jobs = [replace(job, state=State.RUNNING, reason=None) for job in taken.values()]
            self._jobs.update((job.id, job) for job in jobs)
            self._running.update(job.id for job in jobs)
            return jobs

    def put_back(self, jobs: Sequence[Job], reason: str | None = None) -> None:
        """These wait again, before all others."""
        with self._state:
            for job in reversed(jobs):
                self._jobs[job.id] = replace(job, state=State.QUEUED, reason=reason)
                self._running.discard(job.id)
                self._queue.appendleft(job.id)

    def end(self, job: Job) -> None:
        """A job has ended, in whatever way."""
        job = replace(job, ended=now())
        with self._state:
            self._jobs[job.id] = job
            self._running.discard(job.id)
            try:
                self._write(job)
            except OSError as error:  # the next start does it again, and finds it done
                self._say(f"the end of an upload cannot be noted: {error.strerror}")
            self._forget_old()

    def put_in_place(self, job: Job) -> None:
        """Move the bytes of a job to where they are kept, unless they are there. Raises OSError,
        also where the folder of its part is a link, which may lead anywhere."""
        spooled, place = self._file(job.id, BYTES), Path(job.path)
        if job.sha256 is not None and spooled.exists():
            if place.parent.is_symlink():
                raise OSError(errno.ELOOP, "its folder is a link")
            if not place.parent.is_dir():
                place.parent.mkdir()
                sync_folder(self.folder)
            spooled.replace(place)
            sync_folder(place.parent)

    def close(self) -> None:
        """Let go whoever waits for jobs."""
        with self._state:
            self._is_closing = True
            self._state.notify_all()

    def _file(self, name: str, suffix: str) -> Path:
        return self._jobs_folder / f"{name}{suffix}"

    def _write(self, job: Job) -> None:
        write_durably(self._file(job.id, RECORD), json.dumps(job.record()).encode())

    def _forget_old(self) -> None:
        ended = len(self._jobs) - len(self._queue) - len(self._running)
        for job in list(self._jobs.values()) if ended > KEPT else ():
            if job.has_ended and ended > KEPT:
                ended -= 1
                del self._jobs[job.id]
                with suppress(OSError):
                    self._file(job.id, RECORD).unlink()


@contextmanager
def open_inbox(folder: Path, index: Index, say: Say) -> Iterator[Inbox]:
    """The inbox in a folder, which is created. Raises UsageError for one in the store,
    DiskNotMounted for one that is gone or empty although its pictures are indexed; and as
    `Inbox.opened`."""
    path = os.fsdecode(resolve_root(folder))
    store = os.fsdecode(excluded_path(index.place))
    if is_below(os.fsencode(path), os.fsencode(store)):
        raise UsageError(
            "uploads cannot lie in the store, which is never indexed",
            path=path,
            hint="name another folder with --uploads",
        )
    if not Path(path, OWN).is_dir() and path in index.status().roots:
        raise DiskNotMounted(
            "pictures of this folder are indexed, but it is gone or empty",
            path=path,
            hint="is the disk mounted? If it is gone for good: `clipindex forget FOLDER`",
        )
    inbox = Inbox(Path(path), say)
    with inbox.opened():
        yield inbox


def _folded(path: str) -> str:
    """The path as this system compares names."""
    return path.casefold() if sys.platform in IGNORE_CASE else path


def now() -> str:
    """The time as jobs name it."""
    return datetime.now(UTC).isoformat(timespec="seconds")
