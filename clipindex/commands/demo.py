"""`clipindex demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from clipindex import options
from clipindex.ending import ending


def demo(
    folder: Annotated[
        Path, typer.Argument(help="A folder for the demo's pictures and index; made when missing.")
    ] = Path("clipindex-demo"),
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Try it without photographs of your own: fetch none, index about 25, ask three questions.

    The pictures come from scikit-image and scikit-learn: pip install 'clipindex\\[demo]'.
    """
    with ending(json, quiet, verbose) as voice:
        from clipindex import demo as pictures
        from clipindex import render
        from clipindex.index import Index
        from clipindex.progress import ingest_view
        from clipindex.search import QueryOptions

        copies = pictures.copy_pictures(folder / "pictures")
        render.say(f"{render.counted(len(copies), 'picture')} copied to {folder / 'pictures'}")
        index = Index(folder / "index")
        view = ingest_view(voice)
        for event in index.ingest([folder / "pictures"]):
            view.show(event)
        view.close()
        for text in pictures.QUERIES:
            render.say(f'clipindex query "{text}" --store {folder / "index"}')
            render.show_hits(index.query(text, QueryOptions(limit=3)), voice)
