"""Requests and answers of embeddings in the shapes of OpenAI's API."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from clipindex.errors import FileFault
from clipindex.model.encoder import Embedding
from clipindex.model.merged import EmbeddingType, Sequences
from clipindex.search.embedding import Item
from clipindex.serve.embed_items import unreadable
from clipindex.serve.embedder import Pooling
from clipindex.serve.inline_pictures import picture_in, picture_or_none
from clipindex.serve.models import Served
from clipindex.serve.problems import Problem

MOST_INPUTS = 2048  # as OpenAI has it
LONGEST_TEXT = 100_000  # characters; no model reads more
POOLINGS = ("embedding_type", "max_length", "padding", "truncation")
COMMON = ("model", "encoding_format", "dimensions", "user", *POOLINGS)
INPUT, PARTS = ("input",), ("text", "image")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request for embeddings."""

    items: Sequence[Item]
    model: str  # empty: the collection's own
    encoding: Literal["float", "base64"]
    dimensions: int | None
    kind: EmbeddingType | None
    sequences: Sequences | None

    def pooling_of(self, served: Served) -> Pooling | None:
        """What a vision-language model is to make; None for any other. Raises Problem where the
        model cannot make what is asked for."""
        merged, name = served.embedder.merged, served.name
        dimension = served.manifest.dimension
        if self.dimensions not in (None, dimension):
            raise invalid(f"'{name}' makes vectors of {dimension} dimensions alone", "dimensions")
        if merged is None:
            for parameter, value in (("embedding_type", self.kind), ("max_length", self.sequences)):
                if value is not None:
                    raise invalid(
                        f"'{name}' makes one kind of vector: {', '.join(POOLINGS)} are for "
                        "vision-language models",
                        parameter,
                    )
            return None
        kind = self.kind or EmbeddingType(merged.spec.pooling)
        return Pooling(kind, self.sequences or Sequences())


def invalid(message: str, parameter: str | None = None, code: str | None = None) -> Problem:
    """The problem of a request that is at fault."""
    return Problem(400, message, parameter=parameter, code=code)


def asked_for_inputs(body: bytes) -> Asked:
    """The request of /v1/embeddings. Raises Problem."""
    fields = _fields(body, INPUT)
    given = fields.get("input")
    inputs = given if isinstance(given, list) else [given]
    if given is None or not inputs:
        raise invalid("There is nothing to embed: 'input' is missing or empty", "input")
    if _is_number(inputs[0]) or (isinstance(inputs[0], list) and all(map(_is_number, inputs[0]))):
        raise invalid(
            "Token numbers are not read, as each model has its own: send the text", "input"
        )
    if len(inputs) > MOST_INPUTS:
        raise invalid(f"'input' has {len(inputs)} items; the most is {MOST_INPUTS}", "input")
    names = ["input"] if inputs is not given else [f"input[{n}]" for n in range(len(inputs))]
    items = [_item(value, name) for value, name in zip(inputs, names, strict=True)]
    return _asked(fields, items)


def asked_for_parts(body: bytes) -> Asked:
    """The request of /v1/embeddings/multimodal: a text, a picture, or one vector of both. Raises
    Problem."""
    fields = _fields(body, PARTS)
    return _asked(fields, [_item_of_parts(fields, "")])


def _fields(body: bytes, own: tuple[str, ...]) -> Mapping[str, Any]:
    fields = read_json(body)
    known = (*own, *COMMON)
    for name in fields:
        if name not in known:
            what = f"There is no parameter '{name[:80]}'; there are {', '.join(known)}"
            raise invalid(what, name[:80])
    return fields


def read_json(body: bytes) -> Mapping[str, Any]:
    """The object that is the body of a request. Raises Problem."""
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        raise invalid("The body is not JSON") from None
    if not isinstance(fields, dict):
        raise invalid("The body is not a JSON object")
    return fields


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _item(value: object, name: str) -> Item:
    if isinstance(value, dict):
        for part in value:
            if part not in PARTS:
                raise invalid(f"'{name}' has no '{part[:80]}', only text and image", name)
        return _item_of_parts(value, name)
    if not isinstance(value, str):
        raise invalid(f"'{name}' is neither a text nor a picture", name)
    try:
        picture = picture_or_none(value)
    except FileFault as fault:
        raise unreadable(fault, name) from None
    return (
        Item(picture=picture, name=name)
        if picture is not None
        else Item(checked_text(value, name), name=name)
    )


def _item_of_parts(parts: Mapping[str, Any], name: str) -> Item:
    text, image = parts.get("text"), parts.get("image")
    if text is None and image is None:
        raise invalid("There is nothing to embed: send text, image or both", name or "text")
    text = None if text is None else checked_text(text, f"{name}.text".lstrip("."))
    return Item(text, None if image is None else _picture(image, f"{name}.image".lstrip(".")), name)


