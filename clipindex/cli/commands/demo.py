"""`clipindex demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from clipindex.cli import options
from clipindex.cli.exits import ending


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
    with ending(json, quiet, verbose) as output:
        from clipindex.cli import demo_pictures as pictures
        from clipindex.cli import results
        from clipindex.cli.run_view import ingest_view
        from clipindex.index import Index
        from clipindex.search.query import QueryOptions

        copies = pictures.copy_pictures(folder / "pictures")
        results.print_message(
            f"{results.count_of(len(copies), 'picture')} copied to {folder / 'pictures'}"
        )
        index = Index(folder / "index")
        view = ingest_view(output)
        for event in index.ingest_events([folder / "pictures"]):
            view.show(event)
        view.close()
        for text in pictures.QUERIES:
            results.print_message(f'clipindex query "{text}" --store {folder / "index"}')
            results.show_hits(index.query(text, QueryOptions(limit=3)), output)
