"""From measured runs to figures, and from figures to tables. Nothing here measures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from benchmarks.measure import Measured


@dataclass(frozen=True)
class Figures:
    """Medians of one program's runs over one set of pictures."""

    pictures_per_second: float
    cpu_ms: float  # a picture, of the whole process
    cpu_ms_more: float | None  # each further picture: the start and the first one taken off
    wall: float  # seconds of the whole process
    wall_more: float | None
    peak_rss_mb: float
    others: float | None  # cores kept busy by all else on the machine
    rounds: int


def figures(runs: Sequence[Measured], pictures: int, starts: Sequence[Measured]) -> Figures:
    """Medians of `runs` over so many pictures; `starts` are runs over a single one."""
    wall, cpu = median(run.wall for run in runs), median(run.cpu for run in runs)
    cpu_more = wall_more = None
    if starts and pictures > 1:
        cpu_more = (cpu - median(run.cpu for run in starts)) / (pictures - 1) * 1e3
        wall_more = wall - median(run.wall for run in starts)
        if min(cpu_more, wall_more) <= 0:  # too few pictures, or too much noise, to tell
            cpu_more = wall_more = None
    loads = [run.others for run in runs if run.others is not None]
    return Figures(
        pictures_per_second=pictures / wall,
        cpu_ms=cpu / pictures * 1e3,
        cpu_ms_more=cpu_more,
        wall=wall,
        wall_more=wall_more,
        peak_rss_mb=median(run.peak_rss_mb for run in runs),
        others=median(loads) if loads else None,
        rounds=len(runs),
    )


def ratios(ours: Figures, theirs: Figures) -> dict[str, float | None]:
    """How many times as much a peer takes."""
    more = None
    if ours.cpu_ms_more and theirs.cpu_ms_more:
        more = theirs.cpu_ms_more / ours.cpu_ms_more
    return {
        "cpu": theirs.cpu_ms / ours.cpu_ms,
        "cpu_more": more,
        "pictures_per_second": ours.pictures_per_second / theirs.pictures_per_second,
        "peak_rss": theirs.peak_rss_mb / ours.peak_rss_mb,
    }


def roofline(ours: Figures, roof: Figures, cores: int) -> dict[str, float | None]:
    """The share of the roofline: the bare work's CPU spread over the cores, to the wall of the
    whole program; of the whole processes, and of all pictures beyond the first."""
    share_more = None
    if roof.cpu_ms_more is not None and ours.wall_more:
        pictures = ours.pictures_per_second * ours.wall
        share_more = roof.cpu_ms_more * (pictures - 1) / 1e3 / cores / ours.wall_more
    return {
        "roof_cpu_ms": roof.cpu_ms,
        "share": roof.cpu_ms * ours.pictures_per_second / 1e3 / cores,
        "share_more": share_more,
    }


def floor_ms(floor: dict[str, Any], precision: str, megabytes_a_picture: float) -> float | None:
    """CPU ms a picture that entropy decoding and multiplying take on one core."""
    rate, entropy = floor["gigaflops_of_a_core"].get(precision), floor["entropy_ms_per_mb"]
    if not rate or entropy is None:
        return None
    return float(entropy * megabytes_a_picture + floor["gflop_a_picture"] / rate * 1e3)


def tables(results: dict[str, Any]) -> str:
    """All results of a comparison as Markdown."""
    machine, sets = results["machine"], results["sets"]
    where = f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gb']:.0f} GB"
    parts = [f"{where}; {machine['system']}; {results['date']}"]
    parts += [_set_tables(name, found, results) for name, found in sets.items()]
    parts += [f"Left out: {name}: {why}" for name, why in results["left_out"].items()]
    parts.append("Versions: " + "; ".join(_versions(results["versions"])))
    return "\n\n".join(parts)


def _set_tables(name: str, found: dict[str, Any], results: dict[str, Any]) -> str:
    programs, columns = found["programs"], list(found["ratios"])
    head = (
        f"### {name}: {found['pictures']} pictures, {found['megabytes']:.0f} MB, "
        f"median of {results['rounds']}"
    )
    rows = [
        [
            program,
            _number(each["pictures_per_second"], 1),
            _number(each["cpu_ms"], 1),
            _number(each["cpu_ms_more"], 1),
            _number(each["peak_rss_mb"], 0),
            *(_both(found["ratios"][column].get(program)) for column in columns),
            _number(each["others"], 2),
        ]
        for program, each in programs.items()
        if not program.startswith("roof")
    ]
    first = ["program", "pictures/s", "CPU ms", "each further", "peak MB"]
    against = [f"CPU to {column}" for column in columns]
    parts = [head, _markdown([*first, *against, "others, cores"], rows)]
    if found["roofline"]:
        parts.append(_roof_table(found))
    if found["agreement"]:
        parts.append(_agreement_table(found["agreement"]))
    return "\n\n".join(parts)


def _roof_table(found: dict[str, Any]) -> str:
    rows = [
        [
            column,
            _number(found["programs"][column]["cpu_ms"], 1),
            _number(roof["roof_cpu_ms"], 1),
            _number(roof["floor_ms"], 1),
            _number(roof["share"], 2),
            _number(roof["share_more"], 2),
        ]
        for column, roof in found["roofline"].items()
    ]
    head = ["", "CPU ms", "roofline, CPU ms", "floor, CPU ms", "share", "share beyond the start"]
    return _markdown(head, rows)


def _agreement_table(agreement: list[dict[str, Any]]) -> str:
    rows = [
        [
            f"{each['first']} and {each['second']}",
            str(each["pictures"]),
            _number(each["mean"], 5),
            _number(each["least"], 5),
            ("" if each["agrees"] else "NO: ") + f"mean at least {each['wanted']}",
        ]
        for each in agreement
    ]
    return _markdown(["vectors", "upright pictures", "mean cosine", "least", "wanted"], rows)


def _versions(versions: dict[str, dict[str, str]]) -> list[str]:
    return [
        f"{name} ({', '.join(' '.join(pair) for pair in found.items())})"
        for name, found in versions.items()
    ]


def rows_table(rows: Sequence[Mapping[str, object]]) -> str:
    """Rows of one kind as Markdown; figures to three places, fields that a row lacks empty."""
    head = list(dict.fromkeys(name for row in rows for name in row))
    return _markdown(head, [[_cell(row.get(name, "")) for name in head] for row in rows])


def _both(ratio: dict[str, float | None] | None) -> str:
    """`2.3 (1.9)`: of whole processes, and of each further picture."""
    if ratio is None:
        return ""
    more = ratio["cpu_more"]
    return _number(ratio["cpu"], 2) + ("" if more is None else f" ({more:.2f})")


def _cell(value: object) -> str:
    return f"{value:,.3f}" if isinstance(value, float) else str(value)


def _number(value: float | None, places: int) -> str:
    return "" if value is None else f"{value:.{places}f}"


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
