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


def switch_words(switch: SwitchStatus) -> list[str]:
    """Where a switch stands, and how it goes on: for `status`."""
    name = switch.model
    if switch.state == "filling":
        known = switch.pictures is not None and switch.of is not None
        done = f": {switch.pictures:,} of {switch.of:,} pictures" if known else ""
        return [
            f"filling the collection of {name}{done}, since {switch.began}",
            f"`clipindex switch-model {name}` goes on, --cancel gives it up",
        ]
    behind = (switch.of or 0) - (switch.pictures or 0)
    lacking = f", without {count_of(behind, 'picture')}" if behind > 0 else ""
    return [
        f"done; the old collection of {name} is kept{lacking}",
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


def show_switch(report: SwitchReport, output: Output) -> None:
    """How far a switch came. Raises Refused where pictures keep it from being made."""
    output.log(
        f"switch to {report.model}: {report.state}, {report.pictures:,} of {report.of:,} pictures"
    )
    if output.json:
        output.record({"type": "switch", **asdict(report)})
    else:
        _show_people(report, output)
    if report.state == "filling" and report.missing:
        lacking = count_of(len(report.missing), "picture")
        raise Refused(
            f"not switched: {lacking} cannot be embedded with {report.model}",
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
    if report.roots:
        rows = [(root.root or "elsewhere", root.before, root.after) for root in report.roots]
        _table(("folder", report.before, report.model), rows, output)
    embedded = f"{report.embedded:,} embedded and verified in {report.seconds:.1f} s"
    pictures = f"{report.pictures:,} of {count_of(report.of, 'picture')}"
    if report.state == "filling":
        output.result(f"{pictures} in the collection of {report.model}; {embedded}")
        if not report.missing:
            output.result("not switched yet: the same command goes on from there")
        return
    output.result(f"'{report.collection}' now has the model {report.model}: {pictures}; {embedded}")
    if report.state == "back":
        output.result(
            f"the collection of {report.before} is kept: `clipindex switch-model {report.before}` "
            "switches to it again, --cancel deletes it"
        )
    else:
        output.result(
            f"the old collection of {report.before} is kept, and gets every change: "
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
    rows = [(query.query, query.kept, len(query.won), len(query.lost)) for query in done.queries]
    rows.append(("in all", done.kept, done.won, done.lost))
    _table(("query", *COLUMNS), rows, output)
    if output.verbose:
        for query in done.queries:
            output.result(f"{query.query}: first {query.first_before}, then {query.first_after}")
    sample = f"a sample of {count_of(done.sampled, 'picture')}"
    unread = f" ({done.unreadable:,} more could not be read)" if done.unreadable else ""
    output.result(
        f"the first {done.hits} hits of {done.before} and {done.model} in {sample}{unread}"
    )
    cpu, wall = _time(done.cpu_seconds_in_all), _time(done.wall_seconds_in_all)
    output.result(
        f"the whole, {count_of(done.pictures, 'picture')}: about {cpu} of CPU time ({wall} here), "
        f"{megabytes(done.bytes_in_all)} on the disk. Nothing was changed."
    )


def _time(seconds: float) -> str:
    """`40 s`, `12 min`, `3.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _table(head: Sequence[str], rows: Sequence[Sequence[object]], output: Output) -> None:
    """A text and then numbers, in columns."""
    texts = [head, *([f"{v:,}" if isinstance(v, int) else str(v) for v in row] for row in rows)]
    first, *others = (max(len(row[n]) for row in texts) for n in range(len(head)))
    for row in texts:
        cells = [f"{row[0]:<{first}}"]
        cells += [f"{cell:>{width}}" for cell, width in zip(row[1:], others, strict=True)]
        output.result("  ".join(cells))
