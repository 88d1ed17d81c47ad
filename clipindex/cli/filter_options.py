"""The options that say which pictures are meant, for every command that looks for some."""

from __future__ import annotations

from typing import Annotated

import typer

from clipindex.cli.origins import checked
from clipindex.search.filter_texts import (
    WITHIN,
    Orientation,
    condition,
    date,
    formats,
    metres,
    picture_filter,
    place,
    size,
)

__all__ = ["WHICH", "PictureOptions", "picture_filter"]

WHICH = "Which pictures"


class PictureOptions:
    """Options of filters; `clipindex.cli.session` adds them to a command that asks for them."""

    where: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CONDITION",
            parser=checked(condition),
            help="Only pictures with this tag or metadata: KEY=VALUE, or a comparison such as "
            "price<50. Repeatable: several values of one key mean any of them.",
            show_default=False,
            rich_help_panel=WHICH,
        ),
    ] = None
    where_not: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CONDITION",
            parser=checked(condition),
            help="Only pictures without this tag or metadata. Repeatable.",
            show_default=False,
            rich_help_panel=WHICH,
        ),
    ] = None
    taken: Annotated[
        str | None,
        typer.Option(
            metavar="DATE",
            parser=checked(date),
            help="Only pictures taken in this year, month or on this day, by the camera's clock: "
            "2024, 2024-06, 2024-06-12.",
            show_default=False,
            rich_help_panel=WHICH,
        ),
    ] = None
    after: Annotated[
        str | None,
        typer.Option(
            metavar="DATE",
            parser=checked(date),
            help="Only pictures taken since the beginning of this year, month or day.",
            show_default=False,
            rich_help_panel=WHICH,
        ),
    ] = None
    before: Annotated[
        str | None,
        typer.Option(
            metavar="DATE",
            parser=checked(date),
            help="Only pictures taken before this year, month or day.",
            show_default=False,
            rich_help_panel=WHICH,
        ),
    ] = None
    camera: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TEXT",
            help="Only pictures of cameras with this in their name: canon, 'iphone 13'. "
            "Repeatable: any of them.",
            show_default=False,
            rich_help_panel=WHICH,
        ),
    ] = None
    near: Annotated[
        str | None,
        typer.Option(
            metavar="LAT,LON",
            parser=checked(place),
            help="Only pictures taken near this place, in degrees: 48.858,2.294.",
            show_default=False,
            rich_help_panel=WHICH,
        ),
    ] = None
    within: Annotated[
        str,
        typer.Option(
            metavar="DISTANCE",
            parser=checked(metres),
            help="How near: 10km, 500m, 3mi.",
            rich_help_panel=WHICH,
        ),
    ] = WITHIN
    type: Annotated[
        list[str] | None,
        typer.Option(
            "--type",
            metavar="FORMAT",
            parser=checked(formats),
            help="Only pictures of this format: jpeg, png, heic, raw, ... Repeatable: any of them.",
            show_default=False,
            rich_help_panel=WHICH,
        ),
    ] = None
    min_size: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE",
            parser=checked(size),
            help="Only pictures of at least this size: of the file (500kB, 2MB), or in pixels "
            "(1920x1080).",
            show_default=False,
            rich_help_panel=WHICH,
        ),
    ] = None
    orientation: Annotated[
        list[Orientation] | None,
        typer.Option(
            help="Only pictures that are this way up. Repeatable: any of them.",
            show_default=False,
            rich_help_panel=WHICH,
        ),
    ] = None
