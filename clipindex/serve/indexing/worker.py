"""The thread that has the ingest index what waits in the inbox."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from clipindex.collection.lock import is_written_by_another
from clipindex.errors import ClipIndexError
from clipindex.files.identity import display_path
from clipindex.index import Index
from clipindex.ingest.events import Event, FileDone, FolderFault, Status, Untouched
from clipindex.ingest.options import IngestOptions
from clipindex.ingest.scope import Files
from clipindex.serve.indexing.inbox import Inbox, Say
from clipindex.serve.indexing.jobs import Job, State
from clipindex.serve.indexing.parts import tags_of

AT_ONCE = 100  # jobs of one run
LONGEST = 5.0  # seconds that a run reads files: half of what another one waits for its turn
PAUSE = 0.6  # seconds between two runs, in which another process gets the collection if it waits
LOOK = 0.2  # seconds until a writer of another process is looked for again
AGAIN = 10.0  # seconds after a run that failed
OPTIONS = IngestOptions(max_seconds=LONGEST, compact=False)
STATES = {Status.QUARANTINED: State.QUARANTINED, Status.SKIPPED: State.FAILED}


class Worker:
    """Runs ingests, one after the other, of all that waits by then."""

    def __init__(self, index: Index, inbox: Inbox, say: Say) -> None:
        self._index = index
        self._inbox = inbox
        self._say = say
        self._stop = threading.Event()
        self._remembered: set[Path] = set()  # folders of uploads that `reindex` walks as well
        self._said = ""  # what goes wrong now, which is said once
        self._thread = threading.Thread(target=self._work, name="uploads", daemon=True)

    def start(self) -> None:
        """From now on jobs are done."""
        self._thread.start()

    def close(self) -> None:
        """Stop at the next file; what is not done waits for the next start."""
        self._stop.set()
        self._inbox.close()
        self._thread.join()

    def _work(self) -> None:
        while not self._stop.is_set():
            self._inbox.wait()
            if not self._wait_for_others():
                return
            jobs = self._inbox.take(AT_ONCE)
            try:
                self._run([job for job in jobs if self._is_in_place(job)])
                self._stop.wait(PAUSE)
            except Exception as error:  # the thread goes on: nothing that was accepted is lost
                self._stop.wait(self._put_back(jobs, error))

    def _put_back(self, jobs: Sequence[Job], error: Exception) -> float:
        """Have these wait; returns for how many seconds. A path may be none of the sender's, so
        only the journal names it."""
        words, path = f"unexpected {type(error).__name__}: {error}", ""
        if isinstance(error, ClipIndexError):
            words, path = error.message, error.path or ""
        left = [job for job in jobs if self._is_running(job)]
        self._complain(f"pictures wait to be indexed: {words}" + f" ({path})" * bool(path))
        self._inbox.put_back(left, words)
        return AGAIN

    def _complain(self, words: str) -> None:
        if words != self._said:
            self._said = words
            self._say(words)

    def _is_running(self, job: Job) -> bool:
        current = self._inbox.job(job.id)
        return current is not None and not current.has_ended

    def _wait_for_others(self) -> bool:
        """Wait while another process writes to the collection, which may take hours; False once
        this one is to end. To be refused would be noted as a run each time."""
        while not self._stop.is_set() and is_written_by_another(self._index.place.lock):
            self._stop.wait(LOOK)
        return not self._stop.is_set()

    def _is_in_place(self, job: Job) -> bool:
        """Whether the job's bytes are in their place now. If not, it waits, and others go on."""
        try:
            self._inbox.put_in_place(job)
        except OSError as error:
            words = f"it cannot be put into its folder: {error.strerror}"
            self._complain(f"a picture waits to be indexed: {words} ({job.path})")
            self._inbox.put_back([job], words)
            return False
        return True

    def _run(self, jobs: Sequence[Job]) -> None:
        if not jobs:
            return
        waiting = {display_path(os.fsencode(job.path)): job for job in jobs}
        files: Files = {job.path: job.tags for job in jobs}
        deferred: list[Job] = []
        with closing(self._index.ingest_events(files=files, options=OPTIONS)) as events:
            for event in events:
                for done in _files(event):
                    if done.path not in waiting:
                        continue
                    job = waiting.pop(done.path)
                    if done.status is Status.DEFERRED:
                        deferred.append(job)
                    else:
                        self._inbox.end(_ended(job, done))
                if self._stop.is_set():
                    deferred += waiting.values()
                    break
        self._inbox.put_back(deferred)
        for job in waiting.values() if not self._stop.is_set() else ():
            self._inbox.end(replace(job, state=State.FAILED, reason="it is not a regular file"))
        self._remember(jobs)
        self._said = ""

    def _remember(self, jobs: Sequence[Job]) -> None:
        """Have `reindex` walk the folders of uploads, with the tags of their part of the index."""
        sent = [Path(job.path).parent for job in jobs if job.sha256 is not None]
        for folder in {self._inbox.folder, *sent} - self._remembered if sent else ():
            if str(folder) not in self._index.status().roots:
                tags = tags_of(folder.name) if folder != self._inbox.folder else {}
                self._index.ingest([folder], OPTIONS, tags=tags)
            self._remembered.add(folder)


def _files(event: Event) -> Iterator[FileDone]:
    if isinstance(event, FileDone):
        yield event
    elif isinstance(event, Untouched):
        yield from event.files()
    elif isinstance(event, FolderFault):  # of a file that was named
        yield FileDone(path=event.path, status=Status.SKIPPED, bytes=0, reason=event.reason)


def _ended(job: Job, done: FileDone) -> Job:
    """A job with what came of it. Who sees a part of the index is not told that its picture was
    known: it may be another's."""
    is_secret = job.part and done.status is Status.DUPLICATE
    return replace(
        job,
        state=STATES.get(done.status, State.DONE),
        point=done.id,
        status=str(Status.NEW if is_secret else done.status),
        reason=done.reason,
    )
