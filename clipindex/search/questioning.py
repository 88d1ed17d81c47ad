"""Which of many pictures answer a question, by their vectors alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from clipindex.collection.questions import StandingQuestion
from clipindex.search.judging import Calibration, Sample, standing
from clipindex.stores.points import Point


@dataclass(frozen=True, slots=True)
class Answer:
    """A picture that answers a question."""

    point: Point
    score: float
    z: float | None


def answers(
    question: StandingQuestion,
    points: Sequence[Point],
    sample: Sample | None,
    calibration: Calibration | None,
) -> list[Answer] | None:
    """Those of the points that are hits. None where nobody can say: the question asks for z, or
    whether a picture fits, and the collection is too small or too uniform to tell."""
    vectors = np.array([point.vector for point in points], np.float32)
    scores = np.clip(vectors @ question.query, -1.0, 1.0)
    stands = None
    if sample is not None:
        stands = standing(question.query, question.neutral, vectors, sample)
    by_score_alone = question.min_score is not None and question.min_z is None
    if stands is None and not by_score_alone:
        return None
    hits = np.ones(len(points), bool)
    if question.min_score is not None:
        hits &= scores >= question.min_score
    if question.min_z is not None and stands is not None:
        hits &= stands.z >= question.min_z
    if question.min_score is None and question.min_z is None:
        if calibration is None or stands is None or sample is None:
            return None
        hits &= np.array([calibration.fits(float(lead), sample.points) for lead in stands.leads])
    z = [None] * len(points) if stands is None else [round(float(z), 2) for z in stands.z]
    return [
        Answer(point, round(float(score), 4), how_far)
        for point, score, how_far, is_hit in zip(points, scores, z, hits, strict=True)
        if is_hit
    ]
