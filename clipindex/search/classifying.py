"""Labels for pictures without training: each picture gets the label whose text is nearest to it,
unless no label stands out.

The nearest is decided by the score. Whether it stands out is judged as the hits of a query are (see
`judging`): by how far the score lies above what the label scores on the collection's pictures in
general. The best wrong label of many leads the further, the more there are, as the best wrong hit
of many pictures does; so the number of labels takes the place of the number of points.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from clipindex.errors import UsageError
from clipindex.model.encoder import Embeddings
from clipindex.search.judge import neutral_of
from clipindex.search.judging import LEAST, SMALLEST_SPREAD, Calibration, Numbers, Sample
from clipindex.search.prompts import mean_vector, sentences
from clipindex.search.terms import QueryEncoder

MOST_LABELS = 10_000


@dataclass(frozen=True, slots=True)
class Label:
    """A label, and the text that is embedded for it."""

    name: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """A picture's nearest label. `fits`: whether it stands out; None: nobody can say."""

    label: str
    score: float
    z: float | None
    fits: bool | None


def parse_labels(text: str) -> list[Label]:
    """A label on each line, `LABEL` or `LABEL: the text to embed`. Raises UsageError for none, for
    one that is there twice, and for a file that is no such list."""
    labels: dict[str, Label] = {}
    for number, line in enumerate(text.splitlines(), 1):
        name, colon, prompt = (part.strip() for part in line.partition(":"))
        if not name and not colon:
            continue
        if not name or (colon and not prompt) or "\0" in line:
            raise UsageError(f"line {number} of the labels is neither LABEL nor LABEL: TEXT")
        if name in labels:
            raise UsageError(f"the label '{name}' is there twice (line {number})")
        labels[name] = Label(name, prompt or name)
    if not 1 <= len(labels) <= MOST_LABELS:
        raise UsageError(f"{len(labels):,} labels, where 1 to {MOST_LABELS:,} are expected")
    return list(labels.values())


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Classifier:
    """Labels as vectors, and what they score in the collection."""

    labels: Sequence[Label]
    queries: Embeddings  # [labels, dimension]
    neutral: Embeddings  # [dimension]
    means: Numbers | None  # [labels]; None: too few pictures, or too uniform, to judge by
    spreads: Numbers | None
    calibration: Calibration | None

    def classify(self, vectors: Embeddings) -> list[Labelled]:
        """The nearest label of each vector [count, dimension]."""
        scores = vectors @ self.queries.T
        best = scores.argmax(axis=1)
        rows = np.arange(len(vectors))
        leads: list[float | None] = [None] * len(vectors)
        z: list[float | None] = [None] * len(vectors)
        if self.means is not None and self.spreads is not None:
            ahead = scores[rows, best] - vectors @ self.neutral - self.means[best]
            leads = ahead.tolist()
            z = (ahead / self.spreads[best]).round(2).tolist()
        return [
            Labelled(
                label=self.labels[number].name,
                score=round(float(np.clip(score, -1.0, 1.0)), 4),
                z=how_far,
                fits=None if lead is None else self._fits(lead),
            )
            for number, score, lead, how_far in zip(best, scores[rows, best], leads, z, strict=True)
        ]

    def _fits(self, lead: float) -> bool | None:
        return None if self.calibration is None else self.calibration.fits(lead, len(self.labels))


def classifier(
    labels: Sequence[Label],
    encoder: QueryEncoder,
    sample: Sample,
    calibration: Calibration | None,
    *,
    ensemble: bool = False,
) -> Classifier:
    """Embed the labels, and measure them on a sample of the collection. With `ensemble` a text of
    a few words is put into several sentences."""
    if ensemble:
        made = [mean_vector(encoder.encode_texts(sentences(label.text))) for label in labels]
        queries = np.stack(made)
    else:
        queries = encoder.encode_texts([label.text for label in labels])
    neutral = neutral_of(encoder)
    means = spreads = None
    if len(sample.vectors) >= LEAST:
        scores = (sample.vectors @ (queries - neutral).T).astype(np.float64)
        means, spreads = scores.mean(axis=0), scores.std(axis=0)
        if float(spreads.min()) < SMALLEST_SPREAD:
            means = spreads = None
    return Classifier(
        labels=labels,
        queries=queries,
        neutral=neutral,
        means=means,
        spreads=spreads,
        calibration=calibration,
    )
