"""How far a hit stands out: its score against the query's own scores on a sample of the collection.

A cosine means something else for every text, and in every collection. So a hit is compared with
what the same query gives for pictures in general. Some pictures are near to every text (hubs): what
a picture scores on the mean of neutral texts is subtracted first, from hits and sample alike. How
far a hit then lies above the sample's mean is its *lead*; z is the lead in standard deviations.

Whether a hit fits is decided by the lead. It tells right hits from wrong ones better than z: where
a tenth of all pictures are dogs, the query "dog" has a large deviation, and no dog a large z.
`benchmarks/scores.py` compares the rules and prints the calibration.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from clipindex.model.bundle import TEXT, VISION
from clipindex.model.encoder import Embeddings
from clipindex.model.manifest import Manifest
from clipindex.stores.points import Vector

Numbers = np.ndarray[tuple[int, ...], np.dtype[np.float64]]

LEAST = 30  # pictures of a sample: with fewer a standard deviation says little
SMALLEST_SPREAD = 1e-4  # of the sample's scores: below it all pictures are the same to the query

NEUTRAL = (
    *("a photo", "a picture", "a person", "a child", "an animal", "a bird", "a fish", "a flower"),
    *("a tree", "a mountain", "the sea", "the sky", "a street", "a house", "a room", "a table"),
    *("a vehicle", "food", "a book", "a machine", "clothes", "a sport", "a sign", "the night"),
)


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Vectors [count, dimension] of different pictures of a collection, drawn without regard to
    what they show, and how many points the collection has."""

    vectors: Embeddings
    points: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """How far a hit of a text must lead to fit, for one model. The more points there are, the
    further the best wrong hit leads."""

    base: float
    growth: float  # for each step of the natural logarithm of the number of points

    def fits(self, lead: float, points: int) -> bool:
        """Whether a hit that leads by this much among so many points is one that fits."""
        return lead >= self.base + self.growth * math.log(max(points, 1))


@dataclass(frozen=True, slots=True, eq=False)
class Standing:
    """How hits stand out from the sample: `leads` [count] is how far each of them scores above its
    mean (hubs subtracted), `spread` the standard deviation there."""

    leads: Numbers
    spread: float

    @property
    def z(self) -> Numbers:
        """The leads in standard deviations."""
        return self.leads / self.spread


def standing(query: Vector, neutral: Vector, hits: Embeddings, sample: Sample) -> Standing | None:
    """How hits, whose vectors are [count, dimension], stand out. `neutral` is subtracted from the
    query: the mean of neutral texts as often as the query contains a text.

    None where the sample is too small or too uniform to say anything.
    """
    if len(sample.vectors) < LEAST:
        return None
    direction = (query.astype(np.float64) - neutral).astype(np.float32)
    scores = sample.vectors @ direction
    spread = float(scores.std(dtype=np.float64))
    if spread < SMALLEST_SPREAD:
        return None
    leads = (hits @ direction).astype(np.float64) - float(scores.mean(dtype=np.float64))
    return Standing(leads, spread)


def calibration_for(manifest: Manifest) -> Calibration | None:
    """The calibration of a model, None where it was not measured."""
    towers = [manifest.files.get(name) for name in (VISION, TEXT)]
    return CALIBRATIONS.get("-".join("" if file is None else file.sha256[:16] for file in towers))


# Beginnings of the SHA-256 of both towers -> calibration, as `benchmarks/scores.py` prints it.
CALIBRATIONS = {
    # mini 1
    "30e2b089b506f723-68ec66ed46180aa0": Calibration(base=0.1447, growth=0.0257),
}