def checked_text(value: object, name: str) -> str:
    """A text that may be embedded. Raises Problem."""
    if not isinstance(value, str):
        raise invalid(f"'{name}' is no text", name)
    if not value.strip():
        raise invalid(f"'{name}' is an empty text", name)
    if len(value) > LONGEST_TEXT:
        raise invalid(f"'{name}' has {len(value)} characters; the most is {LONGEST_TEXT}", name)
    return value


def _picture(value: object, name: str) -> bytes:
    if not isinstance(value, str):
        raise invalid(f"'{name}' is no picture: send base64 or a data URL", name)
    try:
        return picture_in(value)
    except FileFault as fault:
        raise unreadable(fault, name) from None


def _asked(fields: Mapping[str, Any], items: Sequence[Item]) -> Asked:
    model = fields.get("model") or ""
    if not isinstance(model, str):
        raise invalid("'model' is no name", "model")
    kind = _choice(fields, "embedding_type", *EmbeddingType)
    return Asked(
        items=items,
        model=model,
        encoding=_choice(fields, "encoding_format", "float", "base64") or "float",
        dimensions=_number(fields, "dimensions"),
        kind=None if kind is None else EmbeddingType(kind),
        sequences=_sequences(fields),
    )


def _sequences(fields: Mapping[str, Any]) -> Sequences | None:
    """None where nothing was asked for. As in Hugging Face's libraries, `padding` may be true or
    false as well: neither fills a sequence beyond the longest of its batch."""
    length, truncation = _number(fields, "max_length"), _choice(fields, "truncation", True, False)
    padding = _choice(fields, "padding", "longest", "max_length", True, False)
    if length is None and truncation is None and padding is None:
        return None
    return Sequences(
        max_length=length,
        truncation=truncation is not False,
        padding="max_length" if padding == "max_length" else "longest",
    )


def _choice(fields: Mapping[str, Any], name: str, *choices: str | bool) -> Any:
    value = fields.get(name)
    if value is None or (value in choices and isinstance(value, str | bool)):  # 1 == True
        return value
    known = ", ".join(json.dumps(choice) for choice in choices)
    raise invalid(f"'{name}' is {json.dumps(value)[:80]}; it can be {known}", name)


def _number(fields: Mapping[str, Any], name: str) -> int | None:
    value = fields.get(name)
    if value is None or (_is_number(value) and 0 < value < 1 << 31):
        return value
    raise invalid(f"'{name}' is {json.dumps(value)[:80]}, not a number above 0", name)


def answer(
    asked: Asked, served: Served, pooling: Pooling | None, made: Sequence[Embedding]
) -> bytes:
    """The answer as JSON. Made piece by piece: one call for a million numbers would keep every
    other thread waiting."""
    is_states = pooling is not None and pooling.kind is EmbeddingType.LAST_LAYER
    data = []
    for number, one in enumerate(made):
        entry = {"object": "embedding", "index": number}
        if is_states:
            entry["shape"] = list(one.vector.shape)
        data.append(json.dumps({**entry, "embedding": _encoded(one, asked.encoding)}))
    tokens = sum(one.tokens for one in made)
    rest: dict[str, Any] = {"model": served.name}
    if pooling is not None:
        rest["embedding_type"] = pooling.kind.value
    notes = [f"input {number}: {one.cut}" for number, one in enumerate(made) if one.cut]
    rest |= {"notes": notes} if notes else {}
    rest["usage"] = {"prompt_tokens": tokens, "total_tokens": tokens}
    return f'{{"object": "list", "data": [{", ".join(data)}], {json.dumps(rest)[1:]}'.encode()


def _encoded(made: Embedding, encoding: str) -> Any:
    """float32 as numbers, or as base64 of their bytes, least significant first."""
    if encoding == "float":
        return made.vector.tolist()
    return base64.b64encode(made.vector.astype("<f4").tobytes()).decode()


def described(served: Served, since: int) -> dict[str, Any]:
    """A model, as /v1/models lists it."""
    manifest, merged = served.manifest, served.embedder.merged
    sides = {"text": served.bundle.text_bundle.manifest.text, "image": manifest.image}
    entry = {
        "id": served.name,
        "object": "model",
        "created": since,
        "owned_by": "clipindex",
        # Where a folder lies on this machine is nobody's business.
        "aliases": [name for name in served.names[1:] if not {"/", "\\"} & set(name)],
        "revision": manifest.revision,
        "precision": manifest.precision,
        "dimensions": manifest.dimension,
        "inputs": [side for side, spec in sides.items() if spec is not None],
        "device": served.embedder.device,
        "preprocessing": served.embedder.preprocessing.value,
    }
    if merged is None:
        return entry
    kinds = {"embedding_types": list(EmbeddingType), "embedding_type": merged.spec.pooling}
    return {**entry, **kinds, "max_length": merged.spec.max_length}
