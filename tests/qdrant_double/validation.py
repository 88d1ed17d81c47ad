"""What a server refuses before it looks at a collection: JSON it cannot read, values out of range.

Words: validation_error_handler of src/actix/mod.rs, lib/collection/src/operations/validation.rs
and the derive macros' own of Qdrant v1.18.3.
"""

from __future__ import annotations

import json
from typing import Any

from qdrant_double.protocol import Json, Problem, Request

LONGEST_NAME = 255
FORBIDDEN = '<>:"/\\|?*\0\x1f'
NEEDED = {  # the fields of a body without which it cannot be read
    ("PUT", "points"): "points",
    ("POST", "points"): "ids",
    ("POST", "points/query/groups"): "group_by",
    ("PUT", "index"): "field_name",
    ("POST", "aliases"): "actions",
}
KNOWN = {  # the fields that the double heeds; others it refuses, so that no test relies on them
    "points": "ids points with_payload with_vector",
    "points/delete": "points filter",
    "points/count": "filter exact",
    "points/scroll": "limit offset filter with_payload with_vector",
    "points/query": "query limit offset filter params score_threshold with_payload with_vector",
    "points/query/groups": "query limit filter params score_threshold with_payload with_vector"
    " group_by group_size",
    "index": "field_name field_schema field_type",
}
INSIDE = {  # the structure in which a server names a field
    "points/scroll": "scroll_request.",
    "points/query/groups": "search_group_request.group_request.",
}
AT_LEAST_ONE = ("limit", "group_size")
DATATYPES = ("float32", "uint8", "float16", "turbo4")


def unreadable(words: str) -> Problem:
    return Problem(400, f"Format error in JSON body: {words}")


def invalid(where: str, *errors: str) -> Problem:
    return Problem(422, f"Validation error in {where}: [{'; '.join(errors)}]")


def check_json(raw: bytes) -> None:
    """Raises Problem for what is no JSON object."""
    if not raw:
        raise unreadable("EOF while parsing a value at line 1 column 0")
    try:
        parsed = json.loads(raw)
    except ValueError as error:
        raise unreadable(f"expected value at {str(error).rpartition(': ')[2]}") from error
    if not isinstance(parsed, dict):
        raise unreadable("invalid type: expected a map")


def check(request: Request) -> None:
    """Raises Problem for a request that is not even tried."""
    match request.route:
        case ["collections", "aliases"]:
            _check_body(request, "aliases")
        case ["collections", name]:
            _check_name(name, strictly=request.method == "PUT")
            if request.method == "PUT":
                _check_creation(request.body)
        case ["collections", name, *operation]:
            _check_name(name, strictly=False)
            _check_body(request, "/".join(operation))
    if request.query.get("timeout") == "0":
        raise Problem(
            400,
            "Deserialize error in query parameters: invalid value: integer `0`, expected a"
            " nonzero u64",
        )


def _check_name(name: str, *, strictly: bool) -> None:
    if not 1 <= len(name) <= LONGEST_NAME:
        words = f'collection_name: value "{name}" invalid, must be from 1 to 255 characters'
        raise invalid("path parameters", words)
    for character in FORBIDDEN if strictly else "/\\\0":
        if character in name:
            words = f'collection_name: collection name cannot contain "{character}" char'
            raise invalid("path parameters", words)


def _check_body(request: Request, operation: str) -> None:
    body = request.body
    if operation == "points/delete" and not {"points", "filter"} & set(body):
        raise unreadable("data did not match any variant of untagged enum PointsSelector")
    needed = NEEDED.get((request.method, operation))
    if needed is not None and needed not in body:
        if operation == "points" and request.method == "PUT":
            words = "data did not match any variant of untagged enum PointInsertOperations"
            raise unreadable(words)
        raise unreadable(f"missing field `{needed}`")
    strange = [
        name
        for name, value in body.items()
        if value is not None and name not in KNOWN.get(operation, name).split()
    ]
    if strange:
        raise Problem(501, f"the double does nothing for {strange} in {operation}")
    errors = [
        f"{INSIDE.get(operation, '')}{name}: value {body[name]} invalid, must be 1 or larger"
        for name in AT_LEAST_ONE
        if isinstance(body.get(name), int) and body[name] < 1
    ]
    if errors:
        raise invalid("JSON body", *errors)
    for point in body.get("points") or () if operation == "points" else ():
        _check_point(point)


def _check_point(point: Any) -> None:
    if not isinstance(point, dict) or not {"id", "vector"} <= set(point):
        raise unreadable("data did not match any variant of untagged enum PointInsertOperations")


def _check_creation(body: Json) -> None:
    vectors = body.get("vectors")
    if not isinstance(vectors, dict) or body.get("sharding_method") not in (None, "auto"):
        raise Problem(501, "the double knows no sparse vectors alone and no shard keys")
    for single in [vectors] if "size" in vectors else vectors.values():
        _check_vectors(single)
    for name in ("shard_number", "replication_factor", "write_consistency_factor"):
        if body.get(name) == 0:
            words = f"invalid value: integer `0`, expected a nonzero u32 at `{name}`"
            raise unreadable(words)


def _check_vectors(vectors: Any) -> None:
    if not isinstance(vectors, dict) or not {"size", "distance"} <= set(vectors):
        raise unreadable("data did not match any variant of untagged enum VectorsConfig")
    if not 1 <= vectors["size"] <= 65536:
        value = vectors["size"]
        raise invalid("JSON body", f"vectors.size: value {value} invalid, must be from 1 to 65536")
    datatype = vectors.get("datatype")
    if datatype is not None and datatype not in DATATYPES:
        raise unreadable("data did not match any variant of untagged enum VectorsConfig")
