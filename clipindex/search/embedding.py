"""Texts and picture files to embeddings, outside any collection."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from clipindex.errors import FileFault, ModelError, UsageError
from clipindex.model.averaging import encode_pictures, first_frame
from clipindex.model.encoder import Embeddings, Encoder, unit_length
from clipindex.pictures.preprocessing import Preprocessing

if TYPE_CHECKING:
    from clipindex.model.merged import EmbeddingType, Sequences
    from clipindex.pictures.decode import Pixels


@dataclass(frozen=True, slots=True)
class Item:
    """What gets one embedding: a text, a picture, or a picture with a text. `name` is the
    picture's, for messages and results."""

    text: str | None = None
    picture: bytes | None = None  # the content of its file
    name: str = ""

    @property
    def kind(self) -> str:
        """`text`, `picture` or `both`."""
        if self.picture is None:
            return "text"
        return "picture" if self.text is None else "both"


def embed(
    items: Sequence[Item],
    encoder: Encoder,
    preprocessing: Preprocessing,
    *,
    kind: EmbeddingType | None = None,
    sequences: Sequences | None = None,
) -> Iterator[tuple[Item, Embeddings]]:
    """Each item with its embedding, in their order: [dimension] float32 of length 1, or with the
    kind `last_layer` [tokens, dimension].

    `kind` and `sequences` are for vision-language models; by default these embed as their bundle
    says. A model with a vector for either adds those of a text and a picture, as a query does.
    Raises UsageError for a picture that cannot be read and for what the model does not have.
    """
    merged = encoder.bundle.manifest.merged is not None
    if not merged and (kind is not None or sequences is not None):
        raise UsageError(
            f"the model '{encoder.bundle.manifest.model}' has one kind of embedding: "
            "--embedding-type, --max-length, --padding and --no-truncation are for vision-language "
            "models",
            hint="leave them out, or name a vision-language model with --model",
        )
    for same, group in groupby(items, lambda item: item.kind):
        members = list(group)
        for start in range(0, len(members), encoder.batch):
            batch = members[start : start + encoder.batch]
            texts = [item.text or "" for item in batch] if same != "picture" else None
            pixels = _pixels(batch, encoder, preprocessing) if same != "text" else None
            vectors = (
                _merged(encoder, texts, pixels, kind, sequences)
                if merged
                else list(_separate(encoder, texts, pixels))
            )
            for item, vector in zip(batch, vectors, strict=True):
                if not np.isfinite(vector).all():
                    raise ModelError(f"the model returned no valid embedding for {item.name!r}")
                yield item, vector


def _merged(
    encoder: Encoder,
    texts: list[str] | None,
    pixels: list[Pixels] | None,
    kind: EmbeddingType | None,
    sequences: Sequences | None,
) -> list[Embeddings]:
    from clipindex.model.merged import EmbeddingType, MergedModel  # few have such a model

    if not isinstance(encoder, MergedModel):
        raise ModelError("an encoder of this kind cannot run a vision-language model")
    kind = kind or EmbeddingType(encoder.spec.pooling)
    stills = None if pixels is None else np.stack(list(map(first_frame, pixels)))
    return encoder.embed(texts=texts, pixels=stills, kind=kind, sequences=sequences)


def _separate(encoder: Encoder, texts: list[str] | None, pixels: list[Pixels] | None) -> Embeddings:
    sides = [] if texts is None else [encoder.encode_texts(texts)]
    sides += [] if pixels is None else [encode_pictures(encoder, pixels)]
    return sides[0] if len(sides) == 1 else unit_length(sides[0] + sides[1])


def _pixels(batch: Sequence[Item], encoder: Encoder, preprocessing: Preprocessing) -> list[Pixels]:
    from clipindex.pictures.decode import decode  # a text needs no image library

    geometry = encoder.bundle.image.geometry
    pixels = []
    for item in batch:
        try:
            pixels.append(decode(item.picture or b"", geometry, preprocessing)[0])
        except FileFault as fault:
            raise UsageError(
                f"the picture cannot be read: {fault.reason}",
                path=item.name,
                hint="leave it out; clipindex ingest puts such files into quarantine",
            ) from fault
    return pixels
