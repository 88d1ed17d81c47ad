"""The requests that read points, one function each, and what their answers contain."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from clipindex.errors import StoreError
from clipindex.stores.filter import Filter
from clipindex.stores.payload import Payload
from clipindex.stores.points import Vector
from clipindex.stores.session import Session, path_of

NO_VECTOR: Vector = np.empty(0, np.float32)


@dataclass(frozen=True, slots=True)
class Record:
    """A point as the server answers it; the id may be another program's."""

    id: object
    payload: Payload
    vector: Vector  # empty where none was asked for


def retrieve(
    collection: str, ids: Sequence[Any], session: Session, *, agreed: bool = False
) -> list[Record]:
    """Points with vectors and payloads; `agreed`: as most of their replicas have them."""
    body = {"ids": list(map(str, ids)), "with_payload": True, "with_vector": True}
    parameters = {"consistency": "majority"} if agreed else {}
    return [_record(point) for point in session.post(_points(collection), body, **parameters)]


def groups(
    collection: str,
    vector: Vector,
    limit: int,
    only: Filter,
    params: Mapping[str, object],
    session: Session,
) -> list[tuple[str, float]]:
    """Digest and score of the best contents; their copies are found by a scroll."""
    body = {
        "group_by": "sha256",
        "query": vector.tolist(),
        "limit": limit,
        "group_size": 1,
        "filter": only.conditions(),
        "params": params or None,
        "with_payload": False,
        "with_vector": False,
    }
    answer = session.post(_points(collection, "query", "groups"), body)
    return [(str(group["id"]), float(group["hits"][0]["score"])) for group in answer["groups"]]


def scroll(
    collection: str, limit: int, offset: object, only: Filter, payload: bool, session: Session
) -> tuple[list[Record], object]:
    """A page of ids, with `payload` also payloads, and the offset of the next page."""
    body = {
        "limit": limit,
        "offset": offset,
        "filter": only.conditions(),
        "with_payload": payload,
        "with_vector": False,
    }
    answer = session.post(_points(collection, "scroll"), body)
    return [_record(point) for point in answer["points"]], answer["next_page_offset"]


def count(collection: str, only: Filter, session: Session) -> int:
    """The exact number of points."""
    body = {"filter": only.conditions(), "exact": True}
    return int(session.post(_points(collection, "count"), body)["count"])


def facet(collection: str, name: str, most: int, session: Session) -> list[tuple[Any, int]]:
    """The values of an indexed field, the most frequent first, with their exact counts."""
    answer = session.post(path_of(collection, "facet"), {"key": name, "limit": most, "exact": True})
    return [(hit["value"], int(hit["count"])) for hit in answer["hits"]]


def version(session: Session) -> str:
    """The server's version."""
    return str(session.get("/")["version"])


def parse_id(name: object, location: str) -> uuid.UUID:
    """The id of a point. Raises StoreError for one that clipindex did not write."""
    try:
        return uuid.UUID(str(name))
    except ValueError:
        raise StoreError(
            f"{location} contains a point that clipindex did not write: {name}",
            hint="use a --collection that no other program writes to",
        ) from None


def _points(collection: str, *rest: str) -> str:
    return path_of(collection, "points", *rest)


def _record(point: Mapping[str, Any]) -> Record:
    """Raises KeyError, TypeError or ValueError for what no Qdrant answers."""
    vector = point.get("vector")
    return Record(
        point["id"],
        dict(point.get("payload") or {}),
        NO_VECTOR if vector is None else np.array(vector, np.float32, ndmin=1),
    )
