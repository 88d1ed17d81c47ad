"""`clipindex demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from clipindex.cli import demo_pictures
from clipindex.cli.results import show_hits
from clipindex.cli.session import Session, command
from clipindex.cli.shared_options import PLACE
from clipindex.cli.words import count_of


@command(without=PLACE)
def demo(
    session: Session,
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="[FOLDER]",
            help="Where the demo's pictures and index go; created if need be.",
            rich_help_panel="Where",
        ),
    ] = Path("clipindex-demo"),
) -> int:
    """Try clipindex without photographs of your own: index about thirty and ask three questions.

    Nothing is downloaded: the pictures are those that scikit-image and scikit-learn bring along,
    which `pip install 'clipindex[demo]'` installs.

        clipindex demo
    """
    from clipindex.cli.run_view import show_run
    from clipindex.index import Index
    from clipindex.search.query import QueryOptions

    output = session.output
    copies = demo_pictures.copy_pictures(folder / "pictures")
    output.say(f"{count_of(len(copies), 'picture')} copied to {folder / 'pictures'}")
    index = Index(folder / "index")
    code = show_run(index.ingest_events([folder / "pictures"]), output)
    for text in demo_pictures.QUERIES:
        output.say(f'$ clipindex query "{text}" --store {folder / "index"} --limit 3')
        show_hits(index.query(text, QueryOptions(limit=3)), output)
    return code
