"""Whether a score can say that nothing fits: several rules on queries with and without an answer.

    python -m benchmarks.scores --data DATA --cache FOLDER [--bundle models/mini]

DATA is the folder of test photographs with its training pictures. A rule is chosen, and its border
set so that 90 % of the right first hits are kept, on the validation half of the queries (by hash);
the figures are those of the other half. Prints a table for each collection, what a filter and what
other kinds of queries change, and the calibration that `search/judging.py` holds. The first run
embeds 21,000 pictures: ten minutes on two cores.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.scored_queries import Case, Data, Flags, Texts, cases
from clipindex.model.bundle import find_bundle
from clipindex.model.encoder import Embeddings, Model
from clipindex.search.background import SIZE
from clipindex.search.judging import NEUTRAL, Calibration, Sample, standing

KEPT = 0.9
Numbers = np.ndarray[tuple[int, ...], np.dtype[np.float64]]
Rule = Callable[["Found"], Numbers]


@dataclass(frozen=True, kw_only=True)
class Found:
    """The first hit of each query: what is known about it, and whether it is the right one."""

    score: Numbers
    z: Numbers
    lead: Numbers
    margin: Numbers  # over the best other picture of the sample
    points: Numbers
    is_right: Flags
    validation: Flags

    def only(self, flags: Flags) -> Found:
        """Some of the queries."""
        return Found(**{name: getattr(self, name)[flags] for name in self.__slots__})

    __slots__ = ("is_right", "lead", "margin", "points", "score", "validation", "z")


def first_hits(
    queries: Texts,
    pictures: Embeddings,
    neutral: Embeddings,
    sample: Embeddings | None = None,
    points: int | None = None,
) -> Found:
    """Judge the first hit of every query, against a sample of all pictures if none is given."""
    if sample is None:
        numbers = np.random.default_rng(1).permutation(len(pictures))[:SIZE]
        sample = pictures[numbers]
    background = Sample(sample, points or len(pictures))
    rows = []
    for query, right in zip(queries.vectors, queries.right, strict=True):
        scores = pictures @ query
        best = int(scores.argmax())
        stands = standing(query, neutral, pictures[[best]], background)
        others = (sample @ query)[~np.all(sample == pictures[best], axis=1)]
        assert stands is not None
        margin = scores[best] - others.max()
        is_right = best in right
        rows.append((scores[best], stands.z[0], stands.leads[0], margin, is_right))
    score, z, lead, margins, rightness = map(np.array, zip(*rows, strict=True))
    return Found(
        score=score,
        z=z,
        lead=lead,
        margin=margins,
        points=np.full(len(score), background.points),
        is_right=rightness,
        validation=queries.validation,
    )


@dataclass(frozen=True)
class Halves:
    """First hits of one collection."""

    present: Found
    absent: Found

    def right(self, validation: bool) -> Found:
        """Of one half, the right ones."""
        found = self.present
        return found.only(found.is_right & (found.validation == validation))

    def none(self, validation: bool) -> Found:
        """Of one half, those of queries that nothing answers."""
        return self.absent.only(self.absent.validation == validation)


def combination(halves: Sequence[Halves], facts_of: Callable[[Found], Numbers]) -> Rule:
    """A logistic regression on facts [queries, count], fitted on the validation halves. Each
    collection counts the same, and so do the queries with and those without an answer."""
    kinds = ([h.right(True) for h in halves], [h.none(True) for h in halves])
    facts = np.concatenate([facts_of(found) for kind in kinds for found in kind])
    answers = np.repeat([1.0, 0.0], [sum(len(f.score) for f in kind) for kind in kinds])
    weights = np.concatenate(
        [np.full(len(f.score), 100 / len(f.score)) for kind in kinds for f in kind]
    )
    mean, spread = facts.mean(axis=0), facts.std(axis=0)
    inputs = np.c_[(facts - mean) / spread, np.ones(len(facts))]
    solved = np.zeros(inputs.shape[1])
    for _ in range(50):  # Newton's method, with a little ridge
        share = 1 / (1 + np.exp(-inputs @ solved))
        slope = inputs.T @ (weights * (answers - share)) - 0.01 * solved
        curve = (inputs * (weights * share * (1 - share))[:, None]).T @ inputs
        solved += np.linalg.solve(curve + 0.01 * np.eye(len(solved)), slope)
    factors = solved[:-1] / spread / abs(solved[0] / spread[0])  # of the first fact: 1
    return lambda found: facts_of(found) @ factors


def leads(found: Found) -> Numbers:
    """The facts that the package decides by."""
    return np.stack([found.lead, np.log(found.points)], axis=1)


def everything(found: Found) -> Numbers:
    """All facts."""
    facts = (found.lead, found.score, found.z, found.margin, np.log(found.points))
    return np.stack(facts, axis=1)


def border(rule: Rule, right: Sequence[Found]) -> float:
    """Where a rule keeps KEPT of the right first hits, each collection counting the same."""
    values = np.concatenate([rule(found) for found in right])
    weights = np.concatenate([np.full(len(f.score), 1 / len(f.score)) for f in right])
    order = np.argsort(values)
    passed = np.cumsum(weights[order]) / weights.sum()
    return float(values[order][np.searchsorted(passed, 1 - KEPT)])


def area(right: Numbers, absent: Numbers) -> float:
    """The share of pairs in which the right hit is above the absurd one: the area under ROC."""
    return float((right[:, None] > absent[None]).mean())


def rules_for(halves: Sequence[Halves]) -> dict[str, Rule]:
    """The rules that are compared."""
    return {
        "plain cosine": lambda found: found.score,
        "z": lambda found: found.z,
        "margin over the sample's best": lambda found: found.margin,
        "lead": lambda found: found.lead,
        "lead and ln(points), as in the package": combination(halves, leads),
        "lead, score, z, margin and ln(points)": combination(halves, everything),
    }


def show(names: Sequence[str], halves: Sequence[Halves], rules: Mapping[str, Rule]) -> None:
    """A rule's border is set on each collection alone, then for all of them at once."""
    for name, rule in rules.items():
        print(f"\n{name}")
        common = border(rule, [h.right(True) for h in halves])
        for label, half in zip(names, halves, strict=True):
            right, none = rule(half.right(False)), rule(half.none(False))
            own = border(rule, [half.right(True)])
            wrong = rule(half.present.only(~half.present.is_right & ~half.present.validation))
            print(
                f"  {label:28} area {area(right, none):.3f} (validation "
                f"{area(rule(half.right(True)), rule(half.none(True))):.3f})  own border: kept "
                f"{(right >= own).mean():.1%}, refused {(none < own).mean():.1%}  common border: "
                f"kept {(right >= common).mean():.1%}, refused {(none < common).mean():.1%} "
                f"(validation {(rule(half.none(True)) < common).mean():.1%}), "
                f"wrong first hits refused {(wrong < common).mean():.1%}"
            )


