"""Gives the hits of a query their z, and says which of them fit."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from clipindex.collection.contract import StoredContract
from clipindex.collection.place import Place
from clipindex.model.bundle import Bundle
from clipindex.search.background import sample_of, vectors_of
from clipindex.search.hits import Hit
from clipindex.search.judging import NEUTRAL, Calibration, calibration_for, standing
from clipindex.search.terms import Query, QueryEncoder
from clipindex.stores.points import ReadablePoints, Vector


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Judge:
    """What is needed to judge a query's hits, once its collection is open."""

    place: Place
    stored: StoredContract
    query: Query
    neutral: Vector
    calibration: Calibration | None  # None: z without a verdict

    def judged(self, hits: list[Hit], points: ReadablePoints) -> list[Hit]:
        """The hits with z and `fits`, as far as there is something to say.

        They are judged against the whole collection whatever filter there was: in a folder of
        beaches no beach stands out.
        """
        if not hits:
            return hits
        sample = sample_of(points, self.place, self.stored)
        ids = [uuid.UUID(hit.id) for hit in hits]
        stored = vectors_of(points, ids)
        if not stored.keys() >= set(ids):  # a run that writes meanwhile deleted one
            return hits
        vectors = np.array([stored[name].vector for name in ids])
        stands = standing(self.query.vector, self.neutral, vectors, sample)
        if stands is None:
            return hits
        return [
            replace(hit, z=round(float(z), 2), fits=self._fits(float(lead), sample.points))
            for hit, z, lead in zip(hits, stands.z, stands.leads, strict=True)
        ]

    def _fits(self, lead: float, points: int) -> bool | None:
        return None if self.calibration is None else self.calibration.fits(lead, points)


def neutral_of(encoder: QueryEncoder) -> Vector:
    """The mean of the neutral texts."""
    mean: Vector = encoder.encode_texts(list(NEUTRAL)).mean(axis=0)
    return mean


def judge_of(
    query: Query,
    neutral: Vector | None,
    bundle: Bundle | None,
    place: Place,
    stored: StoredContract,
) -> Judge:
    """The judge of an embedded query. `neutral` is the mean of the neutral texts, and `bundle` the
    model's; pictures alone need neither. Verdicts were measured for texts alone: what is similar
    to a picture, or less like something, has no such border."""
    subtracted = np.zeros_like(query.vector)
    if neutral is not None:
        subtracted = query.texts * neutral
    is_measured = query.is_text and bundle is not None and bundle.other_text is None
    calibration = calibration_for(bundle.manifest) if bundle and is_measured else None
    return Judge(
        place=place, stored=stored, query=query, neutral=subtracted, calibration=calibration
    )


def at_least(hits: Iterable[Hit], min_z: float | None) -> list[Hit]:
    """The hits whose z is not below `min_z`, ranked anew; what has no z stays."""
    kept = [hit for hit in hits if min_z is None or hit.z is None or hit.z >= min_z]
    return [replace(hit, rank=rank) for rank, hit in enumerate(kept, 1)]


def best_z(judged: Iterable[Hit]) -> float | None:
    """How far the best of a query's hits stands out; None where none has a z."""
    return max((hit.z for hit in judged if hit.z is not None), default=None)


def nothing_fits(judged: Sequence[Hit], shown: Sequence[Hit]) -> bool | None:
    """Whether none of a query's hits is a picture of what was asked; None: nobody can say.
    `shown`: those that are left of the judged ones."""
    if best_z(judged) is None or any(hit.fits is None for hit in shown):
        return None
    return not any(hit.fits for hit in shown)
