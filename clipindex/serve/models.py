"""The models of a service and the names that they answer to."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from clipindex.errors import ClipIndexError
from clipindex.ingest.cores import usable_cores
from clipindex.model.bundle import Bundle, find_bundle
from clipindex.model.encoder import Encoder
from clipindex.model.loading import open_model
from clipindex.model.manifest import Manifest
from clipindex.pictures.preprocessing import Preprocessing
from clipindex.serve.embedder import Embedder, errands
from clipindex.serve.options import ServeOptions
from clipindex.serve.problems import Problem
from clipindex.serve.threads import QueueFull

MOST_AT_ONCE = 4096  # texts and pictures of all requests that are worked on or wait
LOOK_AGAIN = 2.0  # seconds after which the collection may have been switched to another model
PATIENCE = 0.5  # seconds that a request waits for that look; then it takes the model as it was
Own = Callable[[], tuple[Encoder, Preprocessing]]


@dataclass(frozen=True, slots=True, eq=False)
class Served:
    """A model that is loaded. It answers to all of its names, and is called by the first."""

    names: tuple[str, ...]
    embedder: Embedder

    @property
    def name(self) -> str:
        """What it is called."""
        return self.names[0]

    @property
    def bundle(self) -> Bundle:
        """Its bundle."""
        return self.embedder.encoder.bundle

    @property
    def manifest(self) -> Manifest:
        """What is known of it."""
        return self.bundle.manifest


class Models:
    """The collection's own model, and those that were named beside it."""

    def __init__(self, own: Own, options: ServeOptions) -> None:
        """`own` returns the collection's model; it is asked again now and then. Raises ModelError
        where there is no model of a name."""
        self.since = int(time.time())
        self.errands = errands(usable_cores())
        self._ask_for_own = own
        self._also = {name: find_bundle(name) for name in options.models}
        self._options = options
        self._own: Embedder | None = None
        self._beside: dict[str, Embedder] = {}  # by the name as it was typed
        self._served: list[Served] = []
        self._asked = 0.0
        self._look: asyncio.Future[None] | None = None
        self._requests = 0
        self._pieces = 0

    def load(self) -> None:
        """Load all of them. Raises ModelError, StoreError where there is no collection."""
        self._look_for_own()
        self._asked = time.monotonic()
        for name, bundle in self._also.items():
            encoder = open_model(bundle, self._options.provider)
            self._beside[name] = self._embedder(encoder, Preprocessing.DCT_SCALED)
        self._served = self._by_names()

    def close(self) -> None:
        """End their threads."""
        self.errands.close()
        for served in self._served:
            served.embedder.close()

    async def all(self) -> list[Served]:
        """All models, the collection's own first. Raises Problem (503) before one is loaded."""
        is_due = not self._served or time.monotonic() > self._asked + LOOK_AGAIN
        if is_due and (self._look is None or self._look.done()):
            self._look = asyncio.ensure_future(self.errands.do(self, self._refresh))
            await asyncio.wait((self._look,), timeout=PATIENCE)
        if not self._served:
            raise Problem(503, "Model not loaded", headers={"retry-after": "1"})
        return self._served

    async def named(self, name: str = "") -> Served:
        """The model of a name; without one, the collection's own. Raises Problem (404)."""
        served = await self.all()
        for model in served:
            if not name or name in model.names:
                return model
        raise Problem(
            404,
            f"The model '{name[:200]}' does not exist here",
            f"there is {', '.join(repr(model.name) for model in served)}",
            parameter="model",
            code="model_not_found",
        )

    @contextmanager
    def places(self, count: int) -> Iterator[None]:
        """Places for a request and its texts and pictures, while they are worked on. Raises
        QueueFull; where nothing else is worked on there are always enough."""
        is_crowded = self._requests > self._options.limits.waiting
        if is_crowded or (self._requests and self._pieces + count > MOST_AT_ONCE):
            raise QueueFull
        self._requests += 1
        self._pieces += count
        try:
            yield
        finally:
            self._requests -= 1
            self._pieces -= count

    def _refresh(self) -> None:
        with suppress(ClipIndexError):  # a store that cannot be reached has the model that it had
            self._look_for_own()
        self._asked = time.monotonic()

    def _look_for_own(self) -> None:
        encoder, preprocessing = self._ask_for_own()
        before = self._own
        if before is None or (before.encoder, before.preprocessing) != (encoder, preprocessing):
            self._own = self._embedder(encoder, preprocessing)
            self._served = self._by_names()

    def _embedder(self, encoder: Encoder, preprocessing: Preprocessing) -> Embedder:
        return Embedder(encoder, preprocessing, self.errands, self._options.limits.pixels)

    def _by_names(self) -> list[Served]:
        """Each model is called as `status` calls it, unless an earlier one is; it answers to the
        name of its folder, and to what was typed, as well."""
        typed = [("", self._own), *self._beside.items()]
        taken: set[str] = set()
        served = []
        for name, embedder in typed:
            if embedder is None:
                continue
            bundle = embedder.encoder.bundle
            names = dict.fromkeys((bundle.manifest.model, bundle.folder.name, name))
            free = tuple(one for one in names if one and one not in taken)
            taken.update(free)
            if free:  # otherwise it is there already
                served.append(Served(free, embedder))
        return served
