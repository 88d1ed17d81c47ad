"""The vectors of texts that were asked before: a repeated query loads no model.

A file holds the vectors of the texts of one call, and is named by the digest of everything that
decides them: the manifest of the bundle with the text tower, which names the digest of each of its
files, and the texts.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from clipindex.errors import ClipIndexWarning
from clipindex.files.private_cache import PrivateCache
from clipindex.model.bundle import Bundle
from clipindex.model.encoder import Embeddings, Encoder
from clipindex.stores.points import is_unit

if TYPE_CHECKING:
    from clipindex.pictures.decode import Pixels

CACHE = PrivateCache("texts", most=1000)  # 2 kB each for one text of 512 numbers
VERSION = 1  # of what a file holds, and of how texts become vectors outside of the model's files


@dataclass(slots=True)
class RememberingEncoder:
    """The model of a query. It is loaded for a picture, and for a text that is not remembered."""

    bundle: Bundle
    load: Callable[[Bundle], Encoder]
    _loaded: Encoder | None = field(default=None, init=False)

    def encode_images(self, pixels: Pixels) -> Embeddings:
        """As `Encoder.encode_images`."""
        return self._encoder().encode_images(pixels)

    def encode_texts(self, texts: list[str]) -> Embeddings:
        """As `Encoder.encode_texts`; a text that is cut is warned of each time."""
        key = _key(self.bundle, texts)
        remembered = _read(CACHE.get(key), len(texts), self.bundle.manifest.dimension)
        if remembered is None:
            vectors, cuts = self._encoder().embed_texts(texts)
            if all(map(is_unit, vectors)):
                CACHE.put(key, _written(vectors, cuts))
        else:
            vectors, cuts = remembered
        for cut in cuts:
            warnings.warn(cut, ClipIndexWarning, stacklevel=2)
        return vectors

    def _encoder(self) -> Encoder:
        if self._loaded is None:
            self._loaded = self.load(self.bundle)
        return self._loaded


def _key(bundle: Bundle, texts: list[str]) -> str:
    facts = json.dumps([VERSION, bundle.text_bundle.manifest.to_json(), texts])
    return hashlib.sha256(facts.encode()).hexdigest()


def _written(vectors: Embeddings, cuts: list[str]) -> bytes:
    """A line of JSON, then the vectors as little-endian float32."""
    return json.dumps(cuts).encode() + b"\n" + vectors.astype("<f4").tobytes()


def _read(data: bytes | None, count: int, dimension: int) -> tuple[Embeddings, list[str]] | None:
    """The inverse of `_written`; None for anything else."""
    if data is None:
        return None
    line, _, numbers = data.partition(b"\n")
    if len(numbers) != 4 * count * dimension:
        return None
    vectors = np.frombuffer(numbers, "<f4").astype(np.float32).reshape(count, dimension)
    try:
        cuts = [str(cut) for cut in json.loads(line)]
    except (ValueError, TypeError):
        return None
    return (vectors, cuts) if all(map(is_unit, vectors)) else None
