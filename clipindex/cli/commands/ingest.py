"""`clipindex ingest` and `clipindex reindex`."""

from __future__ import annotations

import sys
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clipindex.cli import options
from clipindex.cli.exits import ending
from clipindex.collection.names import DEFAULT_COLLECTION
from clipindex.errors import ExitCode, UsageError
from clipindex.ingest.options import BATCH_SIZE
from clipindex.model.providers import Provider
from clipindex.pictures.preprocessing import Preprocessing

if TYPE_CHECKING:
    from clipindex.cli.results import Output
    from clipindex.ingest.events import Event


def ingest(
    paths: Annotated[
        list[Path] | None, typer.Argument(help="Folders (or files) to index.", show_default=False)
    ] = None,
    store: options.Store = None,
    url: options.Url = None,
    collection: options.Collection = DEFAULT_COLLECTION,
    model: options.Model = None,
    preprocessing: Annotated[
        Preprocessing | None,
        typer.Option(
            envvar="CLIPINDEX_PREPROCESSING",
            help="For a new collection: dct-scaled (the default, several times faster on large "
            "JPEGs) or exact (CLIP's own, to the pixel).",
            show_default=False,
        ),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(
            help="Leave out files and folders that match this glob: a name ('*.tmp', 'private'), "
            "or with a slash a path below the root ('2019/raw/*'). Repeatable.",
            show_default=False,
        ),
    ] = None,
    include: Annotated[
        list[str] | None,
        typer.Option(help="Only files that match this glob. Repeatable.", show_default=False),
    ] = None,
    hidden: Annotated[
        bool, typer.Option(help="Hidden names and housekeeping folders too.")
    ] = False,
    follow: Annotated[
        bool, typer.Option(help="Follow links to folders; each is walked once.")
    ] = False,
    one_file_system: Annotated[
        bool, typer.Option(help="Do not go into other file systems.")
    ] = False,
    files_from: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|-",
            help="Also the files named in FILE, one a line (standard input: -).",
            show_default=False,
        ),
    ] = None,
    null: options.ZeroTerminated = False,
    tag: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE",
            help="Tag every file that is found, unchanged ones too. Repeatable.",
            show_default=False,
        ),
    ] = None,
    source: options.Source = None,
    part: options.PartText = None,
    limit: options.Limit = None,
    max_duration: options.MaxDuration = None,
    batch_size: options.BatchSize = BATCH_SIZE,
    workers: options.Workers = None,
    provider: options.Provider = Provider.AUTO,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be read; open and write nothing.")
    ] = False,
    checksum: Annotated[
        bool, typer.Option("--checksum", help="With --dry-run: read and hash, to say more.")
    ] = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    log_file: options.LogFile = None,
    config: options.Config = None,
) -> None:
    """Index all pictures below the given folders, or bring their index up to date.

    Pictures (JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF, HEIC) are known by their content. Links to
    files are read, links to folders not followed; hidden names and folders that programs keep
    for themselves (@eaDir, lost+found, ...) are left out and counted. Safe to interrupt at any
    time: finished batches stay, the next run goes on. Nothing is ever deleted because a file is
    missing.
    """
    with ending(json, quiet, verbose, log_file) as output:
        from clipindex.cli import results
        from clipindex.files import walk
        from clipindex.index import Index
        from clipindex.ingest.options import IngestOptions
        from clipindex.stores.payload import parse_tag

        if not paths and files_from is None:
            raise UsageError("name a folder to index, or use --files-from")
        policy = walk.WalkPolicy(
            hidden=hidden,
            follow=follow,
            one_file_system=one_file_system,
            exclude=tuple(exclude or ()),
            include=tuple(include or ()),
        )
        index = Index(
            store,
            collection=collection,
            model=model,
            preprocessing=preprocessing,
            source=source,
            server=options.server(url),
            provider=provider,
        )
        files = _names_from(files_from, null) if files_from is not None else []
        share = options.part(part)
        if share.of > 1 and url is not None and source is None:
            results.print_message("note: without --source each machine's files count as its own")
        if dry_run:
            found = index.dry_run(
                paths or [], limit, policy=policy, files=files, part=share, checksum=checksum
            )
            results.show_dry_run(found, output)
            return
        how = IngestOptions(
            batch_size=batch_size,
            limit=limit,
            workers=workers,
            max_seconds=options.seconds(max_duration),
        )
        tags = dict(map(parse_tag, tag or ()))
        events = index.ingest_events(
            paths or [], how, policy=policy, files=files, part=share, tags=tags
        )
        _run(events, output)


def reindex(
    store: options.Store = None,
    url: options.Url = None,
    collection: options.Collection = DEFAULT_COLLECTION,
    model: options.Model = None,
    source: options.Source = None,
    part: options.PartText = None,
    limit: options.Limit = None,
    max_duration: options.MaxDuration = None,
    batch_size: options.BatchSize = BATCH_SIZE,
    workers: options.Workers = None,
    provider: options.Provider = Provider.AUTO,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    log_file: options.LogFile = None,
    config: options.Config = None,
) -> None:
    """Bring every remembered folder up to date, with the options it was ingested with.

    The line for cron: 0 3 * * * clipindex reindex --quiet. `status` lists the folders, `forget`
    drops one.
    """
    with ending(json, quiet, verbose, log_file) as output:
        from clipindex.index import Index
        from clipindex.ingest.options import IngestOptions

        index = Index(
            store,
            collection=collection,
            model=model,
            source=source,
            server=options.server(url),
            provider=provider,
        )
        how = IngestOptions(
            batch_size=batch_size,
            limit=limit,
            workers=workers,
            max_seconds=options.seconds(max_duration),
        )
        _run(index.reindex_events(how, part=options.part(part)), output)


def _run(events: Generator[Event, None, None], output: Output) -> None:
    """Show a run's events; its summary brings the exit code."""
    from clipindex.cli.run_view import ingest_view
    from clipindex.ingest.events import RunFinished

    code = int(ExitCode.DONE)
    view = ingest_view(output)
    try:
        for event in events:
            view.show(event)
            if isinstance(event, RunFinished):
                code = event.summary.exit_code
    finally:
        view.close()
        events.close()
    raise typer.Exit(code)


def _names_from(place: str, zero: bool) -> list[bytes]:
    """The paths in a list, from a file or from standard input."""
    from clipindex.files.lists import paths_in_list

    try:
        data = sys.stdin.buffer.read() if place == "-" else Path(place).read_bytes()
    except OSError as error:
        raise UsageError(
            f"the list of files cannot be read: {error.strerror}", path=place
        ) from error
    return paths_in_list(data, null=zero)
