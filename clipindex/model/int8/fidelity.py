"""How near an int8 tower comes to fp32, in vectors and in what a search finds.

Measured on pictures held back from calibration, and refused where it would be felt.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from clipindex.errors import Refused
from clipindex.model.encoder import Embeddings
from clipindex.model.manifest import Quantisation
from clipindex.model.onnx_graph.graph import Array

TOP = 10  # hits of a query that are compared

# ViT-B/32 with random weights, on 100 photographs: mean cosine 0.9983 with 8 bits, 0.9972 with 7,
# and 0.985 unsmoothed; smallest 0.996, 0.995, 0.958; overlaps 0.91 to 0.95, 0.89 to 0.91, 0.77.
# The bounds let through what works and stop what is broken.
SMALLEST = {
    "mean_cosine": 0.995,
    "smallest_cosine": 0.98,
    "image_overlap": 0.85,
    "text_overlap": 0.85,
}

QUERIES = """
a dog; a cat; a horse in a field; birds on a wire; a fish; an insect on a flower; a tree; a forest
in autumn; a mountain lake; the sea at sunset; a beach with people; snow; rain on a window; clouds;
a city at night; a street; a house; a bridge; a church; a castle on a hill; a train; a red car; a
bicycle against a wall; an aeroplane; a boat in a harbour; a child playing; a woman with a hat; a
man on a horse; a group of friends; a wedding; a birthday cake; a football match; a concert; food on
a plate; a cup of coffee; a bottle of wine; fruit; vegetables at a market; a bowl of soup; a book; a
laptop on a desk; a telephone; a clock; a chair; a kitchen; a garden; a painting; a black and white
photograph; a page of text; something blurred
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Those of `Quantisation` that are measured."""

    mean_cosine: float
    smallest_cosine: float
    image_overlap: float
    text_overlap: float | None  # None: there is no text tower


def queries() -> list[str]:
    """Fifty things that people look for."""
    return [query.replace("\n", " ").strip() for query in QUERIES.split(";")]


def measure_fidelity(fp32: Embeddings, int8: Embeddings, texts: Embeddings | None) -> Figures:
    """The figures of `Quantisation`, of unit vectors [count, dimension] of the same pictures, and
    of texts, where the model knows any."""
    cosines = (fp32.astype(np.float64) * int8).sum(axis=1)
    by_text = None if texts is None else overlap(texts @ fp32.T, texts @ int8.T)
    return Figures(
        mean_cosine=float(cosines.mean()),
        smallest_cosine=float(cosines.min()),
        image_overlap=overlap(_of_others(fp32), _of_others(int8)),
        text_overlap=by_text,
    )


def _of_others(vectors: Embeddings) -> Array:
    """Scores of all pairs; a picture's score with itself is no hit."""
    scores: Array = vectors @ vectors.T
    np.fill_diagonal(scores, -np.inf)
    return scores


def overlap(first: Array, second: Array) -> float:
    """The mean share of each query's best hits that both scores [queries, pictures] name."""
    best, other = (np.argsort(-scores, axis=1)[:, :TOP] for scores in (first, second))
    shared = [len(np.intersect1d(*pair)) for pair in zip(best, other, strict=True)]
    return float(np.mean(shared)) / TOP


def report(measured: Quantisation) -> str:
    """The figures in words, as they are printed."""
    texts = "" if measured.text_overlap is None else f", with texts {measured.text_overlap:.1%}"
    return (
        f"int8 with weights of {measured.weight_bits} bits, calibrated on "
        f"{measured.calibrated_on} pictures, against fp32 on {measured.compared_on} others:\n"
        f"  cosine: mean {measured.mean_cosine:.5f}, smallest {measured.smallest_cosine:.5f}\n"
        f"  the same among the first {TOP}: asked with pictures {measured.image_overlap:.1%}{texts}"
    )


def check_fidelity(figures: Figures) -> None:
    """Raises Refused for a tower whose users would find other pictures."""
    for name, least in SMALLEST.items():
        value = getattr(figures, name)
        if value is not None and not value >= least:  # written so that NaN is refused too
            raise Refused(
                f"int8 against fp32: the {name.replace('_', ' ')} {value:.4f} is below {least}",
                hint="nothing was written. Calibrate on more, or more typical pictures, or stay"
                " with the fp32 model",
            )
