"""`clipindex reindex`."""

from __future__ import annotations

from clipindex.cli import options, values
from clipindex.cli.session import Session, command
from clipindex.ingest.options import BATCH_SIZE, IngestOptions
from clipindex.model.providers import Provider


@command(writes=True)
def reindex(
    session: Session,
    model: options.Model = None,
    part: options.PartText = None,
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
    """
    from clipindex.cli.run_view import show_run

    how = IngestOptions(
        batch_size=batch_size,
        limit=limit,
        workers=workers,
        max_seconds=values.seconds(max_duration),
    )
    finished = session.metrics(metrics_file)
    index = session.index(model=model, provider=provider)
    events = index.reindex_events(how, part=values.part(part))
    return show_run(events, session.output, finished)
