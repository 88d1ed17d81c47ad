"""clipindex and its peers over the same pictures, in alternation; table and JSON.

    python -m benchmarks.compare [--pictures DIR] [--only NAME]... [--json FILE]

Each run is a whole process. clipindex's is `clipindex ingest` into a fresh store: from files on
disk to durable, verified points. rclip's ends with the rows of its database, another peer's with
its vectors in memory (and in one file, for the check that they agree). Each also runs once over the
first picture of each set alone, which tells its start from its work. What is missing here is left
out, and named. Ctrl-C ends the measuring; the rounds that are complete are told.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import agreement, machine, measure, pictures, report
from benchmarks.programs import OFFLINE, WORK, Pictures, Program, leavings_of, listed, ours, peers

HEIC = agreement.HEIC
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", *HEIC}
SETS = ["camera", "web", "png", "phone", "home"]


@dataclass
class Runs:
    """What was measured so far, and what fell out."""

    measured: dict[tuple[str, str], list[measure.Measured]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    work: Path = options.work.resolve()
    runs = Runs()
    sets = picture_sets(options, work, runs.left_out)
    programs = [*ours(options, work, runs.left_out), *peers(options, work, runs.left_out)]
    try:
        alternate(programs, sets, options.rounds, work, runs)
    except KeyboardInterrupt:
        print("interrupted: what was measured so far follows", file=sys.stderr)
    results = gather(programs, sets, options, work, runs)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n", "utf-8")
    print(report.tables(results))
    apart = [each for found in results["sets"].values() for each in found["agreement"]]
    return 0 if all(each["agrees"] for each in apart) else 1


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, default=WORK, help=f"kept between runs ({WORK})")
    parser.add_argument("--pictures", type=Path, help="a folder of pictures, e.g. of a phone")
    parser.add_argument("--suffix", help="of --pictures those that end so, e.g. .jpg")
    parser.add_argument(
        "--set", action="append", choices=pictures.KINDS, help=f"made pictures ({', '.join(SETS)})"
    )
    parser.add_argument("--count", type=int, help="at most so many pictures of a set")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", action="append", help="these programs and no others")
    parser.add_argument("--fp32-bundle", type=Path, help="default: random ViT-B/32, made here")
    parser.add_argument("--int8-bundle", type=Path, help="default: the same weights, made here")
    parser.add_argument(
        "--no-floor",
        action="store_true",
        help="neither roofline nor floor, which are measured on the first set",
    )
    parser.add_argument("--json", type=Path, help="write all figures there")
    return parser.parse_args(arguments)


def picture_sets(
    options: argparse.Namespace, work: Path, left_out: dict[str, str]
) -> list[Pictures]:
    """The sets to run over."""
    found: dict[str, list[Path]] = {}
    for kind in options.set or ([] if options.pictures else SETS):
        try:
            count = min(options.count or sys.maxsize, pictures.KINDS[kind].count)
            found[kind] = pictures.make(kind, work / "pictures" / kind, count)
        except ImportError as error:
            left_out[f"the set {kind}"] = str(error)
    if options.pictures:
        folder = options.pictures.resolve()
        suffixes = {options.suffix} if options.suffix else SUFFIXES
        files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in suffixes)
        found[folder.name] = files[: options.count]
    return [
        listed(
            name,
            files,
            work,
            roofed=number == 0,
            previews=any(path.suffix.lower() in HEIC for path in files),
        )
        for number, (name, files) in enumerate(found.items())
    ]


def alternate(
    programs: Sequence[Program],
    sets: Sequence[Pictures],
    rounds: int,
    work: Path,
    runs: Runs,
) -> None:
    """Every program over every set, in turn, so many times; each round begins with another one,
    the first round with the first picture alone. One that fails on a set is left out there."""
    for number in range(rounds):
        first = number % len(programs)
        for chosen in sets:
            for part in (chosen,) if number else (first_of(chosen, work), chosen):
                for program in (*programs[first:], *programs[:first]):
                    if program.suits(chosen) and _failure(program, chosen) not in runs.left_out:
                        _run_once(program, part, number, work, runs)


def first_of(chosen: Pictures, work: Path) -> Pictures:
    """The first picture of a set, for what it costs to begin."""
    return listed(f"{chosen.name}, first", chosen.files[:1], work, of=chosen.name)


def _failure(program: Program, chosen: Pictures) -> str:
    """The name of what is left out when a program fails; a roof falls with its column."""
    column = f"clipindex {program.precision}" if program.precision else program.name
    return f"{column} on {chosen.of or chosen.name}"


def _run_once(program: Program, chosen: Pictures, number: int, work: Path, runs: Runs) -> None:
    leavings = leavings_of(program.name, chosen, work)
    unfinished, log = leavings.with_suffix(".unfinished"), leavings.with_suffix(".log")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    run = measure.run(program.command(chosen, unfinished), log, OFFLINE)
    shutil.rmtree(leavings, ignore_errors=True)
    unfinished.rename(leavings)
    if run.exit_code:
        failure = f"exit code {run.exit_code}: {_last_words(log)}"
        runs.left_out[_failure(program, chosen)] = failure
    elif program.name.startswith("clipindex") and (why := _amiss(program, chosen, log)):
        runs.left_out[_failure(program, chosen)] = why
    else:
        runs.measured.setdefault((program.name, chosen.name), []).append(run)
    print(
        f"round {number + 1}  {chosen.name:14}  {program.name:24}  {run.wall:6.2f} s"
        f"  {run.cpu / len(chosen.files) * 1e3:7.1f} CPU ms  {run.peak_rss_mb:5.0f} MB",
        file=sys.stderr,
        flush=True,
    )


def _amiss(program: Program, chosen: Pictures, log: Path) -> str | None:
    """What the summary of a finished ingest says against it, if anything."""
    (summary,) = [
        line
        for line in map(json.loads, filter(_is_json, log.read_text("utf-8").splitlines()))
        if line["type"] == "summary"
    ]
    if summary["points"] != len(chosen.files):
        return f"{summary['points']} points of {len(chosen.files)} pictures"
    if program.precision == "bf16" and "bf16" not in summary["provider"]:
        return f"no bf16 on this CPU: it ran on {summary['provider']}"
    return None


def _is_json(line: str) -> bool:
    return line.startswith("{")


def _last_words(log: Path) -> str:
    """The last two lines of a log in which something is said."""
    lines = [line.strip(" │") for line in log.read_text("utf-8", "replace").splitlines()]
    return " / ".join([line for line in lines if re.search(r"\w", line)][-2:])


def gather(
    programs: Sequence[Program],
    sets: Sequence[Pictures],
    options: argparse.Namespace,
    work: Path,
    runs: Runs,
) -> dict[str, Any]:
    """Everything as it goes into the JSON file."""
    found: dict[str, Any] = {}
    done: list[Program] = []
    for chosen in sets:
        here = [each for each in programs if _finished(each, chosen, runs)]
        floor = machine.floor(chosen.listed) if chosen.roofed and not options.no_floor else None
        found[chosen.name] = _figures_of_set(here, chosen, work, runs, floor)
        found[chosen.name]["agreement"] = _agreement_of_set(here, chosen, work)
        done += [each for each in here if each not in done]
    return {
        "date": datetime.now(UTC).isoformat(timespec="minutes"),
        "machine": machine.described(),
        "rounds": max(map(len, runs.measured.values()), default=0),
        "versions": {each.name: each.version() for each in done if each.version},
        "left_out": runs.left_out,
        "sets": found,
    }


def _finished(program: Program, chosen: Pictures, runs: Runs) -> bool:
    ran = (program.name, chosen.name) in runs.measured
    return ran and _failure(program, chosen) not in runs.left_out


def _figures_of_set(
    programs: Sequence[Program],
    chosen: Pictures,
    work: Path,
    runs: Runs,
    floor: dict[str, Any] | None,
) -> dict[str, Any]:
    count, megabytes = len(chosen.files), sum(path.stat().st_size for path in chosen.files) / 1e6
    first = first_of(chosen, work).name
    measured = {each.name: runs.measured[each.name, chosen.name] for each in programs}
    complete = min(map(len, measured.values()), default=0)
    measured = {name: each[:complete] for name, each in measured.items()}
    figures = {
        name: report.figures(each, count, runs.measured[name, first])
        for name, each in measured.items()
    }
    mine = [each for each in programs if each.name.startswith("clipindex")]
    theirs = [each.name for each in programs if each.precision is None]
    roofs = {}
    for each in mine:
        roof = figures.get(f"roof {each.precision}")
        if floor and roof and each.precision:
            roofs[each.name] = {
                **report.roofline(figures[each.name], roof, machine.cores()),
                "floor_ms": report.floor_ms(floor, each.precision, megabytes / count),
            }
    return {
        "pictures": count,
        "megabytes": megabytes,
        "programs": {name: asdict(each) for name, each in figures.items()},
        "runs": {name: [asdict(run) for run in each] for name, each in measured.items()},
        "ratios": {
            each.name: {name: report.ratios(figures[each.name], figures[name]) for name in theirs}
            for each in mine
        },
        "roofline": roofs,
        "floor": floor,
    }


def _agreement_of_set(programs: Sequence[Program], chosen: Pictures, work: Path) -> list[Any]:
    """Of clipindex's first column against everything else, and of its exact preprocessing
    against the peers', which are all CLIP's own to within a pixel of the crop."""
    vectors = {}
    for each in programs:
        leavings = leavings_of(each.name, chosen, work)
        if each.name.startswith("clipindex"):
            vectors[each.name] = agreement.from_store(leavings, chosen.files)
        elif each.precision is None:
            vectors[each.name] = agreement.from_file(leavings / "vectors.npy")
    first = next((each for each in programs if each.name.startswith("clipindex")), None)
    if first is None or len(vectors) < 2:
        return []
    leavings = leavings_of("exact", chosen, work)
    shutil.rmtree(leavings, ignore_errors=True)
    exactly = [*first.command(chosen, leavings), "--preprocessing", "exact"]
    subprocess.run(exactly, cwd=measure.ROOT, check=True, capture_output=True)
    exact = agreement.from_store(leavings, chosen.files)
    return agreement.table(vectors, first.name, exact, agreement.upright(chosen.files))


if __name__ == "__main__":
    sys.exit(main())
