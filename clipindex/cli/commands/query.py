"""`clipindex query`."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clipindex.cli import options
from clipindex.cli.exits import ending
from clipindex.collection.names import DEFAULT_COLLECTION
from clipindex.errors import UsageError

if TYPE_CHECKING:
    from clipindex.search.terms import Term

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".tif", ".tiff", ".heic", ".avif")


def query(
    terms: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TERM",
            help="Texts, or paths of pictures; several are added. 2*dog weighs a term, - reads "
            "standard input (a text, or a picture's bytes).",
            show_default=False,
        ),
    ] = None,
    minus: Annotated[
        list[str] | None,
        typer.Option(metavar="TERM", help="Subtract a term. Repeatable.", show_default=False),
    ] = None,
    image: Annotated[
        list[str] | None,
        typer.Option(metavar="PATH", help="A picture, whatever it looks like. Repeatable."),
    ] = None,
    text: Annotated[
        list[str] | None,
        typer.Option(metavar="TEXT", help="A text, even if a file has that name. Repeatable."),
    ] = None,
    store: options.Store = None,
    url: options.Url = None,
    collection: options.Collection = DEFAULT_COLLECTION,
    model: options.Model = None,
    limit: Annotated[
        int,
        typer.Option("--limit", "-n", min=1, envvar="CLIPINDEX_QUERY_LIMIT", help="Hits to show."),
    ] = 10,
    min_score: Annotated[
        float | None,
        typer.Option(
            min=-1.0,
            max=1.0,
            envvar="CLIPINDEX_MIN_SCORE",
            help="Leave out hits below this cosine.",
            show_default=False,
        ),
    ] = None,
    under: Annotated[
        Path | None,
        typer.Option(help="Only pictures below this folder.", show_default=False),
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="Only pictures with this tag. Repeatable."),
    ] = None,
    where_not: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="Only pictures without this tag. Repeatable."),
    ] = None,
    paths: Annotated[bool, typer.Option("--paths", help="Print paths alone, one a line.")] = False,
    null: options.ZeroTerminated = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    config: options.Config = None,
) -> None:
    """Find pictures by texts and pictures: "a dog", cat.jpg, or "a dog" beach.jpg --minus people.

    Scores are cosines from -1 to 1. A text and a picture that fit it lie near 0.2 to 0.35 with
    CLIP's models, two like pictures much higher. Copies of a picture are one hit. Without a
    terminal each line is: score, tab, path.
    """
    with ending(json, quiet, verbose) as output:
        from clipindex.cli import results
        from clipindex.collection.places import place_at
        from clipindex.search.query import QueryOptions, find
        from clipindex.stores.payload import parse_tag

        if under is not None and not under.exists():
            results.print_message(
                f"note: there is no folder '{under}'; searching what was indexed below it"
            )
        wanted = _terms(terms or (), minus or (), image or (), text or ())
        place = place_at(store, options.server(url), collection, None)
        only = QueryOptions(
            limit=limit,
            min_score=min_score,
            under=under,
            where=tuple(map(parse_tag, where or ())),
            where_not=tuple(map(parse_tag, where_not or ())),
        )
        hits = find(place, wanted, only, model=model)
        if paths or null:
            results.show_paths(hits, zero=null)
        else:
            results.show_hits(hits, output)


def _terms(
    terms: Sequence[str], minus: Sequence[str], images: Sequence[str], texts: Sequence[str]
) -> list[Term]:
    """All terms of a query, weighted; `-` stands for standard input."""
    from dataclasses import replace

    from clipindex.cli import results
    from clipindex.search.terms import Term, TermKind, parse_term

    def parsed(term: str, kind: TermKind = TermKind.AUTO) -> Term:
        if term == "-":
            return Term(sys.stdin.buffer.read(), kind)
        if kind is not TermKind.AUTO:
            return Term(term, kind)
        found = parse_term(term)
        name = str(found.value)
        if not os.path.exists(name) and Path(name).suffix.lower() in PICTURE_SUFFIXES:
            results.print_message(f"note: there is no file '{name}'; searching for it as a text")
        return found

    wanted = [parsed(term) for term in terms]
    wanted += [parsed(image, TermKind.IMAGE) for image in images]
    wanted += [parsed(text, TermKind.TEXT) for text in texts]
    less = [parsed(term) for term in minus]
    wanted += [replace(term, weight=-term.weight) for term in less]
    if not wanted:
        raise UsageError("name something to search for: a text, or a picture's path")
    return wanted
