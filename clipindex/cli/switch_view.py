"""`switch-model`, as people and programs see it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from clipindex.cli.output import Output
from clipindex.cli.words import count_of, megabytes
from clipindex.errors import Refused

if TYPE_CHECKING:
    from clipindex.collection.status import SwitchStatus
    from clipindex.upkeep.switch.ending import Dropped
    from clipindex.upkeep.switch.rehearse import Rehearsal
    from clipindex.upkeep.switch.report import SwitchReport

SHOWN = 10  # pictures that cannot be embedded, to people
COLUMNS = ("kept", "won", "lost")


def switch_words(switch: SwitchStatus, model: str) -> list[str]:
    """Where a switch stands, and how it goes on: for `status`; `model`: the live one's."""
    name = switch.model
    named = name if name != model else f"{name} ({switch.preprocessing})"
    if switch.state == "filling":
        known = switch.pictures is not None and switch.of is not None
        done = f": {switch.pictures:,} of {switch.of:,} pictures" if known else ""
        return [
            f"filling the collection of {named}{done}, since {switch.began}",
            "the same `clipindex switch-model` goes on with it, --cancel gives it up",
        ]
    behind = (switch.of or 0) - (switch.pictures or 0)
    lacking = f", without {count_of(behind, 'picture')}" if behind > 0 else ""
    return [
        f"done; the old collection of {named} is kept{lacking}",
        "`clipindex switch-model --drop-old` deletes it, --back goes back to it",
    ]


def question_of(switch: SwitchStatus) -> str:
    """What is asked before a collection is deleted."""
    which = "new" if switch.state == "filling" else "old"
    loss = "" if which == "new" else " There is no way back then."
    return f"Delete the {which} collection of {switch.model}?{loss}"


def show_dropped(dropped: Dropped, output: Output) -> None:
    """What was deleted."""
    output.log(f"deleted the collection of {dropped.model or 'an interrupted deletion'}")
    if output.json:
        output.record({"type": "switch", "state": "ended", **asdict(dropped)})
    elif not output.quiet:
        what = f"the collection of {dropped.model}" if dropped.model else "what was left of it"
        output.result(f"{what} is deleted; the collection has the model {dropped.live}")


def _names(report: SwitchReport | Rehearsal) -> tuple[str, str]:
    """Both models, the new one first; of one model with two preprocessings these as well."""
    if report.model != report.before:
        return report.model, report.before
    return (
        f"{report.model} ({report.preprocessing})",
        f"{report.before} ({report.preprocessing_before})",
    )


def show_switch(report: SwitchReport, output: Output) -> None:
    """How far a switch came. Raises Refused where pictures keep it from being made."""
    model, _ = _names(report)
    output.log(f"switch to {model}: {report.state}, {report.pictures:,} of {report.of:,} pictures")
    if output.json:
        output.record({"type": "switch", **asdict(report)})
    else:
        _show_people(report, output)
    if report.state == "filling" and report.missing:
        lacking = count_of(len(report.missing), "picture")
        raise Refused(
            f"not switched: {lacking} cannot be embedded with {model}",
            hint="mount the disk, run `clipindex reindex` or `clipindex prune`, then repeat this; "
            "or leave them out with --leave-out",
        )


def _show_people(report: SwitchReport, output: Output) -> None:
    most = None if output.verbose else SHOWN
    for one in report.missing[:most]:
        output.problem(f"{one.path}: {one.reason}")
    if most is not None and len(report.missing) > most:
        output.problem(f"... and {len(report.missing) - most:,} more (--verbose lists all)")
    if output.quiet:
        return
    model, before = _names(report)
    if report.roots:
        rows = [(root.before, root.after, root.root or "elsewhere") for root in report.roots]
        _table((before, model, "folder"), rows, output)
    embedded = f"{report.embedded:,} embedded and verified in {report.seconds:.1f} s"
    pictures = f"{report.pictures:,} of {count_of(report.of, 'picture')}"
    if report.state == "filling":
        output.result(f"{pictures} in the collection of {model}; {embedded}")
        if not report.missing:
            output.result("not switched yet: the same command goes on from there")
        return
    output.result(f"'{report.collection}' now has the model {model}: {pictures}; {embedded}")
    if report.state == "back":
        output.result(
            f"the collection of {before} is kept: switch to it again as before, or delete it with "
            "`clipindex switch-model --cancel`"
        )
    else:
        output.result(
            f"the old collection of {before} is kept, and gets every change: "
            "`clipindex switch-model --back` goes back to it, --drop-old deletes it"
        )


def show_rehearsal(done: Rehearsal, output: Output) -> None:
    """What a switch would change."""
    if output.json:
        for query in done.queries:
            output.record({"type": "rehearsed_query", **asdict(query)})
        totals = {name: getattr(done, name) for name in COLUMNS}
        fields = {name: value for name, value in asdict(done).items() if name != "queries"}
        output.record({"type": "rehearsal", **totals, **fields})
        return
    rows = [(query.kept, len(query.won), len(query.lost), query.query) for query in done.queries]
    rows.append((done.kept, done.won, done.lost, "in all"))
    _table((*COLUMNS, "query"), rows, output)
    if output.verbose:
        for query in done.queries:
            output.result(f"{query.query}: first {query.first_before}, then {query.first_after}")
    sample = f"a sample of {count_of(done.sampled, 'picture')}"
    unread = f" ({done.unreadable:,} more could not be read)" if done.unreadable else ""
    model, before = _names(done)
    output.result(f"the first {done.hits} hits of {before} and {model} in {sample}{unread}")
    cpu, wall = _time(done.cpu_seconds_in_all), _time(done.wall_seconds_in_all)
    output.result(
        f"the whole, {count_of(done.pictures, 'picture')}: about {cpu} of CPU time ({wall} here), "
        f"{megabytes(done.bytes_in_all)} on the disk. Nothing was changed."
    )


def _time(seconds: float) -> str:
    """`4.0 s`, `12 min`, `3.5 h`."""
    if seconds < 90:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _table(head: Sequence[str], rows: Sequence[Sequence[object]], output: Output) -> None:
    """Numbers in columns, and then a text."""
    texts = [head, *([f"{v:,}" if isinstance(v, int) else str(v) for v in row] for row in rows)]
    widths = [max(len(row[n]) for row in texts) for n in range(len(head) - 1)]
    for row in texts:
        cells = [f"{cell:>{width}}" for cell, width in zip(row, widths, strict=False)]
        output.result("  ".join([*cells, row[-1]]))
