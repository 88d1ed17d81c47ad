"""The arguments of `embed` as items, and its results as JSON lines or as one array."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from clipindex.cli.output import Output
from clipindex.cli.query_terms import read_terms
from clipindex.errors import FileFault, UsageError
from clipindex.files.addresses import name_host
from clipindex.files.durable import write_durably
from clipindex.files.identity import display_path, resolve_root
from clipindex.files.user_folders import expand_user
from clipindex.model.bundle import Bundle
from clipindex.model.encoder import Embeddings
from clipindex.pictures.content import read_content
from clipindex.pictures.formats import HEAD, picture_format
from clipindex.search.embedding import Item
from clipindex.search.terms import Term, TermKind, check_is_file

STDIN_NAME = "standard input"


def read_items(
    words: Sequence[str], images: Sequence[str], texts: Sequence[str], *, together: bool
) -> list[Item]:
    """Each argument as an item of its own, read as `query` reads a single term; `together` makes
    one of a text and a picture. Raises UsageError."""
    terms = [read_terms([word]).terms[0] for word in words]
    terms = [
        Term(word, TermKind.TEXT) if term.weight != 1 else term  # a weight means nothing here
        for word, term in zip(words, terms, strict=True)
    ]
    if images or texts:
        terms += read_terms((), (), images, texts).terms
    if not terms:
        raise UsageError(
            "nothing to embed", hint='name texts or pictures: clipindex embed "a dog" cat.jpg'
        )
    items = [_item(term) for term in terms]
    return [_joined(items)] if together else items


def _item(term: Term) -> Item:
    value = term.value
    if isinstance(value, bytes):
        if term.kind is not TermKind.TEXT and picture_format(value[:HEAD]) is not None:
            return Item(picture=value, name=STDIN_NAME)
        return Item(text=value.decode("utf-8", "replace").strip(), name=STDIN_NAME)
    if term.kind is not TermKind.IMAGE:
        if not value.strip():
            raise UsageError("a term is an empty text", hint="name something to embed")
        return Item(text=value)
    path = resolve_root(value)
    name_host(path)
    name = display_path(path)
    check_is_file(path, name)
    try:
        return Item(picture=read_content(path).data, name=name)
    except FileFault as fault:
        raise UsageError(
            f"the picture cannot be read: {fault.reason}", path=name, hint="leave it out"
        ) from fault


def _joined(items: Sequence[Item]) -> Item:
    pictures = [item for item in items if item.picture is not None]
    texts = [item for item in items if item.text is not None]
    if (len(pictures), len(texts)) != (1, 1):
        raise UsageError(
            f"--together takes one text and one picture, not {len(texts)} and {len(pictures)}",
            hint='clipindex embed "a red car" street.jpg --together',
        )
    return Item(texts[0].text, pictures[0].picture, pictures[0].name)


def show(
    made: Iterable[tuple[Item, Embeddings]], bundle: Bundle, kind: str | None, output: Output
) -> None:
    """A JSON object a line for each item, as it is ready."""
    manifest = bundle.manifest
    merged = manifest.merged
    for item, vector in made:
        facts: dict[str, object] = {"type": "embedding", "kind": item.kind}
        facts |= {} if item.text is None else {"text": item.text}
        facts |= {} if item.picture is None else {"path": item.name}
        facts |= {"model": manifest.model, "revision": manifest.revision}
        facts |= {} if merged is None else {"embedding_type": kind or merged.pooling}
        output.record({**facts, "shape": list(vector.shape), "embedding": vector.tolist()})


def write(made: Iterable[tuple[Item, Embeddings]], path: Path, output: Output) -> None:
    """All embeddings as one float32 array, a row for each item: in one step, or not at all.

    Raises UsageError where they have different lengths, or the file cannot be written.
    """
    vectors = [vector for _, vector in made]
    if len({vector.shape for vector in vectors}) > 1:
        raise UsageError(
            "the sequences have different lengths, and one array holds only equal ones",
            hint="add --padding max_length, or leave --output out",
        )
    buffer = io.BytesIO()
    np.save(buffer, np.stack(vectors), allow_pickle=False)
    target = expand_user(path)
    try:
        write_durably(target, buffer.getvalue())
    except OSError as error:
        raise UsageError(
            f"the file cannot be written: {error.strerror or error}",
            path=os.fspath(target),
            hint="name another one with --output",
        ) from error
    shape = " x ".join(map(str, (len(vectors), *vectors[0].shape)))
    output.say(f"{target}: {shape} float32")
