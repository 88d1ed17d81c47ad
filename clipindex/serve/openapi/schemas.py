"""What requests and answers are made of, as OpenAPI describes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
NUMBER: Schema = {"type": "number"}
INTEGER: Schema = {"type": "integer"}
FLAG: Schema = {"type": "boolean"}
ANYTHING: Schema = {}
ID: Schema = {"type": "string", "format": "uuid"}


def maybe(schema: Schema) -> Schema:
    """The same, or null."""
    return {"anyOf": [schema, {"type": "null"}]}


def many(schema: Schema) -> Schema:
    """A list of them."""
    return {"type": "array", "items": schema}


def record(members: Mapping[str, Schema], *optional: str, closed: bool = True) -> Schema:
    """An object; all members but the optional ones are there. `closed`: and no others."""
    schema: Schema = {
        "type": "object",
        "properties": dict(members),
        "required": [name for name in members if name not in optional],
    }
    return schema | ({"additionalProperties": False} if closed else {})


COUNTS = many({"type": "array", "minItems": 2, "maxItems": 2})  # a value, and how many have it
TAGS: Schema = {"type": "object", "additionalProperties": TEXT}
PICTURE = {
    "id": ID,
    "path": TEXT,
    "name": maybe(TEXT),
    "paths": many(TEXT),
    "width": maybe(INTEGER),
    "height": maybe(INTEGER),
    "taken": maybe(TEXT),
    "camera": maybe(TEXT),
    "location": maybe(record({"lat": NUMBER, "lon": NUMBER})),
    "format": maybe(TEXT),
    "bytes": maybe(INTEGER),
    "orientation": maybe(TEXT),
    "sha256": maybe(TEXT),
    "tags": TAGS,
    "meta": {"type": "object"},
    "thumbnail": TEXT,
}
RESULT = {
    "rank": INTEGER,
    "similarity": {"type": "number", "minimum": -1, "maximum": 1},
    "z": maybe(NUMBER),
    "fits": maybe(FLAG),
    "group": ANYTHING,
}
SCHEMAS: Mapping[str, Schema] = {
    "Picture": record(PICTURE | dict.fromkeys(("source", "indexed_at"), maybe(TEXT))),
    "Results": record(
        {
            "results": many(record(PICTURE | RESULT)),
            "notes": many(TEXT),
            "nothing_fits": maybe(FLAG),
            "best_z": maybe(NUMBER),
            "more": FLAG,
            "seconds": NUMBER,
        }
    ),
    "Existing": record({"existing": {"$ref": "#/components/schemas/Picture"}}),
    "Job": record(
        {
            "job": ID,
            "state": {"enum": ["queued", "running", "done", "quarantined", "failed"]},
            "id": maybe(TEXT),
            "path": TEXT,
            "tags": TAGS,
            "point": maybe(ID),
            "status": maybe(TEXT),
            "reason": maybe(TEXT),
            "created": TEXT,
            "ended": maybe(TEXT),
        }
    ),
    "Facets": record(
        {
            "collection": TEXT,
            "points": INTEGER,
            "model": TEXT,
            "tags": {"type": "object", "additionalProperties": COUNTS},
            "cameras": COUNTS,
            "types": COUNTS,
            "folders": COUNTS,
            "taken": maybe(many(TEXT)),
        }
    ),
    "Error": record({"error": TEXT, "hint": maybe(TEXT)}),
    "OpenAIError": record(
        {
            "error": record(
                {"message": TEXT, "type": TEXT, "param": maybe(TEXT), "code": maybe(TEXT)}
            )
        }
    ),
    "Embeddings": record(
        {
            "object": {"const": "list"},
            "data": many(
                record(
                    {
                        "object": {"const": "embedding"},
                        "index": INTEGER,
                        "shape": many(INTEGER),
                        "embedding": {"anyOf": [many({}), TEXT]},
                    },
                    "shape",
                )
            ),
            "model": TEXT,
            "embedding_type": TEXT,
            "notes": many(TEXT),
            "usage": record({"prompt_tokens": INTEGER, "total_tokens": INTEGER}),
        },
        "embedding_type",
        "notes",
    ),
    "Model": record(
        {"id": TEXT, "object": {"const": "model"}, "dimensions": INTEGER}, closed=False
    ),
    "Models": record(
        {"object": {"const": "list"}, "data": many({"$ref": "#/components/schemas/Model"})}
    ),
    "Vector": record(
        {
            "embedding": many(NUMBER),
            "dimensions": INTEGER,
            "model": TEXT,
            "device": TEXT,
        },
        *("dimensions", "model", "device"),
    ),
}


def named(name: str) -> Schema:
    """A schema of the description, by its name."""
    assert name in SCHEMAS
    return {"$ref": f"#/components/schemas/{name}"}
