"""`clipindex query`."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Annotated

import typer

from clipindex.cli import options
from clipindex.cli.filter_options import WHICH, PictureOptions, picture_filter
from clipindex.cli.hit_options import MOST_HITS, HitOptions
from clipindex.cli.results import remarks
from clipindex.cli.session import Session, command
from clipindex.errors import UsageError
from clipindex.files.addresses import is_address

SEARCH = "What to search for"


@command(
    without=("source",),
    rivals=(
        ("json", "paths"),
        ("json", "null"),
        ("exact", "approximate"),
        *product(("json", "paths", "null"), ("show",)),
    ),
    groups=(PictureOptions, HitOptions),
)
def query(
    session: Session,
    terms: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[TERM]...",
            help="A text, or the path of a picture. Words without quotes are one text. Several "
            "terms are added; 2*TERM counts twice. '-' reads a text or a picture's bytes from "
            "standard input.",
            show_default=False,
            rich_help_panel=SEARCH,
        ),
    ] = None,
    minus: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TERM",
            help="Subtract this text or picture. Repeatable.",
            show_default=False,
            rich_help_panel=SEARCH,
        ),
    ] = None,
    image: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATH",
            help="A picture, whatever its name looks like. Repeatable.",
            show_default=False,
            rich_help_panel=SEARCH,
        ),
    ] = None,
    text: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TEXT",
            help="A text, even if a file has that name. Repeatable.",
            show_default=False,
            rich_help_panel=SEARCH,
        ),
    ] = None,
    batch: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE|-",
            help="Answer many queries, one a line: a text, the path of a picture, or a JSON object "
            "with text, image, minus, limit and id. Prints a JSON object for each.",
            show_default=False,
            rich_help_panel=SEARCH,
        ),
    ] = None,
    under: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FOLDER",
            help="Only pictures below this folder. Repeatable: below any of them.",
            show_default=False,
            rich_help_panel=WHICH,
        ),
    ] = None,
    limit: Annotated[
        int,
        typer.Option(
            "--limit",
            "-n",
            min=1,
            max=MOST_HITS,
            metavar="N",
            envvar="CLIPINDEX_QUERY_LIMIT",
            help="Show at most N pictures.",
            rich_help_panel=WHICH,
        ),
    ] = 10,
    min_score: Annotated[
        float | None,
        typer.Option(
            min=-1.0,
            max=1.0,
            metavar="SCORE",
            callback=options.refuse_nan,
            envvar="CLIPINDEX_MIN_SCORE",
            help="Leave out pictures below this score, -1 to 1.",
            show_default=False,
            rich_help_panel=WHICH,
        ),
    ] = None,
    min_z: Annotated[
        float | None,
        typer.Option(
            min=-1000.0,
            max=1000.0,
            metavar="Z",
            callback=options.refuse_nan,
            envvar="CLIPINDEX_MIN_Z",
            help="Leave out pictures that stand out less than this: z counts standard deviations "
            "above what the query scores on the collection's pictures in general.",
            show_default=False,
            rich_help_panel=WHICH,
        ),
    ] = None,
    exact: Annotated[
        bool,
        typer.Option(
            "--exact",
            help="Compare with every picture. Default on a server up to 1,000,000 points; an "
            "embedded store always does.",
            rich_help_panel=WHICH,
        ),
    ] = False,
    approximate: Annotated[
        bool,
        typer.Option(
            "--approximate",
            help="Ask the server's index, which is faster and may miss a picture.",
            rich_help_panel=WHICH,
        ),
    ] = False,
    ensemble: Annotated[
        bool,
        typer.Option(
            "--ensemble",
            help="Put a text of up to three words into seven sentences ('a photo of a ...') and "
            "take their mean.",
            rich_help_panel=SEARCH,
        ),
    ] = False,
    model: options.Model = None,
    paths: Annotated[
        bool,
        typer.Option(
            "--paths", help="Print only paths, one a line.", rich_help_panel=options.OUTPUT
        ),
    ] = False,
    null: Annotated[
        bool,
        typer.Option(
            "--null",
            "-0",
            help="Print only paths, byte for byte, each ended by NUL: for xargs -0.",
            rich_help_panel=options.OUTPUT,
        ),
    ] = False,
) -> int | None:
    """Find pictures by words, by an example picture, or by both.

    The score is a cosine from -1 to 1. With CLIP's models a text and a picture that fits it score
    about 0.2 to 0.35, two similar pictures much more. There is always a nearest picture: where
    none is one of what was asked, it says "nothing fits", and weak hits are marked. Copies of a
    picture are one hit. In a pipe each line is: score, tab, path.

        clipindex query "a dog on a beach"
        clipindex query cat.jpg --limit 20
        clipindex query "a dog" beach.jpg --minus people
        clipindex query "a dog" --taken 2024-06 --near 48.858,2.294 --within 10km
        clipindex query sunset -n 100 --html sunsets.html
        clipindex query sunset --under ~/Pictures/2019 -0 | xargs -0 ls -l
    """
    from clipindex.cli.presenting import check, present
    from clipindex.cli.query_terms import question_of, read_terms
    from clipindex.search.judge import at_least
    from clipindex.search.known_pictures import is_known
    from clipindex.search.query import QueryOptions, find
    from clipindex.stores.search_method import Accuracy

    check(session, only_paths=paths, null=null)
    for folder in under or ():
        if not os.path.lexists(folder) and not is_address(os.fsencode(folder)):
            session.output.note(f"there is no folder '{folder}'; searching what was indexed there")
    accuracy = Accuracy.EXACT if exact else Accuracy.AUTO
    if approximate:
        accuracy = Accuracy.APPROXIMATE
        if session.server is None:
            session.output.note("an embedded store is always searched exactly")
    wanted = QueryOptions(
        limit=limit,
        min_score=min_score,
        under=tuple(under or ()),
        pictures=picture_filter(session.more),
        sort=session.more["sort"],
        group_by=session.more["group_by"],
        exclude_self=session.more["exclude_self"],
        copies=session.more["copies"],
        pairs=session.more["pairs"],
        accuracy=accuracy,
        ensemble=ensemble,
    )
    if batch is not None:
        from clipindex.cli.batch import answer_batch

        if terms or minus or image or text:
            raise UsageError("--batch takes its queries from the file, not from the command line")
        if paths or null:
            raise UsageError("--batch prints JSON, not paths")
        session.refuse_typed(("show", "open_hits", "html"), "--batch prints JSON")
        wanted = replace(wanted, min_z=min_z)
        return answer_batch(session.index(model=model), batch, wanted, session.output)
    reading = read_terms(
        terms or (), minus or (), image or (), text or (), partial(is_known, session.place())
    )
    for note in reading.notes:
        session.output.note(note)
    judged = find(session.place(), reading.terms, wanted, model=model)
    hits = at_least(judged, min_z)
    said = list(remarks(judged, hits, min_z))
    for remark in said:
        session.output.say(remark)
    present(hits, session, question_of(reading.terms), said, only_paths=paths, null=null)
    return None
