"""The speed page's chart, from the JSON of `python -m benchmarks.compare --json FILE`."""

from __future__ import annotations

from typing import Any
from xml.sax.saxutils import escape

BAR, GAP, LEFT, WIDTH, TOP = 22, 8, 180, 760, 56
OURS, PEER = "#2f6f4f", "#9aa5b1"


def chart(results: dict[str, Any], name: str = "camera") -> str:
    """CPU time a picture of every program over one set of pictures, as SVG; less is better."""
    measured = results["sets"][name]
    programs = {
        program: figures["cpu_ms"]
        for program, figures in measured["programs"].items()
        if not program.startswith("roof")
    }
    scale = (WIDTH - LEFT - 80) / max(programs.values())
    machine = results["machine"]
    height = TOP + len(programs) * (BAR + GAP) + 34
    title = f"CPU time a picture (ms, less is better), {measured['pictures']} JPEGs"
    source = f"{machine['cpu']}, {machine['cores']} cores; {results['date']}"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        'font-family="sans-serif" font-size="14" role="img">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        f'<text x="16" y="30" font-size="16" font-weight="bold">{escape(title)}</text>',
    ]
    for number, (program, cpu) in enumerate(programs.items()):
        y = TOP + number * (BAR + GAP)
        colour = OURS if program.startswith("clipindex") else PEER
        end = LEFT + cpu * scale
        parts += [
            f'<text x="{LEFT - 10}" y="{y + 16}" text-anchor="end">{escape(program)}</text>',
            f'<rect x="{LEFT}" y="{y}" width="{end - LEFT:.1f}" height="{BAR}" fill="{colour}"/>',
            f'<text x="{end + 8:.1f}" y="{y + 16}">{cpu:.1f}</text>',
        ]
    parts += [f'<text x="16" y="{height - 12}" fill="#555">{escape(source)}</text>', "</svg>"]
    return "\n".join(parts) + "\n"
