"""The options of an ingest on a Ray cluster."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from clipindex.cli import options
from clipindex.cli.session import Session
from clipindex.errors import UsageError
from clipindex.ingest.options import RayOptions
from clipindex.model.providers import Provider


class Engine(StrEnum):
    """What reads and embeds."""

    THREADS = "threads"
    RAY = "ray"


class EngineOptions:
    """Where pictures are read and embedded."""

    engine: Annotated[
        Engine,
        typer.Option(
            envvar="CLIPINDEX_ENGINE",
            help="threads of this process, or ray: actors of a Ray cluster that write to a Qdrant "
            "server (needs the extra ray and --url).",
            rich_help_panel=options.SPEED,
        ),
    ] = Engine.THREADS
    ray_address: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT|auto",
            envvar="CLIPINDEX_RAY_ADDRESS",
            help="With --engine ray: the cluster. Default: RAY_ADDRESS, else a cluster of this "
            "machine's cores.",
            show_default=False,
            rich_help_panel=options.SPEED,
        ),
    ] = None
    cpus_per_actor: Annotated[
        int,
        typer.Option(
            min=1,
            max=1024,
            metavar="N",
            envvar="CLIPINDEX_CPUS_PER_ACTOR",
            help="With --engine ray: cores, and threads, of each actor. --workers is the number of "
            "actors.",
            rich_help_panel=options.SPEED,
        ),
    ] = 1
    gpus_per_actor: Annotated[
        float,
        typer.Option(
            min=0,
            max=64,
            metavar="X",
            envvar="CLIPINDEX_GPUS_PER_ACTOR",
            help="With --engine ray: GPUs of each actor; 0.5: two share one.",
            rich_help_panel=options.SPEED,
        ),
    ] = 0.0


def ray_options(session: Session, provider: Provider) -> RayOptions | None:
    """The cluster that is asked for; None: threads. Raises UsageError for an option that would be
    ignored, and for an embedded store."""
    more = session.more
    if more["engine"] is not Engine.RAY:
        names = ("ray_address", "cpus_per_actor", "gpus_per_actor")
        session.refuse_typed(names, "only with --engine ray")
        return None
    if session.server is None:
        raise UsageError(
            "--engine ray needs a Qdrant server: an embedded store is a folder that one process "
            "writes, and the actors are many",
            hint="name a server that every node of the cluster reaches with --url",
        )
    return RayOptions(
        address=more["ray_address"],
        cpus_per_actor=more["cpus_per_actor"],
        gpus_per_actor=more["gpus_per_actor"],
        provider=provider,
    )
