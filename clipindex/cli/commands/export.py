"""`clipindex export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from clipindex.cli import values
from clipindex.cli.origins import checked
from clipindex.cli.results import show_count
from clipindex.cli.session import Session, command
from clipindex.errors import UsageError

PANEL = "Where to"


@command(writes=True)
def export(
    session: Session,
    folder: Annotated[
        Path | None,
        typer.Argument(
            metavar="[FOLDER]",
            help="A new folder, or one with an earlier export of the same collection.",
            show_default=False,
            rich_help_panel=PANEL,
        ),
    ] = None,
    to_store: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Copy into an embedded store in this folder instead.",
            show_default=False,
            rich_help_panel=PANEL,
        ),
    ] = None,
    to_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            parser=checked(values.url),
            help="Copy to this Qdrant server instead.",
            show_default=False,
            rich_help_panel=PANEL,
        ),
    ] = None,
    to_collection: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            parser=checked(values.collection),
            help="The copy's collection. Default: the same name.",
            show_default=False,
            rich_help_panel=PANEL,
        ),
    ] = None,
    to_source: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            parser=checked(values.source),
            help="Whose files they are there. Default: 'local', with --to-url this machine's name.",
            show_default=False,
            rich_help_panel=PANEL,
        ),
    ] = None,
) -> None:
    """Write a collection into a folder (JSON lines, .npy files, its contract), or copy it.

    Every point is verified. If it is interrupted, the same command goes on where it stopped. In a
    copy the points of this collection's own source become the new one's own.

        clipindex export ./photos-export
        clipindex export --to-url http://localhost:6333 --to-collection photos
    """
    from clipindex.cli.run_view import points_bar
    from clipindex.index import Index

    if (folder is not None) + (to_store is not None) + (to_url is not None) != 1:
        raise UsageError("name one of: a folder, --to-store, --to-url")
    index = session.index()
    if folder is not None:
        session.refuse_typed(
            ("to_collection", "to_source", "wait"),
            "only with --to-store or --to-url, not with a folder",
        )
        with points_bar(session.output) as moved:
            count = index.export(folder, moved)
        show_count("exported", count, session.output)
        return
    target = Index(
        to_store,
        collection=to_collection or session.collection,
        source=to_source,
        server=values.server(to_url, session.timeout),
        wait=session.wait,
    )
    with points_bar(session.output) as moved:
        count = index.copy_to(target, moved)
    show_count("copied", count, session.output)
