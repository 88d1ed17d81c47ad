"""What becomes of a query's hits: lines, pictures in the terminal, a contact sheet, a viewer."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from clipindex.cli.results import show_hits, show_paths
from clipindex.errors import UsageError

if TYPE_CHECKING:
    from clipindex.cli.session import Session
    from clipindex.search.hits import Hit

MOST_OPENED = 20
STANDARD_OUTPUT = Path("-")


def check(session: Session, *, only_paths: bool, null: bool) -> None:
    """Raises UsageError, before the search, for options that exclude each other or a desktop that
    is not there."""
    more = session.more
    listed = only_paths or null or session.output.json or more["show"]
    if more["html"] == STANDARD_OUTPUT and listed:
        raise UsageError(
            "--html - writes the sheet to standard output: it excludes --show, --json, --paths "
            "and -0",
            hint="name a file: --html sheet.html",
        )
    if more["open_hits"]:
        from clipindex.cli.viewer import viewer

        viewer()
        if _opened_at_most(session) > MOST_OPENED:
            raise UsageError(f"--open opens at most {MOST_OPENED} pictures", hint="lower -n")


def present(
    hits: Sequence[Hit],
    session: Session,
    question: str,
    notes: Sequence[str],
    *,
    only_paths: bool,
    null: bool,
) -> None:
    """Show hits as the options say; `notes` were said already, and belong into a sheet."""
    more, output = session.more, session.output
    if more["html"] != STANDARD_OUTPUT:
        if only_paths or null:
            show_paths(hits, zero=null)
        elif more["show"] and hits and _may_draw(session):
            from clipindex.cli.terminal_pictures import draw_hits

            draw_hits(hits)
        else:
            show_hits(hits, output)
    if more["html"] is not None:
        from clipindex.cli.sheet.cards import sheet_of_hits
        from clipindex.cli.sheet.writing import write_sheet

        write_sheet(sheet_of_hits(hits, question, notes), more["html"], output)
    if more["open_hits"] and hits:
        from clipindex.cli.viewer import open_pictures

        open_pictures([hit.exact_path for hit in hits[: _opened_at_most(session)]], output)


def _opened_at_most(session: Session) -> int:
    """The best hit, or as many as were asked for on the command line itself."""
    limit = session.context.params["limit"]
    return int(limit) if "limit" in session.typed else 1


def _may_draw(session: Session) -> bool:
    """Whether standard output is a terminal that can show pictures; says why not."""
    from clipindex.cli.terminal_pictures import why_not

    reason = why_not()
    if reason and sys.stderr is not None:
        session.output.note(f"no pictures are drawn: {reason}")
    return not reason
