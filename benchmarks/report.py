"""From measured runs to figures, and from figures to tables. Nothing here measures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from benchmarks.measure import Measured


@dataclass(frozen=True)
class Figures:
    """Medians of one program's runs over one set of pictures, and of one over its first alone."""

    pictures_per_second: float
    cpu_ms: float  # a picture, of the whole process
    cpu_ms_more: float | None  # each further picture: the start and the first one taken off
    cpu_ms_more_of_rounds: tuple[float, ...]  # the same of every round
    start_cpu: float | None  # seconds, of the run over the first picture
    wall: float  # seconds of the whole process
    wall_more: float | None
    peak_rss_mb: float
    others: float | None  # cores kept busy by all else on the machine
    rounds: int


def figures(runs: Sequence[Measured], pictures: int, starts: Sequence[Measured]) -> Figures:
    """Medians of `runs` over so many pictures; `starts` are runs over a single one."""
    wall, cpu = median(run.wall for run in runs), median(run.cpu for run in runs)
    cpu_more = wall_more = start = None
    rounds: tuple[float, ...] = ()
    if starts and pictures > 1:
        start = median(run.cpu for run in starts)
        rounds = tuple((run.cpu - start) / (pictures - 1) * 1e3 for run in runs)
        cpu_more = median(rounds)
        wall_more = wall - median(run.wall for run in starts)
        if min(cpu_more, wall_more) <= 0:  # too few pictures, or too much noise, to tell
            cpu_more = wall_more = None
            rounds = ()
    loads = [run.others for run in runs if run.others is not None]
    return Figures(
        pictures_per_second=pictures / wall,
        cpu_ms=cpu / pictures * 1e3,
        cpu_ms_more=cpu_more,
        cpu_ms_more_of_rounds=rounds,
        start_cpu=start,
        wall=wall,
        wall_more=wall_more,
        peak_rss_mb=median(run.peak_rss_mb for run in runs),
        others=median(loads) if loads else None,
        rounds=len(runs),
    )


