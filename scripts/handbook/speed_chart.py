"""The speed page's chart, from the JSON of `python -m benchmarks.compare --json FILE`."""

from __future__ import annotations

from typing import Any
from xml.sax.saxutils import escape

BAR, GAP, LEFT, WIDTH, TOP, HEAD = 16, 4, 200, 760, 56, 30
OURS, PEER = "#2f6f4f", "#9aa5b1"
SETS = {
    "camera": "JPEGs of 2 to 12 megapixels",
    "home": "a home library: JPEG, HEIC, screenshots, small pictures",
    "phone": "HEICs of 12 megapixels",
}


def chart(results: dict[str, Any]) -> str:
    """CPU time of each further picture, of every program over three sets, as SVG."""
    machine = results["machine"]
    title = "CPU time a picture beyond the start (ms, less is better)"
    source = f"{machine['cpu']}, {machine['cores']} cores; {results['date']}"
    parts, y = [], TOP
    for name in SETS:
        panel, y = _panel(name, results["sets"][name]["programs"], y)
        parts += panel
    height = y + 34
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
            'font-family="sans-serif" font-size="14" role="img">',
            f"<title>{escape(title)}</title>",
            f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
            f'<text x="16" y="30" font-size="16" font-weight="bold">{escape(title)}</text>',
            *parts,
            f'<text x="16" y="{height - 12}" fill="#555">{escape(source)}</text>',
            "</svg>\n",
        ]
    )


def _panel(name: str, programs: dict[str, Any], y: int) -> tuple[list[str], int]:
    """The bars of one set, with a scale of their own, and where the next panel begins."""
    costs = {
        program: figures["cpu_ms_more"]
        for program, figures in programs.items()
        if figures["cpu_ms_more"] and not program.startswith("roof")
    }
    scale = (WIDTH - LEFT - 80) / max(costs.values())
    parts = [f'<text x="16" y="{y + 16}" font-weight="bold">{escape(SETS[name])}</text>']
    y += HEAD
    for program, cpu in costs.items():
        colour = OURS if program.startswith("clipindex") else PEER
        end = LEFT + cpu * scale
        parts += [
            f'<text x="{LEFT - 10}" y="{y + 13}" text-anchor="end">{escape(program)}</text>',
            f'<rect x="{LEFT}" y="{y}" width="{end - LEFT:.1f}" height="{BAR}" fill="{colour}"/>',
            f'<text x="{end + 8:.1f}" y="{y + 13}">{cpu:.0f}</text>',
        ]
        y += BAR + GAP
    return parts, y + GAP
