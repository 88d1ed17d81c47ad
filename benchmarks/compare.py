"""clipindex and its peers over the same pictures, in alternation; table and JSON.

    python -m benchmarks.compare [--pictures DIR] [--only NAME]... [--json FILE]

Each run is a whole process. clipindex's is `clipindex ingest` into a fresh store: from files on
disk to durable, verified points. A peer's ends with its vectors in memory (and in one file, for
the check that they agree). What is missing here is left out, and named.
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
from benchmarks.programs import OFFLINE, WORK, Pictures, Program, leavings_of, ours, peers

START = "start"  # the set of one picture, for what it costs to begin
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}


@dataclass
class Runs:
    """What was measured so far, and what fell out."""

    measured: dict[tuple[str, str], list[measure.Measured]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    work: Path = options.work.resolve()
    runs = Runs()
    sets = picture_sets(options, work)
    programs = [*ours(options, work, runs.left_out), *peers(options, work, runs.left_out)]
    alternate(programs, sets, options.rounds, work, runs)
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
    parser.add_argument("--pictures", type=Path, help="a folder of pictures, not made ones")
    parser.add_argument("--suffix", help="of --pictures those that end so, e.g. .jpg")
    parser.add_argument(
        "--set", action="append", choices=pictures.KINDS, help="made pictures (camera, web, png)"
    )
    parser.add_argument("--count", type=int, help="of pictures in a set")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", action="append", help="these programs and no others")
    parser.add_argument("--fp32-bundle", type=Path, help="default: random ViT-B/32, made here")
    parser.add_argument("--int8-bundle", type=Path, help="default: the same weights, made here")
    parser.add_argument("--no-floor", action="store_true", help="neither roofline nor floor")
    parser.add_argument("--json", type=Path, help="write all figures there")
    return parser.parse_args(arguments)


def picture_sets(options: argparse.Namespace, work: Path) -> list[Pictures]:
    """The sets to run over, after the one of a single picture."""
    found: dict[str, list[Path]] = {}
    if options.pictures:
        folder = options.pictures.resolve()
        suffixes = {options.suffix} if options.suffix else SUFFIXES
        files = sorted(path for path in folder.iterdir() if path.suffix in suffixes)
        found[folder.name] = files[: options.count]
    kinds = options.set or ([] if options.pictures else ["camera", "web", "png"])
    for kind in kinds:
        found[kind] = pictures.make(kind, work / "pictures" / kind, options.count)
    (work / "lists").mkdir(parents=True, exist_ok=True)
    first = next(iter(found.values()))
    return [_listed(name, files, work) for name, files in {START: first[:1], **found}.items()]


def _listed(name: str, files: Sequence[Path], work: Path) -> Pictures:
    listed = work / "lists" / f"{name}.txt"
    listed.write_text("".join(f"{path}\n" for path in files), "utf-8")
    return Pictures(name, tuple(files), listed, ("--files-from", str(listed)))


def alternate(
    programs: Sequence[Program], sets: Sequence[Pictures], rounds: int, work: Path, runs: Runs
) -> None:
    """Every program over every set, in turn, so many times. One that fails is left out."""
    for number in range(rounds):
        for chosen in sets:
            for program in programs:
                of = f"clipindex {program.precision}" if program.precision else program.name
                if of not in runs.left_out and program.name not in runs.left_out:
                    _run_once(program, chosen, number, work, runs)


def _run_once(program: Program, chosen: Pictures, number: int, work: Path, runs: Runs) -> None:
    leavings = leavings_of(program.name, chosen, work)
    shutil.rmtree(leavings, ignore_errors=True)
    leavings.mkdir(parents=True)
    log = leavings.with_suffix(".log")
    run = measure.run(program.command(chosen, leavings), log, OFFLINE)
    if run.exit_code:
        runs.left_out[program.name] = f"exit code {run.exit_code}: {_last_words(log)}"
    elif program.name.startswith("clipindex") and (why := _amiss(program, chosen, log)):
        runs.left_out[program.name] = why
    else:
        runs.measured.setdefault((program.name, chosen.name), []).append(run)
    print(
        f"round {number + 1}  {chosen.name:8}  {program.name:22}  {run.wall:6.2f} s"
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
    last = sets[-1].name
    there = [each for each in programs if (each.name, last) in runs.measured]
    found: dict[str, Any] = {}
    for chosen in sets[1:]:
        floor = None if options.no_floor else machine.floor(chosen.listed)
        found[chosen.name] = _figures_of_set(there, chosen, runs, floor)
        found[chosen.name]["agreement"] = _agreement_of_set(there, chosen, work)
    return {
        "date": datetime.now(UTC).isoformat(timespec="minutes"),
        "machine": machine.described(),
        "rounds": options.rounds,
        "versions": {each.name: each.version() for each in there if each.version},
        "left_out": runs.left_out,
        "sets": found,
    }


def _figures_of_set(
    programs: Sequence[Program], chosen: Pictures, runs: Runs, floor: dict[str, Any] | None
) -> dict[str, Any]:
    count, megabytes = len(chosen.files), sum(path.stat().st_size for path in chosen.files) / 1e6
    figures = {
        each.name: report.figures(
            runs.measured[each.name, chosen.name], count, runs.measured[each.name, START]
        )
        for each in programs
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
        "runs": {
            each.name: [asdict(run) for run in runs.measured[each.name, chosen.name]]
            for each in programs
        },
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
