"""`clipindex metadata`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from clipindex.cli.results import show_count
from clipindex.cli.session import Session, command
from clipindex.cli.tags_view import show_metadata

PANEL = "What to join"


@command(writes=True)
def metadata(
    session: Session,
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="A CSV file with a header, or JSON lines (.jsonl).",
            show_default=False,
            rich_help_panel=PANEL,
        ),
    ],
    key: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN",
            help="The column that names pictures. Default: path, file, name, pattern, picture or "
            "image, whichever there is.",
            show_default=False,
            rich_help_panel=PANEL,
        ),
    ] = None,
    text: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN",
            help="This column is text, even if all its values look like numbers. Repeatable.",
            show_default=False,
            rich_help_panel=PANEL,
        ),
    ] = None,
    forget: Annotated[
        bool,
        typer.Option(
            "--forget",
            help="Forget the file, and take what it brought off the pictures.",
            rich_help_panel=PANEL,
        ),
    ] = False,
) -> None:
    """Join columns of a file to indexed pictures: product, price, client, active, ...

    A row names its pictures by path, by the end of a path, by name with or without extension, or
    by a pattern such as SKU17_*. A column is numbers, true and false, dates or text, whichever
    all its values are. Rows that name no picture are listed.

    The file is remembered. Each ingest and reindex joins it again, so that new pictures get
    theirs and changed rows are taken over. Search with `query --where`.

        clipindex metadata products.csv --key sku
        clipindex query "red shoes" --where active=true --where "price<50" --group-by sku
    """
    from clipindex.upkeep import metadata as joining

    if forget:
        count = joining.forget(session.index().place, file)
        show_count("forgotten", count, session.output, "pictures changed; the file is forgotten")
        return
    report = joining.join(session.index().place, file, key=key, texts=text or ())
    show_metadata(report, session.output)
