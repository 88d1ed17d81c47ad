"""`clipindex duplicates`."""

from __future__ import annotations

from enum import StrEnum
from itertools import product
from pathlib import Path
from typing import Annotated

import typer

from clipindex.cli import options
from clipindex.cli.results import show_count
from clipindex.cli.session import Session, command
from clipindex.cli.sheet_option import Html
from clipindex.errors import UsageError

WHAT = "What to do"
WHICH = "What is a duplicate"
LEAST = 0.5  # a lower cosine would be that of any two pictures


class Action(StrEnum):
    """What to do about duplicates."""

    LIST = "list"
    DIFFERENT = "different"
    KEEP = "keep"
    FORGET = "forget"
    VERDICTS = "verdicts"


@command(
    writes=True,
    rivals=(
        ("json", "paths"),
        ("json", "null"),
        *product(("json", "only_paths", "null"), ("html",)),
    ),
)
def duplicates(
    session: Session,
    words: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[ACTION] [PATH]...",
            help="list: show the groups, with PATH those of files at or below it (the default). "
            "different: these pictures are not the same, never group them again. keep: these come "
            "first in their groups. forget: undo both. verdicts: show what was decided.",
            show_default=False,
            rich_help_panel=WHAT,
        ),
    ] = None,
    everything: Annotated[
        bool,
        typer.Option("--all", help="forget every verdict.", rich_help_panel=WHAT),
    ] = False,
    exact: Annotated[
        bool,
        typer.Option(
            "--exact",
            help="Only files with the same bytes; no picture is opened.",
            rich_help_panel=WHICH,
        ),
    ] = False,
    mirrored: Annotated[
        bool,
        typer.Option("--mirrored", help="Also mirror images.", rich_help_panel=WHICH),
    ] = False,
    pairs: Annotated[
        bool,
        typer.Option(
            "--pairs",
            help="A camera raw file and the JPEG beside it (or HEIC and JPEG) are one picture: "
            "they are kept together.",
            rich_help_panel=WHICH,
        ),
    ] = False,
    min_score: Annotated[
        float | None,
        typer.Option(
            min=LEAST,
            max=1.0,
            metavar="SCORE",
            help="Compare only pictures whose embeddings have at least this cosine. Default: "
            "0.75. A higher one reads fewer pictures.",
            show_default=False,
            rich_help_panel=WHICH,
        ),
    ] = None,
    only_paths: Annotated[
        bool,
        typer.Option(
            "--paths",
            help="Print only the paths that could go, one a line: all but the best of each group "
            "and what you keep.",
            rich_help_panel=options.OUTPUT,
        ),
    ] = False,
    null: Annotated[
        bool,
        typer.Option(
            "--null",
            "-0",
            help="The same, byte for byte, each ended by NUL: for xargs -0.",
            rich_help_panel=options.OUTPUT,
        ),
    ] = False,
    html: Html = None,
) -> int:
    """Find copies, and the same picture resized, re-encoded or cropped.

    The best of a group comes first: what you keep, then the one with the most pixels, then with
    the most bytes, then the oldest. Embeddings that are near are confirmed by a perceptual hash
    of the pictures, which are read once. No picture is ever deleted.

    What you decide (`different`, `keep`) is bound to the pictures' contents: it outlives renames,
    another model and another machine.

        clipindex duplicates
        clipindex duplicates ~/Pictures/2019 --mirrored
        clipindex duplicates different a.jpg b.jpg
        clipindex duplicates --html duplicates.html
        clipindex duplicates -0 | xargs -0 mv -t ~/to-look-at
    """
    action, paths = _parsed(words or [])
    _check(session, action, paths, everything=everything)
    if action is not Action.LIST:
        return _decide(session, action, paths)
    from clipindex.cli.duplicates_view import show_duplicates
    from clipindex.upkeep.duplicates.findings import LEAST_COSINE, DuplicatesOptions

    if exact and (mirrored or min_score is not None):
        raise UsageError("--exact compares bytes: --mirrored and --min-score have no meaning there")
    how = DuplicatesOptions(
        exact=exact,
        mirrored=mirrored,
        pairs=pairs,
        min_score=LEAST_COSINE if min_score is None else min_score,
    )
    events = session.index().duplicates_events(paths, how)
    listing = only_paths or null
    return show_duplicates(events, session.output, paths=listing, zero=null, html=html)


def _parsed(words: list[Path]) -> tuple[Action, list[Path]]:
    """What to do, and with what. A folder of an action's name is reached as ./keep."""
    if words and str(words[0]) in set(Action):
        return Action(str(words[0])), words[1:]
    return Action.LIST, words


def _check(session: Session, action: Action, paths: list[Path], *, everything: bool) -> None:
    """Raises UsageError for options and paths that the action has no use for, or lacks."""
    if action is not Action.LIST:
        only_list = ("exact", "mirrored", "pairs", "min_score", "only_paths", "null", "html")
        session.refuse_typed(only_list, f"`duplicates {action}` lists no groups")
    if action is not Action.FORGET:
        session.refuse_typed(("everything",), "only with `duplicates forget`")
    if action is Action.VERDICTS and paths:
        raise UsageError("`duplicates verdicts` shows all of them: it takes no path")
    if action in (Action.DIFFERENT, Action.KEEP) and not paths:
        raise UsageError(
            f"say which pictures: `duplicates {action}` takes their paths",
            hint=f"clipindex duplicates {action} PATH...",
        )
    if action is Action.FORGET and everything == bool(paths):
        raise UsageError(
            "say whose verdicts to forget: name pictures, or --all, not both",
            hint="clipindex duplicates forget --all",
        )


def _decide(session: Session, action: Action, paths: list[Path]) -> int:
    from clipindex.cli.duplicates_view import show_verdicts

    index, output = session.index(), session.output
    if action is Action.VERDICTS:
        show_verdicts(index.verdicts(), output)
    elif action is Action.DIFFERENT:
        count = index.mark_different(paths)
        words = "pair marked as different" if count == 1 else "pairs marked as different"
        show_count("different", count, output, words)
    elif action is Action.KEEP:
        show_count("kept", index.mark_keep(paths), output, "marked to be kept")
    else:
        count = index.forget_verdicts(paths)
        words = "verdict forgotten" if count == 1 else "verdicts forgotten"
        show_count("forgotten", count, output, words)
    return 0
