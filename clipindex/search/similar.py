"""Indexed pictures as terms of a query: by their stored vectors, so that no file is read."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import replace

from clipindex.errors import UsageError
from clipindex.files.identity import path_from_payload
from clipindex.search.terms import Query, Term, TermKind
from clipindex.stores.points import ReadablePoints


def with_vectors(terms: Sequence[Term], points: ReadablePoints) -> list[Term]:
    """The terms, those that name an indexed picture with its stored vector. Raises UsageError for
    an id that no picture has."""
    names = [id_of(str(term.value)) for term in terms if term.kind is TermKind.POINT]
    stored = iter(_stored_queries(points, names))
    return [
        replace(term, query=next(stored)) if term.kind is TermKind.POINT else term for term in terms
    ]


def _stored_queries(points: ReadablePoints, names: Sequence[uuid.UUID]) -> Iterator[Query]:
    stored = points.retrieve(names)
    for name in names:
        if name not in stored:
            raise unknown_picture(str(name))
        vector, payload = stored[name].vector, stored[name].payload
        try:
            digest, path = bytes.fromhex(str(payload["sha256"])), path_from_payload(payload)
        except (KeyError, ValueError):  # another program wrote it
            yield Query(vector)
        else:
            yield Query(vector, digest, path, contents=frozenset((digest,)))


def id_of(text: str) -> uuid.UUID:
    """A point's id. Raises UsageError for a text that is none."""
    try:
        return uuid.UUID(text)
    except ValueError:
        raise unknown_picture(text) from None


def unknown_picture(text: str) -> UsageError:
    """The error of whoever names a picture that is not in the collection."""
    return UsageError(f"no picture has the id '{text[:40]}'", hint="results name their ids")
