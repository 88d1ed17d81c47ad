"""`clipindex compact`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from clipindex.cli.session import Session, command
from clipindex.cli.words import count_of, megabytes


@command(writes=True)
def compact(
    session: Session,
    if_worthwhile: Annotated[
        bool,
        typer.Option(
            "--if-worthwhile",
            help="Only where more than half of the space would be freed; and stop, leaving the "
            "collection as it is, when another command wants to write.",
            rich_help_panel="When",
        ),
    ] = False,
) -> None:
    """Free the disk space that edits, renames and deletions left behind in an embedded store.

    The points move into fresh files, which are compared with the old ones, point by point, before
    they take their place. An interruption leaves the collection as it was. Queries go on
    meanwhile. It needs as much free space as the compacted collection will take.

    `ingest` and `reindex` do it by themselves, in a process of its own after the run, when more
    than half of the space would be freed. `status` shows how much that is.

        clipindex compact
    """
    from clipindex.cli.run_view import points_bar

    with points_bar(session.output) as moved:
        done = session.index().compact(moved, only_if_worthwhile=if_worthwhile)
    output = session.output
    if done is None:
        if not output.json:
            output.say("nothing done: less than half of the space would be freed")
    elif output.json:
        output.record({"type": "compacted", **asdict(done)})
    elif not output.quiet:
        output.result(
            f"{count_of(done.points, 'point')} compacted and verified in {done.seconds:.1f} s: "
            f"{megabytes(done.bytes_before)} before, {megabytes(done.bytes_after)} now"
        )
