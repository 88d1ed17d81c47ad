"""A verification while it goes on, and how it went."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from dataclasses import asdict

from clipindex.cli.output import Output
from clipindex.cli.run_view import points_bar
from clipindex.cli.words import count_of
from clipindex.errors import ExitCode
from clipindex.upkeep.verify.findings import (
    Finding,
    Kind,
    Verification,
    VerifyEvent,
    VerifyFinished,
    VerifyProgress,
    VerifyStarted,
)

EXPLAINED = (Kind.CHANGED, Kind.MISSING)  # counted for people, listed with --verbose
HINTS_SHOWN = 3  # a thousand points with one fault need its hint once


def show_verification(events: Generator[VerifyEvent, None, None], output: Output) -> int:
    """Show what is found as it is found, then the result; returns the exit code."""
    code = int(ExitCode.DONE)
    hinted: dict[Kind, str] = {}
    with closing(events), points_bar(output) as moved:
        for event in events:
            match event:
                case VerifyStarted():
                    _show_start(event, output)
                case VerifyProgress():
                    output.done = f"{event.done:,} of {event.total:,} points verified"
                    moved(event.done, event.total)
                case Finding():
                    hinted[event.kind] = event.hint
                    _show_finding(event, output)
                case VerifyFinished():
                    code = event.result.exit_code
                    result = event.result
    if output.json:
        output.record({"type": "verify", **asdict(result), "exit_code": code})
    else:
        _show_result(result, hinted, output)
    output.done = totals(result)
    output.log(f"verified: {totals(result)}; exit code {code}")
    return code


def _show_start(start: VerifyStarted, output: Output) -> None:
    if start.checked_before:
        left = count_of(start.points - start.checked_before, "point")
        output.say(
            f"goes on after {start.checked_before:,} of {start.points:,} points, which were "
            f"checked since {start.since}: {left} left"
        )
    if start.rule:
        output.say(f"embeddings are compared: {start.rule}")
    if start.note:
        output.note(f"points and catalogue are not compared: {start.note}")


def _show_finding(found: Finding, output: Output) -> None:
    line = f"{found.kind}: {found.path or found.id}: {found.reason}"
    output.log(line)
    if output.json:
        fields = asdict(found)
        output.record({"type": "finding", **fields})
    elif found.kind not in EXPLAINED or output.verbose:
        output.problem(line)


def _show_result(result: Verification, hinted: dict[Kind, str], output: Output) -> None:
    """What was checked and found, and what to do about each kind of it."""
    if output.quiet and not result.exit_code:
        return
    if not output.quiet:
        output.result(f"checked {totals(result)}, in {result.seconds:.1f} s")
    for kind, hint in hinted.items():
        say = output.say if kind in EXPLAINED else output.problem
        say(f"  {kind}: {hint}")
    if result.repaired:
        output.say(f"{result.repaired:,} prepared for repair: run `clipindex reindex` now")
    if result.left:
        output.say(f"{count_of(result.left, 'point')} left: the same command goes on from there")


def totals(result: Verification) -> str:
    """`12,000 points, 3 wrong`, and every other count that is not zero."""
    wrong = result.wrong_points + result.wrong_rows + result.wrong_vectors
    parts = [count_of(result.checked, "point"), f"{wrong:,} wrong" if wrong else "none wrong"]
    if result.sample != "1/1":
        parts[0] += f" (part {result.sample})"
    if result.files_read:
        parts.append(f"{count_of(result.files_read, 'file')} ({result.bytes_read / 1e6:,.1f} MB)")
    if result.embedded:
        parts.append(f"{result.embedded:,} embedded again ({result.bit_equal:,} equal to the bit)")
    named = {
        "decayed": result.bit_rot,
        "changed since": result.changed,
        "missing": result.missing,
        "unreadable": result.unreadable,
    }
    return ", ".join([*parts, *(f"{count:,} {name}" for name, count in named.items() if count)])