def ratios(ours: Figures, theirs: Figures) -> dict[str, float | None]:
    """How many times as much a peer takes: of the medians, and the least and most of the rounds."""
    more = least = most = None
    if ours.cpu_ms_more and theirs.cpu_ms_more:
        more = theirs.cpu_ms_more / ours.cpu_ms_more
        pairs = zip(ours.cpu_ms_more_of_rounds, theirs.cpu_ms_more_of_rounds, strict=True)
        of_rounds = [second / first for first, second in pairs]
        least, most = min(of_rounds), max(of_rounds)
    return {
        "cpu": theirs.cpu_ms / ours.cpu_ms,
        "cpu_more": more,
        "cpu_more_least": least,
        "cpu_more_most": most,
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
    machine = results["machine"]
    where = f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gb']:.0f} GB"
    parts = [f"{where}; {machine['system']}; {results['date']}"]
    for head, table in overview(results).items():
        parts += [f"### {head}", table]
    parts += [f"Left out: {name}: {why}" for name, why in results["left_out"].items()]
    parts.append("Versions: " + "; ".join(_versions(results["versions"])))
    return "\n\n".join(parts)


def overview(results: dict[str, Any]) -> dict[str, str]:
    """The tables of a comparison by name; a figure's least and most of the rounds in brackets."""
    sets = results["sets"]
    columns = dict.fromkeys(
        name for found in sets.values() for name, peers in found["ratios"].items() if peers
    )
    first = next(iter(sets))
    made = {"sets": _sets_table(sets), "cost": _cost_table(sets)}
    made |= {f"to {column}": _ratio_table(sets, column) for column in columns}
    made["whole"] = _whole_table(sets[first])
    if sets[first]["roofline"]:
        made["roofline"] = _roof_table(sets[first])
    made["agreement"] = _agreement_table(sets)
    return made


def _sets_table(sets: dict[str, Any]) -> str:
    rows = [
        [name, str(found["pictures"]), _number(found["megabytes"], 0)]
        for name, found in sets.items()
    ]
    return _markdown(["set", "pictures", "MB"], rows)


def _cost_table(sets: dict[str, Any]) -> str:
    """CPU ms of each further picture."""
    programs = dict.fromkeys(
        name for found in sets.values() for name in found["programs"] if name[:4] != "roof"
    )
    return _by_set(sets, programs, lambda found, name: _cost(found["programs"].get(name)))


def _cost(figures: dict[str, Any] | None) -> str:
    if figures is None or figures["cpu_ms_more"] is None:
        return ""
    rounds = figures["cpu_ms_more_of_rounds"]
    spread = f" ({min(rounds):.0f}–{max(rounds):.0f})" if len(rounds) > 1 else ""
    return f"{figures['cpu_ms_more']:.1f}{spread}"


def _ratio_table(sets: dict[str, Any], column: str) -> str:
    """CPU of each further picture, as a multiple of one column of clipindex."""
    ratios = {name: found["ratios"].get(column, {}) for name, found in sets.items()}
    chosen = {name: found for name, found in sets.items() if ratios[name]}
    programs = dict.fromkeys(name for peers in ratios.values() for name in peers)
    return _by_set(chosen, programs, lambda found, name: _ratio(found["ratios"][column].get(name)))


def _ratio(ratio: dict[str, float | None] | None) -> str:
    if ratio is None or ratio["cpu_more"] is None:
        return ""
    least, most = ratio["cpu_more_least"], ratio["cpu_more_most"]
    spread = "" if least == most else f" ({least:.2f}–{most:.2f})"
    return f"{ratio['cpu_more']:.2f}{spread}"


def _whole_table(found: dict[str, Any]) -> str:
    """Whole processes; what others took of the cores meanwhile, where the system tells."""
    programs = {name: each for name, each in found["programs"].items() if name[:4] != "roof"}
    told = any(each["others"] is not None for each in programs.values())
    rows = [
        [
            program,
            _number(each["pictures_per_second"], 1),
            _number(each["cpu_ms"], 1),
            _number(each["start_cpu"], 1),
            _number(each["peak_rss_mb"], 0),
            *([_number(each["others"], 2)] if told else []),
        ]
        for program, each in programs.items()
    ]
    head = ["program", "pictures/s", "CPU ms a picture", "first picture, CPU s", "peak MB"]
    return _markdown([*head, *(["others, cores"] if told else [])], rows)


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


def _agreement_table(sets: dict[str, Any]) -> str:
    """Mean cosines, and the least, over the upright pictures of each set."""
    pairs = {
        f"{each['first']} and {each['second']}": (each["first"], each["second"])
        for found in sets.values()
        for each in found["agreement"]
    }

    def cell(found: dict[str, Any], name: str) -> str:
        for each in found["agreement"]:
            if (each["first"], each["second"]) == pairs[name]:
                apart = "" if each["agrees"] else f" NO: mean at least {each['wanted']}"
                return f"{each['mean']:.5f} ({each['least']:.4f}){apart}"
        return ""

    return _by_set(sets, pairs, cell)


def _by_set(
    sets: dict[str, Any], names: Iterable[str], cell: Callable[[dict[str, Any], str], str]
) -> str:
    rows = [[name, *(cell(found, name) for found in sets.values())] for name in names]
    return _markdown(["", *sets], rows)


def _versions(versions: dict[str, dict[str, str]]) -> list[str]:
    return [
        f"{name} ({', '.join(' '.join(pair) for pair in found.items())})"
        for name, found in versions.items()
    ]


def rows_table(rows: Sequence[Mapping[str, object]]) -> str:
    """Rows of one kind as Markdown; figures to three places, fields that a row lacks empty."""
    head = list(dict.fromkeys(name for row in rows for name in row))
    return _markdown(head, [[_cell(row.get(name, "")) for name in head] for row in rows])


def _cell(value: object) -> str:
    return f"{value:,.3f}" if isinstance(value, float) else str(value)


def _number(value: float | None, places: int) -> str:
    return "" if value is None else f"{value:.{places}f}"


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
