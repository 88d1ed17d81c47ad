"""`clipindex ingest`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from clipindex.cli import options, removal, streams, values
from clipindex.cli.engine_options import EngineOptions, ray_options
from clipindex.cli.origins import checked
from clipindex.cli.results import show_dry_run
from clipindex.cli.session import Session, command
from clipindex.errors import UsageError
from clipindex.files.lists import paths_in_list
from clipindex.files.user_folders import expand_user
from clipindex.ingest.options import BATCH_SIZE, IngestOptions
from clipindex.model.providers import Provider
from clipindex.pictures.preprocessing import Preprocessing

WHAT = "What to index"
WHICH = "Which pictures"
WALKING = ("exclude", "include", "hidden", "follow", "one_file_system")


@command(writes=True, groups=(EngineOptions,))
def ingest(
    session: Session,
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[PATH]...",
            help="Folders to index, with everything below them, single files, tar files, or "
            "addresses of buckets and pictures (s3://, gs://, az://, https://).",
            show_default=False,
            rich_help_panel=WHAT,
        ),
    ] = None,
    files_from: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|-",
            help="Also index the files and addresses named in FILE, one a line (-: standard "
            "input).",
            show_default=False,
            rich_help_panel=WHAT,
        ),
    ] = None,
    null: Annotated[
        bool,
        typer.Option(
            "--null",
            "-0",
            help="With --files-from: each name ends with NUL instead of a line end.",
            rich_help_panel=WHAT,
        ),
    ] = False,
    tag: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE",
            parser=checked(values.tag),
            help="Tag every file that is found, unchanged ones too. Repeatable.",
            show_default=False,
            rich_help_panel=WHAT,
        ),
    ] = None,
    metadata: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Afterwards join the columns of this CSV or JSONL file to the pictures, as "
            "`clipindex metadata` does, and remember the file.",
            show_default=False,
            rich_help_panel=WHAT,
        ),
    ] = None,
    metadata_key: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN",
            help="The column of --metadata that names pictures.",
            show_default=False,
            rich_help_panel=WHAT,
        ),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(
            metavar="GLOB",
            help="Exclude files and folders that match: a name ('*.tmp', 'private'), or with a "
            "slash a path below the indexed folder ('2019/raw/*'). Repeatable.",
            show_default=False,
            rich_help_panel=WHICH,
        ),
    ] = None,
    include: Annotated[
        list[str] | None,
        typer.Option(
            metavar="GLOB",
            help="Only files that match. Repeatable.",
            show_default=False,
            rich_help_panel=WHICH,
        ),
    ] = None,
    hidden: Annotated[
        bool,
        typer.Option(
            "--hidden/--no-hidden",
            help="Also hidden names and the housekeeping folders of programs.",
            rich_help_panel=WHICH,
        ),
    ] = False,
    follow: Annotated[
        bool,
        typer.Option(
            "--follow/--no-follow",
            help="Follow links to folders; each folder is read once.",
            rich_help_panel=WHICH,
        ),
    ] = False,
    one_file_system: Annotated[
        bool,
        typer.Option(
            "--one-file-system/--no-one-file-system",
            help="Do not descend into other file systems.",
            rich_help_panel=WHICH,
        ),
    ] = False,
    remember: Annotated[
        bool,
        typer.Option(
            "--remember",
            help="Remember exactly these options and tags for the folder, in place of those it is "
            "remembered with.",
            rich_help_panel=WHICH,
        ),
    ] = False,
    prune: options.Prune = False,
    max_delete: options.MaxDelete = None,
    yes: options.Yes = False,
    fail_on_vanished: options.FailOnVanished = False,
    model: options.Model = None,
    preprocessing: Annotated[
        Preprocessing | None,
        typer.Option(
            envvar="CLIPINDEX_PREPROCESSING",
            help="For a new collection: dct-scaled (the default, several times faster on large "
            "JPEGs), exact (CLIP's own, to the pixel), frames (dct-scaled, and the mean of up to "
            "four frames of an animation) or previews (dct-scaled, but from the camera's own small "
            "copy in a HEIC or JPEG where it is sound: many times faster on a phone's HEICs, "
            "slightly less exact).",
            show_default=False,
            rich_help_panel=options.MODEL,
        ),
    ] = None,
    part: options.PartText = None,
    reread: options.Reread = False,
    limit: options.Limit = None,
    max_duration: options.MaxDuration = None,
    batch_size: options.BatchSize = BATCH_SIZE,
    workers: options.Workers = None,
    provider: options.Provider = Provider.AUTO,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Say what would be read; open and write nothing.",
            rich_help_panel=options.OUTPUT,
        ),
    ] = False,
    checksum: Annotated[
        bool,
        typer.Option(
            "--checksum",
            help="With --dry-run: read and hash the files, to say more.",
            rich_help_panel=options.OUTPUT,
        ),
    ] = False,
    metrics_file: options.MetricsFile = None,
) -> int | None:
    """Index all pictures in folders, or bring their index up to date.

    JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF and HEIC files are recognised by their content,
    camera raw and JPEG XL with the extras raw and jxl. Links to files are read, links to folders
    are not followed; hidden names and folders that programs keep for themselves (@eaDir,
    lost+found, ...) are excluded and counted.

    Safe to interrupt at any time: finished batches stay, the next run goes on. Nothing is
    deleted because a file is missing, unless you say --prune.

    A folder is remembered for `reindex` with the options and tags of its first ingest. Later ones
    use what you give for that run alone, and what is remembered where you give none; --remember
    stores what you give.

    A bucket is indexed as a folder is, with the extra `cloud`; a second run costs its listing. A
    tar file is entered where it is named. Credentials come from where the store's own programs
    look for them.

        clipindex ingest ~/Pictures
        clipindex ingest ~/Pictures --exclude "*.tmp" --tag owner=ann
        clipindex ingest /mnt/nas --dry-run
        clipindex ingest s3://bucket/2026
        find . -name "*.jpg" -print0 | clipindex ingest --files-from - -0
    """
    _refuse_what_would_be_ignored(session, bool(paths), files_from is not None, dry_run)
    limits = removal.limits_of(session, max_delete, prune=prune, yes=yes)
    from clipindex.files.walk import WalkPolicy
    from clipindex.stores.payload import parse_tags

    output = session.output
    given = WalkPolicy(
        hidden=hidden,
        follow=follow,
        one_file_system=one_file_system,
        exclude=tuple(exclude or ()),
        include=tuple(include or ()),
    )
    policy = given if given != WalkPolicy() or session.typed & set(WALKING) else None
    files = _names_from(files_from, null) if files_from is not None else None
    share, tags = values.part(part), parse_tags(tag) if tag else None
    ray = ray_options(session, provider)
    how = IngestOptions(
        batch_size=batch_size,
        reread=reread,
        limit=limit,
        workers=workers,
        max_seconds=values.seconds(max_duration),
        fail_on_vanished=fail_on_vanished,
        ray=ray,
    )
    take = session.metrics(None if dry_run else metrics_file)
    own = Provider.CPU if ray else provider  # the actors have the towers
    index = session.index(model=model, preprocessing=preprocessing, provider=own)
    if share.of > 1 and session.server is not None and session.source is None:
        output.note("without --source each machine's files count as its own")
    if dry_run:
        foreseen = index.dry_run(
            paths or [], limit, policy=policy, files=files, part=share, checksum=checksum
        )
        show_dry_run(foreseen, output)
        return None
    from clipindex.cli.run_view import show_run
    from clipindex.cli.tags_view import show_metadata
    from clipindex.upkeep.metadata import check_table

    if metadata is not None:
        check_table(metadata, metadata_key)
    events = index.ingest_events(
        paths or [], how, policy=policy, files=files, part=share, tags=tags, remember=remember
    )
    then = removal.prune_after(session, index, paths or [], how, limits, share, yes=yes)
    code = show_run(events, output, take, then if prune else None)
    if metadata is not None:
        show_metadata(index.metadata(metadata, key=metadata_key), output)
    return code


def _refuse_what_would_be_ignored(
    session: Session, paths: bool, files_from: bool, dry_run: bool
) -> None:
    """Raises UsageError for an option that has no effect on this run."""
    if not paths and not files_from:
        raise UsageError(
            "name a folder to index, or use --files-from", hint="clipindex ingest ~/Pictures"
        )
    if not files_from:
        session.refuse_typed(("null",), "only with --files-from")
    if "metadata" not in session.typed:
        session.refuse_typed(("metadata_key",), "only with --metadata")
    if not dry_run:
        session.refuse_typed(("checksum",), "only with --dry-run")
    else:
        session.refuse_typed(("reread",), "not with --dry-run")
        session.refuse_typed(("prune",), "not with --dry-run; see `clipindex prune --dry-run`")
        session.refuse_typed(("remember", "metadata"), "not with --dry-run, which stores nothing")
    if not paths:
        session.refuse_typed(("prune", "remember"), "only with a folder")
        session.refuse_typed(WALKING, "say how folders are walked, and no folder is named")


def _names_from(place: str, zero: bool) -> list[bytes]:
    """The paths in a list, from a file or from standard input."""

    try:
        data = streams.read_input() if place == "-" else expand_user(Path(place)).read_bytes()
    except OSError as error:
        raise UsageError(
            f"the list of files cannot be read: {error.strerror}",
            path=place,
            hint="correct --files-from, or pipe the names in: --files-from -",
        ) from error
    return paths_in_list(data, null=zero)
