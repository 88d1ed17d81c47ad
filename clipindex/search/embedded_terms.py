"""The terms of a query in two steps: what a model must embed, before the collection is opened and
held; then, with it open, the vectors of pictures that it has."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from clipindex.collection.contract import recipe_of
from clipindex.collection.own_bundle import bundle_for_query
from clipindex.collection.place import Located
from clipindex.model.bundle import Bundle
from clipindex.model.encoder import Encoder
from clipindex.search.judge import Judge, judge_of, neutral_of
from clipindex.search.known_pictures import KnownPicture, known_pictures, stored_queries
from clipindex.search.remembered_texts import RememberingEncoder
from clipindex.search.terms import Query, Term, combined, embed_term
from clipindex.stores.points import ReadablePoints, Vector


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EmbeddedTerms:
    """Terms, each a query of its own, but for pictures that the collection knows."""

    terms: Sequence[Term]
    located: Located
    made: Mapping[int, Query]  # by position
    known: Mapping[int, KnownPicture]  # likewise
    neutral: Vector | None  # the mean of neutral texts; None without a text among the terms
    bundle: Bundle | None  # None: no model was needed

    def query(self, points: ReadablePoints) -> Query | None:
        """The one query that they add up to. None where a known picture is another by now."""
        stored = stored_queries(points, self.known)
        if stored is None:
            return None
        by_number = {**self.made, **stored}
        return combined(self.terms, [by_number[number] for number in range(len(self.terms))])

    def judge(self, query: Query) -> Judge:
        """What judges the hits of the query."""
        place, stored = self.located.place, self.located.require()
        return judge_of(query, self.neutral, self.bundle, place, stored)


def embed_terms(
    located: Located,
    terms: Sequence[Term],
    model: str | None,
    load: Callable[[Bundle], Encoder],
    *,
    ensemble: bool = False,
    trusting: bool = True,
) -> EmbeddedTerms:
    """Embed what must be embedded; nothing at all, and without a model, where all terms are known
    pictures. With `trusting` false none is known. Raises as `find` does."""
    stored = located.require()
    known = known_pictures(located, terms) if trusting else {}
    made: dict[int, Query] = {}
    neutral = bundle = None
    if model is not None or len(known) < len(terms):
        bundle = bundle_for_query(stored, model)
        encoder, recipe = RememberingEncoder(bundle, load), recipe_of(stored.contract)
        for number, term in enumerate(terms):
            if number not in known:
                made[number] = embed_term(term, encoder, recipe, ensemble)
        if any(query.texts for query in made.values()):
            neutral = neutral_of(encoder)
    return EmbeddedTerms(
        terms=terms, located=located, made=made, known=known, neutral=neutral, bundle=bundle
    )
