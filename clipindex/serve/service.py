"""What the handlers of a service share: the index, kept open, and the threads that work on it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self, TypeVar

from starlette.requests import HTTPConnection

from clipindex.index import Index
from clipindex.ingest.cores import usable_cores
from clipindex.serve.fresh import Fresh
from clipindex.serve.indexing.accepting import Accepting
from clipindex.serve.indexing.inbox import Inbox, open_inbox
from clipindex.serve.indexing.worker import Worker
from clipindex.serve.journal import Journal, Say
from clipindex.serve.models import Models
from clipindex.serve.notes import hearing
from clipindex.serve.options import ServeOptions
from clipindex.serve.threads import Threads

T = TypeVar("T")
FACETS_KEEP = 5.0  # seconds
log = logging.getLogger(__name__)


class Service:
    """An index that is kept open while it lasts, and two groups of threads: whoever sends
    pictures that take long to decode holds up no search by words."""

    def __init__(self, index: Index, options: ServeOptions, say: Say = log.info) -> None:
        """`say` takes the lines of the journal; by default they are logged."""
        self.index = index
        self.journal = Journal(say)
        self.options = options
        cores, waiting = usable_cores(), options.limits.waiting
        self._searches = Threads("search", cores + 2, waiting)
        self._pictures = Threads("pictures", max(1, cores // 2), waiting)
        self.models = Models(index.encoder, options)
        self.facets: Fresh[dict[str, Any]] = Fresh(FACETS_KEEP)
        self.inbox: Inbox | None = None  # where pictures that are sent are kept
        self.accepting: Accepting | None = None
        self._resources = ExitStack()

    def __enter__(self) -> Self:
        """Open the collection and load its model, so that the first request is as fast as any.

        Raises StoreError where there is no collection, and as its opening and its model do.
        """
        with ExitStack() as resources:
            resources.enter_context(hearing())
            resources.enter_context(self.index)
            self.models.load()
            if self.options.uploads is not None:
                self._take_uploads(self.options.uploads, resources)
            self._resources = resources.pop_all()
        return self

    def _take_uploads(self, folder: Path, resources: ExitStack) -> None:
        inbox = resources.enter_context(open_inbox(folder, self.index, self.journal.say))
        worker = Worker(self.index, inbox, self.journal.say)
        pixels, guarded = self.options.limits.pixels, self.options.tokens.keys
        self.inbox, self.accepting = inbox, Accepting(self.index, inbox, pixels, guarded)
        worker.start()
        resources.callback(worker.close)

    def __exit__(self, *_: object) -> None:
        """Close the collection once the requests in hand are done with it."""
        self._searches.close()
        self._pictures.close()
        self.models.close()
        self._resources.close()

    async def search(self, function: Callable[..., T], *args: Any) -> T:
        """Run what asks the index. Raises QueueFull."""
        return await self._searches.run(function, *args)

    async def handle_picture(self, function: Callable[..., T], *args: Any) -> T:
        """Run what decodes a picture. Raises QueueFull."""
        return await self._pictures.run(function, *args)

    def in_hand(self) -> dict[str, int]:
        """How many functions run or wait, of each group of threads."""
        uploads = {} if self.inbox is None else {"uploads": self.inbox.waiting}
        return {"search": self._searches.taken, "pictures": self._pictures.taken, **uploads}


def service_of(request: HTTPConnection) -> Service:
    """The service that a request came to."""
    service = request.app.state.service
    assert isinstance(service, Service)
    return service
