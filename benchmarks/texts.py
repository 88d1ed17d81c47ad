"""Whether putting a few words into sentences finds more: the templates of `search/prompts.py`.

    python -m benchmarks.texts --data DATA --cache FOLDER [--bundle models/mini]

Single nouns ask captioned-500 (right is a picture with the noun in a caption: mean average
precision, with the standard error of the difference to the words alone), names ask photos, and
whole captions ask captioned-500, although `--ensemble` leaves sentences alone: this says why.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from benchmarks.scored_queries import Data, Texts, cases
from clipindex.model.bundle import find_bundle
from clipindex.model.encoder import Embeddings, Model
from clipindex.search.prompts import TEMPLATES, mean_vector

Numbers = np.ndarray[tuple[int, ...], np.dtype[np.float64]]
SETS: dict[str, tuple[str, ...]] = {
    "the words alone": ("{}",),
    "a photo of a {}": ("a photo of a {}",),
    "--ensemble": TEMPLATES,
}


def average_precision(queries: Texts, vectors: Embeddings, pictures: Embeddings) -> Numbers:
    """Of each query [count]: the mean, over its right pictures, of the precision at their ranks."""
    values = []
    for vector, right in zip(vectors, queries.right, strict=True):
        order = np.argsort(-(pictures @ vector), kind="stable")
        ranks = np.flatnonzero(np.isin(order, list(right))) + 1
        values.append(np.mean(np.arange(1, len(ranks) + 1) / ranks))
    return np.array(values)


def embedded(texts: Sequence[str], templates: Sequence[str], model: Model) -> Embeddings:
    """Each text in all templates, as `--ensemble` embeds it."""
    return np.stack(
        [mean_vector(model.encode_texts([t.format(text) for t in templates])) for text in texts]
    )


def show(name: str, queries: Texts, pictures: Embeddings, embed: Callable[..., Embeddings]) -> None:
    """A line for each set of templates."""
    alone: Numbers | None = None
    for label, templates in SETS.items():
        found = average_precision(queries, embed(queries.texts, templates), pictures)
        alone = found if alone is None else alone
        gain = found - alone
        error = gain.std() / len(gain) ** 0.5
        print(f"{name:9} {label:16} {found.mean():.4f} ({gain.mean():+.4f} ± {error:.4f})")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--bundle", default="mini")
    options = parser.parse_args()
    model = Model(find_bundle(options.bundle))
    captions, _, _, nouns, photos = cases(Data(options.data, model, options.cache))
    first = slice(None, None, 5)
    asked = captions.present
    some = Texts(texts=asked.texts[first], vectors=asked.vectors[first], right=asked.right[first])

    def embed(texts: Sequence[str], templates: Sequence[str]) -> Embeddings:
        return embedded([text.rstrip(".") for text in texts], templates, model)

    show("nouns", nouns.present, nouns.pictures, embed)
    show("names", photos.present, photos.pictures, embed)
    show("captions", some, captions.pictures, embed)


if __name__ == "__main__":
    main()
