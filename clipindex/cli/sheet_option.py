"""`--html`, which writes a contact sheet."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from clipindex.cli.options import OUTPUT
from clipindex.files.user_folders import expand_user

MARK = b'<meta name="generator" content="clipindex contact sheet">'
MARK_WITHIN = 2048  # bytes of a sheet


def check_target(target: Path | None) -> Path | None:
    """Before any work: whether a sheet may be written there. Only an older sheet is replaced.

    Raises typer.BadParameter.
    """
    if target is None or str(target) == "-":
        return target
    target = expand_user(target)
    if not target.parent.is_dir():
        raise typer.BadParameter(f"there is no folder '{target.parent}'")
    try:
        if not os.path.lexists(target):
            return target
        if target.is_file() and not target.is_symlink():
            with open(target, "rb") as file:
                if MARK in file.read(MARK_WITHIN):
                    return target
    except OSError as error:
        raise typer.BadParameter(f"'{target}' cannot be read: {error.strerror}") from error
    raise typer.BadParameter(
        f"'{target}' exists and is no contact sheet of clipindex; name another file"
    )


Html = Annotated[
    Path | None,
    typer.Option(
        "--html",
        metavar="FILE",
        callback=check_target,
        help="Write a contact sheet: one HTML file with the pictures in it. '-' writes it to "
        "standard output. Replaces an older sheet, no other file.",
        show_default=False,
        rich_help_panel=OUTPUT,
    ),
]