def calibration(halves: Sequence[Halves]) -> Calibration:
    """The combination of lead and ln(points) with its common border, as the package holds it."""
    rule = combination(halves, leads)
    none = np.zeros(1)
    one = Found(**dict.fromkeys(Found.__slots__, none) | {"points": np.full(1, math.e)})
    growth = -float(rule(one)[0])
    base = border(rule, [h.right(True) for h in halves])
    return Calibration(base=round(base, 4), growth=round(growth, 4))


def fit_share(calibrated: Calibration, found: Found) -> float:
    """The share of first hits that fit."""
    facts = zip(found.lead, found.points, strict=True)
    return float(np.mean([calibrated.fits(float(lead), int(points)) for lead, points in facts]))


def show_filtered(
    case: Case, inside: Sequence[int], what: str, neutral: Embeddings, fitted: Calibration
) -> None:
    """A filter that leaves some pictures of a collection, asked by their own captions."""
    pictures = case.pictures[list(inside)]
    whole = case.pictures[np.random.default_rng(1).permutation(len(case.pictures))[:SIZE]]
    place = {number: index for index, number in enumerate(inside)}
    own = [n for n, right in enumerate(case.present.right) if right <= place.keys()]
    present = Texts(
        texts=[case.present.texts[n] for n in own],
        vectors=case.present.vectors[own],
        right=[{place[number] for number in case.present.right[n]} for n in own],
    )
    print(f"\nfiltered: {what}, {len(inside)} of {len(case.pictures):,}")
    for name, sample, points in (
        ("sample and points of the collection", whole, len(case.pictures)),
        ("sample of the collection, points of the filter", whole, len(inside)),
        ("sample and points of the filter", pictures[:SIZE], len(inside)),
    ):
        asked = (present, case.absent)
        halves = Halves(*(first_hits(q, pictures, neutral, sample, points) for q in asked))
        kept = fit_share(fitted, halves.right(False))
        refused = 1 - fit_share(fitted, halves.none(False))
        print(f"  {name:48} kept {kept:.1%}, refused {refused:.1%}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--bundle", default="mini")
    options = parser.parse_args()
    data = Data(options.data, Model(find_bundle(options.bundle)), options.cache)
    neutral = data.texts("neutral", NEUTRAL).mean(axis=0)
    known = cases(data)
    halves = [
        Halves(*(first_hits(q, case.pictures, neutral) for q in (case.present, case.absent)))
        for case in known
    ]
    for case, half in zip(known, halves, strict=True):
        print(
            f"{case.name}: {half.present.is_right.mean():.1%} of {len(case.present.texts):,} "
            f"first hits right; {len(case.absent.texts)} queries without an answer"
        )
    show([case.name for case in known], halves, rules_for(halves))
    fitted = calibration(halves)
    print(f"\n{fitted}")
    nouns = known[3].present
    dogs = sorted(nouns.right[nouns.texts.index("dog")])
    show_filtered(known[1], range(500), "captioned-500", neutral, fitted)
    show_filtered(known[1], dogs, "its dogs", neutral, fitted)


if __name__ == "__main__":
    main()
