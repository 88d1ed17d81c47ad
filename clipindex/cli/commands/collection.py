"""Commands on what is indexed already: status, tag, untag, relocate, forget, alias, unalias."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from clipindex.cli import options
from clipindex.cli.exits import ending
from clipindex.collection.names import DEFAULT_COLLECTION


def status(
    store: options.Store = None,
    url: options.Url = None,
    collection: options.Collection = DEFAULT_COLLECTION,
    source: options.Source = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    config: options.Config = None,
) -> None:
    """Show what a collection holds, its model, its remembered folders and its latest run."""
    with ending(json, quiet, verbose) as output:
        from clipindex.cli import results
        from clipindex.collection.places import place_at
        from clipindex.collection.status import status_of

        place = place_at(store, options.server(url), collection, source)
        results.show_status(status_of(place), output)


def tag(
    tag: Annotated[str, typer.Argument(metavar="KEY=VALUE", help="The tag.")],
    paths: Annotated[list[Path], typer.Argument(help="Pictures, or folders of pictures.")],
    store: options.Store = None,
    url: options.Url = None,
    collection: options.Collection = DEFAULT_COLLECTION,
    source: options.Source = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    config: options.Config = None,
) -> None:
    """Tag every indexed picture at or below the paths; find them with query --where KEY=VALUE."""
    with ending(json, quiet, verbose) as output:
        from clipindex.cli import results
        from clipindex.index import Index
        from clipindex.stores.payload import parse_tag

        index = Index(store, collection=collection, source=source, server=options.server(url))
        key, value = parse_tag(tag)
        results.show_count("tagged", index.tag({key: value}, paths), output)


def untag(
    key: Annotated[str, typer.Argument(metavar="KEY", help="The tag's key.")],
    paths: Annotated[list[Path], typer.Argument(help="Pictures, or folders of pictures.")],
    store: options.Store = None,
    url: options.Url = None,
    collection: options.Collection = DEFAULT_COLLECTION,
    source: options.Source = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    config: options.Config = None,
) -> None:
    """Take a tag off every indexed picture at or below the paths."""
    with ending(json, quiet, verbose) as output:
        from clipindex.cli import results
        from clipindex.index import Index

        index = Index(store, collection=collection, source=source, server=options.server(url))
        results.show_count("untagged", index.untag([key], paths), output)


def relocate(
    old: Annotated[Path, typer.Argument(help="Where the pictures were.")],
    new: Annotated[Path, typer.Argument(help="The folder where they are now.")],
    store: options.Store = None,
    url: options.Url = None,
    collection: options.Collection = DEFAULT_COLLECTION,
    source: options.Source = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    config: options.Config = None,
) -> None:
    """A disk is mounted elsewhere: rewrite the paths below OLD without opening a picture.

    Interrupted at any point, the same call again finishes it.
    """
    with ending(json, quiet, verbose) as output:
        from clipindex.cli import results
        from clipindex.index import Index

        index = Index(store, collection=collection, source=source, server=options.server(url))
        results.show_count("relocated", index.relocate(old, new), output)


def forget(
    path: Annotated[Path, typer.Argument(help="A folder that `status` lists.")],
    store: options.Store = None,
    url: options.Url = None,
    collection: options.Collection = DEFAULT_COLLECTION,
    source: options.Source = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    config: options.Config = None,
) -> None:
    """Drop a remembered folder: `reindex` no longer looks there. Its pictures stay indexed."""
    with ending(json, quiet, verbose) as output:
        from clipindex.cli import results
        from clipindex.index import Index

        Index(store, collection=collection, source=source, server=options.server(url)).forget(path)
        results.show_count("forgotten", 1, output)


def alias(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The alias.")],
    store: options.Store = None,
    url: options.Url = None,
    collection: options.Collection = DEFAULT_COLLECTION,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    config: options.Config = None,
) -> None:
    """Let NAME stand for --collection on a Qdrant server, whatever it stood for before.

    Whoever names NAME as its --collection meets the new one from then on; a run under way ends
    where it began. Nothing is copied or deleted: the same command switches back.
    """
    with ending(json, quiet, verbose) as output:
        from clipindex.cli import results
        from clipindex.index import Index

        index = Index(store, collection=collection, server=options.server(url))
        before = index.alias(name)
        own_name = index.place.locate().place.collection
        results.show_alias(name, own_name, before, output)


def unalias(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The alias.")],
    store: options.Store = None,
    url: options.Url = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    config: options.Config = None,
) -> None:
    """Take an alias away from a Qdrant server. The collection that it stood for stays."""
    with ending(json, quiet, verbose) as output:
        from clipindex.cli import results
        from clipindex.index import Index

        before = Index(store, server=options.server(url)).unalias(name)
        results.show_alias(name, None, before, output)
