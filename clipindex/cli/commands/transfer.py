"""`clipindex export` and `clipindex import`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from clipindex.cli import options
from clipindex.cli.exits import ending
from clipindex.collection.names import DEFAULT_COLLECTION
from clipindex.errors import UsageError


def export(
    folder: Annotated[
        Path | None,
        typer.Argument(
            help="A new folder, or one with an earlier export of the same collection.",
            show_default=False,
        ),
    ] = None,
    to_store: Annotated[
        Path | None,
        typer.Option(
            help="Copy into an embedded store in this folder instead.", show_default=False
        ),
    ] = None,
    to_url: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Copy to this Qdrant server instead.", show_default=False),
    ] = None,
    to_collection: Annotated[
        str | None,
        typer.Option(help="The copy's collection. Default: the same name.", show_default=False),
    ] = None,
    to_source: Annotated[
        str | None,
        typer.Option(
            help="Whose files they are there. Default: 'local', with --to-url this machine's name.",
            show_default=False,
        ),
    ] = None,
    store: options.Store = None,
    url: options.Url = None,
    collection: options.Collection = DEFAULT_COLLECTION,
    source: options.Source = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    config: options.Config = None,
) -> None:
    """Write a collection into a folder (JSON lines, .npy and its contract), or copy it.

    Every point is verified; interrupted, the same call goes on where it stopped. In a copy the
    points of this collection's own source become the new one's own.
    """
    with ending(json, quiet, verbose) as output:
        from clipindex.cli import results
        from clipindex.cli.run_view import points_bar
        from clipindex.index import Index

        if (folder is not None) + (to_store is not None) + (to_url is not None) != 1:
            raise UsageError("name one of: a folder, --to-store, --to-url")
        index = Index(store, collection=collection, source=source, server=options.server(url))
        if folder is not None:
            with points_bar(output) as moved:
                count = index.export(folder, moved)
            results.show_count("exported", count, output)
            return
        target = Index(
            to_store,
            collection=to_collection or collection,
            source=to_source,
            server=options.server(to_url),
        )
        with points_bar(output) as moved:
            count = index.copy_to(target, moved)
        results.show_count("copied", count, output)


def import_(
    folder: Annotated[Path, typer.Argument(help="The folder of an export.", show_default=False)],
    store: options.Store = None,
    url: options.Url = None,
    collection: options.Collection = DEFAULT_COLLECTION,
    source: options.Source = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    config: options.Config = None,
) -> None:
    """Bring an export into a collection, made where there is none; every point is verified.

    Points that are there already are not written, so an interrupted import just goes on. The
    points of the export's own source become this collection's own.
    """
    with ending(json, quiet, verbose) as output:
        from clipindex.cli import results
        from clipindex.cli.run_view import points_bar
        from clipindex.index import Index

        index = Index(store, collection=collection, source=source, server=options.server(url))
        with points_bar(output) as moved:
            count = index.import_(folder, moved)
        results.show_count("imported", count, output)
