"""The options of a query that say how its hits are shown: in which order, and which of them."""

from __future__ import annotations

from typing import Annotated

import typer

from clipindex.cli.filter_options import WHICH
from clipindex.cli.options import OUTPUT
from clipindex.cli.sheet_option import Html
from clipindex.search.order import Sort

MOST_HITS = 1_000_000


class HitOptions:
    """`clipindex.cli.session` adds them to a query."""

    exclude_self: Annotated[
        bool,
        typer.Option(
            "--exclude-self",
            help="Leave out the pictures that you search with, and their copies.",
            rich_help_panel=WHICH,
        ),
    ] = False
    group_by: Annotated[
        str | None,
        typer.Option(
            metavar="KEY",
            help="Show the best picture of each value of this tag or metadata, such as sku; "
            "pictures without it are left out.",
            show_default=False,
            rich_help_panel=WHICH,
        ),
    ] = None
    copies: Annotated[
        bool,
        typer.Option(
            "--copies",
            help="Show each copy of a picture as a hit of its own.",
            rich_help_panel=OUTPUT,
        ),
    ] = False
    pairs: Annotated[
        bool,
        typer.Option(
            "--pairs",
            help="Show a camera raw file and the JPEG beside it (or HEIC and JPEG) once.",
            rich_help_panel=OUTPUT,
        ),
    ] = False
    sort: Annotated[
        Sort,
        typer.Option(
            help="The order in which the best pictures are shown; those without a date come last.",
            rich_help_panel=OUTPUT,
        ),
    ] = Sort.SCORE
    show: Annotated[
        bool,
        typer.Option(
            "--show",
            help="Draw the pictures in the terminal. Nothing is drawn into a pipe.",
            rich_help_panel=OUTPUT,
        ),
    ] = False
    open_hits: Annotated[
        bool,
        typer.Option(
            "--open",
            help="Open the best picture in the desktop's viewer; with -n, the N best.",
            rich_help_panel=OUTPUT,
        ),
    ] = False
    html: Html = None
