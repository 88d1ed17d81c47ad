"""Results as people and programs see them: tables, plain lines, JSON."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from clipindex.cli import streams
from clipindex.cli.links import link_of, linked
from clipindex.cli.output import Output
from clipindex.cli.words import count_of, printable, printable_path

if TYPE_CHECKING:
    from rich.text import Text

    from clipindex.ingest.dry_run import DryRun
    from clipindex.ingest.events import Summary
    from clipindex.search.hits import Hit
    from clipindex.upkeep.duplicates.findings import DuplicateFile
    from clipindex.upkeep.quarantine import Quarantined

REASONS_SHOWN = 8  # why files were refused or skipped: the most frequent

# --- a run -----------------------------------------------------------------------------------


def show_summary(summary: Summary, output: Output) -> None:
    """How a run went: what became of the files, and what the collection holds now."""
    if summary.found == 0 and not summary.vanished:
        output.result(f"no pictures found: there are no files{_excluded(summary)}")
        return
    rows = _counts(summary)
    width = max(len(f"{count:,}") for count, _ in rows)
    for count, meaning in rows:
        output.result(f"{count:>{width},}  {meaning}")
        if meaning.startswith("in quarantine"):
            _show_reasons(summary.quarantine_reasons, width, output)
        elif meaning.startswith("skipped"):
            _show_reasons(summary.skip_reasons, width, output)
    for name, count in summary.standing.items():
        output.result(f"{count:>{width},}  found by the standing question '{name}'")
    if summary.by_preview is not None and summary.embedded:
        in_full = summary.embedded - summary.by_preview
        output.result(f"{summary.by_preview:,} by preview, {in_full:,} in full")
    if summary.points == 0:
        output.result("no pictures found")
        return
    provider = f" on {summary.provider}" if summary.provider else ""
    output.result(
        f"{count_of(summary.points, 'picture')} in collection '{summary.collection}'"
        f"{_absent(summary)}; "
        f"{summary.written:,} written and verified, {summary.embedded:,} embedded{provider}, "
        f"in {summary.seconds:.1f} s"
    )


def _counts(summary: Summary) -> list[tuple[int, str]]:
    copies = "copy of a known picture" if summary.duplicate == 1 else "copies of known pictures"
    rows = [
        (summary.new, "new"),
        (summary.changed, "changed (embedded again)"),
        (summary.duplicate, copies),
        (summary.moved, "moved or renamed"),
        (summary.unchanged, "unchanged"),
        (summary.quarantined, f"in quarantine ({_kinds_of_quarantine(summary)})"),
        (summary.skipped, "skipped (not pictures, or deleted before they were read)"),
        (summary.deferred, "deferred to the next run"),
        (summary.found, "found in all" + _excluded(summary)),
    ]
    return [row for row in rows if row[0]]


def _kinds_of_quarantine(summary: Summary) -> str:
    accepted = f", {summary.accepted:,} accepted" if summary.accepted else ""
    return f"{summary.newly_quarantined:,} of them new{accepted}"


def _absent(summary: Summary) -> str:
    missing = f" ({summary.vanished:,} of them not found)" if summary.vanished else ""
    return missing + (f", {summary.pruned:,} pruned" if summary.pruned else "")


def _excluded(summary: Summary) -> str:
    return f" ({count_of(summary.left_out, 'name')} excluded)" if summary.left_out else ""


def _show_reasons(groups: Mapping[str, int], width: int, output: Output) -> None:
    """Why files were refused or skipped, where there is more to say than that they are not
    pictures; the most frequent reasons first."""
    telling = [(reason, count) for reason, count in groups.items() if reason != "not a picture"]
    for reason, count in telling[:REASONS_SHOWN]:
        output.result(f"{'':>{width}}    {reason_line(reason, count)}")
    if rest := sum(count for _, count in telling[REASONS_SHOWN:]):
        output.result(f"{'':>{width}}    {rest:,} for other reasons")


def reason_line(group: str, count: int) -> str:
    """`812 camera raw files: install clipindex[raw]`, `1 camera raw file: ...`."""
    if count == 1:
        group = group.replace("raw files:", "raw file:").replace("pictures:", "picture:")
    return f"{count:,} {group}"


def show_unmatched(globs: Iterable[str], output: Output) -> None:
    """Patterns that did nothing: most likely they were mistyped."""
    for glob in globs:
        output.note(f"the pattern '{glob}' matched nothing")


def show_dry_run(dry_run: DryRun, output: Output) -> None:
    """What a run would do."""
    show_unmatched(dry_run.unmatched_globs, output)
    if output.json:
        output.record({"type": "preview", **asdict(dry_run)})
        return
    opened = "written" if dry_run.by_content is not None else "opened or written"
    output.result(
        f"{count_of(dry_run.found, 'file')} found: {dry_run.to_read:,} to read "
        f"({dry_run.bytes_to_read / 1e6:,.1f} MB), {dry_run.unchanged:,} unchanged, "
        f"{dry_run.deferred:,} deferred, {dry_run.quarantined:,} in quarantine, "
        f"{dry_run.skipped:,} known not to be pictures; {dry_run.vanished:,} remembered but "
        f"missing. Nothing was {opened}."
    )
    if dry_run.by_content is not None:
        kinds = ", ".join(f"{count:,} {name}" for name, count in dry_run.by_content.items())
        output.result(f"By content: {kinds or 'nothing to read'}.")
    for fault in dry_run.faults:
        output.problem(f"could not be read: {fault}")


# --- a query ---------------------------------------------------------------------------------


def remarks(judged: Sequence[Hit], hits: Sequence[Hit], min_z: float | None) -> Iterator[str]:
    """What to say of a query's hits beside showing them: `hits` are those that `min_z` leaves."""
    from clipindex.search.judge import best_z, nothing_fits

    best = best_z(judged)
    if min_z is not None and judged and best is None:
        yield "note: these pictures are too few or too alike to judge a hit; --min-z does nothing"
    elif nothing_fits(judged, hits):  # also where `hits` is empty
        yield f"nothing fits: best z {best:.1f}"


