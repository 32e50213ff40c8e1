"""Draws a comparison as one SVG: the tip's true gain over the night's runs, a line for every policy, no library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

WIDTH, HEIGHT = 760, 420
LEFT, RIGHT, TOP, BOTTOM = 64, 580, 44, 368  # edges of the plot in pixels; names stand to its right
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#666666", "#b8a900")
"""Okabe and Ito's palette, which colour-blind readers tell apart."""
DASHES = ("", "6 3", "2 3", "8 3 2 3")  # lines also differ in print without colour
TICKS = 5  # at most so many steps on an axis
LABEL_GAP = 16  # least distance between two names, in pixels
SCALE = 1e4  # gains are shown in units of 0.0001 bpb


def draw_courses(courses: Mapping[str, Sequence[float]], title: str, across: str = "runs of the night") -> str:
    """Return the chart as SVG text.

    Args:
        courses: Policy to its tip's mean true gain in bpb after every run, or every whole run's worth of time.
        title: One line above it.
        across: Words for the horizontal axis.
    """
    runs = max(2, max(map(len, courses.values())))
    top = max(0.0001, max(max(course) for course in courses.values())) * SCALE * 1.05

    def x(run: float) -> float:
        return LEFT + run * (RIGHT - LEFT) / (runs - 1)

    def y(gain: float) -> float:
        return BOTTOM - gain * (BOTTOM - TOP) / top

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        'font-family="system-ui, sans-serif" font-size="13" fill="#222">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        f'<text x="{LEFT}" y="24" font-size="15">{escape(title)}</text>',
        f'<text x="{(LEFT + RIGHT) / 2}" y="{HEIGHT - 12}" text-anchor="middle">{across}</text>',
        f'<text transform="translate(16 {(TOP + BOTTOM) / 2}) rotate(-90)" text-anchor="middle">'
        "true gain, 1e-4 bpb</text>",
    ]
    for gain in range(0, int(top) + 1, _step(top)):
        parts += [
            f'<line x1="{LEFT}" x2="{RIGHT}" y1="{y(gain):.1f}" y2="{y(gain):.1f}" stroke="#ddd"/>',
            f'<text x="{LEFT - 8}" y="{y(gain) + 4:.1f}" text-anchor="end">{gain}</text>',
        ]
    for run in (1, *range(_step(runs), runs + 1, _step(runs))):
        parts.append(f'<text x="{x(run - 1):.1f}" y="{BOTTOM + 20}" text-anchor="middle">{run}</text>')
    label = 0.0
    for place, name in sorted(enumerate(courses), key=lambda item: -courses[item[1]][-1]):
        gains = [gain * SCALE for gain in courses[name]]
        points = " ".join(f"{x(run):.1f},{y(gain):.1f}" for run, gain in enumerate(gains))
        colour, dash = COLOURS[place % len(COLOURS)], DASHES[place // 2 % len(DASHES)]
        label = max(y(gains[-1]), label + LABEL_GAP)
        parts += [
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2" stroke-dasharray="{dash}"/>',
            f'<text x="{RIGHT + 8}" y="{label + 4:.1f}" fill="{colour}">{escape(name)} {gains[-1]:.0f}</text>',
        ]
    return "\n".join([*parts, "</svg>", ""])


def _step(most: float) -> int:
    """Return the distance of an axis's labels, 1, 2 or 5 times a power of ten."""
    size = 1
    while 10 * size * TICKS < most:
        size *= 10
    return next(size * step for step in (1, 2, 5, 10) if size * step * TICKS >= most)
