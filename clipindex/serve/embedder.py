"""A loaded model that embeds for many requests at once.

A picture is decoded on its own, then goes through the model with those of other requests that come
within a few milliseconds. What a vector is depends on none of them: the pixels of a picture are
those that an ingest would make.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from clipindex.errors import FileFault, ModelError
from clipindex.ingest.cores import usable_cores
from clipindex.model.averaging import encode_pictures, first_frame
from clipindex.model.encoder import Embedding, Encoder, unit_length
from clipindex.model.merged import EmbeddingType, MergedModel, Sequences
from clipindex.model.providers import CPU_BATCH
from clipindex.pictures.content import check_picture
from clipindex.pictures.decode import Pixels, decode
from clipindex.pictures.preprocessing import Preprocessing
from clipindex.pictures.size import refuse_larger
from clipindex.search.embedding import Item
from clipindex.serve.batching import Lane
from clipindex.stores.points import is_unit

TEXTS_AT_ONCE = 16  # a text alone costs up to three times as much
Errand = Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Pooling:
    """What a vision-language model is to make of a sequence."""

    kind: EmbeddingType
    sequences: Sequences


@dataclass(frozen=True, slots=True, eq=False)
class _Sequence:
    text: str | None
    pixels: Pixels | None
    pooling: Pooling


def errands(cores: int) -> Lane[Errand, Any]:
    """A lane for whatever is to be done off the event loop, decoding before all. One request
    never takes the last thread: pictures that take long are no reason for others to wait."""

    def run(batch: Sequence[Errand]) -> list[Any]:
        return [errand() for errand in batch]

    return Lane(run, name="decode", threads=cores + 1, most_of_one=cores)


class Embedder:
    """A model and the lanes to its towers."""

    def __init__(
        self,
        encoder: Encoder,
        preprocessing: Preprocessing,
        decoding: Lane[Errand, Any],
        most_pixels: int,
    ) -> None:
        """Check and load the model, so that the first request is as fast as any. Raises
        ModelError, ProviderUnavailable."""
        cores = usable_cores()
        encoder.bundle.verify()
        self.encoder = encoder
        self.preprocessing = preprocessing
        self._decoding = decoding
        self._most_pixels = most_pixels
        self.merged = encoder if isinstance(encoder, MergedModel) else None
        if encoder.bundle.manifest.image is not None:
            encoder.load(cores)
        if encoder.bundle.text_bundle.manifest.text is not None:
            encoder.read_texts(["a photo"])
            encoder.read_texts(["a photo"])  # only now the whole of its tokenizer is there
        # A processor computes on all cores, one picture on each; another device all on its own.
        threads = cores if encoder.batch == CPU_BATCH else 1
        self._pictures = Lane[Pixels, Embedding](
            self._embed_pictures, name="vision", threads=threads, batch=encoder.batch
        )
        self._texts = Lane[str, Embedding](
            self._embed_texts, name="text", threads=cores, batch=TEXTS_AT_ONCE
        )
        # One by one: filled to the length of another, a sequence has other last digits.
        self._sequences = Lane[_Sequence, Embedding](
            self._embed_sequences, name="sequence", threads=cores
        )

    @property
    def device(self) -> str:
        """What computes the vectors of pictures: `cpu`, `cuda`."""
        return self.encoder.provider_in_use.removesuffix("ExecutionProvider").lower() or "cpu"

    def close(self) -> None:
        """End the threads."""
        for lane in (self._pictures, self._texts, self._sequences):
            lane.close()

    async def embed(self, owner: object, item: Item, pooling: Pooling | None = None) -> Embedding:
        """The embedding of a text, a picture or both, for the request `owner`: the vector that
        an ingest stores for the same bytes, and a query compares.

        `pooling` is for a vision-language model; None: as its bundle says. Raises FileFault for
        what is no picture, UsageError for a text that cannot be embedded so, ModelError.
        """
        if self.merged is not None:
            pixels = None if item.picture is None else await self._decoded(owner, item.picture)
            pooling = pooling or Pooling(EmbeddingType(self.merged.spec.pooling), Sequences())
            return await self._sequences.do(owner, _Sequence(item.text, pixels, pooling))
        if item.picture is None:
            return await self._texts.do(owner, item.text or "")
        picture = await self._picture(owner, item.picture)
        if item.text is None:
            return picture
        text = await self._texts.do(owner, item.text)
        return replace(text, vector=unit_length(text.vector + picture.vector))

    async def _picture(self, owner: object, data: bytes) -> Embedding:
        with self._pictures.coming():
            pixels = await self._decoded(owner, data)
        return await self._pictures.do(owner, pixels)

    async def _decoded(self, owner: object, data: bytes) -> Pixels:
        pixels: Pixels = await self._decoding.do(owner, partial(self._pixels, data))
        return pixels

    def _pixels(self, data: bytes) -> Pixels:
        check_picture(data)
        refuse_larger(data, self._most_pixels)
        return decode(data, self.encoder.bundle.image.geometry, self.preprocessing)[0]

    def _embed_pictures(self, batch: Sequence[Pixels]) -> list[Embedding]:
        vectors = encode_pictures(self.encoder, batch)
        if not all(map(is_unit, vectors)):
            raise FileFault("the model gave no embedding")
        return list(map(Embedding, vectors))

    def _embed_texts(self, batch: Sequence[str]) -> list[Embedding]:
        return list(map(_valid, self.encoder.read_texts(list(batch))))

    def _embed_sequences(self, batch: Sequence[_Sequence]) -> list[Embedding]:
        assert self.merged is not None
        (one,) = batch
        texts = None if one.text is None else [one.text]
        pixels = None if one.pixels is None else first_frame(one.pixels)[np.newaxis]
        made = self.merged.read(texts, pixels, one.pooling.kind, one.pooling.sequences)
        return list(map(_valid, made))


def _valid(made: Embedding) -> Embedding:
    if not np.isfinite(made.vector).all():
        raise ModelError("the model gave no embedding")
    return made
