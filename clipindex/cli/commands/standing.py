"""`clipindex standing`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from clipindex.cli import options
from clipindex.cli.filter_options import WHICH, PictureOptions, picture_filter
from clipindex.cli.origins import checked
from clipindex.cli.session import Session, command
from clipindex.errors import UsageError
from clipindex.search.filter_texts import date
from clipindex.stores.payload import parse_tag

WHAT = "What to do"


class Action(StrEnum):
    """What to do with standing questions."""

    LIST = "list"
    ADD = "add"
    SHOW = "show"
    HITS = "hits"
    RUN = "run"
    REMOVE = "remove"


@command(writes=True, rivals=(("json", "paths"), ("json", "null")), groups=(PictureOptions,))
def standing(
    session: Session,
    action: Annotated[
        Action,
        typer.Argument(
            metavar="[list|add|show|hits|run|remove]",
            help="list: the questions (the default). add: ask new pictures this from now on. show: "
            "one question. hits: what it found. run: ask all pictures now, those that were indexed "
            "before too. remove: forget it, and what it found; tags stay.",
            show_default=False,
            rich_help_panel=WHAT,
        ),
    ] = Action.LIST,
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME]",
            help="Of a question. run: without it all of them.",
            show_default=False,
            rich_help_panel=WHAT,
        ),
    ] = None,
    terms: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[TERM]...",
            help="add: texts and pictures, as for `query`. A picture must stay where it is, or in "
            "the index.",
            show_default=False,
            rich_help_panel=WHAT,
        ),
    ] = None,
    minus: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TERM",
            help="add: subtract this text or picture. Repeatable.",
            show_default=False,
            rich_help_panel=WHAT,
        ),
    ] = None,
    tag: Annotated[
        str | None,
        typer.Option(
            metavar="KEY=VALUE",
            parser=checked(parse_tag),
            help="add: the tag that hits get, unless they have another value of the key.",
            show_default=False,
            rich_help_panel=WHAT,
        ),
    ] = None,
    min_z: Annotated[
        float | None,
        typer.Option(
            min=-1000.0,
            max=1000.0,
            metavar="Z",
            help="add: a hit stands out at least this much, as `query --min-z` says.",
            show_default=False,
            rich_help_panel=WHAT,
        ),
    ] = None,
    min_score: Annotated[
        float | None,
        typer.Option(
            min=-1.0,
            max=1.0,
            metavar="SCORE",
            help="add: a hit has at least this score. With neither, a hit is a picture that fits.",
            show_default=False,
            rich_help_panel=WHAT,
        ),
    ] = None,
    under: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FOLDER",
            help="add: only pictures below this folder. Repeatable: below any of them.",
            show_default=False,
            rich_help_panel=WHICH,
        ),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            metavar="DATE",
            parser=checked(date),
            help="hits: found since the beginning of this year, month or day, in UTC.",
            show_default=False,
            rich_help_panel=WHICH,
        ),
    ] = None,
    paths: Annotated[
        bool,
        typer.Option(
            "--paths", help="hits: print only paths, one a line.", rich_help_panel=options.OUTPUT
        ),
    ] = False,
    null: Annotated[
        bool,
        typer.Option(
            "--null",
            "-0",
            help="hits: print only paths, byte for byte, each ended by NUL: for xargs -0.",
            rich_help_panel=options.OUTPUT,
        ),
    ] = False,
    model: options.Model = None,
) -> int | None:
    """Ask a question of every new picture: tag what answers it, and list it.

    The collection remembers the question. Each ingest and reindex asks it of the pictures that it
    indexed, by their vectors; hits are in its JSON, its log and its summary. A picture is tagged
    once: a tag that you take off by hand is not given again. After a switch to another model,
    pictures are asked once more.

        clipindex standing add receipts "a photographed receipt" --min-z 3 --tag kind=receipt
        clipindex standing run receipts
        clipindex standing hits receipts --since 2026-11 -0 | xargs -0 cp -t ~/receipts
    """
    from clipindex.cli.standing_view import show_found, show_question, show_questions, show_run

    _check(session, action, name, terms)
    index, output = session.index(model=model), session.output
    if action is Action.LIST:
        show_questions(index.standing(), output)
    elif action is Action.RUN:
        return show_run(index.run_standing([name] if name else []), output)
    elif name is None:
        raise UsageError(f"`standing {action}` takes the name of a question")
    elif action is Action.ADD:
        from clipindex.cli.query_terms import read_terms
        from clipindex.upkeep.standing.editing import QuestionOptions

        reading = read_terms(terms or (), minus or ())
        for note in reading.notes:
            output.note(note)
        chosen = QuestionOptions(
            tag=None if tag is None else parse_tag(tag),
            min_z=min_z,
            min_score=min_score,
            under=tuple(under or ()),
            pictures=picture_filter(session.more),
        )
        show_question(index.add_standing(name, reading.terms, chosen), output, added=True)
    elif action is Action.SHOW:
        show_question(index.standing(name)[0], output)
    elif action is Action.HITS:
        after = None if since is None else date(since)[0]
        show_found(name, index.standing_hits(name, after), output, paths=paths, zero=null)
    else:
        index.remove_standing(name)
        output.say(f"'{name}' is asked no more; tags that it gave stay")
        if output.json:
            output.record({"type": "removed", "question": name})
    return None


def _check(session: Session, action: Action, name: str | None, terms: list[str] | None) -> None:
    """Raises UsageError for what the action has no use for."""
    only = {
        Action.ADD: ("minus", "tag", "min_z", "min_score", "under", *session.more),
        Action.HITS: ("since", "paths", "null"),
    }
    for wanted, names in only.items():
        if action is not wanted:
            session.refuse_typed(names, f"only with `standing {wanted}`")
    if terms and action is not Action.ADD:
        raise UsageError(f"`standing {action}` takes no term")
    if name and action is Action.LIST:
        raise UsageError("`standing list` shows all questions", hint="clipindex standing show NAME")
