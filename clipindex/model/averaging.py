"""Pictures to embeddings, where a picture may be an animation of several frames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from clipindex.model.encoder import Embeddings, unit_length

if TYPE_CHECKING:
    from clipindex.pictures.fitting import Pixels


class ImageEncoder(Protocol):
    """What is needed of a model."""

    def encode_images(self, pixels: Pixels) -> Embeddings: ...


def encode_pictures(encoder: ImageEncoder, pictures: Sequence[Pixels]) -> Embeddings:
    """One unit vector for each picture [size, size, 3], or for each animation [frames, size, size,
    3] the mean of its frames' vectors: float32 [len(pictures), dimension]."""
    if all(picture.ndim == 3 for picture in pictures):
        return encoder.encode_images(np.stack(pictures))
    several = [picture if picture.ndim == 4 else picture[np.newaxis] for picture in pictures]
    frames = np.concatenate(several)
    at_once = max(map(len, (pictures, *several)))
    parts = [
        encoder.encode_images(frames[start : start + at_once])
        for start in range(0, len(frames), at_once)
    ]
    ends = np.cumsum([len(each) for each in several])[:-1]
    means = [part.mean(axis=0) for part in np.split(np.concatenate(parts), ends)]
    return unit_length(np.stack(means))


def first_frame(picture: Pixels) -> Pixels:
    """[size, size, 3], for a model that reads one picture beside a text."""
    return picture[0] if picture.ndim == 4 else picture
