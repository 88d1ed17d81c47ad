"""The requests of the service, as OpenAPI describes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from clipindex.model.merged import EmbeddingType
from clipindex.serve.indexing.jobs import NAME
from clipindex.serve.openapi.schemas import (
    FLAG,
    ID,
    INTEGER,
    TAGS,
    TEXT,
    Schema,
    many,
    named,
    record,
)
from clipindex.serve.parameters import PARAMETERS, Parameter

JSON = "application/json"
FORM = "multipart/form-data"
DATA: Schema = {"type": "string", "contentEncoding": "base64"}
FILE: Schema = {"type": "string", "format": "binary"}
SEARCHES = (400, 403, 502)
SENDS = (400, 408, 413, 415, 422)

Operation = dict[str, Any]


def body(*kinds: tuple[str, Schema]) -> Operation:
    """A request's body, in any of several types."""
    return {"required": True, "content": {kind: {"schema": schema} for kind, schema in kinds}}


def answers(kind: str, schema: Schema, errors: Sequence[int], error: str = "Error") -> Operation:
    """An answer, and the errors in its place; every request may also be refused by the guard."""
    refused = {JSON: {"schema": named(error)}}
    codes = sorted({*errors, 401, 403, 421, 503})
    return {
        "200": {"description": "The answer.", "content": {kind: {"schema": schema}}},
        **{str(code): {"description": "An error.", "content": refused} for code in codes},
    }


def schema_of(parameter: Parameter) -> Schema:
    """The value of a parameter: a list of those that may be given several times."""
    schema: Schema = dict(parameter.schema)
    if parameter.default is not None:
        schema["default"] = parameter.default
    return many(schema) if parameter.many else schema


def _in_query(parameter: Parameter) -> Operation:
    return {
        "name": parameter.name,
        "in": "query",
        "description": parameter.words,
        "schema": schema_of(parameter),
    }


def _in_path(name: str, schema: Schema) -> Operation:
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _search_body(picture: Schema) -> Schema:
    """The parameters as members; a list may also be one value."""
    members: dict[str, Schema] = {"image": many(picture)}
    for name, parameter in PARAMETERS.items():
        one: Schema = dict(parameter.schema)
        members[name] = {"anyOf": [one, many(one)]} if parameter.many else one
    return record(members, *members)


def _operation(words: str, responses: Operation, **more: Any) -> Operation:
    return {"summary": words, "responses": responses, **more}


def _get(words: str, kind: str, schema: Schema, *errors: int, **more: Any) -> Operation:
    return {"get": _operation(words, answers(kind, schema, errors), **more)}


def _embeds(words: str, members: Mapping[str, Schema], *needed: str) -> Operation:
    common: dict[str, Schema] = {
        "model": TEXT,
        "encoding_format": {"enum": ["float", "base64"]},
        "dimensions": {"type": "integer", "minimum": 1},
        "user": TEXT,
        "embedding_type": {"enum": [kind.value for kind in EmbeddingType]},
        "max_length": {"type": "integer", "minimum": 1},
        "padding": {"enum": ["longest", "max_length", True, False]},
        "truncation": FLAG,
    }
    every = {**members, **common}
    schema = record(every, *(name for name in every if name not in needed))
    responses = answers(JSON, named("Embeddings"), (*SENDS, 404), "OpenAIError")
    return {"post": _operation(words, responses, requestBody=body((JSON, schema)))}


def _older(words: str, kind: str, schema: Schema) -> Operation:
    responses = answers(JSON, named("Vector"), SENDS)
    return {"post": _operation(words, responses, requestBody=body((kind, schema)))}


def _session() -> Operation:
    errors = answers(JSON, {}, ())
    del errors["200"]
    responses = {"204": {"description": "Done."}, **errors}
    return {
        "post": _operation("Take a cookie in place of a token.", responses),
        "delete": _operation("Give it up.", responses),
    }


def _index() -> Operation:
    errors = (400, 403, 404, 408, 409, 413, 415, 422, 507)
    responses = answers(JSON, named("Existing"), errors)
    job = {"description": "A job.", "content": {JSON: {"schema": named("Job")}}}
    common: dict[str, Schema] = {
        "path": TEXT,
        "id": {"type": "string", "pattern": f"^{NAME.pattern}$"},
        "tag": many(TEXT),
        "replace": FLAG,
    }
    kinds = ({"image": DATA, "tags": TAGS, **common}, {"image": FILE, **common})
    json, form = (record(members, *members) for members in kinds)
    return {
        "post": _operation(
            "Have a picture indexed: its bytes, or a file below an ingested folder.",
            {**responses, "202": job},
            requestBody=body((JSON, json), (FORM, form)),
        )
    }


PART = record({"text": TEXT, "image": DATA}, "text", "image")
INPUT: Schema = {"anyOf": [TEXT, PART]}
SIDE: Operation = {
    "name": "side",
    "in": "query",
    "description": "Pixels of the longer side.",
    "schema": INTEGER,
}

PATHS: Mapping[str, Operation] = {
    "/search": {
        "get": _operation(
            "Search by texts and indexed pictures.",
            answers(JSON, named("Results"), SEARCHES),
            parameters=[_in_query(parameter) for parameter in PARAMETERS.values()],
        ),
        "post": _operation(
            "Search by texts and pictures.",
            answers(JSON, named("Results"), (*SEARCHES, *SENDS)),
            requestBody=body((JSON, _search_body(DATA)), (FORM, _search_body(FILE))),
        ),
    },
    "/points/{id}": _get(
        "One picture.", JSON, named("Picture"), 404, parameters=[_in_path("id", ID)]
    ),
    "/original/{id}": _get("Its file.", "image/*", FILE, 404, 410, parameters=[_in_path("id", ID)]),
    "/thumb/{id}": _get(
        "A small version of it.",
        "image/*",
        FILE,
        *(400, 404, 410, 422),
        parameters=[_in_path("id", ID), SIDE],
    ),
    "/facets": _get("What there is to filter by.", JSON, named("Facets")),
    "/index": _index(),
    "/jobs/{id}": _get(
        "Where a job stands.", JSON, named("Job"), 404, parameters=[_in_path("id", ID)]
    ),
    "/session": _session(),
    "/v1/embeddings": _embeds(
        "Embed texts and pictures.", {"input": {"anyOf": [TEXT, many(INPUT)]}}, "input"
    ),
    "/v1/embeddings/multimodal": _embeds("Embed a text, a picture, or both.", PART["properties"]),
    "/v1/models": _get("The models that are loaded.", JSON, named("Models")),
    "/v1/models/{name}": {
        "get": _operation(
            "One of them.",
            answers(JSON, named("Model"), (404,), "OpenAIError"),
            parameters=[_in_path("name", TEXT)],
        )
    },
    "/embed/image": _older("Embed a picture.", JSON, record({"image": DATA})),
    "/embed/text": _older("Embed a text.", JSON, record({"text": TEXT})),
    "/embed-image": _older("Embed a file.", FORM, record({"file": FILE})),
    "/healthz": _get("The process answers.", JSON, record({"status": TEXT, "version": TEXT})),
    "/readyz": _get("The collection can be searched.", JSON, record({"status": TEXT})),
    "/metrics": _get("Counts and times, for Prometheus.", "text/plain", TEXT),
    "/openapi.json": _get("This description.", JSON, {"type": "object"}),
}
