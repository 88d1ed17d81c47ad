"""`clipindex switch-model`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from clipindex.cli import options, streams, values
from clipindex.cli.session import Session, command
from clipindex.errors import UsageError
from clipindex.files.user_folders import expand_user
from clipindex.model.providers import Provider
from clipindex.pictures.preprocessing import Preprocessing

PANEL = "What to do"
REHEARSAL = "Rehearsal"
ACTIONS = ("back", "drop_old", "cancel", "rehearse")
EMBEDDING = ("preprocessing", "workers", "provider", "leave_out")


@command(writes=True)
def switch_model(
    session: Session,
    new: Annotated[
        str | None,
        typer.Argument(
            metavar="[NEW]",
            help="Name of the new model, or the folder of its bundle.",
            show_default=False,
            rich_help_panel=PANEL,
        ),
    ] = None,
    back: Annotated[
        bool,
        typer.Option(
            "--back",
            help="After a switch: make the old collection the live one again.",
            rich_help_panel=PANEL,
        ),
    ] = False,
    drop_old: Annotated[
        bool,
        typer.Option(
            "--drop-old",
            help="After a switch: delete the old collection, which ends it.",
            rich_help_panel=PANEL,
        ),
    ] = False,
    cancel: Annotated[
        bool,
        typer.Option(
            "--cancel",
            help="Before a switch, or after --back: delete the new collection.",
            rich_help_panel=PANEL,
        ),
    ] = False,
    yes: Annotated[
        bool,
        typer.Option(
            "--yes",
            "-y",
            help="Do not ask before a collection is deleted; needed where there is no terminal.",
            rich_help_panel=PANEL,
        ),
    ] = False,
    leave_out: Annotated[
        bool,
        typer.Option(
            "--leave-out",
            help="Switch although some pictures cannot be embedded any more, and leave them out.",
            rich_help_panel=PANEL,
        ),
    ] = False,
    rehearse: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|-",
            help="Change nothing: embed a sample with NEW, ask both models the queries in FILE, "
            "one a line, and compare their hits.",
            show_default=False,
            rich_help_panel=REHEARSAL,
        ),
    ] = None,
    sample: Annotated[
        int,
        typer.Option(
            min=1,
            max=options.LARGEST,
            metavar="N",
            help="How many pictures the sample has.",
            rich_help_panel=REHEARSAL,
        ),
    ] = 500,
    hits: Annotated[
        int,
        typer.Option(
            min=1,
            max=1000,
            metavar="N",
            help="How many hits of each query are compared.",
            rich_help_panel=REHEARSAL,
        ),
    ] = 10,
    preprocessing: Annotated[
        Preprocessing | None,
        typer.Option(
            envvar="CLIPINDEX_PREPROCESSING",
            help="How the new collection reads pictures. Default: as the old one does.",
            show_default=False,
            rich_help_panel=options.MODEL,
        ),
    ] = None,
    max_duration: options.MaxDuration = None,
    workers: options.Workers = None,
    provider: options.Provider = Provider.AUTO,
) -> None:
    """Change a collection to another model, without a moment in which it cannot be searched.

    A second collection is filled beside the live one: in one go, or with --max-duration over
    several nights, as the same command goes on where it stopped. Queries, tags and `reindex` use
    the old one meanwhile. When every picture is in the new one and verified, it takes the old
    one's name in one step; tags, folders and all else that people decided come along.

    The old one is kept, and gets every change too, until you drop it: --back loses nothing. On a
    Qdrant server --collection must be an alias (see `clipindex alias`).

        clipindex switch-model ./vit-b-32 --rehearse queries.txt
        clipindex switch-model ./vit-b-32 --max-duration 6h
        clipindex switch-model --back
        clipindex switch-model --drop-old
    """
    _refuse_what_would_be_ignored(session, new)
    from clipindex.cli.run_view import points_bar
    from clipindex.cli.switch_view import show_dropped, show_rehearsal, show_switch
    from clipindex.ingest.cores import usable_cores
    from clipindex.upkeep.switch.rehearse import RehearseOptions
    from clipindex.upkeep.switch.report import SwitchOptions

    output, cores = session.output, workers or usable_cores()
    if (drop_old or cancel) and not _agreed(session, yes=yes, is_new=cancel):
        return
    index = session.index(provider=provider)
    if drop_old or cancel:
        show_dropped(index.cancel_switch() if cancel else index.drop_old(), output)
        return
    with points_bar(output) as moved:
        if rehearse is not None:
            wanted = RehearseOptions(
                preprocessing=preprocessing, sample=sample, hits=hits, cores=cores
            )
            done = index.rehearse(new or "", _queries(rehearse), wanted, moved)
        else:
            how = SwitchOptions(
                preprocessing=preprocessing,
                max_seconds=values.seconds(max_duration),
                leave_out=leave_out,
                cores=cores,
            )
            report = (
                index.switch_back(how, moved) if back else index.switch_model(new or "", how, moved)
            )
    if rehearse is not None:
        show_rehearsal(done, output)
    else:
        show_switch(report, output)


def _refuse_what_would_be_ignored(session: Session, new: str | None) -> None:
    """Raises UsageError for a call that names no action or two, or an option without effect."""
    actions = [name for name in ACTIONS if session.context.params.get(name)]
    if len(actions) > 1:
        names = " and ".join("--" + name.replace("_", "-") for name in actions)
        raise UsageError(f"{names} exclude each other", hint="give one of them")
    action = actions[0] if actions else ""
    if action in ("", "rehearse") and new is None:
        raise UsageError(
            "name the new model, or the folder of its bundle",
            hint="clipindex switch-model ./vit-b-32; --help shows what else there is",
        )
    if action in ("back", "drop_old", "cancel") and new is not None:
        raise UsageError(
            f"--{action.replace('_', '-')} takes no model: '{new}'", hint="leave it out"
        )
    if action not in ("drop_old", "cancel"):
        session.refuse_typed(("yes",), "only with --drop-old and --cancel")
    else:
        session.refuse_typed(EMBEDDING, "embeds nothing, so it has no use for it")
    if action != "rehearse":
        session.refuse_typed(("sample", "hits"), "only with --rehearse")
    else:
        session.refuse_typed(("leave_out",), "not with --rehearse, which changes nothing")
    if action:
        session.refuse_typed(("max_duration",), "only while the new collection is filled")
    if action == "back":
        session.refuse_typed(("preprocessing",), "the old collection has its own")


def _agreed(session: Session, *, yes: bool, is_new: bool) -> bool:
    """Ask before a collection is deleted, and say how many pictures only it has."""
    from clipindex.cli.removal import require_answer
    from clipindex.cli.switch_view import question_of
    from clipindex.collection.status import status_of

    require_answer(session.output, yes=yes, look="status")
    if yes:
        return True
    switch = status_of(session.place()).switch
    if switch is None or (switch.state == "filling") != is_new:
        return True  # the call itself says why there is nothing to delete
    if session.output.ask(question_of(switch)):
        return True
    session.output.say("nothing was deleted")
    return False


def _queries(place: str) -> list[str]:
    """The lines of a file or of standard input; empty ones, and those that begin with #, are left
    out."""
    try:
        data = streams.read_input() if place == "-" else expand_user(Path(place)).read_bytes()
    except OSError as error:
        raise UsageError(
            f"the list of queries cannot be read: {error.strerror}",
            path=place,
            hint="correct --rehearse: it takes a text file with a query on each line",
        ) from error
    lines = (line.strip() for line in data.decode("utf-8", "replace").splitlines())
    return [line for line in lines if line and not line.startswith("#")]
