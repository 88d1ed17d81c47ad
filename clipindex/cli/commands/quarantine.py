"""`clipindex quarantine`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from clipindex.cli.results import show_count, show_quarantine
from clipindex.cli.session import Session, command
from clipindex.errors import UsageError

PANEL = "What to do"


class Action(StrEnum):
    """What to do with pictures in quarantine."""

    LIST = "list"
    RETRY = "retry"
    CLEAR = "clear"
    ACCEPT = "accept"


DONE = {  # the word for programs, and the words for people
    Action.RETRY: ("retried", "to be read again by the next run"),
    Action.CLEAR: ("cleared", "cleared"),
    Action.ACCEPT: ("accepted", "accepted: counted, but no longer reported"),
}


@command(writes=True)
def quarantine(
    session: Session,
    action: Annotated[
        Action,
        typer.Argument(
            metavar="[list|retry|clear|accept]",
            help="list: show them (the default). retry: the next run reads them once more. "
            "accept: count them, but report them no longer. clear: forget that they were refused.",
            show_default=False,
            rich_help_panel=PANEL,
        ),
    ] = Action.LIST,
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[PATH]...",
            help="Only files at or below these.",
            show_default=False,
            rich_help_panel=PANEL,
        ),
    ] = None,
    everything: Annotated[
        bool,
        typer.Option(
            "--all",
            help="retry, clear or accept all of the quarantine.",
            rich_help_panel=PANEL,
        ),
    ] = False,
) -> None:
    """Show the pictures that were refused and why, or decide what becomes of them.

    A picture is refused when it is damaged, cut short, or cannot be read. It is tried again by
    itself when the file changes or clipindex is updated. An accepted one no longer makes a run
    end with exit code 3; when its file changes, it is reported again.

        clipindex quarantine
        clipindex quarantine accept ~/Pictures/old-scans
        clipindex quarantine retry --all
    """
    index, chosen = session.index(), paths or ()
    if action is Action.LIST:
        session.refuse_typed(("everything",), "`list` shows all anyway")
        show_quarantine(index.quarantine(chosen), session.output)
        return
    if everything == bool(chosen):
        raise UsageError(
            f"say which pictures to {action.value}: name files or folders, or --all, not both",
            hint=f"clipindex quarantine {action.value} --all",
        )
    change = {
        Action.RETRY: index.retry_quarantine,
        Action.CLEAR: index.clear_quarantine,
        Action.ACCEPT: index.accept_quarantine,
    }[action]
    count = change(chosen)
    verb, words = DONE[action]
    session.output.log(f"quarantine: {count:,} {words}")
    show_count(verb, count, session.output, words)
