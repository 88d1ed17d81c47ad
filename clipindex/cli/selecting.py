"""Choosing pictures to act on: the options, the list, and the question before more is changed
than was named."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clipindex.cli import options
from clipindex.cli.filter_options import picture_filter
from clipindex.cli.output import Output
from clipindex.cli.tags_view import show_unmatched_rows
from clipindex.cli.words import count_of, printable_path
from clipindex.errors import UsageError

if TYPE_CHECKING:
    from clipindex.cli.session import Session
    from clipindex.upkeep.selection import Selected, Selection
    from clipindex.upkeep.tag_table import TagReport

FOUND = "Pictures that a query finds"
CHANGES = "What is changed"
FIRST = 3  # pictures named before they are changed


class SelectionOptions:
    """`clipindex.cli.session` adds them to a command that acts on pictures."""

    query: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TERM",
            help="Pictures that this text or picture finds, as `clipindex query` would. Say what "
            "is near enough: --min-z, --min-score or --limit. Repeatable: terms are added.",
            show_default=False,
            rich_help_panel=FOUND,
        ),
    ] = None
    min_z: Annotated[
        float | None,
        typer.Option(
            min=-1000.0,
            max=1000.0,
            metavar="Z",
            callback=options.refuse_nan,
            help="Only hits that stand out at least this much; 3 is a start.",
            show_default=False,
            rich_help_panel=FOUND,
        ),
    ] = None
    min_score: Annotated[
        float | None,
        typer.Option(
            min=-1.0,
            max=1.0,
            metavar="SCORE",
            callback=options.refuse_nan,
            help="Only hits with at least this score, -1 to 1.",
            show_default=False,
            rich_help_panel=FOUND,
        ),
    ] = None
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit",
            "-n",
            min=1,
            max=1_000_000,
            metavar="N",
            help="At most the N best hits. Default with --min-z or --min-score: 1000.",
            show_default=False,
            rich_help_panel=FOUND,
        ),
    ] = None
    model: options.Model = None
    table: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="FILE",
            help="Take pictures and tags from a CSV or JSONL file: a column path, file or name, "
            "and either columns key and value, or a column for each key.",
            show_default=False,
            rich_help_panel=CHANGES,
        ),
    ] = None
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="List the pictures, and change nothing.",
            rich_help_panel=CHANGES,
        ),
    ] = False
    yes: Annotated[
        bool,
        typer.Option(
            "--yes",
            "-y",
            help="Do not ask on a terminal before a pattern, a query or a filter is acted on.",
            rich_help_panel=CHANGES,
        ),
    ] = False


def chosen(
    session: Session, paths: Sequence[Path], question: str
) -> Selection | Sequence[Path] | None:
    """What is to be changed: the paths, where they say it all, or else a list that was shown and,
    on a terminal, agreed to. None: nothing is to be changed."""
    from clipindex.cli.query_terms import read_terms
    from clipindex.upkeep.selection import EVERYTHING, MOST_HITS, SelectOptions, is_pattern

    more, output = session.more, session.output
    terms = read_terms(more["query"]) if more["query"] is not None else None
    for note in () if terms is None else terms.notes:
        output.note(note)
    wanted = SelectOptions(
        terms=() if terms is None else terms.terms,
        limit=more["limit"],
        min_score=more["min_score"],
        min_z=more["min_z"],
        pictures=picture_filter(more),
    )
    if paths and wanted == EVERYTHING and not more["dry_run"] and not any(map(is_pattern, paths)):
        return paths
    selection = session.index(model=more["model"]).select(paths, wanted)
    if selection.is_cut:
        output.note(f"only the {MOST_HITS:,} best hits are taken; --limit takes more")
    if more["dry_run"]:
        _show(selection, output)
        return None
    if not selection.pictures:
        output.say("no picture is meant: nothing was changed")
        return selection
    output.say(_named(selection))
    if output.can_ask and not more["yes"] and not output.ask(question):
        output.say("nothing was changed")
        return None
    return selection


def change_from_table(
    session: Session, tag: str | None, paths: Sequence[Path], *, remove: bool
) -> None:
    """Put on or take off the tags of a table, and show what became of its rows."""
    more, output = session.more, session.output
    others = ("query", "min_z", "min_score", "limit", *_filters_typed(session))
    session.refuse_typed(others, "not with --from, whose rows name the pictures")
    if tag is not None or paths:
        raise UsageError("--from brings the tags and the pictures", hint="leave out the others")
    dry_run = more["dry_run"]
    report = session.index().tag_from(more["table"], remove=remove, dry_run=dry_run)
    _show_report(report, output, "untagged" if remove else "tagged", dry_run=dry_run)


def _filters_typed(session: Session) -> frozenset[str]:
    from clipindex.cli.filter_options import PictureOptions

    return session.typed & PictureOptions.__annotations__.keys()


def _named(selection: Selection) -> str:
    first = [printable_path(picture.exact_path) for picture in selection.pictures[:FIRST]]
    rest = len(selection.pictures) - len(first)
    more = f" and {rest:,} more" if rest else ""
    return f"{count_of(len(selection.pictures), 'picture')}: {', '.join(first)}{more}"


def _show(selection: Selection, output: Output) -> None:
    """Each picture, with its z and score where a query found it."""
    for picture in selection.pictures:
        if output.json:
            output.record({"type": "selected", **_record(picture)})
        else:
            output.result(_line(picture))
    count = count_of(len(selection.pictures), "picture")
    output.done = f"{count} listed"
    output.say(f"{count}; nothing was changed")


def _record(picture: Selected) -> dict[str, object]:
    return {
        "path": picture.path,
        "id": str(picture.id),
        "tags": dict(picture.tags),
        "score": picture.score,
        "z": picture.z,
    }


def _line(picture: Selected) -> str:
    path = printable_path(picture.exact_path)
    if picture.score is None:
        return path
    z = "" if picture.z is None else f"  z {picture.z:.1f}"
    return f"{picture.score:.4f}{z}  {path}"


def _show_report(report: TagReport, output: Output, verb: str, *, dry_run: bool) -> None:
    would = "would be " if dry_run else ""
    output.done = f"{report.changed:,} {would}{verb}"
    if output.json:
        for row in report.unmatched:
            output.record({"type": "unmatched", "row": row.number, "key": row.key})
        line = {"type": "preview" if dry_run else verb, "count": report.changed}
        output.record(
            {**line, "rows": report.rows, "pictures": report.pictures}
            | {"unmatched": len(report.unmatched)}
        )
        return
    show_unmatched_rows(report.unmatched, output)
    if not output.quiet:
        rows = count_of(report.rows, "row")
        pictures = count_of(report.pictures, "picture")
        output.result(f"{rows} for {pictures}: {report.changed:,} {would}{verb}")