def show_hits(hits: Sequence[Hit], output: Output) -> None:
    """Aligned lines on a terminal; score, tab, path where there is none; or JSON lines."""
    if output.json:
        for hit in hits:
            output.record(hit_fields(hit))
    elif not hits:
        output.say("nothing found")
    elif sys.stdout.isatty():
        _show_hit_lines(hits)
    else:
        for hit in hits:
            print(f"{hit.score:.4f}\t{printable_path(hit.exact_path)}")


def hit_fields(hit: Hit) -> dict[str, object]:
    """A hit as JSON says it."""
    fields = asdict(hit)
    del fields["sha256"], fields["exact_path"], fields["payload"]
    return fields


def show_paths(hits: Iterable[Hit | DuplicateFile], *, zero: bool) -> None:
    """Paths alone, byte for byte, each ended by a line end or with `zero` by NUL. A terminal
    gets them escaped, a line each."""
    if sys.stdout.isatty():
        for hit in hits:
            print(linked(hit.exact_path))
        return
    end = b"\0" if zero else b"\n"
    streams.write_bytes(b"".join(hit.exact_path + end for hit in hits))


def show_path(before: str, path: bytes) -> None:
    """A line that ends in a path, which a terminal may make a link."""
    print(before + linked(path))


def show_fields(fields: Iterable[str]) -> None:
    """One line of fields, parted by tabs."""
    print(*map(printable, fields), sep="\t")


def _show_hit_lines(hits: Sequence[Hit]) -> None:
    from clipindex.cli.console import Terminal, heading

    terminal, width = Terminal(), len(str(len(hits)))
    terminal.print(heading(f"{'':{width}}   score  picture"))
    for hit in hits:
        terminal.print(hit_text(hit, width), soft_wrap=True)


def hit_text(hit: Hit, width: int) -> Text:
    """A hit as a line, its path never folded; `width`: characters of the longest number."""
    from clipindex.cli.console import hit_line

    copies = f" (+{len(hit.paths) - 1})" if len(hit.paths) > 1 else ""
    weak = " (weak)" if hit.fits is False else ""
    score, path = f"{hit.score:.4f}", printable_path(hit.exact_path)
    return hit_line(f"{hit.rank:>{width}}", score, path, copies + weak, link_of(hit.exact_path))


# --- a collection ----------------------------------------------------------------------------


def show_count(verb: str, count: int, output: Output, words: str = "") -> None:
    """How many pictures a command changed; `words` say it to people, where `verb` is too short."""
    output.done = f"{count:,} {words or verb}"
    if output.json:
        output.record({"type": verb, "count": count})
    elif not output.quiet:
        output.result(f"{count:,} {words or verb}")


def show_quarantine(files: Sequence[Quarantined], output: Output) -> None:
    """Refused pictures: a line each of fields parted by tabs, on a terminal two lines each."""
    if output.json:
        for file in files:
            line = asdict(file)
            del line["exact_path"]
            output.record({"type": "quarantine", **line})
        return
    if not files:
        output.say("nothing is in quarantine")
    for file in files:
        path = printable_path(file.exact_path)
        since = file.first_seen or "unknown"
        accepted = "accepted" if file.accepted else ""
        if sys.stdout.isatty():
            facts = [file.reason, f"{file.bytes:,} bytes", f"since {since}", accepted]
            output.result(path)
            output.result("  " + "; ".join(filter(None, facts)))
        else:
            print(since, file.bytes, accepted, printable(file.reason), path, sep="\t")


def show_alias(alias: str, collection: str | None, before: str | None, output: Output) -> None:
    """What an alias stands for now, and what it stood for."""
    if output.json:
        output.record({"type": "alias", "alias": alias, "collection": collection, "before": before})
    elif not output.quiet:
        now = f"stands for '{collection}'" if collection is not None else "stands for nothing"
        was = f" (until now for '{before}')" if before not in (None, collection) else ""
        output.result(f"'{alias}' {now}{was}")
