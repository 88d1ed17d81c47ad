"""What every method of an index works on: the place of a collection, and the model, once loaded."""

from __future__ import annotations

import threading

from clipindex.collection.opening import Settings
from clipindex.collection.place import Place
from clipindex.model.bundle import Bundle
from clipindex.model.encoder import Encoder
from clipindex.model.loading import open_model
from clipindex.model.providers import Provider


class Held:
    """A collection's place, the settings of its model, and the model itself after its first use."""

    def __init__(self, place: Place, settings: Settings, provider: Provider) -> None:
        self.place = place
        self._settings = settings
        self._provider = provider
        self._model: Encoder | None = None
        self._loading = threading.Lock()

    def _loaded(self, bundle: Bundle) -> Encoder:
        with self._loading:
            if self._model is None or self._model.bundle != bundle:
                self._model = open_model(bundle, self._provider)
            return self._model
