"""`clipindex verify`."""

from __future__ import annotations

from typing import Annotated

import typer

from clipindex.cli import options, values
from clipindex.cli.origins import checked
from clipindex.cli.session import Session, command
from clipindex.model.providers import Provider

PANEL = "What to check"


@command(writes=True)
def verify(
    session: Session,
    files: Annotated[
        bool,
        typer.Option(
            "--files",
            help="Also read every file and compare its SHA-256 with the one that was indexed.",
            rich_help_panel=PANEL,
        ),
    ] = False,
    embed: Annotated[
        bool,
        typer.Option(
            "--embed",
            help="Also embed every picture again and compare the vectors; includes --files.",
            rich_help_panel=PANEL,
        ),
    ] = False,
    sample: Annotated[
        str | None,
        typer.Option(
            "--sample",
            metavar="K/N",
            parser=checked(values.sample),
            help="Check only part K of N; N calls, one for each part, check everything. auto/N "
            "takes the part by the date: N nights in a row check everything.",
            show_default=False,
            rich_help_panel=PANEL,
        ),
    ] = None,
    repair: Annotated[
        bool,
        typer.Option(
            "--repair",
            help="Mark wrong points, so that the next `reindex` embeds their files again. Tags "
            "stay; no file is touched.",
            rich_help_panel=PANEL,
        ),
    ] = False,
    restart: Annotated[
        bool,
        typer.Option(
            "--restart",
            help="Begin anew where an earlier call stopped before its end.",
            rich_help_panel=PANEL,
        ),
    ] = False,
    max_duration: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            parser=checked(values.seconds),
            help="Stop after this time (90s, 30m, 4h); the next call goes on from there.",
            show_default=False,
            rich_help_panel=options.SPEED,
        ),
    ] = None,
    model: options.Model = None,
    provider: options.Provider = Provider.AUTO,
) -> int:
    """Check what was indexed: points, catalogue, files, embeddings.

    Every point is read back: its vector is finite, of length 1 and of the right dimension, its
    payload is valid, its id is that of its path, and the catalogue knows it. `--files` finds
    pictures that decayed on the disk: other bytes under the same size and time. Edited and deleted
    files are only counted.

    Exit code 7 when anything is wrong, 3 when a file could not be read, else 0. Interrupted, the
    same command goes on where it stopped. Ingest and queries go on meanwhile.

        clipindex verify
        clipindex verify --files --sample auto/30
    """
    from clipindex.cli.verify_view import show_verification
    from clipindex.upkeep.verify.findings import VerifyOptions

    if not embed:
        session.refuse_typed(("model", "provider"), "only with --embed")
    how = VerifyOptions(
        files=files or embed,
        embed=embed,
        sample=values.sample(sample),
        max_seconds=values.seconds(max_duration),
        repair=repair,
        restart=restart,
    )
    index = session.index(model=model, provider=provider)
    return show_verification(index.verify_events(how), session.output)
