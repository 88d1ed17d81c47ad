"""What leaves the index: the list, the question, and what was done."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from clipindex.cli import values
from clipindex.cli.output import Output
from clipindex.cli.words import count_of, printable_path
from clipindex.collection.names import require_named_source
from clipindex.errors import ClipIndexError, ExitCode, UsageError
from clipindex.files.identity import display_path, point_id

if TYPE_CHECKING:
    from clipindex.cli.run_view import Then
    from clipindex.cli.session import Session
    from clipindex.index import Index
    from clipindex.ingest.events import Summary
    from clipindex.ingest.options import IngestOptions, PruneOptions
    from clipindex.ingest.prunable import Kept, Prunable, PrunePlan
    from clipindex.ingest.prune import PruneReport
    from clipindex.ingest.scope import Part

SHOWN = 20  # files of a list before a question; --dry-run and --verbose show all


def require_answer(output: Output, *, yes: bool, look: str = "prune --dry-run") -> None:
    """Raises UsageError where nobody agreed and nobody can be asked; `look` is the command that
    shows what would go."""
    if not yes and not output.can_ask:
        why = "--json asks no question" if output.json else "there is no terminal"
        raise UsageError(
            f"files are removed from the index only after a question, and {why}",
            hint=f"look with `clipindex {look}` first, then add --yes",
        )


def show_plan(plan: PrunePlan, output: Output, most: int | None = None) -> None:
    """The files that would go, at most `most` of them, and those that stay."""
    lines = [f"{file.why}: {printable_path(file.row.path)}" for file in plan.prunable]
    lines += [f"kept: {printable_path(file.row.path)}: {file.reason}" for file in plan.kept]
    for line in lines[:most]:
        output.result(line)
    if most is not None and len(lines) > most:
        output.result(f"... and {len(lines) - most:,} more")


def asker(output: Output, *, yes: bool) -> Callable[[PrunePlan], bool] | None:
    """Shows a plan and asks whether to carry it out; None: it was agreed to before."""
    if yes:
        return None

    def agree(plan: PrunePlan) -> bool:
        show_plan(plan, output, None if output.verbose else SHOWN)
        return output.ask(f"Remove {_files(plan)} from the index?")

    return agree


def show_report(report: PruneReport, source: str, output: Output) -> None:
    """What was removed and what stayed: to people, to programs, in the log."""
    for file in report.removed:
        output.log(f"pruned: {display_path(file.row.path)}: {file.why}")
        if output.json:
            output.record(_line(file, "pruned", file.why, source))
        elif output.verbose:
            output.say(f"pruned: {printable_path(file.row.path)}: {file.why}")
    _show_kept(report.plan, source, output)


def show_foreseen(plan: PrunePlan, source: str, output: Output) -> None:
    """The whole list, and that nothing was done. Raises the plan's refusal."""
    if output.json:
        for file in plan.prunable:
            output.record(_line(file, "prunable", file.why, source))
        _show_kept(plan, source, output)
    else:
        show_plan(plan, output)
    if plan.refusal is not None:
        raise plan.refusal
    if output.json:
        output.record({"type": "prune", **_counts(plan, pruned=0), "dry_run": True, "points": None})
    else:
        kept = f"; {len(plan.kept):,} not found stay" if plan.kept else ""
        output.result(f"{_files(plan)} would leave the index{kept}. Nothing was removed.")


def show_pruned(report: PruneReport, output: Output) -> None:
    """The last line of `prune`."""
    plan, pruned = report.plan, len(report.removed)
    output.log(f"finished: {pruned:,} pruned, {len(plan.kept):,} kept; exit code 0")
    if output.json:
        counts = _counts(plan, pruned=pruned)
        output.record({"type": "prune", **counts, "dry_run": False, "points": report.points})
    elif report.points is None and plan.prunable:
        output.say("nothing was removed")
    elif not output.quiet:
        left = "" if report.points is None else f"; {count_of(report.points, 'picture')} left"
        output.result(f"{pruned:,} pruned{_staying(plan)}{left}")


def limits_of(session: Session, max_delete: str | None, *, prune: bool, yes: bool) -> PruneOptions:
    """The limits of a `--prune`. Raises UsageError for what would be ignored, and where nobody
    agreed and nobody can be asked."""
    if prune:
        require_answer(session.output, yes=yes)
        if session.server is not None:
            require_named_source(session.place())
    else:
        session.refuse_typed(("yes", "max_delete"), "only with --prune")
    return values.most_deleted(max_delete)


def prune_after(
    session: Session,
    index: Index,
    paths: Sequence[Path],
    options: IngestOptions,
    limits: PruneOptions,
    part: Part,
    *,
    yes: bool,
) -> Then:
    """What `--prune` does once a run is done and some of what is remembered was not there."""
    output = session.output

    def then(summary: Summary) -> tuple[Summary, ClipIndexError | None]:
        if not summary.vanished and not summary.vanished_notes:
            return summary, None
        try:
            report = index.prune(paths, limits, part=part, agree=asker(output, yes=yes))
        except ClipIndexError as error:
            return replace(summary, exit_code=int(error.exit_code)), error
        show_report(report, index.place.source, output)
        after = _after(summary, report)
        attention = after.needs_attention(fail_on_vanished=options.fail_on_vanished)
        code = ExitCode.ATTENTION if attention else ExitCode.DONE
        return replace(after, exit_code=int(code)), None

    return then


def _after(summary: Summary, report: PruneReport) -> Summary:
    """The summary of a run and of the prune after it."""
    pictures = sum(file.is_picture for file in report.removed)
    notes = len(report.removed) - pictures
    return replace(
        summary,
        vanished=max(0, summary.vanished - pictures),
        vanished_notes=max(0, summary.vanished_notes - notes),
        pruned=len(report.removed),
        points=summary.points if report.points is None else report.points,
    )


def _show_kept(plan: PrunePlan, source: str, output: Output) -> None:
    for file in plan.kept:
        output.log(f"kept: {display_path(file.row.path)}: {file.reason}")
        if output.json:
            output.record(_line(file, "kept", file.reason, source))
        elif output.verbose:
            output.say(f"kept: {printable_path(file.row.path)}: {file.reason}")


def _line(file: Prunable | Kept, status: str, reason: str, source: str) -> dict[str, object]:
    path = file.row.path
    name = str(point_id(source, path)) if file.is_picture else None
    line = {"path": display_path(path), "status": status, "id": name, "reason": reason}
    return {"type": "file", **line}


def _counts(plan: PrunePlan, *, pruned: int) -> dict[str, object]:
    return {"prunable": len(plan.prunable), "pruned": pruned, "kept": len(plan.kept)}


def _files(plan: PrunePlan) -> str:
    """`34 files`, or `36 files (2 of them without a picture)`."""
    others = len(plan.prunable) - plan.of_pictures()
    without = f" ({others:,} of them refused or skipped before)" if others else ""
    return count_of(len(plan.prunable), "file") + without


def _staying(plan: PrunePlan) -> str:
    return f"; {len(plan.kept):,} not found stay (why: --dry-run)" if plan.kept else ""
