"""`clipindex reindex`."""

from __future__ import annotations

from clipindex.cli import options, removal, values
from clipindex.cli.engine_options import EngineOptions, ray_options
from clipindex.cli.session import Session, command
from clipindex.ingest.options import BATCH_SIZE, IngestOptions
from clipindex.model.providers import Provider


@command(writes=True, groups=(EngineOptions,))
def reindex(
    session: Session,
    prune: options.Prune = False,
    max_delete: options.MaxDelete = None,
    yes: options.Yes = False,
    fail_on_vanished: options.FailOnVanished = False,
    model: options.Model = None,
    part: options.PartText = None,
    reread: options.Reread = False,
    redecode: options.RedecodeOption = None,
    limit: options.Limit = None,
    max_duration: options.MaxDuration = None,
    batch_size: options.BatchSize = BATCH_SIZE,
    workers: options.Workers = None,
    provider: options.Provider = Provider.AUTO,
    metrics_file: options.MetricsFile = None,
) -> int:
    """Bring every remembered folder up to date, with the options it was ingested with.

    `status` lists the folders, `forget` drops one. The line for cron:

        0 3 * * * clipindex reindex --quiet

    With `--prune --yes` it also removes pictures whose files are gone, within safe limits.
    """
    limits = removal.limits_of(session, max_delete, prune=prune, yes=yes)
    from clipindex.cli.run_view import show_run

    ray = ray_options(session, provider)
    how = IngestOptions(
        batch_size=batch_size,
        reread=reread,
        redecode=redecode,
        limit=limit,
        workers=workers,
        max_seconds=values.seconds(max_duration),
        fail_on_vanished=fail_on_vanished,
        ray=ray,
    )
    take = session.metrics(metrics_file)
    index = session.index(model=model, provider=Provider.CPU if ray else provider)
    share = values.part(part)
    then = removal.prune_after(session, index, (), how, limits, share, yes=yes)
    events = index.reindex_events(how, part=share)
    return show_run(events, session.output, take, then if prune else None)
