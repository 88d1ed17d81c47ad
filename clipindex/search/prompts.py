"""Sentences around a few words, for models that were trained on captions."""

from __future__ import annotations

import numpy as np

from clipindex.model.encoder import Embeddings, unit_length
from clipindex.stores.points import Vector

# Of words alone, and of the commonest forms of captions. `benchmarks/texts.py` measures them.
TEMPLATES = (
    "{}",
    "a {}",
    "a photo of {}",
    "a photo of a {}",
    "a photo of the {}",
    "a picture of a {}",
    "a close-up photo of a {}",
)
MOST_WORDS = 3  # a longer text is a sentence already


def sentences(text: str) -> list[str]:
    """A text of at most MOST_WORDS words in each of the TEMPLATES; a longer one as it is."""
    if len(text.split()) > MOST_WORDS:
        return [text]
    return [template.format(text) for template in TEMPLATES]


def mean_vector(vectors: Embeddings) -> Vector:
    """The mean of vectors [count, dimension], scaled to length 1; of one vector itself."""
    if len(vectors) == 1:
        alone: Vector = vectors[0]
        return alone
    mean: Vector = unit_length(vectors.mean(axis=0, dtype=np.float64)[np.newaxis])[0]
    return mean
